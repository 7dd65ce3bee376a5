/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cards and groups, from addresses, classes and the bridges above each function.
 *
 * A card is what shares a slot. Some boards carry a PCI Express switch of their own (Intel Arc: GPU
 * on one bus, audio on another): then it is everything below the board's upstream port. Such a port
 * is told from any other switch by its maker: upstream port, downstream port, GPU and all else
 * below it are of one vendor, there is one GPU slot below it, and it hangs on a root port.
 * A VF is a card of its own, whatever slot its address falls into: it is owned and given away
 * alone.
 */
#include "host/topology.h"

#include <stdlib.h>

enum { CLASS_PCI_BRIDGE = 0x0604, OWN_SWITCH_DEPTH = 3 };

#define FUNCTION(list, i) (((struct function **)(list)->items)[i])

static const struct function *find(const struct list *functions, struct pci_address address)
{
	size_t low = 0, high = functions->n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = pci_address_compare(FUNCTION(functions, middle)->address, address);

		if (!order)
			return FUNCTION(functions, middle);
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

static bool below(const struct function *f, struct pci_address bridge)
{
	for (LIST_EACH(struct pci_address, parent, &f->parents))
		if (pci_address_equal(*parent, bridge))
			return true;
	return false;
}

static bool port_of(const struct list *functions, struct pci_address address, uint16_t vendor)
{
	const struct function *port = find(functions, address);

	return port && port->class >> 8 == CLASS_PCI_BRIDGE && port->vendor == vendor;
}

/* The upstream port of the GPU's own switch, or NULL. */
static const struct pci_address *own_upstream(const struct list *functions,
					      const struct class_filter *filter,
					      const struct function *gpu)
{
	const struct pci_address *parents = gpu->parents.items, *up;
	size_t n = gpu->parents.n;

	if (n < OWN_SWITCH_DEPTH)
		return NULL;
	up = &parents[n - 2];
	if (!port_of(functions, *up, gpu->vendor) ||
	    !port_of(functions, parents[n - 1], gpu->vendor))
		return NULL;
	for (LIST_EACH(struct function *, it, functions)) {
		if ((*it)->bridge || (*it)->physfn || !below(*it, *up))
			continue;
		if ((*it)->vendor != gpu->vendor)
			return NULL;
		if (function_is_gpu(*it, filter) &&
		    !pci_address_same_slot((*it)->address, gpu->address))
			return NULL;
	}
	return up;
}

/* Everything a card is made of while it is put together. */
struct assembly {
	const struct list *functions;
	const struct class_filter *filter;
	struct arena *arena;
	struct card *card;
	int *card_of;
	int index;
};

static void take(struct assembly *a, size_t i)
{
	*list_add(a->arena, &a->card->functions, struct function *) = FUNCTION(a->functions, i);
	a->card_of[i] = a->index;
}

/* Takes the functions of the card that are (not) GPUs, by address. */
static void take_members(struct assembly *a, const struct function *gpu,
			 const struct pci_address *up, bool gpus)
{
	for (size_t i = 0; i < a->functions->n; i++) {
		struct function *f = FUNCTION(a->functions, i);

		if (f->bridge || f->physfn || a->card_of[i] >= 0 ||
		    function_is_gpu(f, a->filter) != gpus)
			continue;
		if (pci_address_same_slot(f->address, gpu->address) || (up && below(f, *up)))
			take(a, i);
	}
}

static void assemble(struct assembly *a, size_t i)
{
	const struct function *gpu = FUNCTION(a->functions, i);
	const struct pci_address *up;

	if (gpu->physfn) {
		take(a, i);
		return;
	}
	up = own_upstream(a->functions, a->filter, gpu);
	take_members(a, gpu, up, true);
	take_members(a, gpu, up, false);
	for (LIST_EACH(struct function *, it, a->functions))
		if (up && (*it)->bridge &&
		    (pci_address_equal((*it)->address, *up) || below(*it, *up)))
			*list_add(a->arena, &a->card->bridges, struct function *) = *it;
}

void topology_cards(const struct list *functions, const struct class_filter *filter,
		    struct arena *arena, struct list *cards, int *card_of)
{
	struct assembly a = { functions, filter, arena, .card_of = card_of };

	for (size_t i = 0; i < functions->n; i++)
		card_of[i] = -1;
	for (size_t i = 0; i < functions->n; i++) {
		const struct function *f = FUNCTION(functions, i);

		if (card_of[i] >= 0 || f->bridge || !function_is_gpu(f, filter))
			continue;
		a.index = (int)cards->n;
		a.card = list_add(arena, cards, struct card);
		a.card->slot = f->address;
		pci_address_format(f->address, a.card->text);
		assemble(&a, i);
	}
}

static int by_group(const void *a, const void *b)
{
	const struct function *x = *(struct function *const *)a, *y = *(struct function *const *)b;

	if (x->group != y->group)
		return x->group < y->group ? -1 : 1;
	return pci_address_compare(x->address, y->address);
}

void topology_groups(const struct list *functions, struct arena *arena, struct list *groups)
{
	struct list sorted = { 0 };
	struct group *group = NULL;

	for (LIST_EACH(struct function *, it, functions))
		if ((*it)->group != NO_GROUP)
			*list_add(arena, &sorted, struct function *) = *it;
	if (sorted.n)
		qsort(sorted.items, sorted.n, sizeof(struct function *), by_group);
	for (LIST_EACH(struct function *, it, &sorted)) {
		if (!group || group->number != (*it)->group) {
			group = list_add(arena, groups, struct group);
			group->number = (*it)->group;
		}
		group->noiommu |= (*it)->group_is_noiommu;
		*list_add(arena, &group->functions, struct function *) = *it;
	}
}
