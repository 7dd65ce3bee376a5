/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tasks as others see them: handing in, waiting, asking, cancelling; and their states. See task.h.
 * All under engine_lock.
 */
#include "plan/task.h"

#include <assert.h>
#include <string.h>

#include "plan/engine.h"

/* from -> to */
static const bool moves[TASK_STATES][TASK_STATES] = {
	[TASK_QUEUED] = { [TASK_RUNNING] = true, [TASK_SUCCEEDED] = true, [TASK_FAILED] = true,
			  [TASK_CANCELLED] = true },
	[TASK_RUNNING] = { [TASK_SUCCEEDED] = true, [TASK_FAILED] = true, [TASK_CANCELLED] = true,
			   [TASK_ROLLED_BACK] = true, [TASK_STUCK] = true },
	[TASK_STUCK] = { [TASK_SUCCEEDED] = true, [TASK_FAILED] = true, [TASK_CANCELLED] = true,
			 [TASK_ROLLED_BACK] = true },
};

bool task_may_move(enum task_state from, enum task_state to)
{
	return moves[from][to];
}

bool task_ended(const struct task *task)
{
	return task->state != TASK_QUEUED && task->state != TASK_RUNNING;
}

void task_move(struct task *task, enum task_state to)
{
	if (!task_may_move(task->state, to)) {
		assert(!"a move between task states that the table does not have");
		abort();
	}
	task->state = to;
	if (to == TASK_RUNNING)
		time_now(task->started_at);
	else
		time_now(task->ended_at);
}

/* ---- birth and death ---- */

static void copy_options(struct task *task, const struct task_options *options)
{
	struct arena *arena = task->arena;
	const char **codes = options->accept.items;

	task->options.dry_run = options->dry_run;
	task->options.if_plan = arena_strdup(arena, options->if_plan);
	task->options.requested_by = arena_strdup(arena, options->requested_by);
	task->options.request_id = arena_strdup(arena, options->request_id);
	for (size_t i = 0; i < options->accept.n; i++)
		list_add_string(arena, &task->options.accept, arena_strdup(arena, codes[i]));
}

struct task *task_new(struct engine *engine, const char *id, const struct operation *operation,
		      void *request, const struct task_options *options)
{
	struct task *task = calloc(1, sizeof(*task));

	if (!task)
		abort();
	atomic_init(&task->refs, 1);
	task->engine = engine;
	task->operation = operation;
	task->request = request;
	task->job.urgent = operation && operation->urgent;
	task->arena = arena_new();
	copy_options(task, options);
	if (id)
		snprintf(task->id, sizeof(task->id), "%s", id);
	else
		id_short("task-", task->id);
	return task;
}

struct task *task_ref(struct task *task)
{
	atomic_fetch_add_explicit(&task->refs, 1, memory_order_relaxed);
	return task;
}

void task_texts_finish(struct task_texts *texts)
{
	free(texts->refusals);
	free(texts->plan);
	free(texts->result);
	free(texts->warnings);
	*texts = (struct task_texts){ 0 };
}

/* Nobody else has it any more, so nothing of it needs the lock. */
static void task_free(struct task *task) THREAD_SAFETY(no_thread_safety_analysis);
static void task_free(struct task *task)
{
	if (task->request && task->operation->free)
		task->operation->free(task->request);
	run_free(task->run);
	task_texts_finish(&task->texts);
	arena_free(task->lock_arena);
	arena_free(task->arena);
	free(task);
}

void task_unref(struct task *task)
{
	/* The last one sees all that the others did. */
	if (task && atomic_fetch_sub_explicit(&task->refs, 1, memory_order_acq_rel) == 1)
		task_free(task);
}

void task_set_locks(struct task *task, const struct list *a, const struct list *b)
{
	struct plan *all = plan_new();	/* its locks are sorted, each once */
	const struct list *lists[] = { a, b };
	struct list locks = { 0 };
	const char **names;

	for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
		for (size_t n = 0; lists[i] && n < lists[i]->n; n++)
			plan_lock(all, "%s", ((const char **)lists[i]->items)[n]);
	names = all->locks.items;
	arena_free(task->lock_arena);
	task->lock_arena = arena_new();
	for (size_t n = 0; n < all->locks.n; n++)
		list_add_string(task->lock_arena, &locks, arena_strdup(task->lock_arena, names[n]));
	task->locks = locks;
	plan_free(all);
}

static struct waiter *waiter_new(struct task *task, const struct task_watch *watch)
{
	struct waiter *waiter = calloc(1, sizeof(*waiter));

	if (!waiter)
		abort();
	*waiter = (struct waiter){ .task = task_ref(task), .stage = watch->stage,
				   .callback = watch->callback, .data = watch->data,
				   .until = time_monotonic_ms() + watch->ms };
	return waiter;
}

