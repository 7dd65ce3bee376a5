/* SPDX-License-Identifier: Apache-2.0 */
/* Plans: filling them, accepting refusals, digest, JSON. Owned by one thread. See plan.h. */
#include "plan/plan.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <string.h>

#include "wire/task.h"

struct plan *plan_new(void)
{
	struct arena *arena = arena_new();
	struct plan *plan = arena_new_of(arena, struct plan);

	plan->arena = arena;
	plan->title = "";
	return plan;
}

void plan_free(struct plan *plan)
{
	if (!plan)
		return;
	for (LIST_EACH(struct plan_step, step, &plan->steps))
		json_decref(step->json);
	arena_free(plan->arena);
}

static PRINTF(2, 0) const char *format(struct plan *plan, const char *fmt, va_list args)
{
	char text[1024];

	vsnprintf(text, sizeof(text), fmt, args);
	return arena_strdup(plan->arena, text);
}

void plan_title(struct plan *plan, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	plan->title = format(plan, fmt, args);
	va_end(args);
}

void plan_warn(struct plan *plan, const char *fmt, ...)
{
	const char *text;
	va_list args;

	va_start(args, fmt);
	text = format(plan, fmt, args);
	va_end(args);
	list_add_string(plan->arena, &plan->warnings, text);
}

static void broken(struct plan *plan, const struct error *why)
{
	if (!plan->broken.code)
		plan->broken = *why;
}

/* Takes the reference to json. */
static void add_step(struct plan *plan, const struct step_kind *kind, json_t *json)
{
	struct error why = { 0 };
	struct plan_step *step;
	void *args;

	if (plan->steps.n == PLAN_STEPS_MAX) {
		json_decref(json);
		error_set(&why, ERROR_TOO_MANY, "a plan has at most %d steps", PLAN_STEPS_MAX);
		broken(plan, &why);
		return;
	}
	step = list_add(plan->arena, &plan->steps, struct plan_step);
	args = arena_alloc(plan->arena, 1, kind->args_size);
	*step = (struct plan_step){ kind, args, json };
	if (rows_parse(kind->args, json, "", plan->arena, args, &why) < 0) {
		error_wrap(&why, "step %zu, \"%s\"", plan->steps.n, kind->name);
		why.code = ERROR_INTERNAL;
		broken(plan, &why);
	}
}

void plan_step(struct plan *plan, const struct step_kind *kind, const void *args)
{
	add_step(plan, kind, rows_emit(kind->args, args));
}

int plan_step_load(struct plan *plan, const struct step_table *tables, size_t n_tables,
		   const char *kind, json_t *args, struct error *err)
{
	const struct step_kind *found = kind ? step_find(tables, n_tables, kind) : NULL;

	if (!found)
		return error_set(err, ERROR_INTERNAL, "step kind \"%s\" is not known",
				 kind ? kind : "");
	add_step(plan, found, json_incref(args));
	if (!plan->broken.code)
		return 0;
	if (err)
		*err = plan->broken;
	return -1;
}

void plan_lock(struct plan *plan, const char *fmt, ...)
{
	char text[PLAN_LOCK_TEXT];
	const char **items = plan->locks.items;
	struct error why = { 0 };
	va_list args;
	size_t at = 0;
	int n;

	va_start(args, fmt);
	n = vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	while (at < plan->locks.n && strcmp(items[at], text) < 0)
		at++;
	if (at < plan->locks.n && !strcmp(items[at], text))
		return;
	if (plan->locks.n == PLAN_LOCKS_MAX || n >= (int)sizeof(text)) {
		error_set(&why, ERROR_TOO_MANY, "a plan has at most %d locks, of %d bytes each",
			  PLAN_LOCKS_MAX, PLAN_LOCK_TEXT - 1);
		broken(plan, &why);
		return;
	}
	list_add_string(plan->arena, &plan->locks, NULL);
	items = plan->locks.items;
	memmove(items + at + 1, items + at, (plan->locks.n - 1 - at) * sizeof(*items));
	items[at] = arena_strdup(plan->arena, text);
}

static struct wire_refusal *find_refusal(const struct plan *plan, const char *code,
					 const char *subject)
{
	for (LIST_EACH(struct wire_refusal, r, &plan->refusals))
		if (!strcmp(r->code, code) && (!subject || !strcmp(r->subject, subject)))
			return r;
	return NULL;
}

static struct wire_refusal *refuse(struct plan *plan, enum refusal_code code, const char *name,
				   const char *subject, const char *reason, const char *evidence,
				   const char *fix)
{
	struct wire_refusal *r = find_refusal(plan, name, subject ? subject : "");

	if (r)
		return r;
	if (plan->refusals.n == PLAN_REFUSALS_MAX)	/* nobody reads more; it stays refused */
		return (struct wire_refusal *)plan->refusals.items + plan->refusals.n - 1;
	r = list_add(plan->arena, &plan->refusals, struct wire_refusal);
	*r = (struct wire_refusal){
		.code = arena_strdup(plan->arena, name),
		.subject = arena_strdup(plan->arena, subject ? subject : ""),
		.reason = arena_strdup(plan->arena, reason),
		.evidence = arena_strdup(plan->arena, evidence),
		.fix = arena_strdup(plan->arena, fix),
		.can_accept = refusal_can_accept(code, plan->vm_start),
	};
	return r;
}

struct wire_refusal *plan_refuse(struct plan *plan, enum refusal_code code, const char *subject,
				 const char *reason, const char *evidence, const char *fix)
{
	return refuse(plan, code, refusal_table[code].name, subject, reason, evidence, fix);
}

