/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Steps that go to the helper together (world.h, "link-N"): what is done, written down and undone where all
 * goes well, where it ends in the middle, and where nobody knows how far it came.
 */
#include "unit.h"

#include <signal.h>
#include <sys/resource.h>

#include "world.h"

struct fixture {
	char top[48], run[64], var[64], file[80];
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

	snprintf(f->top, sizeof(f->top), "%s/horcrux-chain-XXXXXX",
		 access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
	assert_non_null(mkdtemp(f->top));
	snprintf(f->run, sizeof(f->run), "%s/run", f->top);
	snprintf(f->var, sizeof(f->var), "%s/var", f->top);
	snprintf(f->file, sizeof(f->file), "%s/journal", f->run);
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

	world_chain_ends = NULL;
	stop(f);
	world_free(f->world);
	unlink(f->file);
	snprintf(path, sizeof(path), "%s/journal", f->var);
	unlink(path);
	rmdir(f->run);
	rmdir(f->var);
	rmdir(f->top);
	free(f);
	return 0;
}

static const struct world_wish four[] = {
	{ "link-0", 0, 10 }, { "link-1", 1, 11 }, { "link-2", 2, 12 }, { "link-3", 3, 13 }
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

/* How often the journal says that. */
static int journal_says(struct fixture *f, const char *words)
{
	static char text[65536];
	int fd = open(f->file, O_RDONLY), count = 0;
	ssize_t n = read(fd, text, sizeof(text) - 1);

	close(fd);
	text[n > 0 ? n : 0] = '\0';
	for (const char *at = text; (at = strstr(at, words)); at++)
		count++;
	return count;
}

static enum task_state run_it(struct fixture *f, const struct world_wish *wish, size_t n,
			      struct error *err)
{
	struct task_outcome outcome;
	struct task *task = world_do(f->engine, &world_operation, world_request(wish, n), NULL, &outcome);
	enum task_state state = outcome.state;

	*err = outcome.error;
	task_outcome_finish(&outcome);
	task_unref(task);
	return state;
}

static struct task *submit(struct fixture *f, const struct world_wish *wish, size_t n)
{
	static const struct task_options none = { 0 };
	struct task *task = task_submit(f->engine, &world_operation, world_request(wish, n), &none, NULL);

	assert_non_null(task);
	return task;
}

static void until_applied(struct fixture *f, int n)
{
	for (int i = 0; i < 10000 && world_logged(f->world, DID_APPLY) < n; i++)
		usleep(1000);
	assert_true(world_logged(f->world, DID_APPLY) >= n);
}

/* Takes the reference. */
static void assert_ends(struct fixture *f, struct task *task, enum task_state state, struct error *err)
{
	struct task_outcome outcome;

	world_await(f->engine, task, &outcome);
	assert_int_equal(outcome.state, state);
	*err = outcome.error;
	task_outcome_finish(&outcome);
	task_unref(task);
}

/* ---- what goes together ---- */

static void test_all_are_done_in_one(void **state)
{
	struct fixture *f = *state;
	struct error err;

	assert_int_equal(run_it(f, four, 4, &err), TASK_SUCCEEDED);
	assert_cells(f, 10, 11, 12, 13);
	assert_log(f, "apply 0, apply 1, apply 2, apply 3");
	assert_int_equal(atomic_load(&f->world->chains), 1);
	/* all intents before, all results behind: two records */
	assert_int_equal(journal_says(f, "\"intent\""), 1);
	assert_int_equal(journal_says(f, "\"done\""), 1);
	assert_int_equal(journal_says(f, "\"to\":3"), 2);
}

static void test_only_neighbours_go_together(void **state)
{
	static const struct world_wish mixed[] = {
		{ "link-0", 0, 10 }, { "set-1", 1, 11 }, { "link-2", 2, 12 }, { "link-3", 3, 13 }
	};
	struct fixture *f = *state;
	struct error err;

	assert_int_equal(run_it(f, mixed, 4, &err), TASK_SUCCEEDED);
	assert_log(f, "apply 0, prove 0, apply 1, prove 1, apply 2, apply 3");
	assert_int_equal(atomic_load(&f->world->chains), 1);
}

static void test_what_is_no_request_with_these_args_goes_alone(void **state)
{
	static const struct world_wish alone[] = {
		{ "link-0", 0, 10 }, { "link-1", 1, 11 }, { "link-2", 2, WORLD_ALONE }, { "link-3", 3, 13 }
	};
	struct fixture *f = *state;
	struct error err;

	assert_int_equal(run_it(f, alone, 4, &err), TASK_SUCCEEDED);
	assert_log(f, "apply 0, apply 1, apply 2, prove 2, apply 3, prove 3");
	assert_cells(f, 10, 11, WORLD_ALONE, 13);
}

/* The helper leaves one to go its own way; those behind it go together again. */
static void test_one_goes_its_own_way(void **state)
{
	static const char *const logs[] = {
		"apply 0, prove 0, apply 1, apply 2, apply 3",
		"apply 0, apply 1, prove 1, apply 2, apply 3",
		"apply 0, apply 1, apply 2, prove 2, apply 3, prove 3",
		"apply 0, apply 1, apply 2, apply 3, prove 3",
	};
	struct fixture *f = *state;
	struct error err;

	for (int n = 0; n < 4; n++) {
		atomic_store(&f->world->n_log, 0);
		for (int i = 0; i < 4; i++)
			atomic_store(&f->world->cell[i].value, 0);
		atomic_store(&f->world->cell[n].own_way, 1);
		assert_int_equal(run_it(f, four, 4, &err), TASK_SUCCEEDED);
		assert_log(f, logs[n]);
		assert_cells(f, 10, 11, 12, 13);
		assert_int_equal(atomic_load(&f->world->cell[n].refused), 0);
	}
}

static void test_it_is_told_which_one_is_under_way(void **state)
{
	struct fixture *f = *state;
	struct error err;
	struct task *task;
	json_t *json;

	atomic_store(&f->world->cell[2].hang, 1);
	task = submit(f, four, 4);
	until_applied(f, 3);
	json = task_emit(task);
	assert_int_equal(json_integer_value(json_object_get(json, "step")), 3);
	assert_int_equal(json_integer_value(json_object_get(json, "percent")), 50);
	assert_string_equal(json_string_value(json_object_get(json, "message")), "make cell 2 12");
	json_decref(json);
	atomic_store(&f->world->cell[2].hang, 0);
	assert_ends(f, task, TASK_SUCCEEDED, &err);
}

/* ---- where it ends in the middle ---- */

/* What was not begun is not undone, nor even looked at. */
static void test_one_fails(void **state)
{
	static const char *const logs[] = {
		"apply 0, unproved 0",
		"apply 0, apply 1, unproved 1, undo 0, unproved 0",
		"apply 0, apply 1, apply 2, unproved 2, undo 1, unproved 1, undo 0, unproved 0",
		"apply 0, apply 1, apply 2, apply 3, unproved 3, undo 2, unproved 2, undo 1, unproved 1, "
		"undo 0, unproved 0",
	};
	struct fixture *f = *state;
	char want[64];
	struct error err;

	for (int n = 0; n < 4; n++) {
		atomic_store(&f->world->n_log, 0);
		atomic_store(&f->world->cell[n].fail_apply, ERROR_CONFLICT);
		assert_int_equal(run_it(f, four, 4, &err), n ? TASK_ROLLED_BACK : TASK_FAILED);
		atomic_store(&f->world->cell[n].fail_apply, 0);
		assert_int_equal(err.code, ERROR_CONFLICT);
		snprintf(want, sizeof(want), "step %d of 4 (make cell %d", n + 1, n);
		assert_non_null(strstr(err.message, want));
		assert_non_null(strstr(err.message, "it was refused"));
		assert_log(f, logs[n]);
		assert_cells(f, 0, 0, 0, 0);
		for (int i = 0; i < 4; i++)
			assert_int_equal(atomic_load(&f->world->cell[i].refused), i <= n);
	}
}

static void test_one_that_failed_half_way_is_undone_too(void **state)
{
	struct fixture *f = *state;
	struct error err;

	for (int n = 0; n < 4; n++) {
		atomic_store(&f->world->n_log, 0);
		atomic_store(&f->world->cell[n].fail_apply_done, ERROR_SYSTEM);
		assert_int_equal(run_it(f, four, 4, &err), TASK_ROLLED_BACK);
		atomic_store(&f->world->cell[n].fail_apply_done, 0);
		assert_int_equal(world_logged(f->world, DID_UNDO), n + 1);
		assert_cells(f, 0, 0, 0, 0);
	}
}

/* Nobody knows how far it came: each is looked at. */
static void test_a_helper_that_was_lost(void **state)
{
	struct fixture *f = *state;
	struct error err;

	atomic_store(&f->world->lost, 1);
	atomic_store(&f->world->helper_down, 2);
	atomic_store(&f->world->cell[1].fail_apply_done, ERROR_HELPER);
	assert_int_equal(run_it(f, four, 4, &err), TASK_ROLLED_BACK);
	assert_int_equal(err.code, ERROR_HELPER);
	assert_log(f, "apply 0, apply 1, unproved 3, unproved 2, undo 1, unproved 1, undo 0, unproved 0");
	assert_cells(f, 0, 0, 0, 0);
}

static void until_stuck_no_more(struct fixture *f)
{
	CLEANUP(arena_freep) struct arena *arena = arena_new();
	const char *why;

	engine_look_again(f->engine);
	for (int i = 0; i < 10000 && engine_stuck(f->engine, "cell:0", arena, &why); i++)
		usleep(1000);
	assert_false(engine_stuck(f->engine, "cell:0", arena, &why));
}

/* The third does not come back: nothing is touched while its child lives. */
static void test_stuck_in_the_middle(void **state)
{
	struct fixture *f = *state;
	struct task_outcome outcome;
	struct task *task;

	atomic_store(&f->world->cell[2].fail_apply, ERROR_STUCK);
	atomic_store(&f->world->live_cell, 2 + 1);
	task = world_do(f->engine, &world_operation, world_request(four, 4), NULL, &outcome);
	assert_int_equal(outcome.state, TASK_STUCK);
	assert_non_null(strstr(outcome.error.message, "process 4711"));
	task_outcome_finish(&outcome);
	assert_log(f, "apply 0, apply 1, apply 2");
	assert_cells(f, 10, 11, 0, 0);
	assert_int_equal(journal_says(f, "\"to\":1"), 1);	/* the two that were done */
	atomic_store(&f->world->live_cell, 0);	/* the late end: and it had done its work */
	atomic_store(&f->world->cell[2].value, 12);
	until_stuck_no_more(f);
	world_await(f->engine, task, &outcome);
	assert_int_equal(outcome.state, TASK_ROLLED_BACK);
	task_outcome_finish(&outcome);
	task_unref(task);
	assert_cells(f, 0, 0, 0, 0);
	assert_int_equal(world_logged(f->world, DID_UNDO), 3);
}

/* It comes back past all deadlines: what it did then is found out. */
static void test_given_up(void **state)
{
	struct fixture *f = *state;
	struct task_outcome outcome;
	struct task *task;

	for (int n = 0; n < 4; n++)
		atomic_store(&f->world->cell[n].deadline_ms, 20);
	atomic_store(&f->world->cell[1].hang, 1);
	task = world_do(f->engine, &world_operation, world_request(four, 4), NULL, &outcome);
	assert_int_equal(outcome.state, TASK_STUCK);
	assert_non_null(strstr(outcome.error.message, "step 2 of 4 (make cell 1 11)"));
	task_outcome_finish(&outcome);
	for (int n = 0; n < 4; n++)
		atomic_store(&f->world->cell[n].deadline_ms, 0);
	atomic_store(&f->world->cell[1].hang, 0);
	until_stuck_no_more(f);
	world_await(f->engine, task, &outcome);
	assert_int_equal(outcome.state, TASK_ROLLED_BACK);
	task_outcome_finish(&outcome);
	task_unref(task);
	assert_cells(f, 0, 0, 0, 0);
	assert_int_equal(world_logged(f->world, DID_UNDO), 4);
}

/* Between two steps, which here is between two chains. */
static void test_cancel_is_seen_behind_it(void **state)
{
	static const struct world_wish mixed[] = {
		{ "link-0", 0, 10 }, { "link-1", 1, 11 }, { "set-2", 2, 12 }, { "set-3", 3, 13 }
	};
	struct fixture *f = *state;
	struct error err;
	struct task *task;

	atomic_store(&f->world->cell[0].hang, 1);
	task = submit(f, mixed, 4);
	until_applied(f, 1);
	assert_int_equal(task_cancel(f->engine, task_id(task), NULL, &err), 0);
	atomic_store(&f->world->cell[0].hang, 0);
	assert_ends(f, task, TASK_CANCELLED, &err);
	assert_log(f, "apply 0, apply 1, undo 1, unproved 1, undo 0, unproved 0");
	assert_cells(f, 0, 0, 0, 0);
}

static void test_cancel_in_the_last(void **state)
{
	struct fixture *f = *state;
	struct error err;
	struct task *task;

	atomic_store(&f->world->cell[3].hang, 1);
	task = submit(f, four, 4);
	until_applied(f, 4);
	assert_int_equal(task_cancel(f->engine, task_id(task), NULL, &err), 0);
	atomic_store(&f->world->cell[3].hang, 0);
	assert_ends(f, task, TASK_CANCELLED, &err);
	assert_int_equal(world_logged(f->world, DID_UNDO), 4);
	assert_cells(f, 0, 0, 0, 0);
}

/* ---- no room ---- */

static struct rlimit before;
static const char *full_file;

static void no_more_room(void)
{
	struct rlimit limit;
	struct stat st;

	if (stat(full_file, &st))
		abort();
	getrlimit(RLIMIT_FSIZE, &before);
	limit = before;
	limit.rlim_cur = (rlim_t)st.st_size;
	signal(SIGXFSZ, SIG_IGN);
	setrlimit(RLIMIT_FSIZE, &limit);
	world_chain_ends = NULL;
}

static void test_no_room_for_the_intents(void **state)
{
	static const struct world_wish later[] = {
		{ "set-0", 0, 10 }, { "link-1", 1, 11 }, { "link-2", 2, 12 }, { "link-3", 3, 13 }
	};
	struct fixture *f = *state;
	struct error err;
	struct task *task;

	full_file = f->file;
	atomic_store(&f->world->cell[0].hang, 1);	/* so that only what comes behind it finds no room */
	task = submit(f, later, 4);
	until_applied(f, 1);
	no_more_room();
	atomic_store(&f->world->cell[0].hang, 0);
	assert_ends(f, task, TASK_ROLLED_BACK, &err);
	setrlimit(RLIMIT_FSIZE, &before);
	assert_int_equal(err.code, ERROR_STORE);
	assert_int_equal(atomic_load(&f->world->chains), 0);
	assert_cells(f, 0, 0, 0, 0);
}

static void test_no_room_for_the_results(void **state)
{
	struct fixture *f = *state;
	struct error err;

	full_file = f->file;
	world_chain_ends = no_more_room;
	assert_int_equal(run_it(f, four, 4, &err), TASK_ROLLED_BACK);
	setrlimit(RLIMIT_FSIZE, &before);
	assert_int_equal(err.code, ERROR_STORE);
	assert_cells(f, 0, 0, 0, 0);
	assert_int_equal(world_logged(f->world, DID_UNDO), 4);
}

/* And one of them has not come back: that counts for more. */
static void test_no_room_for_the_results_of_what_is_stuck(void **state)
{
	struct fixture *f = *state;
	struct task_outcome outcome;
	struct task *task;

	full_file = f->file;
	world_chain_ends = no_more_room;
	atomic_store(&f->world->cell[2].fail_apply, ERROR_STUCK);
	atomic_store(&f->world->live_cell, 2 + 1);
	task = world_do(f->engine, &world_operation, world_request(four, 4), NULL, &outcome);
	setrlimit(RLIMIT_FSIZE, &before);
	assert_int_equal(outcome.state, TASK_STUCK);
	assert_non_null(strstr(outcome.error.message, "process 4711"));
	task_outcome_finish(&outcome);
	assert_log(f, "apply 0, apply 1, apply 2");
	atomic_store(&f->world->live_cell, 0);
	until_stuck_no_more(f);
	world_await(f->engine, task, &outcome);
	assert_int_equal(outcome.state, TASK_ROLLED_BACK);
	task_outcome_finish(&outcome);
	task_unref(task);
	assert_cells(f, 0, 0, 0, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_all_are_done_in_one),
		TEST(test_only_neighbours_go_together),
		TEST(test_what_is_no_request_with_these_args_goes_alone),
		TEST(test_one_goes_its_own_way),
		TEST(test_it_is_told_which_one_is_under_way),
		TEST(test_one_fails),
		TEST(test_one_that_failed_half_way_is_undone_too),
		TEST(test_a_helper_that_was_lost),
		TEST(test_stuck_in_the_middle),
		TEST(test_given_up),
		TEST(test_cancel_is_seen_behind_it),
		TEST(test_cancel_in_the_last),
		TEST(test_no_room_for_the_intents),
		TEST(test_no_room_for_the_results),
		TEST(test_no_room_for_the_results_of_what_is_stuck),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
