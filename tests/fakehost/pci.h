/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The face of a PCI function: the files in its directory, in the formats of
 * drivers/pci/pci-sysfs.c and iov.c.  What happens when they are written is in
 * core.c, sriov.c and here for what touches the function alone.
 */
#pragma once

#include "host.h"

#define CLASS_BRIDGE 0x0604
#define CLASS_VGA    0x0300

/* Makes the directory and every link to it; `f->present` is the caller's. */
void pci_add_nodes(struct function *f);
void pci_remove_nodes(struct function *f);

/* The lines of its `uevent` file. */
void pci_uevent_env(const struct function *f, struct text *out);
void pci_uevent(struct function *f, const char *action);
void pci_uevent_extra(struct function *f, const char *action, const char *extra);

/* "/sys/bus/pci/devices/ADDR/..." of a path within a function's directory, or
 * NULL if it is in none; the caller frees it. */
char *pci_alias(const struct node *n);

bool pci_is_bridge(const struct function *f);
bool pci_is_gpu(const struct function *f);

/* Function 0 of the same slot, or NULL. */
struct function *pci_supplier(const struct function *f);
void pci_set_power(struct function *f);

/* Something read its configuration space: a sleeping device is awake now. */
void pci_wake(struct function *f);

/* The files of its directory: pci.c's part of pci_add_nodes(). */
void pci_add_files(struct function *f);

/* Gives each BAR without an address one; after all functions are known. */
void pci_place_bars(struct function *f);
void pci_place_vf_bars(struct function *vf);
unsigned bar_flags(bool mem64, bool prefetch);

int config_show(void *owner, const struct attr *attr, struct text *out);
int config_store(void *owner, const struct attr *attr, const char *buf, size_t len);
int rom_show(void *owner, const struct attr *attr, struct text *out);
int rom_store(void *owner, const struct attr *attr, const char *buf, size_t len);
