/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How one PCI function's directory is read (pci.c and sriov.c share this; nobody else needs it).
 * The directory is opened and listed once: what is not in it is not tried, and everything else is
 * opened from its descriptor, one name deep. Owned by the thread that reads.
 */
#pragma once

#include "host/pci.h"

/* A run of reads over many functions. */
struct pci_reader {
	const struct host_root *root;
	int devices;		/* sys/bus/pci/devices, O_PATH; -1: there is none */
	bool brief;		/* as function_read_brief() */
	uint64_t opens;		/* files and directories opened so far */
};

/* Opens the directory of functions. -errno when it is there but cannot be opened. */
int pci_reader_init(struct pci_reader *reader, const struct host_root *root);
void pci_reader_finish(struct pci_reader *reader);
#define CLEAN_READER CLEANUP(pci_reader_finish)

/*
 * As function_read (pci.h), as part of a run. before (may be NULL): as it was read earlier. If it is still
 * that very device, what a device is made with is not read again; what can be set without it being told
 * (numa_node) is then as old as the last reading of everything.
 */
int pci_reader_function(struct pci_reader *reader, struct pci_address address,
			const struct function *before, struct function **ret, struct error *err);

/* A whole decimal number from 0 to max and nothing else; false: ret untouched. */
bool whole_number(const char *text, long max, long *ret);

/* The entries of the directory that mean something, in the order of their names (reader.c). */
enum entry {
	ENTRY_AER_CORRECTABLE,
	ENTRY_AER_FATAL,
	ENTRY_BOOT_VGA,
	ENTRY_CLASS,
	ENTRY_LINK_SPEED,
	ENTRY_LINK_WIDTH,
	ENTRY_DEVICE,
	ENTRY_DRIVER,
	ENTRY_GROUP,
	ENTRY_LOCAL_CPUS,
	ENTRY_MAX_LINK_SPEED,
	ENTRY_MAX_LINK_WIDTH,
	ENTRY_MDEV_TYPES,
	ENTRY_NUMA_NODE,
	ENTRY_NVIDIA,
	ENTRY_PCI_BUS,
	ENTRY_PHYSFN,
	ENTRY_POWER,
	ENTRY_POWER_STATE,
	ENTRY_RESET,
	ENTRY_RESET_METHOD,
	ENTRY_RESOURCE,
	ENTRY_REVISION,
	ENTRY_ROM,
	ENTRY_SRIOV_TOTAL,
	ENTRY_SUBSYSTEM_DEVICE,
	ENTRY_SUBSYSTEM_VENDOR,
	ENTRY_VENDOR,
	ENTRIES
};

struct device_dir {
	struct pci_reader *reader;
	struct function *f;	/* being filled */
	const struct function *before; /* the same device, read earlier; NULL: it is not known to be */
	int fd;
	uint64_t has;		/* bit per entry */
	bool gone;		/* a read said ENODEV: the device went meanwhile */
};

static inline bool dir_has(const struct device_dir *dir, enum entry entry)
{
	return dir->has >> entry & 1;
}

/*
 * Opens and lists the directory of dir->f, whose address is set: its path, VFs and mdevs are known
 * then. Error gone when there is no such function (any more).
 */
int dir_open(struct device_dir *dir, struct error *err);
/* Was this API field read of the same device before? Then it is taken from dir->before. */
bool dir_known(struct device_dir *dir, const char *field);
/* Attribute as text; its length or -errno (-ENOENT without a system call when not listed). */
ssize_t dir_text(struct device_dir *dir, enum entry entry, char *buf, size_t size);
/* The same for a file further down; whether it is there is not known before. */
ssize_t dir_path_text(struct device_dir *dir, const char *path, char *buf, size_t size);
/* Attribute as a number, hexadecimal after 0x. */
int dir_number(struct device_dir *dir, enum entry entry, uint64_t *ret);
/* Last part of where a link points. */
ssize_t dir_link_name(struct device_dir *dir, const char *name, char *buf, size_t size);
/* Is there such a path below the directory? Opens nothing of it. */
bool dir_exists(struct device_dir *dir, const char *path);
/* Note why an API field stays unknown. */
void dir_unknown(struct device_dir *dir, const char *field, const char *fmt, ...) PRINTF(3, 4);

/* sriov.c: a virtfnN link that was listed; then, after all were, what the function can share. */
void sriov_add_vf(struct device_dir *dir, const char *name);
void sriov_read(struct device_dir *dir);
