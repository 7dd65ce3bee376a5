/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine on a world of cells (world.h): what is done in which order when a step fails, does not
 * come back or is cancelled; who waits for whom; and what others see of it.
 */
#include "unit.h"

#include <pthread.h>

#include "world.h"

struct fixture {
	char top[48], run[64], var[64];
	struct world *world;
	struct journal *journal;
	struct engine *engine;
};

static void start(struct fixture *f)
{
	struct engine_config config;
	struct error err = { 0 };

	f->journal = journal_open(f->run, f->var, "boot", &err);
	if (!f->journal)
		fail_msg("%s", err.message);
	world_config(f->world, f->journal, &config);
	f->engine = engine_start(&config, &err);
	if (!f->engine)
		fail_msg("%s", err.message);
}

static void stop(struct fixture *f)
{
	assert_int_equal(engine_stop(f->engine, 5000), 0);
	journal_close(f->journal);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	snprintf(f->top, sizeof(f->top), "%s/horcrux-task-XXXXXX",
		 access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
	assert_non_null(mkdtemp(f->top));
	snprintf(f->run, sizeof(f->run), "%s/run", f->top);
	snprintf(f->var, sizeof(f->var), "%s/var", f->top);
	assert_int_equal(mkdir(f->run, 0700), 0);
	assert_int_equal(mkdir(f->var, 0700), 0);
	f->world = world_new();
	start(f);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char path[96];

	stop(f);
	world_free(f->world);
	snprintf(path, sizeof(path), "%s/journal", f->run);
	unlink(path);
	snprintf(path, sizeof(path), "%s/journal", f->var);
	unlink(path);
	rmdir(f->run);
	rmdir(f->var);
	rmdir(f->top);
	free(f);
	return 0;
}

/* Four cells, 0 to 3, to be 10 to 13. */
static const struct world_wish four[] = {
	{ "set-0", 0, 10 }, { "set-1", 1, 11 }, { "set-2", 2, 12 }, { "set-3", 3, 13 }
};
/* The third is a point of no return. */
static const struct world_wish final[] = {
	{ "set-0", 0, 10 }, { "set-1", 1, 11 }, { "final-2", 2, 12 }, { "set-3", 3, 13 }
};

static void assert_cells(struct fixture *f, int a, int b, int c, int d)
{
	assert_int_equal(atomic_load(&f->world->cell[0].value), a);
	assert_int_equal(atomic_load(&f->world->cell[1].value), b);
	assert_int_equal(atomic_load(&f->world->cell[2].value), c);
	assert_int_equal(atomic_load(&f->world->cell[3].value), d);
}

static void assert_log(struct fixture *f, const char *want)
{
	char *log = world_log(f->world, 0);

	assert_string_equal(log, want);
	free(log);
}

/* Runs it to its end; the outcome's error is left in *err. */
static enum task_state run_it(struct fixture *f, struct world_request *request, struct error *err)
{
	struct task_outcome outcome;
	struct task *task = world_do(f->engine, &world_operation, request, NULL, &outcome);
	enum task_state state = outcome.state;

	assert_true(outcome.ended);
	*err = outcome.error;
	task_outcome_finish(&outcome);
	task_unref(task);
	return state;
}

static void test_states_move_by_the_table(void **state)
{
	static const struct {
		enum task_state from;
		const char *to;	/* "qrsfcRS", those that are allowed */
	} wanted[] = {
		{ TASK_QUEUED, "rsfc" }, { TASK_RUNNING, "sfcRS" }, { TASK_SUCCEEDED, "" },
		{ TASK_FAILED, "" },	 { TASK_CANCELLED, "" },    { TASK_ROLLED_BACK, "" },
		{ TASK_STUCK, "sfcR" },
	};
	static const char letters[] = "qrsfcRS";

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++)
		for (int to = 0; to < TASK_STATES; to++)
			assert_int_equal(task_may_move(wanted[i].from, (enum task_state)to),
					 strchr(wanted[i].to, letters[to]) != NULL);
}

static void test_all_steps_are_done_and_proven(void **state)
{
	struct fixture *f = *state;
	struct task_outcome outcome;
	struct task *task = world_do(f->engine, &world_operation, world_request(four, 4), NULL,
				     &outcome);

	assert_int_equal(outcome.state, TASK_SUCCEEDED);
	assert_int_equal(outcome.error.code, ERROR_NONE);
	assert_true(outcome.kept);
	assert_true(outcome.changed);
	assert_non_null(strstr(outcome.result, "{\"cells\":[10,11,12,13,"));
	assert_log(f, "apply 0, prove 0, apply 1, prove 1, apply 2, prove 2, apply 3, prove 3");
	assert_cells(f, 10, 11, 12, 13);
	task_outcome_finish(&outcome);
	task_unref(task);
}

static void test_what_is_so_already_is_not_done_again(void **state)
{
	struct fixture *f = *state;
	struct task_outcome outcome;
	struct task *task;
	struct error err;
	int logged;

	assert_int_equal(run_it(f, world_request(four, 4), &err), TASK_SUCCEEDED);
	logged = atomic_load(&f->world->n_log);
	task = world_do(f->engine, &world_operation, world_request(four, 4), NULL, &outcome);
	assert_int_equal(outcome.state, TASK_SUCCEEDED);
	assert_false(outcome.changed);
	assert_non_null(outcome.result);
	assert_int_equal(atomic_load(&f->world->n_log), logged);
	task_outcome_finish(&outcome);
	task_unref(task);
}

/* A failure in apply or proof of each step: those before it are undone in reverse, each proven. */
static void test_a_failed_step_undoes_what_was_done(void **state)
{
	static const char *const logs[] = {
		"apply 0, unproved 0",
		"apply 0, prove 0, apply 1, unproved 1, undo 0, unproved 0",
		"apply 0, prove 0, apply 1, prove 1, apply 2, unproved 2, undo 1, unproved 1, undo "
		"0, "
		"unproved 0",
		"apply 0, prove 0, apply 1, prove 1, apply 2, prove 2, apply 3, unproved 3, undo "
		"2, "
		"unproved 2, undo 1, unproved 1, undo 0, unproved 0",
	};
	struct fixture *f = *state;
	struct error err;

	for (size_t n = 0; n < 4; n++) {
		atomic_store(&f->world->n_log, 0);
		atomic_store(&f->world->cell[n].fail_apply, ERROR_CONFLICT);
		assert_int_equal(run_it(f, world_request(four, 4), &err),
				 n ? TASK_ROLLED_BACK : TASK_FAILED); /* nothing was changed */
		atomic_store(&f->world->cell[n].fail_apply, 0);
		assert_int_equal(err.code, ERROR_CONFLICT);
		assert_non_null(strstr(err.message, "apply was told to fail"));
		assert_non_null(strstr(err.message, "of 4 (make cell"));
		assert_log(f, logs[n]);
		assert_cells(f, 0, 0, 0, 0);
	}
}

static void test_a_step_that_failed_half_way_is_undone_too(void **state)
{
	struct fixture *f = *state;
	struct error err;

	for (size_t n = 0; n < 4; n++) {
		atomic_store(&f->world->cell[n].fail_apply_done, ERROR_SYSTEM);
		assert_int_equal(run_it(f, world_request(four, 4), &err), TASK_ROLLED_BACK);
		atomic_store(&f->world->cell[n].fail_apply_done, 0);
		assert_cells(f, 0, 0, 0, 0);
		atomic_store(&f->world->cell[n].fail_prove, ERROR_PROOF_FAILED);
		assert_int_equal(run_it(f, world_request(four, 4), &err), TASK_ROLLED_BACK);
		assert_int_equal(err.code, ERROR_PROOF_FAILED);
		atomic_store(&f->world->cell[n].fail_prove, 0);
		assert_cells(f, 0, 0, 0, 0);
	}
}

