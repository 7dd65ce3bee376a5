/* SPDX-License-Identifier: Apache-2.0 */
/* Tasks: what is being done, what was done, and ending it. HTTP threads; nothing blocks. */
#include "api/api.h"
#include "api/change.h"
#include "api/handlers.h"
#include "http/request.h"
#include "plan/task.h"
#include "wire/change.h"

static struct engine *engine_of(const struct request *rq, struct error *err)
{
	const struct api *api = rq->context;

	if (!api->engine)
		error_set(err, ERROR_UNREACHABLE, "the daemon is still starting");
	return api->engine;
}

static int no_task(const struct request *rq, struct error *err)
{
	error_set(err, ERROR_NOT_FOUND, "there is no task %.60s", rq->params[0]);
	return error_hint(err, "the last %d are kept, at most for 7 days and until the daemon is restarted; one that had "
			       "not begun by then was not done", TASK_KEPT);
}

int tasks_list(struct request *rq, struct reply *reply, struct error *err)
{
	const struct wire_task_query *query = rq->query;
	struct engine *engine = engine_of(rq, err);

	if (!engine)
		return -1;
	*reply = reply_resource(body_json(TYPE_JSON, task_list(engine, query->state)));
	return 0;
}

static int show(const struct request *rq, struct engine *engine, struct reply *reply, bool resource,
		struct error *err)
{
	CLEANUP(task_unrefp) struct task *task = task_find(engine, rq->params[0]);

	if (!task)
		return no_task(rq, err);
	*reply = reply_resource(body_json(TYPE_JSON, task_emit(task)));
	reply->resource = resource;
	return 0;
}

int tasks_show(struct request *rq, struct reply *reply, struct error *err)
{
	struct engine *engine = engine_of(rq, err);

	return engine ? show(rq, engine, reply, true, err) : -1;
}

static int plan_cancel(const struct request *rq, struct engine *engine, struct reply *reply,
		       struct error *err)
{
	CLEANUP(plan_freep) struct plan *plan = task_cancel_plan(engine, rq->params[0], err);

	if (!plan)
		return -1;
	return change_planned(rq, plan, reply, err) < 0 ? -1 : 0;
}

int tasks_cancel(struct request *rq, struct reply *reply, struct error *err)
{
	const struct wire_change_query *query = rq->query;
	struct engine *engine = engine_of(rq, err);

	if (!engine)
		return -1;
	if (query->dry_run == 1)
		return plan_cancel(rq, engine, reply, err);
	if (task_cancel(engine, rq->params[0], request_header(rq, "If-Plan"), err) < 0)
		return -1;
	return show(rq, engine, reply, false, err);
}
