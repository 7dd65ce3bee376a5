/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From an entry of /sys/class to the PCI functions that it hangs below. The kernel's own paths tell
 * it: /sys/class/drm/card0 is a link to
 * ../../devices/pci0000:00/0000:00:01.0/0000:01:00.0/drm/card0. Nothing is opened but links; any
 * thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/address.h"
#include "base/arena.h"

enum { SYSFS_PATH = 1024 };

/*
 * Path under the root ("sys/devices/…", without "." and "..") of sys/class/<class>/<name>. Where
 * that is a directory instead of a link (plain trees), it is its `device` link's; without one its
 * own. 0 or -errno.
 */
int sysfs_class_path(int root, const char *class, const char *name, char buf[static SYSFS_PATH]);

struct sysfs_entry {
	const char *name;
	const char *path; /* sysfs_class_path() of it; NULL: cannot be told */
};

/* All entries (struct sysfs_entry) of sys/class/<class>, sorted by name, in the arena. Their number
 * or -errno. One call for the link of each: cheaper than asking for them one by one. */
int sysfs_class_list(int root, const char *class, struct arena *arena, struct list *entries);

/* The link at `path` as a path under the root; 0 or -errno (-EINVAL: it is no link). */
int sysfs_link_path(int root, const char *path, char buf[static SYSFS_PATH]);

/* The innermost part of the path that is a PCI address: the function that drives what is there. */
bool sysfs_last_address(const char *path, struct pci_address *ret);
/* Is the path below that address (as text), at any depth? */
bool sysfs_below(const char *path, const char *address);
