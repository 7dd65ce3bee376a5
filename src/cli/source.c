/* SPDX-License-Identifier: Apache-2.0 */
/* See source.h. */
#include "cli/source.h"

#include <string.h>

#include "cli/local.h"
#include "cli/output.h"

static const char *named_socket(const struct cli *cli)
{
	const char *named = cli->options.socket ?: getenv("HORCRUX_SOCKET");

	return named && *named ? named : NULL;
}

const char *source_socket(const struct cli *cli)
{
	return named_socket(cli) ?: CLIENT_SOCKET;
}

bool source_has_daemon(const struct cli *cli)
{
	const char *why;

	return !cli->options.host_root && client_reachable(source_socket(cli), &why);
}

int source_send(struct cli *cli, const struct call *call, struct answer *ret, struct failure *why)
{
	if (cli->options.host_root) {
		error_set(&why->error, ERROR_USAGE,
			  "only a daemon can do this, and --host-root means none");
		return error_hint(&why->error, "leave --host-root away");
	}
	if (!cli->client)
		cli->client = client_new(source_socket(cli), cli->options.timeout_s, &why->error);
	return cli->client ? client_call(cli->client, call, ret, why) : -1;
}

int source_call(struct cli *cli, const char *method, const char *path, struct answer *ret,
		struct failure *why)
{
	const struct call call = { .method = method, .path = path };

	return source_send(cli, &call, ret, why);
}

/* One note: that we read the host ourselves, why, and what root would see that we did not. */
static void note(struct cli *cli, const char *no_daemon)
{
	const char *hidden = local_hidden(cli->local);

	if (cli->noted)
		return;
	cli->noted = true;
	fputs("horcrux: ", stderr);
	if (no_daemon)
		fprintf(stderr, "%s at %s, so this program read the host itself", no_daemon,
			text_safe(cli, source_socket(cli)));
	else
		fprintf(stderr, "read %s itself, without a daemon",
			text_safe(cli, cli->options.host_root));
	if (hidden && geteuid())
		fprintf(stderr, "; root would see more (%s)", text_safe(cli, hidden));
	else if (hidden)
		fprintf(stderr, "; not all could be read (%s)", text_safe(cli, hidden));
	if (local_config_hidden(cli->local))
		fprintf(stderr, "; %s cannot be read, so other classes that it may name are left out",
			local_config_hidden(cli->local));
	fputc('\n', stderr);
}

static int read_host(struct cli *cli, struct failure *why)
{
	if (cli->local)
		return 0;
	cli->local = local_new(cli->options.host_root ?: "/", &why->error);
	return cli->local ? 0 : -1;
}

static json_t *ask_local(struct cli *cli, enum question question, const char *address,
			 struct error *err)
{
	switch (question) {
	case ASK_DEVICES:
		return local_devices(cli->local, cli->options.output == OUTPUT_JSON);
	case ASK_DEVICE:
		return local_device(cli->local, address, err);
	case ASK_GROUP:
		return local_group(cli->local, address, err);
	case ASK_DOCTOR:
		return local_doctor(cli->local, address, err);
	default:
		return local_iommu(cli->local);
	}
}

static int ask_daemon(struct cli *cli, enum question question, const char *address,
		      struct answer *ret, struct failure *why)
{
	static const char *const paths[] = {
		[ASK_DEVICES] = "/api/gpu/devices",
		[ASK_DEVICE] = "/api/gpu/devices/",
		[ASK_GROUP] = "/api/gpu/devices/",
		[ASK_IOMMU] = "/api/gpu/iommu-status",
		[ASK_DOCTOR] = "/api/doctor",
	};
	char path[128];

	snprintf(path, sizeof(path), "%s%s%s%s", paths[question],
		 question == ASK_DOCTOR && address ? "?device=" : "", address ?: "",
		 question == ASK_GROUP ? "/iommu-group" : "");
	return source_call(cli, "GET", path, ret, why);
}

int source_ask(struct cli *cli, enum question question, const char *address, struct answer *ret,
	       struct failure *why)
{
	const char *no_daemon = NULL;

	if (!cli->options.host_root &&
	    (named_socket(cli) || client_reachable(source_socket(cli), &no_daemon)))
		return ask_daemon(cli, question, address, ret, why);
	if (read_host(cli, why) < 0)
		return -1;
	ret->json = ask_local(cli, question, address, &why->error);
	if (!ret->json)
		return -1;
	note(cli, no_daemon);
	ret->bytes = json_dumps(ret->json, JSON_COMPACT);
	if (!ret->bytes)
		return error_set(&why->error, ERROR_INTERNAL, "no memory for the answer");
	ret->n = strlen(ret->bytes);
	return 0;
}
