/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is mounted and swapped to: /proc/<pid>/mountinfo and /proc/swaps (proc(5)), parsed. Pure but
 * for the two that read; any thread. Strings are in the arena.
 */
#pragma once

#include "base/arena.h"
#include "host/root.h"

struct mount {
	unsigned major, minor; /* of the file system; major 0: it has a number of no device */
	const char *point;     /* where it is mounted */
	const char *type;      /* "ext4" */
	const char *source;    /* "/dev/mapper/vg-root", "tmpfs" */
	const char *options;   /* of the file system: "rw,logdev=/dev/sdb1" */
};

/* Lines that are none are passed over. */
void mounts_parse(const char *text, struct arena *arena, struct list *mounts);
/*
 * The host's mounts: those of process 1 where that can be read, else one's own. *file is set to
 * where they were read. 0 or -errno.
 */
int mounts_read(const struct host_root *root, struct arena *arena, struct list *mounts,
		const char **file);

/* Paths of swap areas ("/dev/dm-1", "/swapfile"): strings. 0 or -errno. */
int swaps_read(const struct host_root *root, struct arena *arena, struct list *swaps);
