/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a task's thread does: plan for the first time, plan again with the locks held, run, and end.
 * The thread owns the task's request, plan and run meanwhile; everything others can see is set
 * under engine_lock.
 */
#include <string.h>

#include "plan/engine.h"

enum { STUCK_RETRY_MS = 30000 };	/* news of it may have been missed */

/* ---- planning ---- */

/* Whatever the planner knows: what a stuck task holds is not touched. */
static void refuse_stuck(struct task *task, struct plan *plan)
{
	const char **names = plan->locks.items, *why;

	for (size_t i = 0; i < plan->locks.n; i++)
		if (engine_stuck(task->engine, names[i], plan->arena, &why))
			plan_refuse(plan, REFUSE_STUCK, names[i],
				    "an earlier change of it has not come back", why,
				    "wait for it, or look at that task; if it never comes back, "
				    "only a reboot "
				    "helps");
}

static int make_plan(struct task *task, bool locked, struct plan *plan, struct error *err)
{
	void *services = task->engine->config.services;

	if (task->operation->plan(task->request, services, locked, plan, err) < 0) {
		if (!err->code)
			error_set(err, ERROR_INTERNAL, "%s cannot be planned, and does not say why",
				  task->operation->name);
		return -1;
	}
	refuse_stuck(task, plan);
	if (plan_accept(plan, &task->options.accept, err) < 0)
		return -1;
	/* which only those see who ask for it */
	return task->options.dry_run || task->options.if_plan ? plan_digest(plan, err)
							      : plan_whole(plan, err);
}

/* 0: it may run. -1: why not. */
static int judge(const struct task *task, const struct plan *plan, struct error *err)
{
	const struct wire_refusal *first = plan->refusals.items;

	if (plan->refusals.n == 1)
		error_set(err, ERROR_REFUSED, "%s", first->reason);
	else if (plan->refusals.n)
		error_set(err, ERROR_REFUSED, "%zu things stand against it; the first: %s",
			  plan->refusals.n, first->reason);
	if (plan->refusals.n)
		return error_hint(err, "%s", first->fix ? first->fix : "");
	return plan_expected(plan, task->options.if_plan, err);
}

/* ---- ending ---- */

static json_t *emit_strings(const struct list *list)
{
	json_t *array = json_array();

	for (LIST_EACH(const char *, text, list))
		json_array_append_new(array, json_string(*text));
	return array;
}

/* How it ends: what the thread made, for the task to keep. */
struct ending {
	enum task_state state;
	struct error error;
	struct task_texts texts;
};

/* Takes the reference. */
static char *text_of(json_t *json)
{
	char *text = json ? json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;

	json_decref(json);
	return text;
}

/* From a plan, before it is freed. */
static void ending_of_plan(struct ending *end, struct plan *plan)
{
	if (plan->refusals.n)
		end->texts.refusals = text_of(plan_emit_refusals(plan));
	if (plan->warnings.n)
		end->texts.warnings = text_of(emit_strings(&plan->warnings));
}

static void forget_request(struct task *task)
{
	if (task->request && task->operation->free)
		task->operation->free(task->request);
	task->request = NULL;
}

static void move_to_end(struct task *task, struct ending *end) REQUIRES(engine_lock)
{
	task_move(task, end->state);
	task->phase = PHASE_OVER;
	task->holding = false;
	task->planned = true;
	task->active = NULL;
	task->error = end->error;
	task->texts = end->texts;
	task->message[0] = '\0';
	task->ended_ms = time_monotonic_ms();
}

static void take_from_lists(struct engine *engine, struct task *task) REQUIRES(engine_lock)
{
	engine->unfinished--;
	if (task->queued)
		TAILQ_REMOVE(&engine->queue, task, queue);
	task->queued = false;
	if (task->kept) {
		engine->ended++;
		if (engine->ended > TASK_KEPT)
			engine_arm(engine, 0);	/* the timer's round forgets the oldest */
	} else {
		TAILQ_REMOVE(&engine->all, task, all);
		task->listed = false;
	}
}