/* Whoever has the name has what looks like the step done, and it is not ours to take away. */
static void test_what_somebody_else_made_is_not_undone(void **state)
{
	struct fixture *f = *state;
	struct error err;

	for (size_t n = 0; n < 4; n++) {
		atomic_store(&f->world->n_log, 0);
		/* it is not there when it is planned, and there when it is to be made */
		atomic_store(&f->world->cell[n].fail_apply_done, ERROR_EXISTS);
		assert_int_equal(run_it(f, world_request(four, 4), &err),
				 n ? TASK_ROLLED_BACK : TASK_FAILED);
		assert_int_equal(err.code, ERROR_EXISTS);
		assert_int_equal(atomic_load(&f->world->cell[n].value), four[n].value);
		assert_int_equal(world_logged(f->world, DID_UNDO), n);
		atomic_store(&f->world->cell[n].fail_apply_done, 0);
		atomic_store(&f->world->cell[n].value, 0);
		assert_cells(f, 0, 0, 0, 0);
	}
}

/* What cannot be undone ends the way back, and stands in the problem. */
static void test_what_cannot_be_undone_is_told(void **state)
{
	struct fixture *f = *state;
	struct error err;

	atomic_store(&f->world->cell[3].fail_apply, ERROR_CONFLICT);
	atomic_store(&f->world->cell[1].fail_undo, ERROR_SYSTEM);
	assert_int_equal(run_it(f, world_request(four, 4), &err), TASK_FAILED);
	assert_int_equal(err.code, ERROR_CONFLICT);
	assert_non_null(
		strstr(err.message, "step 2 (make cell 1 11) could not be undone: undo was told"));
	assert_non_null(strstr(err.message, "1 step before it left"));
	assert_true(err.hint[0]);
	assert_cells(f, 10, 11, 0, 0);
	atomic_store(&f->world->cell[0].value, 0);
	atomic_store(&f->world->cell[1].value, 0);
	atomic_store(&f->world->cell[1].fail_undo, 0);
	atomic_store(&f->world->cell[1].fail_prove_undone, ERROR_PROOF_FAILED);
	assert_int_equal(run_it(f, world_request(four, 4), &err), TASK_FAILED);
	assert_cells(f, 10, 0, 0, 0);	/* undone, as it seems, but not proven */
}

static void test_before_the_point_of_no_return_it_goes_back(void **state)
{
	struct fixture *f = *state;
	struct error err;

	atomic_store(&f->world->cell[2].fail_apply, ERROR_LIBVIRT);
	assert_int_equal(run_it(f, world_request(final, 4), &err), TASK_ROLLED_BACK);
	assert_cells(f, 0, 0, 0, 0);
}

static void test_behind_the_point_of_no_return_nothing_is_undone(void **state)
{
	struct fixture *f = *state;
	struct error err;

	atomic_store(&f->world->cell[3].fail_apply, ERROR_CONFLICT);
	assert_int_equal(run_it(f, world_request(final, 4), &err), TASK_FAILED);
	assert_non_null(strstr(err.message, "no way back"));
	assert_cells(f, 10, 11, 12, 0);
	assert_int_equal(world_logged(f->world, DID_UNDO), 0);
}

/* It said that it failed, and happened all the same: then it happened. */
static void test_a_point_of_no_return_that_happened_is_passed(void **state)
{
	struct fixture *f = *state;
	struct error err;

	atomic_store(&f->world->cell[2].fail_apply_done, ERROR_LIBVIRT);
	assert_int_equal(run_it(f, world_request(final, 4), &err), TASK_SUCCEEDED);
	assert_int_equal(err.code, ERROR_NONE);
	assert_cells(f, 10, 11, 12, 13);
}

static void test_a_point_of_no_return_that_cannot_be_told_is_stuck(void **state)
{
	struct fixture *f = *state;
	struct error err;
	struct task_outcome outcome;
	struct task *task;

	atomic_store(&f->world->cell[2].fail_apply, ERROR_LIBVIRT);
	atomic_store(&f->world->cell[2].unknown, -1);
	task = world_do(f->engine, &world_operation, world_request(final, 4), NULL, &outcome);
	assert_int_equal(outcome.state, TASK_STUCK);
	assert_int_equal(outcome.error.code, ERROR_STUCK);
	assert_non_null(strstr(outcome.error.message, "cannot be told"));
	assert_cells(f, 10, 11, 0, 0);
	task_outcome_finish(&outcome);

	/* Others are refused, not made to wait. */
	assert_int_equal(run_it(f, world_request(four, 1), &err), TASK_FAILED);
	assert_int_equal(err.code, ERROR_REFUSED);

	/* And when it can be told, it goes on. */
	atomic_store(&f->world->cell[2].unknown, 0);
	engine_look_again(f->engine);
	for (int i = 0; i < 1000 && outcome.state != TASK_ROLLED_BACK; i++) {
		usleep(5000);
		task_outcome(task, &outcome);
		task_outcome_finish(&outcome);
		task_outcome(task, &outcome);
	}
	assert_int_equal(outcome.state, TASK_ROLLED_BACK);
	assert_cells(f, 0, 0, 0, 0);
	task_outcome_finish(&outcome);
	task_unref(task);
}

/* For a moment nobody can tell, on the way on and on the way back: that is waited for. */
static void test_what_cannot_be_told_for_a_moment_is_asked_again(void **state)
{
	struct fixture *f = *state;
	struct error err;

	atomic_store(&f->world->cell[2].fail_apply, ERROR_LIBVIRT);
	atomic_store(&f->world->cell[2].unknown, 3);
	assert_int_equal(run_it(f, world_request(final, 4), &err), TASK_ROLLED_BACK);
	assert_int_equal(err.code, ERROR_LIBVIRT);
	assert_cells(f, 0, 0, 0, 0);
	atomic_store(&f->world->cell[2].unknown, 3);
	assert_int_equal(run_it(f, world_request(four, 4), &err), TASK_ROLLED_BACK);
	assert_int_equal(err.code, ERROR_LIBVIRT);
	assert_cells(f, 0, 0, 0, 0);
}

/* ---- waiting for proofs ---- */

static void test_a_late_proof_is_waited_for(void **state)
{
	struct fixture *f = *state;
	struct error err;

	atomic_store(&f->world->cell[1].not_yet, 4);
	assert_int_equal(run_it(f, world_request(four, 2), &err), TASK_SUCCEEDED);
	assert_log(f, "apply 0, prove 0, apply 1, prove 1, prove 1, prove 1, prove 1, prove 1");
}

static void test_a_proof_that_never_comes_goes_back_with_its_reason(void **state)
{
	struct fixture *f = *state;
	struct error err;

	atomic_store(&f->world->cell[1].not_yet, -1);
	atomic_store(&f->world->cell[1].deadline_ms, 100);
	assert_int_equal(run_it(f, world_request(four, 2), &err), TASK_ROLLED_BACK);
	assert_int_equal(err.code, ERROR_CONFLICT);
	assert_non_null(strstr(err.message, "cell 1 is not ready"));
	assert_cells(f, 0, 0, 0, 0);
}

static struct task *submit(struct fixture *f, const struct operation *operation,
			   struct world_request *request)
{
	static const struct task_options none = { .requested_by = "uid 0 (root)",
						  .request_id = "r-1" };
	struct error err = { 0 };
	struct task *task = task_submit(f->engine, operation, request, &none, &err);

	if (!task)
		fail_msg("%s", err.message);
	return task;
}

/* Until `act` was logged n times. */
static void until_logged(struct fixture *f, enum world_act act, int n)
{
	atomic_int never = 0;

	for (int i = 0; i < 2000 && world_logged(f->world, act) < n; i++)
		world_pump(f->engine, &never, 5);
	assert_true(world_logged(f->world, act) >= n);
}

static void assert_ends(struct fixture *f, struct task *task, enum task_state want,
			struct error *err)
{
	struct task_outcome outcome;

	world_await(f->engine, task, &outcome);
	assert_int_equal(outcome.state, want);
	if (err)
		*err = outcome.error;
	task_outcome_finish(&outcome);
	task_unref(task);
}

