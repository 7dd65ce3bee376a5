/* SPDX-License-Identifier: Apache-2.0 */
/* See start.h. */
#include "vm/start.h"

#include <string.h>

#include "gpu/bind.h"
#include "vm/domain_xml.h"
#include "vm/steps.h"
#include "vm/uses.h"

/* ---- what has to be there ---- */

static int check_rom(const struct vm_card *card, size_t i, struct error *err)
{
	if (!card->rom.code)
		return 0;
	if (err)
		*err = card->rom;
	return error_pointer(err, "/gpu_passthrough/%zu/rom_file", i);
}

static int check_once(const struct vm_card *cards, size_t i, struct error *err)
{
	for (size_t k = 0; k < i; k++) {
		if (strcmp(cards[k].look.unit.slot, cards[i].look.unit.slot))
			continue;
		error_set(err, ERROR_INVALID_VALUE, "%s and %s are functions of one card",
			  cards[k].address, cards[i].address);
		error_hint(err, "name it once; with multifunction all its functions go along");
		return error_pointer(err, "/gpu_passthrough/%zu/pci_address", i);
	}
	return 0;
}

int vm_check_cards(const struct vm_facts *facts, enum error_code gone, struct error *err)
{
	const struct vm_card *cards = facts->cards.items;

	for (size_t i = 0; i < facts->cards.n; i++) {
		if (cards[i].missing.code) {
			error_set(err, gone, "VM %s is to have %s: %s", facts->vm.spec.id,
				  cards[i].address, cards[i].missing.message);
			error_hint(err, "horcrux gpu list shows the cards that are there");
			if (cards[i].instead)
				error_hint(err, "it was made with card %s; make the VM anew with its "
						"address as it is now",
					   cards[i].instead);
			return error_pointer(err, "/gpu_passthrough/%zu/pci_address", i);
		}
		if (check_once(cards, i, err) < 0 || check_rom(&cards[i], i, err) < 0)
			return -1;
	}
	return 0;
}

static int check_volume(const struct vm_facts *facts, const struct vm_volume *volume,
			struct error *err)
{
	if (!volume->name || volume->there)
		return 0;
	error_set(err, ERROR_CONFLICT, "%s is not in the pool %s", volume->name, facts->pool);
	return error_hint(err, "put the file into %s", facts->pool_path);
}

/* A disk with a size that is not stored yet is being made. */
static bool is_made(const struct vm_facts *facts, size_t i)
{
	const struct wire_disk *disks = facts->vm.spec.disks.items;

	return !facts->stored && disks[i].size != ROW_NULL;
}

static int check_volumes(const struct vm_facts *facts, struct error *err)
{
	const struct vm_volume *disks = facts->disks.items;

	for (size_t i = 0; i < facts->disks.n; i++)
		if (!is_made(facts, i) && check_volume(facts, &disks[i], err) < 0)
			return -1;
	for (LIST_EACH(const struct vm_volume, iso, &facts->cdrom))
		if (check_volume(facts, iso, err) < 0)
			return -1;
	if (check_volume(facts, &facts->kernel, err) < 0)
		return -1;
	return check_volume(facts, &facts->initrd, err);
}

static bool wants_network(const struct vm_facts *facts)
{
	for (LIST_EACH(const struct wire_network, network, &facts->vm.spec.network))
		if (network->kind == NETWORK_NAT)
			return true;
	return false;
}

static int check_network(const struct vm_facts *facts, struct error *err)
{
	if (!wants_network(facts) || facts->network_defined)
		return 0;
	error_set(err, ERROR_CONFLICT, "libvirt has no network %s", facts->network);
	return error_hint(err,
			  "define it: virsh net-define /usr/share/libvirt/networks/%s.xml; or "
			  "make the VM with network none",
			  facts->network);
}

static int check_name(const struct vm_facts *facts, struct error *err)
{
	if (!facts->foreign)
		return 0;
	error_set(err, ERROR_CONFLICT, "a domain %s that Horcrux did not make runs in libvirt",
		  facts->vm.spec.id);
	return error_hint(err, "shut that domain down first: virsh shutdown %s", facts->vm.spec.id);
}

/*
 * All of a guest's memory is pinned as soon as it has a card; else it is only taken as it is used, but
 * the kernel gives nobody more than there is (mm/util.c, __vm_enough_memory).
 */
static void check_memory(struct plan *plan, const struct vm_facts *facts)
{
	long long wanted = (long long)facts->vm.spec.memory;
	long long available = (long long)facts->host.memory_free_mib;
	long long all = (long long)facts->host.memory_mib;

	if (wanted <= available)
		return;
	if (all && wanted > all)
		plan_refuse(plan, REFUSE_NO_MEMORY, "host", "the host has not so much memory",
			    arena_printf(plan->arena,
					 "the VM has %lld MiB, the host %lld MiB with its swap",
					 wanted, all),
			    "give the VM less memory");
	else if (facts->cards.n)
		plan_refuse(plan, REFUSE_NO_MEMORY, "host",
			    "all memory of a VM with a card is pinned, and the host has not so "
			    "much free",
			    arena_printf(plan->arena, "the VM has %lld MiB, the host %lld MiB free",
					 wanted, available),
			    "stop other VMs or programs, or give the VM less memory");
	else
		plan_warn(plan, "the VM has %lld MiB of memory, and the host only %lld MiB free",
			  wanted, available);
}

