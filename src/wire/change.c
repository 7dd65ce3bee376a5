/* SPDX-License-Identifier: Apache-2.0 */
/* The rows of change.h. */
#include "wire/change.h"

#include "wire/task.h"

static const char *const scope_words[] = { "card", "function", NULL };

const struct row wire_change_query_rows[] = {
	{ "dry_run", ROW_BOOL, 0, offsetof(struct wire_change_query, dry_run),
	  .help = "true: answer with the plan, change nothing" },
	ROW_END,
};

#define ACCEPT(type)                                                                               \
	{ "accept", ROW_STRINGS, 0, offsetof(struct type, accept), .max = 32,                      \
	  .help = "codes of refusals that are to be passed over, where they can be" }

const struct row wire_bind_rows[] = {
	{ "scope", ROW_WORD, 0, offsetof(struct wire_bind, scope), .words = scope_words,
	  .help = "the whole card, or this function only; default card" },
	ACCEPT(wire_bind),
	ROW_END,
};

const struct row wire_accept_rows[] = {
	ACCEPT(wire_accept),
	ROW_END,
};

const struct row wire_sriov_change_rows[] = {
	{ "vfs", ROW_INT, ROW_REQUIRED, offsetof(struct wire_sriov_change, vfs), .min = 0,
	  .max = UINT16_MAX, .help = "how many VFs it is to have; 0: none" },
	ACCEPT(wire_sriov_change),
	ROW_END,
};

const struct row wire_task_query_rows[] = {
	{ "state", ROW_WORD, 0, offsetof(struct wire_task_query, state),
	  .words = wire_task_state_words, .help = "only tasks in this state" },
	ROW_END,
};
