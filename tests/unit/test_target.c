/* SPDX-License-Identifier: Apache-2.0 */
/* The request target: split raw, then unescaped. */
#include "unit.h"

#include "http/target.h"

static int parse(const char *text, struct target *out, struct error *err)
{
	static char buf[8192];

	snprintf(buf, sizeof(buf), "%s", text);
	return target_parse(buf, out, err);
}

static void splits_before_it_unescapes(void **state UNUSED)
{
	struct target t;
	struct error err;

	assert_int_equal(parse("/api/gpu/devices/0000%3A01:00.0?driver=vfio%2dpci&x", &t, &err), 0);
	assert_int_equal(t.n_segments, 4);
	assert_string_equal(t.segments[0], "api");
	assert_string_equal(t.segments[3], "0000:01:00.0");
	assert_int_equal(t.n_parameters, 2);
	assert_string_equal(t.parameters[0].name, "driver");
	assert_string_equal(t.parameters[0].value, "vfio-pci");
	assert_string_equal(t.parameters[1].name, "x");
	assert_string_equal(t.parameters[1].value, "");
	assert_int_equal(parse("/", &t, &err), 0);
	assert_int_equal(t.n_segments, 0);
	assert_int_equal(parse("/a+b?a=1+2%2B3", &t, &err), 0);
	assert_string_equal(t.segments[0], "a+b");
	assert_string_equal(t.parameters[0].value, "1 2+3");
}

static void refuses_what_names_nothing(void **state UNUSED)
{
	static const struct {
		const char *text;
		enum error_code code;
	} rows[] = {
		{ "", ERROR_NOT_FOUND },
		{ "*", ERROR_NOT_FOUND },
		{ "http://localhost/api", ERROR_NOT_FOUND },
		{ "//api", ERROR_NOT_FOUND },
		{ "/api/", ERROR_NOT_FOUND },
		{ "/api//gpu", ERROR_NOT_FOUND },
		{ "/a%00b", ERROR_NOT_FOUND },
		{ "/a%2Fb", ERROR_NOT_FOUND },
		{ "/a%2fb", ERROR_NOT_FOUND },
		{ "/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17", ERROR_NOT_FOUND },
		{ "/a%", ERROR_BAD_REQUEST },
		{ "/a%4", ERROR_BAD_REQUEST },
		{ "/a%zz", ERROR_BAD_REQUEST },
		{ "/a?b=%", ERROR_BAD_REQUEST },
		{ "/a?b=%00", ERROR_BAD_REQUEST },
		{ "/a?b=1&b=2", ERROR_BAD_REQUEST },
		{ "/a?b=1&%62=2", ERROR_BAD_REQUEST },
		{ "/a?1&2&3&4&5&6&7&8&9&10&11&12&13&14&15&16&17", ERROR_BAD_REQUEST },
	};
	struct target t;
	struct error err;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		err = (struct error){ 0 };
		if (parse(rows[i].text, &t, &err) != -1 || err.code != rows[i].code)
			fail_msg("%s: %s (%s)", rows[i].text, error_code_name(err.code),
				 err.message);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(splits_before_it_unescapes),
		cmocka_unit_test(refuses_what_names_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