static void test_news_wakes_who_waits(void **state)
{
	struct fixture *f = *state;
	atomic_int never = 0;
	struct task *task;
	int proofs;

	atomic_store(&f->world->cell[0].not_yet, -1);
	task = submit(f, &world_operation, world_request(four, 1));
	until_logged(f, DID_PROVE, 6);	/* by now it asks once a second at most */
	world_pump(f->engine, &never, 50);
	proofs = world_logged(f->world, DID_PROVE);
	atomic_store(&f->world->cell[0].not_yet, 0);
	engine_poke(f->engine, "cell:7");
	usleep(20000);
	assert_int_equal(world_logged(f->world, DID_PROVE), proofs);
	engine_poke(f->engine, "cell:0");
	for (int i = 0; i < 200 && world_logged(f->world, DID_PROVE) == proofs; i++)
		usleep(1000);	/* without engine_dispatch() */
	assert_true(world_logged(f->world, DID_PROVE) > proofs);
	assert_ends(f, task, TASK_SUCCEEDED, NULL);
}

/* ---- asking again ---- */

static const struct world_wish press[] = { { "set-0", 0, 10 }, { "press-1", 1, 11 } };

static void test_who_does_not_listen_yet_is_asked_again(void **state)
{
	struct fixture *f = *state;
	struct error err;

	atomic_store(&f->world->cell[1].deadline_ms, 60000);
	atomic_store(&f->world->cell[1].deaf, 2);
	assert_int_equal(run_it(f, world_request(press, 2), &err), TASK_SUCCEEDED);
	assert_int_equal(world_logged(f->world, DID_APPLY), 1 + 3);
	assert_cells(f, 10, 11, 0, 0);
	atomic_store(&f->world->cell[1].value, 0);
	assert_int_equal(run_it(f, world_request(press, 2), &err), TASK_SUCCEEDED);
	assert_int_equal(world_logged(f->world, DID_APPLY), 1 + 3 + 1); /* who listens is asked once */
}

/* What a later one says is no end of the step; what the first one says is. */
static void test_asking_again_may_fail(void **state)
{
	struct fixture *f = *state;
	struct error err;
	struct task *task;

	atomic_store(&f->world->cell[1].deadline_ms, 60000);
	atomic_store(&f->world->cell[1].deaf, 1);
	task = submit(f, &world_operation, world_request(press, 2));
	until_logged(f, DID_APPLY, 2);
	atomic_store(&f->world->cell[1].fail_apply, ERROR_LIBVIRT);
	until_logged(f, DID_APPLY, 5);
	atomic_store(&f->world->cell[1].fail_apply, 0);
	assert_ends(f, task, TASK_SUCCEEDED, NULL);
	atomic_store(&f->world->cell[1].value, 0);
	atomic_store(&f->world->cell[1].fail_apply, ERROR_LIBVIRT);
	assert_int_equal(run_it(f, world_request(press, 2), &err), TASK_FAILED);
	assert_int_equal(err.code, ERROR_LIBVIRT);
}

/* Its deadline is that of the first time, and it is asked in vain up to there. */
static void test_asking_again_has_an_end(void **state)
{
	struct fixture *f = *state;
	struct error err;

	atomic_store(&f->world->cell[1].deadline_ms, 10 * WORLD_AGAIN_MS);
	atomic_store(&f->world->cell[1].deaf, -1);
	assert_int_equal(run_it(f, world_request(press, 2), &err), TASK_ROLLED_BACK);
	assert_int_equal(err.code, ERROR_PROOF_FAILED);
	assert_in_range(world_logged(f->world, DID_APPLY), 1 + 2, 1 + 10);
	assert_cells(f, 0, 0, 0, 0);
}

static void test_cancel_and_what_is_urgent_end_asking_again(void **state)
{
	static const struct world_wish force[] = { { "final-1", 1, 20 } };
	struct fixture *f = *state;
	struct error err;
	struct task *task;

	atomic_store(&f->world->cell[1].deadline_ms, 60000);
	atomic_store(&f->world->cell[1].deaf, -1);
	task = submit(f, &world_operation, world_request(press, 2));
	until_logged(f, DID_APPLY, 4);
	assert_int_equal(task_cancel(f->engine, task_id(task), NULL, &err), 0);
	assert_ends(f, task, TASK_CANCELLED, &err);
	assert_cells(f, 0, 0, 0, 0);
	atomic_store(&f->world->n_log, 0);
	task = submit(f, &world_operation, world_request(press, 2));
	until_logged(f, DID_APPLY, 4);
	assert_ends(f, submit(f, &world_urgent, world_request(force, 1)), TASK_SUCCEEDED, NULL);
	assert_ends(f, task, TASK_CANCELLED, NULL);
	assert_cells(f, 0, 20, 0, 0);
}

/* ---- cancelling ---- */

static void test_cancel_is_seen_between_steps(void **state)
{
	struct fixture *f = *state;
	struct error err;
	struct task *task;

	for (int n = 0; n < 4; n++) {	/* while step n is inside apply, the last one too */
		atomic_store(&f->world->n_log, 0);
		atomic_store(&f->world->cell[n].hang, 1);
		task = submit(f, &world_operation, world_request(four, 4));
		until_logged(f, DID_APPLY, n + 1);
		assert_int_equal(task_cancel(f->engine, task_id(task), NULL, &err), 0);
		atomic_store(&f->world->cell[n].hang, 0);
		assert_ends(f, task, TASK_CANCELLED, &err);
		assert_int_equal(err.code, ERROR_CANCELLED);
		assert_int_equal(world_logged(f->world, DID_APPLY), n + 1);
		assert_int_equal(world_logged(f->world, DID_UNDO), n + 1);
		assert_cells(f, 0, 0, 0, 0);
	}
}

static void test_cancel_can_be_planned(void **state)
{
	struct fixture *f = *state;
	struct task_outcome outcome;
	struct plan *plan, *last = NULL;
	char want[96];
	struct error err;
	struct task *task;
	json_t *json;

	for (int n = 0; n < 2; n++) {
		atomic_store(&f->world->n_log, 0);
		atomic_store(&f->world->cell[n].hang, 1);
		task = submit(f, &world_operation, world_request(four, 2));
		until_logged(f, DID_APPLY, n + 1);
		plan = task_cancel_plan(f->engine, task_id(task), &err);
		assert_non_null(plan);
		json = plan_emit(plan);
		snprintf(want, sizeof(want), "end %s and undo what it did, in %d step%s so far",
			 task_id(task), n + 1, n ? "s" : "");
		assert_non_null(strstr(json_string_value(json_object_get(
			json_array_get(json_object_get(json_object_get(json, "plan"), "steps"), 0), "text")),
				       want));
		json_decref(json);
		if (last) {
			assert_int_equal(task_cancel(f->engine, task_id(task), last->digest, &err), -1);
			assert_int_equal(err.code, ERROR_PLAN_CHANGED);
		}
		assert_int_equal(task_cancel(f->engine, task_id(task), plan->digest, &err), 0);
		atomic_store(&f->world->cell[n].hang, 0);
		world_await(f->engine, task, &outcome);
		assert_int_equal(outcome.state, TASK_CANCELLED);
		task_outcome_finish(&outcome);
		assert_null(task_cancel_plan(f->engine, task_id(task), &err));
		assert_int_equal(err.code, ERROR_CONFLICT);
		task_unref(task);
		plan_free(last);
		last = plan;
	}
	plan_free(last);
	assert_null(task_cancel_plan(f->engine, "task-none", &err));
	assert_int_equal(err.code, ERROR_NOT_FOUND);
}

static void test_cancel_ends_a_wait(void **state)
{
	static const struct world_wish wait[] = { { "set-0", 0, 10 }, { "final-1", 1, 11 } };
	struct fixture *f = *state;
	struct error err;
	struct task *task;

	for (int no_return = 0; no_return < 2; no_return++) {
		atomic_store(&f->world->n_log, 0);
		atomic_store(&f->world->cell[1].not_yet, -1);
		if (no_return)	/* asked for, as an ACPI stop is, and did not happen */
			atomic_store(&f->world->cell[1].fail_apply_done, 0);
		task = submit(f, &world_operation, world_request(no_return ? wait : four, 2));
		until_logged(f, DID_PROVE, 2);
		if (no_return)
			atomic_store(&f->world->cell[1].value, 0);
		assert_int_equal(task_cancel(f->engine, task_id(task), NULL, &err), 0);
		assert_ends(f, task, TASK_CANCELLED, &err);
		assert_int_equal(err.code, ERROR_CANCELLED);
		assert_cells(f, 0, 0, 0, 0);
	}
}

