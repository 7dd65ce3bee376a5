/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Options may stand anywhere: before the noun, between noun and verb, after them. Each of the
 * three stretches is a run of getopt_long(3). See words.h.
 */
#include "cli/words.h"

#include <errno.h>
#include <getopt.h>
#include <string.h>

enum { FLAGS_MAX = 40, FIRST_LONG = 256 };

struct flags {
	const struct flag *flag[FLAGS_MAX];
	struct option longs[FLAGS_MAX + 1];
	char shorts[2 * FLAGS_MAX + 3];
	int n;
};

static void add_flag(struct flags *flags, const struct flag *flag)
{
	size_t end = strlen(flags->shorts);

	if (flags->n == FLAGS_MAX)
		return;
	flags->flag[flags->n] = flag;
	flags->longs[flags->n] = (struct option){
		.name = flag->name,
		.has_arg = flag->kind == FLAG_SWITCH ? no_argument : required_argument,
		.val = FIRST_LONG + flags->n,
	};
	flags->n++;
	if (!flag->letter)
		return;
	flags->shorts[end] = flag->letter;
	if (flag->kind != FLAG_SWITCH)
		flags->shorts[end + 1] = ':';
}

/* "+" ends at the first word that is no option, ":" tells a missing value from an unknown option.
 */
static void collect(struct flags *flags, const struct flag *own, bool stop_at_word)
{
	*flags = (struct flags){ 0 };
	memcpy(flags->shorts, stop_at_word ? "+:" : ":", stop_at_word ? 2 : 1);
	for (const struct flag *f = common_flags; f->kind; f++)
		add_flag(flags, f);
	for (const struct flag *f = own; f && f->kind; f++)
		add_flag(flags, f);
}

static const struct flag *flag_of(const struct flags *flags, int val)
{
	if (val >= FIRST_LONG)
		return flags->flag[val - FIRST_LONG];
	for (int i = 0; i < flags->n; i++)
		if (flags->flag[i]->letter == val)
			return flags->flag[i];
	return NULL;
}

static int set_number(const struct flag *flag, const char *value, int64_t *at, struct error *err)
{
	char *end;
	long long v;

	errno = 0;
	v = strtoll(value, &end, 10);
	if (errno || end == value || *end || v < flag->min || v > flag->max)
		return error_set(err, ERROR_USAGE,
				 "--%s wants a number from %lld to %lld, not \"%.40s\"", flag->name,
				 (long long)flag->min, (long long)flag->max, value);
	*at = v;
	return 0;
}

static int set_word(const struct flag *flag, const char *value, int *at, struct error *err)
{
	char choices[200] = "";
	size_t n;

	for (int i = 0; flag->words[i]; i++) {
		if (!strcmp(flag->words[i], value)) {
			*at = i;
			return 0;
		}
		n = strlen(choices);
		snprintf(choices + n, sizeof(choices) - n, "%s%s", i ? ", " : "", flag->words[i]);
	}
	error_set(err, ERROR_USAGE, "--%s cannot be \"%.40s\"", flag->name, value);
	return error_hint(err, "one of: %s", choices);
}

static int set_flag(struct cli *cli, const struct flag *flag, const char *value, struct error *err)
{
	void *at = (char *)&cli->options + flag->offset;

	switch (flag->kind) {
	case FLAG_SWITCH:
		*(bool *)at = true;
		return 0;
	case FLAG_NUMBER:
		return set_number(flag, value, at, err);
	case FLAG_WORD:
		return set_word(flag, value, at, err);
	case FLAG_TEXTS:
		if (*value) {
			list_add_string(cli->arena, at, value);
			return 0;
		}
		return error_set(err, ERROR_USAGE, "--%s wants a value", flag->name);
	default:
		if (!*value)
			return error_set(err, ERROR_USAGE, "--%s wants a value", flag->name);
		*(const char **)at = value;
		if (!flag->check || !flag->check(value, err))
			return 0;
		err->code = ERROR_USAGE;
		return -1;
	}
}

