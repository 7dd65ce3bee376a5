/* SPDX-License-Identifier: Apache-2.0 */
/* Names and descriptions of vGPU types, as drivers really print them. */
#include "unit.h"

#include "base/rows.h"
#include "vgpu/profile.h"

static void reads_descriptions(void **state)
{
	static const struct {
		const char *text;
		int64_t mb, most, heads;
		const char *resolution;
		size_t details;
	} cases[] = {
		{ "num_heads=4, frl_config=60, framebuffer=1024M, max_resolution=5120x2880, max_instance=24", 1024,
		  24, 4, "5120x2880", 5 },
		{ "num_heads=4, frl_config=45, framebuffer=1024M, max_resolution=5120x2880, max_instance=32\n", 1024,
		  32, 4, "5120x2880", 5 },
		{ "num_heads=1, frl_config=60, framebuffer=4096M, max_resolution=4096x2400, max_instance=6", 4096, 6,
		  1, "4096x2400", 5 },
		/* what i915 calls memory is address space, not framebuffer */
		{ "low_gm_size: 128MB\nhigh_gm_size: 512MB\nfence: 4\nresolution: 1920x1200\nweight: 4\n", ROW_NULL,
		  ROW_NULL, ROW_NULL, "1920x1200", 5 },
		{ "  Framebuffer =2G,max_instance=\t8 ,, new_key=9,framebuffer=1M", 2048, 8, ROW_NULL, NULL, 3 },
		{ "framebuffer=4096", ROW_NULL, ROW_NULL, ROW_NULL, NULL, 1 },
		{ "framebuffer=M, max_instance=-1, num_heads=4x, max_resolution=big", ROW_NULL, ROW_NULL, ROW_NULL,
		  NULL, 4 },
		{ "framebuffer=18446744073709551617M, max_instance=4294967297", ROW_NULL, ROW_NULL, ROW_NULL, NULL,
		  2 },
		{ "virtual tty, 16 ports", ROW_NULL, ROW_NULL, ROW_NULL, NULL, 0 },
		{ "", ROW_NULL, ROW_NULL, ROW_NULL, NULL, 0 },
		{ NULL, ROW_NULL, ROW_NULL, ROW_NULL, NULL, 0 },
	};
	struct profile said;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		CLEANUP(arena_freep) struct arena *arena = arena_new();

		profile_describe(cases[i].text, arena, &said);
		assert_int_equal(said.framebuffer_mb, cases[i].mb);
		assert_int_equal(said.max_instances, cases[i].most);
		assert_int_equal(said.heads, cases[i].heads);
		if (cases[i].resolution)
			assert_string_equal(said.max_resolution, cases[i].resolution);
		else
			assert_null(said.max_resolution);
		assert_int_equal(said.details.n, cases[i].details);
	}
}

static void keeps_what_it_does_not_know(void **state)
{
	CLEANUP(arena_freep) struct arena *arena = arena_new();
	const struct row_pair *pair;
	struct profile said;

	(void)state;
	profile_describe("frl_config = 60,\n bar1: 256 M, ", arena, &said);
	assert_int_equal(said.details.n, 2);
	pair = said.details.items;
	assert_string_equal(pair[0].key, "frl_config");
	assert_string_equal(pair[0].value, "60");
	assert_string_equal(pair[1].key, "bar1");
	assert_string_equal(pair[1].value, "256 M");
}

static void reads_names(void **state)
{
	static const struct {
		const char *name;
		int64_t mb;
		enum profile_class class;
		bool mig;
	} cases[] = {
		{ "GRID A100-4C", 4096, PROFILE_COMPUTE, false },
		{ "NVIDIA L40S-48Q", 49152, PROFILE_VWS, false },
		{ "NVIDIA A40-12A", 12288, PROFILE_VAPPS, false },
		{ "GRID T4-1B4", 1024, PROFILE_VPC, false },
		{ "GRID P40-2B4", 2048, PROFILE_VPC, false },
		{ "GRID M60-0Q", 512, PROFILE_VWS, false },
		{ "A100D-80C", 81920, PROFILE_COMPUTE, false },
		{ "GRID A100-1-5CME", 5120, PROFILE_COMPUTE, true },
		{ "NVIDIA A30-2-12C", 12288, PROFILE_COMPUTE, true },
		{ "NVIDIA RTX Pro 6000 Blackwell DC-1-24Q", 24576, PROFILE_VWS, true },
		{ "NVIDIA RTX6000-1Q", 1024, PROFILE_VWS, false },
		{ "NVIDIA H200X-141C", 144384, PROFILE_COMPUTE, false },
	};
	static const char *const none[] = { "GVTg_V5_4", "mtty-1",   "Dual port serial", "",	 "-",
					    "-4C",	 "A100-4",   "A100-4D",		 "A100-4CME", "A100-4C4",
					    "A100-4 C",	 "A100- 4C", "A100-5000C",	 "NVIDIA " };
	struct profile_name name;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_true(profile_name_parse(cases[i].name, &name));
		assert_int_equal(name.framebuffer_mb, cases[i].mb);
		assert_int_equal(name.class, cases[i].class);
		assert_int_equal(name.mig, cases[i].mig);
	}
	for (size_t i = 0; i < ARRAY_SIZE(none); i++)
		if (profile_name_parse(none[i], &name))
			fail_msg("\"%s\" is taken for a name", none[i]);
}

static void is_known_by_any_of_its_names(void **state)
{
	static const char *const mine[] = { "nvidia-256", "GRID A100-4C", "A100-4C", "NVIDIA A100-4C" };
	static const char *const not_mine[] = { "", "256", "nvidia-25", "a100-4c", "A100-4", "GRID", "GRID GRID A100-4C" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(mine); i++)
		assert_true(profile_is("nvidia-256", "nvidia-256", "GRID A100-4C", mine[i]));
	for (size_t i = 0; i < ARRAY_SIZE(not_mine); i++)
		assert_false(profile_is("nvidia-256", "nvidia-256", "GRID A100-4C", not_mine[i]));
	assert_true(profile_is("1145", "nvidia-1145", "NVIDIA L40S-1B", "1145"));
	assert_true(profile_is("1145", "nvidia-1145", NULL, "nvidia-1145"));
	assert_false(profile_is("1145", "nvidia-1145", NULL, "L40S-1B"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_descriptions),
		cmocka_unit_test(keeps_what_it_does_not_know),
		cmocka_unit_test(reads_names),
		cmocka_unit_test(is_known_by_any_of_its_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
