/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who gets his locks when. A task is blocked while one that holds a lock of it runs, and while one
 * that came before waits for such a lock; urgent ones are blocked by holders only, come before all
 * others, and end the wait of a holder that merely waits. All under engine_lock.
 *
 * One pass goes through the queue once: first those who hold, then the urgent, then the others;
 * each enters its locks into a table of who comes first, and who finds all of his unclaimed has
 * them.
 */
#include <stdlib.h>
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

static bool yields(const struct task *task, const char *lock)
{
	const char *prefix = task->operation ? task->operation->yields : NULL;

	return prefix && !strncmp(lock, prefix, strlen(prefix));
}

/* Somebody urgent waits for this lock of it: if it only waits itself, or yields such a one, it ends. */
static void hurry(struct task *holder, const char *lock, struct after *after) REQUIRES(engine_lock)
{
	if (!holder->holding || holder->settled ||
	    (holder->active && atomic_load(&holder->active->final)))
		return;
	if (yields(holder, lock))
		holder->cancel = true; /* also where there is no run yet */
	else if (holder->phase != PHASE_PARKED || !holder->active)
		return;
	if (holder->active)
		atomic_store(&holder->active->cancel, true);
	if (holder->phase == PHASE_PARKED)
		schedule_wake(holder, after);
}

static bool yields_to(const struct task *other, const struct task *task) REQUIRES(engine_lock)
{
	const char **names = task->locks.items;

	for (size_t i = 0; i < task->locks.n; i++)
		if (yields(other, names[i]) && task_has_lock(other, names[i]))
			return true;
	return false;
}

/* What came before and has not begun would begin after it: that is not what was asked for. */
static void cancel_queued(struct engine *engine, struct task *task, struct after *after)
	REQUIRES(engine_lock)
{
	struct task *other;

	TAILQ_FOREACH(other, &engine->queue, queue) {
		if (other == task)
			return;
		if (other->phase != PHASE_QUEUED || !yields_to(other, task))
			continue;
		other->cancel = true;
		schedule_ready(other, after); /* its thread finds the flag and ends it */
	}
}

/* ---- the table of one pass: open addressing, at most half full ---- */

static struct claim *find_claim(struct engine *engine, const char *name) REQUIRES(engine_lock)
{
	size_t mask = engine->n_claims - 1, at = 2166136261u;

	for (const char *c = name; *c; c++)	/* FNV-1a */
		at = (at ^ (unsigned char)*c) * 16777619u;
	for (at &= mask; engine->claims[at].name && strcmp(engine->claims[at].name, name);)
		at = (at + 1) & mask;
	return &engine->claims[at];
}

static void empty_claims(struct engine *engine) REQUIRES(engine_lock)
{
	size_t locks = 0, room = 64;
	struct task *task;

	TAILQ_FOREACH(task, &engine->queue, queue)
		locks += task->locks.n;
	while (room < 2 * locks + 2)
		room *= 2;
	if (room != engine->n_claims) {
		free(engine->claims);
		engine->claims = calloc(room, sizeof(*engine->claims));
		if (!engine->claims)
			abort();
	} else {
		memset(engine->claims, 0, room * sizeof(*engine->claims));
	}
	engine->n_claims = room;
}

/* Enters its locks where nobody came before; who came before at one of them, or NULL. */
static struct task *claim_locks(struct engine *engine, struct task *task, struct after *after)
	REQUIRES(engine_lock)
{
	const char **names = task->locks.items;
	struct task *first = NULL;
	struct claim *claim;

	for (size_t i = 0; i < task->locks.n; i++) {
		claim = find_claim(engine, names[i]);
		if (!claim->name) {
			*claim = (struct claim){ names[i], task };
			continue;
		}
		if (is_urgent(task))
			hurry(claim->task, names[i], after);
		if (!first || claim->task->holding)
			first = claim->task;
	}
	return first;
}

/* ---- a pass ---- */

static void wait_for(struct task *task, const struct task *other, struct after *after)
	REQUIRES(engine_lock)
{
	bool known = task->message[0];

	snprintf(task->message, sizeof(task->message), "waits for %s (%.180s)", other->id,
		 other->title);
	if (!known)	/* whoever is told that it waits asks for whom; this changes at every end */
		after_changed(after, task);
}

static void schedule_those(struct engine *engine, bool urgent, struct after *after)
	REQUIRES(engine_lock)
{
	struct task *task, *first;

	TAILQ_FOREACH(task, &engine->queue, queue) {
		if (task->phase != PHASE_QUEUED || is_urgent(task) != urgent)
			continue;
		if (urgent)
			cancel_queued(engine, task, after);
		first = claim_locks(engine, task, after);
		if (first) {
			wait_for(task, first, after);
			continue;
		}
		task->holding = true;
		task->message[0] = '\0';
		schedule_ready(task, after);
	}
}

void schedule(struct engine *engine, struct after *after)
{
	struct task *task;

	if (engine->stopping)
		return;
	empty_claims(engine);
	TAILQ_FOREACH(task, &engine->queue, queue)
		if (task->holding)
			claim_locks(engine, task, after);
	schedule_those(engine, true, after);
	schedule_those(engine, false, after);
}
