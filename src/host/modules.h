/* SPDX-License-Identifier: Apache-2.0 */
/* Whether the running kernel has a driver of PCI devices, or could load it. Any thread. */
#pragma once

#include "base/arena.h"
#include "host/iommu.h"

/*
 * FACT_YES: registered now, built in, or among the modules of the running kernel's release.
 * *evidence (in the arena) says where that was seen, or what could not be read.
 */
enum fact module_available(const struct host_root *root, const char *driver, struct arena *arena,
			   const char **evidence);

/*
 * True when nobody uses the module of that directory (sys/module/NAME, or
 * sys/bus/pci/drivers/NAME/module): no file of it is open, and no other module stands on it. False
 * when somebody does, when it is built in, and when it cannot be told.
 */
bool module_unused(const struct host_root *root, const char *directory);
