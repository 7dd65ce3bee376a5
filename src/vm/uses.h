/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which volumes VMs use, and how: a file that one VM writes must not be another's cdrom, nor go with
 * the VM that is deleted, nor be opened by two at once. Pure.
 */
#pragma once

#include "vm/facts.h"

/* The ways to use a volume: bits. Only the first writes to it as the guest pleases. */
enum volume_use {
	USE_DISK = 1,
	USE_CDROM = 2,
	USE_KERNEL = 4,
	USE_INITRD = 8,
	USE_NVRAM = 16,
	USE_ANY = 31,
};

/* How the spec uses it; 0: not at all. */
unsigned vm_uses(const struct vm_record *vm, const char *volume);
/*
 * The other VMs that use it in one of these ways, in words and in the facts' arena: "VM a (cdrom),
 * VM b (disk)"; NULL: none. running: only those that run.
 */
const char *vm_others_with(const struct vm_facts *facts, const char *volume, unsigned how,
			   bool running);
/* The locks of the volumes that the VM writes. */
void vm_volume_locks(struct plan *plan, const struct vm_facts *facts);
/* conflict, with a pointer: somebody else's disk is read here, or the other way round. */
int vm_check_uses(const struct vm_facts *facts, struct error *err);
/* Refuses what another VM has open now. */
void vm_refuse_open(struct plan *plan, const struct vm_facts *facts);
