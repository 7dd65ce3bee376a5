/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A step: one change to the world that can be proven, and mostly undone. A step kind is a row in a
 * const table of its layer (gpu/steps.c, vm/steps.c); daemon/main.c hands the tables to the engine,
 * which knows nothing else about them.
 *
 * The laws of a kind:
 * - Args are a struct with rows. They hold everything, also the value before (`was`), so undo needs
 *   nothing that apply produced, and no step has an output that a later one reads. They go into the
 *   journal as JSON by their rows and are read back from it, so the rows' limits apply: say `max`
 *   where a string may be longer than 255 bytes or a list longer than 64.
 * - One step is one write where that is possible. What apply did half is put right by undo.
 * - All functions run in a task's thread, may block up to the deadline, and may be called again
 *   after a crash: apply and undo of what is so already are no error.
 * - Errors: ERROR_STUCK (it did not come back in time) and ERROR_HELPER (nobody knows what
 *   happened) make the engine ask which writers still live before it touches anything again.
 *   ERROR_EXISTS from apply means: somebody else has one of that name, and nothing was begun, so
 *   this step is not undone. Every other code means: this step failed, go back.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/rows.h"

struct privd_request;

/* Who wants to know how far a chain of requests is. */
struct chain_watch {
	void (*at)(void *data, size_t i);	/* the request that is under way now, from 0 */
	void *data;
};

/* One write of a step, for dry runs and the audit. */
struct step_write {
	const char *path;	/* a file under the host root, or what else is written to */
	const char *value;
};

struct step_kind {
	/* [a-z0-9-], unique over all tables; in the journal, in dry runs, in HORCRUX_FAULT. */
	const char *name;
	const struct row *args;
	size_t args_size;
	/* What it changes outlives the boot (file, store); false: it dies with it (kernel). */
	bool lasting;

	/* Do it. 0, or -1 with an error. */
	int (*apply)(void *services, const void *args, struct error *err);
	/*
	 * Read the world back. 0: it is as apply wants it. -1: it is not, err says what was found.
	 * 1: not yet; the task waits without a thread and asks again, at the latest a second later
	 * and at once after engine_poke(). err, set also then, is what is told when the deadline
	 * passes first.
	 */
	int (*prove)(void *services, const void *args, struct error *err);
	/*
	 * While prove says "not yet", apply is done again so long after the last time, and so long before
	 * the deadline at the latest: for what may be asked of somebody who does not listen yet. Only the
	 * first counts as failed when it fails. 0: once.
	 */
	unsigned again_ms;
	/* NULL: there is no way back; the step is a point of no return. Results as apply, prove. */
	int (*undo)(void *services, const void *args, struct error *err);
	/* Set exactly when undo is. */
	int (*prove_undone)(void *services, const void *args, struct error *err);
	/*
	 * For recovery: 1 the world shows the step applied, 0 it shows that it is not (or only in
	 * part, where undo puts that right), -1 it cannot be told.
	 */
	int (*holds)(void *services, const void *args);

	/* How long apply and prove, or undo and prove_undone, may take together; NULL: 30 s. A
	 * thread not back two seconds after it makes the task stuck. */
	unsigned (*deadline_ms)(const void *args);
	/* One line for people, in the imperative: "unbind 0000:01:00.1 from snd_hda_intel". */
	const char *(*text)(const void *args, struct arena *arena);
	/* The writes, in order: list_add(arena, writes, struct step_write). May be NULL. */
	void (*writes)(const void *args, struct arena *arena, struct list *writes);
	/*
	 * Its apply as one request to the helper (privd/protocol.h), which answers that it was done only when
	 * that reads back so; pure. False: not with these args. Neighbours that have one go to the helper
	 * together, with all their intents written down before and looked at by nobody in between. So undo
	 * and prove_undone have to find nothing to undo where the step was never begun, though its neighbours
	 * were. Only with undo, and not where `lasting`. May be NULL.
	 */
	bool (*request)(const void *args, struct privd_request *request);
	/* Such a request failed, with that error: what apply would do then besides telling it. May be NULL. */
	void (*refused)(void *services, const void *args, struct error *err);
	/*
	 * What a helper's child that does this writes to, in the words of the engine's
	 * live_children: a PCI address as text. NULL: this kind has no such child.
	 */
	const char *(*subject)(const void *args, struct arena *arena);
};

/* A layer's table. Kinds are sorted by name. */
struct step_table {
	const struct step_kind *kinds;
	size_t n;
};

#define STEP_TABLE(array) { (array), ARRAY_SIZE(array) }

/* The kind of that name in any of n tables; NULL when there is none. */
const struct step_kind *step_find(const struct step_table *tables, size_t n, const char *name);
/*
 * Checks what this page says of the tables: names well formed, sorted and unique, no function
 * missing, prove_undone with undo. 0, or -1 with the first that breaks it (internal).
 */
int step_tables_check(const struct step_table *tables, size_t n, struct error *err);
/* kind->deadline_ms(args), or what stands for it. */
unsigned step_deadline(const struct step_kind *kind, const void *args);
/* The text, "kind" itself when it has none. */
const char *step_text(const struct step_kind *kind, const void *args, struct arena *arena);

/*
 * Fault injection, HORCRUX_FAULT=kill:PROGRAM:STEP:before|inside|after, from the environment only.
 * STEP is a kind, or "kind/undo" for its way back. before: the intent is in the journal, nothing
 * was done. inside: apply was entered and what it asks for was sent. after: apply came back, its
 * result is not in the journal. The process then ends by SIGKILL.
 *
 * fault_load() reads the environment once, before threads. 1 when a fault is armed for this
 * program, 0 when none is (also when it is for another program), -1 when the words are wrong. *ret
 * is the text (from the environment), for the caller to log; NULL when there is none.
 */
int fault_load(const char *program, const char **ret, struct error *err);

enum fault_point { FAULT_BEFORE, FAULT_INSIDE, FAULT_AFTER };

/* Ends the process if the fault armed is this one. */
void fault_point(enum fault_point point, const struct step_kind *kind, bool undo);
/*
 * For the layers below a step (the helper's client, libvirt): the request was sent, its answer was
 * not yet read. Counts for the step that this thread is in; does nothing outside of one.
 */
void fault_inside(void);
/* The steps this thread is in from now on, n of them, borrowed; 0: none. For the engine. */
void fault_enter(const struct step_kind *const *kinds, size_t n, bool undo);
