/* SPDX-License-Identifier: Apache-2.0 */
/* The journal: what a crash at any byte leaves, what a reboot leaves, and that it does not grow. */
#include "unit.h"

#include <signal.h>
#include <sys/resource.h>

#include "plan/journal.h"
#include "plan/logfile.h"
#include "world.h"

#define BOOT "boot-1"

struct dirs {
	char top[48], run[64], var[64], run_file[80], var_file[80];
};

/* In memory where that is possible: thousands of journals are opened here, and each is synced. */
static void dirs_make(struct dirs *d)
{
	snprintf(d->top, sizeof(d->top), "%s/horcrux-journal-XXXXXX",
		 access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
	assert_non_null(mkdtemp(d->top));
	snprintf(d->run, sizeof(d->run), "%s/run", d->top);
	snprintf(d->var, sizeof(d->var), "%s/var", d->top);
	snprintf(d->run_file, sizeof(d->run_file), "%s/journal", d->run);
	snprintf(d->var_file, sizeof(d->var_file), "%s/journal", d->var);
	assert_int_equal(mkdir(d->run, 0700), 0);
	assert_int_equal(mkdir(d->var, 0700), 0);
}

static void dirs_remove(struct dirs *d)
{
	unlink(d->run_file);
	unlink(d->var_file);
	assert_int_equal(rmdir(d->run), 0);
	assert_int_equal(rmdir(d->var), 0);
	assert_int_equal(rmdir(d->top), 0);
}

static struct journal *open_at(struct dirs *d, const char *boot)
{
	struct error err = { 0 };
	struct journal *j = journal_open(d->run, d->var, boot, &err);

	if (!j)
		fail_msg("%s", err.message);
	return j;
}

struct args {
	int64_t cell, value, was;
};

static struct plan *plan_of(const char *const *kinds)
{
	struct plan *plan = plan_new();
	struct args args = { 0, 1, 0 };

	plan_title(plan, "a plan");
	plan_lock(plan, "card:a");
	for (; *kinds; kinds++, args.cell++)
		plan_step(plan, step_find(&world_steps, 1, *kinds), &args);
	return plan;
}

static void mark(struct journal *j, const char *task, struct plan *plan, size_t n,
		 enum step_status s)
{
	assert_int_equal(
		journal_step(j, task, n, (struct plan_step *)plan->steps.items + n, s, NULL), 0);
}

static size_t slurp(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY);
	ssize_t n = read(fd, buf, size);

	close(fd);
	assert_true(n >= 0);
	return (size_t)n;
}

static off_t size_of(const char *path)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	return st.st_size;
}

static void spit(const char *path, const char *bytes, size_t n)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_int_equal(write(fd, bytes, n), n);
	close(fd);
}

static const char *const four[] = { "set-0", "set-1", "set-2", "set-3", NULL };
static const char *const mixed[] = { "file-0", "set-1", "final-2", "file-3", NULL };

static void test_what_is_under_way_is_found_again(void **state)
{
	struct dirs d;
	struct journal *j;
	struct plan *plan = plan_of(mixed);
	const struct journal_task *found;

	(void)state;
	dirs_make(&d);
	j = open_at(&d, BOOT);
	assert_int_equal(journal_found(j)->n, 0);
	assert_int_equal(journal_begin(j, "task-1", "uid 0", plan, NULL), 0);
	mark(j, "task-1", plan, 0, STEP_INTENT);
	mark(j, "task-1", plan, 0, STEP_DONE);
	mark(j, "task-1", plan, 1, STEP_INTENT);
	assert_int_equal(journal_begin(j, "task-2", NULL, plan, NULL), 0);
	assert_int_equal(journal_end(j, "task-2", NULL), 0);
	journal_close(j);

	j = open_at(&d, BOOT);
	assert_int_equal(journal_found(j)->n, 1);
	found = journal_found(j)->items;
	assert_string_equal(found->id, "task-1");
	assert_string_equal(found->title, "a plan");
	assert_string_equal(found->requested_by, "uid 0");
	assert_false(found->rebooted);
	assert_int_equal(found->locks.n, 1);
	assert_int_equal(found->n, 4);
	assert_int_equal(found->status[0], STEP_DONE);
	assert_int_equal(found->status[1], STEP_INTENT);
	assert_int_equal(found->status[2], STEP_NONE);
	assert_int_equal(json_array_size(found->steps), 4);
	journal_forget_found(j);
	assert_int_equal(journal_found(j)->n, 0);
	/* Forgotten by the list, not by the file: that is for journal_end() to say. */
	journal_close(j);
	j = open_at(&d, BOOT);
	assert_int_equal(journal_found(j)->n, 1);
	assert_int_equal(journal_end(j, "task-1", NULL), 0);
	journal_close(j);
	j = open_at(&d, BOOT);
	assert_int_equal(journal_found(j)->n, 0);
	journal_close(j);
	plan_free(plan);
	dirs_remove(&d);
}

