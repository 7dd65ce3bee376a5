/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The planner that makes VFs of a card and takes them away. Pure.
 *
 * The order law. Drivers of the host are kept off new VFs before there are any, and let again when they are
 * there; the kernel changes a number of VFs only to and from none (drivers/pci/iov.c,
 * sriov_numvfs_store), so those there are go first; what was noted of a VF that is gone is dropped; what is
 * wanted is written down last, when it is so.
 *
 * A VF that somebody has is never taken away: the kernel would wait for him, with the PF's lock held.
 */
#pragma once

#include "gpu/guard.h"

struct sriov_vf {
	const struct card_facts *facts;
	const struct gpu_unit *unit;
};

struct sriov_facts {
	const struct card_facts *card;	/* of the PF's card */
	const struct gpu_unit *unit;
	const struct function *pf;
	const struct list *vfs;		/* struct sriov_vf: those it has */
	int autoprobe;			/* sriov_drivers_autoprobe; -1: the kernel has none */
};

/* The PF that is meant by this function: itself, or the only one of its unit; NULL: there is none. */
const struct function *sriov_pf(const struct gpu_unit *unit, const struct function *f);

/*
 * Fill the plan with guards, locks and steps for so many VFs. Nothing to do is a plan without steps. -1:
 * it cannot be done so at all: invalid_value (more than it can have), conflict (its driver makes none,
 * or in a way of its own, which the hint tells).
 */
int sriov_plan(struct plan *plan, const struct sriov_facts *facts, int64_t vfs, struct error *err);
