/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The book of cards: a thread that finds every card of the inventory among the records of the
 * store, mints ids for new ones, and publishes what it knows. The store may take its time; nobody
 * waits for it here. One such thread in a process.
 */
#pragma once

#include "gpu/view.h"
#include "store/store.h"

/* What was read. Immutable and counted. */
struct book {
	int refs; /* atomic */
	struct arena *arena;
	struct list records;	 /* struct card_record; null: unknown */
	struct list assignments; /* struct gpu_assignment; null: unknown */
	const char *unknown;	 /* why */
};

/*
 * Start the thread. node is borrowed. assignments (may be NULL) adds what VMs name: runs in the
 * thread, as records_load. news: called on any thread when there is a new book; must not block.
 */
int book_start(struct store *store, const char *node,
	       int (*assignments)(struct store *store, struct arena *arena, struct list *list,
				  struct error *err),
	       void (*news)(void), struct error *err);
/* False: it hangs in the store and was left behind. */
bool book_stop(void);

/* The inventory or the store changed: look again. Any thread; never blocks. */
void book_poke(void);

/*
 * The same, and wait until it was looked, at most ms; what is read already is not read again. For
 * threads that may wait (tasks).
 */
void book_refresh(unsigned ms);

/*
 * See how the store is (store_tell() hears it), then facts_refresh() of the ticket; looked at lately:
 * that at once. Any thread; never blocks.
 */
void book_check(uint64_t ticket);
/* See soon, and until it is well. Any thread; never blocks. */
void book_ails(void);

/* The newest, a reference of one's own; never NULL. Any thread. */
struct book *book_acquire(void);
void book_release(struct book *book);
DEFINE_CLEANUP(struct book *, book_release)
/*
 * What VMs name (struct gpu_assignment), copied, if it is as the store has it now; -1: it has to be read.
 * Any thread; never blocks.
 */
int book_assignments(struct arena *arena, struct list *list);
/* As parts of gpu_facts (borrowed from book). */
void book_view(const struct book *book, struct gpu_facts *out);
