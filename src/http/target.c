/* SPDX-License-Identifier: Apache-2.0 */
/* See target.h. */
#include "http/target.h"

#include <string.h>

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* In place; a NUL or a byte of `forbidden` that was escaped is an error of its own. */
enum unescaped { UNESCAPED, BAD_ESCAPE, FORBIDDEN_BYTE };

static enum unescaped unescape(char *text, bool plus_is_space, char forbidden)
{
	char *to = text;
	int high, low;

	for (const char *from = text; *from; from++) {
		if (*from == '+' && plus_is_space) {
			*to++ = ' ';
		} else if (*from != '%') {
			*to++ = *from;
		} else {
			high = hex_digit(from[1]);
			low = high < 0 ? -1 : hex_digit(from[2]);
			if (low < 0)
				return BAD_ESCAPE;
			*to = (char)(high << 4 | low);
			if (!*to || (forbidden && *to == forbidden))
				return FORBIDDEN_BYTE;
			to++;
			from += 2;
		}
	}
	*to = '\0';
	return UNESCAPED;
}

static int bad_escape(struct error *err)
{
	error_set(err, ERROR_BAD_REQUEST, "the address has a %% without two hex digits after it");
	return error_hint(err, "write a percent sign itself as %%25");
}

static int no_such_path(struct error *err)
{
	error_set(err, ERROR_NOT_FOUND, "there is nothing at this address");
	return error_hint(err, "GET /api/openapi.json lists every address");
}

static int parse_path(char *path, struct target *out, struct error *err)
{
	char *rest = path, *segment;

	if (*rest++ != '/')
		return no_such_path(err);
	if (!*rest)
		return 0;
	while ((segment = strsep(&rest, "/"))) {
		if (!*segment || out->n_segments == TARGET_SEGMENTS)
			return no_such_path(err);
		switch (unescape(segment, false, '/')) {
		case BAD_ESCAPE:
			return bad_escape(err);
		case FORBIDDEN_BYTE:
			return no_such_path(err);
		case UNESCAPED:
			out->segments[out->n_segments++] = segment;
		}
	}
	return 0;
}

static int add_parameter(char *text, struct target *out, struct error *err)
{
	char *name = strsep(&text, "=");
	char *value = text ? text : name + strlen(name);
	enum unescaped a = unescape(name, true, '\0'), b = unescape(value, true, '\0');

	if (a == BAD_ESCAPE || b == BAD_ESCAPE)
		return bad_escape(err);
	if (a == FORBIDDEN_BYTE || b == FORBIDDEN_BYTE)
		return error_set(err, ERROR_BAD_REQUEST, "the query has a NUL byte");
	for (size_t i = 0; i < out->n_parameters; i++)
		if (!strcmp(out->parameters[i].name, name))
			return error_set(err, ERROR_BAD_REQUEST,
					 "the query has \"%.60s\" more than once", name);
	if (out->n_parameters == TARGET_PARAMETERS)
		return error_set(err, ERROR_BAD_REQUEST, "the query has more than %d parameters",
				 TARGET_PARAMETERS);
	out->parameters[out->n_parameters++] = (struct target_parameter){ name, value };
	return 0;
}

int target_parse(char *text, struct target *out, struct error *err)
{
	char *query = text, *path = strsep(&query, "?"), *one;

	*out = (struct target){ 0 };
	if (parse_path(path, out, err) < 0)
		return -1;
	while ((one = strsep(&query, "&")))
		if (*one && add_parameter(one, out, err) < 0)
			return -1;
	return 0;
}
