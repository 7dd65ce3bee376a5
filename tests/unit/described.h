/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hosts with disks and networks, described in a few words a line and made as trees (tree.h). The
 * PCI functions are these; those whose address is in the description are made, and the two cards.
 *
 *   0000:01:00.0 + .1  GPU and its audio, behind port 0000:00:01.0   0000:07:00.0  BMC's VGA
 *   0000:03:00.0, 0000:04:00.0  NVMe, behind ports 0000:00:03.0, .4  0000:00:14.0  USB
 *   0000:05:00.0, 0000:06:00.0  NICs, behind ports 0000:00:05.0, .6  0000:00:17.0  SATA
 *
 * One thing a line; fields are split by blanks:
 *   has ADDRESS (the function is made)
 *   disk NAME ADDRESS MAJ:MIN      part NAME DISK MAJ:MIN     virt NAME MAJ:MIN
 *   on UPPER LOWER (holders and slaves)     dm NAME DM-NAME UUID
 *   mount MAJ:MIN POINT TYPE SOURCE [OPTIONS]                 swap PATH
 *   net NAME ADDRESS   vnet NAME   over UPPER LOWER (upper_ and lower_ links)   down NAME
 *   route INTERFACE A.B.C.D/N      route6 INTERFACE TO/N
 *   tcp LOCAL:PORT PEER:PORT STATE INODE
 *   process PID NAME               open PID FD PATH
 *   file PATH TEXT…                link PATH TARGET           drop PATH      dir PATH
 */
#pragma once

#include "host/inventory.h"
#include "tree.h"

struct described {
	struct tree tree;
	struct arena *arena;
	struct inventory *inv;
};

/* Makes the host and reads its inventory. A word that is not understood ends the program. */
void described_make(struct described *host, const char *text);
void described_remove(struct described *host);

/*
 * Compares the list of struct critical with lines "ADDRESS CODE PART OF WHY", in any order, one for
 * each fact; prints both and fails the test when they differ.
 */
void described_expect(const struct list *critical, const char *name, const char *expected);

/*
 * Asks about each function alone, and about all of them, in halves (critical_carried, then
 * critical_displays): each must come to what the whole look found of it, which is `critical`.
 */
void described_expect_same(struct described *host, const char *name, const struct list *critical);
