/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See sqlite_db.h. Tables: rows (what is), history (what changed, the last STORE_HISTORY
 * revisions), meta (revision, and the revision up to which history is forgotten). Every change of
 * the schema is an entry of `migrations`; PRAGMA user_version counts them. WAL with
 * synchronous=FULL: what was answered for is on disk.
 */
#include "store/sqlite_db.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "base/id.h"

enum {
	APPLICATION_ID = 0x48585354,	/* "HXST": a file that is somebody else's is seen */
	ROOM_BYTES = 1 << 20,		/* less than that free is as good as full */
	BUSY_MS = 100,			/* SQLite's own waiting, between two tries of ours */
};

static const char *const migrations[] = {
	"CREATE TABLE rows (key TEXT PRIMARY KEY, value TEXT NOT NULL, created INTEGER NOT NULL,"
	"  modified INTEGER NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE history (revision INTEGER NOT NULL, n INTEGER NOT NULL, key TEXT NOT NULL,"
	"  value TEXT, created INTEGER NOT NULL, PRIMARY KEY (revision, n)) WITHOUT ROWID;"
	"CREATE TABLE meta (name TEXT PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID;"
	"INSERT INTO meta VALUES ('revision', 0), ('forgotten', 0);",
};

/* ---- errors ---- */

static const char *hint_for(int code)
{
	switch (code & 0xff) {
	case SQLITE_FULL:
		return "make room on its file system, then ask again";
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return "another program holds it locked: end that, then ask again";
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return "it is left as it is: put a backup in its place, or move it away and begin "
		       "anew";
	case SQLITE_READONLY:
	case SQLITE_PERM:
	case SQLITE_CANTOPEN:
		return "look at who may write to it and to its directory";
	default:
		return "look at its file system and at the system's log";
	}
}

/* Where it lies is for the log of a start (sqlite_db_open), not for who asks over the network. */
static int failed(int code, const char *what, struct error *err)
{
	bool damaged = (code & 0xff) == SQLITE_CORRUPT || (code & 0xff) == SQLITE_NOTADB;

	if (damaged)
		error_set(err, ERROR_STORE, "the store is damaged, or no store");
	else
		error_set(err, ERROR_STORE, "the store cannot be %s: %s", what,
			  sqlite3_errstr(code));
	return error_hint(err, "%s", hint_for(code));
}

/* ---- statements ---- */

/* It is over, and nothing of it is held; it stays for the next time: reading SQL is most of a query. */
static void statement_restp(sqlite3_stmt **statement)
{
	if (!*statement)
		return;
	sqlite3_reset(*statement);
	sqlite3_clear_bindings(*statement);
}
#define CLEAN_STATEMENT CLEANUP(statement_restp)

static sqlite3_stmt *kept(struct sqlite_db *db, const char *sql)
{
	sqlite3_stmt *statement = sqlite3_next_stmt(db->db, NULL);

	while (statement && (strcmp(sqlite3_sql(statement), sql) || sqlite3_stmt_busy(statement)))
		statement = sqlite3_next_stmt(db->db, statement);
	return statement;
}

static void forget_statements(struct sqlite_db *db)
{
	sqlite3_stmt *statement;

	while ((statement = sqlite3_next_stmt(db->db, NULL)))
		sqlite3_finalize(statement);
}

/* Arguments by letter: s text (NULL is null), i int64_t. */
static int prepare(struct sqlite_db *db, sqlite3_stmt **ret, const char *sql, const char *kinds,
		   va_list args)
{
	int r = SQLITE_OK;

	*ret = kept(db, sql);
	if (!*ret)
		r = sqlite3_prepare_v3(db->db, sql, -1, SQLITE_PREPARE_PERSISTENT, ret, NULL);
	for (int i = 1; r == SQLITE_OK && kinds[i - 1]; i++) {
		if (kinds[i - 1] == 's')
			r = sqlite3_bind_text(*ret, i, va_arg(args, const char *), -1,
					      SQLITE_TRANSIENT);
		else
			r = sqlite3_bind_int64(*ret, i, va_arg(args, int64_t));
	}
	return r;
}

