/* SPDX-License-Identifier: Apache-2.0 */
/* See end.h. */
#include "vm/end.h"

#include <string.h>

#include "gpu/bind.h"
#include "vm/start.h"
#include "vm/steps.h"
#include "vm/uses.h"

/* ---- cards ---- */

/* Holders without the QEMU that ends, or has just ended: a step waits for it (let-go). */
static struct list *holders_then(const struct list *holders, struct arena *arena)
{
	struct list *list;

	if (!holders)
		return NULL;
	list = arena_new_of(arena, struct list);
	for (LIST_EACH(const struct holder, h, holders))
		if (!h->node || strncmp(h->node, "/dev/vfio/", 10) || strncmp(h->name, "qemu", 4))
			*list_add(arena, list, struct holder) = *h;
	return list;
}

static struct list *domains_then(const struct list *domains, const char *vm, struct arena *arena)
{
	struct list *list;

	if (!domains)
		return NULL;
	list = arena_new_of(arena, struct list);
	for (LIST_EACH(const struct gpu_domain, domain, domains))
		if (!domain->vm || strcmp(domain->vm, vm))
			*list_add(arena, list, struct gpu_domain) = *domain;
	return list;
}

/* The facts of a card as they are when the domain is gone and its owner lets go. */
static struct card_facts facts_then(const struct vm_card *card, const char *vm, struct arena *arena)
{
	struct card_facts then = card->look.facts;

	then.gpu.holders = holders_then(then.gpu.holders, arena);
	then.gpu.domains = domains_then(then.gpu.domains, vm, arena);
	if (then.claimed_by && !strcmp(then.claimed_by, vm))
		then.claimed_by = NULL;
	return then;
}

static void let_go(struct plan *plan, const struct vm_facts *facts, const struct vm_card *card)
{
	const struct gpu_unit *unit = &card->look.unit;
	struct let_go_step args = { .address = unit->slot, .vm = facts->vm.spec.id };

	for (size_t i = 0; i < unit->n; i++)
		list_add_string(plan->arena, &args.functions, unit->functions[i]->text);
	plan_step(plan, vm_step(VM_STEP_LET_GO), &args);
}

static void unclaim(struct plan *plan, const struct vm_facts *facts, const struct vm_card *card)
{
	const struct claim_step args = { .card = card->claim,
					 .address = card->address,
					 .vm = facts->vm.spec.id,
					 .was_bound = card->was_bound };

	plan_step(plan, vm_step(VM_STEP_UNCLAIM), &args);
}

static int give_back(struct plan *plan, const struct vm_facts *facts, const struct vm_card *card,
		     struct error *err)
{
	struct card_facts then;
	int r = 0;

	if (card->missing.code) {
		plan_warn(plan, "%s", card->missing.message);
		unclaim(plan, facts, card);
		return 0;
	}
	then = facts_then(card, facts->vm.spec.id, plan->arena);
	let_go(plan, facts, card);
	if (card->was_bound == 1)
		unit_locks(plan, then.gpu.inventory, &card->look.unit);
	else
		r = release_plan(plan, &then, &card->look.unit, err);
	unclaim(plan, facts, card);
	return r;
}

/* Would anything be refused? Its first reason, in the plan's arena; NULL: nothing. */
static const char *in_the_way(struct plan *plan, const struct vm_facts *facts,
			      const struct vm_card *card)
{
	CLEANUP(plan_freep) struct plan *trial = plan_new();
	struct error why = { 0 };
	const struct wire_refusal *first;

	if (give_back(trial, facts, card, &why) < 0)
		return arena_strdup(plan->arena, why.message);
	first = trial->refusals.items;
	return trial->refusals.n ? arena_strdup(plan->arena, first->reason) : NULL;
}

/* After the domain was ended in the same plan: that must never fail because of a card. */
static void give_back_what_can_be(struct plan *plan, const struct vm_facts *facts)
{
	const char *why;

	for (LIST_EACH(const struct vm_card, card, &facts->claims)) {
		why = in_the_way(plan, facts, card);
		if (why)
			plan_warn(plan, "%s cannot be given back now (%s); that is tried again",
				  card->address, why);
		else
			give_back(plan, facts, card, NULL);
	}
}

static void begin(struct plan *plan, const struct vm_facts *facts, const char *what)
{
	plan_lock(plan, "vm:%s", facts->vm.spec.id);
	plan_title(plan, "%s VM %s", what, facts->vm.spec.id);
}

/* ---- ends ---- */

static int give_all_back(struct plan *plan, const struct vm_facts *facts, struct error *err)
{
	for (LIST_EACH(const struct vm_card, card, &facts->claims))
		if (give_back(plan, facts, card, err) < 0)
			return -1;
	return 0;
}

int vm_ended_plan(struct plan *plan, const struct vm_facts *facts, struct error *err)
{
	int r = facts->active ? 0 : give_all_back(plan, facts, err);

	begin(plan, facts,
	      "give back the cards of"); /* last: release_plan has a title of its own */
	return r;
}

static void end_step(struct plan *plan, const struct vm_facts *facts, enum vm_step kind,
		     int64_t timeout_s)
{
	const struct end_step args = { facts->vm.spec.id, timeout_s };

	plan_step(plan, vm_step(kind), &args);
}