/* Of a reboot only lasting steps and points of no return are left. */
static void test_a_reboot_leaves_the_lasting_part(void **state)
{
	struct dirs d;
	struct journal *j;
	struct plan *plan = plan_of(mixed);
	json_t *value = json_pack("{s:s}", "driver", "nouveau"), *all;
	const struct journal_task *found;

	(void)state;
	dirs_make(&d);
	j = open_at(&d, BOOT);
	assert_int_equal(journal_taken_put(j, "0000:01:00.0", value, NULL), 0);
	assert_int_equal(journal_begin(j, "task-1", NULL, plan, NULL), 0);
	for (size_t n = 0; n < 3; n++) {
		mark(j, "task-1", plan, n, STEP_INTENT);
		mark(j, "task-1", plan, n, STEP_DONE);
	}
	journal_close(j);

	j = open_at(&d, "boot-2");
	assert_int_equal(journal_found(j)->n, 1);
	found = journal_found(j)->items;
	assert_true(found->rebooted);
	assert_int_equal(found->status[0], STEP_DONE);
	assert_int_equal(found->status[1], STEP_NONE);
	assert_int_equal(found->status[2],
			 STEP_DONE); /* a point of no return, though a kernel step */
	all = journal_taken_all(j);
	assert_int_equal(json_object_size(all), 0);
	json_decref(all);
	journal_close(j);

	/* The RUN file is of the new boot now: going back to the old one finds nothing there
	 * either. */
	j = open_at(&d, BOOT);
	all = journal_taken_all(j);
	assert_int_equal(json_object_size(all), 0);
	json_decref(all);
	journal_close(j);
	json_decref(value);
	plan_free(plan);
	dirs_remove(&d);
}

static void test_taken_lives_over_restarts(void **state)
{
	struct dirs d;
	struct journal *j;
	json_t *a = json_pack("{s:s, s:n}", "driver", "nouveau", "override"), *got;
	json_t *b = json_pack("{s:s}", "driver", "radeon");

	(void)state;
	dirs_make(&d);
	j = open_at(&d, BOOT);
	assert_int_equal(journal_taken_put(j, "0000:01:00.0", a, NULL), 0);
	assert_int_equal(journal_taken_put(j, "0000:02:00.0", a, NULL), 0);
	assert_int_equal(journal_taken_put(j, "0000:02:00.0", b, NULL), 0);
	assert_int_equal(journal_taken_put(j, "0000:03:00.0", b, NULL), 0);
	assert_int_equal(journal_taken_drop(j, "0000:03:00.0", NULL), 0);
	assert_int_equal(journal_taken_drop(j, "0000:04:00.0", NULL), 0);
	journal_close(j);
	j = open_at(&d, BOOT);
	got = journal_taken_get(j, "0000:01:00.0");
	assert_true(json_equal(got, a));
	json_decref(got);
	got = journal_taken_get(j, "0000:02:00.0");
	assert_true(json_equal(got, b));
	json_decref(got);
	assert_null(journal_taken_get(j, "0000:03:00.0"));
	journal_close(j);
	json_decref(a);
	json_decref(b);
	dirs_remove(&d);
}

