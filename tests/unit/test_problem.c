/* SPDX-License-Identifier: Apache-2.0 */
/* Replies: every error as a problem, bodies and their ETags. */
#include "unit.h"

#include "http/reply.h"
#include "wire/problem.h"

static void every_error_is_a_problem(void **state UNUSED)
{
	struct error err;

	for (int code = ERROR_NONE + 1; code < ERROR_CODES; code++) {
		CLEAN_REPLY struct reply reply = { 0 };
		json_auto_t *json = NULL;

		error_set(&err, (enum error_code)code, "what and why");
		reply = reply_problem(&err, NULL, NULL);
		assert_int_equal(reply.status, error_code_status((enum error_code)code));
		assert_ptr_equal(reply.body->type, TYPE_PROBLEM);
		json = json_loadb(reply.body->bytes, reply.body->n, 0, NULL);
		assert_int_equal(json_integer_value(json_object_get(json, "status")), reply.status);
		assert_string_equal(json_string_value(json_object_get(json, "code")),
				    error_code_name((enum error_code)code));
		assert_string_equal(json_string_value(json_object_get(json, "detail")),
				    "what and why");
		assert_int_equal(json_object_size(json), 5);
	}
}

static void says_all_that_it_knows(void **state UNUSED)
{
	static struct wire_refusal refusals[] = {
		{ "held", "0000:01:00.0", "Xorg holds it", "/dev/dri/card0", "stop it", 0 },
		{ "no_reset", "0000:01:00.0", "it cannot be reset", NULL, NULL, 1 },
	};
	const struct list list = { .items = refusals, .n = 2 };
	struct error err;
	struct reply reply;

	error_set(&err, ERROR_REFUSED, "no");
	error_hint(&err, "see refusals");
	error_pointer(&err, "/accept/0");
	reply = reply_problem(&err, &list, "task-1");
	assert_string_equal(
		reply.body->bytes,
		"{\"type\":\"urn:horcrux:error:refused\",\"title\":\"Refused, and nothing was "
		"changed\",\"status\":409,\"detail\":\"no\",\"code\":\"refused\",\"hint\":\"see "
		"refusals\",\"pointer\":\"/accept/0\",\"refusals\":[{\"code\":\"held\",\"subject\":"
		"\"0000:01:00.0\",\"reason\":\"Xorg holds "
		"it\",\"evidence\":\"/dev/dri/card0\",\"fix\":"
		"\"stop "
		"it\",\"can_accept\":false},{\"code\":\"no_reset\",\"subject\":\"0000:01:00.0\","
		"\"reason\":\"it cannot be "
		"reset\",\"evidence\":null,\"fix\":null,\"can_accept\":true}]"
		",\"task\":\"task-1\"}\n");
	reply_finish(&reply);
	assert_null(reply.body);
}

static void tells_versions_apart(void **state UNUSED)
{
	struct body *a = body_new(TYPE_TEXT, "a", 1), *b = body_new(TYPE_TEXT, "b", 1);
	struct body *again = body_new(TYPE_TEXT, "a", 1), *empty = body_new(TYPE_TEXT, NULL, 0);
	char list[128];

	assert_string_not_equal(a->etag, b->etag);
	assert_string_equal(a->etag, again->etag);
	assert_string_not_equal(a->etag, empty->etag);
	assert_true(body_matches(a, a->etag));
	assert_true(body_matches(a, "*"));
	assert_false(body_matches(a, b->etag));
	assert_false(body_matches(a, ""));
	snprintf(list, sizeof(list), "W/%s", a->etag);
	assert_true(body_matches(a, list));
	snprintf(list, sizeof(list), "\"x\", %s ,%s", b->etag, a->etag);
	assert_true(body_matches(a, list));
	snprintf(list, sizeof(list), "%sx", a->etag);
	assert_false(body_matches(a, list));
	snprintf(list, sizeof(list), "%.*s", (int)strlen(a->etag) - 1, a->etag);
	assert_false(body_matches(a, list));
	body_unref(a);
	body_unref(b);
	body_unref(again);
	body_unref(empty);
	body_unref(NULL);
}

static void joins_parts_to_an_array(void **state UNUSED)
{
	struct body *a = body_json(TYPE_JSON, json_pack("{s:i}", "a", 1));
	struct body *b = body_json(TYPE_JSON, json_pack("{s:i}", "b", 2));
	const struct body *parts[] = { a, b };
	struct body *none = body_join(NULL, 0), *one = body_join(parts, 1),
		    *two = body_join(parts, 2);

	assert_string_equal(none->bytes, "[]\n");
	assert_int_equal(none->n, 3);
	assert_string_equal(one->bytes, "[{\"a\":1}]\n");
	assert_string_equal(two->bytes, "[{\"a\":1},{\"b\":2}]\n");
	assert_int_equal(two->n, strlen(two->bytes));
	body_unref(a);
	body_unref(b);
	body_unref(none);
	body_unref(one);
	body_unref(two);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_error_is_a_problem),
		cmocka_unit_test(says_all_that_it_knows),
		cmocka_unit_test(tells_versions_apart),
		cmocka_unit_test(joins_parts_to_an_array),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
