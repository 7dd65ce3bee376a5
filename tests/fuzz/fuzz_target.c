/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any text as a request target, and what follows from it: the route, the query by that route's
 * rows. Its parts are also read as the headers that clients send.
 */
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "fuzz.h"
#include "http/access.h"
#include "http/body.h"
#include "http/input.h"

static void must(bool holds)
{
	if (!holds)
		abort();
}

static void check_segment(const char *text)
{
	must(*text && !strchr(text, '/'));
}

static void check_route(const struct target *target)
{
	struct input input = { 0 };
	struct match match;
	struct error err = { 0 };

	if (router_find(api_routes, api_routes_n, "GET", target, &match, &err) < 0) {
		must(err.code == ERROR_NOT_FOUND || match.allow[0]);
		return;
	}
	if (input_query(match.route, target, &input, &err) < 0)
		must(err.code != ERROR_NONE && !err.pointer[0]);
	input_finish(&input);
}

static void check_headers(const char *text)
{
	struct access_headers headers = { .hosts = 1, .host = text, .origin = text };
	struct body *body = body_new(TYPE_TEXT, text, strlen(text));
	struct error err;

	/* no Host can name an Origin as its own: that has a scheme before it */
	must(access_check_headers(&headers, &err) < 0);
	body_matches(body, text);
	body_unref(body);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	CLEANUP(arena_freep) struct arena *arena = arena_new();
	struct target target;
	struct error err = { 0 };

	check_headers(arena_strndup(arena, (const char *)bytes, n));
	if (target_parse(arena_strndup(arena, (const char *)bytes, n), &target, &err) < 0) {
		must(err.code == ERROR_NOT_FOUND || err.code == ERROR_BAD_REQUEST);
		return 0;
	}
	for (size_t i = 0; i < target.n_segments; i++)
		check_segment(target.segments[i]);
	check_route(&target);
	return 0;
}
