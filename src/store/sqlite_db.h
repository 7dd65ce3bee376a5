/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The SQL of the store: one connection, one thread. For sqlite.c only.
 */
#pragma once

#include <sqlite3.h>

#include "store/store.h"

struct sqlite_db {
	sqlite3 *db;
	char path[256];
	uint64_t until; /* a database that others have locked is tried until then, monotonic ms */
};

/* Open, or make. A damaged file, or one of a newer version, is told and stays as it is. */
int sqlite_db_open(struct sqlite_db *db, const char *path, struct error *err);
void sqlite_db_close(struct sqlite_db *db);

/* As their names in store.h. */
int sqlite_db_get(struct sqlite_db *db, const char *key, struct arena *arena, struct store_row *ret,
		  struct error *err);
int sqlite_db_list(struct sqlite_db *db, const char *prefix, struct arena *arena, struct list *rows,
		   int64_t *revision, struct error *err);
/* *changes: what it changed, in order: struct store_row with strings of txn, the list in the arena.
 */
int sqlite_db_txn(struct sqlite_db *db, const struct store_txn *txn, struct arena *arena,
		  struct list *changes, int64_t *revision, struct error *err);

int sqlite_db_check(struct sqlite_db *db, struct arena *arena, struct error *err);

/*
 * What was changed under prefix in revisions after `from`: struct store_row with mod
 * the revision, value NULL where it was deleted. 0; 1 when not all of it is known any more (or
 * `from` was never reached); -1. *revision: of the store now.
 */
int sqlite_db_history(struct sqlite_db *db, const char *prefix, int64_t from, struct arena *arena,
		      struct list *rows, int64_t *revision, struct error *err);
