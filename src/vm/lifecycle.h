/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of a VM: the operations that the engine runs. Each looks (facts.h), plans (create.h,
 * start.h, end.h), and answers with the VM (view.h).
 *
 * Create: volumes, then the record. Start: claims of its cards (compare-and-swap on each card's
 * record), binds (gpu/bind.h's planner), network, domain. Stop: ACPI, a wait that holds no thread,
 * then what every end does. Every end, whoever caused it, starts one release: cards back as they
 * were before the start, claims dropped. A guest's reboot is no end.
 */
#pragma once

#include "gpu/look.h"
#include "plan/task.h"
#include "store/store.h"
#include "vm/libvirt.h"
#include "vm/spec.h"

/* What steps and operations of this layer work with. Immutable while the engine runs. */
struct vm_services {
	struct gpu_services gpu; /* first: steps of gpu/ take it for theirs; its store is set */
	struct virt *virt;
	const char *pool;		/* "horcrux" */
	const char *pool_path;		/* where it is made */
	const char *network;		/* libvirt's network for nat */
	const char *const *rom_folders; /* NULL-terminated */
};

extern const struct operation vm_create_operation;
extern const struct operation vm_create_and_start_operation;
extern const struct operation vm_change_operation;
extern const struct operation vm_delete_operation;
extern const struct operation vm_start_operation;
extern const struct operation vm_stop_operation; /* ACPI, then 409 after timeout_s */
extern const struct operation vm_kill_operation; /* urgent */
extern const struct operation vm_restart_operation;
/* A domain of ours is not there (any more): give its cards back, drop its claims. Idempotent. */
extern const struct operation vm_ended_operation;
/* To be asked as a dry run only: its plan has no steps, and what libvirt would get as domain_xml.
 */
extern const struct operation vm_xml_operation;

/* Requests. All is copied; never NULL; task_submit() owns them from then on. */
void *vm_create_new(const struct wire_vm_spec *spec);
void *vm_change_new(const char *id, const struct wire_vm_change *change);
void *vm_delete_new(const char *id, bool delete_disks);
/* All others. timeout_s: of stop and restart; ROW_NULL: the default. */
void *vm_request_new(const char *id, int64_t timeout_s);
