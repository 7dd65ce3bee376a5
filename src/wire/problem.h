/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rows of what is said when something is not done: a refusal of a planner, and the problem
 * (RFC 9457) that every error reply is. Structs hold borrowed pointers.
 */
#pragma once

#include "base/rows.h"

struct wire_refusal {
	const char *code;    /* from the committed table of refusal codes */
	const char *subject; /* address, VM id or path that it is about */
	const char *reason;
	const char *evidence;
	const char *fix;
	int can_accept;
};

struct wire_problem {
	const char *type;
	const char *title;
	int64_t status;
	const char *detail;
	const char *code;
	const char *hint;     /* NULL: nothing to say */
	const char *pointer;  /* RFC 6901 into the request's body; NULL: not about a field */
	struct list refusals; /* struct wire_refusal; null: not about a plan */
	const char *task;     /* NULL: no task was begun */
	char type_text[64];   /* where type points to */
};

extern const struct row wire_refusal_rows[];
extern const struct row wire_problem_rows[];

/*
 * The problem that an error is. Borrows from err and from itself (do not copy it); refusals (struct
 * wire_refusal) and task may be NULL.
 */
void wire_problem_of(const struct error *err, const struct list *refusals, const char *task,
		     struct wire_problem *out);
