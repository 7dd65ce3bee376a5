/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request as a handler sees it: found, allowed, its body and query read by the route's rows. It
 * lives until its reply is sent; a handler that defers keeps the ticket and copies what it needs,
 * nothing else, since the request may be gone before the answer comes.
 * Owned by the HTTP thread of its connection.
 */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "http/router.h"

enum { REQUEST_ID_TEXT = 72 };

struct request {
	const struct route *route;
	const char *const *params; /* values of the path's ":name"s */
	const void *query;	   /* the struct of route->query; NULL when it has none */
	const void *body;	   /* the struct of route->body; NULL when it has none */
	void *context;		   /* server_options.context */
	uid_t uid;		   /* who asks */
	bool resumed;		   /* the handler had deferred it, and is called again */
	char id[REQUEST_ID_TEXT];  /* X-Request-Id */
};

/* Value of a header, NULL when there is none. Borrowed from the request. */
const char *request_header(const struct request *rq, const char *name);
/*
 * Suspend it: the handler then leaves *reply and *rq as they are and returns 0, and
 * pending_answer(ticket) answers; or pending_resume(ticket) has the handler called again. limit_ms:
 * after that the answer is 503; 0: none. Returns the ticket; 0 with an error when the server is
 * shutting down.
 */
uint64_t request_defer(struct request *rq, uint64_t limit_ms, struct error *err);
