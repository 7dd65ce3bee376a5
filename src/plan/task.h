/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tasks: requests on their way through look, plan, act, prove. The engine plans each at once,
 * queues it while an earlier task has one of its locks, plans it again from a fresh look when the
 * locks are held, and runs only that second plan. Where the locks are known beforehand and nobody
 * is in the way, they are taken first, and the two are one.
 *
 * Any thread may call everything here; nothing here blocks except engine_start() and engine_stop().
 * Planning and steps run in task threads (at most 64; one is kept for urgent operations). Whoever
 * only waits (for a lock, for a proof that is not there yet) holds no thread. The owner of the
 * event loop watches engine_fd() and calls engine_dispatch(); without that nothing that waits goes
 * on.
 *
 * A task is owned by the engine and counted: task_ref/task_unref. An ended one is kept for 7 days,
 * the last 1,000. A request that never became a task (dry run, refused or wrong at the first plan)
 * is not kept: its task_outcome() is all there is.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/id.h"
#include "plan/journal.h"
#include "plan/plan.h"
#include "wire/task.h"

struct engine;
struct task;

enum {
	TASK_THREADS = 64,		/* one of them only for urgent operations */
	TASK_KEPT = 1000,
	TASK_UNFINISHED = 1000,		/* more are refused with too_many */
	TASK_WAITERS = 64,		/* per task */
	TASK_REPLANS = 8,		/* how often the locks may turn out to be others */
};

/* A request's way through the engine: a const table per operation. */
struct operation {
	const char *name;	/* "bind"; for logs */
	bool urgent; /* force-stop: goes before what is queued, and ends waits in its way */
	/*
	 * The beginning of a lock's name ("vm:"): an urgent task that wants such a lock of this one cancels
	 * it, and does not only come before it or end its wait. NULL: none does.
	 */
	const char *yields;

	/*
	 * plan_lock() what plan() will lock, as far as that is known without asking anybody. 0, or -1
	 * where it is not. May be NULL. In a task thread.
	 */
	int (*locks)(void *request, void *services, struct plan *plan);
	/*
	 * Look, and call the planner. Runs in a task thread. locked: the locks of an earlier call
	 * are held (or it is a dry run), so look freshly at everything it touches; false: cached
	 * news is good enough.
	 * 0: plan is filled (also with refusals). -1: the request cannot be planned (not found).
	 */
	int (*plan)(void *request, void *services, bool locked, struct plan *plan,
		    struct error *err);
	/*
	 * The resource to answer with, after success: compact JSON text, malloc'd. NULL with an error: it cannot be
	 * shown, and the task ends with that (failed when what it is about is not there any more:
	 * not_found, gone); without one: there is nothing to show. May be NULL.
	 */
	char *(*result)(void *request, void *services, struct error *err);
	void (*free)(void *request);
};

/* A helper's child that has not come back. */
struct live_child {
	const char *subject;	/* as step_kind.subject tells it */
	int64_t pid;
	const char *what;	/* "unbind" */
};

struct engine_config {
	const struct step_table *tables;
	size_t n_tables;
	void *services;			/* handed to operations and steps */
	struct journal *journal;	/* borrowed */

	/*
	 * The helper's children that are inside a write now, as a list of struct live_child in the
	 * arena. -1 (ERROR_HELPER) when it cannot be asked: then nothing is touched. Runs in a task
	 * thread.
	 */
	int (*live_children)(void *services, struct arena *arena, struct list *children,
			     struct error *err);
	/*
	 * Has the helper carry out these requests in order (see step_kind.request). *done: how many are done
	 * and proven; *begun: how many may have been begun, n where nobody knows. 0: all are done. -1: why the
	 * one after those is not; codes as of step_kind. 1: that one was not begun, and is to be applied as
	 * any other. It may call at(data, i) while it waits: request i
	 * is under way. Runs in a task thread. NULL: each step goes its own way.
	 */
	int (*chain)(void *services, const struct privd_request *requests, size_t n,
		     const struct chain_watch *watch, size_t *done, size_t *begun, struct error *err);
	/* How long to wait for a helper that cannot be asked before the task is stuck; 0: 15 s. */
	unsigned helper_ms;
	/*
	 * A task that changed something is over: make news of what these locks (strings) name, so
	 * that result() and whoever asks next sees it. Runs in the task's thread, which may wait
	 * here. May be NULL.
	 */
	void (*refresh)(void *services, const struct list *locks);
	/* The task's state, step or message changed. Any thread, no lock held, must not block. May
	 * be NULL. The reference is borrowed. */
	void (*changed)(void *services, struct task *task);
};

/*
 * Start the engine: checks the tables, and takes over what the journal found unfinished. Those
 * tasks have their locks before any request can ask for them. NULL with an error.
 */
struct engine *engine_start(const struct engine_config *config, struct error *err);
/*
 * To be called when nobody else calls any more. Take no more requests, let each running task come
 * to the end of its step, for at most ms; what is unfinished then stays in the journal for the next
 * start. Every waiter is called. Frees the engine when every thread is back; if not, the engine is
 * left as it is and -1 returned: end the process.
 */
