/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See record.h. What the rows said when they were read last is kept, this file's and under its lock: they
 * are read several times in each change of a card, and hardly ever say anything new.
 */
#include "gpu/record.h"

#include <string.h>

#include "base/id.h"
#include "base/lock.h"
#include "base/rows.h"

enum { KEY_BYTES = STORE_KEY_MAX + 1, TRIES = 8, KNOWN_MAX = 1024 };

#define RECORD(field) offsetof(struct card_record, field)

static const struct row record_rows[] = {
	{ "id", ROW_STRING, ROW_REQUIRED, RECORD(id) },
	{ "ids", ROW_STRING, ROW_REQUIRED, RECORD(ids) },
	{ "path", ROW_STRING, 0, RECORD(path), .max = 1024 },
	{ "address", ROW_STRING, 0, RECORD(address) },
	{ "owner", ROW_STRING, 0, RECORD(owner) },
	{ "was_bound", ROW_BOOL, 0, RECORD(was_bound) },
	{ "quarantined_why", ROW_STRING, 0, RECORD(quarantined_why), .max = 512 },
	{ "last_reset", ROW_STRING, 0, RECORD(last_reset) },
	{ "wanted_vfs", ROW_INT, 0, RECORD(wanted_vfs), .min = 0, .max = UINT16_MAX },
	{ "seen_at", ROW_STRING, 0, RECORD(seen_at) },
	ROW_END,
};

static const char *key_of(const char *node, const char *id, char key[static KEY_BYTES])
{
	snprintf(key, KEY_BYTES, "cards/%s/%s", node, id);
	return key;
}

static void set_unstored(const struct store_row *row, struct card_record *ret)
{
	ret->mod = row->mod;
	ret->moved_from = NULL;
	ret->present = ret->changed = false;
}

static int parse(const struct store_row *row, struct arena *arena, struct card_record *ret,
		 struct error *err)
{
	json_t *json = rows_load(row->value, strlen(row->value), err);
	int r = json ? rows_parse(record_rows, json, "", arena, ret, err) : -1;

	json_decref(json);
	if (r < 0)
		return error_wrap(err, "the record %s is damaged", row->key);
	set_unstored(row, ret);
	return 0;
}

/* ---- what was read last ---- */

static struct lock known_lock = LOCK_INIT;

/* A value of the store, and what stands in it. */
struct known {
	const char *value;
	struct card_record record;
};

static struct list known GUARDED_BY(known_lock); /* struct known, in the order of their keys */
static struct arena *known_arena GUARDED_BY(known_lock);
/* All rows that this store has of this node are known, and were read when store_made() was that. */
static const struct store *known_store GUARDED_BY(known_lock);
static char known_node[STORE_KEY_MAX] GUARDED_BY(known_lock);
static uint64_t known_made GUARDED_BY(known_lock);

static void copy_record(struct arena *arena, const struct card_record *from, struct card_record *to)
{
	const char **text;

	*to = *from;
	for (const struct row *r = record_rows; r->kind; r++) {
		text = (const char **)((char *)to + r->offset);
		if (r->kind == ROW_STRING)
			*text = arena_strdup(arena, *text);
	}
}

/* The n-th row: is it as it was? */
static bool recall(const struct store_row *row, size_t n, struct arena *arena, struct card_record *ret)
{
	const struct known *it;
	bool same;

	lock_take(&known_lock);
	it = n < known.n ? (const struct known *)known.items + n : NULL;
	same = it && !strcmp(it->value, row->value);
	if (same)
		copy_record(arena, &it->record, ret);
	lock_give(&known_lock);
	if (same)
		set_unstored(row, ret);
	return same;
}

/* All of them, without the store, if nothing was written since they were read. */
static bool recall_all(const struct store *store, const char *node, struct arena *arena,
		       struct list *records)
{
	bool all;

	lock_take(&known_lock);
	all = known_store == store && !strcmp(known_node, node) && known_made == store_made();
	for (size_t i = 0; all && i < known.n; i++)
		copy_record(arena, &((const struct known *)known.items)[i].record,
			    list_add(arena, records, struct card_record));
	lock_give(&known_lock);
	return all;
}

