/* SPDX-License-Identifier: Apache-2.0 */
/* See book.h. What is shared is this file's and under its lock; the store is asked without it. */
#include "daemon/book.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/id.h"
#include "daemon/facts.h"
#include "gpu/record.h"

enum { STACK_BYTES = 256 * 1024, STOP_MS = 1000, RETRY_MS = 5000, CHECKED_MS = 1000, TICKETS = 256 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t wake = PTHREAD_COND_INITIALIZER, read_over = PTHREAD_COND_INITIALIZER;
static uint64_t wanted, begun, done; /* readings */
static struct book *newest;
static bool poked, stopping;
static bool ails; /* the store; until a check says otherwise */
static uint64_t tickets[TICKETS], checked_at; /* those that wait for a check; the last one */
static size_t n_tickets;

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

	pthread_mutex_lock(&lock);
	if (!newest)
		newest = book_new("the records of cards were not read yet");
	book = newest;
	__atomic_add_fetch(&book->refs, 1, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&lock);
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

static void publish(struct book *book)
{
	struct book *old;

	pthread_mutex_lock(&lock);
	old = newest;
	newest = book;
	done = begun;
	pthread_cond_broadcast(&read_over);
	pthread_mutex_unlock(&lock);
	book_release(old);
	tell_news();
}

enum work { READ, CHECK, STOP };

/* Until poked, or, when the last reading failed or the store ails, for a while. */
static enum work wait_for_work(bool again)
{
	struct timespec until;
	enum work work;
	int r = 0;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += RETRY_MS / 1000;
	pthread_mutex_lock(&lock);
	while (!poked && !stopping && !n_tickets && !r)
		r = again || ails ? pthread_cond_timedwait(&wake, &lock, &until)
				  : pthread_cond_wait(&wake, &lock);
	work = stopping ? STOP : poked || again ? READ : CHECK;
	if (work == READ) {
		poked = false;
		begun = wanted;
	}
	pthread_mutex_unlock(&lock);
	return work;
}

/* Whoever has waited for this goes on waiting for the helper's part. */
static void check(void)
{
	uint64_t waiting[TICKETS];
	bool well = store_check(records_store, NULL) >= 0;
	size_t n;

	pthread_mutex_lock(&lock);
	ails = !well;
	checked_at = time_monotonic_ms();
	n = n_tickets;
	memcpy(waiting, tickets, n * sizeof(waiting[0]));
	n_tickets = 0;
	pthread_mutex_unlock(&lock);
	for (size_t i = 0; i < n; i++)
		facts_refresh(waiting[i]);
}

static void *read_for_ever(void *unused)
{
	bool again = false;
	enum work work;

	(void)unused;
	while ((work = wait_for_work(again)) != STOP) {
		if (work == READ)
			publish(read_book(&again));
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
	struct timespec until;

	pthread_mutex_lock(&lock);
	stopping = true;
	pthread_cond_signal(&wake);
	pthread_cond_broadcast(&read_over);
	pthread_mutex_unlock(&lock);
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += STOP_MS / 1000;
	if (pthread_timedjoin_np(reader, NULL, &until))
		return false;
	book_release(newest);
	newest = NULL;
	return true;
}

void book_poke(void)
{
	pthread_mutex_lock(&lock);
	poked = true;
	pthread_cond_signal(&wake);
	pthread_mutex_unlock(&lock);
}

void book_check(uint64_t ticket)
{
	bool waits = false;

	pthread_mutex_lock(&lock);
	if (n_tickets < TICKETS && time_monotonic_ms() >= checked_at + CHECKED_MS) {
		tickets[n_tickets++] = ticket;
		waits = true;
		pthread_cond_signal(&wake);
	}
	pthread_mutex_unlock(&lock);
	if (!waits)
		facts_refresh(ticket);
}

void book_ails(void)
{
	pthread_mutex_lock(&lock);
	ails = true;
	pthread_cond_signal(&wake);
	pthread_mutex_unlock(&lock);
}

void book_refresh(unsigned ms)
{
	struct timespec until;
	uint64_t mine;
	int r = 0;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += ms / 1000;
	pthread_mutex_lock(&lock);
	mine = ++wanted;
	poked = true;
	pthread_cond_signal(&wake);
	while (!stopping && done < mine && !r)
		r = pthread_cond_timedwait(&read_over, &lock, &until);
	pthread_mutex_unlock(&lock);
}