static sqlite3_stmt *query(struct sqlite_db *db, int *r, const char *sql, const char *kinds, ...)
{
	sqlite3_stmt *statement = NULL;
	va_list args;

	va_start(args, kinds);
	*r = prepare(db, &statement, sql, kinds, args);
	va_end(args);
	return statement;
}

static int run(struct sqlite_db *db, const char *sql, const char *kinds, ...)
{
	CLEAN_STATEMENT sqlite3_stmt *statement = NULL;
	va_list args;
	int r;

	va_start(args, kinds);
	r = prepare(db, &statement, sql, kinds, args);
	va_end(args);
	if (r == SQLITE_OK)
		r = sqlite3_step(statement);
	return r == SQLITE_DONE || r == SQLITE_ROW ? SQLITE_OK : r;
}

/* The first column of the first row; *ret untouched when there is none. */
static int number(struct sqlite_db *db, int64_t *ret, const char *sql, const char *argument)
{
	CLEAN_STATEMENT sqlite3_stmt *statement = NULL;
	int r;

	statement = argument ? query(db, &r, sql, "s", argument) : query(db, &r, sql, "");
	if (r == SQLITE_OK)
		r = sqlite3_step(statement);
	if (r == SQLITE_ROW)
		*ret = sqlite3_column_int64(statement, 0);
	return r == SQLITE_DONE || r == SQLITE_ROW ? SQLITE_OK : r;
}

static int meta(struct sqlite_db *db, const char *name, int64_t *ret)
{
	return number(db, ret, "SELECT number FROM meta WHERE name = ?", name);
}

static bool is_busy(int code)
{
	return (code & 0xff) == SQLITE_BUSY || (code & 0xff) == SQLITE_LOCKED;
}

/* A transaction that was not made leaves nothing behind, whatever the reason. */
static void roll_back(struct sqlite_db *db)
{
	if (!sqlite3_get_autocommit(db->db))
		run(db, "ROLLBACK", "");
}

/* ---- opening ---- */

static int check_file(struct sqlite_db *db, struct error *err)
{
	CLEAN_STATEMENT sqlite3_stmt *statement = NULL;
	const char *word;
	int r;

	statement = query(db, &r, "PRAGMA quick_check(1)", "");
	if (r == SQLITE_OK)
		r = sqlite3_step(statement);
	if (r != SQLITE_ROW)
		return failed(r, "read", err);
	word = (const char *)sqlite3_column_text(statement, 0);
	return word && !strcmp(word, "ok") ? 0 : failed(SQLITE_CORRUPT, "read", err);
}

static int not_ours(struct error *err)
{
	error_set(err, ERROR_STORE, "it is another program's database");
	return error_hint(err, "name another file, or move it away");
}

/* 0 it is ours or empty. *version: how many migrations it has seen. */
static int check_owner(struct sqlite_db *db, int64_t *version, struct error *err)
{
	int64_t owner = 0, tables = 0;
	int r;

	r = number(db, &owner, "PRAGMA application_id", NULL);
	if (r == SQLITE_OK)
		r = number(db, version, "PRAGMA user_version", NULL);
	if (r == SQLITE_OK)
		r = number(db, &tables, "SELECT count(*) FROM sqlite_schema", NULL);
	if (r != SQLITE_OK)
		return failed(r, "read", err);
	if (owner != APPLICATION_ID && (owner || tables))
		return not_ours(err);
	if (*version <= (int64_t)ARRAY_SIZE(migrations))
		return 0;
	error_set(err, ERROR_STORE,
		  "it was written by a newer Horcrux (version %lld, this one knows %zu)",
		  (long long)*version, ARRAY_SIZE(migrations));
	return error_hint(err, "install that version again; this one does not touch the file");
}

