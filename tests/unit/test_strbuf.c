/* SPDX-License-Identifier: Apache-2.0 */
/* A string with a maximum: grows up to it, then remembers that it failed and stays as it is. */
#include "unit.h"

#include "base/strbuf.h"

static void grows(void **state UNUSED)
{
	CLEAN_STRBUF struct strbuf sb = STRBUF_INIT(10000);
	CLEAN_FREE char *text = NULL;

	assert_string_equal(strbuf_text(&sb), "");
	for (int i = 0; i < 1000; i++)
		strbuf_printf(&sb, "%d,", i % 10);
	assert_int_equal(sb.len, 2000);
	assert_false(sb.failed);
	text = strbuf_take(&sb);
	assert_int_equal(strlen(text), 2000);
	assert_memory_equal(text + 1990, "5,6,7,8,9,", 10);
	assert_string_equal(strbuf_text(&sb), "");
}

static void stops_at_its_maximum(void **state UNUSED)
{
	CLEAN_STRBUF struct strbuf sb = STRBUF_INIT(5);

	strbuf_add(&sb, "12345");
	assert_false(sb.failed);
	strbuf_add(&sb, "6");
	assert_true(sb.failed);
	assert_string_equal(strbuf_text(&sb), "12345");
	assert_null(strbuf_take(&sb));
}

static void takes_nothing_as_an_empty_string(void **state UNUSED)
{
	CLEAN_STRBUF struct strbuf sb = STRBUF_INIT(5);
	CLEAN_FREE char *text = strbuf_take(&sb);

	assert_string_equal(text, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(grows),
		cmocka_unit_test(stops_at_its_maximum),
		cmocka_unit_test(takes_nothing_as_an_empty_string),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