static int64_t or_default(int64_t timeout_s)
{
	return timeout_s == ROW_NULL ? VM_STOP_TIMEOUT_S : timeout_s;
}

int vm_stop_plan(struct plan *plan, const struct vm_facts *facts, int64_t timeout_s,
		 struct error *err)
{
	int r = 0;

	if (facts->active) {
		end_step(plan, facts, VM_STEP_SHUTDOWN, or_default(timeout_s));
		give_back_what_can_be(plan, facts);
	} else {
		r = give_all_back(plan, facts, err);
	}
	begin(plan, facts, "stop");
	return r;
}

int vm_kill_plan(struct plan *plan, const struct vm_facts *facts, struct error *err)
{
	int r = 0;

	if (facts->active) {
		end_step(plan, facts, VM_STEP_DESTROY, ROW_NULL);
		give_back_what_can_be(plan, facts);
	} else {
		r = give_all_back(plan, facts, err);
	}
	begin(plan, facts, "end");
	return r;
}

/* Its cards as they will be when it starts again: nothing of the old domain has them. */
static void cards_then(struct plan *plan, const struct vm_facts *facts, struct vm_facts *then)
{
	struct vm_card *copy;

	*then = *facts;
	then->active = false;
	then->cards = (struct list){ 0 };
	for (LIST_EACH(const struct vm_card, card, &facts->cards)) {
		copy = list_add(plan->arena, &then->cards, struct vm_card);
		*copy = *card;
		if (!card->missing.code)
			copy->look.facts = facts_then(card, facts->vm.spec.id, plan->arena);
	}
	then->host.memory_free_mib += facts->running_mib; /* what it has now is free then */
}

static bool has_all(const struct vm_facts *facts)
{
	for (LIST_EACH(const struct vm_card, card, &facts->cards))
		if (!card->claim)
			return false;
	return true;
}

/* Cards that do not change hands were judged when the VM got them; what was accepted then stands.
 */
static void keep_accepted(struct plan *plan)
{
	struct wire_refusal *all = plan->refusals.items;
	size_t kept = 0;

	for (size_t i = 0; i < plan->refusals.n; i++)
		if (all[i].can_accept != 1)
			all[kept++] = all[i];
	plan->refusals.n = kept;
}

int vm_restart_plan(struct plan *plan, const struct vm_facts *facts, int64_t timeout_s,
		    struct error *err)
{
	struct vm_facts then;
	int r;

	if (facts->active) {
		end_step(plan, facts, VM_STEP_SHUTDOWN, or_default(timeout_s));
		for (LIST_EACH(const struct vm_card, card, &facts->claims))
			if (!card->missing.code)
				let_go(plan, facts, card);
	}
	cards_then(plan, facts, &then);
	then.goes_on = facts->active && has_all(facts);
	r = vm_start_steps(plan, &then, err);
	if (then.goes_on)
		keep_accepted(plan);
	begin(plan, facts, facts->active ? "restart" : "start");
	return r;
}

/* ---- deleting ---- */

static int check_shared(const struct vm_facts *facts, struct error *err)
{
	const char *users;

	for (LIST_EACH(const struct vm_volume, disk, &facts->disks)) {
		users = vm_others_with(facts, disk->name, USE_ANY, false);
		if (!users)
			continue;
		error_set(err, ERROR_CONFLICT, "the volume %s is also used by %s", disk->name,
			  users);
		return error_hint(err, "delete without delete_disks, or delete the other VMs first");
	}
	return 0;
}

/* *pool: the pool was seen to already, for another one. */
static void delete_volume(struct plan *plan, const struct vm_facts *facts, enum vm_step kind,
			  const struct vm_volume *volume, bool *pool)
{
	const struct volume_step args = { facts->pool, volume->name, ROW_NULL, NULL };

	if (!volume->there)
		return;
	if (!*pool)
		vm_pool_step(plan, facts);
	*pool = true;
	plan_step(plan, vm_step(kind), &args);
}

/* Disks before the record: a delete that fails on the way can be asked for again. */
int vm_delete_plan(struct plan *plan, const struct vm_facts *facts, bool delete_disks,
		   struct error *err)
{
	const struct record_step record = { facts->vm.spec.id, NULL, facts->stored };
	bool pool = false;

	begin(plan, facts, "delete");
	if (facts->active) {
		error_set(err, ERROR_CONFLICT, "VM %s runs", facts->vm.spec.id);
		return error_hint(err, "stop it first: horcrux vm stop %s", facts->vm.spec.id);
	}
	if (delete_disks && check_shared(facts, err) < 0)
		return -1;
	if (give_all_back(plan, facts, err) < 0)
		return -1;
	begin(plan, facts, "delete");
	vm_volume_locks(plan, facts);
	for (LIST_EACH(const struct vm_volume, disk, &facts->disks))
		if (delete_disks)
			delete_volume(plan, facts, VM_STEP_VOLUME_DELETE, disk, &pool);
	delete_volume(plan, facts, VM_STEP_NVRAM_DELETE, &facts->nvram, &pool);
	plan_step(plan, vm_step(VM_STEP_RECORD_DELETE), &record);
	return 0;
}