/* ---- the domain ---- */

static const char *path_of(const struct vm_facts *facts, const struct vm_volume *volume,
			   struct arena *arena)
{
	if (!volume->name || volume->path)
		return volume->path;
	return arena_printf(arena, "%s/%s", facts->pool_path, volume->name);
}

static void domain_of_card(const struct vm_card *card, struct arena *arena, struct domain_card *to)
{
	const struct gpu_unit *unit = &card->look.unit;
	const struct function *first = unit->functions[0];

	*to = (struct domain_card){ .rom_path = card->rom_path,
				    .primary = card->asked->primary_gpu == 1,
				    .hide = first->vendor == 0x10de &&
					    first->class >> 8 == 0x0300 };
	for (size_t i = 0; i < unit->n; i++)
		*list_add(arena, &to->functions, struct pci_address) = unit->functions[i]->address;
}

static void domain_of(const struct vm_facts *facts, struct arena *arena, struct domain_facts *out)
{
	struct domain_disk *disk;

	*out = (struct domain_facts){ .kvm = facts->host.kvm,
				      .kernel_path = path_of(facts, &facts->kernel, arena),
				      .initrd_path = path_of(facts, &facts->initrd, arena),
				      .nvram_path = path_of(facts, &facts->nvram, arena),
				      .network = facts->network };
	for (LIST_EACH(const struct vm_volume, volume, &facts->disks)) {
		disk = list_add(arena, &out->disks, struct domain_disk);
		*disk = (struct domain_disk){ path_of(facts, volume, arena),
					      volume->format ?: "qcow2" };
	}
	for (LIST_EACH(const struct vm_volume, volume, &facts->cdrom))
		list_add_string(arena, &out->cdrom_paths, path_of(facts, volume, arena));
	for (LIST_EACH(const struct vm_card, card, &facts->cards))
		if (!card->missing.code)
			domain_of_card(card, arena,
				       list_add(arena, &out->cards, struct domain_card));
}

static int make_xml(struct plan *plan, const struct vm_facts *facts, struct error *err)
{
	struct domain_facts domain;
	struct list warnings = { 0 };

	domain_of(facts, plan->arena, &domain);
	plan->domain_xml = domain_xml(&facts->vm, &domain, plan->arena, &warnings, err);
	for (LIST_EACH(const char *, text, &warnings))
		plan_warn(plan, "%s", *text);
	return plan->domain_xml ? 0 : -1;
}

int vm_xml_plan(struct plan *plan, const struct vm_facts *facts, struct error *err)
{
	plan_title(plan, "show the domain of VM %s", facts->vm.spec.id);
	if (vm_check_cards(facts, ERROR_CONFLICT, err) < 0)
		return -1;
	return make_xml(plan, facts, err);
}

/* ---- steps ---- */

bool vm_uses_pool(const struct vm_facts *facts)
{
	return facts->disks.n || facts->cdrom.n || facts->kernel.name || facts->nvram.name;
}

void vm_pool_step(struct plan *plan, const struct vm_facts *facts)
{
	const struct pool_step args = { facts->pool, facts->pool_path, facts->pool_defined };

	plan_lock(plan, "pool:%s", facts->pool);
	if (!facts->pool_active)
		plan_step(plan, vm_step(VM_STEP_POOL), &args);
}

static int claim(struct plan *plan, const struct vm_facts *facts, const struct vm_card *card,
		 struct error *err)
{
	const struct card_facts *f = &card->look.facts;
	const struct claim_step args = {
		.card = f->card_id,
		.address = card->look.unit.slot,
		.vm = facts->vm.spec.id,
		.path = f->moved_from ? card->look.unit.functions[0]->path_key : NULL,
		.path_was = f->moved_from,
		.was_bound = card->claim ? -1 : gpu_unit_on_vfio(&card->look.unit),
		.owned = card->claim != NULL,
	};

	if (card->claim && !f->moved_from)
		return 0;
	if (f->card_id) {
		plan_step(plan, vm_step(VM_STEP_CLAIM), &args);
		return 0;
	}
	error_set(err, ERROR_CONFLICT, "%s was only just found, and has no record yet",
		  card->look.unit.slot);
	return error_hint(err, "try again in a second");
}

/* What the VM gets beside this card. */
static struct list *beside(const struct vm_facts *facts, const struct vm_card *card,
			   struct arena *arena)
{
	struct list *list = arena_new_of(arena, struct list);

	for (LIST_EACH(const struct vm_card, other, &facts->cards))
		for (size_t i = 0; other != card && i < other->look.unit.n; i++)
			*list_add(arena, list,
				  struct pci_address) = other->look.unit.functions[i]->address;
	return list;
}

