/* SPDX-License-Identifier: Apache-2.0 */
/* What --help prints, from the table of commands. Main thread. */
#pragma once

#include "cli/commands.h"

/* Of one command; of a noun's commands (command NULL); of all (noun NULL too). On `to`. */
void help_print(const struct cli *cli, FILE *to, const char *noun, const struct command *command);

/* "gpu show ADDRESS": the words of a command; buf is returned. */
const char *command_words(const struct command *command, char *buf, size_t size);

/* What each exit code means, in their order; NULL-terminated. Also for the manual. */
extern const char *const exit_code_texts[];
