/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store on SQLite: one thread owns the connection and the watches; callers hand it requests and
 * sleep until they are answered or the deadline is over.
 *
 * Threading: a request's fields belong to the caller while it is not queued and after it is
 * answered, and to the thread while it is RUNNING; which of these it is, is under sqlite_lock. A
 * caller who gives up leaves the request behind (ABANDONED), so it holds copies of everything, and
 * the thread frees it.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "base/id.h"
#include "base/lock.h"
#include "store/sqlite_db.h"

static struct lock sqlite_lock = LOCK_INIT;

enum request_kind { REQUEST_GET, REQUEST_LIST, REQUEST_TXN, REQUEST_WATCH, REQUEST_UNWATCH,
		    REQUEST_CHECK };
enum request_state { QUEUED, RUNNING, ANSWERED, ABANDONED };

struct watch {
	struct watch *next;
	int id;
	char prefix[STORE_KEY_MAX + 1];
	store_watcher *watcher;
	void *data;
};

struct request {
	struct request *next;
	enum request_state state GUARDED_BY(sqlite_lock);
	enum request_kind kind;
	struct arena *arena;
	uint64_t until;

	/* What is asked. */
	const char *key;		/* GET; prefix of LIST and WATCH */
	struct store_txn txn;
	struct watch *watch;		/* WATCH: taken over */
	int64_t from;
	int id;				/* UNWATCH */

	/* The answer. */
	int r;
	struct error error;
	struct store_row row;
	struct list rows;
	int64_t revision;
};

struct sqlite_store {
	struct store store;		/* must be first */
	unsigned deadline_ms;
	pthread_t thread;
	pthread_cond_t news;		/* a request came */
	pthread_cond_t answers;
	struct request *first GUARDED_BY(sqlite_lock);
	bool closing GUARDED_BY(sqlite_lock);
	/* The thread's. */
	struct sqlite_db db;
	struct watch *watches;
	int last_id;
	unsigned n_watches;
};

/* ---- the thread ---- */

static bool is_under(const char *key, const char *prefix)
{
	return !strncmp(key, prefix, strlen(prefix));
}

static void tell(struct sqlite_store *s, const struct store_row *row)
{
	for (struct watch *w = s->watches; w; w = w->next)
		if (is_under(row->key, w->prefix))
			w->watcher(w->data, row, row->mod, false);
}

static void do_txn(struct sqlite_store *s, struct request *q)
{
	q->r = sqlite_db_txn(&s->db, &q->txn, q->arena, &q->rows, &q->revision, &q->error);
	if (q->r != 1)
		return;
	for (LIST_EACH(struct store_row, row, &q->rows))
		tell(s, row);
}

static void do_watch(struct sqlite_store *s, struct request *q)
{
	struct watch *w = q->watch;
	int64_t revision = 0;
	int lost;

	if (s->n_watches == STORE_WATCHES) {
		q->r = error_set(&q->error, ERROR_TOO_MANY, "%d watches on the store already",
				 STORE_WATCHES);
		return;
	}
	lost = q->from == STORE_NOW ? 0 : sqlite_db_history(&s->db, w->prefix, q->from, q->arena,
							    &q->rows, &revision, &q->error);
	q->r = lost;
	if (lost < 0)
		return;
	if (lost)
		w->watcher(w->data, NULL, revision, true);
	else
		for (LIST_EACH(struct store_row, row, &q->rows))
			w->watcher(w->data, row, row->mod, false);
	w->id = q->r = ++s->last_id;
	w->next = s->watches;
	s->watches = w;
	s->n_watches++;
	q->watch = NULL;
}

static void do_unwatch(struct sqlite_store *s, struct request *q)
{
	struct watch **at = &s->watches, *w;

	while (*at && (*at)->id != q->id)
		at = &(*at)->next;
	w = *at;
	if (!w)
		return;
	*at = w->next;
	s->n_watches--;
	free(w);
}

static void answer(struct sqlite_store *s, struct request *q)
{
	/* a fifth is left for its own words to arrive: who waits says only that it took too long */
	s->db.until = q->until - s->deadline_ms / 5;
	switch (q->kind) {
	case REQUEST_GET:
		q->r = sqlite_db_get(&s->db, q->key, q->arena, &q->row, &q->error);
		break;
	case REQUEST_LIST:
		q->r = sqlite_db_list(&s->db, q->key, q->arena, &q->rows, &q->revision, &q->error);
		break;
	case REQUEST_TXN:
		do_txn(s, q);
		break;
	case REQUEST_WATCH:
		do_watch(s, q);
		break;
	case REQUEST_UNWATCH:
		do_unwatch(s, q);
		break;
	case REQUEST_CHECK:
		s->db.until = 0;	/* tried once: others wait behind it */
		q->r = sqlite_db_check(&s->db, q->arena, &q->error);
		break;
	}
}

