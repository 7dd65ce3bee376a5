/* SPDX-License-Identifier: Apache-2.0 */
/* Reading JSON into structs, by rows. See rows.h. */
#include "base/rows.h"

#include <string.h>

#include "base/strbuf.h"

enum { STRING_MAX = 255, LIST_MAX = 64, DEPTH_MAX = 32, POINTER_BYTES = 192, NAME_BYTES = 61 };

struct reader {
	struct arena *arena;
	struct error *err;
};

static int parse_object(struct reader *rd, const struct row *rows, json_t *json,
			const char *pointer, void *object);

static int wrong_type(struct reader *rd, const struct row *row, const char *pointer)
{
	static const char *const wanted[] = {
		[ROW_STRING] = "a string",	    [ROW_INT] = "an integer",
		[ROW_BOOL] = "true or false",	    [ROW_WORD] = "a string",
		[ROW_OBJECT] = "an object",	    [ROW_STRINGS] = "a list of strings",
		[ROW_INTS] = "a list of integers",  [ROW_OBJECTS] = "a list of objects",
		[ROW_MAP] = "an object of strings",
	};

	error_set(rd->err, ERROR_WRONG_TYPE, "\"%s\" must be %s", row->name, wanted[row->kind]);
	error_pointer(rd->err, "%s", pointer);
	return error_hint(rd->err, "%s", row->help ? row->help : "");
}

static int invalid(struct reader *rd, const struct row *row, const char *pointer)
{
	error_pointer(rd->err, "%s", pointer);
	if (rd->err && !rd->err->hint[0] && row->help)
		error_hint(rd->err, "%s", row->help);
	return -1;
}

static int parse_string(struct reader *rd, const struct row *row, json_t *json,
			const char *pointer, const char **ret)
{
	int64_t max = row->kind == ROW_STRING && row->max ? row->max : STRING_MAX;
	int64_t min = row->kind == ROW_STRING ? row->min : 0;
	const char *text = json_string_value(json);
	int64_t n = (int64_t)json_string_length(json);

	if (!text)
		return wrong_type(rd, row, pointer);
	if (n < min || n > max) {
		error_set(rd->err, ERROR_INVALID_VALUE,
			  "\"%s\" has %lld bytes; it may have %lld to %lld", row->name,
			  (long long)n, (long long)min, (long long)max);
		return invalid(rd, row, pointer);
	}
	if (strlen(text) != (size_t)n) {
		error_set(rd->err, ERROR_INVALID_VALUE, "\"%s\" contains a NUL byte", row->name);
		return invalid(rd, row, pointer);
	}
	if (row->check && row->check(text, rd->err) < 0)
		return invalid(rd, row, pointer);
	*ret = arena_strndup(rd->arena, text, (size_t)n);
	return 0;
}

static int parse_int(struct reader *rd, const struct row *row, json_t *json, const char *pointer,
		     int64_t *ret)
{
	int64_t v = json_integer_value(json);
	double real = json_real_value(json);

	if (real >= 0x1p63 || real < -0x1p63) {	/* a whole number all the same */
		error_set(rd->err, ERROR_INVALID_VALUE, "\"%s\" is out of range; it may be %lld to %lld",
			  row->name, (long long)row->min, (long long)row->max);
		return invalid(rd, row, pointer);
	}
	if (!json_is_integer(json))
		return wrong_type(rd, row, pointer);
	if ((row->min || row->max) && (v < row->min || v > row->max)) {
		error_set(rd->err, ERROR_INVALID_VALUE,
			  "\"%s\" is %lld; it may be %lld to %lld", row->name, (long long)v,
			  (long long)row->min, (long long)row->max);
		return invalid(rd, row, pointer);
	}
	*ret = v;
	return 0;
}

static int parse_word(struct reader *rd, const struct row *row, json_t *json, const char *pointer,
		      int *ret)
{
	CLEAN_STRBUF struct strbuf choices = STRBUF_INIT(300);

	if (!json_is_string(json))
		return wrong_type(rd, row, pointer);
	*ret = word_find(row->words, json_string_value(json));
	if (*ret >= 0)
		return 0;
	for (int i = 0; row->words[i]; i++)
		strbuf_printf(&choices, "%s%s", i ? ", " : "", row->words[i]);
	error_set(rd->err, ERROR_INVALID_VALUE, "\"%s\" cannot be \"%.40s\"", row->name,
		  json_string_value(json));
	error_hint(rd->err, "one of: %s", strbuf_text(&choices));
	return invalid(rd, row, pointer);
}