/* What was read when store_made() was `made`. */
static void remember(const struct store *store, const char *node, uint64_t made, const struct list *rows,
		     const struct list *records)
{
	const struct card_record *record = records->items;
	struct arena *arena = arena_new(), *old;
	struct list all = { 0 };
	struct known *it;

	for (LIST_EACH(const struct store_row, row, rows)) {
		if (all.n == KNOWN_MAX)
			break;
		it = list_add(arena, &all, struct known);
		it->value = arena_strdup(arena, row->value);
		copy_record(arena, record++, &it->record);
	}
	lock_take(&known_lock);
	old = known_arena;
	known_arena = arena;
	known = all;
	known_store = all.n == rows->n ? store : NULL;
	known_made = made;
	snprintf(known_node, sizeof(known_node), "%s", node);
	lock_give(&known_lock);
	arena_free(old);
}

int records_load(struct store *store, const char *node, struct arena *arena, struct list *records,
		 struct error *err)
{
	char prefix[KEY_BYTES];
	struct list rows = { 0 };
	struct card_record *ret;
	uint64_t made;

	*records = (struct list){ 0 };
	if (recall_all(store, node, arena, records))
		return (int)records->n;
	made = store_made();
	if (store_list(store, key_of(node, "", prefix), arena, &rows, NULL, err) < 0)
		return -1;
	for (LIST_EACH(const struct store_row, row, &rows)) {
		ret = list_add(arena, records, struct card_record);
		if (!recall(row, records->n - 1, arena, ret) && parse(row, arena, ret, err) < 0)
			return -1;
	}
	remember(store, node, made, &rows, records);
	return (int)records->n;
}

/* ---- of another name ---- */

/* How long the part of a key of ours is that names the node: "cards/" name "/". */
static size_t node_part(const char *key)
{
	const char *name = key + strlen("cards/"), *slash = strchr(name, '/');

	return slash ? (size_t)(slash + 1 - key) : 0;
}

static bool under(const struct store_row *row, const char *prefix)
{
	return !strncmp(row->key, prefix, strlen(prefix));
}

/* The prefix whose rows are to be moved; NULL: none. */
static const char *left_over(const struct list *rows, const char *to, const char *named,
			     struct arena *arena)
{
	const char *only = NULL;
	bool any = false, several = false;
	size_t n;

	for (LIST_EACH(const struct store_row, row, rows)) {
		n = node_part(row->key);
		if (under(row, named))
			return named;
		any |= under(row, to) || !n;
		several |= only && !under(row, only);
		if (n && !only)
			only = arena_strndup(arena, row->key, n);
	}
	return any || several ? NULL : only;
}

static bool is_known(const struct list *records, const struct card_record *record)
{
	for (LIST_EACH(const struct card_record, r, records))
		if (!strcmp(r->id, record->id) ||
		    (!strcmp(r->ids, record->ids) && r->path && record->path &&
		     !strcmp(r->path, record->path)))
			return true;
	return false;
}

static int move_row(struct store *store, const struct store_row *row, const char *to,
		    struct error *err)
{
	const struct store_compare compares[] = { { row->key, row->mod }, { to, 0 } };
	const struct store_change changes[] = { { row->key, NULL }, { to, row->value } };
	const struct store_txn txn = { compares, ARRAY_SIZE(compares), changes,
				       ARRAY_SIZE(changes) };

	return store_txn(store, &txn, NULL, err) < 0 ? -1 : 0;
}

int records_adopt(struct store *store, const char *node, const char *name, struct error *err)
{
	CLEANUP(arena_freep) struct arena *arena = arena_new();
	char to[KEY_BYTES], named[KEY_BYTES], key[KEY_BYTES];
	struct list rows = { 0 }, ours = { 0 };
	struct card_record record;
	const char *from;

	if (store_list(store, "cards/", arena, &rows, NULL, err) < 0)
		return -1;
	from = left_over(&rows, key_of(node, "", to), key_of(name, "", named), arena);
	if (!from)
		return 0;
	for (LIST_EACH(const struct store_row, row, &rows))
		if (under(row, to) && parse(row, arena, &record, NULL) == 0)
			*list_add(arena, &ours, struct card_record) = record;
	for (LIST_EACH(const struct store_row, row, &rows))
		if (under(row, from) && parse(row, arena, &record, NULL) == 0 &&
		    !is_known(&ours, &record) &&
		    move_row(store, row, key_of(node, record.id, key), err) < 0)
			return -1;
	return 0;
}

