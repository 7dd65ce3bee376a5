/* SPDX-License-Identifier: Apache-2.0 */
/* Writing structs as JSON and as schemas; reading is in rows_parse.c. See rows.h. */
#include "base/rows.h"

#include <string.h>

static void *field(const struct row *row, const void *object)
{
	return (char *)(uintptr_t)object + row->offset;
}

void rows_clear(const struct row *rows, void *object)
{
	for (const struct row *r = rows; r->kind; r++) {
		switch (r->kind) {
		case ROW_INT:
			*(int64_t *)field(r, object) = ROW_NULL;
			break;
		case ROW_BOOL:
		case ROW_WORD:
			*(int *)field(r, object) = -1;
			break;
		case ROW_STRING:
		case ROW_OBJECT:
		case ROW_JSON:
			*(void **)field(r, object) = NULL;
			break;
		default:
			*(struct list *)field(r, object) = (struct list){ .null = true };
		}
	}
}

int word_find(const char *const *words, const char *text)
{
	for (int i = 0; words[i]; i++)
		if (!strcmp(words[i], text))
			return i;
	return -1;
}

/* What the kernel says need not be UTF-8; JSON has to be. */
static json_t *text_or_null(const char *s)
{
	json_t *text = s ? json_string(s) : json_null();
	char *copy;

	if (text)
		return text;
	copy = strdup(s);
	if (!copy)
		return json_null();
	for (char *c = copy; *c; c++)
		if ((unsigned char)*c > '~')
			*c = '?';
	text = json_string(copy);
	free(copy);
	return text ? text : json_null();
}

static json_t *emit_map(const struct list *list)
{
	json_t *map = json_object();

	for (LIST_EACH(const struct row_pair, pair, list))
		json_object_set_new(map, pair->key, text_or_null(pair->value));
	return map;
}

json_t *rows_emit_list(const struct row *rows, size_t size, const struct list *list)
{
	json_t *array = json_array();

	for (size_t i = 0; i < list->n; i++)
		json_array_append_new(array, rows_emit(rows, (char *)list->items + i * size));
	return array;
}

static json_t *emit_list(const struct row *row, const struct list *list)
{
	json_t *array;

	if (list->null)
		return json_null();
	if (row->kind == ROW_MAP)
		return emit_map(list);
	if (list->bare && list->n == 1)
		return rows_emit(row->rows, list->items);
	if (row->kind == ROW_OBJECTS)
		return rows_emit_list(row->rows, row->size, list);
	array = json_array();
	for (size_t i = 0; i < list->n; i++)
		json_array_append_new(array, row->kind == ROW_INTS ?
					      json_integer(((int64_t *)list->items)[i]) :
					      text_or_null(((const char **)list->items)[i]));
	return array;
}

static json_t *emit_field(const struct row *row, const void *object)
{
	const void *at = field(row, object);

	switch (row->kind) {
	case ROW_STRING:
		return text_or_null(*(const char *const *)at);
	case ROW_INT:
		return *(const int64_t *)at == ROW_NULL ? json_null() :
							  json_integer(*(const int64_t *)at);
	case ROW_BOOL:
		return *(const int *)at < 0 ? json_null() : json_boolean(*(const int *)at);
	case ROW_WORD:
		return *(const int *)at < 0 ? json_null() : json_string(row->words[*(const int *)at]);
	case ROW_OBJECT:
		return *(void *const *)at ? rows_emit(row->rows, *(void *const *)at) : json_null();
	case ROW_JSON:
		return *(json_t *const *)at ? json_incref(*(json_t *const *)at) : json_null();
	default:
		return emit_list(row, at);
	}
}

json_t *rows_emit(const struct row *rows, const void *object)
{
	json_t *out = json_object(), *value;

	for (const struct row *r = rows; r->kind; r++) {
		value = emit_field(r, object);
		if ((r->flags & ROW_OPTIONAL) && json_is_null(value))
			json_decref(value);
		else
			json_object_set_new(out, r->name, value);
	}
	return out;
}

static const char *schema_type(enum row_kind kind)
{
	static const char *const types[] = {
		[ROW_STRING] = "string", [ROW_INT] = "integer",   [ROW_BOOL] = "boolean",
		[ROW_WORD] = "string",	 [ROW_OBJECT] = "object", [ROW_STRINGS] = "array",
		[ROW_INTS] = "array",	 [ROW_OBJECTS] = "array", [ROW_MAP] = "object",
	};

	return types[kind];
}

static void schema_limits(const struct row *row, json_t *schema)
{
	static const struct {
		enum row_kind kind;
		const char *min, *max;
	} names[] = {
		{ ROW_INT, "minimum", "maximum" },
		{ ROW_STRING, "minLength", "maxLength" },
		{ ROW_STRINGS, "minItems", "maxItems" },
		{ ROW_OBJECTS, "minItems", "maxItems" },
	};

	if (!row->min && !row->max)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (names[i].kind != row->kind)
			continue;
		json_object_set_new(schema, names[i].min, json_integer(row->min));
		json_object_set_new(schema, names[i].max, json_integer(row->max));
	}
}

static json_t *schema_items(const struct row *row, bool request)
{
	if (row->kind == ROW_OBJECTS)
		return rows_schema(row->rows, request);
	return json_pack("{s:s}", "type", row->kind == ROW_INTS ? "integer" : "string");
}

static json_t *schema_field(const struct row *row, bool request)
{
	json_t *schema = row->kind == ROW_OBJECT ? rows_schema(row->rows, request) : json_object();
	json_t *words;

	if (row->help)
		json_object_set_new(schema, "description", json_string(row->help));
	if (row->kind == ROW_JSON)
		return schema;
	if (request || (row->flags & ROW_NOT_NULL))
		json_object_set_new(schema, "type", json_string(schema_type(row->kind)));
	else
		json_object_set_new(schema, "type",
				    json_pack("[s,s]", schema_type(row->kind), "null"));
	schema_limits(row, schema);
	if (row->words) {
		words = json_array();
		for (int i = 0; row->words[i]; i++)
			json_array_append_new(words, json_string(row->words[i]));
		if (!request && !(row->flags & ROW_NOT_NULL))
			json_array_append_new(words, json_null());
		json_object_set_new(schema, "enum", words);
	}
	if (row->kind == ROW_MAP)
		json_object_set_new(schema, "additionalProperties", json_pack("{s:s}", "type", "string"));
	if (row->kind == ROW_STRINGS || row->kind == ROW_INTS || row->kind == ROW_OBJECTS)
		json_object_set_new(schema, "items", schema_items(row, request));
	if (row->flags & ROW_ONE_OR_MANY)
		return json_pack("{s:[O,o]}", "oneOf", json_object_get(schema, "items"), schema);
	return schema;
}

json_t *rows_schema(const struct row *rows, bool request)
{
	json_t *fields = json_object(), *required = json_array(), *schema;

	for (const struct row *r = rows; r->kind; r++) {
		json_object_set_new(fields, r->name, schema_field(r, request));
		if (request ? r->flags & ROW_REQUIRED : !(r->flags & ROW_OPTIONAL))
			json_array_append_new(required, json_string(r->name));
	}
	schema = json_pack("{s:s, s:o, s:b}", "type", "object", "properties", fields,
			   "additionalProperties", 0);
	if (json_array_size(required))
		json_object_set(schema, "required", required);
	json_decref(required);
	return schema;
}
