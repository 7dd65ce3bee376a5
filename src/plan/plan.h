/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A plan: what a planner, a pure function, made of facts and a request. Either steps or refusals.
 *
 * A planner fills it in any order and need not stop at the first refusal: it says all of them, and
 * plans the steps past those that can be accepted. Whoever runs it calls plan_accept() and then
 * looks at the refusals: if any is left, the steps mean nothing.
 * It names its locks also when it refuses.
 *
 * The digest is the same for the same steps with the same args. What a request leaves open (a UUID,
 * a MAC) has to be derived from the request when it is normalised, not drawn, or If-Plan never
 * fits.
 *
 * Owned by one thread at a time. Everything in it lives in its arena.
 */
#pragma once

#include "base/rows.h"
#include "plan/refusal.h"
#include "plan/step.h"
#include "wire/problem.h"

enum {
	PLAN_STEPS_MAX = 256,
	PLAN_LOCKS_MAX = 64,
	PLAN_REFUSALS_MAX = 256,
	PLAN_LOCK_TEXT = 128,		/* bytes of a lock's name with its NUL */
	PLAN_DIGEST_TEXT = 65,		/* SHA-256 in hex */
};

struct plan_step {
	const struct step_kind *kind;
	const void *args;	/* in the plan's arena */
	json_t *json;		/* the args as they go into the journal; the plan's reference */
};

struct plan {
	struct arena *arena;
	const char *title;
	bool vm_start;			/* the rules of a VM's start: set before any refusal */
	struct list steps;		/* struct plan_step */
	struct list refusals;		/* struct wire_refusal */
	struct list locks;		/* strings, sorted, each once */
	struct list warnings;		/* strings */
	const char *domain_xml;		/* NULL: no VM is started */
	char digest[PLAN_DIGEST_TEXT];	/* of the steps; plan_digest() makes it */
	struct error broken; /* a planner's fault (args that do not pass their own rows) */
};

struct plan *plan_new(void);
void plan_free(struct plan *plan);
DEFINE_CLEANUP(struct plan *, plan_free)

void plan_title(struct plan *plan, const char *fmt, ...) PRINTF(2, 3);

/*
 * Add a step. The args are copied by way of their rows, so what runs is what the journal can hold,
 * and the planner may build them on its stack.
 */
void plan_step(struct plan *plan, const struct step_kind *kind, const void *args);

/*
 * What must not change under the plan: "card:<id>", "group:<n>", "vm:<id>", "pool:<name>". A task
 * waits while an earlier one has one of them.
 */
void plan_lock(struct plan *plan, const char *fmt, ...) PRINTF(2, 3);

void plan_warn(struct plan *plan, const char *fmt, ...) PRINTF(2, 3);

/*
 * Refuse. reason: one sentence; evidence: what was found and where (may be NULL); fix: what to do
 * (may be NULL). All are copied. The same code for the same subject is said once. The refusal is
 * returned, never NULL.
 */
struct wire_refusal *plan_refuse(struct plan *plan, enum refusal_code code, const char *subject,
				 const char *reason, const char *evidence, const char *fix);
/* "unknown_<fact>": a danger that cannot be read. fact is [a-z_]+. */
struct wire_refusal *plan_refuse_unknown(struct plan *plan, const char *fact, const char *subject,
					 const char *reason, const char *evidence, const char *fix);

/* True when it refuses so; "unknown_x" by its whole name. For tests and for planners. */
bool plan_refuses(const struct plan *plan, const char *code);

/*
 * Take out the refusals whose code is in `accept` (strings) and that can be accepted. One that
 * cannot stays, and its reason says so. -1 with invalid_value and a pointer into /accept when a
 * code is none.
 */
int plan_accept(struct plan *plan, const struct list *accept, struct error *err);

/* 0, or -1 with plan->broken: a step of it could not be made. */
int plan_whole(const struct plan *plan, struct error *err);
/* Makes plan->digest. 0, or -1 with plan->broken. Call when the steps are complete. */
int plan_digest(struct plan *plan, struct error *err);

/* Is it the plan whose digest the caller expects (NULL: any)? 0, or -1 with plan_changed. */
int plan_expected(const struct plan *plan, const char *digest, struct error *err);

/* {"plan": {...}} as a dry run answers; a new reference. Refused: no steps. */
json_t *plan_emit(struct plan *plan);
/* The refusals as JSON, a new reference to an array. */
json_t *plan_emit_refusals(const struct plan *plan);

/*
 * One step from the journal: kind and args by name and JSON (borrowed for the call). -1 with an
 * error when the kind is not known or the args do not pass: the journal is of another version.
 */
int plan_step_load(struct plan *plan, const struct step_table *tables, size_t n_tables,
		   const char *kind, json_t *args, struct error *err);

/* Two sorted lists of locks have one in common. */
bool plan_locks_meet(const struct list *a, const struct list *b);
/* `inner` has nothing that `outer` has not. */
bool plan_locks_within(const struct list *inner, const struct list *outer);
