/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store. The first part is the suite that every engine must pass: it knows nothing but store.h.
 * The second is about SQLite's own file.
 */
#include "unit.h"

#include <pthread.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "store/store.h"

struct fixture {
	char top[48];
	char path[64];
	struct store *store;
	struct arena *arena;
};

/* The engine under test. Another one is another main() with another of these. */
static const struct store_engine *const engine = &store_sqlite;

static void open_it(struct fixture *f)
{
	struct error err = { 0 };

	f->store = store_open(engine, f->path, 0, &err);
	if (!f->store)
		fail_msg("%s", err.message);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	snprintf(f->top, sizeof(f->top), "%s/horcrux-store-XXXXXX",
		 access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
	assert_non_null(mkdtemp(f->top));
	snprintf(f->path, sizeof(f->path), "%s/store.db", f->top);
	f->arena = arena_new();
	open_it(f);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	static const char *const endings[] = { "", "-wal", "-shm" };
	struct fixture *f = *state;
	char path[96];

	store_close(f->store);
	arena_free(f->arena);
	for (size_t i = 0; i < ARRAY_SIZE(endings); i++) {
		snprintf(path, sizeof(path), "%s%s", f->path, endings[i]);
		unlink(path);
	}
	assert_int_equal(rmdir(f->top), 0);
	free(f);
	return 0;
}

/* Puts without a condition; the revision. */
static int64_t put(struct fixture *f, const char *key, const char *value)
{
	const struct store_change change = { key, value };
	const struct store_txn txn = { NULL, 0, &change, 1 };
	int64_t revision = -1;

	assert_int_equal(store_txn(f->store, &txn, &revision, NULL), 1);
	return revision;
}

static struct store_row get(struct fixture *f, const char *key)
{
	struct store_row row = { 0 };
	struct error err = { 0 };

	if (store_get(f->store, key, f->arena, &row, &err) < 0)
		fail_msg("%s", err.message);
	return row;
}

/* ---- what any engine does ---- */

static void test_what_is_put_is_there(void **state)
{
	struct fixture *f = *state;
	struct store_row row;
	int64_t one, two;

	assert_null(get(f, "vms/a").key);
	one = put(f, "vms/a", "{\"cpus\": 2}");
	row = get(f, "vms/a");
	assert_string_equal(row.key, "vms/a");
	assert_string_equal(row.value, "{\"cpus\": 2}");
	assert_int_equal(row.create, one);
	assert_int_equal(row.mod, one);
	two = put(f, "vms/a", "\xc3\xbc");
	assert_true(two > one);
	row = get(f, "vms/a");
	assert_string_equal(row.value, "\xc3\xbc");
	assert_int_equal(row.create, one);
	assert_int_equal(row.mod, two);
	put(f, "vms/a", NULL);
	assert_null(get(f, "vms/a").key);
	assert_true(put(f, "vms/a", "again") > two);
	assert_true(get(f, "vms/a").create > two);
}

static void test_it_is_there_after_opening_again(void **state)
{
	struct fixture *f = *state;
	int64_t revision = put(f, "vms/a", "1"), now;
	struct list rows;

	store_close(f->store);
	open_it(f);
	assert_string_equal(get(f, "vms/a").value, "1");
	assert_int_equal(store_list(f->store, "", f->arena, &rows, &now, NULL), 0);
	assert_int_equal(now, revision);
	assert_int_equal(put(f, "vms/b", "2"), revision + 1);
}

static void test_deleting_nothing_changes_nothing(void **state)
{
	struct fixture *f = *state;
	int64_t revision = put(f, "vms/a", "1");

	assert_int_equal(put(f, "vms/b", NULL), revision);
	assert_int_equal(put(f, "vms/b", "1"), revision + 1);
}

static void assert_list(struct fixture *f, const char *prefix, const char *want)
{
	struct list rows = { 0 };
	char have[256] = "";

	assert_int_equal(store_list(f->store, prefix, f->arena, &rows, NULL, NULL), 0);
	for (LIST_EACH(struct store_row, row, &rows)) {
		strncat(have, row->key, sizeof(have) - strlen(have) - 1);
		strncat(have, " ", sizeof(have) - strlen(have) - 1);
	}
	assert_string_equal(have, want);
}

static void test_lists_are_by_prefix_and_sorted(void **state)
{
	static const char *const keys[] = { "vms/b",	  "vms/a", "vms/a-2", "vmsx", "cards/n/2",
					    "cards/n/10", "vms/~", "vms/B",   "vms0" };
	struct fixture *f = *state;

	assert_list(f, "", "");
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		put(f, keys[i], "1");
	assert_list(f, "vms/", "vms/B vms/a vms/a-2 vms/b vms/~ ");
	assert_list(f, "vms/a", "vms/a vms/a-2 ");
	assert_list(f, "vms/~", "vms/~ ");
	assert_list(f, "cards/", "cards/n/10 cards/n/2 ");
	assert_list(f, "nodes/", "");
	assert_list(f, "", "cards/n/10 cards/n/2 vms/B vms/a vms/a-2 vms/b vms/~ vms0 vmsx ");
}

static void test_compare_and_swap(void **state)
{
	struct fixture *f = *state;
	int64_t one, two, three = 0;

	assert_int_equal(store_put_if(f->store, "cards/n/a", 5, "x", NULL, NULL), 0);
	assert_int_equal(store_put_if(f->store, "cards/n/a", 0, "x", &one, NULL), 1);
	assert_int_equal(store_put_if(f->store, "cards/n/a", 0, "y", NULL, NULL), 0);
	assert_int_equal(store_put_if(f->store, "cards/n/a", one, "y", &two, NULL), 1);
	assert_int_equal(store_put_if(f->store, "cards/n/a", one, "z", &three, NULL), 0);
	assert_int_equal(three, two);	/* told also then */
	assert_string_equal(get(f, "cards/n/a").value, "y");
	assert_int_equal(store_delete_if(f->store, "cards/n/a", one, NULL, NULL), 0);
	assert_int_equal(store_delete_if(f->store, "cards/n/a", two, NULL, NULL), 1);
	assert_null(get(f, "cards/n/a").key);
}

static void test_a_transaction_is_all_or_nothing(void **state)
{
	struct fixture *f = *state;
	int64_t a = put(f, "a", "1"), b = put(f, "b", "1"), revision;
	struct store_compare compares[] = { { "a", a }, { "b", b - 1 } };
	const struct store_change changes[] = { { "a", "2" }, { "b", NULL }, { "c", "2" } };
	const struct store_txn txn = { compares, 2, changes, 3 };

	assert_int_equal(store_txn(f->store, &txn, &revision, NULL), 0);
	assert_int_equal(revision, b);
	assert_string_equal(get(f, "a").value, "1");
	assert_string_equal(get(f, "b").value, "1");
	assert_null(get(f, "c").key);
	compares[1].mod = b;
	assert_int_equal(store_txn(f->store, &txn, &revision, NULL), 1);
	assert_int_equal(revision, b + 1);	/* one for all of it */
	assert_int_equal(get(f, "a").mod, b + 1);
	assert_null(get(f, "b").key);
	assert_int_equal(get(f, "c").mod, b + 1);
}

static void test_what_breaks_the_rules_is_refused(void **state)
{
	static char large[STORE_VALUE_MAX + 2], long_key[STORE_KEY_MAX + 2];
	struct fixture *f = *state;
	const struct store_change wrong[] = {
		{ "", "1" }, { "a b", "1" }, { "\xc3\xbc", "1" }, { long_key, "1" }, { "a", large },
	};
	const struct store_change twice[] = { { "a", "1" }, { "a", "2" } };
	struct store_compare compares[STORE_TXN_MAX + 1];
	struct store_txn txn = { NULL, 0, NULL, 1 };
	struct store_row row;
	struct error err;

	memset(large, 'x', sizeof(large) - 1);
	memset(long_key, 'x', sizeof(long_key) - 1);
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		txn.changes = &wrong[i];
		assert_int_equal(store_txn(f->store, &txn, NULL, &err), -1);
	}
	txn = (struct store_txn){ NULL, 0, twice, 2 };
	assert_int_equal(store_txn(f->store, &txn, NULL, &err), -1);
	txn = (struct store_txn){ compares, STORE_TXN_MAX + 1, NULL, 0 };
	assert_int_equal(store_txn(f->store, &txn, NULL, &err), -1);
	assert_int_equal(err.code, ERROR_TOO_MANY);
	assert_int_equal(store_get(f->store, "", f->arena, &row, &err), -1);
	assert_list(f, "", "");
	large[STORE_VALUE_MAX] = '\0';
	long_key[STORE_KEY_MAX] = '\0';
	put(f, long_key, large);
	assert_int_equal(strlen(get(f, long_key).value), STORE_VALUE_MAX);
}

