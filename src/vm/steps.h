/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The step kinds of VMs, in four tables by what they change: who has a card (steps_card.c), domains
 * and networks (steps_domain.c), volumes (steps_storage.c), records (steps_record.c). Their
 * services are struct vm_services (lifecycle.h). What libvirt runs dies with the boot; the store
 * and volumes last.
 */
#pragma once

#include "plan/step.h"

extern const struct step_table vm_card_steps, vm_domain_steps, vm_record_steps, vm_storage_steps;

/* The kinds, for planners. */
enum vm_step {
	VM_STEP_CLAIM,	 /* struct claim_step: the VM has the card from now on */
	VM_STEP_DESTROY, /* struct end_step: end the domain at once. No way back */
	VM_STEP_DOMAIN,	 /* struct domain_step: start it */
	VM_STEP_LET_GO, /* struct let_go_step: nothing is done; nobody has the card open any more */
	VM_STEP_NETWORK,       /* struct network_step: start it */
	VM_STEP_NVRAM_DELETE,  /* struct volume_step. No way back */
	VM_STEP_POOL,	       /* struct pool_step: make and start it */
	VM_STEP_RECORD,	       /* struct record_step: what is stored of a VM */
	VM_STEP_RECORD_DELETE, /* struct record_step */
	VM_STEP_SHUTDOWN,      /* struct end_step: the ACPI button, and wait. No way back */
	VM_STEP_UNCLAIM,       /* struct claim_step: it has the card no longer */
	VM_STEP_VOLUME,	       /* struct volume_step: make it */
	VM_STEP_VOLUME_DELETE, /* struct volume_step. No way back */
};
const struct step_kind *vm_step(enum vm_step step);

struct claim_step {
	const char *card;    /* id of its record */
	const char *address; /* of its slot, for people */
	const char *vm;
	const char *path; /* where it is now, confirmed by the claim; NULL: as it was */
	const char *path_was; /* where it was confirmed to be before; NULL without path */
	int was_bound;	  /* it was on vfio before: leave it there in the end; -1: as was noted */
	int owned;	  /* 1: the VM had it before, and keeps it when that is undone */
};

struct let_go_step {
	const char *address;
	const char *vm;
	struct list functions; /* strings: addresses */
};

struct vm_services;

/*
 * Has every process let go of these functions? 0 yes; 1 not yet, err says which one has them; -1 it
 * cannot be told. A function that is gone is nobody's. For the proofs of let-go and domain.
 */
int vm_let_go(const struct vm_services *services, const char *vm, const char *address,
	      const struct list *functions, struct error *err);

struct domain_step {
	const char *vm;
	const char *xml;
	const char *pool; /* with nvram: the firmware's variables, a volume that libvirt makes as it */
	const char *nvram; /* starts the domain; NULL: there are none, or they were there before */
};

struct end_step {
	const char *vm;
	int64_t timeout_s; /* for the guest to power off; ROW_NULL of destroy */
};

struct network_step {
	const char *network;
};

struct pool_step {
	const char *pool;
	const char *path;
	int was_defined;
};

struct volume_step {
	const char *pool;
	const char *name;
	int64_t bytes;	    /* ROW_NULL of those that are deleted */
	const char *format; /* NULL of those that are deleted */
};

/* Texts as vm_record_print() makes them; a value without created_at gets it when it is written. */
struct record_step {
	const char *vm;
	const char *value; /* NULL of record-delete */
	const char *was;   /* NULL: there was none */
};
