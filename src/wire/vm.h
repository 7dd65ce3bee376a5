/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rows of virtual machines: what a user asks for (the spec, which is also what is stored) and
 * what the API answers. Field names, types and units are the API's.
 */
#pragma once

#include "base/rows.h"

struct wire_disk {
	int64_t size;		/* GiB; ROW_NULL with a volume that exists */
	const char *volume;	/* name in the pool */
};

struct wire_network {
	int kind;		/* enum wire_network_kind */
	const char *mac;	/* in answers; ours */
};

struct wire_boot {
	const char *kernel, *initrd, *cmdline;
};

struct wire_passthrough {
	const char *pci_address;
	const char *rom_file;
	int multifunction;
	int primary_gpu;
};

/* What a user may ask for: POST /api/vms. Stored under vms/<id> after it was normalised. */
struct wire_vm_spec {
	const char *id;
	const char *name;
	int64_t cpus;
	int64_t memory;			/* MiB */
	int64_t disk_size;		/* GiB */
	struct list disks;		/* struct wire_disk */
	struct list cdrom;		/* strings */
	struct wire_boot *boot;
	struct list network;		/* struct wire_network */
	int os;				/* enum wire_os */
	int firmware;			/* enum wire_firmware */
	struct list gpu_passthrough;	/* struct wire_passthrough */
	int hide_hypervisor;		/* enum wire_hide */
	int autostart;
	int start;			/* of the request; never stored */
	struct list accept;		/* strings, as start */
};

/* PATCH /api/vms/:id. */
struct wire_vm_change {
	const char *name;
	int64_t cpus;
	int64_t memory;
	int autostart;
};

/* POST …/stop. */
struct wire_vm_stop {
	int64_t timeout_s;
};

/* POST …/restart. */
struct wire_vm_restart {
	int64_t timeout_s;
	struct list accept;		/* strings: codes of refusals */
};

/* GET /api/vms. What is null does not filter. */
struct wire_vm_query {
	int state;			/* enum wire_vm_state */
	const char *node;
};

/* DELETE /api/vms/:id. */
struct wire_vm_delete {
	int dry_run;
	int delete_disks;
};

/* A VM as it is answered: its spec, and how it stands. */
struct wire_vm {
	struct wire_vm_spec spec;
	const char *node;
	int state;			/* enum wire_vm_state */
	const char *uuid;
	const char *created_at, *started_at;
	struct list warnings;		/* strings */
	struct list unknown;		/* struct row_pair */
};

enum wire_network_kind { NETWORK_NAT, NETWORK_NONE };
enum wire_os { OS_LINUX, OS_WINDOWS, OS_OTHER };
enum wire_firmware { FIRMWARE_UEFI, FIRMWARE_BIOS };
enum wire_hide { HIDE_AUTO, HIDE_ON, HIDE_OFF };
enum wire_vm_state {
	VM_STOPPED,
	VM_STARTING,
	VM_RUNNING,
	VM_PAUSED,
	VM_STOPPING,
	VM_CRASHED,
	VM_MIGRATING,
	VM_UNKNOWN,
};

extern const char *const wire_network_kind_words[];
extern const char *const wire_os_words[];
extern const char *const wire_firmware_words[];
extern const char *const wire_hide_words[];
extern const char *const wire_vm_state_words[];

extern const struct row wire_vm_spec_rows[];	/* of the request */
extern const struct row wire_vm_change_rows[];
extern const struct row wire_vm_stop_rows[];
extern const struct row wire_vm_restart_rows[];
extern const struct row wire_vm_query_rows[];
extern const struct row wire_vm_delete_rows[];
extern const struct row wire_vm_rows[];		/* of the answer */

/* Row checks: an id of a VM, a name of a file or volume (no path). */
int wire_vm_id_check(const char *text, struct error *err);
int wire_file_name_check(const char *text, struct error *err);