static void add_waiter(struct task *task, struct waiter *waiter) REQUIRES(engine_lock)
{
	waiter->next = task->waiters;
	task->waiters = waiter;
	task->n_waiters++;
	engine_arm(task->engine, waiter->until);
}

struct task *task_submit(struct engine *engine, const struct operation *operation, void *request,
			 const struct task_options *options, struct error *err)
{
	struct task *task = task_new(engine, NULL, operation, request, options);
	struct waiter *waiter = options->watch ? waiter_new(task, options->watch) : NULL;
	struct after after = { 0 };
	bool stopping, full;

	lock_take(&engine_lock);
	stopping = engine->stopping;
	full = engine->unfinished >= TASK_UNFINISHED && !operation->urgent;
	if (!stopping && !full) {
		engine_list_task(engine, task);
		schedule_ready(task, &after);
		task->phase = PHASE_FIRST;
		if (waiter)
			add_waiter(task, waiter);
	}
	lock_give(&engine_lock);
	after_run(engine, &after);
	if (!stopping && !full)
		return task;
	if (waiter)
		task_unref(waiter->task);
	free(waiter);
	task_unref(task);
	if (stopping)
		error_set(err, ERROR_CONFLICT, "the daemon is stopping");
	else
		error_set(err, ERROR_TOO_MANY, "%d tasks are not over yet", TASK_UNFINISHED);
	error_hint(err, "ask again in a while");
	return NULL;
}

/* ---- waiting ---- */

static void fire(struct task *task, struct waiter **at, bool reached, struct after *after)
	REQUIRES(engine_lock)
{
	struct waiter *waiter = *at;

	*at = waiter->next;
	task->n_waiters--;
	waiter->reached = reached;
	waiter->next = after->fire;
	after->fire = waiter;
}

static bool stage_reached(const struct task *task, enum task_stage stage) REQUIRES(engine_lock)
{
	return stage == TASK_PLANNED ? task->planned : task_ended(task);
}

void task_release_waiters(struct task *task, bool stopping, struct after *after)
{
	struct waiter **at = &task->waiters;

	while (*at) {
		if (stage_reached(task, (*at)->stage))
			fire(task, at, true, after);
		else if (stopping)
			fire(task, at, false, after);
		else
			at = &(*at)->next;
	}
}

void task_expire_waiters(struct task *task, uint64_t now, struct after *after)
{
	struct waiter **at = &task->waiters;

	while (*at) {
		if ((*at)->until <= now)
			fire(task, at, false, after);
		else
			at = &(*at)->next;
	}
}

int task_wait(struct task *task, enum task_stage stage, unsigned ms,
	      void (*callback)(void *data, struct task *task, bool reached), void *data,
	      struct error *err)
{
	const struct task_watch watch = { stage, ms, callback, data };
	struct waiter *waiter = waiter_new(task, &watch);
	bool reached, listed, full;

	lock_take(&engine_lock);
	reached = stage_reached(task, stage);
	full = task->n_waiters >= TASK_WAITERS;
	listed = task->listed && !task->engine->stopping;
	if (!reached && listed && !full) {
		add_waiter(task, waiter);
		waiter = NULL;
	}
	lock_give(&engine_lock);
	if (!waiter)
		return 0;
	free(waiter);
	if (reached || !listed)
		callback(data, task, reached);
	task_unref(task);
	if (reached || !listed)
		return 0;
	error_set(err, ERROR_TOO_MANY, "%d others wait for this task already", TASK_WAITERS);
	return error_hint(err, "ask for the task now and then");
}

/* ---- asking ---- */

static char *copy(const char *text)
{
	char *copied = text ? strdup(text) : NULL;

	if (text && !copied)
		abort();
	return copied;
}

static void copy_texts(const struct task_texts *from, struct task_texts *to)
{
	*to = (struct task_texts){ copy(from->refusals), copy(from->plan), copy(from->result),
				   copy(from->warnings) };
}

static json_t *parse(const char *text)
{
	return text ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;
}

void task_outcome(struct task *task, struct task_outcome *ret)
{
	struct task_texts texts;

	lock_take(&engine_lock);
	*ret = (struct task_outcome){
		.state = task->state,
		.ended = task_ended(task),
		.kept = task->kept,
		.dry_run = task->options.dry_run,
		.changed = task->changed,
		.error = task->error,
	};
	copy_texts(&task->texts, &texts);
	lock_give(&engine_lock);
	ret->refusals = parse(texts.refusals);
	ret->plan = parse(texts.plan);
	ret->result = TAKE_PTR(texts.result);
	ret->warnings = parse(texts.warnings);
	task_texts_finish(&texts);
}

