/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the host itself lives on, and so must not be taken away: disks that are mounted, swapped to,
 * part of another device or open; NICs that carry the default route or a live ssh session; the
 * console's card; the only card. Followed through partitions, device mapper, LVM, md, bridges,
 * bonds, VLANs, macvlan. What cannot be followed (ZFS, btrfs over several disks, bcache,
 * multipath, OVS) is reported as unknown, never passed over.
 */
#pragma once

#include "host/inventory.h"

struct critical {
	struct pci_address address;
	const char *code;	/* "critical", "console_card", "only_card", "unknown_carries" */
	const char *why;	/* "carries / on /dev/nvme0n1p2", one sentence */
	const char *evidence;	/* where that was read */
};

/* Facts of all functions of the inventory, in the arena, sorted by address. Returns their number. */
int critical_find(const struct host_root *root, const struct inventory *inv, struct arena *arena,
		  struct list *critical, struct error *err);
