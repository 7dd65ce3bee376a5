/* SPDX-License-Identifier: Apache-2.0 */
/* Plans, refusals and tables of step kinds: the pure part of the engine. */
#include "unit.h"

#include "plan/plan.h"
#include "world.h"

struct args {
	int64_t cell, value, was;
};

static const struct step_kind *kind(const char *name)
{
	return step_find(&world_steps, 1, name);
}

static void add(struct plan *plan, const char *name, int64_t cell, int64_t value)
{
	const struct args args = { cell, value, 0 };

	plan_step(plan, kind(name), &args);
}

/* design: which codes there are, and which may be accepted. A code that is here is on the wire. */
static void test_refusals_are_the_committed_ones(void **state)
{
	static const struct {
		const char *name;
		bool bind, start;
	} wanted[] = {
		{ "boot_framebuffer", false, false }, { "bridge", false, false },
		{ "claimed", false, false },	      { "console_card", true, true },
		{ "critical", false, false },	      { "group_blocked", true, false },
		{ "held", false, false },	      { "iommu_off", false, false },
		{ "mdev_live", false, false },	      { "no_group", false, false },
		{ "no_interrupt_remapping", false, false },
		{ "no_reset", true, true },	      { "only_card", true, true },
		{ "pf_has_vfs", false, false },	      { "quarantined", false, false },
		{ "rmrr", false, false },	      { "stuck", false, false },
		{ "unknown_iommu", true, true },
	};
	enum refusal_code code;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
		code = refusal_find(wanted[i].name);
		assert_int_not_equal(code, REFUSAL_CODES);
		assert_int_equal(refusal_can_accept(code, false), wanted[i].bind);
		assert_int_equal(refusal_can_accept(code, true), wanted[i].start);
	}
	assert_int_equal(refusal_find("unknown_"), REFUSAL_CODES);
	assert_int_equal(refusal_find("force"), REFUSAL_CODES);
	assert_int_equal(refusal_find(""), REFUSAL_CODES);
}

static void test_refusal_table_is_sorted_and_full(void **state)
{
	(void)state;
	for (size_t i = 0; i < REFUSAL_CODES; i++) {
		assert_non_null(refusal_table[i].name);
		assert_non_null(refusal_table[i].means);
		if (i)
			assert_true(strcmp(refusal_table[i - 1].name, refusal_table[i].name) < 0);
	}
}

static int nothing(void *services, const void *args, struct error *err)
{
	(void)services;
	(void)args;
	(void)err;
	return 0;
}

static int nothing_holds(void *services, const void *args)
{
	(void)services;
	(void)args;
	return 0;
}

#define GOOD(kind_name)                                                                            \
	{ .name = kind_name, .args = no_rows, .args_size = 1, .apply = nothing, .prove = nothing,  \
	  .holds = nothing_holds }

static const struct row no_rows[] = { ROW_END };

static void test_tables_of_kinds_are_checked(void **state)
{
	const struct step_kind sorted[] = { GOOD("a"), GOOD("b") };
	const struct step_kind unsorted[] = { GOOD("b"), GOOD("a") };
	const struct step_kind named[] = { GOOD("Bind it") };
	struct step_kind no_proof[] = { GOOD("a") }, half_undo[] = { GOOD("a") };
	const struct step_table ok[] = { STEP_TABLE(sorted) };
	const struct step_table bad[] = { STEP_TABLE(unsorted), STEP_TABLE(named),
					  STEP_TABLE(no_proof), STEP_TABLE(half_undo) };
	const struct step_kind again[] = { GOOD("b") };
	const struct step_table twice[] = { STEP_TABLE(sorted), STEP_TABLE(again) };
	struct error err;

	(void)state;
	no_proof[0].prove = NULL;
	half_undo[0].undo = nothing;
	assert_int_equal(step_tables_check(ok, 1, &err), 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(step_tables_check(&bad[i], 1, &err), -1);
		assert_int_equal(err.code, ERROR_INTERNAL);
	}
	assert_int_equal(step_tables_check(twice, 2, &err), -1);
	assert_non_null(strstr(err.message, "twice"));
	assert_int_equal(step_tables_check(&world_steps, 1, &err), 0);
}