struct wire_refusal *plan_refuse_unknown(struct plan *plan, const char *fact, const char *subject,
					 const char *reason, const char *evidence, const char *fix)
{
	char name[64];

	snprintf(name, sizeof(name), "%s%s", refusal_table[REFUSE_UNKNOWN].name, fact);
	return refuse(plan, REFUSE_UNKNOWN, name, subject, reason, evidence, fix);
}

bool plan_refuses(const struct plan *plan, const char *code)
{
	return find_refusal(plan, code, NULL);
}

/* Drops what may go with this code; marks what may not. */
static void accept_code(struct plan *plan, const char *code)
{
	struct wire_refusal *all = plan->refusals.items;
	size_t kept = 0;

	for (size_t i = 0; i < plan->refusals.n; i++) {
		if (!strcmp(all[i].code, code)) {
			if (all[i].can_accept == 1)
				continue;
			all[i].reason = arena_printf(
				plan->arena,
				"%s (the request accepts it, but this cannot be accepted)",
				all[i].reason);
		}
		all[kept++] = all[i];
	}
	plan->refusals.n = kept;
}

int plan_accept(struct plan *plan, const struct list *accept, struct error *err)
{
	const char **codes = accept->items;

	for (size_t i = 0; i < accept->n; i++) {
		if (refusal_find(codes[i]) != REFUSAL_CODES)
			continue;
		error_set(err, ERROR_INVALID_VALUE, "\"%.64s\" is no code of a refusal", codes[i]);
		error_hint(err, "name the codes that the refusals of this request carry");
		return error_pointer(err, "/accept/%zu", i);
	}
	for (size_t i = 0; i < accept->n; i++) {
		size_t before = 0;

		while (before < i && strcmp(codes[before], codes[i]))
			before++;
		if (before == i)	/* named twice is named once */
			accept_code(plan, codes[i]);
	}
	return 0;
}

int plan_whole(const struct plan *plan, struct error *err)
{
	if (!plan->broken.code)
		return 0;
	if (err)
		*err = plan->broken;
	return -1;
}

int plan_digest(struct plan *plan, struct error *err)
{
	unsigned char sum[32];
	gnutls_hash_hd_t hash;
	char *text;

	if (plan_whole(plan, err) < 0)
		return -1;
	if (gnutls_hash_init(&hash, GNUTLS_DIG_SHA256) < 0)
		return error_set(err, ERROR_INTERNAL, "SHA-256 is not available");
	for (LIST_EACH(struct plan_step, step, &plan->steps)) {
		text = json_dumps(step->json, JSON_COMPACT | JSON_SORT_KEYS);
		gnutls_hash(hash, step->kind->name, strlen(step->kind->name) + 1);
		if (text)
			gnutls_hash(hash, text, strlen(text) + 1);
		free(text);
	}
	gnutls_hash_deinit(hash, sum);
	for (size_t i = 0; i < sizeof(sum); i++)
		snprintf(plan->digest + 2 * i, 3, "%02x", sum[i]);
	return 0;
}

int plan_expected(const struct plan *plan, const char *digest, struct error *err)
{
	if (!digest || !strcmp(digest, plan->digest))
		return 0;
	error_set(err, ERROR_PLAN_CHANGED, "the plan would now be another than %.64s", digest);
	return error_hint(err, "ask for the plan again and look at it");
}

json_t *plan_emit_refusals(const struct plan *plan)
{
	return rows_emit_list(wire_refusal_rows, sizeof(struct wire_refusal), &plan->refusals);
}

static void emit_step(struct plan *plan, const struct plan_step *step, struct wire_step *out)
{
	struct list writes = { 0 };
	struct wire_write *write;

	out->kind = step->kind->name;
	out->text = step_text(step->kind, step->args, plan->arena);
	out->undo = step->kind->undo ? UNDO_YES : UNDO_NONE;
	if (step->kind->writes)
		step->kind->writes(step->args, plan->arena, &writes);
	for (LIST_EACH(struct step_write, w, &writes)) {
		write = list_add(plan->arena, &out->writes, struct wire_write);
		write->path = w->path;
		write->value = w->value;
	}
}

json_t *plan_emit(struct plan *plan)
{
	struct wire_plan out;
	struct wire_dry_run dry_run = { &out };
	struct wire_step *step;

	rows_clear(wire_plan_rows, &out);
	out.title = plan->title;
	out.digest = plan->digest;
	out.steps = (struct list){ 0 };
	out.refusals = plan->refusals;
	out.warnings = plan->warnings;
	out.domain_xml = plan->domain_xml;
	for (size_t i = 0; !plan->refusals.n && i < plan->steps.n; i++) {
		step = list_add(plan->arena, &out.steps, struct wire_step);
		step->n = (int64_t)i + 1;
		emit_step(plan, (struct plan_step *)plan->steps.items + i, step);
	}
	return rows_emit(wire_dry_run_rows, &dry_run);
}

bool plan_locks_meet(const struct list *a, const struct list *b)
{
	const char **x = a->items, **y = b->items;
	size_t i = 0, j = 0;
	int order;

	while (i < a->n && j < b->n) {
		order = strcmp(x[i], y[j]);
		if (!order)
			return true;
		if (order < 0)
			i++;
		else
			j++;
	}
	return false;
}

bool plan_locks_within(const struct list *inner, const struct list *outer)
{
	const char **x = inner->items, **y = outer->items;
	size_t j = 0;

	for (size_t i = 0; i < inner->n; i++) {
		while (j < outer->n && strcmp(y[j], x[i]) < 0)
			j++;
		if (j == outer->n || strcmp(y[j], x[i]))
			return false;
	}
	return true;
}
