/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GET /api/openapi.json: OpenAPI 3.1, printed from the routes and their rows, so that it cannot
 * differ from what is parsed and emitted. Made once, at the first request.
 */
#include <pthread.h>
#include <string.h>

#include "api/api.h"
#include "api/handlers.h"
#include "http/request.h"
#include "wire/problem.h"
#include "wire/task.h"

enum { PATH_BYTES = 128, METHOD_BYTES = 16 };

static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct body *document;

static json_t *reference(const char *schema)
{
	char text[96];

	snprintf(text, sizeof(text), "#/components/schemas/%s", schema);
	return json_pack("{s:s}", "$ref", text);
}

static json_t *content(const char *type, json_t *schema)
{
	return json_pack("{s:{s:o}}", type, "schema", schema);
}

/* "/a/:b/c" as "/a/{b}/c" (size bytes), with its parameters. */
static void template_of(const char *path, char *buf, size_t size, json_t *parameters)
{
	size_t n = 0, length;

	while (*path && n + 2 < size) {
		if (*path != ':') {
			buf[n++] = *path++;
			continue;
		}
		length = strcspn(++path, "/");
		n += (size_t)snprintf(buf + n, size - n, "{%.*s}", (int)length, path);
		json_array_append_new(parameters, json_pack("{s:s%, s:s, s:b, s:{s:s}}", "name",
							    path, length, "in", "path", "required",
							    1, "schema", "type", "string"));
		path += length;
	}
	buf[n < size ? n : size - 1] = '\0';
}

static void add_query(const struct row *rows, json_t *parameters)
{
	json_t *schema = rows_schema(rows, true), *fields = json_object_get(schema, "properties");
	json_t *help;

	for (const struct row *r = rows; r->kind; r++) {
		json_t *field = json_object_get(fields, r->name);

		help = json_incref(json_object_get(field, "description"));
		json_object_del(field, "description");
		json_array_append_new(parameters,
				      json_pack("{s:s, s:s, s:b, s:o, s:O}", "name", r->name, "in",
						"query", "required", r->flags & ROW_REQUIRED,
						"description", help, "schema", field));
	}
	json_decref(schema);
}

static json_t *header_schema(const char *description)
{
	return json_pack("{s:s, s:{s:s}}", "description", description, "schema", "type", "string");
}

static bool is_planned(const struct route *r)
{
	for (const struct row *row = r->query; row && row->kind; row++)
		if (!strcmp(row->name, "dry_run"))
			return true;
	return false;
}

/* A change that is a task may be answered before it is over. */
static bool is_task(const struct route *r)
{
	return is_planned(r) && !(r->flags & ROUTE_AT_ONCE);
}

static json_t *json_reply(const char *description, json_t *schema)
{
	return json_pack("{s:s, s:o}", "description", description, "content",
			 content("application/json", schema));
}

static json_t *answer_of(const struct route *r)
{
	json_t *schema = r->schema ? reference(r->schema) : json_pack("{s:s}", "type", "object");

	if (r->flags & ROUTE_MANY)
		return json_pack("{s:s, s:o}", "type", "array", "items", schema);
	return schema;
}

static void add_success(const struct route *r, json_t *replies)
{
	json_t *ok;

	if (r->flags & ROUTE_EMPTY)
		json_object_set_new(replies, "204", json_pack("{s:s}", "description", "Done"));
	if (r->flags & ROUTE_CREATES) {
		ok = json_reply("Made", answer_of(r));
		json_object_set_new(ok, "headers",
				    json_pack("{s:o}", "Location",
					      header_schema("Address of what was made")));
		json_object_set_new(replies, "201", ok);
	}
	if ((r->flags & ROUTE_EMPTY) && !is_planned(r))
		return;
	if (r->flags & ROUTE_EMPTY)
		ok = json_reply("The plan, if dry_run", reference("DryRun"));
	else if (is_planned(r))
		ok = json_reply("The answer; the plan, if dry_run",
				json_pack("{s:[o,o]}", "oneOf", answer_of(r), reference("DryRun")));
	else if (r->type)
		ok = json_pack("{s:s, s:o}", "description", "The answer", "content",
			       content(r->type, json_pack("{s:s}", "type", "string")));
	else
		ok = json_reply("The answer", answer_of(r));
	if (!strcmp(r->method, "GET"))
		json_object_set_new(
			ok, "headers",
			json_pack("{s:o}", "ETag",
				  header_schema("For If-None-Match: changes with the body")));
	json_object_set_new(replies, "200", ok);
}

