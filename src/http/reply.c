/* SPDX-License-Identifier: Apache-2.0 */
/* See reply.h. */
#include "http/reply.h"

#include "wire/problem.h"

void reply_finish(struct reply *reply)
{
	body_unref(reply->body);
	*reply = (struct reply){ 0 };
}

struct reply reply_resource(struct body *body)
{
	return (struct reply){ .status = 200, .body = body, .resource = true };
}

struct reply reply_problem(const struct error *err, const struct list *refusals, const char *task)
{
	struct wire_problem problem;

	wire_problem_of(err, refusals, task, &problem);
	return (struct reply){
		.status = (int)problem.status,
		.body = body_json(TYPE_PROBLEM, rows_emit(wire_problem_rows, &problem)),
	};
}
