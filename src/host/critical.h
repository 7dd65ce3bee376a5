/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the host itself lives on, and so must not be taken away: disks that are mounted, swapped to,
 * part of another device or open; NICs that carry the default route or a live ssh session; the
 * console's card; the only card. Followed through partitions, device mapper, LVM, md, loop, NVMe
 * subsystems, bridges, bonds, teams, VLANs, macvlan. What cannot be followed (ZFS, btrfs whose
 * devices are not told, bcache's cache, multipath, OVS, tunnels) or cannot be read is reported as
 * unknown, never passed over.
 *
 * A function on a vfio driver serves the host nothing any more: it has no entry.
 */
#pragma once

#include "host/inventory.h"

enum { CRITICAL_WHY = 232 }; /* longest why and evidence, with the NUL; cut with "…" */

struct critical {
	struct pci_address address;
	const char *code;     /* "critical", "console_card", "only_card", "unknown_carries" */
	const char *why;      /* "carries / (ext4) on /dev/nvme0n1p2": one sentence */
	const char *evidence; /* where that was read */
};

/*
 * Facts of all functions of the inventory but bridges, in the arena, sorted by address, the hard
 * ones first. Returns their number; -1 (system) only when this process itself cannot go on (no
 * descriptors left, say). As root it sees all; without, it cannot see which disks other users'
 * processes have open, and every disk that nothing else explains is unknown_carries: so plans ask
 * horcrux-privd, which must see the host's own network and mounts (no PrivateNetwork=).
 */
int critical_find(const struct host_root *root, const struct inventory *inv, struct arena *arena,
		  struct list *critical, struct error *err);

/*
 * The two halves of it, for who has an inventory of his own and asks about some functions.
 *
 * critical_carried: what those (struct pci_address) carry: disks and NICs, one function after the
 * other as they were named. The host is read only where one of them can carry anything, which
 * the places of its disks and interfaces tell. As critical_find() otherwise.
 *
 * critical_displays: adds the facts about displays, of those of the inventory, to what was found of
 * them before, and orders all as critical_find() does. Needs nothing that is closed to others than
 * root.
 */
int critical_carried(const struct host_root *root, const struct list *addresses,
		     struct arena *arena, struct list *critical, struct error *err);
void critical_displays(const struct host_root *root, const struct inventory *inv,
		       const struct list *addresses, struct arena *arena, struct list *critical);
