/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files critical*.c share; nobody else includes this. One search is one look at the host,
 * owned by the thread that looks.
 */
#pragma once

#include "host/block.h"
#include "host/critical.h"

struct critical_search {
	const struct host_root *root;
	const struct inventory *inv;
	struct arena *arena;
	struct list facts; /* struct critical, as they were found */
	const struct list *only; /* struct pci_address: no others are asked about; NULL: all */
};

/* Is it asked about, and does the host live on it at all? No bridge, and not given to vfio. */
bool critical_concerns(const struct critical_search *search, const struct function *f);
/* One fact, once. Texts are copied, cut to CRITICAL_WHY and cleaned of control characters. */
void critical_add(struct critical_search *search, const struct function *f, const char *code,
		  const char *why, const char *evidence);

/* critical_disk.c, critical_net.c, critical_console.c. -1 as critical_find. */
int critical_disks(struct critical_search *search, struct error *err);
int critical_nics(struct critical_search *search, struct error *err);
void critical_consoles(struct critical_search *search);

/* What may carry something and cannot be told: a reason that holds for all that nothing explains.
 */
struct critical_doubt {
	const char *why, *evidence;
};

void critical_doubt(struct critical_search *search, struct list *doubts, const char *evidence,
		    const char *fmt, ...) PRINTF(4, 5);

/*
 * True for an errno of a file that may be missing or closed to us, so that something is unknown;
 * false for one that says that we ourselves cannot go on (-EMFILE, -ENOMEM, …).
 */
bool critical_unreadable(int r);

/*
 * critical_uses.c: notes at each device of the map who uses it, and adds the doubts. 0, or -errno
 * as critical_unreadable() tells.
 */
int critical_uses(struct critical_search *search, const struct block_map *map, struct list *doubts);
