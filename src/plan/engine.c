/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine's birth, end, timer, and what is done outside of its lock (engine_lock). See task.h
 * and engine.h.
 */
#include "plan/engine.h"

#include <errno.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum {
	HELPER_MS = 15000,
	KEPT_DAYS = 7,
};

struct lock engine_lock = LOCK_INIT;

/* ---- after the lock ---- */

void after_changed(struct after *after, struct task *task)
{
	struct task_node *node;

	for (node = after->changed; node; node = node->next)
		if (node->task == task)
			return;
	node = malloc(sizeof(*node));
	if (!node)
		abort();
	*node = (struct task_node){ after->changed, task_ref(task) };
	after->changed = node;
}

void after_run(struct engine *engine, struct after *after)
{
	struct task_node *node;
	struct waiter *waiter;

	while ((node = after->ready)) {
		after->ready = node->next;
		pool_submit(engine->pool, &node->task->job);	/* with the reference */
		free(node);
	}
	while ((waiter = after->fire)) {
		after->fire = waiter->next;
		waiter->callback(waiter->data, waiter->task, waiter->reached);
		task_unref(waiter->task);
		free(waiter);
	}
	while ((node = after->changed)) {
		after->changed = node->next;
		if (engine->config.changed)
			engine->config.changed(engine->config.services, node->task);
		task_unref(node->task);
		free(node);
	}
}

/* ---- the list and the timer ---- */

void engine_arm(struct engine *engine, uint64_t when)
{
	struct itimerspec spec = { 0 };

	if (when >= engine->armed)
		return;
	engine->armed = when;
	if (!when)	/* 0 would disarm it; a nanosecond after the boot is as past as any time */
		spec.it_value.tv_nsec = 1;
	spec.it_value.tv_sec = (time_t)(when / 1000);
	spec.it_value.tv_nsec += (long)(when % 1000) * 1000000;
	timerfd_settime(engine->timer, TFD_TIMER_ABSTIME, &spec, NULL);
}

void engine_list_task(struct engine *engine, struct task *task)
{
	task_ref(task);
	TAILQ_INSERT_TAIL(&engine->all, task, all);
	task->listed = true;
	engine->unfinished++;
}

/* The ended ones that are too many or too old go; *gone gets their references. */
static void forget_ended(struct engine *engine, uint64_t now, struct after *gone)
	REQUIRES(engine_lock)
{
	const uint64_t days = (uint64_t)KEPT_DAYS * 24 * 3600 * 1000;
	struct task *task, *next;
	struct task_node *node;

	for (task = TAILQ_FIRST(&engine->all); task; task = next) {
		next = TAILQ_NEXT(task, all);
		if (task->phase != PHASE_OVER)
			continue;
		/* it may have ended after now was read: no difference is taken */
		if (engine->ended <= TASK_KEPT && now < task->ended_ms + days)
			break;	/* the rest is younger, or nearly so */
		TAILQ_REMOVE(&engine->all, task, all);
		task->listed = false;
		engine->ended--;
		node = malloc(sizeof(*node));
		if (!node)
			abort();
		*node = (struct task_node){ gone->changed, task };
		gone->changed = node;
	}
}

static void drop_gone(struct after *gone)
{
	struct task_node *node;

	while ((node = gone->changed)) {
		gone->changed = node->next;
		task_unref(node->task);
		free(node);
	}
}

static void look_at(struct task *task, uint64_t now, struct after *after) REQUIRES(engine_lock)
{
	if (task->in_call && !task->given_up && task->call_until <= now)
		work_give_up(task, after);
	if (task->phase == PHASE_PARKED && task->wake <= now)
		schedule_ready(task, after);
	if (task->phase == PHASE_STUCK && task->wake <= now)
		schedule_again(task);
	task_expire_waiters(task, now, after);
}

