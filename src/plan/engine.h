/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of the engine, for task.c, engine.c, schedule.c and work.c only. How a task goes:
 *
 *   FIRST --planned--> QUEUED --locks held--> WORK <--> PARKED
 *     |                  ^                     |
 *     v                  '--look again-- STUCK <'
 *    OVER <------------------------------------'
 *
 * One that has its locks before it is planned goes from FIRST to WORK.
 *
 * Threading. Fields marked engine_lock are under it, for all engines (there is one, but for tests).
 * The others belong to whoever has the task's job: the pool, then one thread. Nothing is called out
 * of the engine under the lock; what has to be done after it is collected in a struct after.
 */
#pragma once

#include <stdatomic.h>
#include <sys/queue.h>

#include "base/lock.h"
#include "plan/pool.h"
#include "plan/run.h"
#include "plan/task.h"

extern struct lock engine_lock;

enum task_phase {
	PHASE_FIRST,	/* is being planned for the first time */
	PHASE_QUEUED,	/* waits for its locks */
	PHASE_WORK,	/* holds them; a thread has it, or the pool's queue */
	PHASE_PARKED,	/* holds them; no thread, until `wake` */
	PHASE_STUCK,
	PHASE_OVER,
};

enum task_work { WORK_FIRST_PLAN, WORK_SECOND_PLAN, WORK_RUN };

enum { TASK_TEXT = 256 };

struct waiter {
	struct waiter *next;
	struct task *task;	/* a reference */
	enum task_stage stage;
	uint64_t until;
	void (*callback)(void *data, struct task *task, bool reached);
	void *data;
	bool reached;
};

/*
 * What a task answers with, as JSON text, each its own: a thousand are kept, and a tree of json_t
 * is several times as large as its text (and not to be read by two threads). NULL: none.
 */
struct task_texts {
	char *refusals, *plan, *result, *warnings;
};

struct task {
	atomic_int refs;
	struct pool_job job;

	/* Immutable from birth. */
	struct engine *engine;
	char id[ID_TEXT];
	const struct operation *operation;	/* NULL: found in the journal */
	struct task_options options;
	struct arena *arena;			/* of options */

	/* Of whoever has the job. */
	enum task_work work;
	void *request;
	struct run *run;
	unsigned replans;

	TAILQ_ENTRY(task) all GUARDED_BY(engine_lock);
	TAILQ_ENTRY(task) queue GUARDED_BY(engine_lock);
	bool queued GUARDED_BY(engine_lock);	/* in that: admitted (or has its locks) and not over */
	enum task_phase phase GUARDED_BY(engine_lock);
	enum task_state state GUARDED_BY(engine_lock);
	bool listed GUARDED_BY(engine_lock);	/* in the engine's list of all */
	bool kept GUARDED_BY(engine_lock);	/* it became a task: admitted */
	bool planned GUARDED_BY(engine_lock);
	bool holding GUARDED_BY(engine_lock);
	bool in_pool GUARDED_BY(engine_lock);
	bool poked GUARDED_BY(engine_lock);	/* news came while a thread had it */
	bool cancel GUARDED_BY(engine_lock);	/* asked for before there was a run */
	bool settled GUARDED_BY(engine_lock);	/* it succeeds: too late to cancel it */
	bool again GUARDED_BY(engine_lock);	/* the run has to find out what happened */
	bool in_call GUARDED_BY(engine_lock);	/* a thread is inside a kind */
	bool given_up GUARDED_BY(engine_lock);	/* … and will not be waited for */
	bool changed GUARDED_BY(engine_lock);
	bool back GUARDED_BY(engine_lock);	/* it undoes what was done */
	bool turned GUARDED_BY(engine_lock);	/* with the step it is in */
	bool at_rest GUARDED_BY(engine_lock);	/* no step of it is left to do */
	struct run *active GUARDED_BY(engine_lock);	/* run, for its atomics */
	struct arena *lock_arena GUARDED_BY(engine_lock);
	struct list locks GUARDED_BY(engine_lock);
	uint64_t wake GUARDED_BY(engine_lock);		/* PARKED; STUCK: when to look again */
	uint64_t call_until GUARDED_BY(engine_lock);
	uint64_t ended_ms GUARDED_BY(engine_lock);
	size_t step GUARDED_BY(engine_lock), steps GUARDED_BY(engine_lock);
	char title[TASK_TEXT] GUARDED_BY(engine_lock);
	char message[TASK_TEXT] GUARDED_BY(engine_lock);
	char started_at[TIME_TEXT] GUARDED_BY(engine_lock);
	char ended_at[TIME_TEXT] GUARDED_BY(engine_lock);
	struct error error GUARDED_BY(engine_lock);
	struct task_texts texts GUARDED_BY(engine_lock);
	struct waiter *waiters GUARDED_BY(engine_lock);
	unsigned n_waiters GUARDED_BY(engine_lock);
};

