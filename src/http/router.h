/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Routes: one const table of rows sorted by path and method, from which requests are dispatched
 * and openapi.json is printed. A segment ":name" of a path stands for any one segment; where a
 * literal segment fits too, the literal wins. Pure; any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/rows.h"
#include "http/reply.h"
#include "http/target.h"

enum { ROUTE_PARAMS = 3, ALLOW_TEXT = 64 };

struct request;

/*
 * Answers a request on an HTTP thread, so it must not block: it sets *reply and returns 0; or it
 * returns -1 with the error; or it calls request_defer() and returns 0, and somebody else
 * answers later.
 */
typedef int route_handler(struct request *rq, struct reply *reply, struct error *err);

enum route_flag {
	ROUTE_CHANGES = 1, /* who asks is looked at again straight before the handler runs */
	ROUTE_MANY = 2,	   /* the answer is an array of `answer` */
	ROUTE_CREATES = 4, /* success is 201 */
	ROUTE_EMPTY = 8,   /* success is 204 */
	ROUTE_AT_ONCE = 16, /* a change that becomes no task: it is over when it is answered */
};

struct route {
	const char *path;   /* "/api/gpu/devices/:pci" */
	const char *method; /* HEAD goes where GET goes */
	route_handler *handler;
	unsigned flags;
	const char *name;	 /* operationId */
	const char *summary;	 /* one line */
	const struct row *query; /* NULL: it takes no parameters */
	size_t query_size;
	const struct row *body; /* NULL: it takes none but an empty object */
	size_t body_size;
	const char *schema; /* name of the answer's schema; NULL: any JSON */
	const struct row *answer;
	const char *type; /* media type of the answer; NULL: JSON */
};

struct match {
	const struct route *route;
	const char *params[ROUTE_PARAMS]; /* in the order of the ":name"s, borrowed from target */
	char allow[ALLOW_TEXT];		  /* methods of the path, as for Allow */
};

/*
 * Find the row. Errors: not_found; method_not_allowed (then out->allow says what is). The method is
 * matched as it stands: methods are case-sensitive.
 */
int router_find(const struct route *routes, size_t n, const char *method,
		const struct target *target, struct match *out, struct error *err);