static void test_cancel_is_refused_when_there_is_no_way_back(void **state)
{
	struct fixture *f = *state;
	struct error err;
	struct task *task;

	atomic_store(&f->world->cell[3].hang, 1);
	task = submit(f, &world_operation, world_request(final, 4));
	until_logged(f, DID_APPLY, 4);
	assert_int_equal(task_cancel(f->engine, task_id(task), NULL, &err), -1);
	assert_int_equal(err.code, ERROR_CONFLICT);
	atomic_store(&f->world->cell[3].hang, 0);
	assert_ends(f, task_ref(task), TASK_SUCCEEDED, NULL);
	assert_int_equal(task_cancel(f->engine, task_id(task), NULL, &err), -1);
	assert_non_null(strstr(err.message, "over"));
	assert_int_equal(task_cancel(f->engine, "task-0", NULL, &err), -1);
	assert_int_equal(err.code, ERROR_NOT_FOUND);
	task_unref(task);
}

static void test_cancel_of_what_is_queued_is_at_once(void **state)
{
	struct fixture *f = *state;
	struct error err;
	struct task *first, *second;
	json_t *json;

	atomic_store(&f->world->cell[0].hang, 1);
	first = submit(f, &world_operation, world_request(four, 1));
	until_logged(f, DID_APPLY, 1);
	second = submit(f, &world_operation, world_request(four, 2));
	for (int i = 0; i < 1000; i++) {
		json = task_list(f->engine, TASK_QUEUED);
		if (json_array_size(json) == 1)
			break;
		json_decref(json);
		usleep(1000);
	}
	assert_non_null(
		strstr(json_string_value(json_object_get(json_array_get(json, 0), "message")),
		       task_id(first)));
	json_decref(json);
	assert_int_equal(task_cancel(f->engine, task_id(second), NULL, &err), 0);
	assert_ends(f, second, TASK_CANCELLED, NULL);
	atomic_store(&f->world->cell[0].hang, 0);
	assert_ends(f, first, TASK_SUCCEEDED, NULL);
	assert_cells(f, 10, 0, 0, 0);
}

/* ---- locks ---- */

static void test_two_equal_requests_write_once(void **state)
{
	struct fixture *f = *state;
	struct task *a, *b;

	atomic_store(&f->world->cell[0].hang, 1);
	a = submit(f, &world_operation, world_request(four, 4));
	until_logged(f, DID_APPLY, 1);
	b = submit(f, &world_operation, world_request(four, 4));
	usleep(20000);
	atomic_store(&f->world->cell[0].hang, 0);
	assert_ends(f, a, TASK_SUCCEEDED, NULL);
	assert_ends(f, b, TASK_SUCCEEDED, NULL);
	assert_int_equal(world_logged(f->world, DID_APPLY), 4);
}

/* Nobody in the way: one plan, with the locks held. Somebody: two, as ever. */
static void test_known_locks_are_taken_before_the_only_plan(void **state)
{
	struct fixture *f = *state;
	struct world_request *request = world_request(four, 4);
	atomic_int plans = 0;
	struct task *a, *b;

	request->plans = &plans;
	atomic_store(&f->world->cell[0].hang, 1);
	a = submit(f, &world_known, request);
	until_logged(f, DID_APPLY, 1);
	assert_int_equal(atomic_load(&plans), 1);
	request = world_request(four, 4);
	request->plans = &plans;
	b = submit(f, &world_known, request);
	for (int i = 0; i < 1000 && atomic_load(&plans) < 2; i++)
		usleep(1000);
	atomic_store(&f->world->cell[0].hang, 0);
	assert_ends(f, a, TASK_SUCCEEDED, NULL);
	assert_ends(f, b, TASK_SUCCEEDED, NULL);
	assert_int_equal(atomic_load(&plans), 3);
	assert_int_equal(world_logged(f->world, DID_APPLY), 4);
}

/* Refused, or wrong: it never was a task, and what it had is free. */
static void test_known_locks_are_given_back(void **state)
{
	struct fixture *f = *state;
	struct world_request *refused = world_request(four, 2), *wrong = world_request(four, 2);
	struct world_request *more = world_request(four, 2);
	struct task_outcome outcome;
	atomic_int plans = 0;
	struct task *task;
	json_t *list;

	refused->refuse[0] = "held";
	wrong->fail_plan = ERROR_NOT_FOUND;
	for (int i = 0; i < 2; i++) {
		task = world_do(f->engine, &world_known, i ? wrong : refused, NULL, &outcome);
		assert_int_equal(outcome.state, TASK_FAILED);
		assert_int_equal(outcome.error.code, i ? ERROR_NOT_FOUND : ERROR_REFUSED);
		assert_false(outcome.kept);
		task_outcome_finish(&outcome);
		task_unref(task);
	}
	list = task_list(f->engine, -1);
	assert_int_equal(json_array_size(list), 0);
	json_decref(list);
	more->more_locks = 1;	/* it needs one that was not known */
	more->plans = &plans;
	assert_ends(f, submit(f, &world_known, more), TASK_SUCCEEDED, NULL);
	assert_int_equal(atomic_load(&plans), 2);
	assert_cells(f, 10, 11, 0, 0);
}

/* What is refused while another is at work is judged again when that is over. */
static void test_a_refusal_of_the_moment_is_not_final(void **state)
{
	struct fixture *f = *state;
	struct world_request *request = world_request(four, 2);
	struct error err;
	struct task *a, *b, *c;

	atomic_store(&f->world->cell[0].hang, 1);
	a = submit(f, &world_operation, world_request(four, 1));
	until_logged(f, DID_APPLY, 1);
	request->refuse[0] = "held";
	b = submit(f, &world_operation, request);
	request = world_request(four, 2);
	request->refuse[0] = "held";
	request->refuse_first = true;
	c = submit(f, &world_operation, request);
	usleep(20000);
	atomic_store(&f->world->cell[0].hang, 0);
	assert_ends(f, a, TASK_SUCCEEDED, NULL);
	assert_ends(f, b, TASK_FAILED, &err);	/* it still refuses, now in earnest */
	assert_int_equal(err.code, ERROR_REFUSED);
	assert_ends(f, c, TASK_SUCCEEDED, NULL);
	assert_cells(f, 10, 11, 0, 0);

	request = world_request(four, 3);
	request->refuse[0] = "held";
	request->refuse_first = true;	/* with nobody at work it is final at once */
	assert_int_equal(run_it(f, request, &err), TASK_FAILED);
}

/* So does what cannot be planned since something is in the way. */
static void test_a_conflict_of_the_moment_is_not_final(void **state)
{
	struct fixture *f = *state;
	struct world_request *request = world_request(four, 2);
	struct error err;
	struct task *a, *b;

	atomic_store(&f->world->cell[0].hang, 1);
	a = submit(f, &world_operation, world_request(four, 1));
	until_logged(f, DID_APPLY, 1);
	request->conflict_first = true;
	b = submit(f, &world_operation, request);
	usleep(20000);
	atomic_store(&f->world->cell[0].hang, 0);
	assert_ends(f, a, TASK_SUCCEEDED, NULL);
	assert_ends(f, b, TASK_SUCCEEDED, NULL);
	request = world_request(four, 3);
	request->conflict_first = true;
	assert_int_equal(run_it(f, request, &err), TASK_FAILED);
	assert_int_equal(err.code, ERROR_CONFLICT);
}

static void test_others_do_not_wait(void **state)
{
	static const struct world_wish apart[] = { { "set-3", 3, 13 } };
	struct fixture *f = *state;
	struct task *slow;
	struct error err;

	atomic_store(&f->world->cell[0].hang, 1);
	slow = submit(f, &world_operation, world_request(four, 2));
	until_logged(f, DID_APPLY, 1);
	assert_int_equal(run_it(f, world_request(apart, 1), &err), TASK_SUCCEEDED);
	atomic_store(&f->world->cell[0].hang, 0);
	assert_ends(f, slow, TASK_SUCCEEDED, NULL);
}

