/* SPDX-License-Identifier: Apache-2.0 */
/* horcrux version. Main thread. */
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/source.h"

static void print_versions(const struct cli *cli, const struct answer *daemon,
			   const struct failure *why)
{
	puts("horcrux   " HORCRUX_VERSION);
	if (daemon->json)
		printf("horcruxd  %s\n", json_text(cli, daemon->json, "version") ?: "?");
	else if (cli->options.host_root)
		puts("horcruxd  not asked");
	else
		printf("horcruxd  unknown: %s\n", text_safe(cli, why->error.message));
}

/* For people a daemon that does not answer is an answer; json is the daemon's, or none. */
int cmd_version(struct cli *cli, char *const *words UNUSED, struct failure *why)
{
	CLEAN_ANSWER struct answer daemon = { 0 };
	bool json = cli->options.output == OUTPUT_JSON;

	if ((json || !cli->options.host_root) &&
	    source_call(cli, "GET", "/api/version", &daemon, why) < 0 && (json || why->problem))
		return -1;
	if (json)
		print_json(cli, daemon.bytes, daemon.n);
	else
		print_versions(cli, &daemon, why);
	return 0;
}
