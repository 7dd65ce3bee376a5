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
 * True when by the kernel's own count nobody uses anything of that driver: no file of its device nodes
 * is open or mapped, and nothing of the kernel's stands on its module. Opening any of them takes a
 * reference of the module (fs/char_dev.c, chrdev_open; drm_stub_open; sound/core, snd_pcm_open and
 * snd_ctl_open; drivers/i2c, i2c_get_adapter; drivers/vfio, vfio_df_device_first_open), and vfio's own
 * counts those who have a group or container. False when there are some, when the driver is built in,
 * and when it cannot be told: then look who they are (holders_find). Not counted: BARs that are mapped
 * through sysfs.
 */
bool driver_unused(const struct host_root *root, const char *driver);
