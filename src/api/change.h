/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changes: a request becomes a task, and the answer waits for it as long as the caller wants
 * (Prefer: wait=N, respond-async; api.md "Long work"). HTTP threads; nothing blocks.
 */
#pragma once

#include "http/request.h"
#include "plan/task.h"
#include "wire/change.h"

/*
 * Hand `request` (owned by the task from here, also on failure) to the engine and defer the answer:
 * the resource, the plan of a dry run, the problem with all refusals, or 202 with the task. accept may
 * be NULL or null. Returns what the handler returns.
 */
int change_submit(struct request *rq, const struct operation *operation, void *request,
		  const struct wire_change_query *query, const struct list *accept,
		  struct error *err);

/*
 * For a change that becomes no task. 1: it was a dry run, and *reply is the plan; 0: go on; -1: plan_changed,
 * or the plan is broken.
 */
int change_planned(const struct request *rq, struct plan *plan, struct reply *reply, struct error *err);

/* What Prefer asks for; words that are not understood do not count (RFC 7240). Pure. */
struct preference {
	unsigned wait_ms;	/* for the end of the task; then 202 */
	bool async;
};
struct preference change_preference(const char *prefer);
