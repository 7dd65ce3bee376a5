/* SPDX-License-Identifier: Apache-2.0 */
/* Finding the function that was named; members of a group; the IOMMU. See view.h. */
#include <string.h>

#include "gpu/names.h"
#include "gpu/view.h"

static bool has_bridge(const struct card *card, struct pci_address address)
{
	for (LIST_EACH(struct function *, it, &card->bridges))
		if (pci_address_equal((*it)->address, address))
			return true;
	return false;
}

/* The card that somebody who names `address` may have meant: in the same slot, or behind it. */
static const struct card *card_near(const struct inventory *inv, struct pci_address address)
{
	for (LIST_EACH(const struct card, card, &inv->cards)) {
		if (pci_address_same_slot(card->slot, address) || has_bridge(card, address))
			return card;
		for (LIST_EACH(struct function *, f, &card->functions))
			for (LIST_EACH(const struct pci_address, above, &(*f)->parents))
				if (pci_address_equal(*above, address))
					return card;
	}
	return NULL;
}

int gpu_find(const struct inventory *inv, const char *text, const struct function **ret,
	     struct error *err)
{
	struct pci_address address;
	const struct function *f;
	const struct card *near;

	if (pci_address_check(text, err) < 0 || !pci_address_parse(text, &address))
		return -1;
	f = inventory_function(inv, address);
	if (f && (function_is_gpu(f, &inv->filter) || inventory_card(inv, address))) {
		*ret = f;
		return 0;
	}
	near = card_near(inv, address);
	error_set(err, ERROR_NOT_FOUND,
		  f ? "%s is no function of a graphics card" : "there is no PCI device %s", text);
	if (near)
		return error_hint(err, "the card there is %s", near->text);
	return error_hint(err, "the list of cards shows the addresses there are");
}

static void member_unknown(struct arena *arena, struct wire_member *out, const char *field,
			   const char *reason)
{
	struct row_pair *pair = list_add(arena, &out->unknown, struct row_pair);

	pair->key = field;
	pair->value = reason;
}

static void set_carries(const struct gpu_facts *facts, const struct function *f,
			struct arena *arena, struct wire_member *out)
{
	const char *reason = NULL;

	if (!facts->critical) {
		member_unknown(arena, out, "carries",
			       facts->critical_unknown ?: "what the host needs was not read");
		return;
	}
	out->carries = (struct list){ 0 };
	for (LIST_EACH(const struct critical, c, facts->critical)) {
		if (!pci_address_equal(c->address, f->address))
			continue;
		if (!strcmp(c->code, "unknown_carries"))
			reason = c->why;
		else
			list_add_string(arena, &out->carries, c->why);
	}
	if (!reason)
		return;
	member_unknown(arena, out, "carries", reason);
	out->carries.null = !out->carries.n;
}

static bool unreadable(const struct function *f, const char *field, const char **reason)
{
	for (LIST_EACH(const struct row_pair, pair, &f->unknown)) {
		if (strcmp(pair->key, field))
			continue;
		*reason = pair->value;
		return true;
	}
	return false;
}

void gpu_view_member(const struct gpu_facts *facts, const struct function *f,
		     const struct card *card, struct arena *arena, struct wire_member *out)
{
	const char *reason;

	rows_clear(wire_member_rows, out);
	out->unknown = (struct list){ 0 };
	out->pci_address = f->text;
	if (unreadable(f, "vendor_id", &reason) || unreadable(f, "device_id", &reason))
		member_unknown(arena, out, "device_name", reason);
	else
		out->device_name = gpu_device_name(facts->inventory, f, arena);
	if (unreadable(f, "class", &reason)) {
		member_unknown(arena, out, "class", reason);
		member_unknown(arena, out, "class_name", reason);
	} else {
		out->class = arena_printf(arena, "%06x", f->class);
		out->class_name = gpu_class_name(facts->inventory, f, arena);
	}
	out->role = (int)function_role(f, &facts->inventory->filter);
	if (unreadable(f, "driver", &reason)) {
		member_unknown(arena, out, "driver", reason);
		member_unknown(arena, out, "blocks", reason);
	} else {
		out->driver = f->driver;
		out->blocks = function_blocks(f, card);
	}
	set_carries(facts, f, arena, out);
}

void gpu_view_group(const struct gpu_facts *facts, const struct function *f, struct arena *arena,
		    struct list *out)
{
	const struct inventory *inv = facts->inventory;
	const struct card *card = inventory_card(inv, f->address);
	const struct group *group = f->group == NO_GROUP ? NULL : inventory_group(inv, f->group);

	*out = (struct list){ 0 };
	if (!group)
		return;
	for (LIST_EACH(struct function *, it, &group->functions))
		gpu_view_member(facts, *it, card, arena, list_add(arena, out, struct wire_member));
}

static int fact(enum fact f)
{
	return f == FACT_UNKNOWN ? -1 : f == FACT_YES;
}

static void iommu_reason(struct arena *arena, struct wire_iommu *out, const char *field,
			 enum fact f)
{
	struct row_pair *pair;

	if (f != FACT_UNKNOWN)
		return;
	for (LIST_EACH(const struct row_pair, it, &out->unknown))
		if (!strcmp(it->key, field))
			return;
	pair = list_add(arena, &out->unknown, struct row_pair);
	pair->key = field;
	pair->value = "the kernel does not show it";
}

/* A list of the inventory's as the wire's: a list that is "none" is empty, not null. */
static struct list plain(const struct list *list)
{
	struct list copy = *list;

	copy.null = false;
	return copy;
}

void gpu_view_iommu(const struct gpu_facts *facts, struct arena *arena, struct wire_iommu *out)
{
	const struct iommu *iommu = &facts->inventory->iommu;

	rows_clear(wire_iommu_rows, out);
	out->enabled = fact(iommu->enabled);
	out->message = iommu->message ?: "";
	out->kind = iommu->kind;
	out->evidence = plain(&iommu->evidence);
	out->groups = iommu->groups;
	out->interrupt_remapping = fact(iommu->interrupt_remapping);
	out->acs_override = fact(iommu->acs_override);
	out->unsafe_interrupts = fact(iommu->unsafe_interrupts);
	out->cmdline = plain(&iommu->cmdline);
	out->problems = plain(&iommu->problems);
	out->unknown = (struct list){ 0 };
	for (LIST_EACH(const struct row_pair, it, &iommu->unknown))
		*list_add(arena, &out->unknown, struct row_pair) = *it;
	iommu_reason(arena, out, "enabled", iommu->enabled);
	iommu_reason(arena, out, "groups", iommu->groups == ROW_NULL ? FACT_UNKNOWN : FACT_YES);
	iommu_reason(arena, out, "interrupt_remapping", iommu->interrupt_remapping);
	iommu_reason(arena, out, "acs_override", iommu->acs_override);
	iommu_reason(arena, out, "unsafe_interrupts", iommu->unsafe_interrupts);
}
