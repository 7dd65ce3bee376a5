/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The domain as libvirt gets it, built with libxml2. Pure; any thread. Everything that the machine
 * decides (where a volume lies, which functions a card has, what libvirt can) stands in `struct
 * domain_facts`.
 *
 * q35; one root port per card, all its functions on one guest slot in their own order; two spare
 * root ports for hot-plug; VNC on a Unix socket of libvirt's choosing, unless a card is the primary
 * display; metadata that says it is ours. Works without KVM (type qemu). NVRAM is a volume of our
 * pool. libvirt computes memlock. Accepted by libvirt 9.0 (QEMU 7.2) and later.
 */
#pragma once

#include "host/pci.h"
#include "vm/spec.h"

struct domain_card {
	struct list functions; /* struct pci_address, in the order of the guest's functions; at most
				  8 */
	const char *rom_path;  /* of the first function; NULL: its own */
	bool primary;
	bool hide; /* it is an NVIDIA card of class 0300 (hide_hypervisor: auto) */
};

struct domain_disk {
	const char *path;
	const char *format; /* as virt_volume() says it: qcow2, raw, … */
};

struct domain_facts {
	bool kvm;		 /* domain type kvm is there; else qemu, with a warning */
	struct list cards;	 /* struct domain_card, as in the spec */
	struct list disks;	 /* struct domain_disk, as in the spec */
	struct list cdrom_paths; /* strings */
	const char *kernel_path, *initrd_path; /* NULL: none */
	const char *nvram_path;		       /* uefi only */
	const char *network;		       /* libvirt's network for nat: "default" */
};

/*
 * The XML in the arena, indented, stable byte for byte for equal input (golden tests). Warnings for
 * the VM object are added to `warnings` (strings). NULL with conflict when a card has more
 * functions than a guest's slot (8), or with internal on lack of memory.
 */
const char *domain_xml(const struct vm_record *vm, const struct domain_facts *facts,
		       struct arena *arena, struct list *warnings, struct error *err);

/* The same warnings alone. primary: a card is its display. */
void domain_warnings(bool kvm, bool primary, struct arena *arena, struct list *warnings);

/* What we put into a domain's metadata. Absent: NULL. */
struct domain_mark {
	const char *vm;		/* id of the VM that the domain is; NULL: it is not ours */
	const char *started_at; /* RFC 3339 */
};

/* Read it back from a running domain's XML, into the arena. Text that is no XML has no mark. */
struct domain_mark domain_xml_mark(const char *xml, struct arena *arena);
/* The same XML (of domain_xml()) with started_at in its mark; xml itself when it has none. */
const char *domain_xml_started(const char *xml, const char *started_at, struct arena *arena);
/* The memory that a running domain's XML says it has, in MiB; 0: it does not say. */
uint64_t domain_xml_memory_mib(const char *xml);
/* The host functions (struct pci_address) that a domain's XML passes through. Their number. */
int domain_xml_hostdevs(const char *xml, struct arena *arena, struct list *addresses);
