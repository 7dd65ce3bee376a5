/* SPDX-License-Identifier: Apache-2.0 */
/* See book.h. What is shared is this file's and under its lock; the store is asked without it. */
#include "daemon/book.h"

#include <stdlib.h>
#include <string.h>

#include "base/id.h"
#include "base/lock.h"
#include "daemon/facts.h"
#include "gpu/record.h"

enum { STACK_BYTES = 256 * 1024, STOP_MS = 1000, RETRY_MS = 5000, CHECKED_MS = 1000, TICKETS = 256 };

static struct lock book_lock = LOCK_INIT;
static pthread_cond_t wake = PTHREAD_COND_INITIALIZER, read_over = PTHREAD_COND_INITIALIZER;
/* Readings. */
static uint64_t wanted GUARDED_BY(book_lock), begun GUARDED_BY(book_lock),
	done GUARDED_BY(book_lock);
static struct book *newest GUARDED_BY(book_lock);
/* store_made() before it was read. */
static uint64_t made GUARDED_BY(book_lock);
static bool poked GUARDED_BY(book_lock), stopping GUARDED_BY(book_lock);
/* The store; until a check says otherwise. */
static bool ails GUARDED_BY(book_lock);
/* Those that wait for a check; the last one. */
static uint64_t tickets[TICKETS] GUARDED_BY(book_lock), checked_at GUARDED_BY(book_lock);
static size_t n_tickets GUARDED_BY(book_lock);

static pthread_t reader;
static struct store *records_store;
static const char *node_name;
static int (*read_assignments)(struct store *, struct arena *, struct list *, struct error *);
static void (*tell_news)(void);

static struct book *book_new(const char *unknown)
{
	struct book *book = calloc(1, sizeof(*book));

	if (!book)
		abort();
	*book = (struct book){ .refs = 1, .arena = arena_new(), .unknown = unknown };
	book->records.null = book->assignments.null = unknown != NULL;
	return book;
}

void book_release(struct book *book)
{
	if (!book || __atomic_sub_fetch(&book->refs, 1, __ATOMIC_ACQ_REL))
		return;
	arena_free(book->arena);
	free(book);
}

struct book *book_acquire(void)
{
	struct book *book;

	lock_take(&book_lock);
	if (!newest)
		newest = book_new("the records of cards were not read yet");
	book = newest;
	__atomic_add_fetch(&book->refs, 1, __ATOMIC_RELAXED);
	lock_give(&book_lock);
	return book;
}

void book_view(const struct book *book, struct gpu_facts *out)
{
	out->records = book->records.null ? NULL : &book->records;
	out->records_unknown = book->unknown;
	out->assignments = book->assignments.null ? NULL : &book->assignments;
}

/* 0 written, 1 somebody else wrote meanwhile, -1. */
static int save_changed(struct list *records, struct error *err)
{
	int r, again = 0;

	for (LIST_EACH(struct card_record, record, records)) {
		if (!record->changed)
			continue;
		r = record_save(records_store, node_name, record, err);
		if (r < 0)
			return -1;
		again |= !r;
	}
	return again;
}

static struct book *read_book(bool *again)
{
	CLEANUP(inventory_releasep) struct inventory *inv = inventory_acquire();
	struct book *book = book_new(NULL);
	struct error err = { 0 };
	int r = -1;

	if (!inv)
		error_set(&err, ERROR_INTERNAL, "the host has not been read yet");
	else if (records_load(records_store, node_name, book->arena, &book->records, &err) >= 0)
		r = 0;
	if (!r) {
		records_match(inv, book->arena, &book->records);
		r = save_changed(&book->records, &err);
	}
	*again = r != 0;
	if (r >= 0 && read_assignments &&
	    read_assignments(records_store, book->arena, &book->assignments, &err) < 0)
		r = -1;
	if (r < 0) {
		book->unknown = arena_strdup(book->arena, err.message);
		book->records.null = book->assignments.null = true;
	}
	return book;
}

static void publish(struct book *book, uint64_t made_before)
{
	struct book *old;

	lock_take(&book_lock);
	old = newest;
	newest = book;
	made = made_before;
	done = begun;
	pthread_cond_broadcast(&read_over);
	lock_give(&book_lock);
	book_release(old);
	tell_news();
}

enum work { READ, CHECK, STOP };

/* Until poked, or, when the last reading failed or the store ails, for a while. */
static enum work wait_for_work(bool again)
{
	struct timespec until = time_in_ms(RETRY_MS);
	enum work work;
	int r = 0;