/* Writes a task of four steps; sizes[i] is the length of the RUN file when i records were in it. */
static size_t write_four(struct dirs *d, size_t *sizes)
{
	struct journal *j = open_at(d, BOOT);
	struct plan *plan = plan_of(four);
	struct stat st;
	size_t n = 0;

	stat(d->run_file, &st);
	sizes[n++] = (size_t)st.st_size;
	assert_int_equal(journal_begin(j, "task-1", NULL, plan, NULL), 0);
	for (size_t step = 0; step < 4; step++) {
		for (enum step_status s = STEP_INTENT; s <= STEP_DONE; s++) {
			stat(d->run_file, &st);
			sizes[n++] = (size_t)st.st_size;
			mark(j, "task-1", plan, step, s);
		}
	}
	stat(d->run_file, &st);
	sizes[n++] = (size_t)st.st_size;
	plan_free(plan);
	journal_close(j);
	return n;
}

/* The number of whole records in the first `length` bytes. */
static size_t records_in(const size_t *sizes, size_t n, size_t length)
{
	size_t k = 0;

	while (k + 1 < n && sizes[k + 1] <= length)
		k++;
	return length < sizes[0] ? 0 : k;
}

static void assert_found(struct dirs *d, size_t records)
{
	struct journal *j = open_at(d, BOOT);
	const struct journal_task *found = journal_found(j)->items;

	assert_int_equal(journal_found(j)->n, records > 0);
	for (size_t step = 0; records && step < 4; step++) {
		size_t seen = records - 1 > 2 * step ? records - 1 - 2 * step : 0;

		assert_int_equal(found->status[step],
				 seen >= 2 ? STEP_DONE : seen ? STEP_INTENT : STEP_NONE);
	}
	journal_close(j);
}

/* A crash may leave any beginning of the file; what was answered for is in it. */
static void test_every_truncation_is_a_state_before(void **state)
{
	static char bytes[65536], junk[65536];
	struct dirs d;
	size_t sizes[16], n, length;

	(void)state;
	dirs_make(&d);
	n = write_four(&d, sizes);
	length = slurp(d.run_file, bytes, sizeof(bytes));
	assert_int_equal(length, sizes[n - 1]);
	for (size_t cut = 0; cut <= length; cut++) {
		spit(d.run_file, bytes, cut);
		assert_found(&d, records_in(sizes, n, cut));
	}
	/* The same with the length already on disk and the bytes not yet. */
	for (size_t cut = 0; cut < length; cut += 7) {
		memcpy(junk, bytes, length);
		memset(junk + cut, 0, length - cut);
		spit(d.run_file, junk, length);
		assert_found(&d, records_in(sizes, n, cut));
	}
	dirs_remove(&d);
}

/* What was torn is cut off, so that the next record begins on a line of its own. */
static void test_writing_goes_on_after_a_torn_line(void **state)
{
	static char bytes[65536];
	struct dirs d;
	struct journal *j;
	struct plan *plan = plan_of(four);
	size_t sizes[16], n;

	(void)state;
	dirs_make(&d);
	n = write_four(&d, sizes);
	slurp(d.run_file, bytes, sizeof(bytes));
	spit(d.run_file, bytes, sizes[n - 1] - 5);
	j = open_at(&d, BOOT);
	mark(j, "task-1", plan, 3, STEP_UNDOING);
	journal_close(j);
	j = open_at(&d, BOOT);
	assert_int_equal(((const struct journal_task *)journal_found(j)->items)->status[3],
			 STEP_UNDOING);
	journal_close(j);
	plan_free(plan);
	dirs_remove(&d);
}