static void test_locks_that_turn_out_others_are_waited_for(void **state)
{
	struct fixture *f = *state;
	struct world_request *request = world_request(four, 1);
	struct error err;

	request->more_locks = 3;
	assert_int_equal(run_it(f, request, &err), TASK_SUCCEEDED);
	request = world_request(four, 2);
	request->more_locks = TASK_REPLANS + 1;
	assert_int_equal(run_it(f, request, &err), TASK_FAILED);
	assert_int_equal(err.code, ERROR_CONFLICT);
	assert_cells(f, 10, 0, 0, 0);
}

/* Without the lock of a cell tasks take it from one another, and some find it other than they made
 * it. */
static void assert_ends_somehow(struct fixture *f, struct task *task)
{
	struct task_outcome outcome;

	world_await(f->engine, task, &outcome);
	assert_true(outcome.state == TASK_SUCCEEDED || outcome.state == TASK_ROLLED_BACK ||
		    outcome.state == TASK_FAILED);
	task_outcome_finish(&outcome);
	task_unref(task);
}

enum { MANY = TASK_THREADS + 6 };

/* Every thread may hang in the kernel; what has to work then has a thread. */
static void test_one_thread_is_kept_for_what_is_urgent(void **state)
{
	struct fixture *f = *state;
	struct task *tasks[MANY];
	static const struct world_wish other[] = { { "set-1", 1, 11 } };
	struct world_request *request;
	struct task_outcome outcome;
	struct task *urgent;
	static char locks[MANY][16];

	atomic_store(&f->world->cell[0].deadline_ms, 60000);
	atomic_store(&f->world->cell[0].hang, 1);
	for (int i = 0; i < MANY; i++) {
		static const struct world_wish hang[] = { { "set-0", 0, 10 } };

		/* Different locks, and the planner's own is given to all: they take turns without
		 * this. */
		request = world_request(hang, 1);
		snprintf(locks[i], sizeof(locks[i]), "own:%d", i);
		request->locks[0] = locks[i];
		request->no_cell_lock = true;
		tasks[i] = submit(f, &world_operation, request);
	}
	until_logged(f, DID_APPLY, TASK_THREADS - 1);
	usleep(50000);
	assert_int_equal(world_logged(f->world, DID_APPLY), TASK_THREADS - 1);
	urgent = world_do(f->engine, &world_urgent, world_request(other, 1), NULL, &outcome);
	assert_int_equal(outcome.state, TASK_SUCCEEDED);
	task_outcome_finish(&outcome);
	task_unref(urgent);
	atomic_store(&f->world->cell[0].hang, 0);
	for (int i = 0; i < MANY; i++)
		assert_ends_somehow(f, tasks[i]);
}

/* Waiting holds no thread: many more than there are threads wait, and others run. */
static void test_waiting_holds_no_thread(void **state)
{
	static const struct world_wish other[] = { { "set-1", 1, 11 } };
	struct world_wish wait[] = { { "set-0", 0, 0 } };
	static char locks[MANY][16];
	struct fixture *f = *state;
	struct world_request *request;
	struct task *tasks[MANY];
	struct error err;

	atomic_store(&f->world->cell[0].not_yet, -1);
	atomic_store(&f->world->cell[0].deadline_ms, 60000);
	for (int i = 0; i < MANY; i++) {
		wait[0].value = i + 1;	/* so that each has something to do */
		request = world_request(wait, 1);
		snprintf(locks[i], sizeof(locks[i]), "own:%d", i);
		request->locks[0] = locks[i];
		request->no_cell_lock = true;
		tasks[i] = submit(f, &world_operation, request);
	}
	until_logged(f, DID_APPLY, MANY);
	assert_int_equal(run_it(f, world_request(other, 1), &err), TASK_SUCCEEDED);
	atomic_store(&f->world->cell[0].not_yet, 0);
	engine_poke(f->engine, NULL);
	for (int i = 0; i < MANY; i++)
		assert_ends_somehow(f, tasks[i]);
}

/* A force-stop does not wait for the stop that waits for the guest. */
static void test_what_is_urgent_ends_a_wait_in_its_way(void **state)
{
	static const struct world_wish polite[] = { { "final-0", 0, 10 }, { "set-1", 1, 11 } };
	static const struct world_wish force[] = { { "final-0", 0, 20 } };
	struct fixture *f = *state;
	struct task_outcome outcome;
	struct task *stop, *queued, *kill;

	atomic_store(&f->world->cell[0].not_yet, -1);
	atomic_store(&f->world->cell[0].deadline_ms, 60000);
	stop = submit(f, &world_operation, world_request(polite, 2));
	until_logged(f, DID_PROVE, 2);
	atomic_store(&f->world->cell[0].value, 0);	/* the guest does not listen */
	queued = submit(f, &world_operation, world_request(polite, 1));
	usleep(20000);
	kill = task_submit(f->engine, &world_urgent, world_request(force, 1),
			   &(struct task_options){ 0 }, NULL);
	assert_ends(f, stop, TASK_CANCELLED, NULL);
	atomic_store(&f->world->cell[0].not_yet, 0);
	world_await(f->engine, kill, &outcome);
	assert_int_equal(outcome.state, TASK_SUCCEEDED);
	task_outcome_finish(&outcome);
	task_unref(kill);
	assert_ends(f, queued, TASK_SUCCEEDED, NULL);	/* after it, though it came before */
	assert_cells(f, 10, 0, 0, 0);
}

/* What yields does not only end its wait: it is cancelled where it is, and where it only queued. */
static void test_what_yields_is_cancelled_by_what_is_urgent(void **state)
{
	static const struct world_wish start[] = { { "set-0", 0, 10 }, { "set-1", 1, 11 } };
	static const struct world_wish force[] = { { "final-0", 0, 20 } };
	static const struct world_wish other[] = { { "set-2", 2, 12 } };
	struct fixture *f = *state;
	struct task *works, *queued, *apart, *kill;
	struct error err;

	atomic_store(&f->world->cell[0].hang, 1);
	works = submit(f, &world_yielding, world_request(start, 2));
	until_logged(f, DID_APPLY, 1);
	queued = submit(f, &world_yielding, world_request(start, 2));
	apart = submit(f, &world_yielding, world_request(other, 1));
	usleep(20000);
	kill = submit(f, &world_urgent, world_request(force, 1));
	assert_ends(f, queued, TASK_CANCELLED, NULL);
	atomic_store(&f->world->cell[0].hang, 0);
	assert_ends(f, works, TASK_CANCELLED, &err);
	assert_int_equal(err.code, ERROR_CANCELLED);
	assert_ends(f, kill, TASK_SUCCEEDED, NULL);
	assert_ends(f, apart, TASK_SUCCEEDED, NULL);
	assert_cells(f, 20, 0, 12, 0);
}

/* ---- refusals, dry runs, If-Plan ---- */

static void test_a_refusal_is_told_at_once_and_leaves_no_task(void **state)
{
	struct fixture *f = *state;
	struct world_request *request = world_request(four, 4);
	atomic_int freed = 0, plans = 0;
	struct task_outcome outcome;
	struct task *task;

	request->refuse[0] = "held";
	request->refuse[1] = "console_card";
	request->freed = &freed;
	request->plans = &plans;
	task = world_do(f->engine, &world_operation, request, NULL, &outcome);
	assert_int_equal(outcome.state, TASK_FAILED);
	assert_int_equal(outcome.error.code, ERROR_REFUSED);
	assert_int_equal(json_array_size(outcome.refusals), 2);
	assert_false(outcome.kept);
	assert_null(task_find(f->engine, task_id(task)));
	assert_int_equal(atomic_load(&plans), 1);
	assert_int_equal(atomic_load(&freed), 1);
	assert_log(f, "");
	task_outcome_finish(&outcome);
	task_unref(task);
}

