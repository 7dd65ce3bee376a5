/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Field tables. One row per field of a resource or request drives four things: reading it from
 * JSON with every check, writing it as JSON, printing its schema for openapi.json, and telling a
 * user which field was wrong. A table ends with ROW_END.
 *
 * Unknown and absent are the same in memory ("null"): a NULL string or object pointer, ROW_NULL
 * for an integer, -1 for a boolean or a word, list.null for a list. rows_clear() sets all of them,
 * and whoever fills a struct begins with it, so what was never set is null and never a zero.
 *
 * C types by kind: STRING `const char *` - INT `int64_t` - BOOL and WORD `int` - OBJECT pointer to
 * struct - STRINGS `struct list` of `const char *` - INTS `struct list` of int64_t - OBJECTS
 * `struct list` of structs - MAP `struct list` of struct row_pair - JSON `json_t *` (borrowed).
 * Pure; any thread.
 */
#pragma once

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"

#define ROW_NULL INT64_MIN

enum row_kind {
	ROW_LAST,
	ROW_STRING,
	ROW_INT,
	ROW_BOOL,
	ROW_WORD,	/* one of words[]; kept as its index */
	ROW_OBJECT,
	ROW_STRINGS,
	ROW_INTS,
	ROW_OBJECTS,
	ROW_MAP,	/* an object of strings */
	ROW_JSON,	/* whatever it is; the reader checks it himself */
};

enum row_flag {
	ROW_REQUIRED = 1,	/* a request without it is an error */
	ROW_OPTIONAL = 2,	/* in answers: left out when null, instead of printed as null */
	ROW_NOT_NULL = 4,	/* in answers: never null (for the schema) */
	ROW_ONE_OR_MANY = 8,	/* OBJECTS: a bare object is read as a list of one */
};

struct row_pair {
	const char *key;
	const char *value;
};

struct row {
	const char *name;
	enum row_kind kind;
	unsigned flags;
	size_t offset;
	const char *help;		/* one line, for openapi.json and the manual; with the unit */
	int64_t min, max;		/* INT: the value; STRING: bytes; lists: elements. 0,0: default */
	const char *const *words;	/* WORD: NULL-terminated */
	const struct row *rows;		/* OBJECT, OBJECTS */
	size_t size;			/* OBJECT, OBJECTS: sizeof the struct */
	int (*check)(const char *text, struct error *err);	/* STRING, STRINGS: further rule */
};

#define ROW_END { .kind = ROW_LAST }

/*
 * The table of one struct, by name: `extern const struct rows device_rows;`. `name` is the schema's
 * name in openapi.json.
 */
struct rows {
	const char *name;
	size_t size;
	const struct row *row;
};

/* Set every field of `object` to null (lists too). */
void rows_clear(const struct row *rows, void *object);

/*
 * Read `json` into `object` (cleared first). Strings and lists are made in `arena`; ROW_JSON fields
 * borrow from `json`. `pointer` is the RFC 6901 prefix of json in the request ("" at the top).
 * Returns 0; or -1 with unknown_field, missing_field, wrong_type or invalid_value, the pointer of
 * the field, and a hint that says what it may be. `object` is then half read: do not use it.
 */
int rows_parse(const struct row *rows, json_t *json, const char *pointer, struct arena *arena,
	       void *object, struct error *err);

/*
 * An error's pointer into `object`, made into one into what it was read from: where a list was a bare
 * object there (ROW_ONE_OR_MANY), its index goes.
 */
void rows_pointer(const struct row *rows, const void *object, struct error *err);

/*
 * Parse the bytes of a request body: UTF-8 JSON, an object, no key twice, at most 32 levels deep.
 * Returns a new reference, or NULL with bad_json saying line and column.
 */
json_t *rows_load(const char *bytes, size_t n, struct error *err);

/* A new reference to an object with the fields in the order of the rows. Never NULL. */
json_t *rows_emit(const struct row *rows, const void *object);
/* The same for a list of structs. */
json_t *rows_emit_list(const struct row *rows, size_t size, const struct list *list);

/* JSON Schema (2020-12, as in OpenAPI 3.1) of the table; request: required and no other fields. */
json_t *rows_schema(const struct row *rows, bool request);

/* Index of `text` in words, or -1. */
int word_find(const char *const *words, const char *text);
