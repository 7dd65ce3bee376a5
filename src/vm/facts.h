/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the planners of VMs go by: a VM's record, what runs of it, its cards, volumes and network,
 * the host. The structs are filled by hand in tests; vm_look_*() fill them from the world, each a
 * part, in a task's thread, and block as long as libvirt, the store and horcrux-privd do.
 */
#pragma once

#include "vm/lifecycle.h"

/* A card that the VM's spec names, or one that the VM has claimed. */
struct vm_card {
	const struct wire_passthrough *asked; /* NULL: claimed, and not in the spec */
	const char *address;		      /* as asked; of a claim: where it was last seen */
	struct error missing;		      /* why it is not there; code ERROR_NONE: it is */
	struct card_look look;		      /* while it is there */
	const char *meant;   /* id of the record of the card that is meant; NULL: not known */
	const char *instead; /* that is another: what it is, and where it is now; NULL: this one */
	const char *rom_path;		      /* NULL: none asked for, or … */
	struct error rom;		      /* … what is wrong with it */
	const char *claim; /* id of the record that says it is this VM's; NULL: not its */
	int was_bound;	   /* of the claim */
};

struct vm_volume {
	const char *name;
	bool there;
	const char *path, *format; /* while it is there */
};

struct vm_facts {
	struct arena *arena;
	struct vm_record vm;
	const char *stored; /* its record as it is stored; NULL: not stored */
	bool goes_on;	    /* it has all its cards and keeps them: what was accepted stands */

	bool active;
	enum virt_state state;
	uint64_t running_mib; /* memory of the domain that runs; 0: not looked at, or not told */
	bool foreign; /* somebody else's domain has its name */
	struct list running; /* strings: other VMs that run */
	struct virt_host host;

	const char *pool, *pool_path;
	bool pool_defined, pool_active;
	struct list disks; /* struct vm_volume, as in the spec */
	struct list cdrom; /* struct vm_volume, as in the spec */
	struct vm_volume kernel, initrd, nvram;

	const char *network;
	bool network_defined, network_active;

	struct list cards;  /* struct vm_card, as in the spec */
	struct list claims; /* struct vm_card: what is claimed for it now */
	struct list others; /* struct vm_record: all other VMs */
};

void vm_facts_init(struct vm_facts *facts, const struct vm_services *services);
void vm_facts_finish(struct vm_facts *facts);
#define CLEAN_FACTS CLEANUP(vm_facts_finish)

/* All records, sorted by id: struct vm_record in the arena. */
int vm_list(struct store *store, struct arena *arena, struct list *vms, struct error *err);
/* The functions that VMs' specs name: struct gpu_assignment in the arena. Their number, or -1. */
int vm_assignments(struct store *store, struct arena *arena, struct list *list, struct error *err);

/* The record, and those of the others. not_found when there is none. */
int vm_look_record(struct vm_services *services, const char *id, struct vm_facts *facts,
		   struct error *err);
/* Asks libvirt whether it runs. */
int vm_look_domain(struct vm_services *services, struct vm_facts *facts, struct error *err);
/* How much memory the domain has that runs: a change of the spec is for its next start. */
int vm_look_running(struct vm_services *services, struct vm_facts *facts, struct error *err);
int vm_look_host(struct vm_services *services, struct vm_facts *facts, struct error *err);
/* Pool and volumes. Of a pool that is not active yet, what its folder holds. */
int vm_look_storage(struct vm_services *services, struct vm_facts *facts, struct error *err);
/* The same without libvirt: what the pool's folder holds. */
int vm_look_files(struct vm_services *services, struct vm_facts *facts, struct error *err);
int vm_look_network(struct vm_services *services, struct vm_facts *facts, struct error *err);

enum vm_look_depth {
	LOOK_FIND,   /* where they are, what they are: the inventory alone */
	LOOK_KNOWN,  /* and their records */
	LOOK_CACHED, /* all that guards go by; the inventory as it is */
	LOOK_FRESH,  /* the inventory read anew too */
};
/* The cards of the spec. A card that is not there, or whose ROM is none, is told in it, not an
 * error. */
int vm_look_cards(struct vm_services *services, struct vm_facts *facts, enum vm_look_depth depth,
		  struct error *err);
/* The cards that the VM has. */
int vm_look_claims(struct vm_services *services, struct vm_facts *facts, enum vm_look_depth depth,
		   struct error *err);
/* As if it had none. */
void vm_forget_claims(struct vm_facts *facts);