int engine_stop(struct engine *engine, unsigned ms);

/* Readable when engine_dispatch() has something to do. */
int engine_fd(struct engine *engine);
void engine_dispatch(struct engine *engine);

/* News about what a lock names (a VM ended, a device came): ask waiting proofs again. NULL: all. */
void engine_poke(struct engine *engine, const char *lock);
/*
 * Something came back (a late end, the helper itself): look at stuck tasks again.
 */
void engine_look_again(struct engine *engine);
/*
 * Is something under this lock stuck? Fills *why ("task …: unbind 0000:01:00.0 …") in the arena.
 * The engine itself refuses plans that need such a lock; this is for showing it.
 */
bool engine_stuck(struct engine *engine, const char *lock, struct arena *arena, const char **why);

/*
 * Is a task changing what this lock names now: has it begun a step, and is not over? Fills the operation
 * (NULL: the journal knew it) and whether it goes back. A task that does nothing but refresh() is over
 * for this, so that what is published then shows the world at rest.
 */
bool engine_changing(struct engine *engine, const char *lock, const struct operation **operation,
		     bool *back);

enum task_stage {
	TASK_PLANNED,	/* planned for the first time: refused, or queued, or over already */
	TASK_ENDED,	/* in a state that does not move on by itself (stuck is one) */
};

struct task;

/* As task_wait() has them. */
struct task_watch {
	enum task_stage stage;
	unsigned ms;
	void (*callback)(void *data, struct task *task, bool reached);
	void *data;
};

struct task_options {
	bool dry_run;
	const char *if_plan;		/* digest the caller expects; NULL: any */
	struct list accept;		/* strings: codes of refusals */
	const char *requested_by;	/* "uid 1000 (anna)"; copied */
	const char *request_id;		/* copied */
	const struct task_watch *watch;	/* task_wait() from its birth; NULL: not */
};

/*
 * Hand over a request (owned by the task from here, also on failure: operation->free gets it). A
 * new reference; or NULL with too_many, or with conflict when the engine is stopping.
 */
struct task *task_submit(struct engine *engine, const struct operation *operation, void *request,
			 const struct task_options *options, struct error *err);

struct task *task_ref(struct task *task);
void task_unref(struct task *task);
DEFINE_CLEANUP(struct task *, task_unref)

/*
 * Call back once: when the task reaches the stage (reached true), or ms later (false), or when the
 * engine stops (false). Runs in a task thread or in engine_dispatch(), or at once in this call,
 * with no lock held; must not block. -1 when too many wait already.
 */
int task_wait(struct task *task, enum task_stage stage, unsigned ms,
	      void (*callback)(void *data, struct task *task, bool reached), void *data,
	      struct error *err);

/* How it stands, for an answer. Owns its references: task_outcome_finish(). */
struct task_outcome {
	enum task_state state;
	bool ended;
	bool kept;		/* it became a task, so its id can be asked for */
	bool dry_run;
	bool changed;		/* steps were run; false: it was so already */
	struct error error;	/* code ERROR_NONE: none */
	json_t *refusals;	/* array; NULL: none */
	json_t *plan; /* {"plan": …} of a dry run; NULL: it was none, or not planned yet */
	char *result;		/* JSON text; NULL: none */
	json_t *warnings;	/* array of the plan's warnings; NULL: none */
};

void task_outcome(struct task *task, struct task_outcome *ret);
void task_outcome_finish(struct task_outcome *outcome);

/* Immutable from birth. */
const char *task_id(const struct task *task);
const char *task_request_id(const struct task *task);
/* The task as /api/tasks/:id answers; a new reference. */
json_t *task_emit(struct task *task);

/* It has just begun its first step, turned back, or is over: engine_changing() says another by now. */
bool task_turned(struct task *task);
/* What it was asked for as; NULL: the journal knew it, from before this start. */
const struct operation *task_operation(const struct task *task);

/*
 * The task that is under way with this lock; where there is none, the first that waits for it.
 * Stuck ones do not count. A new reference, or NULL.
 */
struct task *task_under(struct engine *engine, const char *lock);
/* A new reference, NULL when there is none of that id. */
struct task *task_find(struct engine *engine, const char *id);
/* All kept and unfinished, oldest first, as an array; state < 0: whatever their state. */
json_t *task_list(struct engine *engine, int state);
/*
 * Ask it to end: queued, at once; running, before its next step or within its wait; stuck, by
 * looking at it again. conflict when it is over, or past its point of no return. if_plan: the digest of
 * what that is to be; NULL: any.
 */
int task_cancel(struct engine *engine, const char *id, const char *if_plan, struct error *err);
/* What task_cancel() would do, with its digest, or NULL with what it would say. Changes nothing. */
struct plan *task_cancel_plan(struct engine *engine, const char *id, struct error *err);

/* Is this move allowed? The one table; asserted at every move. */
bool task_may_move(enum task_state from, enum task_state to);