static void test_accepted_refusals_go_through(void **state)
{
	struct fixture *f = *state;
	struct world_request *request = world_request(four, 2);
	struct arena *arena = arena_new();
	struct task_options options = { 0 };
	struct task_outcome outcome;
	struct task *task;

	request->refuse[0] = "console_card";
	request->refuse[1] = "unknown_iommu";
	list_add_string(arena, &options.accept, "console_card");
	list_add_string(arena, &options.accept, "unknown_iommu");
	task = world_do(f->engine, &world_operation, request, &options, &outcome);
	assert_int_equal(outcome.state, TASK_SUCCEEDED);
	assert_cells(f, 10, 11, 0, 0);
	task_outcome_finish(&outcome);
	task_unref(task);
	arena_free(arena);
}

static void test_a_dry_run_changes_nothing(void **state)
{
	struct fixture *f = *state;
	struct task_options options = { .dry_run = true };
	struct task_outcome outcome;
	struct task *task = world_do(f->engine, &world_operation, world_request(four, 4), &options,
				     &outcome);
	json_t *steps = json_object_get(json_object_get(outcome.plan, "plan"), "steps");

	assert_int_equal(outcome.state, TASK_SUCCEEDED);
	assert_true(outcome.dry_run);
	assert_false(outcome.changed);
	assert_int_equal(json_array_size(steps), 4);
	assert_log(f, "");
	task_outcome_finish(&outcome);
	task_unref(task);
}

static void test_if_plan_runs_only_that_plan(void **state)
{
	struct fixture *f = *state;
	struct task_options options = { .dry_run = true };
	struct task_outcome outcome;
	struct task *task;
	char digest[PLAN_DIGEST_TEXT];

	task = world_do(f->engine, &world_operation, world_request(four, 2), &options, &outcome);
	snprintf(digest, sizeof(digest), "%s",
		 json_string_value(
			 json_object_get(json_object_get(outcome.plan, "plan"), "digest")));
	task_outcome_finish(&outcome);
	task_unref(task);

	options = (struct task_options){ .if_plan = digest };
	task = world_do(f->engine, &world_operation, world_request(four, 3), &options, &outcome);
	assert_int_equal(outcome.error.code, ERROR_PLAN_CHANGED);
	assert_log(f, "");
	task_outcome_finish(&outcome);
	task_unref(task);

	task = world_do(f->engine, &world_operation, world_request(four, 2), &options, &outcome);
	assert_int_equal(outcome.state, TASK_SUCCEEDED);
	task_outcome_finish(&outcome);
	task_unref(task);
}

static void test_a_request_that_cannot_be_planned_fails(void **state)
{
	struct fixture *f = *state;
	struct world_request *request = world_request(four, 2);
	struct error err;

	request->fail_plan = ERROR_NOT_FOUND;
	assert_int_equal(run_it(f, request, &err), TASK_FAILED);
	assert_int_equal(err.code, ERROR_NOT_FOUND);
}

/* ---- stuck ---- */

/* The helper says it did not come back, and that its child still writes: nothing is touched. */
static void test_a_living_writer_makes_it_stuck(void **state)
{
	struct fixture *f = *state;
	struct task_outcome outcome;
	struct task *task;
	struct arena *arena = arena_new();
	const char *why = NULL;
	struct error err;
	int logged;

	atomic_store(&f->world->cell[1].fail_apply, ERROR_STUCK);
	atomic_store(&f->world->live_cell, 1 + 1);
	task = world_do(f->engine, &world_operation, world_request(four, 4), NULL, &outcome);
	assert_int_equal(outcome.state, TASK_STUCK);
	assert_int_equal(outcome.error.code, ERROR_STUCK);
	assert_non_null(strstr(outcome.error.message, "process 4711"));
	task_outcome_finish(&outcome);
	assert_log(f, "apply 0, prove 0, apply 1");
	logged = atomic_load(&f->world->n_log);

	assert_true(engine_stuck(f->engine, "cell:1", arena, &why));
	assert_non_null(strstr(why, task_id(task)));
	assert_false(engine_stuck(f->engine, "cell:7", arena, &why));
	assert_int_equal(run_it(f, world_request(four, 2), &err), TASK_FAILED);
	assert_int_equal(err.code, ERROR_REFUSED);
	engine_look_again(f->engine);	/* it lives still */
	usleep(50000);
	assert_int_equal(atomic_load(&f->world->n_log), logged);

	atomic_store(&f->world->live_cell, 0);	/* the late end: and it had done its work */
	atomic_store(&f->world->cell[1].fail_apply, 0);
	atomic_store(&f->world->cell[1].value, 11);
	engine_look_again(f->engine);
	for (int i = 0; i < 2000; i++) {
		task_outcome(task, &outcome);
		task_outcome_finish(&outcome);
		if (!engine_stuck(f->engine, "cell:1", arena, &why))
			break;
		usleep(1000);
	}
	task_outcome(task, &outcome);
	assert_int_equal(outcome.state, TASK_ROLLED_BACK);
	task_outcome_finish(&outcome);
	assert_cells(f, 0, 0, 0, 0);
	assert_int_equal(run_it(f, world_request(four, 2), &err), TASK_SUCCEEDED);
	task_unref(task);
	arena_free(arena);
}

/* The helper was gone in the middle, and is back a moment later: go back, but look first. */
static void test_a_helper_that_comes_back_is_asked(void **state)
{
	struct fixture *f = *state;
	struct error err;

	atomic_store(&f->world->cell[2].fail_apply_done, ERROR_HELPER);
	atomic_store(&f->world->helper_down, 2);
	assert_int_equal(run_it(f, world_request(four, 4), &err), TASK_ROLLED_BACK);
	assert_int_equal(err.code, ERROR_HELPER);
	assert_cells(f, 0, 0, 0, 0);
}

static void test_a_helper_that_stays_away_makes_it_stuck(void **state)
{
	struct fixture *f = *state;
	struct task_outcome outcome;
	struct task *task;

	atomic_store(&f->world->cell[2].fail_apply_done, ERROR_HELPER);
	atomic_store(&f->world->helper_down, -1);
	task = world_do(f->engine, &world_operation, world_request(four, 4), NULL, &outcome);
	assert_int_equal(outcome.state, TASK_STUCK);
	assert_cells(f, 10, 11, 12, 0);
	task_outcome_finish(&outcome);
	atomic_store(&f->world->helper_down, 0);
	engine_look_again(f->engine);
	for (int i = 0; i < 2000 && atomic_load(&f->world->cell[0].value); i++)
		usleep(1000);
	assert_cells(f, 0, 0, 0, 0);
	task_unref(task);
}

/* A call that does not come back past its deadline: the task is stuck, the engine lives on; and
 * when it comes back after all, it is found out what it did. */
static void test_a_call_past_its_deadline_is_given_up(void **state)
{
	static const struct world_wish apart[] = { { "set-3", 3, 13 } };
	struct fixture *f = *state;
	struct task_outcome outcome;
	struct task *task;
	struct error err;

	atomic_store(&f->world->cell[1].deadline_ms, 50);	/* and two seconds of grace */
	atomic_store(&f->world->cell[1].hang, 1);
	task = world_do(f->engine, &world_operation, world_request(four, 2), NULL, &outcome);
	assert_int_equal(outcome.state, TASK_STUCK);
	assert_non_null(strstr(outcome.error.message, "did not come back in time"));
	task_outcome_finish(&outcome);
	assert_int_equal(run_it(f, world_request(apart, 1), &err), TASK_SUCCEEDED);
	assert_int_equal(run_it(f, world_request(four, 1), &err), TASK_FAILED);
	assert_int_equal(err.code, ERROR_REFUSED);
	atomic_store(&f->world->cell[1].deadline_ms, 0);
	atomic_store(&f->world->cell[1].hang, 0);
	for (int i = 0; i < 2000 && atomic_load(&f->world->cell[0].value); i++)
		usleep(1000);
	assert_cells(f, 0, 0, 0, 13);
	task_unref(task);
}

/* ---- what others see ---- */

