/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store: what users asked for, in one key space with revisions and transactions. Keys are
 * `vms/<id>`, `cards/<node>/<card id>`, `mappings/<name>`, `nodes/<name>`, `tokens/<hash>`; values
 * are JSON as text, which the store does not look into.
 *
 * Every committed transaction that changes something gets the next revision of the whole store; a
 * row carries the revision that made it (create) and that changed it last (mod). A compare-and-swap
 * on one row decides a race.
 *
 * Engines are const vtables; tests/unit/test_store.c is the suite that each must pass. Any thread
 * may call; calls wait for the engine, at most the deadline given at open. Not for HTTP threads.
 *
 * Failures are ERROR_STORE with what to do in the hint. When the deadline passes with a transaction
 * under way, whether it was made is not known, and the message says so; every other failure means:
 * not made.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"

enum {
	STORE_KEY_MAX = 255,		/* bytes */
	STORE_VALUE_MAX = 512 << 10,	/* bytes */
	STORE_TXN_MAX = 64,		/* compares, and changes, of one transaction */
	STORE_HISTORY = 4096,		/* changes kept for watchers that come late */
	STORE_WATCHES = 64,
	STORE_DEADLINE_MS = 5000,
	STORE_NOW = -1,
};

struct store_row {
	const char *key;
	const char *value;	/* NULL in a change: the row is gone */
	int64_t create, mod;	/* revisions */
};

/* What must be so for a transaction to be made. */
struct store_compare {
	const char *key;
	int64_t mod;		/* the row's mod; 0: there is no such row */
};

struct store_change {
	const char *key;
	const char *value;	/* NULL: delete (what is not there is no error) */
};

struct store_txn {
	const struct store_compare *compares;
	size_t n_compares;
	const struct store_change *changes;	/* each key once */
	size_t n_changes;
};

/*
 * A change, to a watcher. Called in the engine's thread, in order of revision: must not call the
 * store and not block. lost: changes before this one can no longer be told; list again (row is then
 * NULL).
 */
typedef void store_watcher(void *data, const struct store_row *row, int64_t revision, bool lost);

struct store;

struct store_engine {
	const char *name;
	/* where: what the engine takes (sqlite: the file's path; its directory must be there). */
	struct store *(*open)(const char *where, unsigned deadline_ms, struct error *err);
	/* Waits for what is under way. NULL is allowed. No watcher is called afterwards. */
	void (*close)(struct store *store);
	/* 1 found, 0 there is none, -1. Strings are in the arena. */
	int (*get)(struct store *store, const char *key, struct arena *arena, struct store_row *ret,
		   struct error *err);
	/* All whose key begins with prefix, by key: struct store_row. *revision: of the store then;
	 * may be NULL. */
	int (*list)(struct store *store, const char *prefix, struct arena *arena, struct list *rows,
		    int64_t *revision, struct error *err);
	/* 1 made, 0 a compare did not hold (nothing changed), -1. *revision (may be NULL): of the
	 * store after it. A transaction that changes nothing makes no revision. */
	int (*txn)(struct store *store, const struct store_txn *txn, int64_t *revision,
		   struct error *err);
	/*
	 * Tell every change under prefix after revision `from` (as a list said it; STORE_NOW: from
	 * now on). Waits for as long as it takes. An id > 0, or -1.
	 */
	int (*watch)(struct store *store, const char *prefix, int64_t from, store_watcher *watcher,
		     void *data, struct error *err);
	/* When it returns, the watcher is not called any more. Not from a watcher. */
	void (*unwatch)(struct store *store, int id);
	/* Could it be written now, and is there room? 0; or -1, without waiting for who has it locked. */
	int (*check)(struct store *store, struct error *err);
};

extern const struct store_engine store_sqlite;

/* Every engine's struct begins with this. */
struct store {
	const struct store_engine *engine;
};

/*
 * Have `told` called after whatever says how the store is: NULL when something was written (or checked),
 * else the ERROR_STORE that a call of any kind failed with. Any thread; must not call the store and not
 * block. Once, before there are threads.
 */
void store_tell(void (*told)(const struct error *why));

struct store *store_open(const struct store_engine *engine, const char *where, unsigned deadline_ms,
			 struct error *err);
void store_close(struct store *store);
DEFINE_CLEANUP(struct store *, store_close)
int store_get(struct store *store, const char *key, struct arena *arena, struct store_row *ret,
	      struct error *err);
int store_list(struct store *store, const char *prefix, struct arena *arena, struct list *rows,
	       int64_t *revision, struct error *err);
int store_txn(struct store *store, const struct store_txn *txn, int64_t *revision,
	      struct error *err);
/*
 * How many transactions this process made. While that is what it was before a list was read, nothing done
 * here has changed what the list says. Any thread; never blocks.
 */
uint64_t store_made(void);
int store_watch(struct store *store, const char *prefix, int64_t from, store_watcher *watcher,
		void *data, struct error *err);
void store_unwatch(struct store *store, int id);
int store_check(struct store *store, struct error *err);

/* One row, if it is still as it was read (mod 0: if there is none). Results as store_txn. */
int store_put_if(struct store *store, const char *key, int64_t mod, const char *value,
		 int64_t *revision, struct error *err);
int store_delete_if(struct store *store, const char *key, int64_t mod, int64_t *revision,
		    struct error *err);
