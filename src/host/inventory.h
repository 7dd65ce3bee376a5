/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inventory: everything the host shows of its PCI functions, cards and groups at one moment.
 * Immutable after it is published, counted, with a revision that grows. Readers take the current
 * one with inventory_acquire() under a plain mutex and give it back with inventory_release(); any
 * thread. Only the owner (the main thread, or the offline CLI) builds and publishes.
 *
 * A new one is built from the old one: functions that no event touched are shared, not read again.
 */
#pragma once

#include "host/iommu.h"
#include "host/names.h"
#include "host/pci.h"

/* A card: the functions that belong together. Same slot; or, behind bridges of the card's own
 * (Arc), everything below the same upstream port. A VF is a card of its own. */
struct card {
	struct pci_address slot;	/* address of its first GPU function (mostly .0) */
	char text[PCI_ADDRESS_TEXT];
	struct list functions;		/* struct function *, borrowed, GPU first, then by address */
	struct list bridges;		/* struct function *: bridges of the card's own */
};

struct group {
	int number;
	const char *type;		/* DMA, DMA-FQ, identity, …; NULL unreadable */
	struct list functions;		/* struct function *, by address */
	bool direct_regions;		/* reserved_regions has "direct" (RMRR): VFIO will refuse */
	bool regions_unknown;		/* reserved_regions cannot be read */
	bool noiommu;
};

struct inventory {
	int refs;			/* atomic */
	uint64_t revision;
	struct arena *arena;		/* cards, groups, indexes; not the functions themselves */
	struct list functions;		/* struct function *, sorted by address; one reference each */
	struct list cards;		/* struct card, sorted by slot; only cards with a GPU function */
	struct list groups;		/* struct group, sorted by number */
	int *card_of;			/* per function: index of its card, or -1 */
	struct iommu_facts *iommu_facts;	/* shared, counted: read in a full scan only */
	struct iommu iommu;
	struct class_filter filter;
	struct names *names;		/* shared, counted */
	uint64_t reads;			/* files and directories opened to build this one */
};

/* What changed since the last one: nothing in it and !all means nothing is to be done. */
struct inventory_changes {
	bool all;			/* everything is read anew (start, ENOBUFS, scan) */
	bool brief;			/* with all: functions as function_read_brief() does, and cards */
	struct list addresses;		/* struct pci_address; read again, or gone */
	struct arena *arena;		/* owns addresses */
};

/*
 * Build the next inventory. old may be NULL. Returns a new reference that is not yet published, or
 * NULL with an error (the PCI bus cannot be listed at all). A tree without /sys/bus/pci is a
 * machine without cards about which much is unknown, not an error. old is borrowed: what the new one
 * shares with it is counted. A touched VF has its PF read again too (its VFs, its vGPU interface), a
 * touched PF the VFs that it gained or lost.
 */
struct inventory *inventory_build(const struct host_root *root, const struct class_filter *filter,
				  struct names *names, struct inventory *old,
				  const struct inventory_changes *changes, struct error *err);

/* Make it the current one (takes the caller's reference; drops the one before). */
void inventory_publish(struct inventory *inventory);
/* The current one with a reference of one's own; NULL before the first was published. */
struct inventory *inventory_acquire(void);
void inventory_release(struct inventory *inventory);
DEFINE_CLEANUP(struct inventory *, inventory_release)

/* NULL when there is none. */
struct function *inventory_function(const struct inventory *inv, struct pci_address address);
/* The card that a function (any of its functions) belongs to; NULL when it belongs to none. */
struct card *inventory_card(const struct inventory *inv, struct pci_address address);
struct group *inventory_group(const struct inventory *inv, int number);
/* The functions of all cards, struct function *, borrowed; the list is in the arena. */
struct list inventory_card_functions(const struct inventory *inv, struct arena *arena);

/* group classifier (kernel: drivers/iommu/iommu.c, drivers/vfio/): what a member is to whoever
 * wants `card` (NULL: nobody in particular). */
/* Same order as wire_role_words. */
enum group_role { ROLE_GPU, ROLE_AUDIO, ROLE_USB, ROLE_UCSI, ROLE_BRIDGE, ROLE_OTHER };

enum group_role function_role(const struct function *f, const struct class_filter *filter);
/* True when f, as it is bound now, keeps a VM from using the group, apart from the card's own
 * functions: it is an endpoint on a driver that does DMA for the host. */
bool function_blocks(const struct function *f, const struct card *card);
/* vfio-pci or a variant driver of it, by name ("…-vfio-pci", "…_vfio_pci"). */
bool driver_is_vfio(const char *driver);
