/* SPDX-License-Identifier: Apache-2.0 */
/* The table of refusal codes. Constant; any thread. See refusal.h. */
#include "plan/refusal.h"

#include <string.h>

#define UNKNOWN_PREFIX "unknown_"

/* keep sorted by name */
const struct refusal_row refusal_table[REFUSAL_CODES] = {
	[REFUSE_BOOT_FRAMEBUFFER] = {
		"boot_framebuffer", ACCEPT_NO,
		"The firmware's framebuffer lies in its memory, and the host draws there.",
	},
	[REFUSE_BRIDGE] = {
		"bridge", ACCEPT_NO,
		"It is a bridge, which carries other devices.",
	},
	[REFUSE_CLAIMED] = {
		"claimed", ACCEPT_NO,
		"A VM has it now.",
	},
	[REFUSE_CONSOLE_CARD] = {
		"console_card", ACCEPT_YES,
		"The host's console is on this card and goes dark.",
	},
	[REFUSE_CRITICAL] = {
		"critical", ACCEPT_NO,
		"Something that the host needs lives on it.",
	},
	[REFUSE_GROUP_BLOCKED] = {
		"group_blocked", ACCEPT_AT_BIND,
		"Others in its IOMMU group are in use by the host.",
	},
	[REFUSE_HELD] = {
		"held", ACCEPT_NO,
		"A process or the kernel has it open.",
	},
	[REFUSE_IOMMU_OFF] = {
		"iommu_off", ACCEPT_NO,
		"The IOMMU is off.",
	},
	[REFUSE_MDEV_LIVE] = {
		"mdev_live", ACCEPT_NO,
		"It carries vGPU instances.",
	},
	[REFUSE_NO_GROUP] = {
		"no_group", ACCEPT_NO,
		"It is in no IOMMU group.",
	},
	[REFUSE_NO_INTERRUPT_REMAPPING] = {
		"no_interrupt_remapping", ACCEPT_NO,
		"Interrupts are not remapped, and this host does not allow that.",
	},
	[REFUSE_NO_MEMORY] = {
		"no_memory", ACCEPT_NO,
		"The host has not as much memory as the VM has, or not as much that is free as it would pin.",
	},
	[REFUSE_NO_RESET] = {
		"no_reset", ACCEPT_YES,
		"No way to reset it is known, so it may come back unusable.",
	},
	[REFUSE_ONLY_CARD] = {
		"only_card", ACCEPT_YES,
		"It is the host's only card.",
	},
	[REFUSE_PF_HAS_VFS] = {
		"pf_has_vfs", ACCEPT_NO,
		"It is cut into virtual functions.",
	},
	[REFUSE_QUARANTINED] = {
		"quarantined", ACCEPT_NO,
		"A reset failed, or it does not answer any more.",
	},
	[REFUSE_RMRR] = {
		"rmrr", ACCEPT_NO,
		"The firmware keeps memory regions of it, so VFIO does not take it.",
	},
	[REFUSE_STUCK] = {
		"stuck", ACCEPT_NO,
		"An earlier change of it has not come back.",
	},
	[REFUSE_UNKNOWN] = {
		UNKNOWN_PREFIX, ACCEPT_YES,
		"A danger cannot be read on this host.",
	},
};

enum refusal_code refusal_find(const char *name)
{
	size_t prefix = strlen(UNKNOWN_PREFIX);

	if (!strncmp(name, UNKNOWN_PREFIX, prefix))
		return name[prefix] ? REFUSE_UNKNOWN : REFUSAL_CODES;
	for (size_t i = 0; i < REFUSAL_CODES; i++)
		if (!strcmp(refusal_table[i].name, name))
			return (enum refusal_code)i;
	return REFUSAL_CODES;
}

bool refusal_can_accept(enum refusal_code code, bool vm_start)
{
	enum acceptance accept = refusal_table[code].accept;

	return accept == ACCEPT_YES || (accept == ACCEPT_AT_BIND && !vm_start);
}
