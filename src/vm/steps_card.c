/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Steps about who has a card: claims are rows of the store, so they last; that QEMU has let go of a
 * card is looked at and nothing is done. See steps.h and plan/step.h.
 */
#include <string.h>

#include "gpu/record.h"
#include "host/holders.h"
#include "vm/lifecycle.h"
#include "vm/steps.h"

enum { LET_GO_DEADLINE_MS = 120000 }; /* unpinning a terabyte takes its time */

/* ---- claim, unclaim ---- */

#define CLAIM(field) offsetof(struct claim_step, field)

static const struct row claim_rows[] = {
	{ "card", ROW_STRING, ROW_REQUIRED, CLAIM(card) },
	{ "address", ROW_STRING, ROW_REQUIRED, CLAIM(address) },
	{ "vm", ROW_STRING, ROW_REQUIRED, CLAIM(vm) },
	{ "path", ROW_STRING, 0, CLAIM(path), .max = 1024 },
	{ "path_was", ROW_STRING, 0, CLAIM(path_was), .max = 1024 },
	{ "was_bound", ROW_BOOL, 0, CLAIM(was_bound) },
	{ "owned", ROW_BOOL, 0, CLAIM(owned) },
	ROW_END,
};

static int claim_apply(void *services, const void *args, struct error *err)
{
	const struct vm_services *sv = services;
	const struct claim_step *s = args;
	int r = card_claim(sv->gpu.store, sv->gpu.node_id, s->card, s->vm, s->path, s->was_bound, err);

	fault_inside();
	return r;
}

static int unclaim_apply(void *services, const void *args, struct error *err)
{
	const struct vm_services *sv = services;
	const struct claim_step *s = args;
	int r = card_unclaim(sv->gpu.store, sv->gpu.node_id, s->card, s->vm, err);

	fault_inside();
	return r;
}

/* 1 the VM has it, 0 it has not, -1. */
static int owns(const struct vm_services *sv, const struct claim_step *s, struct error *err)
{
	CLEANUP(arena_freep) struct arena *arena = arena_new();
	const char *owner = NULL;
	int r = card_owner(sv->gpu.store, sv->gpu.node_id, s->card, arena, &owner, err);

	return r <= 0 ? r : !strcmp(owner, s->vm);
}

/* As owns(), and it is confirmed to be at that path (NULL: wherever). */
static int owns_at(const struct vm_services *sv, const struct claim_step *s, const char *path,
		   struct error *err)
{
	CLEANUP(arena_freep) struct arena *arena = arena_new();
	const char *now = NULL;
	int r = owns(sv, s, err);

	if (r <= 0 || !path)
		return r;
	r = card_path(sv->gpu.store, sv->gpu.node_id, s->card, arena, &now, err);
	return r < 0 ? -1 : now && !strcmp(now, path);
}

/* That it moved is to be confirmed again: the path goes back first, while the card is the VM's. */
static int claim_undo(void *services, const void *args, struct error *err)
{
	const struct vm_services *sv = services;
	const struct claim_step *s = args;
	int r = owns(sv, s, err);

	if (r <= 0)
		return r;
	if (s->path_was && card_claim(sv->gpu.store, sv->gpu.node_id, s->card, s->vm, s->path_was, -1,
				      err) < 0)
		return -1;
	return s->owned == 1 ? 0 : unclaim_apply(services, args, err);
}

static int claim_prove(void *services, const void *args, struct error *err)
{
	const struct claim_step *s = args;
	int r = owns_at(services, s, s->path, err);

	return r ? (r < 0 ? -1 : 0)
		 : error_set(err, ERROR_PROOF_FAILED, "the claim of VM %s on %s is not there",
			     s->vm, s->address);
}

static int unclaim_prove(void *services, const void *args, struct error *err)
{
	const struct claim_step *s = args;
	int r = owns(services, s, err);

	return r <= 0 ? r
		      : error_set(err, ERROR_PROOF_FAILED, "VM %s still claims %s", s->vm,
				  s->address);
}

static int claim_prove_undone(void *services, const void *args, struct error *err)
{
	const struct claim_step *s = args;
	int r;

	if (s->owned != 1)
		return unclaim_prove(services, args, err);
	r = owns_at(services, s, s->path_was, err);
	return r ? (r < 0 ? -1 : 0)
		 : error_set(err, ERROR_PROOF_FAILED, "the record of %s is not as it was",
			     s->address);
}

