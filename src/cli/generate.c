/* SPDX-License-Identifier: Apache-2.0 */
/* See generate.h. */
#include "cli/generate.h"

#include <string.h>

#include "cli/help.h"
#include "cli/output.h"
#include "cli/source.h"

/* Text in roff: backslashes, dashes that are typed as such, and dots that would begin a request. */
static void roff(const char *text)
{
	bool line_start = true;

	for (const char *c = text; *c; c++) {
		if (line_start && (*c == '.' || *c == '\''))
			fputs("\\&", stdout);
		line_start = *c == '\n';
		if (*c == '\\')
			fputs("\\e", stdout);
		else if (*c == '-')
			fputs("\\-", stdout);
		else
			putchar(*c);
	}
}

static void man_flags(const struct flag *flags)
{
	for (const struct flag *f = flags; f && f->kind; f++) {
		if (!f->help)
			continue;
		fputs(".TP\n", stdout);
		if (f->letter)
			printf("\\fB\\-%c\\fR, ", f->letter);
		fputs("\\fB\\-\\-", stdout);
		roff(f->name);
		fputs("\\fR", stdout);
		if (f->value)
			printf("=\\fI%s\\fR", f->value);
		putchar('\n');
		roff(f->help);
		putchar('\n');
	}
}

static void man_command(const struct command *c)
{
	printf(".SS \"horcrux %s%s%s%s%s\"\n", c->noun, c->verb ? " " : "", c->verb ?: "",
	       c->args ? " " : "", c->args ?: "");
	roff(c->help);
	putchar('\n');
	man_flags(c->flags);
}

static void man_exit_codes(void)
{
	fputs(".SH EXIT STATUS\n", stdout);
	for (int i = 0; exit_code_texts[i]; i++) {
		printf(".TP\n\\fB%d\\fR\n", i);
		roff(exit_code_texts[i]);
		putchar('\n');
	}
}

static int man(struct cli *cli UNUSED, struct failure *why UNUSED)
{
	fputs(".TH HORCRUX 1 \"\" \"Horcrux " HORCRUX_VERSION "\" \"User Commands\"\n"
	      ".SH NAME\nhorcrux \\- give graphics cards to virtual machines, and take them back\n"
	      ".SH SYNOPSIS\n\\fBhorcrux\\fR \\fICOMMAND\\fR [\\fIOPTIONS\\fR]\n"
	      ".SH DESCRIPTION\n"
	      "Asks the Horcrux daemon of this host over its Unix socket, and prints what it "
	      "answers. "
	      "Reading commands\nwork without a daemon too: then this program reads the host "
	      "itself, "
	      "and says so on stderr.\n.SH COMMANDS\n",
	      stdout);
	for (const struct command *c = commands; c->noun; c++)
		man_command(c);
	fputs(".SH OPTIONS\nThese may stand anywhere on the command line.\n", stdout);
	man_flags(common_flags);
	man_exit_codes();
	fputs(".SH ENVIRONMENT\n.TP\n\\fBHORCRUX_CONFIG\\fR\nThe configuration that says which other "
	      "classes count as cards when no daemon is asked, instead of "
	      "\\fI/etc/horcrux/horcrux.conf\\fR.\n"
	      ".TP\n\\fBHORCRUX_SOCKET\\fR\nThe daemon's socket, as with "
	      "\\fB\\-\\-socket\\fR, which goes before it.\n"
	      ".TP\n\\fBNO_COLOR\\fR\nNo colours when it is set and not empty.\n"
	      ".SH FILES\n.TP\n\\fI" CLIENT_SOCKET "\\fR\nThe daemon's socket. Root and members of "
	      "group horcrux may use it.\n"
	      ".SH EXAMPLES\n.nf\nhorcrux gpu iommu\nhorcrux gpu list\nhorcrux gpu show "
	      "0000:01:00.0\n"
	      "horcrux gpu list \\-\\-output=json\n"
	      "horcrux vm create \\-\\-id=vm\\-100 \\-\\-cpus=8 \\-\\-memory=16384 \\-\\-disk=100 "
	      "\\-\\-gpu=0000:01:00.0 \\-\\-start\n"
	      "horcrux vm stop vm\\-100\n.fi\n",
	      stdout);
	return 0;
}

static void completion_flags(const struct flag *flags)
{
	for (const struct flag *f = flags; f && f->kind; f++)
		if (f->help)
			printf(" --%s%s", f->name, f->value ? "=" : "");
}

/* case lines "noun verb) words='…' takes=…;;" for every command. */
static void completion_commands(void)
{
	for (const struct command *c = commands; c->noun; c++) {
		printf("\t\t'%s %s') flags+='", c->noun, c->verb ?: "");
		completion_flags(c->flags);
		printf("'; args='%s' ;;\n", c->args ?: "");
	}
}

static void completion_nouns(void)
{
	const char *last = "";

	fputs("\tlocal nouns='", stdout);
	for (const struct command *c = commands; c->noun; c++) {
		if (strcmp(c->noun, last))
			printf("%s%s", *last ? " " : "", c->noun);
		last = c->noun;
	}
	fputs("'\n\tdeclare -A verbs=(", stdout);
	last = "";
	for (const struct command *c = commands; c->noun; c++) {
		if (!c->verb)
			continue;
		if (strcmp(c->noun, last))
			printf("%s[%s]='%s", *last ? "' " : "", c->noun, c->verb);
		else
			printf(" %s", c->verb);
		last = c->noun;
	}
	printf("%s)\n", *last ? "'" : "");
}