void task_outcome_finish(struct task_outcome *outcome)
{
	json_decref(outcome->refusals);
	json_decref(outcome->plan);
	free(outcome->result);
	json_decref(outcome->warnings);
	*outcome = (struct task_outcome){ 0 };
}

const char *task_id(const struct task *task)
{
	return task->id;
}

const char *task_request_id(const struct task *task)
{
	return task->options.request_id;
}

const struct operation *task_operation(const struct task *task)
{
	return task->operation;
}

bool task_has_lock(const struct task *task, const char *lock)
{
	const char **names = task->locks.items;

	for (size_t i = 0; i < task->locks.n; i++)
		if (!strcmp(names[i], lock))
			return true;
	return false;
}

bool task_turned(struct task *task)
{
	bool turned;

	lock_take(&engine_lock);
	turned = task->turned || task_ended(task);
	lock_give(&engine_lock);
	return turned;
}

struct task *task_under(struct engine *engine, const char *lock)
{
	struct task *task, *found = NULL;

	lock_take(&engine_lock);
	TAILQ_FOREACH(task, &engine->queue, queue) {
		if (task->state == TASK_STUCK || !task_has_lock(task, lock))
			continue;
		if (!found || (task->holding && !found->holding))
			found = task;
	}
	if (found)
		task_ref(found);
	lock_give(&engine_lock);
	return found;
}

struct task *task_find(struct engine *engine, const char *id)
{
	struct task *task, *found = NULL;

	lock_take(&engine_lock);
	TAILQ_FOREACH(task, &engine->all, all)
		if (task->kept && !found && !strcmp(task->id, id))
			found = task_ref(task);
	lock_give(&engine_lock);
	return found;
}

/* What one look under the lock takes with it. */
struct picture {
	struct wire_task wire;
	struct error error;
	struct list locks;
	char title[TASK_TEXT], message[TASK_TEXT], started_at[TIME_TEXT], ended_at[TIME_TEXT];
	struct task_texts texts;
};

/* Steps that are done, of all. Going back, or stuck, nobody can tell how far it is. */
static int64_t percent(const struct task *task) REQUIRES(engine_lock)
{
	switch (task->state) {
	case TASK_SUCCEEDED:
		return 100;
	case TASK_QUEUED:
		return 0;
	case TASK_RUNNING:
		break;
	default:
		return ROW_NULL;
	}
	if (task->back || (!task->operation && !task->step))
		return ROW_NULL;
	return task->step ? (int64_t)((task->step - 1) * 100 / task->steps) : 0;
}

static void take_picture(struct task *task, struct arena *arena, struct picture *p)
	REQUIRES(engine_lock)
{
	const char **names = task->locks.items;

	rows_clear(wire_task_rows, &p->wire);
	p->wire.state = (int)task->state;
	p->wire.step = (int64_t)task->step;
	p->wire.steps = (int64_t)task->steps;
	p->wire.percent = percent(task);
	p->error = task->error;
	copy_texts(&task->texts, &p->texts);
	memcpy(p->title, task->title, sizeof(p->title));
	memcpy(p->message, task->message, sizeof(p->message));
	memcpy(p->started_at, task->started_at, sizeof(p->started_at));
	memcpy(p->ended_at, task->ended_at, sizeof(p->ended_at));
	for (size_t i = 0; i < task->locks.n; i++)
		list_add_string(arena, &p->locks, arena_strdup(arena, names[i]));
}

static const char *or_null(const char *text)
{
	return text[0] ? text : NULL;
}

static json_t *emit_picture(const struct task *task, struct picture *p)
{
	json_t *refusals = parse(p->texts.refusals), *result = parse(p->texts.result), *json;
	struct wire_problem problem;

	p->wire.id = task->id;
	p->wire.title = p->title;
	p->wire.message = or_null(p->message);
	p->wire.started_at = or_null(p->started_at);
	p->wire.ended_at = or_null(p->ended_at);
	p->wire.result = result;
	p->wire.resources = p->locks;
	p->wire.requested_by = task->options.requested_by;
	if (p->error.code) {
		wire_problem_of(&p->error, NULL, task->id, &problem);
		p->wire.problem = &problem;
	}
	json = rows_emit(wire_task_rows, &p->wire);
	if (p->error.code && refusals)
		json_object_set(json_object_get(json, "problem"), "refusals", refusals);
	json_decref(refusals);
	json_decref(result);
	task_texts_finish(&p->texts);
	return json;
}

json_t *task_emit(struct task *task)
{
	CLEANUP(arena_freep) struct arena *arena = arena_new();
	struct picture picture = { 0 };

	lock_take(&engine_lock);
	take_picture(task, arena, &picture);
	lock_give(&engine_lock);
	return emit_picture(task, &picture);
}

