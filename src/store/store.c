/* SPDX-License-Identifier: Apache-2.0 */
/* What is the same for every engine: keys and values are checked here, so engines need not. */
#include "store/store.h"

#include <stdatomic.h>
#include <string.h>

static void (*tell)(const struct error *why);	/* set before there are threads */
static atomic_uint_fast64_t made;

void store_tell(void (*told)(const struct error *why))
{
	tell = told;
}

/* The result of a call, on its way to the caller. What can be read may yet be locked for writing. */
static int noted(int r, bool wrote, const struct error *why, struct error *err)
{
	if (tell && r < 0 && why->code == ERROR_STORE)
		tell(why);
	else if (tell && r >= 0 && wrote)
		tell(NULL);
	if (r < 0 && err)
		*err = *why;
	return r;
}

static int check_key(const char *key, bool prefix, struct error *err)
{
	size_t n = strlen(key);

	if ((!n && !prefix) || n > STORE_KEY_MAX)
		return error_set(err, ERROR_INTERNAL, "a key of the store has 1 to %d bytes",
				 STORE_KEY_MAX);
	for (const char *c = key; *c; c++)
		if (*c <= ' ' || *c > '~')
			return error_set(err, ERROR_INTERNAL,
					 "a key of the store is printable ASCII");
	return 0;
}

static int check_changes(const struct store_txn *txn, struct error *err)
{
	const struct store_change *c = txn->changes;

	for (size_t i = 0; i < txn->n_changes; i++) {
		if (check_key(c[i].key, false, err) < 0)
			return -1;
		if (c[i].value && strlen(c[i].value) > STORE_VALUE_MAX)
			return error_set(err, ERROR_TOO_LARGE, "%s has more than %d bytes",
					 c[i].key, STORE_VALUE_MAX);
		for (size_t j = 0; j < i; j++)
			if (!strcmp(c[i].key, c[j].key))
				return error_set(err, ERROR_INTERNAL, "%s is changed twice at once",
						 c[i].key);
	}
	return 0;
}

struct store *store_open(const struct store_engine *engine, const char *where, unsigned deadline_ms,
			 struct error *err)
{
	atomic_fetch_add(&made, 1);	/* lists of another store say nothing of this one */
	return engine->open(where, deadline_ms ? deadline_ms : STORE_DEADLINE_MS, err);
}

void store_close(struct store *store)
{
	if (store)
		store->engine->close(store);
}

int store_get(struct store *store, const char *key, struct arena *arena, struct store_row *ret,
	      struct error *err)
{
	struct error why = { 0 };
	int r;

	if (check_key(key, false, err) < 0)
		return -1;
	r = store->engine->get(store, key, arena, ret, &why);
	return noted(r, false, &why, err);
}

int store_list(struct store *store, const char *prefix, struct arena *arena, struct list *rows,
	       int64_t *revision, struct error *err)
{
	struct error why = { 0 };
	int r;

	if (check_key(prefix, true, err) < 0)
		return -1;
	r = store->engine->list(store, prefix, arena, rows, revision, &why);
	return noted(r, false, &why, err);
}

int store_txn(struct store *store, const struct store_txn *txn, int64_t *revision,
	      struct error *err)
{
	struct error why = { 0 };
	int r;

	if (txn->n_compares > STORE_TXN_MAX || txn->n_changes > STORE_TXN_MAX)
		return error_set(err, ERROR_TOO_MANY,
				 "a transaction has at most %d compares and changes",
				 STORE_TXN_MAX);
	for (size_t i = 0; i < txn->n_compares; i++)
		if (check_key(txn->compares[i].key, false, err) < 0)
			return -1;
	if (check_changes(txn, err) < 0)
		return -1;
	r = store->engine->txn(store, txn, revision, &why);
	if (r)	/* what failed may have been made all the same */
		atomic_fetch_add(&made, 1);
	return noted(r, true, &why, err);
}

uint64_t store_made(void)
{
	return atomic_load(&made);
}

int store_check(struct store *store, struct error *err)
{
	struct error why = { 0 };

	return noted(store->engine->check(store, &why), true, &why, err);
}

int store_watch(struct store *store, const char *prefix, int64_t from, store_watcher *watcher,
		void *data, struct error *err)
{
	if (check_key(prefix, true, err) < 0)
		return -1;
	return store->engine->watch(store, prefix, from, watcher, data, err);
}

void store_unwatch(struct store *store, int id)
{
	if (id > 0)
		store->engine->unwatch(store, id);
}

static int change_if(struct store *store, const char *key, int64_t mod, const char *value,
		     int64_t *revision, struct error *err)
{
	const struct store_compare compare = { key, mod };
	const struct store_change change = { key, value };
	const struct store_txn txn = { &compare, 1, &change, 1 };

	return store_txn(store, &txn, revision, err);
}

int store_put_if(struct store *store, const char *key, int64_t mod, const char *value,
		 int64_t *revision, struct error *err)
{
	return change_if(store, key, mod, value, revision, err);
}

int store_delete_if(struct store *store, const char *key, int64_t mod, int64_t *revision,
		    struct error *err)
{
	return change_if(store, key, mod, NULL, revision, err);
}
