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
 * True when by the kernel's own count nobody uses anything of that driver: no device node of it is open
 * or mapped in a way that an unbind would wait for, and nothing of the kernel's stands on its module.
 * Opening one takes a reference of the module (drivers/gpu/drm/drm_drv.c, drm_stub_open; sound/core,
 * snd_pcm_open and snd_ctl_open; drivers/i2c/i2c-core-base.c, i2c_get_adapter; drivers/vfio/vfio_main.c,
 * vfio_df_device_first_open).
 *
 * False when there are some, when the driver is built in, and when it cannot be told, as where VFIO's
 * devices have nodes of their own, whose opening counts for another module: then look who they are
 * (holders_find). Not counted either: BARs mapped through sysfs, and who has a VFIO group and no device
 * of it.
 */
bool driver_unused(const struct host_root *root, const char *driver);