/* The task is over. Takes over what end holds. */
static void finish(struct task *task, struct ending *end)
{
	struct engine *engine = task->engine;
	struct after after = { 0 };
	bool listed;

	forget_request(task);
	lock_take(&engine_lock);
	move_to_end(task, end);
	take_from_lists(engine, task);
	listed = task->listed;
	task_release_waiters(task, false, &after);
	if (listed)
		after_changed(&after, task);
	schedule(engine, &after);
	lock_give(&engine_lock);
	run_free(task->run);
	task->run = NULL;
	after_run(engine, &after);
	if (!listed)
		task_unref(task);	/* the list's */
}

static void finish_unplanned(struct task *task, struct plan *plan, const struct error *why)
{
	struct ending end = { .state = TASK_FAILED, .error = *why };

	ending_of_plan(&end, plan);
	finish(task, &end);
}

/*
 * What it is about cannot be shown, though all was done: whoever waits is told both. What vanished since
 * is not as it was asked for; what merely cannot be read now is.
 */
static void cannot_show(const struct plan *plan, bool changed, struct ending *end)
{
	struct error *err = &end->error;
	bool gone = err->code == ERROR_NOT_FOUND || err->code == ERROR_GONE;
	size_t n = plan->steps.n;

	if (gone)
		end->state = TASK_FAILED;
	if (!changed) {
		error_wrap(err, "there was nothing to do");
		return;
	}
	if (gone)
		err->code = ERROR_GONE;
	error_wrap(err, "all of it was done and proven (%zu step%s), but %s", n, n == 1 ? "" : "s",
		   gone ? "it vanished since" : "how it stands now cannot be told");
}

static void show_result(struct task *task, const struct plan *plan, bool changed,
			struct ending *end)
{
	const struct operation *operation = task->operation;

	if (!operation || !operation->result)
		return;
	end->texts.result =
		operation->result(task->request, task->engine->config.services, &end->error);
	if (end->texts.result)
		end->error = (struct error){ 0 };
	else if (end->error.code)
		cannot_show(plan, changed, end);
}

/* It changes nothing any more: have it read and shown how the world is now. */
static void refresh(struct task *task, const struct plan *plan)
{
	struct engine_config *config = &task->engine->config;

	lock_take(&engine_lock);
	task->at_rest = true;
	lock_give(&engine_lock);
	if (config->refresh)
		config->refresh(config->services, &plan->locks);
}

/* It succeeded: the world has what was asked for. */
static void finish_well(struct task *task, struct plan *plan, bool changed)
{
	struct ending end = { .state = TASK_SUCCEEDED };

	ending_of_plan(&end, plan);
	if (changed)
		refresh(task, plan);
	show_result(task, plan, changed, &end);
	finish(task, &end);
}

/* ---- the first plan ---- */

/* It is a task from now on. */
static void keep(struct task *task, const struct plan *plan, struct after *after)
	REQUIRES(engine_lock)
{
	task->kept = task->planned = true;
	task->steps = plan->steps.n;
	snprintf(task->title, sizeof(task->title), "%s", plan->title);
	task_release_waiters(task, false, after);
	after_changed(after, task);
}

static void into_queue(struct task *task) REQUIRES(engine_lock)
{
	if (!task->queued)
		TAILQ_INSERT_TAIL(&task->engine->queue, task, queue);
	task->queued = true;
}

static void admit(struct task *task, struct plan *plan)
{
	struct engine *engine = task->engine;
	struct after after = { 0 };

	task->work = WORK_SECOND_PLAN;
	lock_take(&engine_lock);
	task->phase = PHASE_QUEUED;
	task->holding = false;
	task_set_locks(task, &plan->locks, NULL);
	into_queue(task);
	keep(task, plan, &after);
	schedule(engine, &after);
	lock_give(&engine_lock);
	after_run(engine, &after);
}

