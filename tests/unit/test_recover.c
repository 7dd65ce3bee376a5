/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Killing the daemon at every point of every step, forward and back, and starting it again: the
 * world, which outlives it in shared memory, ends wholly as it was before or wholly as it was
 * wanted, and the task says which. Each life of the daemon is a process of its own.
 */
#include "unit.h"

#include <signal.h>
#include <sys/wait.h>

#include "world.h"

struct fixture {
	char top[48], run[64], var[64];
	struct world *world;
};

static void dirs_make(struct fixture *f)
{
	snprintf(f->top, sizeof(f->top), "%s/horcrux-recover-XXXXXX",
		 access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
	assert_non_null(mkdtemp(f->top));
	snprintf(f->run, sizeof(f->run), "%s/run", f->top);
	snprintf(f->var, sizeof(f->var), "%s/var", f->top);
	assert_int_equal(mkdir(f->run, 0700), 0);
	assert_int_equal(mkdir(f->var, 0700), 0);
	f->world = world_new();
}

static void dirs_remove(struct fixture *f)
{
	char path[96];

	snprintf(path, sizeof(path), "%s/journal", f->run);
	unlink(path);
	snprintf(path, sizeof(path), "%s/journal", f->var);
	unlink(path);
	assert_int_equal(rmdir(f->run), 0);
	assert_int_equal(rmdir(f->var), 0);
	assert_int_equal(rmdir(f->top), 0);
	world_free(f->world);
}

/* ---- a life of the daemon, in a child ---- */

static void die(const char *what)
{
	fprintf(stderr, "in the child: %s\n", what);
	_exit(3);
}

static struct engine *child_engine(struct fixture *f, const char *boot, struct journal **journal)
{
	struct engine_config config;
	struct error err = { 0 };
	struct engine *engine;
	const char *text;

	if (fault_load("horcruxd", &text, &err) < 0)
		die(err.message);
	*journal = journal_open(f->run, f->var, boot, &err);
	if (!*journal)
		die(err.message);
	world_config(f->world, *journal, &config);
	engine = engine_start(&config, &err);
	if (!engine)
		die(err.message);
	return engine;
}

/* Asks for the cells, and is killed on the way, or not. */
static void child_works(struct fixture *f, const char *fault, const struct world_wish *wish,
			size_t n)
{
	struct task_outcome outcome;
	struct journal *journal;
	struct engine *engine;
	struct task *task;

	setenv("HORCRUX_FAULT", fault, 1);
	engine = child_engine(f, "boot", &journal);
	task = world_do(engine, &world_operation, world_request(wish, n), NULL, &outcome);
	task_outcome_finish(&outcome);
	task_unref(task);
	engine_stop(engine, 5000);
	journal_close(journal);
	_exit(0);
}

/* What is unfinished comes to its end; its state goes to world->verdict, "" when there was none. */
static void child_recovers(struct fixture *f, const char *boot)
{
	json_t *all = NULL, *state = NULL;
	struct journal *journal;
	struct engine *engine;
	atomic_int never = 0;

	unsetenv("HORCRUX_FAULT");
	engine = child_engine(f, boot, &journal);
	for (int i = 0; i < 2000; i++) {
		json_decref(all);
		all = task_list(engine, -1);
		state = json_object_get(json_array_get(all, 0), "ended_at");
		if (!json_array_size(all) || !json_is_null(state))
			break;
		world_pump(engine, &never, 2);
	}
	if (json_array_size(all) > 1)
		die("more than one task was found");
	state = json_object_get(json_array_get(all, 0), "state");
	snprintf(f->world->verdict, sizeof(f->world->verdict), "%s",
		 json_string_value(state) ?: "");
	json_decref(all);
	if (engine_stop(engine, 5000) < 0)
		die("the engine did not stop");
	journal_close(journal);
	_exit(0);
}

static int wait_for(pid_t pid)
{
	int status;

	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

/* True: it was killed by the fault. */
static bool life(struct fixture *f, const char *fault, const struct world_wish *wish, size_t n)
{
	pid_t pid = fork();
	int status;

	if (!pid)
		child_works(f, fault, wish, n);
	status = wait_for(pid);
	if (WIFSIGNALED(status))
		assert_int_equal(WTERMSIG(status), SIGKILL);
	else
		assert_int_equal(WEXITSTATUS(status), 0);
	return WIFSIGNALED(status);
}

static void recover_after(struct fixture *f, const char *boot)
{
	pid_t pid;
	int status;

	/* Shared: after the fork it might wipe what a fast child has said. */
	f->world->verdict[0] = '\0';
	pid = fork();
	if (!pid)
		child_recovers(f, boot);
	status = wait_for(pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* ---- what the world is ---- */

static int cell(struct fixture *f, int n)
{
	return atomic_load(&f->world->cell[n].value);
}

static bool all_before(struct fixture *f)
{
	return !cell(f, 0) && !cell(f, 1) && !cell(f, 2) && !cell(f, 3);
}

static bool all_after(struct fixture *f)
{
	return cell(f, 0) == 10 && cell(f, 1) == 11 && cell(f, 2) == 12 && cell(f, 3) == 13;
}

/* Either file. */
static bool journal_says(struct fixture *f, const char *words)
{
	const char *const dirs[] = { f->run, f->var };
	static char text[65536];
	bool said = false;
	char path[96];
	ssize_t n;
	int fd;

	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
		snprintf(path, sizeof(path), "%s/journal", dirs[i]);
		fd = open(path, O_RDONLY);
		n = read(fd, text, sizeof(text) - 1);
		close(fd);
		text[n > 0 ? n : 0] = '\0';
		said |= strstr(text, words) != NULL;
	}
	return said;
}

static const char *const points[] = { "before", "inside", "after" };

/* Four steps of these kinds: cell n becomes 10 + n. */
static void wishes(const char *const kinds[4], struct world_wish wish[4])
{
	for (int n = 0; n < 4; n++)
		wish[n] = (struct world_wish){ kinds[n], n, 10 + n };
}

static const char *const plans[][4] = {
	{ "set-0", "set-1", "set-2", "set-3" },
	{ "file-0", "file-1", "file-2", "file-3" },
	{ "file-0", "set-1", "file-2", "set-3" },
	{ "set-0", "set-1", "set-2", "final-3" },
	{ "set-0", "final-1", "set-2", "set-3" },
	{ "file-0", "final-1", "set-2", "file-3" },
	{ "set-0", "last-1", "file-2", "set-3" },
	{ "final-0", "set-1", "last-2", "file-3" },
	{ "link-0", "link-1", "link-2", "link-3" },
	{ "link-0", "link-1", "final-2", "link-3" },
	{ "file-0", "link-1", "link-2", "last-3" },
	{ "final-0", "link-1", "link-2", "set-3" },
};

static bool is_final(const char *kind)
{
	return !strncmp(kind, "final", 5) || !strncmp(kind, "last", 4);
}

/* Is a point of no return behind a life that ended there? */
static bool passed(const char *const kinds[4], int step, int point)
{
	for (int n = 0; n < step; n++)
		if (is_final(kinds[n]))
			return true;
	return is_final(kinds[step]) && point > 0;	/* it is one write, and that was made */
}

static void test_killed_on_the_way_forward(void **state)
{
	struct world_wish wish[4];
	struct fixture f;
	char fault[64];
	int kills = 0;

	(void)state;
	for (size_t p = 0; p < ARRAY_SIZE(plans); p++) {
		wishes(plans[p], wish);
		for (int step = 0; step < 4; step++) {
			for (int point = 0; point < 3; point++) {
				dirs_make(&f);
				snprintf(fault, sizeof(fault), "kill:horcruxd:%s:%s",
					 plans[p][step], points[point]);
				assert_true(life(&f, fault, wish, 4));
				kills++;
				recover_after(&f, "boot");
				if (passed(plans[p], step, point)) {
					assert_true(all_after(&f));
					assert_string_equal(f.world->verdict, "succeeded");
				} else {
					assert_true(all_before(&f));
					assert_string_equal(f.world->verdict, "rolled_back");
				}
				recover_after(&f, "boot");	/* and nothing of it is left */
				assert_string_equal(f.world->verdict, "");
				dirs_remove(&f);
			}
		}
	}
	assert_int_equal(kills, 12 * ARRAY_SIZE(plans));
}

/* The last step fails, and on its way back the daemon is killed. */
static void test_killed_on_the_way_back(void **state)
{
	struct world_wish wish[4];
	struct fixture f;
	char fault[64];

	(void)state;
	for (size_t p = 0; p < 3; p++) {
		wishes(plans[p], wish);
		for (int step = 0; step < 4; step++) {
			for (int point = 0; point < 3; point++) {
				dirs_make(&f);
				snprintf(fault, sizeof(fault), "kill:horcruxd:%s/undo:%s",
					 plans[p][step], points[point]);
				atomic_store(&f.world->cell[3].fail_apply_done, ERROR_SYSTEM);
				assert_true(life(&f, fault, wish, 4));
				atomic_store(&f.world->cell[3].fail_apply_done, 0);
				assert_true(journal_says(&f, "\"undoing\""));
				recover_after(&f, "boot");
				assert_true(all_before(&f));
				assert_string_equal(f.world->verdict, "rolled_back");
				dirs_remove(&f);
			}
		}
	}
}

/* Killed, and killed again while it recovers. */
/* In the middle of several that went to the helper together: some done, one half done, some not begun. */
static void test_killed_in_a_chain(void **state)
{
	static const char *const chains[][4] = {
		{ "link-0", "link-1", "link-2", "link-3" },
		{ "link-0", "link-1", "link-2", "final-3" },
		{ "set-0", "link-1", "link-2", "link-3" },
	};
	struct world_wish wish[4];
	struct fixture f;

	(void)state;
	for (size_t p = 0; p < ARRAY_SIZE(chains); p++) {
		wishes(chains[p], wish);
		for (int n = p == 2; n < (p == 1 ? 3 : 4); n++) {
			dirs_make(&f);
			atomic_store(&f.world->strike_cell, n + 1);
			assert_true(life(&f, "kill:horcruxd:none:before", wish, 4));
			assert_true(journal_says(&f, "\"to\""));
			for (int k = n + 1; k < 4; k++)
				assert_int_equal(cell(&f, k), 0);	/* not begun */
			atomic_store(&f.world->strike_cell, 0);
			recover_after(&f, "boot");
			assert_true(all_before(&f));
			assert_string_equal(f.world->verdict, "rolled_back");
			recover_after(&f, "boot");
			assert_string_equal(f.world->verdict, "");
			dirs_remove(&f);
		}
	}
}

static void test_killed_while_recovering(void **state)
{
	struct world_wish wish[4];
	struct fixture f;
	char fault[64];
	pid_t pid;
	int status;

	(void)state;
	wishes(plans[2], wish);
	for (int step = 0; step < 3; step++) {
		for (int point = 0; point < 3; point++) {
			dirs_make(&f);
			assert_true(life(&f, "kill:horcruxd:set-3:inside", wish, 4));
			snprintf(fault, sizeof(fault), "kill:horcruxd:%s/undo:%s", plans[2][step],
				 points[point]);
			pid = fork();
			if (!pid) {
				struct journal *journal;
				struct engine *engine;
				atomic_int never = 0;

				setenv("HORCRUX_FAULT", fault, 1);
				engine = child_engine(&f, "boot", &journal);
				world_pump(engine, &never, 10000);
				die("it was not killed");
			}
			status = wait_for(pid);
			assert_true(WIFSIGNALED(status));
			recover_after(&f, "boot");
			assert_true(all_before(&f));
			assert_string_equal(f.world->verdict, "rolled_back");
			dirs_remove(&f);
		}
	}
}

static bool is_lasting(const char *kind)
{
	return !strncmp(kind, "file", 4) || !strncmp(kind, "last", 4);
}

/* What a boot does to the kernel's cells of a plan. */
static void boot_world(struct fixture *f, const char *const kinds[4])
{
	for (int n = 0; n < 4; n++)
		if (!is_lasting(kinds[n]))
			atomic_store(&f->world->cell[n].value, 0);
}

/* A reboot in the middle: the kernel's part is gone, and the lasting part does not stay half. */
static void test_a_reboot_in_the_middle(void **state)
{
	struct world_wish wish[4];
	struct fixture f;
	char fault[64];
	bool forward;

	(void)state;
	for (size_t p = 0; p < ARRAY_SIZE(plans); p++) {
		wishes(plans[p], wish);
		for (int step = 0; step < 4; step++) {
			for (int point = 0; point < 3; point++) {
				dirs_make(&f);
				snprintf(fault, sizeof(fault), "kill:horcruxd:%s:%s",
					 plans[p][step], points[point]);
				assert_true(life(&f, fault, wish, 4));
				boot_world(&f, plans[p]);
				recover_after(&f, "another boot");
				/* A kernel step without return that was begun counts: the boot
				 * ended what it was to end. */
				forward = passed(plans[p], step, point) ||
					  !strncmp(plans[p][step], "final", 5);
				for (int n = 0; n < 4; n++)
					assert_int_equal(cell(&f, n),
							 forward && is_lasting(plans[p][n]) ? 10 + n
											    : 0);
				recover_after(&f, "another boot");
				assert_string_equal(f.world->verdict, "");
				dirs_remove(&f);
			}
		}
	}
}

/* A child of the helper is still inside the write: nothing is touched until it is not. */
static void test_a_living_writer_is_waited_for(void **state)
{
	struct world_wish wish[4];
	struct fixture f;
	int logged;

	(void)state;
	wishes(plans[0], wish);
	dirs_make(&f);
	assert_true(life(&f, "kill:horcruxd:set-2:inside", wish, 4));
	atomic_store(&f.world->live_cell, 2 + 1);
	logged = atomic_load(&f.world->n_log);
	recover_after(&f, "boot");
	assert_string_equal(f.world->verdict, "stuck");
	assert_int_equal(atomic_load(&f.world->n_log), logged);
	assert_int_equal(cell(&f, 0), 10);
	atomic_store(&f.world->cell[2].value, 12);	/* it ends, having done it */
	atomic_store(&f.world->live_cell, 0);
	recover_after(&f, "boot");
	assert_string_equal(f.world->verdict, "rolled_back");
	assert_true(all_before(&f));
	dirs_remove(&f);
}

/* A writer to something else is no reason to wait. */
static void test_another_writer_is_none_of_its_business(void **state)
{
	struct world_wish wish[4];
	struct fixture f;

	(void)state;
	wishes(plans[0], wish);
	dirs_make(&f);
	assert_true(life(&f, "kill:horcruxd:set-2:inside", wish, 4));
	atomic_store(&f.world->live_cell, 9 + 1);
	recover_after(&f, "boot");
	assert_string_equal(f.world->verdict, "rolled_back");
	assert_true(all_before(&f));
	dirs_remove(&f);
}

static void test_the_helper_is_waited_for(void **state)
{
	struct world_wish wish[4];
	struct fixture f;

	(void)state;
	wishes(plans[0], wish);
	dirs_make(&f);
	assert_true(life(&f, "kill:horcruxd:set-2:inside", wish, 4));
	atomic_store(&f.world->helper_down, 3);
	recover_after(&f, "boot");
	assert_string_equal(f.world->verdict, "rolled_back");
	assert_true(all_before(&f));
	dirs_remove(&f);
}

/* Lasting steps have no helper: they do not wait for it. */
static void test_files_do_not_wait_for_the_helper(void **state)
{
	struct world_wish wish[4];
	struct fixture f;

	(void)state;
	wishes(plans[1], wish);
	dirs_make(&f);
	assert_true(life(&f, "kill:horcruxd:file-2:inside", wish, 4));
	atomic_store(&f.world->helper_down, -1);
	recover_after(&f, "boot");
	assert_string_equal(f.world->verdict, "rolled_back");
	assert_true(all_before(&f));
	dirs_remove(&f);
}

/* What cannot be told is left alone, and asked about again. */
static void test_what_cannot_be_told_is_stuck(void **state)
{
	struct world_wish wish[4];
	struct fixture f;

	(void)state;
	wishes(plans[4], wish);	/* final-1 */
	dirs_make(&f);
	assert_true(life(&f, "kill:horcruxd:final-1:inside", wish, 4));
	atomic_store(&f.world->cell[1].unknown, -1);
	recover_after(&f, "boot");
	assert_string_equal(f.world->verdict, "stuck");
	assert_int_equal(cell(&f, 0), 10);
	atomic_store(&f.world->cell[1].unknown, 0);
	recover_after(&f, "boot");
	assert_string_equal(f.world->verdict, "succeeded");
	assert_true(all_after(&f));
	dirs_remove(&f);
}

/* While it recovers, requests for the same cells wait; they do not see a world half way. */
static void test_requests_wait_for_recovery(void **state)
{
	struct world_wish wish[4];
	struct fixture f;
	int status;
	pid_t pid;

	(void)state;
	wishes(plans[0], wish);
	dirs_make(&f);
	assert_true(life(&f, "kill:horcruxd:set-3:inside", wish, 4));
	atomic_store(&f.world->helper_down, 2);	/* that takes it a while */
	pid = fork();
	if (!pid)
		child_works(&f, "kill:horcruxd:file-0:before", wish, 4); /* none that is used */
	status = wait_for(pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	assert_true(all_after(&f));
	dirs_remove(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_killed_on_the_way_forward),
		cmocka_unit_test(test_killed_on_the_way_back),
		cmocka_unit_test(test_killed_in_a_chain),
		cmocka_unit_test(test_killed_while_recovering),
		cmocka_unit_test(test_a_reboot_in_the_middle),
		cmocka_unit_test(test_a_living_writer_is_waited_for),
		cmocka_unit_test(test_another_writer_is_none_of_its_business),
		cmocka_unit_test(test_the_helper_is_waited_for),
		cmocka_unit_test(test_files_do_not_wait_for_the_helper),
		cmocka_unit_test(test_what_cannot_be_told_is_stuck),
		cmocka_unit_test(test_requests_wait_for_recovery),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