/* ---- matching ---- */

static const struct function *first_of(const struct card *card)
{
	return *(struct function **)card->functions.items;
}

static const char *ids_of(const struct function *f, struct arena *arena)
{
	return arena_printf(arena, "%04x:%04x %04x:%04x", f->vendor, f->device, f->subsystem_vendor,
			    f->subsystem_device);
}

/* The only record of these ids that no card has yet, at this path or (NULL) anywhere; else NULL. */
static struct card_record *only_free(struct list *records, const char *ids, const char *path)
{
	struct card_record *found = NULL;

	for (LIST_EACH(struct card_record, r, records)) {
		if (r->present || strcmp(r->ids, ids) ||
		    (path && (!r->path || strcmp(r->path, path))))
			continue;
		if (found)
			return NULL;
		found = r;
	}
	return found;
}

static void found(struct card_record *r, const struct card *card, struct arena *arena)
{
	const struct function *f = first_of(card);

	r->present = true;
	r->changed = !r->address || strcmp(r->address, card->text) != 0;
	r->address = arena_strdup(arena, card->text);
	if (r->path && f->path_key && strcmp(r->path, f->path_key))
		r->moved_from = r->path;
}

static bool has_record(const struct list *records, const struct card *card)
{
	for (LIST_EACH(const struct card_record, r, records))
		if (r->present && !strcmp(r->address, card->text))
			return true;
	return false;
}

/* How many cards of these ids have no record yet: with two, nobody can say which of them moved. */
static size_t without_record(const struct inventory *inv, const struct list *records,
			     const char *ids, struct arena *arena)
{
	size_t n = 0;

	for (LIST_EACH(const struct card, card, &inv->cards))
		n += !has_record(records, card) && !strcmp(ids_of(first_of(card), arena), ids);
	return n;
}

static void mint(const struct card *card, const char *ids, struct arena *arena,
		 struct list *records)
{
	struct card_record *r = list_add(arena, records, struct card_record);
	char text[ID_TEXT];

	*r = (struct card_record){
		.id = arena_strdup(arena, id_short("card-", text)),
		.ids = ids,
		.path = arena_strdup(arena, first_of(card)->path_key),
		.address = arena_strdup(arena, card->text),
		.seen_at = arena_strdup(arena, time_now(text)),
		.was_bound = -1,
		.wanted_vfs = ROW_NULL,
		.present = true,
		.changed = true,
	};
}

/*
 * What sits where it was goes first, so that a new card never takes the record of one that stayed; and
 * new records come last, so that one of two that could have moved does not make the other the only one.
 */
void records_match(const struct inventory *inv, struct arena *arena, struct list *records)
{
	struct card_record *r;
	const char *ids;

	for (LIST_EACH(const struct card, card, &inv->cards)) {
		r = first_of(card)->path_key ? only_free(records, ids_of(first_of(card), arena),
							 first_of(card)->path_key) : NULL;
		if (r)
			found(r, card, arena);
	}
	for (LIST_EACH(const struct card, card, &inv->cards)) {
		if (has_record(records, card))
			continue;
		ids = ids_of(first_of(card), arena);
		if (without_record(inv, records, ids, arena) != 1)
			continue;
		r = only_free(records, ids, NULL);
		if (r)
			found(r, card, arena);
	}
	for (LIST_EACH(const struct card, card, &inv->cards))
		if (!has_record(records, card))
			mint(card, ids_of(first_of(card), arena), arena, records);
}

const struct card_record *record_at(const struct list *records, const struct inventory *inv,
				    struct pci_address address)
{
	const struct card *card = inventory_card(inv, address);

	if (!card || !records)
		return NULL;
	for (LIST_EACH(const struct card_record, r, records))
		if (r->present && !strcmp(r->address, card->text))
			return r;
	return NULL;
}

