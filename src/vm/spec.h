/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a user asked for, made whole: every name that a step will make (id, UUID, MAC, volume) is
 * chosen here, before planning, and derived from the request, so a dry run and the real call plan
 * the same. A normalised spec is what the store keeps under vms/<id>; normalising it again changes
 * nothing. Pure; any thread.
 */
#pragma once

#include "base/id.h"
#include "plan/plan.h"
#include "wire/vm.h"

enum { VM_DISKS = 16, VM_CARDS = 16, VM_ACCEPTED = 32, VM_STOP_TIMEOUT_S = 120 };

/* The record in the store: the spec and what belongs to it for as long as it exists. */
struct vm_record {
	struct wire_vm_spec spec; /* normalised */
	const char *uuid;
	const char *created_at;
	/*
	 * As gpu_passthrough: the ids of the records of the cards that are meant, for an address may
	 * become another card's; "": not known. Shorter than that: the rest is not known.
	 */
	struct list cards;
	struct list accepted; /* strings: refusals passed over at its last start; for autostart */
	int64_t mod; /* revision in the store; 0: not stored. No field of the JSON */
};

/*
 * Check what rows cannot (two cards that are one address twice, disk_size beside disks, a disk with
 * neither size nor volume, primary_gpu twice) and choose every name. `taken` (strings) are the ids
 * that exist, or whose disk would have the name of another VM's: an absent id is made from the name ("GPU workstation" -> gpu-workstation, then -2,
 * …). 0, or -1 with an error that has the field's pointer.
 */
int vm_normalise(const struct wire_vm_spec *asked, const struct list *taken, struct arena *arena,
		 struct vm_record *ret, struct error *err);

/* Volume of disk i (from 0) of a VM: "<id>.qcow2", "<id>.1.qcow2", …; NVRAM: "<id>.nvram". */
const char *vm_disk_volume(const struct vm_record *vm, size_t i, struct arena *arena);
const char *vm_nvram_volume(const struct vm_record *vm, struct arena *arena);

/* Id of the record of the card that entry i of gpu_passthrough means; NULL: not known. */
const char *vm_card_meant(const struct vm_record *vm, size_t i);

/* JSON text of the record as the store keeps it (malloc'd), and back. */
char *vm_record_print(const struct vm_record *vm);
int vm_record_parse(const char *text, int64_t mod, struct arena *arena, struct vm_record *ret,
		    struct error *err);
