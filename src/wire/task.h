/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rows of long work: a plan as a dry run shows it, and a task. Structs hold borrowed pointers.
 */
#pragma once

#include "base/rows.h"
#include "wire/problem.h"

struct wire_write {
	const char *path;
	const char *value;
};

enum wire_undo { UNDO_YES, UNDO_NONE };

struct wire_step {
	int64_t n;		/* from 1 */
	const char *kind;
	const char *text;
	int undo;		/* enum wire_undo; none: a point of no return */
	struct list writes;	/* struct wire_write */
};

struct wire_plan {
	const char *title;
	const char *digest;
	struct list steps;	/* struct wire_step */
	struct list refusals;	/* struct wire_refusal */
	struct list warnings;	/* strings */
	const char *domain_xml;	/* NULL: no VM is started */
};

/* What a dry run answers. */
struct wire_dry_run {
	struct wire_plan *plan;
};

struct wire_task {
	const char *id;
	const char *title;
	int state;		/* enum task_state */
	int64_t step, steps;
	int64_t percent;
	const char *message;
	const char *started_at, *ended_at;
	json_t *result;
	struct wire_problem *problem;
	struct list resources;	/* strings */
	const char *requested_by;
};

enum task_state {
	TASK_QUEUED,
	TASK_RUNNING,
	TASK_SUCCEEDED,
	TASK_FAILED,	  /* nothing was changed, or what is left is in the problem */
	TASK_CANCELLED,	  /* asked for; what was done is undone */
	TASK_ROLLED_BACK, /* failed on the way; what was done is undone */
	TASK_STUCK,	  /* something did not come back, or cannot be told: nothing is touched */
	TASK_STATES
};

extern const struct row wire_plan_rows[];
extern const struct row wire_dry_run_rows[];
extern const struct row wire_task_rows[];

/* NULL-terminated, in the order of enum task_state. */
extern const char *const wire_task_state_words[];
extern const char *const wire_undo_words[];
