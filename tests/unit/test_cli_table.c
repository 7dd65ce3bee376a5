/* SPDX-License-Identifier: Apache-2.0 */
/* The table of commands keeps what help, manual and completion rely on; the words are read by it.
 */
#include "unit.h"

#include "base/cleanup.h"
#include "cli/words.h"

/* The table names them; this test runs none. */
#define NOT_RUN(name)                                                                              \
	int name(struct cli *cli UNUSED, char *const *words UNUSED, struct failure *why UNUSED)    \
	{                                                                                          \
		return -1;                                                                         \
	}
NOT_RUN(cmd_doctor)
NOT_RUN(cmd_gpu_bind)
NOT_RUN(cmd_gpu_group)
NOT_RUN(cmd_gpu_iommu)
NOT_RUN(cmd_gpu_list)
NOT_RUN(cmd_gpu_scan)
NOT_RUN(cmd_gpu_show)
NOT_RUN(cmd_gpu_sriov)
NOT_RUN(cmd_gpu_unbind)
NOT_RUN(cmd_task_cancel)
NOT_RUN(cmd_task_list)
NOT_RUN(cmd_task_show)
NOT_RUN(cmd_task_watch)
NOT_RUN(cmd_version)
NOT_RUN(cmd_vm_create)
NOT_RUN(cmd_vm_delete)
NOT_RUN(cmd_vm_kill)
NOT_RUN(cmd_vm_list)
NOT_RUN(cmd_vm_restart)
NOT_RUN(cmd_vm_show)
NOT_RUN(cmd_vm_start)
NOT_RUN(cmd_vm_stop)
NOT_RUN(cmd_vm_xml)
NOT_RUN(cmd_vgpu_instances)
NOT_RUN(cmd_vgpu_list)
NOT_RUN(cmd_vgpu_profiles)

static int compare(const struct command *a, const struct command *b)
{
	int c = strcmp(a->noun, b->noun);

	return c ? c : strcmp(a->verb ?: "", b->verb ?: "");
}

static void commands_are_sorted(void **state UNUSED)
{
	for (const struct command *c = commands + 1; c->noun; c++)
		if (compare(c - 1, c) >= 0)
			fail_msg("%s %s stands too late", c->noun, c->verb ?: "");
}

static void check_flags(const struct flag *flags, bool common)
{
	for (const struct flag *f = flags; f && f->kind; f++) {
		if (f > flags && strcmp(f[-1].name, f->name) >= 0)
			fail_msg("--%s stands too late", f->name);
		if (!f->help && !common)
			fail_msg("--%s has no help", f->name);
		if (f->help && f->help[strlen(f->help) - 1] != '.')
			fail_msg("the help of --%s is no sentence", f->name);
		assert_int_equal(!f->value, f->kind == FLAG_SWITCH);
		assert_int_equal(!f->words, f->kind != FLAG_WORD);
		if (f->kind == FLAG_NUMBER)
			assert_true(f->min < f->max);
	}
}

static void flags_are_sorted_and_have_help(void **state UNUSED)
{
	check_flags(common_flags, true);
	for (const struct command *c = commands; c->noun; c++)
		check_flags(c->flags, false);
}

static void every_command_has_help(void **state UNUSED)
{
	for (const struct command *c = commands; c->noun; c++) {
		assert_non_null(c->summary);
		assert_non_null(c->help);
		assert_non_null(c->run);
		assert_true(strlen(c->summary) <= 48); /* one line of help at 80 columns */
		assert_true(c->summary[strlen(c->summary) - 1] != '.');
		assert_true(c->help[strlen(c->help) - 1] == '.');
		assert_int_equal(!c->args, c->n_args == 0);
	}
}

static void no_flag_twice(void **state UNUSED)
{
	for (const struct command *c = commands; c->noun; c++)
		for (const struct flag *f = c->flags; f && f->kind; f++)
			for (const struct flag *g = common_flags; g->kind; g++)
				assert_string_not_equal(f->name, g->name);
}

