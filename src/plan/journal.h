/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal: what was begun and is not known to be over, so that a daemon killed at any instant
 * finds out at its next start.
 *
 * Two append-only files of lines, each with its own checksum. RUN/journal holds what dies with the
 * boot: the records of kernel steps, and the table *taken*. VAR/journal holds the records of
 * lasting steps; each task there names the boot in which it ran. A record of a point of no return
 * goes into both. The intent of a step is on disk before the step begins, its result before the
 * next one begins. A last line that is torn was never answered for, and is cut off; a damaged line
 * elsewhere is an error, and the file stays as it is.
 *
 * One journal per process. Any thread; calls take turns, and each may take as long as an fsync(2).
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "base/arena.h"
#include "base/error.h"
#include "plan/plan.h"

struct journal;

enum {
	JOURNAL_LINE_MAX = 4 << 20,	/* bytes of one record */
	JOURNAL_TAKEN_MAX = 4096,
	JOURNAL_COMPACT = 256 << 10,	/* bytes after which ended tasks are cut out */
};

/*
 * Open or make both files. Directories must be there. boot is the boot's id as text: a RUN journal
 * of another boot is emptied. NULL with ERROR_STORE, which names the file.
 */
struct journal *journal_open(const char *run_dir, const char *var_dir, const char *boot,
			     struct error *err);
void journal_close(struct journal *journal);
DEFINE_CLEANUP(struct journal *, journal_close)

enum step_status {
	STEP_NONE,		/* not begun */
	STEP_INTENT,		/* begun, and not known to be over */
	STEP_DONE,		/* proven */
	STEP_UNDOING,		/* going back was begun */
	STEP_UNDONE,		/* proven to be as it was before */
};

/*
 * The plan is about to run: its steps and locks. A plan without steps is not written. When it
 * returns 0 the record is on disk.
 */
int journal_begin(struct journal *journal, const char *task, const char *requested_by,
		  const struct plan *plan, struct error *err);
/*
 * Step n (from 0) of the task has this status now. That it was undone stands also when -1 is
 * returned: see journal_end().
 */
int journal_step(struct journal *journal, const char *task, size_t n, const struct plan_step *step,
		 enum step_status status, struct error *err);
/* Steps n to n + count - 1, all with undo and none lasting, have it: one record, so all or none. */
int journal_steps(struct journal *journal, const char *task, size_t n, size_t count,
		  enum step_status status, struct error *err);
/*
 * The task is over; nothing of it is looked at again. -1: there was no room to write that down. It
 * is kept, and written before anything else: until then no task begins.
 */
int journal_end(struct journal *journal, const char *task, struct error *err);

/* A task that was begun and has not ended. */
struct journal_task {
	const char *id;
	const char *title;
	const char *requested_by;	/* NULL: not told */
	bool rebooted;			/* its kernel steps died with an earlier boot */
	struct list locks;		/* strings */
	json_t *steps; /* [{"kind", "args"}], borrowed from the journal: see below */
	enum step_status *status;	/* one per step */
	size_t n;
};

/*
 * Those found by journal_open(), in no order; a list of struct journal_task. Valid until
 * journal_forget_found(), which frees them: call it when recovery has taken them over.
 */
const struct list *journal_found(struct journal *journal);
void journal_forget_found(struct journal *journal);

/*
 * The table taken: what a thing was before Horcrux took it. key is chosen by the layer (a PCI
 * address); the value is that layer's rows as JSON. Lives over restarts of the daemon, dies with
 * the boot.
 */
int journal_taken_put(struct journal *journal, const char *key, json_t *value, struct error *err);
/* Dropping what is not there is no error, nor is a lack of room: see journal_end(). */
int journal_taken_drop(struct journal *journal, const char *key, struct error *err);
/* A new reference, or NULL when nothing is kept under the key. */
json_t *journal_taken_get(struct journal *journal, const char *key);
/* A new reference to an object: key -> value. */
json_t *journal_taken_all(struct journal *journal);