static void request_free(struct request *q)
{
	if (!q)
		return;
	free(q->watch);
	arena_free(q->arena);
	free(q);
}

static void *store_thread(void *data)
{
	struct sqlite_store *s = data;
	struct request *q;
	bool abandoned;

	lock_take(&sqlite_lock);
	for (;;) {
		while (!s->first && !s->closing)
			lock_wait(&sqlite_lock, &s->news);
		q = s->first;
		if (!q)
			break;
		s->first = q->next;
		q->state = RUNNING;
		lock_give(&sqlite_lock);
		answer(s, q);
		lock_take(&sqlite_lock);
		abandoned = q->state == ABANDONED;
		q->state = ANSWERED;
		lock_give(&sqlite_lock);
		pthread_cond_broadcast(&s->answers);
		if (abandoned)
			request_free(q);
		lock_take(&sqlite_lock);
	}
	lock_give(&sqlite_lock);
	return NULL;
}

/* ---- callers ---- */

static struct request *request_new(struct sqlite_store *s, enum request_kind kind)
{
	struct request *q = calloc(1, sizeof(*q));

	if (!q)
		abort();
	q->kind = kind;
	q->arena = arena_new();
	q->until = time_monotonic_ms() + s->deadline_ms;
	return q;
}

/* Signals are given without the lock, here and there: who wakes is not to find it taken. */
static void enqueue(struct sqlite_store *s, struct request *q) EXCLUDES(sqlite_lock)
{
	struct request **at;

	lock_take(&sqlite_lock);
	at = &s->first;
	while (*at)
		at = &(*at)->next;
	*at = q;
	q->next = NULL;
	lock_give(&sqlite_lock);
	pthread_cond_signal(&s->news);
}

static void unqueue(struct sqlite_store *s, struct request *q) REQUIRES(sqlite_lock)
{
	struct request **at = &s->first;

	while (*at && *at != q)
		at = &(*at)->next;
	if (*at)
		*at = q->next;
}

static int too_late(struct request *q, bool begun, struct error *err)
{
	error_set(err, ERROR_STORE, "the store did not answer in time%s",
		  begun && q->kind == REQUEST_TXN ? "; whether the change was made is not known"
						  : "");
	return error_hint(err,
			  "its disk is slow or hangs: look at the system's log, then ask again");
}

/* The answer's r. *left: the thread frees the request, which is not to be touched any more. */
static int ask(struct sqlite_store *s, struct request *q, bool *left, struct error *err)
{
	struct timespec until = { .tv_sec = (time_t)(q->until / 1000),
				  .tv_nsec = (long)(q->until % 1000) * 1000000 };
	/* A watch that the caller knows nothing of would call into what is gone. */
	bool patient = q->kind == REQUEST_WATCH || q->kind == REQUEST_UNWATCH, begun, answered;

	enqueue(s, q);
	lock_take(&sqlite_lock);
	while (q->state < ANSWERED) {
		if (patient)
			lock_wait(&sqlite_lock, &s->answers);
		else if (lock_wait_until(&sqlite_lock, &s->answers, &until) == ETIMEDOUT)
			break;
	}
	answered = q->state == ANSWERED;
	begun = q->state == RUNNING;
	if (begun)
		q->state = ABANDONED;
	else if (!answered)
		unqueue(s, q);
	lock_give(&sqlite_lock);
	*left = begun;
	if (!answered)
		return too_late(q, begun, err);
	if (q->r < 0 && err)
		*err = q->error;
	return q->r;
}

static void copy_row(struct arena *arena, const struct store_row *from, struct store_row *to)
{
	*to = *from;
	to->key = arena_strdup(arena, from->key);
	to->value = arena_strdup(arena, from->value);
}

static int sqlite_get(struct store *store, const char *key, struct arena *arena,
		      struct store_row *ret, struct error *err)
{
	struct sqlite_store *s = (struct sqlite_store *)store;
	struct request *q = request_new(s, REQUEST_GET);
	bool left;
	int r;

	q->key = arena_strdup(q->arena, key);
	r = ask(s, q, &left, err);
	if (left)
		return r;
	if (r == 1)
		copy_row(arena, &q->row, ret);
	request_free(q);
	return r;
}

static int sqlite_list(struct store *store, const char *prefix, struct arena *arena,
		       struct list *rows, int64_t *revision, struct error *err)
{
	struct sqlite_store *s = (struct sqlite_store *)store;
	struct request *q = request_new(s, REQUEST_LIST);
	bool left;
	int r;

