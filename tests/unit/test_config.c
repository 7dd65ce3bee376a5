/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration: file, flags, and every way to get it wrong. */
#include "unit.h"

#include "daemon/config.h"

static char dir[] = "/tmp/horcrux-config-XXXXXX", path[64];

static int make_directory(void **state UNUSED)
{
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/horcrux.conf", dir);
	return 0;
}

static int remove_directory(void **state UNUSED)
{
	unlink(path);
	return rmdir(dir);
}

static void write_file(const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

#define READ(config, err, ...)                                                                     \
	({                                                                                         \
		char *argv_[] = { (char[]){ "horcruxd" }, __VA_ARGS__ __VA_OPT__(, ) NULL };       \
		config_read((int)ARRAY_SIZE(argv_) - 1, argv_, path, arena, config, err);          \
	})
#define FLAG(text) ((char[]){ text })

static void has_defaults(void **state UNUSED)
{
	CLEANUP(arena_freep) struct arena *arena = arena_new();
	struct config c;
	struct error err;

	unlink(path);
	assert_int_equal(READ(&c, &err), 0);
	assert_string_equal(c.listen, "127.0.0.1:8006");
	assert_string_equal(c.group, "horcrux");
	assert_string_equal(c.host_root, "/");
	assert_string_equal(c.state_dir, "/var/lib/horcrux");
	assert_int_equal(c.trust_loopback, 1);
	assert_null(c.libvirt);
	assert_int_equal(c.classes.n_extra, 0);
	assert_int_equal(c.dev, 0);
}

static void reads_file_and_flags(void **state UNUSED)
{
	CLEANUP(arena_freep) struct arena *arena = arena_new();
	struct config c;
	struct error err;

	write_file("# a comment\n; another\n\nlisten = [::1]:9000 ; inline\ntrust_loopback=no\n"
		   "extra_classes = 0403, 0c03,1200\nlog_level = debug");
	assert_int_equal(
		READ(&c, &err, FLAG("--listen=127.0.0.1:1"), FLAG("--group"), FLAG("wheel")), 0);
	assert_string_equal(c.listen, "127.0.0.1:1");
	assert_string_equal(c.group, "wheel");
	assert_int_equal(c.trust_loopback, 0);
	assert_int_equal(c.classes.n_extra, 3);
	assert_int_equal(c.classes.extra[0], 0x0403);
	assert_int_equal(c.classes.extra[2], 0x1200);
	assert_string_equal(c.log_level, "debug");
}

static void dev_reads_no_system_file(void **state UNUSED)
{
	CLEANUP(arena_freep) struct arena *arena = arena_new();
	struct config c;
	struct error err;

	write_file("nonsense\n");
	assert_int_equal(READ(&c, &err, FLAG("--dev")), 0);
	assert_int_equal(c.dev, 1);
	assert_int_equal(READ(&c, &err), -1);
	setenv("HORCRUX_CONFIG", path, 1); /* asked for by name, it is read in --dev too */
	assert_int_equal(READ(&c, &err, FLAG("--dev")), -1);
	unlink(path);
	assert_int_equal(READ(&c, &err), -1);
	assert_non_null(strstr(err.message, "cannot be opened"));
	unsetenv("HORCRUX_CONFIG");
}

#define LONG_190                                                                                   \
	"################################################################################"         \
	"################################################################################"         \
	"##############################"

static void names_the_line_that_is_wrong(void **state UNUSED)
{
	static const struct {
		const char *text;
		int line; /* 0: it is right */
		const char *says;
	} rows[] = {
		{ "listen = 127.0.0.1:1\nwrong = 1\n", 2, "there is no key \"wrong\"" },
		{ "group = a\n\n#\ngroup = b\n", 4, "\"group\" was set before" },
		{ "group = a\n  b\n", 2, "\"group\" was set before" },
		{ "[main]\ngroup = a\n", 2, "no sections" },
		{ "group = a\nnonsense\n", 2, "is not \"name = value\"" },
		{ "group =\n", 1, "\"group\" cannot be" },
		{ "\ntrust_loopback = maybe\n", 2, "\"trust_loopback\" cannot be \"maybe\"" },
		{ "log_level = loud\n", 1, "\"log_level\" cannot be" },
		{ "extra_classes = 03\n", 1, "\"extra_classes\" cannot be" },
		{ "extra_classes = 0300 ;0302\n", 0, NULL }, /* the rest is a comment */
		{ "extra_classes = 0300 0302\n", 1, "\"extra_classes\" cannot be" },
		{ LONG_190 "\ngroup = a\n", 0, NULL },
		{ "group = a\n" LONG_190 "#\n", 2, "more than 190 bytes" },
		{ "Group = a\n", 1, "there is no key" },
		{ "", 0, NULL },
	};
	char says[64];

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CLEANUP(arena_freep) struct arena *arena = arena_new();
		struct config c = { 0 };
		struct error err = { 0 };
		int r = config_parse(rows[i].text, "horcrux.conf", 0, arena, &c, &err);

		if (!rows[i].line) {
			if (r)
				fail_msg("%s: %s", rows[i].text, err.message);
			continue;
		}
		assert_int_equal(r, -1);
		assert_int_equal(err.code, ERROR_USAGE);
		snprintf(says, sizeof(says), "horcrux.conf, line %d: ", rows[i].line);
		if (strncmp(err.message, says, strlen(says)) || !strstr(err.message, rows[i].says))
			fail_msg("%s: %s", rows[i].text, err.message);
	}
}