static int parse_element(struct reader *rd, const struct row *row, json_t *json,
			 const char *pointer, struct list *list)
{
	int64_t number = 0;
	const char *text;

	switch (row->kind) {
	case ROW_OBJECTS:
		if (!json_is_object(json))
			return wrong_type(rd, row, pointer);
		return parse_object(rd, row->rows, json, pointer,
				    list_append(rd->arena, list, row->size));
	case ROW_INTS:
		if (!json_is_integer(json))
			return wrong_type(rd, row, pointer);
		number = json_integer_value(json);
		*list_add(rd->arena, list, int64_t) = number;
		return 0;
	default:
		if (parse_string(rd, row, json, pointer, &text) < 0)
			return -1;
		list_add_string(rd->arena, list, text);
		return 0;
	}
}

static int parse_list(struct reader *rd, const struct row *row, json_t *json, const char *pointer,
		      struct list *list)
{
	size_t max = row->max ? (size_t)row->max : LIST_MAX;
	char at[POINTER_BYTES];
	size_t i;
	json_t *item;

	*list = (struct list){ 0 };
	list->bare = (row->flags & ROW_ONE_OR_MANY) && json_is_object(json);
	if (list->bare)
		return parse_element(rd, row, json, pointer, list);
	if (!json_is_array(json))
		return wrong_type(rd, row, pointer);
	if (json_array_size(json) > max || json_array_size(json) < (size_t)row->min) {
		error_set(rd->err, ERROR_INVALID_VALUE,
			  "\"%s\" has %zu elements; it may have %lld to %zu", row->name,
			  json_array_size(json), (long long)row->min, max);
		return invalid(rd, row, pointer);
	}
	json_array_foreach(json, i, item) {
		snprintf(at, sizeof(at), "%s/%zu", pointer, i);
		if (parse_element(rd, row, item, at, list) < 0)
			return -1;
	}
	return 0;
}

static int parse_map(struct reader *rd, const struct row *row, json_t *json, const char *pointer,
		     struct list *list)
{
	const char *key;
	json_t *value;
	struct row_pair *pair;

	if (!json_is_object(json) || json_object_size(json) > LIST_MAX)
		return wrong_type(rd, row, pointer);
	*list = (struct list){ 0 };
	json_object_foreach(json, key, value) {
		if (!json_is_string(value))
			return wrong_type(rd, row, pointer);
		pair = list_add(rd->arena, list, struct row_pair);
		pair->key = arena_strdup(rd->arena, key);
		pair->value = arena_strdup(rd->arena, json_string_value(value));
	}
	return 0;
}

static int parse_field(struct reader *rd, const struct row *row, json_t *json, const char *pointer,
		       void *at)
{
	void *object;

	if (json_is_null(json))
		return 0;	/* null is "not said" */
	switch (row->kind) {
	case ROW_STRING:
		return parse_string(rd, row, json, pointer, at);
	case ROW_INT:
		return parse_int(rd, row, json, pointer, at);
	case ROW_BOOL:
		if (!json_is_boolean(json))
			return wrong_type(rd, row, pointer);
		*(int *)at = json_is_true(json);
		return 0;
	case ROW_WORD:
		return parse_word(rd, row, json, pointer, at);
	case ROW_OBJECT:
		if (!json_is_object(json))
			return wrong_type(rd, row, pointer);
		object = arena_alloc(rd->arena, 1, row->size);
		*(void **)at = object;
		return parse_object(rd, row->rows, json, pointer, object);
	case ROW_MAP:
		return parse_map(rd, row, json, pointer, at);
	case ROW_JSON:
		*(json_t **)at = json;
		return 0;
	default:
		return parse_list(rd, row, json, pointer, at);
	}
}

/* As much of a name as fits, cut between characters: half of one is no UTF-8. */
static const char *cut(const char *name, char out[static NAME_BYTES])
{
	size_t n = strnlen(name, NAME_BYTES - 1);

	while (n && ((unsigned char)name[n] & 0xC0) == 0x80)
		n--;
	memcpy(out, name, n);
	out[n] = '\0';
	return out;
}

/* A name as part of a pointer: RFC 6901, section 3. */
static const char *escape(const char *name, char out[static 2 * NAME_BYTES])
{
	size_t n = 0;

	for (; *name; name++) {
		out[n++] = *name;
		if (*name != '~' && *name != '/')
			continue;
		out[n - 1] = '~';
		out[n++] = *name == '~' ? '0' : '1';
	}
	out[n] = '\0';
	return out;
}

