/* SPDX-License-Identifier: Apache-2.0 */
/* See text.h. What is not plain ASCII, and JSON of others, is left to jansson, which says what it may be. */
#include "wire/text.h"

#include <string.h>

enum { TEXT_MAX = 64 << 20 };

static void put_json(struct strbuf *out, json_t *json)
{
	CLEAN_FREE char *text = json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY);

	strbuf_add(out, text ?: "null");
}

/* A field of this kind as rows_emit() has it. */
static void put_emitted(struct strbuf *out, enum row_kind kind, const void *field)
{
	const struct row rows[] = { { .name = "", .kind = kind }, ROW_END };
	json_t *object = rows_emit(rows, field);

	put_json(out, json_object_get(object, ""));
	json_decref(object);
}

/* The first byte that does not stand for itself in a JSON string, or the end. */
static const char *plain_end(const char *s)
{
	while ((unsigned char)*s >= ' ' && (unsigned char)*s < 0x80 && *s != '"' && *s != '\\')
		s++;
	return s;
}

static void put_string(struct strbuf *out, const char *s)
{
	const char *end = plain_end(s ?: "");

	if (!s || *end) {
		put_emitted(out, ROW_STRING, &s);
		return;
	}
	strbuf_add_n(out, "\"", 1);
	strbuf_add_n(out, s, (size_t)(end - s));
	strbuf_add_n(out, "\"", 1);
}

static void put_int(struct strbuf *out, int64_t number)
{
	char text[24], *at = text + sizeof(text);
	uint64_t left = number < 0 ? -(uint64_t)number : (uint64_t)number;

	do
		*--at = (char)('0' + left % 10);
	while (left /= 10);
	if (number < 0)
		*--at = '-';
	strbuf_add_n(out, at, (size_t)(text + sizeof(text) - at));
}

/* In a tree a key that is there twice is there once. */
static bool is_simple(const struct list *pairs)
{
	const struct row_pair *pair = pairs->items;

	for (size_t i = 0; i < pairs->n; i++) {
		if (!pair[i].key || *plain_end(pair[i].key))
			return false;
		for (size_t k = 0; k < i; k++)
			if (!strcmp(pair[i].key, pair[k].key))
				return false;
	}
	return true;
}

static void put_map(struct strbuf *out, const struct list *pairs)
{
	const char *before = "";

	if (!is_simple(pairs)) {
		put_emitted(out, ROW_MAP, pairs);
		return;
	}
	strbuf_add_n(out, "{", 1);
	for (LIST_EACH(const struct row_pair, pair, pairs)) {
		strbuf_add(out, before);
		put_string(out, pair->key);
		strbuf_add_n(out, ":", 1);
		put_string(out, pair->value);
		before = ",";
	}
	strbuf_add_n(out, "}", 1);
}

void text_write_list(const struct row *rows, size_t size, const struct list *list, struct strbuf *out)
{
	strbuf_add_n(out, "[", 1);
	for (size_t i = 0; i < list->n; i++) {
		if (i)
			strbuf_add_n(out, ",", 1);
		text_write(rows, (char *)list->items + i * size, out);
	}
	strbuf_add_n(out, "]", 1);
}

static void put_list(struct strbuf *out, const struct row *row, const struct list *list)
{
	if (row->kind == ROW_MAP) {
		put_map(out, list);
		return;
	}
	if (list->bare && list->n == 1) {
		text_write(row->rows, list->items, out);
		return;
	}
	if (row->kind == ROW_OBJECTS) {
		text_write_list(row->rows, row->size, list, out);
		return;
	}
	strbuf_add_n(out, "[", 1);
	for (size_t i = 0; i < list->n; i++) {
		if (i)
			strbuf_add_n(out, ",", 1);
		if (row->kind == ROW_INTS)
			put_int(out, ((const int64_t *)list->items)[i]);
		else
			put_string(out, ((const char *const *)list->items)[i]);
	}
	strbuf_add_n(out, "]", 1);
}

static bool is_null(const struct row *row, const void *at)
{
	switch (row->kind) {
	case ROW_STRING:
	case ROW_OBJECT:
		return !*(void *const *)at;
	case ROW_JSON:
		return !*(json_t *const *)at || json_is_null(*(json_t *const *)at);
	case ROW_INT:
		return *(const int64_t *)at == ROW_NULL;
	case ROW_BOOL:
	case ROW_WORD:
		return *(const int *)at < 0;
	default:
		return ((const struct list *)at)->null;
	}
}

static void put_value(struct strbuf *out, const struct row *row, const void *at)
{
	switch (row->kind) {
	case ROW_STRING:
		put_string(out, *(const char *const *)at);
		break;
	case ROW_INT:
		put_int(out, *(const int64_t *)at);
		break;
	case ROW_BOOL:
		strbuf_add(out, *(const int *)at ? "true" : "false");
		break;
	case ROW_WORD:
		put_string(out, row->words[*(const int *)at]);
		break;
	case ROW_OBJECT:
		text_write(row->rows, *(void *const *)at, out);
		break;
	case ROW_JSON:
		put_json(out, *(json_t *const *)at);
		break;
	default:
		put_list(out, row, at);
	}
}

void text_write(const struct row *rows, const void *object, struct strbuf *out)
{
	const char *before = "{";
	const void *at;
	bool null;

	for (const struct row *r = rows; r->kind; r++) {
		at = (const char *)object + r->offset;
		null = is_null(r, at);
		if (null && (r->flags & ROW_OPTIONAL))
			continue;
		strbuf_add_n(out, before, 1);
		before = ",";
		put_string(out, r->name);
		strbuf_add_n(out, ":", 1);
		if (null)
			strbuf_add_n(out, "null", 4);
		else
			put_value(out, r, at);
	}
	strbuf_add(out, *before == '{' ? "{}" : "}");
}

char *text_of_rows(const struct row *rows, const void *object)
{
	struct strbuf out = STRBUF_INIT(TEXT_MAX);
	char *text;

	text_write(rows, object, &out);
	text = strbuf_take(&out);
	if (!text)
		abort();
	return text;
}
