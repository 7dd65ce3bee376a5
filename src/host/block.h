/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The block devices of the host and what is built of what: partitions, device mapper (LVM, crypt,
 * multipath), md, bcache, drbd, loop, NVMe namespaces behind several controllers. From
 * /sys/class/block; built once, for one look. Owned by the thread that looks.
 */
#pragma once

#include "base/arena.h"
#include "host/root.h"

/* A device made of another one. */
struct block_above {
	struct block *block;
	bool partition; /* else a holder: that it is there keeps the lower one in use */
};

/* Why a device is in use; what nobody uses has none. */
enum block_use { USE_MOUNTED, USE_SWAP, USE_KERNEL, USE_OPEN, BLOCK_USES };

struct block {
	const char *name;	       /* in sysfs: "nvme0n1p2", "cciss!c0d0" */
	const char *node;	       /* for people: "/dev/nvme0n1p2", "/dev/mapper/vg-root" */
	struct list paths;	       /* strings: "sys/devices/…", one for each way to it */
	unsigned major, minor;	       /* 0:0 unknown */
	const char *dm_name, *dm_uuid; /* NULL: no device mapper, or not told */
	bool partition;
	bool hidden;	   /* one path of several to what has a name of its own */
	bool empty;	   /* no medium in it */
	bool bcache;	   /* registered with bcache */
	struct list above; /* struct block_above */

	/* Filled by block_use(). */
	struct {
		const char *what;  /* "/ (ext4)", "swap", "process 12 (smartd)" */
		const char *where; /* file it was read from */
		unsigned n;	   /* uses of this kind */
	} use[BLOCK_USES];

	/* Of the search that is under way (critical_disk.c). */
	unsigned stamp;
	bool found;
};

struct block_map {
	struct arena *arena;
	const struct host_root *root;
	struct list blocks; /* struct block *, sorted by name */
};

/* Where all block devices are, as in `paths` of each, and nothing else of them. Their number or
 * -errno: /sys/class/block cannot be listed. */
int block_paths(const struct host_root *root, struct arena *arena, struct list *paths);
/* 0 or -errno: /sys/class/block cannot be listed. */
int block_map_read(const struct host_root *root, struct arena *arena, struct block_map *ret);

struct block *block_by_name(const struct block_map *map, const char *name);
struct block *block_by_number(const struct block_map *map, unsigned major, unsigned minor);
/* By what stands behind "/dev/": "sda1", "cciss/c0d0", "mapper/vg-root", "vg/root". NULL: none. */
struct block *block_by_node(const struct block_map *map, const char *node);
/* The same, and through the links of dev/ under the root ("disk/by-uuid/…"). */
struct block *block_by_link(const struct block_map *map, const char *node);

/* Note a use. The first text of a kind stays, unless `better`. Strings are borrowed. */
void block_use(struct block *block, enum block_use kind, const char *what, const char *where,
	       bool better);