static void refuses_wrong_flags(void **state UNUSED)
{
	CLEANUP(arena_freep) struct arena *arena = arena_new();
	struct config c;
	struct error err;

	unlink(path);
	assert_int_equal(READ(&c, &err, FLAG("--wrong")), -1);
	assert_int_equal(READ(&c, &err, FLAG("wrong")), -1);
	assert_int_equal(READ(&c, &err, FLAG("--listen")), -1);
	assert_int_equal(READ(&c, &err, FLAG("--dev=1")), -1);
	assert_int_equal(READ(&c, &err, FLAG("--group=a"), FLAG("--group=b")), -1);
	assert_non_null(strstr(err.message, "twice"));
	assert_int_equal(READ(&c, &err, FLAG("--trust-loopback=1")), -1);
	assert_int_equal(READ(&c, &err, FLAG("--trust-loopback=no")), 0);
	assert_int_equal(c.trust_loopback, 0);
}

static void refuses_files_that_are_no_text(void **state UNUSED)
{
	CLEANUP(arena_freep) struct arena *arena = arena_new();
	struct config c;
	struct error err;
	FILE *f = fopen(path, "w");

	fwrite("group = a\0b\n", 1, 12, f);
	fclose(f);
	assert_int_equal(READ(&c, &err), -1);
	assert_non_null(strstr(err.message, "NUL"));
	f = fopen(path, "w");
	for (int i = 0; i < CONFIG_FILE_MAX / 2 + 1; i++)
		fputs("#\n", f);
	fclose(f);
	assert_int_equal(READ(&c, &err), -1);
	assert_non_null(strstr(err.message, "64 KiB"));
}

static void the_table_is_sorted(void **state UNUSED)
{
	for (const struct config_key *k = config_keys; k[1].name; k++)
		assert_true(strcmp(k->name, k[1].name) < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(has_defaults),
		cmocka_unit_test(reads_file_and_flags),
		cmocka_unit_test(dev_reads_no_system_file),
		cmocka_unit_test(names_the_line_that_is_wrong),
		cmocka_unit_test(refuses_wrong_flags),
		cmocka_unit_test(refuses_files_that_are_no_text),
		cmocka_unit_test(the_table_is_sorted),
	};

	unsetenv("HORCRUX_CONFIG");
	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
