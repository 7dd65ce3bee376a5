/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A plan being run: forward step by step, each with intent, apply, proof and result; back in
 * reverse when one fails; and out of the unknown (recover.h) when it is not clear what happened.
 *
 * The order law. Forward: intent on disk, apply, proof, result on disk, next. Steps that are requests
 * to the helper (step_kind.request) go there together: all intents, one message, in which each is
 * applied and proven before the next is begun, all results. A proven step without
 * undo is a point of no return: from there on only forward. Back: the last step first; one that
 * cannot be undone ends it, because what came before it stands below it.
 *
 * A run belongs to the thread that is in run_continue(), and to nobody between calls; the engine
 * sees to it that there is one at a time. `cancel` alone may be set by others.
 */
#pragma once

#include <stdatomic.h>

#include "base/id.h"
#include "plan/journal.h"
#include "plan/plan.h"

/* What the engine gives to all runs; immutable but for `halt`. */
struct run_world {
	void *services;
	struct journal *journal;
	int (*live_children)(void *services, struct arena *arena, struct list *children,
			     struct error *err);
	/* As engine_config.chain. */
	int (*chain)(void *services, const struct privd_request *requests, size_t n,
		     const struct chain_watch *watch, size_t *done, size_t *begun, struct error *err);
	unsigned helper_ms;	/* how long a helper that does not answer is waited for */
	atomic_bool halt;	/* the engine stops: begin no further step */
};

/* What a run tells while it runs; each may be NULL. */
struct run_hooks {
	void *data;
	/* Step n (from 0) begins, or is being undone. */
	void (*step)(void *data, size_t n, bool back, const char *text);
	/* This thread is about to call into a kind; it should be back by `until` (monotonic ms). */
	void (*enter)(void *data, uint64_t until);
	/* It came back. True: so late that the task was given up meanwhile. */
	bool (*leave)(void *data);
	/*
	 * All is done and proven. True: then it is so, and nobody can cancel it any more; false: it was
	 * cancelled meanwhile. NULL: never.
	 */
	bool (*settle)(void *data);
};

enum run_verdict {
	RUN_WAIT, /* nothing to do before `wake`: call again then, or when poked */
	RUN_SUCCEEDED,
	RUN_FAILED,
	RUN_CANCELLED,
	RUN_ROLLED_BACK,
	RUN_STUCK, /* not over: run_look_again() and run_continue() when there is news */
};

enum run_way { RUN_FORWARD, RUN_BACK, RUN_UNCLEAR };

struct run {
	struct run_world *world;
	struct run_hooks hooks;
	struct plan *plan;		/* owned */
	char task[ID_TEXT];
	char *requested_by;		/* owned; NULL: not told */
	atomic_bool cancel;		/* set by others */
	atomic_bool final;		/* read by others: it cannot be cancelled any more */
	uint64_t wake;			/* after RUN_WAIT: monotonic ms */
	bool changed;			/* it began to change the world */
	struct error error;		/* the cause; code ERROR_NONE: none so far */

	/* Private to run*.c and recover.c. */
	enum step_status *status;	/* one per step; owned */
	enum run_way way;
	size_t at;			/* the step it is in; going back, one more than that */
	bool begun;			/* the journal knows it */
	bool alone;			/* not with its neighbours: that failed */
	bool proving;			/* apply or undo is over, its proof is not there yet */
	bool passed;			/* a point of no return is behind it */
	bool careful;			/* what it did is not known for certain: look first */
	bool dead_kernel; /* an earlier boot: kernel steps are neither done nor undone */
	bool undone_any;
	unsigned unclear;		/* how often it had to ask what happened */
	uint64_t step_until;		/* deadline of the step, monotonic ms */
	uint64_t unknown_until; /* when it gives up on what cannot be told; 0: it can be */
	uint64_t helper_until; /* when it gives up on a helper that does not answer; 0: not asked */
	uint64_t again_at;		/* when to apply it once more, if it is not proven by then */
	unsigned poll_ms;
};

/* A run of a plan (owned from here). Never NULL. */
struct run *run_new(struct run_world *world, const struct run_hooks *hooks, const char *task,
		    const char *requested_by, struct plan *plan);
/* A run of what the journal found. NULL with an error when a kind is not known any more. */
struct run *run_restore(struct run_world *world, const struct run_hooks *hooks,
			const struct step_table *tables, size_t n_tables,
			const struct journal_task *found, struct error *err);
void run_free(struct run *run);
DEFINE_CLEANUP(struct run *, run_free)

/*
 * Go on until there is a verdict. After every verdict but WAIT and STUCK the journal has forgotten
 * the task. run->error says why it did not succeed.
 */
enum run_verdict run_continue(struct run *run);
/* After RUN_STUCK, and after leave() said that it was given up: find out anew what happened. */
void run_look_again(struct run *run);

/* Does the world show step n applied? As step_kind.holds; 2 when it was given up meanwhile. */
int run_holds(struct run *run, size_t n);
/* run_holds() said -1: what cannot be told now may be in a moment. True: ask again at wake. */
bool run_ask_again(struct run *run);
/* The step is neither done nor to be done: it died with an earlier boot. */
bool run_dead(const struct run *run, size_t n);
struct plan_step *run_step(const struct run *run, size_t n);
