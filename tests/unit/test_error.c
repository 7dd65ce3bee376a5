/* SPDX-License-Identifier: Apache-2.0 */
/* The error object: set once, wrapped on the way up, every code with a row of its own. */
#include "unit.h"

#include "base/error.h"

static void says_what_and_why(void **state UNUSED)
{
	struct error err;

	assert_int_equal(error_errno(&err, ERROR_SYSTEM, ENOENT, "cannot open %s", "x"), -1);
	assert_string_equal(err.message, "cannot open x: No such file or directory");
	assert_int_equal(error_hint(&err, "make %s", "x"), -1);
	assert_int_equal(error_wrap(&err, "binding %d", 7), -1);
	assert_string_equal(err.message, "binding 7: cannot open x: No such file or directory");
	assert_string_equal(err.hint, "make x");
	assert_int_equal(err.code, ERROR_SYSTEM);
	assert_int_equal(error_set(&err, ERROR_GONE, "gone"), -1);
	assert_string_equal(err.hint, "");
	assert_int_equal(error_set(NULL, ERROR_GONE, "nobody asks"), -1);
	assert_int_equal(error_wrap(NULL, "nobody asks"), -1);
}

static void cuts_what_is_too_long(void **state UNUSED)
{
	char text[2000];
	struct error err;

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	error_errno(&err, ERROR_SYSTEM, EIO, "%s", text);
	assert_int_equal(strlen(err.message), sizeof(err.message) - 1);
	error_wrap(&err, "%s", text);
	assert_int_equal(strlen(err.message), sizeof(err.message) - 1);
}

static void has_a_row_for_every_code(void **state UNUSED)
{
	for (int code = 0; code < ERROR_CODES; code++) {
		const char *name = error_code_name((enum error_code)code);

		assert_non_null(name);
		assert_non_null(error_code_title((enum error_code)code));
		assert_in_range(error_code_status((enum error_code)code), 200, 599);
		assert_int_equal(error_code_find(name), code);	/* names differ */
	}
	assert_int_equal(error_code_find("no such"), ERROR_CODES);
	assert_string_equal(error_code_name((enum error_code)4711), "internal");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(says_what_and_why),
		cmocka_unit_test(cuts_what_is_too_long),
		cmocka_unit_test(has_a_row_for_every_code),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