/* Does a command before this one have the flag? Then its values are there already. */
static bool told_before(const struct command *before, const struct flag *flag)
{
	for (const struct command *c = commands; c < before; c++)
		for (const struct flag *f = c->flags; f && f->kind; f++)
			if (!strcmp(f->name, flag->name))
				return true;
	return false;
}

static void completion_values(const struct command *of, const struct flag *flags)
{
	for (const struct flag *f = flags; f && f->kind; f++) {
		if (f->kind == FLAG_FILE && !told_before(of, f))
			printf("\t--%s|-%c) _filedir; return ;;\n", f->name, f->letter);
		if (f->kind != FLAG_WORD || told_before(of, f))
			continue;
		printf("\t--%s) COMPREPLY=($(compgen -W '", f->name);
		for (int i = 0; f->words[i]; i++)
			printf("%s%s", i ? " " : "", f->words[i]);
		fputs("' -- \"$cur\")); return ;;\n", stdout);
	}
}

/* Words that are no options: the first is the noun, the second the verb. */
static int completion(struct cli *cli UNUSED, struct failure *why UNUSED)
{
	fputs("# bash completion for horcrux; made from its table of commands\n"
	      "_horcrux()\n{\n"
	      "\tlocal cur prev words cword split=false\n"
	      "\t_init_completion -s -n : || return\n",
	      stdout);
	completion_nouns();
	fputs("\tlocal flags='", stdout);
	completion_flags(common_flags);
	fputs("' args='' noun='' verb='' word i\n"
	      "\tcase $prev in\n",
	      stdout);
	completion_values(commands, common_flags);
	for (const struct command *c = commands; c->noun; c++)
		completion_values(c, c->flags);
	fputs("\t-o) COMPREPLY=($(compgen -W 'table json' -- \"$cur\")); return ;;\n"
	      "\t--host-root) _filedir -d; return ;;\n"
	      "\t--socket) _filedir; return ;;\n"
	      "\tesac\n"
	      "\tfor ((i = 1; i < cword; i++)); do\n"
	      "\t\tword=${words[i]}\n"
	      "\t\tcase $word in\n"
	      "\t\t-o) ((i++)) ;;\n"
	      "\t\t-*) ;;\n"
	      "\t\t*) if [[ -z $noun ]]; then noun=$word; elif [[ -z $verb ]]; then verb=$word; fi "
	      ";;\n"
	      "\t\tesac\n"
	      "\tdone\n"
	      "\tcase \"$noun $verb\" in\n",
	      stdout);
	completion_commands();
	fputs("\tesac\n"
	      "\tif [[ $cur == -* ]]; then\n"
	      "\t\tCOMPREPLY=($(compgen -W \"$flags\" -- \"$cur\"))\n"
	      "\t\t[[ ${COMPREPLY-} == *= ]] && compopt -o nospace\n"
	      "\telif [[ -z $noun ]]; then\n"
	      "\t\tCOMPREPLY=($(compgen -W \"$nouns\" -- \"$cur\"))\n"
	      "\telif [[ -z $verb && -n ${verbs[$noun]-} ]]; then\n"
	      "\t\tCOMPREPLY=($(compgen -W \"${verbs[$noun]}\" -- \"$cur\"))\n"
	      "\telif [[ $args == ADDRESS* ]]; then\n"
	      "\t\tCOMPREPLY=($(compgen -W \"$(horcrux --generate=addresses 2>/dev/null)\" -- "
	      "\"$cur\"))\n"
	      "\t\t__ltrim_colon_completions \"$cur\"\n"
	      "\telif [[ $args == VM ]]; then\n"
	      "\t\tCOMPREPLY=($(compgen -W \"$(horcrux --generate=vms 2>/dev/null)\" -- "
	      "\"$cur\"))\n"
	      "\telif [[ $args == TASK ]]; then\n"
	      "\t\tCOMPREPLY=($(compgen -W \"$(horcrux --generate=tasks 2>/dev/null)\" -- "
	      "\"$cur\"))\n"
	      "\tfi\n"
	      "} && complete -F _horcrux horcrux\n",
	      stdout);
	return 0;
}

static int addresses(struct cli *cli, struct failure *why)
{
	CLEAN_ANSWER struct answer answer = { 0 };
	size_t i;
	json_t *device;

	if (source_ask(cli, ASK_DEVICES, NULL, &answer, why) < 0)
		return -1;
	json_array_foreach (answer.json, i, device)
		puts(json_text(cli, device, "pci_address") ?: "");
	return 0;
}

static int ids(struct cli *cli, const char *path, struct failure *why)
{
	CLEAN_ANSWER struct answer answer = { 0 };
	size_t i;
	json_t *one;

	if (source_call(cli, "GET", path, &answer, why) < 0)
		return -1;
	json_array_foreach (answer.json, i, one)
		puts(json_text(cli, one, "id") ?: "");
	return 0;
}

static int tasks(struct cli *cli, struct failure *why)
{
	return ids(cli, "/api/tasks", why);
}

static int vms(struct cli *cli, struct failure *why)
{
	return ids(cli, "/api/vms", why);
}

static const struct {
	const char *what;
	int (*make)(struct cli *cli, struct failure *why);
} makers[] = {
	{ "addresses", addresses },
	{ "completion", completion },
	{ "man", man },
	{ "tasks", tasks },
	{ "vms", vms },
};

int generate(struct cli *cli, const char *what, struct failure *why)
{
	for (size_t i = 0; i < ARRAY_SIZE(makers); i++)
		if (!strcmp(makers[i].what, what))
			return makers[i].make(cli, why);
	return error_set(&why->error, ERROR_USAGE, "\"%.40s\" cannot be generated", what);
}
