/* SPDX-License-Identifier: Apache-2.0 */
/*
 * horcrux: the command line. Finds the command in the table, runs it, reports its failure once, and
 * gives the exit code that it means. One thread.
 */
#include <locale.h>
#include <string.h>

#include "cli/client.h"
#include "cli/generate.h"
#include "cli/help.h"
#include "cli/local.h"
#include "cli/output.h"
#include "cli/problem.h"
#include "cli/words.h"

static int run(struct cli *cli, int argc, char **argv, struct failure *why)
{
	struct words words = { 0 };

	if (words_parse(cli, argc, argv, &words, &why->error) < 0)
		return -1;
	if (cli->options.help) {
		help_print(cli, stdout, words.noun, cli->command);
		return 0;
	}
	if (cli->options.version) {
		puts("horcrux " HORCRUX_VERSION);
		return 0;
	}
	if (cli->options.generate)
		return generate(cli, cli->options.generate, why);
	return cli->command->run(cli, words.args, why);
}

/* What was printed has to have arrived: a full disk is a failure. A closed pipe is not ours. */
static int flush(struct failure *why)
{
	if (!fflush(stdout) && !ferror(stdout))
		return 0;
	return error_set(&why->error, ERROR_SYSTEM, "what was to be printed could not be written");
}

int main(int argc, char **argv)
{
	struct cli cli = { .options = {
				   .timeout_s = 30, .firmware = -1, .os = -1, .network = -1 } };
	struct failure why = { 0 };
	enum exit_code code = EXIT_OK;

	setlocale(LC_ALL, "");
	cli.arena = arena_new();
	terminal_look(&cli.out);
	if (run(&cli, argc, argv, &why) < 0 || flush(&why) < 0) {
		fflush(stdout);
		code = problem_report(&cli, &why);
	}
	json_decref(why.problem);
	client_free(cli.client);
	local_free(cli.local);
	arena_free(cli.arena);
	return code;
}
