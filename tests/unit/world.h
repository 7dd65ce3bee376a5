/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A world for tests of the engine: cells with numbers in shared memory, so that it outlives a
 * process that is killed in the middle of changing it; step kinds that change one cell each and
 * misbehave where they are told to; and a planner that wants cells to have values.
 *
 * What steps do is logged. Any thread.
 */
#pragma once

#include <stdatomic.h>

#include "plan/task.h"

enum { WORLD_CELLS = 16, WORLD_LOG = 8192, WORLD_KINDS = 4, WORLD_AGAIN_MS = 60,
       WORLD_ALONE = 1000 };

enum world_act { DID_APPLY, DID_PROVE, DID_UNDO, DID_PROVE_UNDONE };

/* How a cell misbehaves; all zero: not at all. Codes are enum error_code. */
struct world_cell {
	atomic_int value;
	atomic_int fail_apply;		/* fails with this code and does nothing */
	atomic_int fail_apply_done;	/* does it, and fails all the same */
	atomic_int fail_prove;
	atomic_int fail_undo;
	atomic_int fail_prove_undone;
	atomic_int deaf;		/* so many presses do nothing; < 0: all of them */
	atomic_int not_yet;		/* so many proofs come too early; < 0: all of them */
	atomic_int unknown;		/* holds cannot tell, so many times; < 0: ever */
	atomic_int hang;		/* apply sleeps while this is set */
	atomic_int deadline_ms;		/* 0: 5 s */
	atomic_int own_way;		/* so many times a chain leaves it to go its own way */
	atomic_int refused;		/* counts what failed in a chain */
};

struct world {
	struct world_cell cell[WORLD_CELLS];
	atomic_int helper_down;		/* so many times the helper cannot be asked; < 0: ever */
	atomic_int fail_result;		/* result() fails with this code */
	atomic_int live_cell;		/* cell + 1 that a child writes to; 0: none */
	atomic_int chains;		/* how many were asked for */
	atomic_int strike_cell;		/* cell + 1 at which a chain ends the daemon; 0: none */
	atomic_int lost;		/* after a failure in a chain nobody knows how far it came */
	atomic_int n_log;
	atomic_int log[WORLD_LOG];	/* act * WORLD_CELLS + cell + 1 */
	char verdict[32];		/* for tests with processes */
};

/* A fresh one, shared with children. */
struct world *world_new(void);
void world_free(struct world *world);
/* The log as text, "apply 0, prove 0, …", from entry `from`; malloc'd. */
char *world_log(struct world *world, int from);
int world_logged(const struct world *world, enum world_act act);

/*
 * Kinds, WORLD_KINDS of each so that a fault can name one: "set-N" (kernel), "file-N" (lasting),
 * "final-N" (kernel, no way back), "last-N" (lasting, no way back), "link-N" (as set, and goes to the
 * helper with its neighbours, unless its value is WORLD_ALONE or more), "press-N" (as final, and done
 * again each WORLD_AGAIN_MS until it is so). Args: cell, value, was.
 *
 * In a chain each is proven where it is applied, so only DID_APPLY is logged of it.
 */
extern const struct step_table world_steps;

struct world_wish {
	const char *kind;	/* "set-0" */
	int cell, value;
};

/* A request: make it so. Steps only for what is not so yet; "cell:N" and `locks` are its locks. */
struct world_request {
	struct world_wish wish[WORLD_KINDS];
	size_t n;
	const char *locks[4];
	const char *refuse[4];		/* codes to refuse with, when locked or not */
	bool refuse_first;		/* … only when not locked */
	bool conflict_first;		/* conflict, when not locked */
	int fail_plan;			/* plan fails with this code */
	bool no_cell_lock;		/* only `locks` */
	int more_locks;			/* so many second plans come with another lock */
	atomic_int *plans;		/* counts calls; may be NULL */
	atomic_int *freed;		/* counts; may be NULL */
};

struct world_request *world_request(const struct world_wish *wish, size_t n);
extern const struct operation world_operation;	/* result: {"cells": [values]} */
extern const struct operation world_urgent;
extern const struct operation world_known;	/* as world_operation; its locks are known beforehand */
extern const struct operation world_yielding; /* its locks "cell:…" */

/* Called at the end of each chain, before it is answered; NULL: nothing is. Not for several at once. */
extern void (*world_chain_ends)(void);
/* Fills services, tables, live_children, chain. */
void world_config(struct world *world, struct journal *journal, struct engine_config *config);

/* Dispatches until *flag is set or ms have passed; whether it was. */
bool world_pump(struct engine *engine, atomic_int *flag, unsigned ms);
/* Submits, waits for its end, and fills *outcome. Ends the program when that never comes. */
struct task *world_do(struct engine *engine, const struct operation *operation, void *request,
		      const struct task_options *options, struct task_outcome *outcome);
/* Waits until it is in a state that does not move on; fills *outcome. */
void world_await(struct engine *engine, struct task *task, struct task_outcome *outcome);
