/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VM as it is answered: its spec as it is stored, and how it stands, which is libvirt's to say.
 * Pure. Structs borrow from the facts and the record, and from the arena.
 */
#pragma once

#include "host/inventory.h"
#include "vm/libvirt.h"
#include "vm/spec.h"

/* What a task under way does to a VM. */
enum vm_doing { VM_DOES_NOTHING, VM_DOES_START, VM_DOES_STOP };

/* The warning about cpus or memory that were changed while it runs. */
extern const char vm_changes_later[];

struct vm_view_facts {
	const char *node;
	const struct list *domains;	   /* struct virt_domain; NULL: not known … */
	const char *domains_unknown;	   /* … and why */
	const struct inventory *inventory; /* borrowed; NULL: not read yet */
	bool no_kvm;			   /* it is known that there is none */
	/* Of the VM that is looked at. */
	enum vm_doing doing;
	bool crashed;	       /* its last run ended so */
	const char *held_back; /* why its cards did not come back after its end; NULL */
};

void vm_view(const struct vm_view_facts *facts, const struct vm_record *vm, struct arena *arena,
	     struct wire_vm *out);