static int parse(struct cli *cli, char **argv, struct words *words, struct error *err)
{
	int argc = 0;

	while (argv[argc])
		argc++;
	*cli = (struct cli){ 0 };
	*words = (struct words){ 0 };
	*err = (struct error){ 0 };
	return words_parse(cli, argc, argv, words, err);
}

#define ARGV(...) ((char *[]){ (char[]){ "horcrux" }, __VA_ARGS__, NULL })
#define W(text)	  ((char[]){ text })

static void options_may_stand_anywhere(void **state UNUSED)
{
	struct cli cli;
	struct words words;
	struct error err;
	char **const lines[] = {
		ARGV(W("-o"), W("json"), W("gpu"), W("show"), W("0000:01:00.0")),
		ARGV(W("gpu"), W("--output=json"), W("show"), W("0000:01:00.0")),
		ARGV(W("gpu"), W("show"), W("-ojson"), W("0000:01:00.0")),
		ARGV(W("gpu"), W("show"), W("0000:01:00.0"), W("--output"), W("json")),
		ARGV(W("gpu"), W("show"), W("0000:01:00.0"), W("--out"), W("json")),
	};

	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		assert_int_equal(parse(&cli, lines[i], &words, &err), 0);
		assert_int_equal(cli.options.output, OUTPUT_JSON);
		assert_ptr_equal(cli.command, command_find("gpu", "show"));
		assert_string_equal(words.args[0], "0000:01:00.0");
		assert_null(words.args[1]);
	}
	assert_int_equal(parse(&cli, ARGV(W("version")), &words, &err), 0);
	assert_ptr_equal(cli.command, command_find("version", NULL));
	assert_int_equal(parse(&cli, ARGV(W("gpu"), W("--help")), &words, &err), 0);
	assert_null(cli.command);
	assert_true(cli.options.help);
}

static void wrong_words_are_usage(void **state UNUSED)
{
	struct cli cli;
	struct words words;
	struct error err;
	const struct {
		char **argv;
		const char *says;
	} rows[] = {
		{ ARGV(NULL), "a command is missing" },
		{ ARGV(W("gpus")), "no command \"gpus\"" },
		{ ARGV(W("gpu")), "what about" },
		{ ARGV(W("gpu"), W("shew")), "no command \"gpu shew\"" },
		{ ARGV(W("gpu"), W("show")), "ADDRESS is missing" },
		{ ARGV(W("gpu"), W("show"), W("01:00.0")), "01:00.0" },
		{ ARGV(W("gpu"), W("list"), W("more")), "one word too many" },
		{ ARGV(W("gpu"), W("list"), W("--frob")), "no option --frob" },
		{ ARGV(W("gpu"), W("list"), W("-o")), "wants a value" },
		{ ARGV(W("gpu"), W("list"), W("-o"), W("xml")), "cannot be \"xml\"" },
		{ ARGV(W("gpu"), W("list"), W("--timeout=0")), "from 1 to 3600" },
		{ ARGV(W("gpu"), W("list"), W("--timeout=5x")), "from 1 to 3600" },
		{ ARGV(W("gpu"), W("list"), W("--socket=")), "wants a value" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_int_equal(parse(&cli, rows[i].argv, &words, &err), -1);
		assert_int_equal(err.code, ERROR_USAGE);
		if (!strstr(err.message, rows[i].says))
			fail_msg("\"%s\" does not say \"%s\"", err.message, rows[i].says);
		assert_true(err.hint[0]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(commands_are_sorted),
		cmocka_unit_test(flags_are_sorted_and_have_help),
		cmocka_unit_test(every_command_has_help),
		cmocka_unit_test(no_flag_twice),
		cmocka_unit_test(options_may_stand_anywhere),
		cmocka_unit_test(wrong_words_are_usage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