static uint64_t next_news(const struct task *task) REQUIRES(engine_lock)
{
	uint64_t next = UINT64_MAX;

	if (task->in_call && !task->given_up)
		next = task->call_until;
	if ((task->phase == PHASE_PARKED || (task->phase == PHASE_STUCK && task->active)) &&
	    task->wake < next)
		next = task->wake;
	for (const struct waiter *w = task->waiters; w; w = w->next)
		next = w->until < next ? w->until : next;
	return next;
}

int engine_fd(struct engine *engine)
{
	return engine->timer;
}

void engine_dispatch(struct engine *engine)
{
	struct after after = { 0 }, gone = { 0 };
	uint64_t now = time_monotonic_ms(), times, next = UINT64_MAX;
	struct task *task;

	if (read(engine->timer, &times, sizeof(times)) < 0 && errno != EAGAIN)
		return;
	lock_take(&engine_lock);
	engine->armed = UINT64_MAX;
	if (!engine->stopping) {
		TAILQ_FOREACH(task, &engine->all, all)
			look_at(task, now, &after);
		schedule(engine, &after);
		TAILQ_FOREACH(task, &engine->all, all)
			next = next_news(task) < next ? next_news(task) : next;
		forget_ended(engine, now, &gone);
	}
	if (next != UINT64_MAX)
		engine_arm(engine, next);
	lock_give(&engine_lock);
	after_run(engine, &after);
	drop_gone(&gone);
}

/* ---- news from outside ---- */

static bool has_lock(const struct task *task, const char *lock) REQUIRES(engine_lock)
{
	const char **names = task->locks.items;

	for (size_t i = 0; i < task->locks.n; i++)
		if (!strcmp(names[i], lock))
			return true;
	return false;
}

void engine_poke(struct engine *engine, const char *lock)
{
	struct after after = { 0 };
	struct task *task;

	lock_take(&engine_lock);
	if (!engine->stopping)
		TAILQ_FOREACH(task, &engine->queue, queue)
			if (task->holding && (!lock || has_lock(task, lock)))
				schedule_wake(task, &after);
	lock_give(&engine_lock);
	after_run(engine, &after);
}

void engine_look_again(struct engine *engine)
{
	struct after after = { 0 };
	struct task *task;

	lock_take(&engine_lock);
	if (!engine->stopping) {
		TAILQ_FOREACH(task, &engine->queue, queue) {
			schedule_again(task);
			if (task->phase == PHASE_PARKED) /* it may be waiting for the helper */
				schedule_wake(task, &after);
		}
		schedule(engine, &after);
	}
	lock_give(&engine_lock);
	after_run(engine, &after);
}

bool engine_stuck(struct engine *engine, const char *lock, struct arena *arena, const char **why)
{
	char text[3 * TASK_TEXT] = "";
	struct task *task;

	lock_take(&engine_lock);
	TAILQ_FOREACH(task, &engine->queue, queue)
		if (!text[0] && task->state == TASK_STUCK && has_lock(task, lock))
			snprintf(text, sizeof(text), "%s (%.200s): %.400s", task->id, task->title,
				 task->error.message);
	lock_give(&engine_lock);
	if (!text[0])
		return false;
	*why = arena_strdup(arena, text);
	return true;
}

bool engine_changing(struct engine *engine, const char *lock, const struct operation **operation,
		     bool *back)
{
	bool found = false;
	struct task *task;

	lock_take(&engine_lock);
	TAILQ_FOREACH(task, &engine->queue, queue) {
		if (task->state != TASK_RUNNING || !task->step || task->at_rest || !has_lock(task, lock))
			continue;
		*operation = task->operation;
		*back = task->back;
		found = true;
	}
	lock_give(&engine_lock);
	return found;
}

/* ---- birth and end ---- */

/* What of the journal cannot even be read back stands there as stuck: nothing of it is touched. */
static void cannot_restore(struct task *task, const struct error *why) REQUIRES(engine_lock)
{
	task->work = WORK_RUN;
	task_move(task, TASK_RUNNING);
	task_move(task, TASK_STUCK);
	task->phase = PHASE_STUCK;
	task->error = *why;
	task->error.code = ERROR_STUCK;
	error_hint(&task->error,
		   "the journal was written by another version of Horcrux; run that one, or "
		   "look at what is left and reboot");
}

