/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Host facts as the wire shows them: the one place that says what a field of a device, a group's
 * member or the IOMMU verdict is made from. The daemon and the CLI without a daemon both use it, so
 * they cannot tell different stories.
 *
 * What could not be told is null and has its reason in the object's `unknown`; nothing is guessed.
 * Structs that come out borrow from the facts and from the arena; they live as long as both. Pure;
 * any thread.
 */
#pragma once

#include "host/critical.h"
#include "host/holders.h"
#include "host/inventory.h"
#include "wire/device.h"

/* A VM whose spec names a function. */
struct gpu_assignment {
	struct pci_address address;
	const char *vm;
};

/* A running domain that has functions of this host, whoever made it. */
struct gpu_domain {
	const char *name;	/* libvirt's */
	const char *vm;		/* id of the VM that it is; NULL: not one of ours */
	const char *since;	/* RFC 3339; NULL unknown */
	struct list addresses;	/* struct pci_address */
};

/* What the driver of a card that can be shared offers. */
struct gpu_offered {
	struct pci_address address;
	struct list names;	/* strings */
	const char *unknown;	/* why they are not known; NULL: they are */
};

/* A card that a task is changing now. */
struct gpu_changing {
	const char *slot;	/* the card's */
	int state;		/* CARD_PREPARING or CARD_RELEASING */
};

struct gpu_facts {
	const struct inventory *inventory;
	const struct list *holders;   /* struct holder; NULL: they could not be read */
	const char *holders_unknown;  /* why not */
	const struct list *critical;  /* struct critical; NULL: it could not be read */
	const char *critical_unknown; /* why not */
	const struct list *records;	  /* struct card_record (record.h); NULL: unknown */
	const char *records_unknown;	  /* why */
	const struct list *assignments; /* struct gpu_assignment; NULL: not known here */
	const struct list *domains;	/* struct gpu_domain; NULL: not known here (holders tell then) */
	const struct list *offered;	/* struct gpu_offered; NULL: not known here */
	const char *offered_unknown;	/* why */
	struct list held_back;		  /* struct row_pair: VM whose cards are not back, why */
	struct list starting;		  /* strings: VMs that are being started now */
	struct list changing;		  /* struct gpu_changing */
	struct list stuck;		  /* struct row_pair: address of a card's slot, why */
	const char *node;	      /* name of this host */
};

/*
 * The function that a request names: any function of a card, by its address as text. 0 and *ret
 * (borrowed from inv); or -1: invalid_value (no address), not_found, which names the card beside
 * it where there is one.
 */
int gpu_find(const struct inventory *inv, const char *text, const struct function **ret,
	     struct error *err);

/*
 * State of the card that f belongs to, from what is bound, who holds it and what it carries; NULL:
 * absent. -1 when it hangs on drivers or holders that could not be read. What only the records know
 * (preparing, releasing, stuck, quarantined) is laid over this by whoever has them.
 */
int gpu_card_state(const struct gpu_facts *facts, const struct function *f);

/* One device. *out is set whole. */
void gpu_view_device(const struct gpu_facts *facts, const struct function *f, struct arena *arena,
		     struct wire_device *out);
/* Every function of GPU class, VFs too, as struct wire_device sorted by address. */
void gpu_view_devices(const struct gpu_facts *facts, struct arena *arena, struct list *out);

/* A member of a group, as whoever wants `card` (NULL: nobody in particular) sees it. */
void gpu_view_member(const struct gpu_facts *facts, const struct function *f,
		     const struct card *card, struct arena *arena, struct wire_member *out);
/* Every function in the group of f as struct wire_member; empty when it is in none. */
void gpu_view_group(const struct gpu_facts *facts, const struct function *f, struct arena *arena,
		    struct list *out);

void gpu_view_iommu(const struct gpu_facts *facts, struct arena *arena, struct wire_iommu *out);
