/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The words of the command line, by the tables: which command, with which options and arguments.
 * Main thread.
 */
#pragma once

#include "cli/commands.h"

struct words {
	const char *noun;  /* NULL: none was given */
	char *const *args; /* NULL-terminated */
};

/*
 * Fills cli->options and cli->command, and `words`. -1 (usage) with what is wrong and a hint. With
 * --help or --version given, incomplete words are no error.
 */
int words_parse(struct cli *cli, int argc, char **argv, struct words *words, struct error *err);
