/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rows of the card resources: device, member of a group, IOMMU status. Field names, types and
 * units are the API's. Structs hold borrowed pointers into whatever they were made from.
 */
#pragma once

#include "base/rows.h"

struct wire_function {
	const char *pci_address;
	const char *device_name;
	const char *class_name;
	const char *driver;
	int role;
};

struct wire_bar {
	int64_t index;
	int64_t size_mib;	/* rounded up */
	int64_t size_bytes;
	int prefetchable;
	int bits64;
};

struct wire_link {
	const char *speed;
	int64_t width;
	const char *max_speed;
	int64_t max_width;
};

struct wire_subsystem {
	const char *vendor_id, *device_id, *name;
};

struct wire_rom {
	int present, valid;
	const char *reason;
};

struct wire_sriov {
	int64_t total, active, wanted;
	struct list vfs;	/* strings */
};

struct wire_vgpu {
	int interface;		/* words: mdev mdev_per_vf vendor_vf sriov */
	struct list profiles;	/* strings */
	struct list instances;	/* strings */
};

struct wire_holder {
	int kind;		/* words: vm process kernel */
	const char *id;		/* VM id, pid, or the kernel user's name */
	const char *name;
	const char *since;
};

struct wire_reason {
	const char *why;
};

struct wire_viable {
	int ok;
	struct list blockers;	/* strings: addresses */
	const char *why;	/* not, where no blocker says it */
};

struct wire_health {
	int64_t aer_correctable, aer_fatal;
	const char *last_reset;
	const char *quarantined_why;
	const char *held_back_why; /* its VM ended, and it did not go back to the host */
};

struct wire_device {
	const char *pci_address, *vendor_id, *device_id, *vendor_name, *device_name;
	const char *driver;
	const char *iommu_group;
	int in_use;
	const char *node;
	int state;
	const char *card, *slot;
	struct list functions;	/* struct wire_function */
	const char *class, *class_name;
	struct wire_subsystem *subsystem;
	const char *revision;
	const char *identity;
	int64_t numa_node;
	const char *local_cpus;
	struct list bars;	/* struct wire_bar */
	struct wire_link *link;
	const char *power_state;
	int boot_vga, console;
	struct list reset_methods;
	struct wire_rom *rom;
	struct wire_sriov *sriov;
	const char *physfn;
	struct wire_vgpu *vgpu;
	struct list used_by;	/* struct wire_holder */
	struct list assigned_to;
	const char *claimed_by;
	int reserved;
	struct list critical;	/* struct wire_reason */
	struct wire_viable *viable;
	struct wire_health *health;
	struct list unknown;	/* struct row_pair */
};

/* A member of an IOMMU group, `GET …/iommu-group`. */
struct wire_member {
	const char *pci_address, *device_name, *class, *class_name, *driver;
	int role;
	int blocks;
	struct list carries;	/* strings: what of the host lives on it */
	struct list unknown;	/* struct row_pair */
};

struct wire_iommu {
	int enabled;
	const char *message;
	const char *kind;
	struct list evidence;
	int64_t groups;
	int interrupt_remapping, acs_override, unsafe_interrupts;
	struct list cmdline, problems;
	struct list unknown;
};

extern const struct row wire_device_rows[];
extern const struct row wire_member_rows[];
extern const struct row wire_iommu_rows[];

/* The words of the enumerations, NULL-terminated, in the order of the enums that produce them. */
extern const char *const wire_role_words[];	/* enum group_role */
extern const char *const wire_card_state_words[];
extern const char *const wire_holder_kind_words[];
extern const char *const wire_vgpu_interface_words[];

enum wire_card_state {
	CARD_HOST,		/* on its host driver */
	CARD_UNBOUND,
	CARD_PREPARING,
	CARD_READY,		/* on vfio, free */
	CARD_IN_USE,
	CARD_SHARED,		/* carries VFs or instances */
	CARD_RELEASING,
	CARD_MIXED,		/* its functions differ: an unfinished or foreign change */
	CARD_STUCK,
	CARD_QUARANTINED,	/* reset failed, or config space reads ff */
	CARD_ABSENT,
};

enum wire_holder_kind { HOLDER_VM, HOLDER_PROCESS, HOLDER_KERNEL };