/* ---- watching ---- */

struct seen {
	pthread_mutex_t lock;
	char text[512];
	int64_t last;
	int lost;
	int calls;
};

static void see(void *data, const struct store_row *row, int64_t revision, bool lost)
{
	struct seen *s = data;
	size_t n;

	pthread_mutex_lock(&s->lock);
	n = strlen(s->text);
	s->calls++;
	s->lost += lost;
	s->last = revision;
	if (row && n + 32 < sizeof(s->text))
		snprintf(s->text + n, sizeof(s->text) - n, "%s=%s@%lld ", row->key,
			 row->value ? row->value : "-", (long long)revision);
	pthread_mutex_unlock(&s->lock);
}

/* What it has seen once its last is that revision. */
static void assert_seen(struct seen *s, int64_t last, const char *want)
{
	char text[512] = "";

	for (int i = 0; i < 2000; i++) {
		pthread_mutex_lock(&s->lock);
		memcpy(text, s->text, sizeof(text));
		if (s->last >= last)
			i = 2000;
		pthread_mutex_unlock(&s->lock);
		if (i < 2000)
			usleep(1000);
	}
	assert_string_equal(text, want);
}

static void test_watchers_see_what_changes(void **state)
{
	struct fixture *f = *state;
	struct seen all = { PTHREAD_MUTEX_INITIALIZER }, vms = { PTHREAD_MUTEX_INITIALIZER };
	int a, b;

	put(f, "vms/0", "0");
	a = store_watch(f->store, "", STORE_NOW, see, &all, NULL);
	b = store_watch(f->store, "vms/", STORE_NOW, see, &vms, NULL);
	assert_true(a > 0 && b > 0 && a != b);
	put(f, "vms/a", "1");
	put(f, "cards/n/c", "1");
	put(f, "vms/a", NULL);
	put(f, "vms/none", NULL);
	assert_seen(&all, 4, "vms/a=1@2 cards/n/c=1@3 vms/a=-@4 ");
	assert_seen(&vms, 4, "vms/a=1@2 vms/a=-@4 ");
	store_unwatch(f->store, b);
	put(f, "vms/b", "1");
	assert_seen(&all, 5, "vms/a=1@2 cards/n/c=1@3 vms/a=-@4 vms/b=1@5 ");
	assert_seen(&vms, 4, "vms/a=1@2 vms/a=-@4 ");
	store_unwatch(f->store, a);
	store_unwatch(f->store, a);	/* twice is once */
}