/* Nobody has or waits for what it will lock: then it has that from now on, before any look. */
static bool take_locks(struct task *task)
{
	CLEANUP(plan_freep) struct plan *plan = plan_new();
	const struct operation *operation = task->operation;
	struct engine *engine = task->engine;
	bool free;

	if (task->options.dry_run || !operation->locks ||
	    operation->locks(task->request, engine->config.services, plan) < 0)
		return false;
	lock_take(&engine_lock);
	free = !engine->stopping && !schedule_meets(engine, task, &plan->locks);
	if (free) {
		task->phase = PHASE_WORK;
		task->holding = true;
		snprintf(task->title, sizeof(task->title), "%s", operation->name);
		task_set_locks(task, &plan->locks, NULL);
		into_queue(task);
	}
	lock_give(&engine_lock);
	return free;
}

static void go_ahead(struct task *task, struct plan **plan);

/* The first plan with its locks held is also the second. True: there is a run now. */
static bool only_plan(struct task *task)
{
	CLEANUP(plan_freep) struct plan *plan = plan_new();
	struct after after = { 0 };
	struct error why = { 0 };
	bool within;

	if (make_plan(task, true, plan, &why) < 0) {
		plan->refusals.n = 0;
		finish_unplanned(task, plan, &why);
		return false;
	}
	lock_take(&engine_lock);
	within = plan_locks_within(&plan->locks, &task->locks);
	lock_give(&engine_lock);
	if (!within) {
		admit(task, plan);
		return false;
	}
	if (judge(task, plan, &why) < 0) {
		finish_unplanned(task, plan, &why);
		return false;
	}
	lock_take(&engine_lock);
	keep(task, plan, &after);
	lock_give(&engine_lock);
	after_run(task->engine, &after);
	go_ahead(task, &plan);
	return task->work == WORK_RUN;
}

/* While somebody changes what it is about, a refusal or conflict may be of that moment only. */
static bool waits(struct task *task, const struct plan *plan)
{
	bool meets;

	lock_take(&engine_lock);
	meets = !task->options.dry_run && schedule_meets(task->engine, task, &plan->locks);
	lock_give(&engine_lock);
	return meets;
}

static void first_plan(struct task *task)
{
	CLEANUP(plan_freep) struct plan *plan = plan_new();
	struct ending end = { .state = TASK_SUCCEEDED };
	struct error why = { 0 };
	/* what is shown is to be what would be done: as fresh as that */
	int r = make_plan(task, task->options.dry_run, plan, &why);

	if (r < 0)
		plan->refusals.n = 0;	/* it is no answer to the request any more */
	if (r < 0 && (why.code != ERROR_CONFLICT || !waits(task, plan))) {
		finish_unplanned(task, plan, &why);
		return;
	}
	if (task->options.dry_run) {
		ending_of_plan(&end, plan);
		end.texts.plan = text_of(plan_emit(plan));
		finish(task, &end);
		return;
	}
	if (!r && !waits(task, plan))
		r = judge(task, plan, &why);
	else
		r = 0;
	if (r < 0)
		finish_unplanned(task, plan, &why);
	else
		admit(task, plan);
}

/* ---- the second plan ---- */

static void step_begins(void *data, size_t n, bool back, const char *text)
{
	struct after after = { 0 };
	struct task *task = data;

	lock_take(&engine_lock);
	task->turned = !task->step || task->back != back;
	task->step = n + 1;
	task->changed = true;
	task->back = back;
	snprintf(task->message, sizeof(task->message), "%s%.230s", back ? "going back: " : "",
		 text);
	after_changed(&after, task);
	lock_give(&engine_lock);
	after_run(task->engine, &after);
}

static void call_begins(void *data, uint64_t until)
{
	struct task *task = data;

	lock_take(&engine_lock);
	task->in_call = true;
	task->call_until = until;
	engine_arm(task->engine, until);
	lock_give(&engine_lock);
}