static void test_damage_in_the_middle_is_told_and_kept(void **state)
{
	static char bytes[65536], after[65536];
	struct dirs d;
	struct error err = { 0 };
	size_t sizes[16], n, length;

	(void)state;
	dirs_make(&d);
	n = write_four(&d, sizes);
	length = slurp(d.run_file, bytes, sizeof(bytes));
	for (size_t at = sizes[0]; at < sizes[n - 2] - 1; at += 11) {
		bytes[at] ^= 1;
		if (bytes[at] == '\n' ||
		    bytes[at] == ('\n' ^ 1)) { /* that would make other lines */
			bytes[at] ^= 1;
			continue;
		}
		spit(d.run_file, bytes, length);
		assert_null(journal_open(d.run, d.var, BOOT, &err));
		assert_int_equal(err.code, ERROR_STORE);
		assert_non_null(strstr(err.message, d.run_file));
		assert_int_equal(slurp(d.run_file, after, sizeof(after)), length);
		assert_memory_equal(bytes, after, length);
		bytes[at] ^= 1;
	}
	dirs_remove(&d);
}

/* Killed between the two files: an end in either is an end. */
static void test_an_end_in_one_file_counts(void **state)
{
	static char bytes[65536];
	struct dirs d;
	struct journal *j;
	static const char *const files[] = { "file-0", "file-1", NULL };
	struct plan *plan = plan_of(mixed), *lasting = plan_of(files);
	size_t before;

	(void)state;
	dirs_make(&d);
	j = open_at(&d, BOOT);
	assert_int_equal(journal_begin(j, "task-1", NULL, plan, NULL), 0);
	mark(j, "task-1", plan, 1, STEP_INTENT);
	mark(j, "task-1", plan, 1, STEP_DONE);
	before = slurp(d.run_file, bytes, sizeof(bytes));
	assert_int_equal(journal_end(j, "task-1", NULL), 0);
	journal_close(j);
	spit(d.run_file, bytes, before);
	for (int i = 0; i < 2; i++) {	/* and is not forgotten by cleaning up */
		j = open_at(&d, BOOT);
		assert_int_equal(journal_found(j)->n, 0);
		before = (size_t)size_of(d.var_file);
		for (int n = 0; n < 50; n++) {	/* which VAR alone sees here */
			assert_int_equal(journal_begin(j, "task-2", NULL, lasting, NULL), 0);
			assert_int_equal(journal_end(j, "task-2", NULL), 0);
		}
		assert_true((size_t)size_of(d.var_file) < before + 8192);
		journal_close(j);
	}
	plan_free(plan);
	plan_free(lasting);
	dirs_remove(&d);
}

static void test_it_does_not_grow(void **state)
{
	struct dirs d;
	struct journal *j;
	struct plan *plan = plan_of(mixed);
	json_t *value = json_pack("{s:s}", "driver", "nouveau"), *got;
	off_t most = 0;
	char id[32];

	(void)state;
	dirs_make(&d);
	j = open_at(&d, BOOT);
	assert_int_equal(journal_begin(j, "task-long", NULL, plan, NULL), 0);
	assert_int_equal(journal_taken_put(j, "0000:01:00.0", value, NULL), 0);
	for (int i = 0; i < 1500; i++) {
		snprintf(id, sizeof(id), "task-%d", i);
		assert_int_equal(journal_begin(j, id, NULL, plan, NULL), 0);
		mark(j, id, plan, 0, STEP_INTENT);
		mark(j, id, plan, 1, STEP_INTENT);
		assert_int_equal(journal_end(j, id, NULL), 0);
		most = size_of(d.run_file) > most ? size_of(d.run_file) : most;
	}
	assert_true(most < 2 * JOURNAL_COMPACT);
	assert_int_equal(journal_end(j, "task-long", NULL), 0);
	assert_true(size_of(d.run_file) < 4096);
	assert_true(size_of(d.var_file) < 4096);
	got = journal_taken_get(j, "0000:01:00.0");
	assert_true(json_equal(got, value));
	json_decref(got);
	journal_close(j);
	j = open_at(&d, BOOT);
	got = journal_taken_get(j, "0000:01:00.0");
	assert_true(json_equal(got, value));
	json_decref(got);
	journal_close(j);
	json_decref(value);
	plan_free(plan);
	dirs_remove(&d);
}