/* List, then watch from the list's revision: nothing in between is missed, also from an empty
 * store. */
static void test_a_watch_begins_where_the_list_ended(void **state)
{
	struct fixture *f = *state;
	struct seen seen = { PTHREAD_MUTEX_INITIALIZER };
	struct list rows;
	int64_t revision = -1;
	int id;

	assert_int_equal(store_list(f->store, "vms/", f->arena, &rows, &revision, NULL), 0);
	assert_int_equal(revision, 0);
	put(f, "vms/a", "1");
	put(f, "cards/n/c", "1");
	put(f, "vms/a", "2");
	id = store_watch(f->store, "vms/", revision, see, &seen, NULL);
	assert_true(id > 0);
	assert_seen(&seen, 3, "vms/a=1@1 vms/a=2@3 ");
	put(f, "vms/a", NULL);
	assert_seen(&seen, 4, "vms/a=1@1 vms/a=2@3 vms/a=-@4 ");
	store_unwatch(f->store, id);
	store_close(f->store);	/* the history is kept over a restart */
	open_it(f);
	memset(seen.text, 0, sizeof(seen.text));
	seen.last = 0;
	id = store_watch(f->store, "vms/", 2, see, &seen, NULL);
	assert_seen(&seen, 4, "vms/a=2@3 vms/a=-@4 ");
	store_unwatch(f->store, id);
}