static void test_a_task_is_shown(void **state)
{
	struct fixture *f = *state;
	struct task *task;
	json_t *json, *problem;
	struct error err;

	atomic_store(&f->world->cell[1].hang, 1);
	atomic_store(&f->world->cell[1].fail_apply, ERROR_CONFLICT);
	task = submit(f, &world_operation, world_request(four, 4));
	until_logged(f, DID_APPLY, 2);
	json = task_emit(task);
	assert_string_equal(json_string_value(json_object_get(json, "id")), task_id(task));
	assert_string_equal(json_string_value(json_object_get(json, "title")), "make 4 cells so");
	assert_string_equal(json_string_value(json_object_get(json, "state")), "running");
	assert_int_equal(json_integer_value(json_object_get(json, "step")), 2);
	assert_int_equal(json_integer_value(json_object_get(json, "steps")), 4);
	assert_int_equal(json_integer_value(json_object_get(json, "percent")), 25);
	assert_string_equal(json_string_value(json_object_get(json, "message")), "make cell 1 11");
	assert_true(json_is_null(json_object_get(json, "ended_at")));
	assert_int_equal(json_array_size(json_object_get(json, "resources")), 4);
	assert_string_equal(json_string_value(json_object_get(json, "requested_by")),
			    "uid 0 (root)");
	assert_string_equal(task_request_id(task), "r-1");
	json_decref(json);
	atomic_store(&f->world->cell[1].hang, 0);
	assert_ends(f, task_ref(task), TASK_ROLLED_BACK, &err);
	json = task_emit(task);
	problem = json_object_get(json, "problem");
	assert_string_equal(json_string_value(json_object_get(json, "state")), "rolled_back");
	assert_true(json_is_null(json_object_get(json, "percent")));
	assert_int_equal(json_integer_value(json_object_get(problem, "status")), 409);
	assert_string_equal(json_string_value(json_object_get(problem, "task")), task_id(task));
	assert_true(json_is_string(json_object_get(json, "ended_at")));
	json_decref(json);
	json = task_list(f->engine, TASK_ROLLED_BACK);
	assert_int_equal(json_array_size(json), 1);
	json_decref(json);
	json = task_list(f->engine, TASK_RUNNING);
	assert_int_equal(json_array_size(json), 0);
	json_decref(json);
	task_unref(task);
}

static void count(void *data, struct task *task, bool reached)
{
	(void)task;
	atomic_fetch_add((atomic_int *)data, reached ? 100 : 1);
}

static int64_t percent_of(struct task *task)
{
	json_t *json = task_emit(task), *percent = json_object_get(json, "percent");
	int64_t value = json_is_integer(percent) ? json_integer_value(percent) : -1;

	json_decref(json);
	return value;
}

static void test_percent_is_of_the_steps(void **state)
{
	struct fixture *f = *state;
	struct task *first, *second;
	struct error err;

	atomic_store(&f->world->cell[0].hang, 1);
	first = submit(f, &world_operation, world_request(four, 3));
	until_logged(f, DID_APPLY, 1);
	second = submit(f, &world_operation, world_request(four, 2));
	assert_int_equal(percent_of(first), 0);
	assert_int_equal(percent_of(second), 0);
	atomic_store(&f->world->cell[2].hang, 1);
	atomic_store(&f->world->cell[0].hang, 0);
	until_logged(f, DID_APPLY, 3);
	assert_int_equal(percent_of(first), 66);
	atomic_store(&f->world->cell[2].fail_apply, ERROR_CONFLICT);
	atomic_store(&f->world->cell[1].fail_undo, ERROR_SYSTEM);
	atomic_store(&f->world->cell[2].hang, 0);
	assert_ends(f, task_ref(first), TASK_FAILED, &err);
	assert_int_equal(percent_of(first), -1);
	assert_ends(f, task_ref(second), TASK_SUCCEEDED, &err);
	assert_int_equal(percent_of(second), 100);
	task_unref(first);
	task_unref(second);
}

/* All is done; what there is to answer with cannot be had. */
static void test_a_result_that_cannot_be_shown_is_told(void **state)
{
	static const struct {
		enum error_code says, code;
		enum task_state ends;
	} cases[] = {
		{ ERROR_NOT_FOUND, ERROR_GONE, TASK_FAILED },
		{ ERROR_GONE, ERROR_GONE, TASK_FAILED },
		{ ERROR_STORE, ERROR_STORE, TASK_SUCCEEDED },
	};
	struct world_wish wish[] = { { "set-0", 0, 0 }, { "set-1", 1, 0 } };
	struct fixture *f = *state;
	struct task_outcome outcome;
	struct task *task;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		wish[0].value = wish[1].value = (int)i + 1;
		atomic_store(&f->world->fail_result, (int)cases[i].says);
		task = world_do(f->engine, &world_operation, world_request(wish, 2), NULL, &outcome);
		assert_int_equal(outcome.state, cases[i].ends);
		assert_int_equal(outcome.error.code, cases[i].code);
		assert_non_null(strstr(outcome.error.message, "done and proven (2 steps)"));
		assert_null(outcome.result);
		assert_cells(f, (int)i + 1, (int)i + 1, 0, 0);
		task_outcome_finish(&outcome);
		task_unref(task);
	}
	task = world_do(f->engine, &world_operation, world_request(wish, 2), NULL, &outcome);
	assert_int_equal(outcome.error.code, ERROR_STORE);
	assert_non_null(strstr(outcome.error.message, "nothing to do"));
	task_outcome_finish(&outcome);
	task_unref(task);
}

static void test_who_waits_is_called_once(void **state)
{
	struct fixture *f = *state;
	atomic_int planned = 0, late = 0, ended = 0;
	struct task *task;

	atomic_store(&f->world->cell[0].hang, 1);
	task = submit(f, &world_operation, world_request(four, 1));
	assert_int_equal(task_wait(task, TASK_PLANNED, 5000, count, &planned, NULL), 0);
	assert_int_equal(task_wait(task, TASK_ENDED, 30, count, &late, NULL), 0);
	assert_int_equal(task_wait(task, TASK_ENDED, 5000, count, &ended, NULL), 0);
	assert_true(world_pump(f->engine, &late, 5000));
	assert_int_equal(atomic_load(&late), 1);
	assert_int_equal(atomic_load(&planned), 100);
	assert_int_equal(atomic_load(&ended), 0);
	atomic_store(&f->world->cell[0].hang, 0);
	assert_true(world_pump(f->engine, &ended, 5000));
	assert_int_equal(task_wait(task, TASK_ENDED, 5000, count, &ended, NULL), 0);
	assert_int_equal(atomic_load(&ended), 200);
	task_unref(task);
}

static void test_waiters_have_a_maximum(void **state)
{
	struct fixture *f = *state;
	atomic_int called = 0;
	struct error err;
	struct task *task;

	atomic_store(&f->world->cell[0].hang, 1);
	task = submit(f, &world_operation, world_request(four, 1));
	for (int i = 0; i < TASK_WAITERS; i++)
		assert_int_equal(task_wait(task, TASK_ENDED, 10000, count, &called, &err), 0);
	assert_int_equal(task_wait(task, TASK_ENDED, 10000, count, &called, &err), -1);
	assert_int_equal(err.code, ERROR_TOO_MANY);
	atomic_store(&f->world->cell[0].hang, 0);
	for (int i = 0; i < 2000 && atomic_load(&called) < 100 * TASK_WAITERS; i++)
		usleep(1000);
	assert_int_equal(atomic_load(&called), 100 * TASK_WAITERS);
	task_unref(task);
}

static void test_ended_tasks_are_forgotten_in_time(void **state)
{
	static const struct world_wish one[] = { { "set-0", 0, 1 } };
	struct fixture *f = *state;
	struct error err;
	atomic_int never = 0;
	json_t *json;

	assert_int_equal(run_it(f, world_request(one, 1), &err), TASK_SUCCEEDED);
	for (int i = 0; i < TASK_KEPT + 20; i++)	/* nothing to do, and kept all the same */
		assert_int_equal(run_it(f, world_request(one, 1), &err), TASK_SUCCEEDED);
	world_pump(f->engine, &never, 30);
	json = task_list(f->engine, -1);
	assert_int_equal(json_array_size(json), TASK_KEPT);
	json_decref(json);
}