static int migrate_once(struct sqlite_db *db, size_t to)
{
	char version[64], owner[64];
	int r;

	snprintf(version, sizeof(version), "PRAGMA user_version = %zu", to);
	snprintf(owner, sizeof(owner), "PRAGMA application_id = %d", APPLICATION_ID);
	r = run(db, "BEGIN IMMEDIATE", "");
	if (r == SQLITE_OK)
		r = sqlite3_exec(db->db, migrations[to - 1], NULL, NULL, NULL);
	if (r == SQLITE_OK)
		r = run(db, version, "");
	if (r == SQLITE_OK)
		r = run(db, owner, "");
	if (r == SQLITE_OK)
		r = run(db, "COMMIT", "");
	roll_back(db);
	return r;
}

static int set_up(struct sqlite_db *db, struct error *err)
{
	int64_t version = 0;
	int r;

	sqlite3_busy_timeout(db->db, BUSY_MS);
	if (check_file(db, err) < 0 || check_owner(db, &version, err) < 0)
		return -1;
	r = run(db, "PRAGMA journal_mode = WAL", "");
	if (r == SQLITE_OK)
		r = run(db, "PRAGMA synchronous = FULL", "");
	for (size_t to = (size_t)version + 1; r == SQLITE_OK && to <= ARRAY_SIZE(migrations); to++)
		r = migrate_once(db, to);
	return r == SQLITE_OK ? 0 : failed(r, "set up", err);
}

/* SQLite would make it readable to all. Its own files beside it take the mode from it. */
static int make_file(struct sqlite_db *db, struct error *err)
{
	CLEAN_FD int fd = open(db->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd >= 0)
		return 0;
	error_errno(err, ERROR_STORE, errno, "the store cannot be opened");
	return error_hint(err, "%s",
			  errno == ENOSPC ? hint_for(SQLITE_FULL) : hint_for(SQLITE_PERM));
}