const struct card_record *record_of(const struct list *records, const char *id)
{
	for (LIST_EACH(const struct card_record, r, records))
		if (!strcmp(r->id, id))
			return r;
	return NULL;
}

/* ---- the store ---- */

int record_save(struct store *store, const char *node, const struct card_record *record,
		struct error *err)
{
	json_t *json = rows_emit(record_rows, record);
	CLEAN_FREE char *text = json_dumps(json, JSON_COMPACT);
	char key[KEY_BYTES];

	json_decref(json);
	if (!text)
		return error_set(err, ERROR_INTERNAL, "a card's record cannot be written as JSON");
	return store_put_if(store, key_of(node, record->id, key), record->mod, text, NULL, err);
}

static int read_one(struct store *store, const char *node, const char *id, struct arena *arena,
		    struct card_record *ret, struct error *err)
{
	struct store_row row;
	char key[KEY_BYTES];
	int r = store_get(store, key_of(node, id, key), arena, &row, err);

	if (r < 0)
		return -1;
	if (!r)
		return error_set(err, ERROR_NOT_FOUND, "there is no record of card %s", id);
	return parse(&row, arena, ret, err);
}

int card_owner(struct store *store, const char *node, const char *id, struct arena *arena,
	       const char **owner, struct error *err)
{
	struct card_record record;

	if (read_one(store, node, id, arena, &record, err) < 0)
		return -1;
	*owner = record.owner;
	return record.owner != NULL;
}

int card_path(struct store *store, const char *node, const char *id, struct arena *arena,
	      const char **path, struct error *err)
{
	struct card_record record;

	if (read_one(store, node, id, arena, &record, err) < 0)
		return -1;
	*path = record.path;
	return 0;
}

int card_wanted_vfs(struct store *store, const char *node, const char *id, int64_t *vfs,
		    struct error *err)
{
	CLEANUP(arena_freep) struct arena *arena = arena_new();
	struct card_record record;

	if (read_one(store, node, id, arena, &record, err) < 0)
		return -1;
	*vfs = record.wanted_vfs;
	return 0;
}

static int others_write(const char *id, struct error *err)
{
	return error_set(err, ERROR_CONFLICT, "others keep changing the record of card %s", id);
}

int card_want_vfs(struct store *store, const char *node, const char *id, int64_t vfs, struct error *err)
{
	CLEANUP(arena_freep) struct arena *arena = arena_new();
	struct card_record record;
	int r = 0;

	for (int i = 0; i < TRIES && !r; i++) {
		if (read_one(store, node, id, arena, &record, err) < 0)
			return -1;
		record.wanted_vfs = vfs;
		r = record_save(store, node, &record, err);
	}
	return r ? (r < 0 ? -1 : 0) : others_write(id, err);
}

/* vm NULL: nobody. The swap holds only if nobody wrote since it was read. */
static int set_owner(struct store *store, const char *node, const char *id, const char *from,
		     const char *to, const char *path, int was_bound, struct error *err)
{
	CLEANUP(arena_freep) struct arena *arena = arena_new();
	struct card_record record;
	int r = 0;

	for (int i = 0; i < TRIES && !r; i++) {
		if (read_one(store, node, id, arena, &record, err) < 0)
			return -1;
		if (to && record.owner && strcmp(record.owner, to)) {
			error_set(err, ERROR_CONFLICT, "VM %s has card %s", record.owner, record.address);
			return error_hint(err, "stop VM %s first", record.owner);
		}
		if (from && (!record.owner || strcmp(record.owner, from)))
			return 0;
		record.owner = to;
		if (!to || was_bound >= 0)
			record.was_bound = was_bound;
		if (path)
			record.path = path;
		r = record_save(store, node, &record, err);
	}
	return r ? (r < 0 ? -1 : 0) : others_write(id, err);
}

int card_claim(struct store *store, const char *node, const char *id, const char *vm,
	       const char *path, int was_bound, struct error *err)
{
	return set_owner(store, node, id, NULL, vm, path, was_bound, err);
}

int card_unclaim(struct store *store, const char *node, const char *id, const char *vm,
		 struct error *err)
{
	return set_owner(store, node, id, vm, NULL, NULL, -1, err);
}
