/* SPDX-License-Identifier: Apache-2.0 */
/* See input.h. */
#include "http/input.h"

#include <string.h>
#include <strings.h>

static const struct row no_fields[] = { ROW_END };

void input_finish(struct input *input)
{
	json_decref(input->json);
	arena_free(input->arena);
	*input = (struct input){ 0 };
}

static struct arena *arena_of(struct input *input)
{
	if (!input->arena)
		input->arena = arena_new();
	return input->arena;
}

static const struct row *find_row(const struct row *rows, const char *name)
{
	for (const struct row *r = rows; r->kind; r++)
		if (!strcmp(r->name, name))
			return r;
	return NULL;
}

static json_t *integer_of(const char *text)
{
	size_t n = strspn(text, "0123456789");

	return n && n < 19 && !text[n] ? json_integer(strtoll(text, NULL, 10)) : json_string(text);
}

/* The value as the row wants it; what does not look like that stays text, for rows_parse to refuse.
 */
static json_t *value_of(const struct row *row, const char *text)
{
	if (row && row->kind == ROW_BOOL && !strcmp(text, "true"))
		return json_true();
	if (row && row->kind == ROW_BOOL && !strcmp(text, "false"))
		return json_false();
	if (row && row->kind == ROW_INT)
		return integer_of(text);
	return json_string(text);
}

int input_query(const struct route *route, const struct target *target, struct input *input,
		struct error *err)
{
	const struct row *rows = route->query ?: no_fields;
	json_auto_t *json = NULL;
	const struct target_parameter *p;

	if (!target->n_parameters && !route->query)
		return 0;
	if (route->query)
		input->query = arena_alloc(arena_of(input), 1, route->query_size);
	if (!target->n_parameters) {
		rows_clear(rows, input->query);
		return 0;
	}
	json = json_object();
	for (size_t i = 0; i < target->n_parameters; i++) {
		p = &target->parameters[i];
		if (json_object_set_new(json, p->name,
					value_of(find_row(rows, p->name), p->value)) < 0)
			return error_set(err, ERROR_BAD_REQUEST, "the query is not UTF-8");
	}
	if (!rows_parse(rows, json, "", arena_of(input), input->query, err))
		return 0;
	error_wrap(err, "in the query");
	return error_pointer(err, "%s", "");
}

static bool is_json(const char *type)
{
	size_t n = strlen("application/json");

	return !strncasecmp(type, "application/json", n) &&
	       (!type[n] || type[n] == ';' || type[n] == ' ');
}

int input_body(const struct route *route, const char *type, const char *bytes, size_t n,
	       struct input *input, struct error *err)
{
	if (n && (!type || !is_json(type))) {
		error_set(err, ERROR_MEDIA_TYPE, "a body of type \"%.60s\" is not understood",
			  type ?: "");
		return error_hint(err, "send it with Content-Type: application/json");
	}
	if (!n && !route->body)
		return 0;
	input->json = n ? rows_load(bytes, n, err) : json_object();
	if (!input->json)
		return -1;
	if (route->body)
		input->body = arena_alloc(arena_of(input), 1, route->body_size);
	return rows_parse(route->body ?: no_fields, input->json, "", arena_of(input), input->body,
			  err);
}
