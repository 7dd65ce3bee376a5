/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the drivers of the cards that can be shared tell: which types a card can be cut into now, and what
 * VFs are set to. Reading these runs code of the vendor's, so the helper does it, with a deadline.
 *
 * An offer is immutable and counted: it is read again when one of the functions it was read from is
 * another one in the inventory (a uevent touched it, or a step of ours), or when it is old; else it
 * is shared. Names and descriptions are asked for once, numbers each time; all VFs of a card tell the
 * same, so one that is free is asked for all.
 */
#pragma once

#include "host/inventory.h"
#include "plan/privd_client.h"

struct vgpu_type {
	const char *id;		 /* directory of an mdev type, or the number of a VF's */
	const char *name;	 /* for people; NULL: the driver did not tell it */
	const char *description; /* NULL: there is none */
	int64_t available;	 /* instances more, of the function that was asked; ROW_NULL: not told */
	bool offered;		 /* the driver names it now, or says that none of it is to be had */
};

/* A VF that is set to a type of the vendor's. */
struct vgpu_set {
	struct pci_address vf;
	const char *type; /* id; NULL: it could not be read */
};

struct vgpu_offer {
	int refs; /* atomic */
	struct arena *arena;
	struct pci_address address; /* of the card: the PF, or the parent of mdevs */
	const char *interface;	    /* as function.vgpu */
	struct list types;	    /* struct vgpu_type; null: unknown, or there are none such */
	const char *types_unknown;
	struct list set;	 /* struct vgpu_set; null: unknown. vendor_vf only */
	const char *set_unknown;
	struct list from;	 /* struct function *, one reference each: what it was read from */
	uint64_t read_at;	 /* time_monotonic_ms() */
};

/* Who reads; privd_types and privd_vf_types, or what a test puts there. */
struct vgpu_reader {
	struct privd *privd;
	int (*types)(struct privd *privd, struct pci_address address, enum privd_types value,
		     struct arena *arena, struct list *types, struct error *err);
	int (*vf_types)(struct privd *privd, const struct list *addresses, struct arena *arena,
			struct list *types, struct error *err);
};

/* Is it a card that can be shared, of which the VFs are parts? */
bool vgpu_is_device(const struct inventory *inv, const struct function *f);

/*
 * The offers of all cards of the inventory that can be shared, as struct vgpu_offer *, a reference each;
 * those of `old` that still hold are taken over, where they were read after `before` (of
 * time_monotonic_ms()). The list is in the arena. Blocks as the helper does.
 */
void vgpu_offers_read(const struct vgpu_reader *reader, const struct inventory *inv,
		      const struct list *old, uint64_t before, struct arena *arena, struct list *out);
/* Drops the references. */
void vgpu_offers_release(struct list *offers);
/* NULL: there is none. */
const struct vgpu_offer *vgpu_offer_of(const struct list *offers, struct pci_address address);
/* NULL: it is not known by that id. */
const struct vgpu_type *vgpu_offer_type(const struct vgpu_offer *offer, const char *id);
