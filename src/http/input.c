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
	if (*err->pointer)
		error_wrap(err, "in the query, %s", err->pointer + 1);
	else
		error_wrap(err, "in the query");
	return error_pointer(err, "%s", "");
}

static bool is_json(const char *type)
{
	size_t n = strlen("application/json");

	return !strncasecmp(type, "application/json", n) &&
	       (!type[n] || type[n] == ';' || type[n] == ' ');
}

static int check_form(const struct input_form *form, struct error *err)
{
	const char *encoding = form->encoding;

	if (!form->type || !is_json(form->type)) {
		error_set(err, ERROR_MEDIA_TYPE, "a body of type \"%.60s\" is not understood",
			  form->type ?: "");
		return error_hint(err, "send it with Content-Type: application/json");
	}
	if (!encoding || !*encoding || !strcasecmp(encoding, "identity"))
		return 0;
	error_set(err, ERROR_MEDIA_TYPE, "a body with Content-Encoding \"%.60s\" is not understood",
		  encoding);
	return error_hint(err, "send it as it is, without Content-Encoding");
}

/* Bytes of the number at `text`, 0 where none begins; *beyond: it is whole, and no int64_t holds it. */
static size_t number_at(const char *text, size_t n, bool *beyond)
{
	static const char most[] = "9223372036854775807", more[] = "+-.eE0123456789";
	size_t sign = n && *text == '-', digits = 0, end;

	while (sign + digits < n && text[sign + digits] >= '0' && text[sign + digits] <= '9')
		digits++;
	for (end = sign + digits; end < n && memchr(more, text[end], strlen(more));)
		end++;
	*beyond = digits && end == sign + digits && text[sign] != '0' &&
		  (digits > strlen(most) ||
		   (digits == strlen(most) && memcmp(text + sign, most, digits) > 0));
	return digits ? end : 0;
}

/*
 * JSON has whole numbers of any size, jansson none beyond int64_t. These become a real beyond it too,
 * which rows_parse refuses by the name of its field. True when there was any.
 */
static bool tame_numbers(char *bytes, size_t n)
{
	bool in_string = false, beyond, any = false;
	size_t sign, end;

	for (size_t i = 0; i < n; i++) {
		if (bytes[i] == '"')
			in_string = !in_string;
		else if (in_string)
			i += bytes[i] == '\\';
		end = in_string || i >= n ? 0 : number_at(bytes + i, n - i, &beyond);
		if (!end)
			continue;
		if (beyond) {
			sign = bytes[i] == '-';
			memset(bytes + i + sign, ' ', end - sign);
			memcpy(bytes + i + sign, "1e99", strlen("1e99"));
			any = true;
		}
		i += end - 1;
	}
	return any;
}

static json_t *load(const char *bytes, size_t n, struct error *err)
{
	CLEAN_FREE char *tamed = NULL;
	json_t *json = rows_load(bytes, n, err), *again;
	struct error other = { 0 };

	if (json)
		return json;
	tamed = malloc(n);
	if (!tamed)
		return NULL;
	memcpy(tamed, bytes, n);
	again = tame_numbers(tamed, n) ? rows_load(tamed, n, &other) : NULL;
	if (again)
		*err = (struct error){ 0 };
	return again;
}

int input_body(const struct route *route, const struct input_form *form, const char *bytes, size_t n,
	       struct input *input, struct error *err)
{
	if (n && check_form(form, err) < 0)
		return -1;
	if (!n && !route->body)
		return 0;
	input->json = n ? load(bytes, n, err) : json_object();
	if (!input->json)
		return -1;
	if (route->body)
		input->body = arena_alloc(arena_of(input), 1, route->body_size);
	return rows_parse(route->body ?: no_fields, input->json, "", arena_of(input), input->body,
			  err);
}