static void take_over(struct engine *engine, const struct journal_task *found)
{
	const struct task_options options = { .requested_by = found->requested_by };
	struct task *task = task_new(engine, found->id, NULL, NULL, &options);
	struct error why = { 0 };
	struct run_hooks hooks;

	work_hooks(task, &hooks);
	task->run = run_restore(&engine->world, &hooks, engine->config.tables,
				engine->config.n_tables, found, &why);
	task->work = WORK_RUN;
	lock_take(&engine_lock);
	task->active = task->run;
	task->steps = found->n;
	task->kept = task->planned = true;
	snprintf(task->title, sizeof(task->title), "%s", found->title);
	task_set_locks(task, &found->locks, NULL);
	engine_list_task(engine, task);
	TAILQ_INSERT_TAIL(&engine->queue, task, queue);
	task->queued = true;
	task->phase = PHASE_QUEUED;
	if (!task->run)
		cannot_restore(task, &why);
	lock_give(&engine_lock);
	task_unref(task);
}

static void recover(struct engine *engine)
{
	const struct list *found = journal_found(engine->config.journal);
	struct after after = { 0 };

	for (LIST_EACH(const struct journal_task, task, found))
		take_over(engine, task);
	journal_forget_found(engine->config.journal);
	lock_take(&engine_lock);
	schedule(engine, &after);
	lock_give(&engine_lock);
	after_run(engine, &after);
}

struct engine *engine_start(const struct engine_config *config, struct error *err)
{
	struct engine *engine;

	if (step_tables_check(config->tables, config->n_tables, err) < 0)
		return NULL;
	engine = calloc(1, sizeof(*engine));
	if (!engine)
		abort();
	engine->config = *config;
	engine->world.services = config->services;
	engine->world.journal = config->journal;
	engine->world.live_children = config->live_children;
	engine->world.chain = config->chain;
	engine->world.helper_ms = config->helper_ms ? config->helper_ms : HELPER_MS;
	lock_take(&engine_lock);
	TAILQ_INIT(&engine->all);
	TAILQ_INIT(&engine->queue);
	engine->armed = UINT64_MAX;
	lock_give(&engine_lock);
	engine->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	if (engine->timer < 0)
		error_errno(err, ERROR_SYSTEM, errno, "no timer for tasks can be made");
	else
		engine->pool = pool_new(TASK_THREADS, work_job, engine, err);
	if (engine->pool) {
		recover(engine);
		return engine;
	}
	if (engine->timer >= 0)
		close(engine->timer);
	free(engine);
	return NULL;
}

/* No thread is left. Drops the list's reference and those of jobs that were never begun. */
static void drop_tasks(struct engine *engine)
{
	struct task *task;
	bool queued;

	for (;;) {
		lock_take(&engine_lock);
		task = TAILQ_FIRST(&engine->all);
		queued = false;
		if (task) {
			TAILQ_REMOVE(&engine->all, task, all);
			task->listed = false;
			queued = task->in_pool;
			task->in_pool = false;
		}
		lock_give(&engine_lock);
		if (!task)
			return;
		if (queued)
			task_unref(task);
		task_unref(task);
	}
}

int engine_stop(struct engine *engine, unsigned ms)
{
	struct after after = { 0 };
	struct task *task;

	if (!engine)
		return 0;
	atomic_store(&engine->world.halt, true);
	lock_take(&engine_lock);
	engine->stopping = true;
	TAILQ_FOREACH(task, &engine->all, all)
		task_release_waiters(task, true, &after);
	lock_give(&engine_lock);
	after_run(engine, &after);
	if (pool_finish(engine->pool, ms) < 0)
		return -1;
	drop_tasks(engine);
	lock_take(&engine_lock);
	free(engine->claims);
	lock_give(&engine_lock);
	close(engine->timer);
	free(engine);
	return 0;
}