static bool call_ends(void *data)
{
	struct task *task = data;
	bool given_up;

	lock_take(&engine_lock);
	task->in_call = false;
	given_up = task->given_up;
	lock_give(&engine_lock);
	return given_up;
}

/* Under the lock that a cancel takes: so one of the two comes first. */
static bool settle(void *data)
{
	struct task *task = data;
	bool cancel;

	lock_take(&engine_lock);
	cancel = task->cancel || (task->active && atomic_load(&task->active->cancel));
	task->settled = !cancel;
	lock_give(&engine_lock);
	return !cancel;
}

void work_hooks(struct task *task, struct run_hooks *hooks)
{
	*hooks = (struct run_hooks){ task, step_begins, call_begins, call_ends, settle };
}

/* The locks that are held are not those that are needed: back into the queue with both. */
static void queue_again(struct task *task, const struct plan *plan)
{
	struct after after = { 0 };

	lock_take(&engine_lock);
	task->holding = false;
	task->phase = PHASE_QUEUED;
	task_set_locks(task, &task->locks, &plan->locks);
	schedule(task->engine, &after);
	lock_give(&engine_lock);
	after_run(task->engine, &after);
}

/* Are the locks that are held those it needs? 0 yes; 1 it waits again; -1 it does not settle. */
static int check_locks(struct task *task, const struct plan *plan, struct error *err)
{
	bool within;

	lock_take(&engine_lock);
	within = plan_locks_within(&plan->locks, &task->locks);
	lock_give(&engine_lock);
	if (within)
		return 0;
	if (++task->replans > TASK_REPLANS) {
		error_set(err, ERROR_CONFLICT,
			  "what it touches changes faster than it can be planned");
		return error_hint(err, "ask again when the machine has come to rest");
	}
	queue_again(task, plan);
	return 1;
}

static bool cancelled(struct task *task, struct error *err)
{
	bool cancel;

	lock_take(&engine_lock);
	cancel = task->cancel;
	lock_give(&engine_lock);
	if (cancel)
		error_set(err, ERROR_CANCELLED, "it was cancelled before it began");
	return cancel;
}

static void begin_run(struct task *task, struct plan *plan)
{
	struct run_hooks hooks;

	work_hooks(task, &hooks);
	task->run = run_new(&task->engine->world, &hooks, task->id, task->options.requested_by,
			    plan);
	task->work = WORK_RUN;
	lock_take(&engine_lock);
	task->active = task->run;
	task->steps = plan->steps.n;
	snprintf(task->title, sizeof(task->title), "%s", plan->title);
	atomic_store(&task->run->cancel, task->cancel);
	lock_give(&engine_lock);
}

/* Takes the plan if there is something to run. */
static void go_ahead(struct task *task, struct plan **plan)
{
	struct ending end = { .state = TASK_CANCELLED };

	if ((*plan)->steps.n)
		begin_run(task, TAKE_PTR(*plan));
	else if (settle(task))
		finish_well(task, *plan, false);
	else if (cancelled(task, &end.error))
		finish(task, &end);
}

/* True: there is a run now. */
static bool second_plan(struct task *task)
{
	CLEANUP(plan_freep) struct plan *plan = plan_new();
	struct ending end = { .state = TASK_CANCELLED };
	struct error why = { 0 };
	int r;

	if (cancelled(task, &end.error)) {
		finish(task, &end);
		return false;
	}
	r = make_plan(task, true, plan, &why);
	if (!r)
		r = check_locks(task, plan, &why);
	if (!r)
		r = judge(task, plan, &why);
	if (r == 1)
		return false;
	if (r < 0)
		finish_unplanned(task, plan, &why);
	else
		go_ahead(task, &plan);
	return task->work == WORK_RUN;
}

/* ---- running ---- */

