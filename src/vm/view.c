/* SPDX-License-Identifier: Apache-2.0 */
/* See view.h. */
#include "vm/view.h"

#include <string.h>

#include "vm/domain_xml.h"

const char vm_changes_later[] = "the VM runs: its cpus and memory change at its next start";

static const struct virt_domain *find(const struct vm_view_facts *facts, const char *vm)
{
	if (!facts->domains)
		return NULL;
	for (LIST_EACH(const struct virt_domain, domain, facts->domains))
		if (domain->vm && !strcmp(domain->vm, vm))
			return domain;
	return NULL;
}

static enum wire_vm_state state_without_domain(const struct vm_view_facts *facts)
{
	if (facts->doing == VM_DOES_START)
		return VM_STARTING;
	return facts->crashed ? VM_CRASHED : VM_STOPPED;
}

static enum wire_vm_state state_of(const struct vm_view_facts *facts,
				   const struct virt_domain *domain)
{
	static const enum wire_vm_state states[] = {
		[VIRT_OFF] = VM_STOPPED,     [VIRT_RUNNING] = VM_RUNNING,
		[VIRT_PAUSED] = VM_PAUSED,   [VIRT_SHUTTING_DOWN] = VM_STOPPING,
		[VIRT_CRASHED] = VM_CRASHED,
	};

	if (!domain)
		return state_without_domain(facts);
	return facts->doing == VM_DOES_STOP ? VM_STOPPING : states[domain->state];
}

static void set_state(const struct vm_view_facts *facts, struct arena *arena, struct wire_vm *out)
{
	const struct virt_domain *domain = find(facts, out->spec.id);
	struct row_pair *pair;

	out->state = facts->domains ? (int)state_of(facts, domain) : VM_UNKNOWN;
	if (domain)
		out->started_at = domain->started_at;
	if (facts->domains)
		return;
	pair = list_add(arena, &out->unknown, struct row_pair);
	*pair = (struct row_pair){ "state", facts->domains_unknown ?: "libvirt was not asked" };
}

/* Its start would be refused for it. */
static void warn_of_missing(const struct vm_view_facts *facts, const struct wire_vm_spec *spec,
			    struct arena *arena, struct list *warnings)
{
	struct pci_address address;

	if (!facts->inventory)
		return;
	for (LIST_EACH(const struct wire_passthrough, card, &spec->gpu_passthrough))
		if (pci_address_parse(card->pci_address, &address) &&
		    !inventory_card(facts->inventory, address))
			list_add_string(arena, warnings,
					arena_printf(arena,
						     "there is no card at %s, which it is to have",
						     card->pci_address));
}

/* cpus and memory are changed while it runs too. */
static void warn_of_later(const struct vm_view_facts *facts, const struct wire_vm_spec *spec,
			  struct arena *arena, struct list *warnings)
{
	const struct virt_domain *domain = find(facts, spec->id);

	if (!domain || !domain->cpus ||
	    (domain->cpus == (uint64_t)spec->cpus && domain->memory_mib == (uint64_t)spec->memory))
		return;
	list_add_string(arena, warnings, vm_changes_later);
}

static bool has_primary(const struct wire_vm_spec *spec)
{
	for (LIST_EACH(const struct wire_passthrough, card, &spec->gpu_passthrough))
		if (card->primary_gpu == 1)
			return true;
	return false;
}

void vm_view(const struct vm_view_facts *facts, const struct vm_record *vm, struct arena *arena,
	     struct wire_vm *out)
{
	const struct wire_disk *first = vm->spec.disks.items;

	rows_clear(wire_vm_rows, out);
	out->spec = vm->spec;
	if (vm->spec.disks.n == 1)
		out->spec.disk_size = first->size;
	out->node = facts->node;
	out->uuid = vm->uuid;
	out->created_at = vm->created_at;
	out->warnings = out->unknown = (struct list){ 0 };
	set_state(facts, arena, out);
	warn_of_missing(facts, &vm->spec, arena, &out->warnings);
	warn_of_later(facts, &vm->spec, arena, &out->warnings);
	domain_warnings(!facts->no_kvm, has_primary(&vm->spec), arena, &out->warnings);
	if (facts->held_back)
		list_add_string(arena, &out->warnings,
				arena_printf(arena, "not all of its cards came back: %s",
					     facts->held_back));
}