static int take_cards(struct plan *plan, const struct vm_facts *facts, struct error *err)
{
	struct bind_card *cards = arena_array(plan->arena, facts->cards.n + 1, struct bind_card);
	struct card_facts *copy;
	size_t n = 0;

	for (LIST_EACH(const struct vm_card, card, &facts->cards)) {
		if (claim(plan, facts, card, err) < 0)
			return -1;
		copy = arena_new_of(plan->arena, struct card_facts);
		*copy = card->look.facts;
		copy->beside = beside(facts, card, plan->arena);
		cards[n++] = (struct bind_card){ copy, &card->look.unit };
	}
	return bind_start_plan(plan, cards, n, facts->vm.spec.id, err);
}

/* ---- what is kept of a start ---- */

void vm_note_cards(const struct vm_facts *facts, struct arena *arena, struct vm_record *vm)
{
	const struct vm_card *cards = facts->cards.items;

	if (facts->cards.n)
		vm->cards = (struct list){ 0 };
	for (size_t i = 0; i < facts->cards.n; i++)
		list_add_string(arena, &vm->cards,
				cards[i].look.facts.card_id ?: cards[i].meant ?: "");
}

static bool has(const struct list *strings, const char *text)
{
	for (LIST_EACH(const char *, it, strings))
		if (!strcmp(*it, text))
			return true;
	return false;
}

/*
 * The plan runs only if all of these are accepted. Which card is meant is written down instead: to
 * accept another one holds for that one only.
 */
static void note_accepted(const struct plan *plan, struct vm_record *vm)
{
	vm->accepted = (struct list){ .null = true };
	for (LIST_EACH(const struct wire_refusal, refusal, &plan->refusals))
		if (refusal->can_accept == 1 && strcmp(refusal->code, "unknown_identity") &&
		    !has(&vm->accepted, refusal->code) && vm->accepted.n < VM_ACCEPTED)
			list_add_string(plan->arena, &vm->accepted, refusal->code);
}

static bool same_strings(const struct list *a, const struct list *b)
{
	const char **x = a->items, **y = b->items;

	for (size_t i = 0; i < a->n && i < b->n; i++)
		if (strcmp(x[i], y[i]))
			return false;
	return a->n == b->n;
}

/* Before the domain, so that a start that fails takes it back. */
static int note_start(struct plan *plan, const struct vm_facts *facts, struct error *err)
{
	struct vm_record vm = facts->vm;
	CLEAN_FREE char *value = NULL, *planned = NULL;
	struct record_step args = { vm.spec.id, NULL, facts->stored };

	vm_note_cards(facts, plan->arena, &vm);
	if (!facts->goes_on)
		note_accepted(plan, &vm);
	if (same_strings(&vm.cards, &facts->vm.cards) &&
	    same_strings(&vm.accepted, &facts->vm.accepted))
		return 0;
	value = vm_record_print(&vm);
	planned = facts->stored ? NULL : vm_record_print(&facts->vm);
	if (!value || (!facts->stored && !planned))
		return error_set(err, ERROR_INTERNAL, "the record of VM %s cannot be written",
				 vm.spec.id);
	args.value = value;
	args.was = facts->stored ?: planned;
	plan_step(plan, vm_step(VM_STEP_RECORD), &args);
	return 0;
}

int vm_start_steps(struct plan *plan, const struct vm_facts *facts, struct error *err)
{
	const struct network_step network = { facts->network };
	struct domain_step domain = { .vm = facts->vm.spec.id };

	plan->vm_start = true;
	if (vm_check_cards(facts, ERROR_CONFLICT, err) < 0)
		return error_pointer(err, "%s", ""); /* the spec is not in the request */
	if (check_name(facts, err) < 0 || check_volumes(facts, err) < 0 ||
	    check_network(facts, err) < 0)
		return -1;
	check_memory(plan, facts);
	vm_volume_locks(plan, facts);
	vm_refuse_open(plan, facts);
	if (take_cards(plan, facts, err) < 0)
		return -1;
	if (facts->stored && !facts->pool_active && vm_uses_pool(facts))
		vm_pool_step(plan, facts);
	if (wants_network(facts) && !facts->network_active)
		plan_step(plan, vm_step(VM_STEP_NETWORK), &network);
	if (note_start(plan, facts, err) < 0 || make_xml(plan, facts, err) < 0)
		return -1;
	domain.xml = plan->domain_xml;
	if (facts->nvram.name && !facts->nvram.there) {
		domain.pool = facts->pool;
		domain.nvram = facts->nvram.name;
	}
	plan_step(plan, vm_step(VM_STEP_DOMAIN), &domain);
	return 0;
}

int vm_start_plan(struct plan *plan, const struct vm_facts *facts, struct error *err)
{
	plan_title(plan, "start VM %s", facts->vm.spec.id);
	plan_lock(plan, "vm:%s", facts->vm.spec.id);
	return facts->active ? 0 : vm_start_steps(plan, facts, err);
}