	lock_take(&book_lock);
	while (!poked && !stopping && !n_tickets && !r) {
		if (again || ails)
			r = lock_wait_until(&book_lock, &wake, &until);
		else
			lock_wait(&book_lock, &wake);
	}
	work = stopping ? STOP : poked || again ? READ : CHECK;
	if (work == READ) {
		poked = false;
		begun = wanted;
	}
	lock_give(&book_lock);
	return work;
}

/* Whoever has waited for this goes on waiting for the helper's part. */
static void check(void)
{
	uint64_t waiting[TICKETS];
	bool well = store_check(records_store, NULL) >= 0;
	size_t n;

	lock_take(&book_lock);
	ails = !well;
	checked_at = time_monotonic_ms();
	n = n_tickets;
	memcpy(waiting, tickets, n * sizeof(waiting[0]));
	n_tickets = 0;
	lock_give(&book_lock);
	for (size_t i = 0; i < n; i++)
		facts_refresh(waiting[i]);
}

static void *read_for_ever(void *unused)
{
	bool again = false;
	uint64_t before;
	enum work work;

	(void)unused;
	while ((work = wait_for_work(again)) != STOP) {
		before = store_made();
		if (work == READ)
			publish(read_book(&again), before);
		if (work == CHECK || again)
			check();
	}
	return NULL;
}

int book_start(struct store *store, const char *node,
	       int (*assignments)(struct store *, struct arena *, struct list *, struct error *),
	       void (*news)(void), struct error *err)
{
	pthread_attr_t attr;
	int r;

	records_store = store;
	node_name = node;
	read_assignments = assignments;
	tell_news = news;
	book_poke();
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	r = pthread_create(&reader, &attr, read_for_ever, NULL);
	pthread_attr_destroy(&attr);
	return r ? error_errno(err, ERROR_SYSTEM, r, "no thread for the records of cards") : 0;
}

bool book_stop(void)
{
	struct book *old;

	lock_take(&book_lock);
	stopping = true;
	pthread_cond_signal(&wake);
	pthread_cond_broadcast(&read_over);
	lock_give(&book_lock);
	if (!thread_join_in_ms(reader, STOP_MS))
		return false;
	lock_take(&book_lock);
	old = newest;
	newest = NULL;
	lock_give(&book_lock);
	book_release(old);
	return true;
}

void book_poke(void)
{
	lock_take(&book_lock);
	wanted++;	/* so that book_refresh() sees a reading that is under way */
	poked = true;
	pthread_cond_signal(&wake);
	lock_give(&book_lock);
}

void book_check(uint64_t ticket)
{
	bool waits = false;

	lock_take(&book_lock);
	if (n_tickets < TICKETS && time_monotonic_ms() >= checked_at + CHECKED_MS) {
		tickets[n_tickets++] = ticket;
		waits = true;
		pthread_cond_signal(&wake);
	}
	lock_give(&book_lock);
	if (!waits)
		facts_refresh(ticket);
}

void book_ails(void)
{
	lock_take(&book_lock);
	ails = true;
	pthread_cond_signal(&wake);
	lock_give(&book_lock);
}

/* Nothing that was read has changed since. */
static bool is_current(void) REQUIRES(book_lock)
{
	return !poked && begun == done && newest && !newest->records.null && made == store_made();
}

int book_assignments(struct arena *arena, struct list *list)
{
	CLEANUP(book_releasep) struct book *book = NULL;

	lock_take(&book_lock);
	if (is_current()) {
		book = newest;
		__atomic_add_fetch(&book->refs, 1, __ATOMIC_RELAXED);
	}
	lock_give(&book_lock);
	if (!book || book->assignments.null)
		return -1;
	for (LIST_EACH(const struct gpu_assignment, it, &book->assignments))
		*list_add(arena, list, struct gpu_assignment) =
			(struct gpu_assignment){ it->address, arena_strdup(arena, it->vm) };
	return (int)list->n;
}

void book_refresh(unsigned ms)
{
	struct timespec until = time_in_ms(ms);
	uint64_t mine;
	int r = 0;

	lock_take(&book_lock);
	if (is_current()) {
		lock_give(&book_lock);
		return;
	}
	mine = ++wanted;
	poked = true;
	pthread_cond_signal(&wake);
	while (!stopping && done < mine && !r)
		r = lock_wait_until(&book_lock, &read_over, &until);
	lock_give(&book_lock);
}
