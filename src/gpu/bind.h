/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The planners that take a whole card from its host drivers to vfio-pci, and give it back. Pure.
 *
 * The order law. Taking: everything is written down first; power is pinned before the device changes
 * hands; drivers let go from the last function to the first (audio and USB depend on function 0 for
 * their power: drivers/pci/quirks.c), and vfio-pci takes them from the first to the last. The override
 * is set before the unbind, so that no other driver can come in between, and stays while it is taken.
 * Giving back is the same backwards: vfio-pci lets go, overrides become what they were, host drivers
 * take the first function first, then power settings, then the notes are dropped.
 */
#pragma once

#include "gpu/guard.h"

/*
 * Fill the plan with guards, locks and steps. Nothing to do is a plan without steps. -1 when it
 * cannot be planned at all (conflict: vfio-pci is not there and cannot be loaded).
 */
int bind_plan(struct plan *plan, const struct card_facts *facts, const struct gpu_unit *unit,
	      struct error *err);
int release_plan(struct plan *plan, const struct card_facts *facts, const struct gpu_unit *unit,
		 struct error *err);
/* One of the cards that are taken together for a VM. */
struct bind_card {
	const struct card_facts *facts;
	const struct gpu_unit *unit;
};

/*
 * The same for the start of a VM: judged with the rules of a start (plan->vm_start is set), all cards
 * bound before any of their groups is proven, so that those in one group do not block each other. What
 * is bound already is judged and proven all the same. No title. Results as bind_plan().
 */
int bind_start_plan(struct plan *plan, const struct bind_card *cards, size_t n, const char *vm,
		    struct error *err);
/* The locks of a change to this unit: the card, its groups, the card of a VF's PF. */
void unit_locks(struct plan *plan, const struct inventory *inv, const struct gpu_unit *unit);