static void park(struct task *task, struct after *after) REQUIRES(engine_lock)
{
	task->phase = PHASE_PARKED;
	task->wake = task->run->wake;
	if (task->poked && !task->engine->stopping)
		schedule_ready(task, after);
	else if (task->wake != UINT64_MAX)
		engine_arm(task->engine, task->wake);
}

/* To its end for now: the locks are free, and nothing that needs them is planned. */
static void get_stuck(struct task *task, struct after *after) REQUIRES(engine_lock)
{
	if (task->state != TASK_STUCK)
		task_move(task, TASK_STUCK);
	task->holding = false;
	task->wake = time_monotonic_ms() + STUCK_RETRY_MS;
	task_release_waiters(task, false, after);
	after_changed(after, task);
}

void work_give_up(struct task *task, struct after *after)
{
	task->given_up = true;
	error_set(&task->error, ERROR_STUCK, "step %zu of %zu (%.200s) did not come back in time",
		  task->step, task->steps, task->message);
	error_hint(&task->error,
		   "it is looked at again when it does; if it never does, only a reboot ends it");
	get_stuck(task, after);
}

static void not_over(struct task *task, enum run_verdict verdict)
{
	struct after after = { 0 };

	lock_take(&engine_lock);
	if (task->given_up) {	/* the thread is back: so it can be looked at */
		task->given_up = false;
		task->phase = PHASE_STUCK;
		schedule_again(task);
	} else if (verdict == RUN_WAIT) {
		park(task, &after);
	} else {
		task->error = task->run->error;
		task->phase = PHASE_STUCK;
		get_stuck(task, &after);
		engine_arm(task->engine, task->wake);
	}
	schedule(task->engine, &after);
	lock_give(&engine_lock);
	after_run(task->engine, &after);
}

static void run_ended(struct task *task, enum run_verdict verdict)
{
	static const enum task_state states[] = {
		[RUN_SUCCEEDED] = TASK_SUCCEEDED,
		[RUN_FAILED] = TASK_FAILED,
		[RUN_CANCELLED] = TASK_CANCELLED,
		[RUN_ROLLED_BACK] = TASK_ROLLED_BACK,
	};
	struct plan *plan = task->run->plan;
	struct ending end = { .state = states[verdict], .error = task->run->error };

	if (verdict == RUN_SUCCEEDED) {
		finish_well(task, plan, task->run->changed);
		return;
	}
	if (verdict == RUN_ROLLED_BACK)
		error_add(&end.error, "; what was done before is undone");
	ending_of_plan(&end, plan);
	if (task->run->changed)
		refresh(task, plan);
	finish(task, &end);
}

static void go_on(struct task *task)
{
	struct after after = { 0 };
	enum run_verdict verdict;
	bool again;

	lock_take(&engine_lock);
	again = task->again;
	task->again = false;
	if (task->state == TASK_QUEUED) {
		task_move(task, TASK_RUNNING);
		after_changed(&after, task);
	}
	lock_give(&engine_lock);
	after_run(task->engine, &after);
	if (again)
		run_look_again(task->run);
	verdict = run_continue(task->run);
	if (verdict == RUN_WAIT || verdict == RUN_STUCK)
		not_over(task, verdict);
	else
		run_ended(task, verdict);
}

/* Does the planning that is due. True when the task has a plan under its locks to go on with. */
static bool planned(struct task *task)
{
	if (task->work == WORK_RUN)
		return true;
	if (task->work == WORK_SECOND_PLAN)
		return second_plan(task);
	if (take_locks(task))
		return only_plan(task);
	first_plan(task);
	return false;
}

void work_job(void *data, struct pool_job *job)
{
	struct task *task = (struct task *)((char *)job - offsetof(struct task, job));

	(void)data;
	lock_take(&engine_lock);
	task->in_pool = false;
	lock_give(&engine_lock);
	if (planned(task))
		go_on(task);
	task_unref(task);	/* the job's */
}