static void test_what_is_forgotten_is_told_as_lost(void **state)
{
	struct fixture *f = *state;
	struct seen old = { PTHREAD_MUTEX_INITIALIZER }, future = { PTHREAD_MUTEX_INITIALIZER };
	char value[24];
	int a, b;

	for (int i = 0; i < STORE_HISTORY + 10; i++) {
		snprintf(value, sizeof(value), "%d", i);
		put(f, "vms/a", value);
	}
	a = store_watch(f->store, "vms/", 5, see, &old, NULL);
	b = store_watch(f->store, "vms/", STORE_HISTORY + 1000, see, &future,
			NULL); /* a backup was put back */
	assert_int_equal(old.lost, 1);
	assert_int_equal(old.last, STORE_HISTORY + 10);
	assert_string_equal(old.text, "");
	assert_int_equal(future.lost, 1);
	put(f, "vms/b", "x");
	assert_seen(&old, STORE_HISTORY + 11, "vms/b=x@4107 ");
	store_unwatch(f->store, a);
	store_unwatch(f->store, b);
	a = store_watch(f->store, "vms/", STORE_HISTORY + 9, see, &old, NULL);
	assert_int_equal(old.lost, 1);
	store_unwatch(f->store, a);
}

static void test_watches_have_a_maximum(void **state)
{
	struct fixture *f = *state;
	struct seen seen = { PTHREAD_MUTEX_INITIALIZER };
	struct error err;
	int id = 0;

	for (int i = 0; i < STORE_WATCHES; i++)
		id = store_watch(f->store, "", STORE_NOW, see, &seen, NULL);
	assert_int_equal(store_watch(f->store, "", STORE_NOW, see, &seen, &err), -1);
	assert_int_equal(err.code, ERROR_TOO_MANY);
	store_unwatch(f->store, id);
	assert_true(store_watch(f->store, "", STORE_NOW, see, &seen, &err) > 0);
}

/* ---- many threads ---- */

enum { RACERS = 6, ROUNDS = 30 };

static void *race(void *data)
{
	struct fixture *f = data;
	CLEANUP(arena_freep) struct arena *arena = arena_new();
	struct store_row row = { 0 };
	char value[24];
	long won = 0;
	int found;

	while (won < ROUNDS) {
		found = store_get(f->store, "count", arena, &row, NULL);
		snprintf(value, sizeof(value), "%d",
			 found ? (int)strtol(row.value, NULL, 10) + 1 : 1);
		if (store_put_if(f->store, "count", found ? row.mod : 0, value, NULL, NULL) == 1)
			won++;
	}
	return (void *)won;
}

static void test_races_have_one_winner_each(void **state)
{
	struct fixture *f = *state;
	pthread_t threads[RACERS];

	for (int i = 0; i < RACERS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, race, f), 0);
	for (int i = 0; i < RACERS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(strtol(get(f, "count").value, NULL, 10), RACERS * ROUNDS);
	assert_int_equal(get(f, "count").mod, RACERS * ROUNDS);
}

/* An engine that hangs, as on a dead disk; here inside a watcher. */
static void hang(void *data, const struct store_row *row, int64_t revision, bool lost)
{
	(void)row;
	(void)revision;
	(void)lost;
	while (atomic_load((atomic_int *)data))
		usleep(1000);
}

static void test_an_engine_that_hangs_is_not_waited_for(void **state)
{
	struct fixture *f = *state;
	atomic_int hanging = 1;
	struct error err = { 0 };
	int id;

	store_close(f->store);
	f->store = store_open(engine, f->path, 200, &err);
	id = store_watch(f->store, "a", STORE_NOW, hang, &hanging, NULL);
	assert_int_equal(store_put_if(f->store, "a", 0, "1", NULL, &err), -1);
	assert_int_equal(err.code, ERROR_STORE);
	assert_non_null(strstr(err.message, "whether the change was made is not known"));
	assert_int_equal(store_put_if(f->store, "b", 0, "1", NULL, &err), -1);
	assert_int_equal(err.code, ERROR_STORE);
	assert_null(strstr(err.message, "not known"));	/* it was not begun, and will not be */
	atomic_store(&hanging, 0);
	store_unwatch(f->store, id);
	assert_string_equal(get(f, "a").value, "1");
	assert_null(get(f, "b").key);
}