static void test_one_at_a_time(void **state)
{
	struct dirs d;
	struct error err = { 0 };
	struct journal *j;

	(void)state;
	dirs_make(&d);
	j = open_at(&d, BOOT);
	assert_null(journal_open(d.run, d.var, BOOT, &err));
	assert_int_equal(err.code, ERROR_STORE);
	assert_non_null(strstr(err.message, "another process"));
	journal_close(j);
	journal_close(open_at(&d, BOOT));
	dirs_remove(&d);
}

static void test_no_directory_is_told(void **state)
{
	struct error err = { 0 };

	(void)state;
	assert_null(journal_open("/nonexistent/run", "/nonexistent/var", BOOT, &err));
	assert_int_equal(err.code, ERROR_STORE);
	assert_non_null(strstr(err.message, "/nonexistent/var/journal"));
}

/* A full file system: the record is not in the file, and the file is whole. */
static void test_a_full_disk_leaves_no_half_record(void **state)
{
	struct dirs d;
	struct journal *j;
	struct plan *plan = plan_of(four);
	struct error err = { 0 };
	struct rlimit limit, before;
	off_t size;
	const struct journal_task *found;

	(void)state;
	dirs_make(&d);
	j = open_at(&d, BOOT);
	assert_int_equal(journal_begin(j, "task-1", NULL, plan, NULL), 0);
	getrlimit(RLIMIT_FSIZE, &before);
	limit = before;
	size = size_of(d.run_file);
	limit.rlim_cur = (rlim_t)size + 20;	/* EFBIG after 20 bytes */
	signal(SIGXFSZ, SIG_IGN);
	setrlimit(RLIMIT_FSIZE, &limit);
	assert_int_equal(journal_step(j, "task-1", 0, plan->steps.items, STEP_INTENT, &err), -1);
	setrlimit(RLIMIT_FSIZE, &before);
	assert_int_equal(err.code, ERROR_STORE);
	assert_true(err.hint[0]);
	assert_int_equal(size_of(d.run_file), size);
	mark(j, "task-1", plan, 1, STEP_INTENT);
	journal_close(j);
	j = open_at(&d, BOOT);
	found = journal_found(j)->items;
	assert_int_equal(found->status[0], STEP_NONE);
	assert_int_equal(found->status[1], STEP_INTENT);
	journal_close(j);
	plan_free(plan);
	dirs_remove(&d);
}

static const enum step_status *status_found(struct journal *j)
{
	assert_int_equal(journal_found(j)->n, 1);
	return ((const struct journal_task *)journal_found(j)->items)->status;
}

static size_t lines_in(const char *path)
{
	char text[4096];
	size_t n = slurp(path, text, sizeof(text)), lines = 0;

	for (size_t i = 0; i < n; i++)
		lines += text[i] == '\n';
	return lines;
}

/* Several steps are one record: all of them stand in it, or, torn or with no room, none. */
static void test_several_steps_are_one_record(void **state)
{
	struct dirs d;
	struct journal *j;
	struct plan *plan = plan_of(four);
	char text[4096];
	size_t lines, size;

	(void)state;
	dirs_make(&d);
	j = open_at(&d, BOOT);
	assert_int_equal(journal_begin(j, "task-1", NULL, plan, NULL), 0);
	lines = lines_in(d.run_file);
	assert_int_equal(journal_steps(j, "task-1", 1, 3, STEP_INTENT, NULL), 0);
	assert_int_equal(lines_in(d.run_file), lines + 1);
	assert_int_equal(journal_steps(j, "task-1", 1, 1, STEP_DONE, NULL), 0);
	journal_close(j);
	j = open_at(&d, BOOT);
	assert_int_equal(status_found(j)[0], STEP_NONE);
	assert_int_equal(status_found(j)[1], STEP_DONE);
	assert_int_equal(status_found(j)[2], STEP_INTENT);
	assert_int_equal(status_found(j)[3], STEP_INTENT);
	assert_int_equal(journal_steps(j, "task-1", 0, 4, STEP_DONE, NULL), 0);
	journal_close(j);
	size = slurp(d.run_file, text, sizeof(text));
	spit(d.run_file, text, size - 1);
	j = open_at(&d, BOOT);
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(status_found(j)[i], i == 1 ? STEP_DONE : i ? STEP_INTENT : STEP_NONE);
	journal_close(j);
	spit(d.run_file, text, size);
	j = open_at(&d, BOOT);
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(status_found(j)[i], STEP_DONE);
	journal_close(j);
	plan_free(plan);
	dirs_remove(&d);
}

