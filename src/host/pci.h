/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One PCI function as the kernel shows it. Read from /sys/bus/pci/devices/<address> without
 * waking it and without files that take the device's lock (Documentation/ABI/testing/sysfs-bus-pci;
 * drivers/pci/pci-sysfs.c): never config, rom, sriov_numvfs, driver_override; current_link_* only
 * while it is awake.
 *
 * A function is immutable and counted: inventories of different revisions share those that were
 * not touched between them. What relates functions to each other (card, group) is the inventory's.
 */
#pragma once

#include "base/address.h"
#include "base/arena.h"
#include "host/root.h"

enum { NO_GROUP = -1, NUMA_UNKNOWN = -1 };

struct bar {
	int index;		/* 0..5 */
	uint64_t start;		/* bus address; 0 when root hides it */
	uint64_t bytes;
	bool io;
	bool prefetchable;
	bool bits64;
};

struct sriov {
	int64_t total;		/* sriov_totalvfs */
	struct list vfs;	/* struct pci_address of virtfn*, sorted by VF number */
};

/* A mediated device below a function (drivers/vfio/mdev/mdev_core.c). */
struct mdev {
	const char *uuid;
	const char *type; /* directory of its type, "nvidia-754"; NULL: it cannot be told */
	int group;	  /* its IOMMU group, of VFIO's own making; NO_GROUP: it cannot be told */
};

struct function {
	int refs;			/* atomic; function_ref, function_unref */
	struct arena *arena;		/* owns everything below */
	struct pci_address address;
	char text[PCI_ADDRESS_TEXT];	/* the address as text */
	const char *sysfs;		/* "sys/devices/pci0000:00/…", for reads below it */
	/*
	 * Of that directory in sysfs: no other device gets it as long as the machine runs (fs/kernfs/dir.c,
	 * __kernfs_new_node). 0: not of sysfs, or read in brief.
	 */
	uint64_t inode;

	uint16_t vendor, device, subsystem_vendor, subsystem_device;
	uint32_t class;			/* 24 bits: base, sub, interface */
	uint8_t revision;
	bool bridge;			/* PCI or host bridge: class 0600, 0604, or it has pci_bus */

	const char *driver;		/* NULL: none bound */
	int group;			/* IOMMU group, or NO_GROUP */
	bool group_is_noiommu;		/* the group is vfio-noiommu's: no isolation at all */

	/* The path from the root bus: bridges above it, outermost first (struct pci_address). */
	struct list parents;
	const char *path_key;		/* "00:01.0/00.0": root bus, then dev.fn without bus numbers */

	/* What follows is not read of a bridge: it stays 0, empty or NULL there. */
	int numa_node;			/* NUMA_UNKNOWN when the firmware does not say */
	const char *local_cpus;		/* "0-5,12-17", NULL unknown */
	struct list bars;		/* struct bar */
	int boot_vga;			/* 1, 0; -1 there is no such file */
	const char *power_state;	/* D0 D1 D2 D3hot D3cold unknown error; NULL unreadable */
	const char *runtime_status;	/* active suspended …; NULL unreadable */
	/* A VF has no link of its own; a sleeping device is not asked for its current one. */
	const char *link_speed, *max_link_speed;	/* "16.0 GT/s PCIe"; NULL unknown */
	int64_t link_width, max_link_width;		/* lanes; ROW_NULL unknown */
	struct list reset_methods;	/* strings in the kernel's order; empty: it cannot be reset;
					 * null: the kernel (before 5.15) does not say how */
	bool has_rom;			/* a ROM BAR or a rom file is there */
	struct sriov *sriov;		/* NULL: cannot */
	struct pci_address *physfn;	/* NULL: not a VF */
	/* "mdev", "mdev_per_vf", "vendor_vf", "sriov"; NULL none. Of a VF: what it carries itself. */
	const char *vgpu;
	struct list mdevs;		/* struct mdev, by UUID */
	bool in_d3cold;			/* asleep: what wakes it was not read */
	int64_t aer_correctable, aer_fatal;	/* totals; ROW_NULL when not told */
	/* Fields whose file could not be read: {API field, reason}; struct row_pair. */
	struct list unknown;
};

/* Is it the same kind of thing at the same place? Its driver and state may be others. */
bool function_same(const struct function *a, const struct function *b);

/*
 * Read one function. A missing or unreadable file is an unknown field, not a failure; -1 (gone)
 * only when there is no such device any more. *ret is a new reference.
 */
int function_read(const struct host_root *root, struct pci_address address, struct function **ret,
		  struct error *err);
/*
 * The same, but only what it is, where it is and who drives it: class, vendor, bridge, driver, group,
 * physfn, boot_vga. All else is as if nothing were known of it.
 */
int function_read_brief(const struct host_root *root, struct pci_address address,
			struct function **ret, struct error *err);
struct function *function_ref(struct function *f);
void function_unref(struct function *f);
DEFINE_CLEANUP(struct function *, function_unref)

/* Class filters. base/sub classes as 16 bits (0x0300). */
struct class_filter {
	uint16_t extra[16];	/* configured: other 16-bit classes that count as cards here */
	int n_extra;
};

/* 0300 VGA, 0302 3D, 0380 other display, 1200 of vendor 1002 (MI300…), and the configured extras. */
/* Extras as the configuration has them: "0c80, 0480". Sets them; -1: it is no such list. */
int class_filter_parse(const char *text, struct class_filter *filter);
bool function_is_gpu(const struct function *f, const struct class_filter *filter);
