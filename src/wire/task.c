/* SPDX-License-Identifier: Apache-2.0 */
/* The rows of task.h. No code. */
#include "wire/task.h"

const char *const wire_task_state_words[] = {
	[TASK_QUEUED] = "queued",
	[TASK_RUNNING] = "running",
	[TASK_SUCCEEDED] = "succeeded",
	[TASK_FAILED] = "failed",
	[TASK_CANCELLED] = "cancelled",
	[TASK_ROLLED_BACK] = "rolled_back",
	[TASK_STUCK] = "stuck",
	[TASK_STATES] = NULL,
};

const char *const wire_undo_words[] = { [UNDO_YES] = "yes", [UNDO_NONE] = "none", NULL };

static const struct row write_rows[] = {
	{ "path", ROW_STRING, ROW_NOT_NULL, offsetof(struct wire_write, path),
	  .help = "what is written to" },
	{ "value", ROW_STRING, 0, offsetof(struct wire_write, value), .help = "what is written" },
	ROW_END,
};

#define STEP(field) offsetof(struct wire_step, field)

static const struct row step_rows[] = {
	{ "n", ROW_INT, ROW_NOT_NULL, STEP(n), .help = "from 1" },
	{ "kind", ROW_STRING, ROW_NOT_NULL, STEP(kind), .help = "the kind of step" },
	{ "text", ROW_STRING, ROW_NOT_NULL, STEP(text), .help = "what it does" },
	{ "undo", ROW_WORD, ROW_NOT_NULL, STEP(undo), .words = wire_undo_words,
	  .help = "none: a point of no return" },
	{ "writes", ROW_OBJECTS, ROW_NOT_NULL, STEP(writes), .rows = write_rows,
	  .size = sizeof(struct wire_write), .help = "the writes, in order" },
	ROW_END,
};

#define PLAN(field) offsetof(struct wire_plan, field)

const struct row wire_plan_rows[] = {
	{ "title", ROW_STRING, ROW_NOT_NULL, PLAN(title), .help = "what it is for" },
	{ "digest", ROW_STRING, ROW_NOT_NULL, PLAN(digest),
	  .help = "SHA-256 of the steps; If-Plan takes it" },
	{ "steps", ROW_OBJECTS, ROW_NOT_NULL, PLAN(steps), .rows = step_rows,
	  .size = sizeof(struct wire_step),
	  .help = "in order; none when it is refused or so already" },
	{ "refusals", ROW_OBJECTS, ROW_NOT_NULL, PLAN(refusals), .rows = wire_refusal_rows,
	  .size = sizeof(struct wire_refusal), .help = "all that stands against it" },
	{ "warnings", ROW_STRINGS, ROW_NOT_NULL, PLAN(warnings), .help = "what to know before" },
	{ "domain_xml", ROW_STRING, ROW_OPTIONAL | ROW_NOT_NULL, PLAN(domain_xml),
	  .help = "what libvirt gets" },
	ROW_END,
};

const struct row wire_dry_run_rows[] = {
	{ "plan", ROW_OBJECT, ROW_NOT_NULL, offsetof(struct wire_dry_run, plan),
	  .rows = wire_plan_rows, .size = sizeof(struct wire_plan),
	  .help = "what would be done; nothing was" },
	ROW_END,
};

#define TASK(field) offsetof(struct wire_task, field)

const struct row wire_task_rows[] = {
	{ "id", ROW_STRING, ROW_NOT_NULL, TASK(id), .help = "the task's id" },
	{ "title", ROW_STRING, ROW_NOT_NULL, TASK(title), .help = "what it is for" },
	{ "state", ROW_WORD, ROW_NOT_NULL, TASK(state), .words = wire_task_state_words,
	  .help = "where it stands" },
	{ "step", ROW_INT, ROW_NOT_NULL, TASK(step),
	  .help = "the step it is in, from 1; 0: none yet" },
	{ "steps", ROW_INT, ROW_NOT_NULL, TASK(steps), .help = "how many there are" },
	{ "percent", ROW_INT, 0, TASK(percent), .help = "of the steps, those that are done; null: it goes back, or did not succeed" },
	{ "message", ROW_STRING, 0, TASK(message), .help = "what it does or waits for now" },
	{ "started_at", ROW_STRING, 0, TASK(started_at), .help = "RFC 3339, UTC" },
	{ "ended_at", ROW_STRING, 0, TASK(ended_at), .help = "RFC 3339, UTC" },
	{ "result", ROW_JSON, 0, TASK(result), .help = "the resource as it is at the end" },
	{ "problem", ROW_OBJECT, 0, TASK(problem), .rows = wire_problem_rows,
	  .size = sizeof(struct wire_problem), .help = "why it did not succeed" },
	{ "resources", ROW_STRINGS, ROW_NOT_NULL, TASK(resources),
	  .help = "what it holds while it runs: card:…, group:…, vm:…, pool:…" },
	{ "requested_by", ROW_STRING, 0, TASK(requested_by), .help = "who asked for it" },
	ROW_END,
};
