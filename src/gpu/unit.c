/* SPDX-License-Identifier: Apache-2.0 */
/* See unit.h. */
#include "gpu/unit.h"

#include <string.h>

static void unit_add(struct gpu_unit *unit, const struct function *f)
{
	if (unit->n < UNIT_MAX)
		unit->functions[unit->n++] = f;
}

void gpu_unit_of(const struct inventory *inv, const struct function *f, struct gpu_unit *unit)
{
	*unit = (struct gpu_unit){ .card = inventory_card(inv, f->address) };
	if (unit->card)
		for (LIST_EACH(struct function *, it, &unit->card->functions))
			unit_add(unit, *it);
	else
		unit_add(unit, f);
	unit->slot = unit->card ? unit->card->text : f->text;
}

bool gpu_unit_has(const struct gpu_unit *unit, struct pci_address address)
{
	for (size_t i = 0; i < unit->n; i++)
		if (pci_address_equal(unit->functions[i]->address, address))
			return true;
	return false;
}

bool gpu_unit_on_vfio(const struct gpu_unit *unit)
{
	for (size_t i = 0; i < unit->n; i++)
		if (!driver_is_vfio(unit->functions[i]->driver))
			return false;
	return true;
}

const struct gpu_domain *gpu_unit_domain(const struct gpu_facts *facts, const struct gpu_unit *unit)
{
	if (!facts->domains)
		return NULL;
	for (LIST_EACH(const struct gpu_domain, domain, facts->domains))
		for (LIST_EACH(const struct pci_address, address, &domain->addresses))
			if (gpu_unit_has(unit, *address))
				return domain;
	return NULL;
}

/* libvirt gives a VM's functions to nobody but its QEMU, by the group's VFIO node. */
bool gpu_unit_domain_is(const struct gpu_facts *facts, const struct gpu_unit *unit,
			const struct holder *holder)
{
	return holder->node && !strncmp(holder->node, "/dev/vfio/", 10) &&
	       !strncmp(holder->name, "qemu", 4) && gpu_unit_domain(facts, unit);
}

enum fact gpu_unit_held(const struct gpu_facts *facts, const struct gpu_unit *unit)
{
	if (gpu_unit_domain(facts, unit))
		return FACT_YES;
	if (!facts->holders)
		return FACT_UNKNOWN;
	for (LIST_EACH(const struct holder, h, facts->holders))
		if (strcmp(h->kind, "kernel") && gpu_unit_has(unit, h->address))
			return FACT_YES;
	return FACT_NO;
}

static bool carries_others(const struct gpu_unit *unit)
{
	for (size_t i = 0; i < unit->n; i++)
		if (unit->functions[i]->mdevs.n ||
		    (unit->functions[i]->sriov && unit->functions[i]->sriov->vfs.n))
			return true;
	return false;
}

/* pci-stub only keeps other drivers away: what it holds is as good as unbound. */
static bool has_host_driver(const struct function *f)
{
	return f->driver && !driver_is_vfio(f->driver) && strcmp(f->driver, "pci-stub");
}

bool gpu_unit_unreadable(const struct gpu_unit *unit, const char *field, const char **reason)
{
	for (size_t i = 0; i < unit->n; i++) {
		for (LIST_EACH(const struct row_pair, pair, &unit->functions[i]->unknown)) {
			if (strcmp(pair->key, field))
				continue;
			*reason = pair->value;
			return true;
		}
	}
	return false;
}

/*
 * Without vfio in it the card is what its first function is: a GPU whose audio function has a
 * driver, or has none, is no unfinished change.
 */
int gpu_unit_state(const struct gpu_facts *facts, const struct gpu_unit *unit)
{
	const char *reason;
	size_t vfio = 0;

	if (gpu_unit_unreadable(unit, "driver", &reason))
		return -1;
	for (size_t i = 0; i < unit->n; i++)
		vfio += driver_is_vfio(unit->functions[i]->driver);
	if (carries_others(unit))
		return CARD_SHARED;
	if (vfio && vfio < unit->n)
		return CARD_MIXED;
	if (!vfio)
		return has_host_driver(unit->functions[0]) ? CARD_HOST : CARD_UNBOUND;
	switch (gpu_unit_held(facts, unit)) {
	case FACT_YES:
		return CARD_IN_USE;
	case FACT_NO:
		return CARD_READY;
	default:
		return -1;
	}
}

int gpu_card_state(const struct gpu_facts *facts, const struct function *f)
{
	struct gpu_unit unit;

	if (!f)
		return CARD_ABSENT;
	gpu_unit_of(facts->inventory, f, &unit);
	return gpu_unit_state(facts, &unit);
}

static bool listed(const struct list *texts, const char *text)
{
	for (LIST_EACH(const char *, it, texts))
		if (!strcmp(*it, text))
			return true;
	return false;
}

static enum fact group_viable(const struct gpu_unit *unit, const struct group *group,
			      struct arena *arena, struct list *blockers)
{
	bool blocked = group->noiommu || group->direct_regions;

	for (LIST_EACH(struct function *, it, &group->functions)) {
		if (gpu_unit_has(unit, (*it)->address) || !function_blocks(*it, unit->card))
			continue;
		blocked = true;
		if (!listed(blockers, (*it)->text))
			list_add_string(arena, blockers, (*it)->text);
	}
	if (blocked)
		return FACT_NO;
	return group->regions_unknown ? FACT_UNKNOWN : FACT_YES;
}

enum fact gpu_unit_viable(const struct inventory *inv, const struct gpu_unit *unit,
			  struct arena *arena, struct list *blockers)
{
	const struct group *group;
	enum fact all = FACT_YES, one;

	for (size_t i = 0; i < unit->n; i++) {
		group = inventory_group(inv, unit->functions[i]->group);
		one = group ? group_viable(unit, group, arena, blockers) : FACT_NO;
		if (one == FACT_NO || all == FACT_YES)
			all = one;
	}
	return all;
}
