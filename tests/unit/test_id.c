/* SPDX-License-Identifier: Apache-2.0 */
/* Identifiers and times have the shape that the API promises. */
#include "unit.h"

#include "base/cleanup.h"
#include "base/id.h"

/* 'x' stands for a lower-case hex digit, '9' for a digit, the rest for itself. */
static void has_shape(const char *text, const char *shape)
{
	assert_int_equal(strlen(text), strlen(shape));
	for (; *shape; text++, shape++) {
		if (*shape == 'x')
			assert_non_null(strchr("0123456789abcdef", *text));
		else if (*shape == '9')
			assert_in_range(*text, '0', '9');
		else
			assert_int_equal(*text, *shape);
	}
}

static void makes_uuids(void **state UNUSED)
{
	char a[ID_TEXT], b[ID_TEXT];

	has_shape(id_uuid(a), "xxxxxxxx-xxxx-4xxx-xxxx-xxxxxxxxxxxx");
	assert_string_not_equal(a, id_uuid(b));
	has_shape(id_short("card-", a), "card-xxxxxxxxxxxxxxxx");
}

static void tells_the_time(void **state UNUSED)
{
	char now[TIME_TEXT];
	uint64_t before = time_monotonic_ms();

	has_shape(time_now(now), "9999-99-99T99:99:99.999Z");
	usleep(2000);
	assert_true(time_monotonic_ms() > before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(makes_uuids),
		cmocka_unit_test(tells_the_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
