/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Steps about what is stored of a VM. They last. See steps.h and plan/step.h.
 *
 * Each writes over exactly what its plan saw, or fails. When a VM was made is drawn as it is
 * written, not when it is planned: the same request has the same plan at any time.
 */
#include <string.h>

#include "vm/lifecycle.h"
#include "vm/steps.h"

enum { KEY_BYTES = STORE_KEY_MAX + 1 };

#define RECORD(field) offsetof(struct record_step, field)

static const struct row record_rows[] = {
	{ "vm", ROW_STRING, ROW_REQUIRED, RECORD(vm), .check = wire_vm_id_check },
	{ "value", ROW_STRING, 0, RECORD(value), .max = STORE_VALUE_MAX },
	{ "was", ROW_STRING, 0, RECORD(was), .max = STORE_VALUE_MAX },
	ROW_END,
};

/* `was` (may be NULL): what it is written over; the VM is as old as that says. */
static char *dated(const char *text, const char *was)
{
	CLEANUP(arena_freep) struct arena *arena = arena_new();
	struct vm_record vm, old;
	char now[TIME_TEXT];

	if (vm_record_parse(text, 0, arena, &vm, NULL) < 0)
		return NULL;
	if (!vm.created_at && was && vm_record_parse(was, 0, arena, &old, NULL) == 0)
		vm.created_at = old.created_at;
	if (!vm.created_at)
		vm.created_at = time_now(now);
	return vm_record_print(&vm);
}

/*
 * Is what is stored (NULL: nothing) what the step means by `wanted` (NULL: nothing)? Compared as
 * this version writes them down: an earlier one may have left fields out. When it was made does not
 * matter to what does not say it.
 */
static bool same(const char *stored, const char *wanted)
{
	CLEANUP(arena_freep) struct arena *arena = arena_new();
	CLEAN_FREE char *a = NULL, *b = NULL;
	struct vm_record is, meant;

	if (!stored || !wanted)
		return !stored && !wanted;
	if (!strcmp(stored, wanted))
		return true;
	if (vm_record_parse(stored, 0, arena, &is, NULL) < 0 ||
	    vm_record_parse(wanted, 0, arena, &meant, NULL) < 0)
		return false;
	if (!meant.created_at)
		is.created_at = NULL;
	a = vm_record_print(&is);
	b = vm_record_print(&meant);
	return a && b && !strcmp(a, b);
}

/* *ret: what is stored, or NULL; *mod: its revision, 0 for none. */
static int read_row(const struct vm_services *sv, const struct record_step *s, struct arena *arena,
		    const char **ret, int64_t *mod, struct error *err)
{
	struct store_row row = { 0 };
	char key[KEY_BYTES];
	int r;

	snprintf(key, sizeof(key), "vms/%s", s->vm);
	r = store_get(sv->gpu.store, key, arena, &row, err);
	*ret = r == 1 ? row.value : NULL;
	*mod = r == 1 ? row.mod : 0;
	return r < 0 ? -1 : 0;
}

static int write_row(const struct vm_services *sv, const struct record_step *s, int64_t mod,
		     const char *stored, const char *text, struct error *err)
{
	CLEAN_FREE char *value = text ? dated(text, stored) : NULL;
	char key[KEY_BYTES];
	int r;

	if (text && !value)
		return error_set(err, ERROR_INTERNAL, "the record of VM %s is none", s->vm);
	snprintf(key, sizeof(key), "vms/%s", s->vm);
	r = value ? store_put_if(sv->gpu.store, key, mod, value, NULL, err)
		  : store_delete_if(sv->gpu.store, key, mod, NULL, err);
	fault_inside();
	if (r == 1)
		return 0;
	return r < 0 ? -1 : error_set(err, ERROR_CONFLICT, "VM %s was changed meanwhile", s->vm);
}

/* From one to the other; already there is good. */
static int change(const struct vm_services *sv, const struct record_step *s, const char *from,
		  const char *to, struct error *err)
{
	CLEANUP(arena_freep) struct arena *arena = arena_new();
	const char *stored;
	int64_t mod;

	if (read_row(sv, s, arena, &stored, &mod, err) < 0)
		return -1;
	if (same(stored, to))
		return 0;
	if (!same(stored, from))
		return error_set(err, ERROR_CONFLICT, "VM %s was changed meanwhile", s->vm);
	return write_row(sv, s, mod, stored, to, err);
}

static int is_stored(const struct vm_services *sv, const struct record_step *s, const char *wanted,
		     struct error *err)
{
	CLEANUP(arena_freep) struct arena *arena = arena_new();
	const char *stored;
	int64_t mod;

	if (read_row(sv, s, arena, &stored, &mod, err) < 0)
		return -1;
	return same(stored, wanted)
		       ? 0
		       : error_set(err, ERROR_PROOF_FAILED,
				   "what is stored of VM %s is not what was written", s->vm);
}

static int record_apply(void *services, const void *args, struct error *err)
{
	const struct record_step *s = args;

	return change(services, s, s->was, s->value, err);
}

static int record_prove(void *services, const void *args, struct error *err)
{
	return is_stored(services, args, ((const struct record_step *)args)->value, err);
}

static int record_undo(void *services, const void *args, struct error *err)
{
	const struct record_step *s = args;

	return change(services, s, s->value, s->was, err);
}

static int record_prove_undone(void *services, const void *args, struct error *err)
{
	return is_stored(services, args, ((const struct record_step *)args)->was, err);
}

static int record_holds(void *services, const void *args)
{
	struct error err = { 0 };

	if (!record_prove(services, args, &err))
		return 1;
	return err.code == ERROR_PROOF_FAILED ? 0 : -1;
}

static const char *record_text(const void *args, struct arena *arena)
{
	const struct record_step *s = args;

	return arena_printf(arena, s->was ? "write down the change of VM %s" : "write down VM %s",
			    s->vm);
}

static const char *delete_text(const void *args, struct arena *arena)
{
	return arena_printf(arena, "forget VM %s", ((const struct record_step *)args)->vm);
}

#define OF_RECORD                                                                                  \
	.args = record_rows, .args_size = sizeof(struct record_step), .lasting = true,             \
	.apply = record_apply, .prove = record_prove, .undo = record_undo,                         \
	.prove_undone = record_prove_undone, .holds = record_holds

static const struct step_kind kinds[] = {
	/* keep sorted by name */
	{ "record", OF_RECORD, .text = record_text },
	{ "record-delete", OF_RECORD, .text = delete_text },
};

const struct step_table vm_record_steps = STEP_TABLE(kinds);