/* Also one that ends on its thread just while the list is gone through. */
static void test_a_task_that_just_ended_is_found(void **state)
{
	struct fixture *f = *state;
	char id[64], emitted[32];

	for (int i = 0; i < 300; i++) {
		const struct world_wish wish[] = { { "set-0", 0, i + 1 } };
		struct task *task = submit(f, &world_operation, world_request(wish, 1));

		snprintf(id, sizeof(id), "%s", task_id(task));
		for (emitted[0] = '\0'; strcmp(emitted, "succeeded");) {
			json_t *body = task_emit(task);

			snprintf(emitted, sizeof(emitted), "%s",
				 json_string_value(json_object_get(body, "state")));
			json_decref(body);
			engine_dispatch(f->engine);
		}
		task_unref(task);
		task = task_find(f->engine, id);
		assert_non_null(task);
		task_unref(task);
	}
}

static void test_unfinished_tasks_have_a_maximum(void **state)
{
	static struct task *tasks[TASK_UNFINISHED];
	struct task_options none = { 0 };
	struct fixture *f = *state;
	struct error err = { 0 };
	struct task *first, *more;

	atomic_store(&f->world->cell[0].deadline_ms, 60000);
	atomic_store(&f->world->cell[0].hang, 1);
	first = submit(f, &world_operation, world_request(four, 1));
	until_logged(f, DID_APPLY, 1);
	for (int i = 0; i < TASK_UNFINISHED - 1; i++)
		tasks[i] = submit(f, &world_operation, world_request(four, 1));
	more = task_submit(f->engine, &world_operation, world_request(four, 1), &none, &err);
	assert_null(more);
	assert_int_equal(err.code, ERROR_TOO_MANY);
	atomic_store(&f->world->cell[0].hang, 0);
	assert_ends(f, first, TASK_SUCCEEDED, NULL);
	for (int i = 0; i < TASK_UNFINISHED - 1; i++)
		assert_ends(f, tasks[i], TASK_SUCCEEDED, NULL);
	assert_int_equal(world_logged(f->world, DID_APPLY), 1);
}

/* ---- the end ---- */

static void test_stopping_leaves_the_rest_to_the_next_start(void **state)
{
	struct fixture *f = *state;
	atomic_int waited = 0;
	struct task *task;
	json_t *json;

	atomic_store(&f->world->cell[1].not_yet, -1);
	task = submit(f, &world_operation, world_request(four, 4));
	until_logged(f, DID_PROVE, 2);
	assert_int_equal(task_wait(task, TASK_ENDED, 60000, count, &waited, NULL), 0);
	task_unref(task);
	stop(f);
	assert_int_equal(atomic_load(&waited), 1);
	assert_cells(f, 10, 11, 0, 0);
	atomic_store(&f->world->cell[1].not_yet, 0);
	start(f);
	for (int i = 0; i < 2000 && atomic_load(&f->world->cell[0].value); i++)
		usleep(1000);
	assert_cells(f, 0, 0, 0, 0);
	for (int i = 0; i < 2000; i++) {
		json = task_list(f->engine, TASK_ROLLED_BACK);
		if (json_array_size(json) == 1)
			break;
		json_decref(json);
		usleep(1000);
	}
	assert_int_equal(json_array_size(json), 1);
	json_decref(json);
}

/* Many threads hand in, ask and cancel at once; each cell ends as somebody wanted it. */
static void *hammer(void *data)
{
	struct fixture *f = data;
	struct world_wish wish[] = { { "set-0", 0, 1 }, { "file-1", 1, 2 } };
	struct task_options none = { 0 };
	struct task *task;

	for (int i = 0; i < 40; i++) {
		wish[0].cell = i % 4;
		wish[1].cell = (i + 1) % 4;
		wish[0].value = wish[1].value = i % 3;
		task = task_submit(f->engine, &world_operation, world_request(wish, 2), &none,
				   NULL);
		if (!task)
			continue;
		if (i % 5 == 0)
			task_cancel(f->engine, task_id(task), NULL, NULL);
		json_decref(task_emit(task));
		json_decref(task_list(f->engine, -1));
		engine_poke(f->engine, NULL);
		task_unref(task);
	}
	return NULL;
}

static void test_many_at_once(void **state)
{
	struct fixture *f = *state;
	atomic_int never = 0;
	pthread_t threads[4];
	json_t *json;
	size_t left = 1;

	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, hammer, f), 0);
	for (int i = 0; i < 1000 && left; i++) {
		world_pump(f->engine, &never, 10);
		json = task_list(f->engine, -1);
		left = 0;
		for (size_t n = 0; n < json_array_size(json); n++)
			left += json_is_null(json_object_get(json_array_get(json, n), "ended_at"));
		left += json_array_size(json) < 10;
		json_decref(json);
	}
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(left, 0);
	for (int i = 0; i < 4; i++) {
		assert_true(atomic_load(&f->world->cell[i].value) >= 0);
		assert_true(atomic_load(&f->world->cell[i].value) <= 2);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_states_move_by_the_table),
		TEST(test_all_steps_are_done_and_proven),
		TEST(test_what_is_so_already_is_not_done_again),
		TEST(test_a_failed_step_undoes_what_was_done),
		TEST(test_a_step_that_failed_half_way_is_undone_too),
		TEST(test_what_somebody_else_made_is_not_undone),
		TEST(test_what_cannot_be_undone_is_told),
		TEST(test_before_the_point_of_no_return_it_goes_back),
		TEST(test_behind_the_point_of_no_return_nothing_is_undone),
		TEST(test_a_point_of_no_return_that_happened_is_passed),
		TEST(test_a_point_of_no_return_that_cannot_be_told_is_stuck),
		TEST(test_what_cannot_be_told_for_a_moment_is_asked_again),
		TEST(test_a_late_proof_is_waited_for),
		TEST(test_a_proof_that_never_comes_goes_back_with_its_reason),
		TEST(test_news_wakes_who_waits),
		TEST(test_who_does_not_listen_yet_is_asked_again),
		TEST(test_asking_again_may_fail),
		TEST(test_asking_again_has_an_end),
		TEST(test_cancel_and_what_is_urgent_end_asking_again),
		TEST(test_cancel_is_seen_between_steps),
		TEST(test_cancel_can_be_planned),
		TEST(test_cancel_ends_a_wait),
		TEST(test_cancel_is_refused_when_there_is_no_way_back),
		TEST(test_cancel_of_what_is_queued_is_at_once),
		TEST(test_two_equal_requests_write_once),
		TEST(test_known_locks_are_taken_before_the_only_plan),
		TEST(test_known_locks_are_given_back),
		TEST(test_a_refusal_of_the_moment_is_not_final),
		TEST(test_a_conflict_of_the_moment_is_not_final),
		TEST(test_others_do_not_wait),
		TEST(test_locks_that_turn_out_others_are_waited_for),
		TEST(test_one_thread_is_kept_for_what_is_urgent),
		TEST(test_waiting_holds_no_thread),
		TEST(test_what_is_urgent_ends_a_wait_in_its_way),
		TEST(test_what_yields_is_cancelled_by_what_is_urgent),
		TEST(test_a_refusal_is_told_at_once_and_leaves_no_task),
		TEST(test_accepted_refusals_go_through),
		TEST(test_a_dry_run_changes_nothing),
		TEST(test_if_plan_runs_only_that_plan),
		TEST(test_a_request_that_cannot_be_planned_fails),
		TEST(test_a_living_writer_makes_it_stuck),
		TEST(test_a_helper_that_comes_back_is_asked),
		TEST(test_a_helper_that_stays_away_makes_it_stuck),
		TEST(test_a_call_past_its_deadline_is_given_up),
		TEST(test_a_task_is_shown),
		TEST(test_percent_is_of_the_steps),
		TEST(test_a_result_that_cannot_be_shown_is_told),
		TEST(test_who_waits_is_called_once),
		TEST(test_waiters_have_a_maximum),
		TEST(test_ended_tasks_are_forgotten_in_time),
		TEST(test_a_task_that_just_ended_is_found),
		TEST(test_unfinished_tasks_have_a_maximum),
		TEST(test_stopping_leaves_the_rest_to_the_next_start),
		TEST(test_many_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