/* ---- SQLite's own ---- */

static void test_a_killed_writer_leaves_whole_transactions(void **state)
{
	struct fixture *f = *state;
	struct store_row a, b;
	int status;
	pid_t pid;

	store_close(f->store);
	f->store = NULL;
	for (int round = 0; round < 5; round++) {
		pid = fork();
		if (!pid) {
			open_it(f);
			for (int i = 0;; i++) {
				char value[24];
				const struct store_change both[] = { { "a", value },
								     { "b", value } };
				const struct store_txn txn = { NULL, 0, both, 2 };

				snprintf(value, sizeof(value), "%d", i);
				if (store_txn(f->store, &txn, NULL, NULL) != 1)
					_exit(3);
			}
		}
		usleep(30000);
		kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status));
		open_it(f);
		a = get(f, "a");
		b = get(f, "b");
		assert_true(!a.key == !b.key);
		if (a.key) {
			assert_string_equal(a.value, b.value);
			assert_int_equal(a.mod, b.mod);
		}
		store_close(f->store);
		f->store = NULL;
	}
	open_it(f);
}

static void test_a_locked_database_is_waited_for_and_then_told(void **state)
{
	struct fixture *f = *state;
	struct error err = { 0 };
	sqlite3 *other;

	store_close(f->store);
	f->store = store_open(engine, f->path, 600, &err);
	assert_non_null(f->store);
	assert_int_equal(sqlite3_open(f->path, &other), SQLITE_OK);
	assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(store_put_if(f->store, "a", 0, "1", NULL, &err), -1);
	assert_int_equal(err.code, ERROR_STORE);
	assert_true(err.hint[0]);
	assert_null(get(f, "a").key);	/* reading goes on meanwhile */
	assert_int_equal(sqlite3_exec(other, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(other);
	assert_int_equal(store_put_if(f->store, "a", 0, "1", NULL, &err), 1);
}

static void *unlock_soon(void *data)
{
	usleep(200000);
	sqlite3_exec(data, "COMMIT", NULL, NULL, NULL);
	return NULL;
}

static void test_a_short_lock_is_not_noticed(void **state)
{
	struct fixture *f = *state;
	pthread_t thread;
	sqlite3 *other;

	assert_int_equal(sqlite3_open(f->path, &other), SQLITE_OK);
	assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(pthread_create(&thread, NULL, unlock_soon, other), 0);
	put(f, "a", "1");
	pthread_join(thread, NULL);
	sqlite3_close(other);
}

static void write_file(const char *path, const char *bytes, size_t n)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_int_equal(write(fd, bytes, n), n);
	close(fd);
}

static size_t read_file(const char *path, char *bytes, size_t size)
{
	int fd = open(path, O_RDONLY);
	ssize_t n = read(fd, bytes, size);

	close(fd);
	assert_true(n >= 0);
	return (size_t)n;
}

static void assert_not_opened(struct fixture *f, const char *says)
{
	static char before[1 << 20], after[1 << 20];
	struct error err = { 0 };
	size_t n = read_file(f->path, before, sizeof(before));

	assert_null(store_open(engine, f->path, 0, &err));
	assert_int_equal(err.code, ERROR_STORE);
	if (!strstr(err.message, says))
		fail_msg("\"%s\" does not say \"%s\"", err.message, says);
	assert_non_null(strstr(err.message, f->path));
	assert_true(err.hint[0]);
	assert_int_equal(read_file(f->path, after, sizeof(after)), n);
	assert_memory_equal(before, after, n);
}

static void test_what_is_no_database_is_left_alone(void **state)
{
	static const char text[] =
		"these are somebody's notes, and no database at all; "
		"they have to be long enough to hold a header of a hundred bytes or so";
	struct fixture *f = *state;

	store_close(f->store);
	f->store = NULL;
	write_file(f->path, text, sizeof(text));
	assert_not_opened(f, "damaged, or no store");
}

static void test_a_damaged_database_is_left_alone(void **state)
{
	static char bytes[1 << 20];
	struct fixture *f = *state;
	char key[32], *value = malloc(4000);
	size_t n;

	memset(value, 'x', 3999);
	value[3999] = '\0';
	for (int i = 0; i < 40; i++) {
		snprintf(key, sizeof(key), "vms/%d", i);
		put(f, key, value);
	}
	free(value);
	store_close(f->store);
	f->store = NULL;
	n = read_file(f->path, bytes, sizeof(bytes));
	assert_true(n > 16 * 4096);
	memset(bytes + 4096, 0x5a, n - 8192);
	write_file(f->path, bytes, n);
	assert_not_opened(f, "damaged");
}

static void test_another_programs_database_is_left_alone(void **state)
{
	struct fixture *f = *state;
	sqlite3 *other;

	store_close(f->store);
	f->store = NULL;
	unlink(f->path);
	assert_int_equal(sqlite3_open(f->path, &other), SQLITE_OK);
	assert_int_equal(sqlite3_exec(other, "CREATE TABLE bookmarks (url)", NULL, NULL, NULL),
			 SQLITE_OK);
	sqlite3_close(other);
	assert_not_opened(f, "another program's");
}

static void test_a_newer_version_is_left_alone(void **state)
{
	struct fixture *f = *state;
	sqlite3 *other;

	store_close(f->store);
	f->store = NULL;
	assert_int_equal(sqlite3_open(f->path, &other), SQLITE_OK);
	assert_int_equal(sqlite3_exec(other, "PRAGMA user_version = 99", NULL, NULL, NULL),
			 SQLITE_OK);
	sqlite3_close(other);
	assert_not_opened(f, "newer");
}

static void test_others_cannot_read_it(void **state)
{
	struct fixture *f = *state;
	char path[96];
	struct stat st;

	put(f, "tokens/x", "1");
	assert_int_equal(stat(f->path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	snprintf(path, sizeof(path), "%s-wal", f->path);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
}

/* A full disk, as a limit on the size of files shows it: told, and nothing half. In a process of
 * its own, because the limit is for all of it. */
static void test_a_full_disk_is_told(void **state)
{
	struct fixture *f = *state;
	int status;
	pid_t pid;

	put(f, "a", "small");
	store_close(f->store);
	f->store = NULL;
	pid = fork();
	if (!pid) {
		static char value[200000];
		struct rlimit limit = { 100000, 100000 };
		struct error err = { 0 };

		open_it(f);
		signal(SIGXFSZ, SIG_IGN);
		setrlimit(RLIMIT_FSIZE, &limit);
		memset(value, 'x', sizeof(value) - 1);
		if (store_put_if(f->store, "b", 0, value, NULL, &err) != -1 ||
		    err.code != ERROR_STORE || !err.hint[0])
			_exit(3);
		if (store_put_if(f->store, "c", 0, "small", NULL, &err) != 1)
			_exit(4);
		store_close(f->store);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	open_it(f);
	assert_list(f, "", "a c ");
}

static void test_a_directory_that_is_not_there_is_told(void **state)
{
	struct error err = { 0 };

	(void)state;
	assert_null(store_open(engine, "/nonexistent/store.db", 0, &err));
	assert_int_equal(err.code, ERROR_STORE);
	assert_true(err.hint[0]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_what_is_put_is_there),
		TEST(test_it_is_there_after_opening_again),
		TEST(test_deleting_nothing_changes_nothing),
		TEST(test_lists_are_by_prefix_and_sorted),
		TEST(test_compare_and_swap),
		TEST(test_a_transaction_is_all_or_nothing),
		TEST(test_what_breaks_the_rules_is_refused),
		TEST(test_watchers_see_what_changes),
		TEST(test_a_watch_begins_where_the_list_ended),
		TEST(test_what_is_forgotten_is_told_as_lost),
		TEST(test_watches_have_a_maximum),
		TEST(test_races_have_one_winner_each),
		TEST(test_an_engine_that_hangs_is_not_waited_for),
		TEST(test_a_killed_writer_leaves_whole_transactions),
		TEST(test_a_locked_database_is_waited_for_and_then_told),
		TEST(test_a_short_lock_is_not_noticed),
		TEST(test_what_is_no_database_is_left_alone),
		TEST(test_a_damaged_database_is_left_alone),
		TEST(test_another_programs_database_is_left_alone),
		TEST(test_a_newer_version_is_left_alone),
		TEST(test_others_cannot_read_it),
		TEST(test_a_full_disk_is_told),
		cmocka_unit_test(test_a_directory_that_is_not_there_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
