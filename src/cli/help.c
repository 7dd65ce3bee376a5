/* SPDX-License-Identifier: Apache-2.0 */
/* See help.h. */
#include "cli/help.h"

#include <string.h>

#include "cli/output.h"

enum { LEFT_COLUMNS = 26 };

const char *const exit_code_texts[] = {
	[EXIT_OK] = "It was done.",
	[EXIT_FAILED] = "It failed; stderr says why.",
	[EXIT_USAGE] = "The command line was wrong.",
	[EXIT_REFUSED] = "It was refused, and nothing was changed; stderr says why and what to do.",
	[EXIT_UNREACHABLE] = "The daemon does not answer.",
	NULL,
};

const char *command_words(const struct command *command, char *buf, size_t size)
{
	snprintf(buf, size, "%s%s%s%s%s", command->noun, command->verb ? " " : "",
		 command->verb ?: "", command->args ? " " : "", command->args ?: "");
	return buf;
}

static void print_flags(const struct cli *cli, FILE *to, const struct flag *flags)
{
	char left[64];

	for (const struct flag *f = flags; f && f->kind; f++) {
		if (!f->help)
			continue;
		snprintf(left, sizeof(left), "%s%c%s --%s%s%s", f->letter ? "-" : " ",
			 f->letter ?: ' ', f->letter ? "," : " ", f->name, f->value ? "=" : "",
			 f->value ?: "");
		fprintf(to, "  %-*s ", LEFT_COLUMNS, left);
		print_folded_after(cli, to, LEFT_COLUMNS + 3, f->help);
	}
}

static void print_command(const struct cli *cli, FILE *to, const struct command *command)
{
	char words[80];

	fprintf(to, "Usage: horcrux %s [OPTIONS]\n\n",
		command_words(command, words, sizeof(words)));
	print_folded(cli, to, 0, command->help);
	if (command->flags) {
		fputs("\nOptions of this command:\n", to);
		print_flags(cli, to, command->flags);
	}
	fputs("\nOptions of every command:\n", to);
	print_flags(cli, to, common_flags);
}

static void print_commands(FILE *to, const char *noun)
{
	char words[80];

	for (const struct command *c = commands; c->noun; c++)
		if (!noun || !strcmp(c->noun, noun))
			fprintf(to, "  %-*s %s\n", LEFT_COLUMNS,
				command_words(c, words, sizeof(words)), c->summary);
}

void help_print(const struct cli *cli, FILE *to, const char *noun, const struct command *command)
{
	if (command) {
		print_command(cli, to, command);
		return;
	}
	fprintf(to, "Usage: horcrux %s [OPTIONS]\n\nCommands:\n", noun ?: "COMMAND");
	print_commands(to, noun);
	fputs("\nOptions of every command:\n", to);
	print_flags(cli, to, common_flags);
	if (noun)
		return;
	fputs("\nExit status:\n", to);
	for (int i = 0; exit_code_texts[i]; i++)
		fprintf(to, "  %d  %s\n", i, exit_code_texts[i]);
}
