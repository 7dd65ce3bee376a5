/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See change.h. The engine calls back once, when the task ended or the wait is over; whether
 * anybody still waits for the answer is pending.h's business.
 */
#include "api/change.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "api/api.h"
#include "http/pending.h"
#include "wire/problem.h"

enum { WAIT_DEFAULT_S = 30, WAIT_MAX_S = 300, PLANNING_MS = 30 * 1000 };

/* One answer that is being waited for; freed by the callback. */
struct waiter {
	uint64_t ticket;
	const struct route *route;
	struct preference preference;
};

/* ---- Prefer (RFC 7240) ---- */

static bool is_word(const char *text, size_t n, const char *word)
{
	return n == strlen(word) && !strncasecmp(text, word, n);
}

static void take_preference(const char *text, size_t n, struct preference *p, bool *waits)
{
	unsigned long seconds;
	char *end;

	if (is_word(text, n, "respond-async"))
		p->async = true;
	if (n < 6 || strncasecmp(text, "wait=", 5) || !isdigit((unsigned char)text[5]))
		return;
	seconds = strtoul(text + 5, &end, 10);
	if (end != text + n)
		return;
	p->wait_ms = (unsigned)(seconds > WAIT_MAX_S ? WAIT_MAX_S : seconds) * 1000;
	*waits = true;
}

struct preference change_preference(const char *prefer)
{
	struct preference p = { .wait_ms = WAIT_DEFAULT_S * 1000 };
	bool waits = false;
	size_t n;

	while (prefer && *prefer) {
		prefer += strspn(prefer, " \t,;");
		n = strcspn(prefer, " \t,;");
		take_preference(prefer, n, &p, &waits);
		prefer += n;
	}
	if (p.async && !waits)
		p.wait_ms = 0;
	return p;
}

/* ---- answers ---- */

static struct reply json_reply(int status, json_t *json)
{
	return (struct reply){ .status = status, .body = body_json(TYPE_JSON, json) };
}

static struct reply problem_reply(const struct task_outcome *outcome, const char *task)
{
	struct wire_problem problem;
	json_t *json;

	wire_problem_of(&outcome->error, NULL, task, &problem);
	json = rows_emit(wire_problem_rows, &problem);
	if (outcome->refusals)
		json_object_set(json, "refusals", outcome->refusals);
	return (struct reply){ .status = (int)problem.status,
			       .body = body_json(TYPE_PROBLEM, json) };
}

static struct reply accepted_reply(struct task *task)
{
	struct reply reply = json_reply(202, task_emit(task));

	snprintf(reply.location, sizeof(reply.location), "/api/tasks/%s", task_id(task));
	return reply;
}

/* What the plan warned of stands with what the resource itself warns of, where it has a place for
 * that. */
static void add_warnings(json_t *result, const json_t *warnings)
{
	json_t *array = json_object_get(result, "warnings"), *text, *there;
	size_t i, k;
	bool told;

	if (!json_is_array(array))
		return;
	json_array_foreach (warnings, i, text) {
		told = false;
		json_array_foreach (array, k, there)
			told = told || json_equal(there, text);
		if (!told)
			json_array_append(array, text);
	}
}

/* Of what is as it was asked for, nothing has to be looked into. */
static struct reply as_it_is(const char *result)
{
	struct strbuf text = STRBUF_INIT(strlen(result));

	strbuf_add(&text, result);
	return (struct reply){ .status = 200, .body = body_text(TYPE_JSON, &text) };
}

static struct reply success_reply(const struct task_outcome *outcome, const struct route *route)
{
	bool made = (route->flags & ROUTE_CREATES) && outcome->changed;
	struct reply reply;
	const char *id;
	json_t *result;

	if (route->flags & ROUTE_EMPTY)
		return (struct reply){ .status = 204 };
	if (!made && !outcome->warnings)
		return as_it_is(outcome->result ?: "null");
	result = outcome->result ? json_loads(outcome->result, JSON_DECODE_ANY, NULL) : json_null();
	add_warnings(result, outcome->warnings);
	reply = json_reply(made ? 201 : 200, json_incref(result));
	id = json_string_value(json_object_get(result, "id"));
	if (made && id)
		snprintf(reply.location, sizeof(reply.location), "%s/%s", route->path, id);
	json_decref(result);
	return reply;
}

