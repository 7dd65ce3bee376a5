/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The codes of refusals: one committed table. Clients match on them, so a code is never renamed and
 * never changes its meaning. A new one is a line here and a row in refusal.c. Pure; any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Sorted by name; the same order as the table. */
enum refusal_code {
	REFUSE_BOOT_FRAMEBUFFER,	/* firmware's framebuffer lies in its BAR */
	REFUSE_BRIDGE,			/* bridges are no cards */
	REFUSE_CLAIMED,			/* a VM has it */
	REFUSE_CONSOLE_CARD,		/* the host's console is on it */
	REFUSE_CRITICAL,		/* something the host needs lives on it */
	REFUSE_GROUP_BLOCKED,		/* others in its group are in the way */
	REFUSE_HELD,			/* a process or the kernel has it open */
	REFUSE_IOMMU_OFF,
	REFUSE_MDEV_LIVE,		/* it carries instances */
	REFUSE_NO_GROUP,
	REFUSE_NO_INTERRUPT_REMAPPING,
	REFUSE_NO_MEMORY,		/* the host has not enough that is free */
	REFUSE_NO_RESET,		/* no way to reset it is known */
	REFUSE_ONLY_CARD,		/* it is the host's only card */
	REFUSE_PF_HAS_VFS,
	REFUSE_QUARANTINED,
	REFUSE_RMRR,			/* firmware keeps memory regions of it */
	REFUSE_STUCK,			/* an earlier change of it has not come back */
	REFUSE_UNKNOWN,			/* unknown_<fact>: use plan_refuse_unknown() */
	REFUSAL_CODES
};

enum acceptance {
	ACCEPT_NO,
	ACCEPT_YES,
	ACCEPT_AT_BIND,		/* yes, but not when a VM starts with it */
};

struct refusal_row {
	const char *name;	/* "unknown_" is the beginning of a family */
	enum acceptance accept;
	const char *means;	/* one sentence, for the docs */
};

extern const struct refusal_row refusal_table[REFUSAL_CODES];

/* The code that `name` belongs to, REFUSAL_CODES when it is none. */
enum refusal_code refusal_find(const char *name);
bool refusal_can_accept(enum refusal_code code, bool vm_start);
