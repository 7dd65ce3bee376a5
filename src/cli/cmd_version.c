/* SPDX-License-Identifier: Apache-2.0 */
/* horcrux version. Main thread. */
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/source.h"

static void print_versions(const struct cli *cli, const struct answer *daemon)
{
	const char *otherwise = cli->options.host_root ? "not asked" : "unknown";

	puts("horcrux   " HORCRUX_VERSION);
	printf("horcruxd  %s\n", json_text(cli, daemon->json, "version") ?: otherwise);
}

/* This program's own is told whether the daemon answers or not; json is the daemon's, or none. */
int cmd_version(struct cli *cli, char *const *words UNUSED, struct failure *why)
{
	CLEAN_ANSWER struct answer daemon = { 0 };
	bool json = cli->options.output == OUTPUT_JSON;
	int r = 0;

	if (json || !cli->options.host_root)
		r = source_call(cli, "GET", "/api/version", &daemon, why);
	if (!json)
		print_versions(cli, &daemon);
	else if (!r)
		print_json(cli, daemon.bytes, daemon.n);
	return r;
}
