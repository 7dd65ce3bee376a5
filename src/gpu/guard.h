/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guards: everything that can speak against taking a card, judged at once, each with what was found
 * and what to do. Pure: the facts were looked up before.
 */
#pragma once

#include "gpu/unit.h"
#include "gpu/view.h"
#include "host/iomem.h"
#include "plan/plan.h"

/* What a function has now that taking it changes, and that giving it back restores. */
struct function_settings {
	struct pci_address address;
	const char *driver;	/* NULL: none bound */
	const char *override;	/* "": none set; NULL: could not be read */
	const char *control;	/* power/control, "on" or "auto"; NULL: no such file */
	int64_t d3cold;		/* d3cold_allowed, 0 or 1; ROW_NULL: no such file */
};

/* All that guards and planners of whole cards go by. */
struct card_facts {
	struct gpu_facts gpu;
	const struct list *framebuffers;	/* struct boot_framebuffer; NULL: could not be read */
	const char *framebuffers_unknown;	/* why not */
	const struct list *settings;		/* struct function_settings of the functions touched */
	const struct list *taken;		/* struct function_settings from before we took it; empty */
	bool vfio_driver;			/* /sys/bus/pci/drivers/vfio-pci is there */
	bool modules;				/* the host root is "/": modules can be loaded */
	const struct list *beside;		/* struct pci_address: what the same VM gets too; NULL */
	const char *claimed_by;			/* VM that has the card; NULL: none */
	int was_bound;				/* … and it was on vfio before; -1 not told */
	const char *card_id;			/* id of the card's record; NULL: none yet */
	const char *meant;			/* the VM was made with another card: which, and where */
						/* that is now; NULL: with this one, or not known */
	int64_t wanted_vfs;			/* as its record says; ROW_NULL: nobody said */
	const char *moved_from;			/* it sits elsewhere than was confirmed; NULL: as it was */
	const char *stuck_why;			/* an earlier change has not come back; NULL: no */
	const char *quarantined_why;		/* NULL: it is not */
};

enum guard_purpose {
	GUARD_BIND,	/* take it from the host */
	GUARD_RELEASE,	/* give it back to the host */
	GUARD_START,	/* start a VM with it */
	GUARD_CUT,	/* another number of VFs of it */
	GUARD_REMOVE,	/* it is a VF, and is to be no more */
};

/*
 * Adds to the plan every refusal there is for the unit. `vm` is the VM it is wanted for (its own
 * claim is none); NULL: for nobody in particular.
 */
void guard_unit(struct plan *plan, const struct card_facts *facts, const struct gpu_unit *unit,
		enum guard_purpose purpose, const char *vm);

/* The settings of one function; NULL when they are not among them. */
const struct function_settings *settings_find(const struct list *settings, struct pci_address address);

/*
 * Does a boot framebuffer in its memory speak against giving it to a VM? vfio-pci evicts it from VGA
 * controllers, and from nothing else (drivers/vfio/pci/vfio_pci_core.c, vfio_pci_vga_init).
 */
bool guard_wants_framebuffers(const struct function *f);
