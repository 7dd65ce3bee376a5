/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of vendors, devices, subsystems and classes: the pci.ids file, then a table of our own of
 * GPUs newer than early 2023. Counted; any thread. Names are searched when first asked for and kept.
 */
#pragma once

#include <stdint.h>

#include "base/cleanup.h"
#include "host/root.h"

struct names;

/* The first pci.ids found (share/misc, hwdata) under the host root, else of this machine. Never fails:
 * without a file only the supplement knows names. */
struct names *names_open(const struct host_root *root);
/* The same with this file only; NULL: no file. */
struct names *names_open_file(const char *path);
struct names *names_ref(struct names *names);
void names_unref(struct names *names);

/* Each gives a string that lives as long as `names`, or NULL when it is not known. */
const char *names_vendor(struct names *names, uint16_t vendor);
const char *names_device(struct names *names, uint16_t vendor, uint16_t device);
const char *names_subsystem(struct names *names, uint16_t vendor, uint16_t device,
			    uint16_t subsystem_vendor, uint16_t subsystem_device);
/* For 24-bit class: the sub-class's name, else the base class's. */
const char *names_class(struct names *names, uint32_t class);