static int unknown_field(struct reader *rd, const struct row *rows, const char *pointer,
			 const char *key)
{
	CLEAN_STRBUF struct strbuf names = STRBUF_INIT(330);
	char name[NAME_BYTES], escaped[2 * NAME_BYTES];

	cut(key, name);
	for (const struct row *r = rows; r->kind; r++)
		strbuf_printf(&names, "%s%s", r == rows ? "" : ", ", r->name);
	error_set(rd->err, ERROR_UNKNOWN_FIELD, "there is no field \"%s\" here", name);
	if (rows->kind)
		error_hint(rd->err, "the fields are: %s", strbuf_text(&names));
	else
		error_hint(rd->err, "none is taken");
	return error_pointer(rd->err, "%s/%s", pointer, escape(name, escaped));
}

static const struct row *row_find(const struct row *rows, const char *name)
{
	for (const struct row *r = rows; r->kind; r++)
		if (!strcmp(r->name, name))
			return r;
	return NULL;
}

static int parse_object(struct reader *rd, const struct row *rows, json_t *json,
			const char *pointer, void *object)
{
	char at[POINTER_BYTES];
	const char *key;
	json_t *value;

	rows_clear(rows, object);
	json_object_foreach(json, key, value)
		if (!row_find(rows, key))
			return unknown_field(rd, rows, pointer, key);
	for (const struct row *r = rows; r->kind; r++) {
		snprintf(at, sizeof(at), "%s/%s", pointer, r->name);
		value = json_object_get(json, r->name);
		if ((!value || json_is_null(value)) && (r->flags & ROW_REQUIRED)) {
			error_set(rd->err, ERROR_MISSING_FIELD, "\"%s\" is missing", r->name);
			return invalid(rd, r, at);
		}
		if (value && parse_field(rd, r, value, at, (char *)object + r->offset) < 0)
			return -1;
	}
	return 0;
}

static bool is_bare(const struct row *row, const void *object)
{
	const void *list = (const char *)object + row->offset;

	return (row->flags & ROW_ONE_OR_MANY) && ((const struct list *)list)->bare;
}

void rows_pointer(const struct row *rows, const void *object, struct error *err)
{
	char *at = err ? err->pointer : NULL;
	size_t n;

	for (const struct row *r = rows; at && r->kind; r++) {
		n = strlen(r->name);
		if (!is_bare(r, object) || at[0] != '/' || strncmp(at + 1, r->name, n) ||
		    strncmp(at + 1 + n, "/0", 2) || (at[n + 3] && at[n + 3] != '/'))
			continue;
		memmove(at + 1 + n, at + n + 3, strlen(at + n + 3) + 1);
		return;
	}
}

int rows_parse(const struct row *rows, json_t *json, const char *pointer, struct arena *arena,
	       void *object, struct error *err)
{
	struct reader rd = { arena, err };

	if (!json_is_object(json)) {
		error_set(err, ERROR_WRONG_TYPE, "a JSON object is wanted here");
		return error_pointer(err, "%s", pointer);
	}
	return parse_object(&rd, rows, json, pointer, object);
}

/* jansson counts 2,048 levels deep as fine; what we read is flat, so anything deep is an attack. */
static bool too_deep(const char *bytes, size_t n)
{
	int depth = 0;
	bool in_string = false;

	for (size_t i = 0; i < n && depth <= DEPTH_MAX; i++) {
		if (bytes[i] == '"')
			in_string = !in_string;
		else if (in_string)
			i += bytes[i] == '\\';
		else
			depth += (bytes[i] == '{' || bytes[i] == '[') - (bytes[i] == '}' || bytes[i] == ']');
	}
	return depth > DEPTH_MAX;
}

json_t *rows_load(const char *bytes, size_t n, struct error *err)
{
	json_error_t why;
	json_t *json;

	if (too_deep(bytes, n)) {
		error_set(err, ERROR_BAD_JSON, "the body is nested more than %d levels deep", DEPTH_MAX);
		return NULL;
	}
	json = json_loadb(bytes, n, JSON_REJECT_DUPLICATES, &why);
	if (json)
		return json;
	error_set(err, ERROR_BAD_JSON, "the body is not JSON: line %d, column %d: %.120s", why.line,
		  why.column, why.text);
	error_hint(err, "send one JSON object in UTF-8, each key once");
	return NULL;
}