	q->key = arena_strdup(q->arena, prefix);
	r = ask(s, q, &left, err);
	if (left)
		return r;
	if (r == 0) {
		*rows = (struct list){ 0 };
		for (LIST_EACH(struct store_row, row, &q->rows))
			copy_row(arena, row, list_add(arena, rows, struct store_row));
		if (revision)
			*revision = q->revision;
	}
	request_free(q);
	return r;
}

static void copy_txn(struct arena *arena, const struct store_txn *from, struct store_txn *to)
{
	struct store_compare *compares = arena_array(arena, from->n_compares + 1,
						     struct store_compare);
	struct store_change *changes = arena_array(arena, from->n_changes + 1, struct store_change);

	for (size_t i = 0; i < from->n_compares; i++) {
		compares[i].key = arena_strdup(arena, from->compares[i].key);
		compares[i].mod = from->compares[i].mod;
	}
	for (size_t i = 0; i < from->n_changes; i++) {
		changes[i].key = arena_strdup(arena, from->changes[i].key);
		changes[i].value = arena_strdup(arena, from->changes[i].value);
	}
	*to = (struct store_txn){ compares, from->n_compares, changes, from->n_changes };
}

static int sqlite_txn(struct store *store, const struct store_txn *txn, int64_t *revision,
		      struct error *err)
{
	struct sqlite_store *s = (struct sqlite_store *)store;
	struct request *q = request_new(s, REQUEST_TXN);
	bool left;
	int r;

	copy_txn(q->arena, txn, &q->txn);
	r = ask(s, q, &left, err);
	if (left)
		return r;
	if (r >= 0 && revision)
		*revision = q->revision;
	request_free(q);
	return r;
}

static int sqlite_watch(struct store *store, const char *prefix, int64_t from,
			store_watcher *watcher, void *data, struct error *err)
{
	struct sqlite_store *s = (struct sqlite_store *)store;
	struct request *q = request_new(s, REQUEST_WATCH);
	bool left;
	int r;

	q->watch = calloc(1, sizeof(*q->watch));
	if (!q->watch)
		abort();
	q->watch->watcher = watcher;
	q->watch->data = data;
	snprintf(q->watch->prefix, sizeof(q->watch->prefix), "%s", prefix);
	q->key = q->watch->prefix;
	q->from = from;
	r = ask(s, q, &left, err);
	if (!left)
		request_free(q);
	return r;
}

static void sqlite_unwatch(struct store *store, int id)
{
	struct sqlite_store *s = (struct sqlite_store *)store;
	struct request *q = request_new(s, REQUEST_UNWATCH);
	bool left;

	q->id = id;
	ask(s, q, &left, NULL);
	request_free(q);
}

static int sqlite_check(struct store *store, struct error *err)
{
	struct sqlite_store *s = (struct sqlite_store *)store;
	struct request *q = request_new(s, REQUEST_CHECK);
	bool left;
	int r = ask(s, q, &left, err);

	if (!left)
		request_free(q);
	return r;
}

/* ---- birth and end ---- */

static void sqlite_free(struct sqlite_store *s)
{
	struct watch *next;

	sqlite_db_close(&s->db);
	for (struct watch *w = s->watches; w; w = next) {
		next = w->next;
		free(w);
	}
	pthread_cond_destroy(&s->news);
	pthread_cond_destroy(&s->answers);
	free(s);
}

static int start_thread(struct sqlite_store *s)
{
	sigset_t all, before;
	int r;

	sigfillset(&all);	/* signals are the main thread's */
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = pthread_create(&s->thread, NULL, store_thread, s);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -r;
}

static struct store *sqlite_open(const char *where, unsigned deadline_ms, struct error *err)
{
	struct sqlite_store *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		abort();
	s->store.engine = &store_sqlite;
	s->deadline_ms = deadline_ms;
	pthread_cond_init(&s->news, NULL);
	pthread_cond_init(&s->answers, NULL);
	r = sqlite_db_open(&s->db, where, err);
	if (!r) {
		r = start_thread(s);
		if (!r)
			return &s->store;
		error_errno(err, ERROR_SYSTEM, -r, "no thread for the store can be started");
	}
	sqlite_free(s);
	return NULL;
}

static void sqlite_close(struct store *store)
{
	struct sqlite_store *s = (struct sqlite_store *)store;

	lock_take(&sqlite_lock);
	s->closing = true;
	pthread_cond_signal(&s->news);
	lock_give(&sqlite_lock);
	pthread_join(s->thread, NULL);
	sqlite_free(s);
}

const struct store_engine store_sqlite = {
	.name = "sqlite",
	.open = sqlite_open,
	.close = sqlite_close,
	.get = sqlite_get,
	.list = sqlite_list,
	.txn = sqlite_txn,
	.watch = sqlite_watch,
	.unwatch = sqlite_unwatch,
	.check = sqlite_check,
};