static struct reply reply_of(struct task *task, const struct waiter *waiter)
{
	struct task_outcome outcome;
	struct reply reply;

	task_outcome(task, &outcome);
	if (outcome.error.code != ERROR_NONE && (outcome.ended || !outcome.kept))
		reply = problem_reply(&outcome, outcome.kept ? task_id(task) : NULL);
	else if (outcome.dry_run && outcome.plan)
		reply = json_reply(200, json_incref(outcome.plan));
	else if (outcome.ended)
		reply = success_reply(&outcome, waiter->route);
	else
		reply = accepted_reply(task);
	task_outcome_finish(&outcome);
	return reply;
}

static void answer(struct waiter *waiter, struct task *task)
{
	struct reply reply = reply_of(task, waiter);

	pending_answer(waiter->ticket, &reply);
	reply_finish(&reply);
	free(waiter);
}

static void on_ended(void *data, struct task *task, bool reached)
{
	(void)reached; /* 202 says itself that it goes on */
	answer(data, task);
}

/* Planned at least: then refusals can be told, also to who does not want to wait. */
static void on_planned(void *data, struct task *task, bool reached)
{
	struct waiter *waiter = data;
	struct error err;

	if (!reached || !waiter->preference.wait_ms ||
	    task_wait(task, TASK_ENDED, waiter->preference.wait_ms, on_ended, waiter, &err) < 0)
		answer(waiter, task);
}

/* ---- the request ---- */

static void set_options(const struct request *rq, const struct wire_change_query *query,
			const struct list *accept, char *who, size_t size,
			struct task_options *options)
{
	snprintf(who, size, "uid %u", (unsigned)rq->uid);
	*options = (struct task_options){
		.dry_run = query && query->dry_run == 1,
		.if_plan = request_header(rq, "If-Plan"),
		.requested_by = who,
		.request_id = rq->id,
	};
	if (accept && !accept->null)
		options->accept = *accept;
}

/* Passed over, it would lose what the caller wants to be safe of losing. */
static int not_understood(struct error *err)
{
	error_set(err, ERROR_BAD_REQUEST,
		  "If-Match is not understood by this version, so nothing was changed");
	return error_hint(err, "send If-Plan with the digest of a dry run instead: it is refused when "
			       "anything that matters has changed since");
}

int change_submit(struct request *rq, const struct operation *operation, void *request,
		  const struct wire_change_query *query, const struct list *accept,
		  struct error *err)
{
	const struct api *api = rq->context;
	CLEANUP(task_unrefp) struct task *task = NULL;
	struct preference preference = change_preference(request_header(rq, "Prefer"));
	struct task_watch watch = { TASK_PLANNED, PLANNING_MS, on_planned, NULL };
	struct task_options options;
	struct waiter *waiter;
	struct reply reply;
	char who[32];

	if (!api->engine) {
		operation->free(request);
		return error_set(err, ERROR_UNREACHABLE, "the daemon is still starting");
	}
	if (request_header(rq, "If-Match")) {
		operation->free(request);
		return not_understood(err);
	}
	set_options(rq, query, accept, who, sizeof(who), &options);
	waiter = malloc(sizeof(*waiter));
	if (!waiter)
		abort();
	*waiter = (struct waiter){ .route = rq->route, .preference = preference };
	watch.data = waiter;
	options.watch = &watch;
	/* the task may answer at any time from its birth on; rq is this thread's until it returns */
	waiter->ticket = request_defer(rq, 0, err);
	if (!waiter->ticket) {
		operation->free(request);
		free(waiter);
		return -1;
	}
	task = task_submit(api->engine, operation, request, &options, err);
	if (task)
		return 0;
	reply = reply_problem(err, NULL, NULL);
	pending_answer(waiter->ticket, &reply);
	free(waiter);
	return 0;
}

int change_planned(const struct request *rq, struct plan *plan, struct reply *reply, struct error *err)
{
	const struct wire_change_query *query = rq->query;

	if (plan_digest(plan, err) < 0)
		return -1;
	if (query->dry_run != 1)
		return plan_expected(plan, request_header(rq, "If-Plan"), err);
	*reply = json_reply(200, plan_emit(plan));
	return 1;
}
