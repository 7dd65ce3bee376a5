/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of a function for people. What pci.ids does not know is called by its number, in the words
 * of lspci ("Device 1b80"), so that a name is never empty. Borrowed from the inventory's names or
 * made in the arena. Pure; any thread.
 */
#pragma once

#include "host/inventory.h"

const char *gpu_vendor_name(const struct inventory *inv, const struct function *f,
			    struct arena *arena);
/* A VF whose own id is in no list is called after its PF. */
const char *gpu_device_name(const struct inventory *inv, const struct function *f,
			    struct arena *arena);
const char *gpu_subsystem_name(const struct inventory *inv, const struct function *f,
			       struct arena *arena);
const char *gpu_class_name(const struct inventory *inv, const struct function *f,
			   struct arena *arena);