static int open_file(struct sqlite_db *db, const char *path, struct error *err)
{
	int r;

	if (make_file(db, err) < 0)
		return -1;
	r = sqlite3_open_v2(path, &db->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
	if (r == SQLITE_OK && !set_up(db, err)) {
		forget_statements(db);	/* which are not needed again */
		return 0;
	}
	if (r != SQLITE_OK)
		failed(r, "opened", err);
	/* What may be damaged is not written to, not even from its own log. */
	sqlite3_db_config(db->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	sqlite_db_close(db);
	return -1;
}

int sqlite_db_open(struct sqlite_db *db, const char *path, struct error *err)
{
	*db = (struct sqlite_db){ 0 };
	snprintf(db->path, sizeof(db->path), "%s", path);
	if (strlen(path) >= sizeof(db->path))
		return error_set(err, ERROR_STORE, "the path of the store is too long");
	if (!open_file(db, path, err))
		return 0;
	return error_wrap(err, "%s", path);
}

void sqlite_db_close(struct sqlite_db *db)
{
	if (db->db)
		forget_statements(db);
	sqlite3_close(db->db);
	db->db = NULL;
}

/* ---- reading ---- */

static const char *column_text(sqlite3_stmt *statement, int column, struct arena *arena)
{
	return arena_strdup(arena, (const char *)sqlite3_column_text(statement, column));
}

/* Columns: key, value, created, modified. */
static void read_row(sqlite3_stmt *statement, struct arena *arena, struct store_row *row)
{
	row->key = column_text(statement, 0, arena);
	row->value = column_text(statement, 1, arena);
	row->create = sqlite3_column_int64(statement, 2);
	row->mod = sqlite3_column_int64(statement, 3);
}

static int read_rows(sqlite3_stmt *statement, struct arena *arena, struct list *rows)
{
	int r;

	*rows = (struct list){ 0 };
	while ((r = sqlite3_step(statement)) == SQLITE_ROW)
		read_row(statement, arena, list_add(arena, rows, struct store_row));
	return r == SQLITE_DONE ? SQLITE_OK : r;
}

/* Runs it again while others have the database locked, until the deadline. */
#define RETRY(db, r, attempt)                                                                      \
	do {                                                                                       \
		(r) = (attempt);                                                                   \
	} while (is_busy(r) && time_monotonic_ms() < (db)->until)

static int get_once(struct sqlite_db *db, const char *key, struct arena *arena,
		    struct store_row *row, int *found)
{
	CLEAN_STATEMENT sqlite3_stmt *statement = NULL;
	int r;

	statement = query(db, &r, "SELECT key, value, created, modified FROM rows WHERE key = ?",
			  "s", key);
	if (r == SQLITE_OK)
		r = sqlite3_step(statement);
	*found = r == SQLITE_ROW;
	if (*found)
		read_row(statement, arena, row);
	return r == SQLITE_ROW || r == SQLITE_DONE ? SQLITE_OK : r;
}

int sqlite_db_get(struct sqlite_db *db, const char *key, struct arena *arena, struct store_row *ret,
		  struct error *err)
{
	struct store_row row;
	int r, found = 0;

	RETRY(db, r, get_once(db, key, arena, &row, &found));
	if (r != SQLITE_OK)
		return failed(r, "read", err);
	if (found)
		*ret = row;
	return found;
}

/* The first text that no key with this prefix reaches: keys are ASCII, so there is always one. */
static const char *end_of(const char *prefix, char buf[static STORE_KEY_MAX + 2])
{
	size_t n = strlen(prefix);

	snprintf(buf, STORE_KEY_MAX + 2, "%s", n ? prefix : "\x7f");
	if (n)
		buf[n - 1]++;
	return buf;
}

/* Rows and revision of one moment. */
static int list_once(struct sqlite_db *db, const char *prefix, struct arena *arena,
		     struct list *rows, int64_t *revision)
{
	CLEAN_STATEMENT sqlite3_stmt *statement = NULL;
	char end[STORE_KEY_MAX + 2];
	int r = run(db, "BEGIN", "");

	if (r == SQLITE_OK)
		r = meta(db, "revision", revision);
	if (r == SQLITE_OK)
		statement = query(db, &r, "SELECT key, value, created, modified FROM rows "
					  "WHERE key >= ? AND key < ? ORDER BY key",
				  "ss", prefix, end_of(prefix, end));
	if (r == SQLITE_OK)
		r = read_rows(statement, arena, rows);
	sqlite3_reset(statement);
	roll_back(db);
	return r;
}

int sqlite_db_list(struct sqlite_db *db, const char *prefix, struct arena *arena, struct list *rows,
		   int64_t *revision, struct error *err)
{
	int r;

	RETRY(db, r, list_once(db, prefix, arena, rows, revision));
	return r == SQLITE_OK ? 0 : failed(r, "read", err);
}

static int history_once(struct sqlite_db *db, const char *prefix, int64_t from, struct arena *arena,
			struct list *rows, int64_t *revision, int64_t *forgotten)
{
	CLEAN_STATEMENT sqlite3_stmt *statement = NULL;
	char end[STORE_KEY_MAX + 2];
	int r = run(db, "BEGIN", "");

	if (r == SQLITE_OK)
		r = meta(db, "revision", revision);
	if (r == SQLITE_OK)
		r = meta(db, "forgotten", forgotten);
	if (r == SQLITE_OK)
		statement = query(db, &r,
				  "SELECT key, value, created, revision FROM history WHERE "
				  "revision > ? AND key >= ? AND key < ? ORDER BY revision, n",
				  "iss", from, prefix, end_of(prefix, end));
	if (r == SQLITE_OK)
		r = read_rows(statement, arena, rows);
	sqlite3_reset(statement);
	roll_back(db);
	return r;
}

int sqlite_db_history(struct sqlite_db *db, const char *prefix, int64_t from, struct arena *arena,
		      struct list *rows, int64_t *revision, struct error *err)
{
	int64_t forgotten = 0;
	int r;

	RETRY(db, r, history_once(db, prefix, from, arena, rows, revision, &forgotten));
	if (r != SQLITE_OK)
		return failed(r, "read", err);
	return from < forgotten || from > *revision;
}

/* ---- writing ---- */

static int compare(struct sqlite_db *db, const struct store_txn *txn, bool *holds)
{
	int64_t mod;
	int r = SQLITE_OK;

	*holds = true;
	for (size_t i = 0; r == SQLITE_OK && *holds && i < txn->n_compares; i++) {
		mod = 0;
		r = number(db, &mod, "SELECT modified FROM rows WHERE key = ?",
			   txn->compares[i].key);
		*holds = mod == txn->compares[i].mod;
	}
	return r;
}

struct writing {
	struct arena *arena;
	struct list *changes;	/* struct store_row */
	int64_t revision;	/* the one it makes */
};

static int change(struct sqlite_db *db, const struct store_change *c, struct writing *w)
{
	int64_t created = 0;
	int r = number(db, &created, "SELECT created FROM rows WHERE key = ?", c->key);

	if (r != SQLITE_OK || (!c->value && !created))
		return r;
	if (!created)
		created = w->revision;
	if (c->value)
		r = run(db, "INSERT OR REPLACE INTO rows VALUES (?, ?, ?, ?)", "ssii", c->key,
			c->value, created, w->revision);
	else
		r = run(db, "DELETE FROM rows WHERE key = ?", "s", c->key);
	if (r == SQLITE_OK)
		r = run(db, "INSERT INTO history VALUES (?, ?, ?, ?, ?)", "iissi", w->revision,
			(int64_t)w->changes->n, c->key, c->value, created);
	*list_add(w->arena, w->changes, struct store_row) =
		(struct store_row){ c->key, c->value, created, w->revision };
	return r;
}

static int note_revision(struct sqlite_db *db, int64_t revision)
{
	int64_t forget = revision - STORE_HISTORY;
	int r = run(db, "UPDATE meta SET number = ? WHERE name = 'revision'", "i", revision);

	if (r == SQLITE_OK && forget > 0)
		r = run(db, "DELETE FROM history WHERE revision <= ?", "i", forget);
	if (r == SQLITE_OK && forget > 0)
		r = run(db, "UPDATE meta SET number = ? WHERE name = 'forgotten'", "i", forget);
	return r;
}

/* *made: 0 a compare did not hold; else 1. */
static int txn_once(struct sqlite_db *db, const struct store_txn *txn, struct writing *w, int *made)
{
	bool holds = false;
	int r = run(db, "BEGIN IMMEDIATE", "");

	*w->changes = (struct list){ 0 };
	if (r == SQLITE_OK)
		r = meta(db, "revision", &w->revision);
	if (r == SQLITE_OK)
		r = compare(db, txn, &holds);
	w->revision++;
	for (size_t i = 0; r == SQLITE_OK && holds && i < txn->n_changes; i++)
		r = change(db, &txn->changes[i], w);
	if (!w->changes->n)
		w->revision--;	/* nothing to make */
	else if (r == SQLITE_OK)
		r = note_revision(db, w->revision);
	if (r == SQLITE_OK && w->changes->n)
		r = run(db, "COMMIT", "");
	roll_back(db);
	*made = holds;
	return r;
}

int sqlite_db_txn(struct sqlite_db *db, const struct store_txn *txn, struct arena *arena,
		  struct list *changes, int64_t *revision, struct error *err)
{
	struct writing w = { arena, changes, 0 };
	int r, made = 0;

	RETRY(db, r, txn_once(db, txn, &w, &made));
	if (r != SQLITE_OK)
		return failed(r, "written", err);
	*revision = w.revision;
	return made;
}

/* The lock that a write needs, taken and given back; and room for one. */
int sqlite_db_check(struct sqlite_db *db, struct arena *arena, struct error *err)
{
	const struct store_txn nothing = { 0 };
	struct list changes = { 0 };
	struct statvfs room;
	int64_t revision;

	if (sqlite_db_txn(db, &nothing, arena, &changes, &revision, err) < 0)
		return -1;
	if (!statvfs(db->path, &room) && room.f_bavail * room.f_frsize < ROOM_BYTES)
		return failed(SQLITE_FULL, "written", err);
	return 0;
}
