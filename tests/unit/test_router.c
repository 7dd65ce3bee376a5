/* SPDX-License-Identifier: Apache-2.0 */
/* Routes: which row a request goes to, what is said when there is none, and the table itself. */
#include "unit.h"

#include <ctype.h>

#include "api/api.h"
#include "http/router.h"

static const struct route routes[] = {
	{ .path = "/a", .method = "GET", .name = "a" },
	{ .path = "/a", .method = "POST", .name = "make" },
	{ .path = "/a/:x", .method = "DELETE", .name = "drop" },
	{ .path = "/a/:x", .method = "GET", .name = "one" },
	{ .path = "/a/:x/b/:y", .method = "GET", .name = "two" },
	{ .path = "/a/scan", .method = "POST", .name = "scan" },
};

static int find(const char *method, const char *path, struct match *out, struct error *err)
{
	static char buf[256];
	struct target target;

	snprintf(buf, sizeof(buf), "%s", path);
	assert_int_equal(target_parse(buf, &target, err), 0);
	return router_find(routes, ARRAY_SIZE(routes), method, &target, out, err);
}

static void finds(void **state UNUSED)
{
	static const struct {
		const char *method, *path, *name, *x, *y;
	} rows[] = {
		{ "GET", "/a", "a", NULL, NULL },	   { "HEAD", "/a", "a", NULL, NULL },
		{ "POST", "/a", "make", NULL, NULL },	   { "GET", "/a/1", "one", "1", NULL },
		{ "DELETE", "/a/1", "drop", "1", NULL },   { "GET", "/a/1/b/2", "two", "1", "2" },
		{ "POST", "/a/scan", "scan", NULL, NULL }, { "GET", "/a/%3Ax", "one", ":x", NULL },
	};
	struct match m;
	struct error err;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_int_equal(find(rows[i].method, rows[i].path, &m, &err), 0);
		assert_string_equal(m.route->name, rows[i].name);
		if (rows[i].x)
			assert_string_equal(m.params[0], rows[i].x);
		if (rows[i].y)
			assert_string_equal(m.params[1], rows[i].y);
	}
}

static void says_what_is_not_there(void **state UNUSED)
{
	static const struct {
		const char *method, *path;
		enum error_code code;
		const char *allow;
	} rows[] = {
		{ "GET", "/", ERROR_NOT_FOUND, "" },
		{ "GET", "/b", ERROR_NOT_FOUND, "" },
		{ "GET", "/a/1/c", ERROR_NOT_FOUND, "" },
		{ "GET", "/a/1/b/2/c", ERROR_NOT_FOUND, "" },
		{ "GET", "/ab", ERROR_NOT_FOUND, "" },
		{ "PUT", "/a", ERROR_METHOD_NOT_ALLOWED, "GET, HEAD, POST" },
		{ "get", "/a", ERROR_METHOD_NOT_ALLOWED, "GET, HEAD, POST" },
		{ "POST", "/a/1", ERROR_METHOD_NOT_ALLOWED, "DELETE, GET, HEAD" },
		{ "GET", "/a/scan", ERROR_METHOD_NOT_ALLOWED, "POST" },
	};
	struct match m;
	struct error err;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_int_equal(find(rows[i].method, rows[i].path, &m, &err), -1);
		assert_int_equal(err.code, rows[i].code);
		assert_null(m.route);
		assert_string_equal(m.allow, rows[i].allow);
	}
}

static void the_table_is_sorted_and_whole(void **state UNUSED)
{
	const struct route *r = api_routes, *end = api_routes + api_routes_n;

	for (; r < end; r++) {
		assert_non_null(r->handler);
		assert_non_null(r->name);
		assert_non_null(r->summary);
		assert_int_equal(!r->schema, !r->answer);
		assert_int_equal(!r->query, !r->query_size);
		assert_int_equal(!r->body, !r->body_size);
		for (const char *c = r->method; *c; c++)
			assert_true(isupper((unsigned char)*c));
		for (const struct route *other = r + 1; other < end; other++)
			assert_string_not_equal(r->name, other->name);
		if (r + 1 == end)
			break;
		if (strcmp(r->path, r[1].path) > 0)
			fail_msg("%s stands before %s", r->path, r[1].path);
		if (!strcmp(r->path, r[1].path))
			assert_true(strcmp(r->method, r[1].method) < 0);
		/* what only reads never changes, and the other way round */
		assert_int_equal(!strcmp(r->method, "GET"), !(r->flags & ROUTE_CHANGES));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds),
		cmocka_unit_test(says_what_is_not_there),
		cmocka_unit_test(the_table_is_sorted_and_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