static void add_accepted(json_t *replies)
{
	json_t *reply = json_reply("It goes on as a task", reference("Task"));

	json_object_set_new(reply, "headers",
			    json_pack("{s:o}", "Location", header_schema("Address of the task")));
	json_object_set_new(replies, "202", reply);
}

/* Headers that a change's request may have (change.h); Prefer only one that may take long. */
static void add_headers(const struct route *r, json_t *parameters)
{
	static const char *const rows[][2] = {
		{ "Prefer",
		  "wait=N: answer after N seconds at the latest; respond-async: at once" },
		{ "If-Plan", "digest of the plan of a dry run: 409 if it would now be another" },
	};

	for (size_t i = !is_task(r); i < ARRAY_SIZE(rows); i++)
		json_array_append_new(parameters,
				      json_pack("{s:s, s:s, s:b, s:s, s:{s:s}}", "name", rows[i][0],
						"in", "header", "required", 0, "description",
						rows[i][1], "schema", "type", "string"));
}

static json_t *problem_reply(const char *description)
{
	return json_pack("{s:s, s:o}", "description", description, "content",
			 content("application/problem+json", reference("Problem")));
}

static json_t *replies_of(const struct route *r)
{
	json_t *replies = json_object();

	add_success(r, replies);
	if (is_task(r))
		add_accepted(replies);
	if (!strcmp(r->method, "GET"))
		json_object_set_new(replies, "304",
				    json_pack("{s:s}", "description", "As in If-None-Match"));
	json_object_set_new(replies, "4XX", problem_reply("The request is wrong, or refused"));
	json_object_set_new(replies, "5XX", problem_reply("Something here does not work"));
	return replies;
}

static json_t *operation_of(const struct route *r)
{
	json_t *o = json_pack("{s:s, s:s}", "operationId", r->name, "summary", r->summary);
	json_t *parameters = json_array(), *body;

	if (r->query)
		add_query(r->query, parameters);
	if (is_planned(r))
		add_headers(r, parameters);
	if (json_array_size(parameters))
		json_object_set(o, "parameters", parameters);
	json_decref(parameters);
	if (r->body) {
		body = content("application/json", rows_schema(r->body, true));
		json_object_set_new(o, "requestBody", json_pack("{s:o}", "content", body));
	}
	json_object_set_new(o, "responses", replies_of(r));
	return o;
}

static const char *lower(const char *method, char buf[static METHOD_BYTES])
{
	size_t n = 0;

	for (; method[n] && n + 1 < METHOD_BYTES; n++)
		buf[n] = (char)(method[n] | 0x20);
	buf[n] = '\0';
	return buf;
}

static json_t *paths(void)
{
	json_t *out = json_object(), *path, *parameters;
	char name[PATH_BYTES], method[METHOD_BYTES];

	for (const struct route *r = api_routes; r < api_routes + api_routes_n; r++) {
		parameters = json_array();
		template_of(r->path, name, sizeof(name), parameters);
		path = json_object_get(out, name);
		if (!path) {
			path = json_object();
			if (json_array_size(parameters))
				json_object_set(path, "parameters", parameters);
			json_object_set_new(out, name, path);
		}
		json_decref(parameters);
		json_object_set_new(path, lower(r->method, method), operation_of(r));
	}
	return out;
}

static json_t *schemas(void)
{
	json_t *out = json_object();

	for (const struct route *r = api_routes; r < api_routes + api_routes_n; r++)
		if (r->schema && !json_object_get(out, r->schema))
			json_object_set_new(out, r->schema, rows_schema(r->answer, false));
	json_object_set_new(out, "DryRun", rows_schema(wire_dry_run_rows, false));
	json_object_set_new(out, "Problem", rows_schema(wire_problem_rows, false));
	return out;
}

static void make(void)
{
	json_t *info = json_pack("{s:s, s:s, s:s, s:{s:s, s:s}}", "title", "Horcrux", "version",
				 HORCRUX_VERSION, "description",
				 "Gives graphics cards to virtual machines, and takes them back.",
				 "license", "name", "Apache-2.0", "identifier", "Apache-2.0");

	document = body_json(TYPE_JSON,
			     json_pack("{s:s, s:o, s:[{s:s}], s:[], s:o, s:{s:o}}", "openapi",
				       "3.1.0", "info", info, "servers", "url", "/", "security",
				       "paths", paths(), "components", "schemas", schemas()));
}

int openapi_show(struct request *rq, struct reply *reply, struct error *err)
{
	(void)rq, (void)err;
	pthread_once(&once, make);
	*reply = reply_resource(body_ref(document));
	return 0;
}