static void test_digest_is_of_the_steps(void **state)
{
	struct plan *a = plan_new(), *b = plan_new(), *c = plan_new();

	(void)state;
	add(a, "set-0", 1, 2);
	add(b, "set-0", 1, 2);
	plan_title(b, "another title");
	plan_lock(b, "card:x");
	add(c, "set-0", 1, 3);
	assert_int_equal(plan_digest(a, NULL), 0);
	assert_int_equal(plan_digest(b, NULL), 0);
	assert_int_equal(plan_digest(c, NULL), 0);
	assert_int_equal(strlen(a->digest), 64);
	assert_string_equal(a->digest, b->digest);
	assert_string_not_equal(a->digest, c->digest);
	add(b, "set-0", 1, 2);
	assert_int_equal(plan_digest(b, NULL), 0);
	assert_string_not_equal(a->digest, b->digest);
	plan_free(a);
	plan_free(b);
	plan_free(c);
}

static void test_digest_of_nothing_is_known(void **state)
{
	struct plan *plan = plan_new();

	(void)state;
	assert_int_equal(plan_digest(plan, NULL), 0);
	assert_string_equal(plan->digest,
			    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	plan_free(plan);
}

static void test_args_that_break_their_rows_break_the_plan(void **state)
{
	struct plan *plan = plan_new();
	struct error err = { 0 };

	(void)state;
	add(plan, "set-0", ROW_NULL, 2);	/* required, and null */
	assert_int_equal(plan_digest(plan, &err), -1);
	assert_int_equal(err.code, ERROR_INTERNAL);
	assert_non_null(strstr(err.message, "set-0"));
	plan_free(plan);
}

static void test_steps_have_a_maximum(void **state)
{
	struct plan *plan = plan_new();
	struct error err = { 0 };

	(void)state;
	for (int i = 0; i < PLAN_STEPS_MAX; i++)
		add(plan, "set-0", 1, i);
	assert_int_equal(plan_digest(plan, &err), 0);
	add(plan, "set-0", 1, 1);
	assert_int_equal(plan_digest(plan, &err), -1);
	assert_int_equal(err.code, ERROR_TOO_MANY);
	assert_int_equal(plan->steps.n, PLAN_STEPS_MAX);
	plan_free(plan);
}

static void test_locks_are_sorted_and_meet(void **state)
{
	struct plan *a = plan_new(), *b = plan_new();
	const char **names;

	(void)state;
	plan_lock(a, "vm:%s", "x");
	plan_lock(a, "card:%d", 1);
	plan_lock(a, "group:7");
	plan_lock(a, "card:%d", 1);
	names = a->locks.items;
	assert_int_equal(a->locks.n, 3);
	assert_string_equal(names[0], "card:1");
	assert_string_equal(names[1], "group:7");
	assert_string_equal(names[2], "vm:x");
	assert_false(plan_locks_meet(&a->locks, &b->locks));
	assert_true(plan_locks_within(&b->locks, &a->locks));
	assert_false(plan_locks_within(&a->locks, &b->locks));
	plan_lock(b, "card:0");
	plan_lock(b, "vm:a");
	assert_false(plan_locks_meet(&a->locks, &b->locks));
	plan_lock(b, "vm:x");
	assert_true(plan_locks_meet(&a->locks, &b->locks));
	assert_true(plan_locks_meet(&b->locks, &a->locks));
	assert_false(plan_locks_within(&b->locks, &a->locks));
	plan_lock(a, "card:0");
	plan_lock(a, "vm:a");
	assert_true(plan_locks_within(&b->locks, &a->locks));
	plan_free(a);
	plan_free(b);
}

static struct plan *refusing(void)
{
	struct plan *plan = plan_new();

	plan_refuse(plan, REFUSE_CONSOLE_CARD, "0000:01:00.0", "the console is on it", "vtcon1",
		    "use ssh");
	plan_refuse(plan, REFUSE_HELD, "0000:01:00.0", "Xorg has it open", NULL, "stop it");
	plan_refuse(plan, REFUSE_HELD, "0000:01:00.0", "said twice", NULL, NULL);
	plan_refuse(plan, REFUSE_HELD, "0000:01:00.1", "pipewire has it open", NULL, NULL);
	plan_refuse_unknown(plan, "holders", "0000:01:00.0", "who has it open cannot be read", NULL,
			    NULL);
	return plan;
}

static int accept(struct plan *plan, const char *const *codes, struct error *err)
{
	struct list list = { 0 };

	for (; *codes; codes++)
		list_add_string(plan->arena, &list, *codes);
	return plan_accept(plan, &list, err);
}

static void test_accepting_takes_out_only_what_can_be(void **state)
{
	static const char *const all[] = { "console_card", "held", "unknown_holders", "held",
					   NULL };
	struct plan *plan = refusing();
	const struct wire_refusal *left;

	(void)state;
	assert_int_equal(plan->refusals.n, 4);
	assert_true(plan_refuses(plan, "unknown_holders"));
	assert_int_equal(accept(plan, all, NULL), 0);
	left = plan->refusals.items;
	assert_int_equal(plan->refusals.n, 2);
	assert_string_equal(left[0].code, "held");
	assert_string_equal(
		left[0].reason,
		"Xorg has it open (the request accepts it, but this cannot be accepted)");
	assert_string_equal(left[1].subject, "0000:01:00.1");
	plan_free(plan);
}

static void test_another_unknown_is_not_accepted_along(void **state)
{
	static const char *const other[] = { "unknown_iommu", NULL };
	struct plan *plan = refusing();

	(void)state;
	assert_int_equal(accept(plan, other, NULL), 0);
	assert_int_equal(plan->refusals.n, 4);
	plan_free(plan);
}

static void test_accepting_what_is_no_code_is_an_error_of_the_request(void **state)
{
	static const char *const wrong[] = { "held", "force", NULL };
	struct plan *plan = refusing();
	struct error err = { 0 };

	(void)state;
	assert_int_equal(accept(plan, wrong, &err), -1);
	assert_int_equal(err.code, ERROR_INVALID_VALUE);
	assert_string_equal(err.pointer, "/accept/1");
	assert_int_equal(plan->refusals.n, 4);
	plan_free(plan);
}

static void test_a_blocked_group_is_hard_when_a_vm_starts(void **state)
{
	static const char *const blocked[] = { "group_blocked", NULL };

	(void)state;
	for (int start = 0; start < 2; start++) {
		struct plan *plan = plan_new();

		plan->vm_start = start;
		plan_refuse(plan, REFUSE_GROUP_BLOCKED, "group 7", "0000:00:1f.3 is in it", NULL,
			    NULL);
		assert_int_equal(accept(plan, blocked, NULL), 0);
		assert_int_equal(plan->refusals.n, start);
		plan_free(plan);
	}
}

static void test_refusals_have_a_maximum(void **state)
{
	struct plan *plan = plan_new();
	char subject[24];

	(void)state;
	for (int i = 0; i < PLAN_REFUSALS_MAX + 10; i++) {
		snprintf(subject, sizeof(subject), "%d", i);
		assert_non_null(plan_refuse(plan, REFUSE_HELD, subject, "why", NULL, NULL));
	}
	assert_int_equal(plan->refusals.n, PLAN_REFUSALS_MAX);
	plan_free(plan);
}

static void assert_json(json_t *json, const char *want)
{
	char *text = json_dumps(json, JSON_COMPACT);

	assert_string_equal(text, want);
	free(text);
	json_decref(json);
}

static void test_a_dry_run_shows_all(void **state)
{
	struct plan *plan = plan_new();

	(void)state;
	plan_title(plan, "bind %s", "it");
	plan_warn(plan, "mind the %s", "gap");
	add(plan, "set-0", 1, 2);
	add(plan, "final-1", 3, 4);
	plan->domain_xml = "<domain/>";
	snprintf(plan->digest, sizeof(plan->digest), "abc");
	assert_json(plan_emit(plan),
		    "{\"plan\":{\"title\":\"bind it\",\"digest\":\"abc\",\"steps\":["
		    "{\"n\":1,\"kind\":\"set-0\",\"text\":\"make cell 1 2\",\"undo\":\"yes\","
		    "\"writes\":[{\"path\":\"world/1\",\"value\":\"2\"}]},"
		    "{\"n\":2,\"kind\":\"final-1\",\"text\":\"make cell 3 4\",\"undo\":\"none\","
		    "\"writes\":[{\"path\":\"world/3\",\"value\":\"4\"}]}],\"refusals\":[],"
		    "\"warnings\":[\"mind the gap\"],\"domain_xml\":\"<domain/>\"}}");
	plan_free(plan);
}

static void test_a_refused_dry_run_shows_no_steps(void **state)
{
	struct plan *plan = plan_new();

	(void)state;
	add(plan, "set-0", 1, 2);
	plan_refuse(plan, REFUSE_BRIDGE, "0000:00:01.0", "it is a bridge", "class 0604", NULL);
	assert_json(
		plan_emit(plan),
		"{\"plan\":{\"title\":\"\",\"digest\":\"\",\"steps\":[],\"refusals\":["
		"{\"code\":\"bridge\",\"subject\":\"0000:00:01.0\",\"reason\":\"it is a bridge\","
		"\"evidence\":\"class "
		"0604\",\"fix\":null,\"can_accept\":false}],\"warnings\":[]}}");
	plan_free(plan);
}

static void test_faults_are_read_from_the_environment_only(void **state)
{
	static const struct {
		const char *text;
		int r;
	} cases[] = {
		{ "kill:horcruxd:unbind:before", 1 },	{ "kill:horcruxd:unbind/undo:after", 1 },
		{ "kill:horcrux-privd:unbind:inside", 0 },
		{ "kill:horcruxd:unbind:later", -1 },	{ "kill:horcruxd:unbind", -1 },
		{ "stop:horcruxd:unbind:before", -1 },	{ "kill::unbind:before", -1 },
		{ "kill:horcruxd:unbind:before:", -1 }, { "", -1 },
	};
	const char *text;
	struct error err;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		setenv("HORCRUX_FAULT", cases[i].text, 1);
		assert_int_equal(fault_load("horcruxd", &text, &err), cases[i].r);
		assert_string_equal(text, cases[i].text);
	}
	unsetenv("HORCRUX_FAULT");
	assert_int_equal(fault_load("horcruxd", &text, &err), 0);
	assert_null(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refusals_are_the_committed_ones),
		cmocka_unit_test(test_refusal_table_is_sorted_and_full),
		cmocka_unit_test(test_tables_of_kinds_are_checked),
		cmocka_unit_test(test_digest_is_of_the_steps),
		cmocka_unit_test(test_digest_of_nothing_is_known),
		cmocka_unit_test(test_args_that_break_their_rows_break_the_plan),
		cmocka_unit_test(test_steps_have_a_maximum),
		cmocka_unit_test(test_locks_are_sorted_and_meet),
		cmocka_unit_test(test_accepting_takes_out_only_what_can_be),
		cmocka_unit_test(test_another_unknown_is_not_accepted_along),
		cmocka_unit_test(test_accepting_what_is_no_code_is_an_error_of_the_request),
		cmocka_unit_test(test_a_blocked_group_is_hard_when_a_vm_starts),
		cmocka_unit_test(test_refusals_have_a_maximum),
		cmocka_unit_test(test_a_dry_run_shows_all),
		cmocka_unit_test(test_a_refused_dry_run_shows_no_steps),
		cmocka_unit_test(test_faults_are_read_from_the_environment_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