/* argv[0] is the word before the stretch. Returns the index of the first word after it, or -1. */
static int parse_stretch(struct cli *cli, const struct flag *own, bool stop_at_word, int argc,
			 char **argv, struct error *err)
{
	struct flags flags;
	int val;

	collect(&flags, own, stop_at_word);
	optind = 0; /* GNU: begin anew, also with another option string */
	opterr = 0;
	while ((val = getopt_long(argc, argv, flags.shorts, flags.longs, NULL)) != -1) {
		if (val == ':')
			return error_set(err, ERROR_USAGE, "%.60s wants a value", argv[optind - 1]);
		if (val == '?')
			return error_set(err, ERROR_USAGE, "there is no option %.60s here",
					 argv[optind - 1]);
		if (set_flag(cli, flag_of(&flags, val), optarg, err) < 0)
			return -1;
	}
	return optind;
}

static int usage_hint(struct cli *cli, const char *noun, struct error *err)
{
	if (err->hint[0])
		return -1;
	if (cli->command && cli->command->verb)
		return error_hint(err, "see: horcrux %s %s --help", cli->command->noun,
				  cli->command->verb);
	if (noun && command_noun(noun))
		return error_hint(err, "see: horcrux %s --help", noun);
	return error_hint(err, "see: horcrux --help");
}

static int check_args(const struct cli *cli, int n, char *const *args, struct error *err)
{
	const struct command *command = cli->command;
	int wanted = cli->options.all ? 0 : command->n_args; /* --all stands for the argument */

	if (n < wanted)
		return error_set(err, ERROR_USAGE, "%s is missing", command->args);
	if (n > wanted)
		return error_set(err, ERROR_USAGE, "\"%.60s\" is one word too many", args[wanted]);
	for (int i = 0; i < n; i++) {
		int (*check)(const char *text, struct error *err) = i ? command->check_second : command->check;

		if (!check || check(args[i], err) == 0)
			continue;
		err->code = ERROR_USAGE;
		return -1;
	}
	return 0;
}

/* What stands after the words of the command. */
static int parse_rest(struct cli *cli, int argc, char **argv, struct words *words,
		      struct error *err)
{
	int at = parse_stretch(cli, cli->command->flags, false, argc, argv, err);

	if (at < 0)
		return -1;
	words->args = argv + at;
	return cli->options.help ? 0 : check_args(cli, argc - at, words->args, err);
}

static int parse_noun(struct cli *cli, int argc, char **argv, struct words *words,
		      struct error *err)
{
	const char *noun = words->noun;
	int at;

	if (!command_noun(noun))
		return error_set(err, ERROR_USAGE, "there is no command \"%.60s\"", noun);
	cli->command = command_find(noun, NULL);
	if (cli->command)
		return parse_rest(cli, argc, argv, words, err);
	at = parse_stretch(cli, NULL, true, argc, argv, err);
	if (at < 0)
		return -1;
	if (at == argc)
		return cli->options.help ? 0
					 : error_set(err, ERROR_USAGE, "what about \"%s\"?", noun);
	cli->command = command_find(noun, argv[at]);
	if (!cli->command)
		return error_set(err, ERROR_USAGE, "there is no command \"%s %.60s\"", noun,
				 argv[at]);
	return parse_rest(cli, argc - at, argv + at, words, err);
}

int words_parse(struct cli *cli, int argc, char **argv, struct words *words, struct error *err)
{
	int at = parse_stretch(cli, NULL, true, argc, argv, err);

	if (at < 0)
		return usage_hint(cli, NULL, err);
	if (at == argc) {
		if (cli->options.help || cli->options.version || cli->options.generate)
			return 0;
		error_set(err, ERROR_USAGE, "a command is missing");
		return usage_hint(cli, NULL, err);
	}
	words->noun = argv[at];
	if (parse_noun(cli, argc - at, argv + at, words, err) < 0)
		return usage_hint(cli, words->noun, err);
	return 0;
}