static bool keep_reading(void *data, json_t *record)
{
	(void)data;
	(void)record;
	return true;
}

/* Numbers that no journal of ours has: what they name is not there, and the rest stands. */
static void test_several_steps_of_silly_numbers(void **state)
{
	static const json_int_t silly[][2] = {
		{ 0, 99999999999 }, { -9000000000000000000, 3 }, { -1, 0 }, { 99, 120 }, { 3, 1 },
	};
	struct logfile file = LOGFILE_CLOSED;
	struct dirs d;
	struct journal *j;
	struct plan *plan = plan_of(four);

	(void)state;
	dirs_make(&d);
	j = open_at(&d, BOOT);
	assert_int_equal(journal_begin(j, "task-1", NULL, plan, NULL), 0);
	assert_int_equal(journal_steps(j, "task-1", 0, 2, STEP_DONE, NULL), 0);
	journal_close(j);
	assert_int_equal(logfile_open(&file, d.run, keep_reading, NULL, NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(silly); i++)
		assert_int_equal(logfile_append(&file,
						json_pack("{s:s, s:s, s:I, s:I, s:s}", "r", "step", "task",
							  "task-1", "n", silly[i][0], "to", silly[i][1], "s",
							  "undone"),
						NULL),
				 0);
	logfile_close(&file);
	j = open_at(&d, BOOT);
	assert_int_equal(status_found(j)[0], STEP_DONE);
	assert_int_equal(status_found(j)[1], STEP_DONE);
	assert_int_equal(status_found(j)[2], STEP_NONE);
	assert_int_equal(status_found(j)[3], STEP_UNDONE);	/* a "to" before "n": n alone */
	journal_close(j);
	plan_free(plan);
	dirs_remove(&d);
}

/* No file grows by more than so many bytes; EFBIG comes then. */
static void room_for(struct dirs *d, struct rlimit *before)
{
	struct rlimit limit;
	off_t run = size_of(d->run_file), var = size_of(d->var_file);

	getrlimit(RLIMIT_FSIZE, before);
	limit = *before;
	limit.rlim_cur = (rlim_t)(run < var ? run : var);
	signal(SIGXFSZ, SIG_IGN);
	setrlimit(RLIMIT_FSIZE, &limit);
}

/* Were it found open later, it would be undone in a world that newer tasks have made. */
static void test_an_end_that_found_no_room_comes_first(void **state)
{
	static const char *const kinds[][5] = {
		{ "set-0", "set-1", NULL }, { "file-0", "file-1", NULL }, { "file-0", "set-1", NULL }
	};
	struct error err;
	struct rlimit before;
	struct journal *j;
	struct dirs d;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct plan *plan = plan_of(kinds[i]);
		const struct plan_step *first = plan->steps.items;
		const struct journal_task *found;

		err = (struct error){ 0 };
		dirs_make(&d);
		j = open_at(&d, BOOT);
		assert_int_equal(journal_begin(j, "task-1", NULL, plan, NULL), 0);
		assert_int_equal(journal_begin(j, "task-2", NULL, plan, NULL), 0);
		mark(j, "task-1", plan, 0, STEP_DONE);
		mark(j, "task-2", plan, 0, STEP_INTENT);
		room_for(&d, &before);
		assert_int_equal(journal_step(j, "task-1", 0, first, STEP_UNDONE, NULL), -1);
		assert_int_equal(journal_step(j, "task-2", 0, first, STEP_UNDONE, NULL), -1);
		assert_int_equal(journal_end(j, "task-1", &err), -1);
		assert_int_equal(err.code, ERROR_STORE);
		assert_int_equal(journal_begin(j, "task-3", NULL, plan, &err), -1);
		setrlimit(RLIMIT_FSIZE, &before);
		assert_int_equal(journal_begin(j, "task-4", NULL, plan, NULL), 0);
		journal_close(j);
		j = open_at(&d, BOOT);
		found = journal_found(j)->items;
		assert_int_equal(journal_found(j)->n, 2);
		assert_string_equal(found[0].id, "task-2");
		assert_int_equal(found[0].status[0], STEP_UNDONE);
		assert_string_equal(found[1].id, "task-4");
		journal_close(j);
		plan_free(plan);
		dirs_remove(&d);
	}
}

