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

/* A daemon that does not answer is an answer here, not a failure. */
int cmd_version(struct cli *cli, char *const *words UNUSED, struct failure *why)
{
	CLEAN_ANSWER struct answer daemon = { 0 };
	json_t *both;

	if (!cli->options.host_root &&
	    source_call(cli, "GET", "/api/version", &daemon, why) < 0 && why->problem)
		return -1;
	if (cli->options.output == OUTPUT_TABLE) {
		print_versions(cli, &daemon, why);
		return 0;
	}
	both = json_pack("{s:s, s:O?}", "client", HORCRUX_VERSION, "daemon", daemon.json);
	json_dumpf(both, stdout, JSON_COMPACT);
	putchar('\n');
	json_decref(both);
	return 0;
}