static int claim_holds(void *services, const void *args)
{
	return owns_at(services, args, ((const struct claim_step *)args)->path, NULL);
}

static int unclaim_holds(void *services, const void *args)
{
	int r = owns(services, args, NULL);

	return r < 0 ? -1 : !r;
}

static const char *claim_text(const void *args, struct arena *arena)
{
	const struct claim_step *s = args;

	return arena_printf(arena, "claim %s for VM %s", s->address, s->vm);
}

static const char *unclaim_text(const void *args, struct arena *arena)
{
	const struct claim_step *s = args;

	return arena_printf(arena, "drop the claim of VM %s on %s", s->vm, s->address);
}

/* ---- let-go ---- */

#define LET_GO(field) offsetof(struct let_go_step, field)

static const struct row let_go_rows[] = {
	{ "address", ROW_STRING, ROW_REQUIRED, LET_GO(address) },
	{ "vm", ROW_STRING, ROW_REQUIRED, LET_GO(vm) },
	{ "functions", ROW_STRINGS, ROW_REQUIRED, LET_GO(functions), .check = pci_address_check },
	ROW_END,
};

static int nothing(void *services UNUSED, const void *args UNUSED, struct error *err UNUSED)
{
	return 0;
}

/* There is nothing to do but to look; a daemon that is to die in the midst of it does so here. */
static int let_go_apply(void *services UNUSED, const void *args UNUSED, struct error *err UNUSED)
{
	fault_inside();
	return 0;
}

static void list_functions(const struct let_go_step *s, struct arena *arena, struct list *addresses)
{
	struct pci_address address = { 0 };

	for (LIST_EACH(const char *, text, &s->functions)) {
		pci_address_parse(*text, &address); /* the row's check let nothing else through */
		*list_add(arena, addresses, struct pci_address) = address;
	}
}

int vm_let_go(const struct vm_services *sv, const char *vm, const char *address,
	      const struct list *functions, struct error *err)
{
	CLEANUP(arena_freep) struct arena *arena = arena_new();
	struct list holders = { 0 };

	if (privd_holders(sv->gpu.privd, functions, arena, &holders, err) < 0)
		return error_wrap(err, "who has %s open cannot be told", address);
	for (LIST_EACH(const struct holder, h, &holders)) {
		if (holder_lets_go(h) || !h->pid)
			continue;
		error_set(err, ERROR_CONFLICT, "%s (pid %lld) still has %s open", h->name,
			  (long long)h->pid, address);
		error_hint(err,
			   "end that process; then stop VM %s again, which gives the card back",
			   vm);
		return 1;
	}
	return 0;
}

static int let_go_prove(void *services, const void *args, struct error *err)
{
	CLEANUP(arena_freep) struct arena *arena = arena_new();
	const struct let_go_step *s = args;
	struct list addresses = { 0 };

	list_functions(s, arena, &addresses);
	return vm_let_go(services, s->vm, s->address, &addresses, err);
}

static int let_go_holds(void *services, const void *args)
{
	return let_go_prove(services, args, NULL) == 0;
}

static unsigned let_go_deadline(const void *args UNUSED)
{
	return LET_GO_DEADLINE_MS;
}

static const char *let_go_text(const void *args, struct arena *arena)
{
	return arena_printf(arena, "wait until nothing has %s open",
			    ((const struct let_go_step *)args)->address);
}

#define OF_CLAIM .args = claim_rows, .args_size = sizeof(struct claim_step), .lasting = true

static const struct step_kind kinds[] = {
	/* keep sorted by name */
	{ "claim", OF_CLAIM, .apply = claim_apply, .prove = claim_prove, .undo = claim_undo,
	  .prove_undone = claim_prove_undone, .holds = claim_holds, .text = claim_text },
	{ "let-go", .args = let_go_rows, .args_size = sizeof(struct let_go_step), .apply = let_go_apply,
	  .prove = let_go_prove, .undo = nothing, .prove_undone = nothing, .holds = let_go_holds,
	  .deadline_ms = let_go_deadline, .text = let_go_text },
	{ "unclaim", OF_CLAIM, .apply = unclaim_apply, .prove = unclaim_prove, .undo = claim_apply,
	  .prove_undone = claim_prove, .holds = unclaim_holds, .text = unclaim_text },
};

const struct step_table vm_card_steps = STEP_TABLE(kinds);