static void test_what_is_not_taken_any_more_needs_no_room(void **state)
{
	struct rlimit before;
	struct journal *j;
	json_t *value = json_string("radeon");
	struct dirs d;

	(void)state;
	dirs_make(&d);
	j = open_at(&d, BOOT);
	assert_int_equal(journal_taken_put(j, "a", value, NULL), 0);
	assert_int_equal(journal_taken_put(j, "b", value, NULL), 0);
	room_for(&d, &before);
	assert_int_equal(journal_taken_drop(j, "a", NULL), 0);
	assert_int_equal(journal_taken_drop(j, "a", NULL), 0);
	assert_null(journal_taken_get(j, "a"));
	assert_int_equal(journal_taken_put(j, "c", value, NULL), -1);
	setrlimit(RLIMIT_FSIZE, &before);
	assert_int_equal(journal_taken_drop(j, "b", NULL), 0);
	assert_int_equal(journal_taken_put(j, "b", value, NULL), 0);
	journal_close(j);
	j = open_at(&d, BOOT);
	assert_null(journal_taken_get(j, "a"));
	json_decref(value);
	value = journal_taken_get(j, "b");
	assert_non_null(value);
	json_decref(value);
	journal_close(j);
	dirs_remove(&d);
}

/* The same when nothing is asked for any more: it is tried once more at the end. */
static void test_an_end_that_found_no_room_is_written_when_it_closes(void **state)
{
	struct plan *plan = plan_of(mixed);
	struct rlimit before;
	struct journal *j;
	struct dirs d;

	(void)state;
	dirs_make(&d);
	j = open_at(&d, BOOT);
	assert_int_equal(journal_begin(j, "task-1", NULL, plan, NULL), 0);
	room_for(&d, &before);
	assert_int_equal(journal_end(j, "task-1", NULL), -1);
	setrlimit(RLIMIT_FSIZE, &before);
	journal_close(j);
	j = open_at(&d, "boot-2");	/* so that only what the lasting file says counts */
	assert_int_equal(journal_found(j)->n, 0);
	journal_close(j);
	plan_free(plan);
	dirs_remove(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_under_way_is_found_again),
		cmocka_unit_test(test_a_reboot_leaves_the_lasting_part),
		cmocka_unit_test(test_taken_lives_over_restarts),
		cmocka_unit_test(test_every_truncation_is_a_state_before),
		cmocka_unit_test(test_writing_goes_on_after_a_torn_line),
		cmocka_unit_test(test_damage_in_the_middle_is_told_and_kept),
		cmocka_unit_test(test_an_end_in_one_file_counts),
		cmocka_unit_test(test_it_does_not_grow),
		cmocka_unit_test(test_one_at_a_time),
		cmocka_unit_test(test_no_directory_is_told),
		cmocka_unit_test(test_a_full_disk_leaves_no_half_record),
		cmocka_unit_test(test_several_steps_are_one_record),
		cmocka_unit_test(test_several_steps_of_silly_numbers),
		cmocka_unit_test(test_an_end_that_found_no_room_comes_first),
		cmocka_unit_test(test_what_is_not_taken_any_more_needs_no_room),
		cmocka_unit_test(test_an_end_that_found_no_room_is_written_when_it_closes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
