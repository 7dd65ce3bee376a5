/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The machine that is played: one per process, in `host`.
 *
 * Threading: the FUSE loop runs many threads; every one holds host_lock()
 * while it touches anything here or in the tree, and lets go of it only in
 * host_wait() and host_sleep().  What can be changed by others in between must
 * be looked at again after them.
 *
 * Functions, drivers and groups are never freed: a thread that slept may still
 * hold a pointer.  What has gone says so (`present`, `loaded`, `members`).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node.h"

#define BAR_COUNT 13 /* 0-5 BARs, 6 ROM, 7-12 BARs of the VFs */
#define BAR_ROM	  6
#define BAR_VF	  7

struct function;

struct pattern { /* one row of a driver's id table; -1: any */
	long vendor;
	long device;
	unsigned class; /* compared under class_mask */
	unsigned class_mask;
	struct pattern *next;
};

enum driver_flags {
	DRIVER_MANAGED_DMA = 1 << 0, /* does not break a group's viability */
	DRIVER_SRIOV = 1 << 1,	     /* has sriov_configure */
	DRIVER_VFIO = 1 << 2,	     /* vfio-pci and its variants */
	DRIVER_NVIDIA = 1 << 3,
	DRIVER_DISPLAY = 1 << 4, /* takes the firmware's framebuffer away */
};

struct driver {
	struct driver *next;
	char *name;
	char *module; /* NULL: built in */
	struct pattern *ids;
	struct pattern *dynamic; /* from new_id */
	unsigned flags;
	bool loaded;
	struct node *dir;
};

struct group {
	struct group *next;
	int number; /* -1 while it has no members */
	unsigned members;
	unsigned opens; /* of /dev/vfio/N for writing, by real processes */
	unsigned vfio;	/* members on a vfio driver */
	bool emulated;	/* of an mdev: no IOMMU behind it */
	char *type;
	char *reserved;
	struct node *dir;
	struct attr attr;   /* of /dev/vfio/N */
	struct bunch nodes; /* /dev/vfio/N and what goes with it */
};

struct bar {
	uint64_t start;
	uint64_t size;
	unsigned flags;
};

struct sriov {
	unsigned total;
	unsigned offset;
	unsigned stride;
	unsigned vf_device;
	unsigned vf_sub_vendor, vf_sub_device;
	unsigned vf_class;
	int group;	/* number of VF 0's group; -1: none, -2: any free */
	unsigned limit; /* the driver enables at most so many */
	bool no_mmio;
	bool autoprobe;
	unsigned active;
	unsigned initial;
	struct driver *vf_driver; /* of the initial ones */
	struct bar bars[6];	  /* of one VF */
};

struct child; /* class devices below a function: child.h */
struct vgpu;  /* what it can be cut into: vgpu.h */

struct function {
	struct function *next;
	char name[20];
	unsigned domain, bus, slot, fn;
	unsigned vendor, device, sub_vendor, sub_device, class, revision;
	bool boot_vga;
	int numa;
	unsigned irqs;
	struct function *under; /* the bridge above */
	unsigned secondary, subordinate;
	struct group *group;
	struct bar bars[BAR_COUNT];
	const char *speed, *max_speed; /* NULL: no PCI Express */
	unsigned width, max_width;
	const char *power_state;
	bool control_auto, suspended, d3cold_allowed, wakes;
	char *reset_can;    /* all methods it has */
	char *reset_method; /* those in use */
	char *rom;	    /* good, badsig, badid, badlen; NULL: none */
	bool rom_enabled;
	unsigned enabled;
	char *override;
	struct driver *driver;
	bool link; /* the driver link is there */
	bool present;
	bool gone; /* not found by a rescan */
	bool ff;   /* config space reads ff */
	bool ff_after_reset;
	bool locked; /* device_lock() */
	bool removing;
	bool fresh; /* found by the rescan that runs */
	struct sriov *sriov;
	struct function *physfn;
	unsigned index; /* of a VF */
	struct vgpu *vgpu;
	struct child *children;
	unsigned kernel_users; /* of an nvidia device, without a process */
	int minor;	       /* /dev/nvidiaN */
	bool unbind_lock;
	unsigned users; /* open mdevs and the like, by real processes */
	struct driver *initial;
	const char *initial_power; /* it sleeps so on its initial driver */
	struct node *dir;
	struct bunch links; /* to it, from elsewhere in the tree */
	struct bunch bound; /* nodes that are there while it is bound */
};

struct host {
	char *name;
	char *kernel;
	unsigned kernel_version; /* major << 16 | minor */
	struct function *functions;
	struct driver *drivers;
	struct group *groups;
	bool drivers_autoprobe;
	bool bus_locked;   /* pci_lock_rescan_remove() */
	bool released;	   /* stuck removals may end */
	bool built;	   /* the tree is there: lines act at once */
	char *error;	   /* the last complaint about a line */
	unsigned boot;	   /* differs from start to start, but not in a tree */
	const char *where; /* file name for complaints */
	unsigned line;
};

extern struct host host;

void host_lock(void);
void host_unlock(void);
void host_wait(void); /* until somebody calls host_wake() */
void host_wake(void);
void host_sleep(unsigned ms);

/* Complains about the line being read; always -EINVAL. */
int host_complain(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

bool host_kernel_at_least(unsigned major, unsigned minor);

/* By address, sysfs_streq()-like; NULL if there is none, present or not. */
struct function *host_function(const char *name);
struct driver *host_driver(const char *name);
struct group *host_group(int number);
struct group *host_group_new(void);
int host_group_free_number(void);
