/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who gets his locks when. A task is blocked while one that holds a lock of it runs, and while one that
 * came before waits for such a lock; urgent ones are blocked by holders only, come before all others,
 * and end the wait of a holder that merely waits. All under engine_lock.
 */
#include <string.h>

#include "plan/engine.h"

void schedule_ready(struct task *task, struct after *after)
{
	struct task_node *node = malloc(sizeof(*node));

	if (!node)
		abort();
	task->phase = PHASE_WORK;
	task->poked = false;
	task->in_pool = true;
	*node = (struct task_node){ after->ready, task_ref(task) };
	after->ready = node;
}

void schedule_wake(struct task *task, struct after *after)
{
	if (task->phase == PHASE_PARKED)
		schedule_ready(task, after);
	else
		task->poked = true;
}

void schedule_again(struct task *task)
{
	if (task->phase != PHASE_STUCK || !task->active)
		return;
	task->phase = PHASE_QUEUED;
	task->again = true;
}

bool schedule_meets(struct engine *engine, const struct task *task, const struct list *locks)
{
	struct task *other;

	TAILQ_FOREACH(other, &engine->queue, queue)
		if (other != task && (other->holding || other->phase == PHASE_QUEUED) &&
		    plan_locks_meet(&other->locks, locks))
			return true;
	return false;
}

static bool is_urgent(const struct task *task)
{
	return task->job.urgent;
}

/* Somebody urgent waits for it: if it only waits itself, it ends. */
static void hurry(struct task *holder, struct after *after) REQUIRES(engine_lock)
{
	if (holder->phase != PHASE_PARKED || !holder->active || atomic_load(&holder->active->final))
		return;
	atomic_store(&holder->active->cancel, true);
	schedule_wake(holder, after);
}

/* The task that blocks this one; NULL: none. */
static struct task *blocker(struct engine *engine, struct task *task, struct after *after)
	REQUIRES(engine_lock)
{
	struct task *other, *found = NULL;
	bool earlier = true;

	TAILQ_FOREACH(other, &engine->queue, queue) {
		if (other == task) {
			earlier = false;
			continue;
		}
		if (!plan_locks_meet(&other->locks, &task->locks))
			continue;
		if (other->holding && is_urgent(task))
			hurry(other, after);
		if (other->holding)
			found = other;
		else if (other->phase == PHASE_QUEUED && is_urgent(other) >= is_urgent(task) &&
			 (earlier || is_urgent(other) > is_urgent(task)))
			found = found ? found : other;
	}
	return found;
}

static void wait_for(struct task *task, const struct task *other, struct after *after)
	REQUIRES(engine_lock)
{
	char message[TASK_TEXT];

	snprintf(message, sizeof(message), "waits for %s (%.180s)", other->id, other->title);
	if (!strcmp(message, task->message))
		return;
	memcpy(task->message, message, sizeof(message));
	after_changed(after, task);
}

static void schedule_those(struct engine *engine, bool urgent, struct after *after)
	REQUIRES(engine_lock)
{
	struct task *task, *other;

	TAILQ_FOREACH(task, &engine->queue, queue) {
		if (task->phase != PHASE_QUEUED || is_urgent(task) != urgent)
			continue;
		other = blocker(engine, task, after);
		if (other) {
			wait_for(task, other, after);
			continue;
		}
		task->holding = true;
		task->message[0] = '\0';
		schedule_ready(task, after);
	}
}

void schedule(struct engine *engine, struct after *after)
{
	if (engine->stopping)
		return;
	schedule_those(engine, true, after);
	schedule_those(engine, false, after);
}
