/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A unit: the functions that are judged together when one of them is looked at: those of its card
 * (a VF is a card of its own), or the function alone when it is of no card. Borrows from the
 * inventory. Pure; any thread.
 */
#pragma once

#include "gpu/view.h"

enum { UNIT_MAX = 32 };

struct gpu_unit {
	const struct card *card; /* NULL: f is of no card */
	const char *slot;	 /* address of its first function, as text */
	const struct function *functions[UNIT_MAX];
	size_t n;
};

void gpu_unit_of(const struct inventory *inv, const struct function *f, struct gpu_unit *unit);
bool gpu_unit_has(const struct gpu_unit *unit, struct pci_address address);
/* All its functions are on a vfio driver. */
bool gpu_unit_on_vfio(const struct gpu_unit *unit);
/* Could `field` of one of its functions not be read? Then *reason says why. */
bool gpu_unit_unreadable(const struct gpu_unit *unit, const char *field, const char **reason);
/* The running domain that has one of its functions; NULL: none that is known. */
const struct gpu_domain *gpu_unit_domain(const struct gpu_facts *facts, const struct gpu_unit *unit);
/* Is that holder the QEMU of a domain that is known to have the unit, so that it is told already? */
bool gpu_unit_domain_is(const struct gpu_facts *facts, const struct gpu_unit *unit,
			const struct holder *holder);
/* Does a VM or process (not the kernel itself) hold it? */
enum fact gpu_unit_held(const struct gpu_facts *facts, const struct gpu_unit *unit);
/* See gpu_card_state. */
int gpu_unit_state(const struct gpu_facts *facts, const struct gpu_unit *unit);
/*
 * Could a VM use it, as everything in its groups is bound now, apart from its own functions? Adds
 * the addresses of what keeps it from that to blockers (strings). Unknown when only the regions
 * that the firmware keeps could not be read.
 */
enum fact gpu_unit_viable(const struct inventory *inv, const struct gpu_unit *unit,
			  struct arena *arena, struct list *blockers);
