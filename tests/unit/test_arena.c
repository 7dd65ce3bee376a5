/* SPDX-License-Identifier: Apache-2.0 */
/* Arenas and lists: zeroed, aligned, kept; nothing of it is freed one by one. */
#include "unit.h"

#include "base/arena.h"

static void gives_zeroed_aligned_memory(void **state UNUSED)
{
	CLEANUP(arena_freep) struct arena *arena = arena_new();
	char *p;

	for (size_t size = 1; size < 70000; size = size * 3 + 1) {
		p = arena_alloc(arena, 1, size);
		assert_int_equal((uintptr_t)p % 16, 0);
		for (size_t i = 0; i < size; i++)
			assert_int_equal(p[i], 0);
		memset(p, 0xff, size);
	}
	assert_true(arena_used(arena) > 70000 / 3);
}

static void copies_strings(void **state UNUSED)
{
	CLEANUP(arena_freep) struct arena *arena = arena_new();

	assert_null(arena_strdup(arena, NULL));
	assert_string_equal(arena_strdup(arena, "card"), "card");
	assert_string_equal(arena_strndup(arena, "cards", 4), "card");
	assert_string_equal(arena_printf(arena, "%s-%04x", "x", 0x1b80), "x-1b80");
}

static void grows_lists(void **state UNUSED)
{
	CLEANUP(arena_freep) struct arena *arena = arena_new();
	struct list list = { .null = true };
	int64_t sum = 0;

	for (int64_t i = 0; i < 1000; i++)
		*list_add(arena, &list, int64_t) = i;
	assert_int_equal(list.n, 1000);
	assert_false(list.null);
	for (LIST_EACH(int64_t, it, &list))
		sum += *it;
	assert_int_equal(sum, 499500);
	list = (struct list){ 0 };
	for (LIST_EACH(int64_t, it, &list))
		fail();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(gives_zeroed_aligned_memory),
		cmocka_unit_test(copies_strings),
		cmocka_unit_test(grows_lists),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