json_t *task_list(struct engine *engine, int state)
{
	CLEANUP(arena_freep) struct arena *arena = arena_new();
	json_t *array = json_array();
	struct list found = { 0 };
	struct task *task;

	lock_take(&engine_lock);
	TAILQ_FOREACH(task, &engine->all, all)
		if (task->kept && (state < 0 || (int)task->state == state))
			*list_add(arena, &found, struct task *) = task_ref(task);
	lock_give(&engine_lock);
	for (LIST_EACH(struct task *, at, &found)) {
		json_array_append_new(array, task_emit(*at));
		task_unref(*at);
	}
	return array;
}

/* ---- cancelling ---- */

struct cancel_step {
	const char *task;
	int64_t begun;	/* steps that it has begun */
	int stuck;
};

static const struct row cancel_rows[] = {
	{ "task", ROW_STRING, ROW_REQUIRED, offsetof(struct cancel_step, task) },
	{ "begun", ROW_INT, ROW_REQUIRED, offsetof(struct cancel_step, begun) },
	{ "stuck", ROW_BOOL, ROW_REQUIRED, offsetof(struct cancel_step, stuck) },
	ROW_END,
};

static const char *cancel_text(const void *args, struct arena *arena)
{
	const struct cancel_step *s = args;

	if (s->stuck)
		return arena_printf(arena, "look at %s again", s->task);
	if (!s->begun)
		return arena_printf(arena, "end %s before it begins", s->task);
	return arena_printf(arena, "end %s and undo what it did, in %lld step%s so far", s->task,
			    (long long)s->begun, s->begun == 1 ? "" : "s");
}

/* For a plan to be shown with; in no table, since nothing runs it. */
static const struct step_kind cancel_kind = {
	.name = "cancel", .args = cancel_rows, .args_size = sizeof(struct cancel_step), .text = cancel_text
};

/* NULL, or why it cannot be. */
static const char *why_not_cancel(const struct task *task) REQUIRES(engine_lock)
{
	if (task->engine->stopping)
		return "the daemon is stopping";
	if (task->phase == PHASE_OVER)
		return "it is over";
	if (task->state == TASK_STUCK)
		return task->active ? NULL : "it cannot be gone on with";
	if (task->settled || (task->active && atomic_load(&task->active->final)))
		return "it is past the point where it could be cancelled";
	return NULL;
}

/* What it comes to; 0, or -1 when it cannot be. */
static int plan_cancel(const struct task *task, struct plan *plan, struct error *err)
	REQUIRES(engine_lock)
{
	const struct cancel_step step = { task->id, (int64_t)task->step, task->state == TASK_STUCK };
	const char *why = why_not_cancel(task);

	if (why)
		return error_set(err, ERROR_CONFLICT, "%s cannot be cancelled: %s", task->id, why);
	plan_title(plan, "cancel %s (%s)", task->id, task->title);
	plan_step(plan, &cancel_kind, &step);
	return plan_digest(plan, err);
}

static void cancel_one(struct task *task, struct after *after) REQUIRES(engine_lock)
{
	if (task->state == TASK_STUCK) {
		schedule_again(task);
		return;
	}
	task->cancel = true;
	if (task->active) {
		atomic_store(&task->active->cancel, true);
		schedule_wake(task, after);
	} else if (task->phase == PHASE_QUEUED) {	/* its thread finds the flag and ends it */
		schedule_ready(task, after);
	}
}

static int no_task(const char *id, struct error *err)
{
	return error_set(err, ERROR_NOT_FOUND, "there is no task \"%.40s\"", id);
}

int task_cancel(struct engine *engine, const char *id, const char *if_plan, struct error *err)
{
	CLEANUP(task_unrefp) struct task *task = task_find(engine, id);
	CLEANUP(plan_freep) struct plan *plan = plan_new();
	struct after after = { 0 };
	int r;

	if (!task)
		return no_task(id, err);
	lock_take(&engine_lock);
	r = plan_cancel(task, plan, err);
	if (!r)
		r = plan_expected(plan, if_plan, err);
	if (!r) {
		cancel_one(task, &after);
		schedule(engine, &after);
	}
	lock_give(&engine_lock);
	after_run(engine, &after);
	return r;
}

struct plan *task_cancel_plan(struct engine *engine, const char *id, struct error *err)
{
	CLEANUP(task_unrefp) struct task *task = task_find(engine, id);
	CLEANUP(plan_freep) struct plan *plan = plan_new();
	int r = -1;

	if (!task) {
		no_task(id, err);
		return NULL;
	}
	lock_take(&engine_lock);
	r = plan_cancel(task, plan, err);
	lock_give(&engine_lock);
	return r < 0 ? NULL : TAKE_PTR(plan);
}