TAILQ_HEAD(task_list, task);

/* Who comes first at a lock: an entry of the table that schedule() makes anew in each pass. */
struct claim {
	const char *name;	/* the task's; NULL: the entry is empty */
	struct task *task;
};

struct engine {
	struct engine_config config;	/* immutable */
	struct run_world world;
	struct pool *pool;		/* immutable pointer, locks itself */
	int timer;			/* timerfd */
	struct task_list all GUARDED_BY(engine_lock);	/* in order of birth */
	struct task_list queue GUARDED_BY(engine_lock);	/* in order of admission */
	unsigned unfinished GUARDED_BY(engine_lock);
	unsigned ended GUARDED_BY(engine_lock);
	uint64_t armed GUARDED_BY(engine_lock); /* when the timer goes off; UINT64_MAX: never */
	bool stopping GUARDED_BY(engine_lock);
	struct claim *claims GUARDED_BY(engine_lock);
	size_t n_claims GUARDED_BY(engine_lock);	/* a power of two */
};

/* What to do when the lock is given back: jobs for the pool, changes to tell, waiters to call. */
struct task_node {
	struct task_node *next;
	struct task *task;	/* a reference */
};

struct after {
	struct task_node *ready, *changed;
	struct waiter *fire;
};

/* engine.c */
void after_changed(struct after *after, struct task *task) REQUIRES(engine_lock);
void after_run(struct engine *engine, struct after *after) EXCLUDES(engine_lock);
/* Let engine_fd() be readable at `when` at the latest. */
void engine_arm(struct engine *engine, uint64_t when) REQUIRES(engine_lock);
void engine_list_task(struct engine *engine, struct task *task) REQUIRES(engine_lock);

/* task.c */
struct task *task_new(struct engine *engine, const char *id, const struct operation *operation,
		      void *request, const struct task_options *options);
void task_texts_finish(struct task_texts *texts);
void task_move(struct task *task, enum task_state to) REQUIRES(engine_lock);
/* Take those out whose stage is reached (or all, when the engine stops) and let them be called. */
void task_release_waiters(struct task *task, bool stopping, struct after *after)
	REQUIRES(engine_lock);
void task_expire_waiters(struct task *task, uint64_t now, struct after *after)
	REQUIRES(engine_lock);
/* In a state that does not move on by itself. */
bool task_ended(const struct task *task) REQUIRES(engine_lock);
/* Its locks from now on: a copy of these. */
void task_set_locks(struct task *task, const struct list *a, const struct list *b)
	REQUIRES(engine_lock);
/* Does the task have, or want, this lock? */
bool task_has_lock(const struct task *task, const char *lock) REQUIRES(engine_lock);

/* schedule.c */
/* A task that a thread is to have now. */
void schedule_ready(struct task *task, struct after *after) REQUIRES(engine_lock);
/* Give locks to those that may have them. */
void schedule(struct engine *engine, struct after *after) REQUIRES(engine_lock);
/* Another admitted task, not over, has one of these locks; stuck ones do not count. */
bool schedule_meets(struct engine *engine, const struct task *task, const struct list *locks)
	REQUIRES(engine_lock);
/* A parked task goes on at once, one that a thread has when it would park. */
void schedule_wake(struct task *task, struct after *after) REQUIRES(engine_lock);
/* A stuck task is looked at again as soon as it has its locks. */
void schedule_again(struct task *task) REQUIRES(engine_lock);

/* work.c */
void work_job(void *data, struct pool_job *job);
/* Its call is past its deadline: stuck, and nobody waits for it. */
void work_give_up(struct task *task, struct after *after) REQUIRES(engine_lock);
void work_hooks(struct task *task, struct run_hooks *hooks);
