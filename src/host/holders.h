/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who has a card open now: processes with a file of /dev/nvidia*, /dev/dri, /dev/snd or /dev/vfio (open
 * files and maps), and kernel users that are no process (fbcon, nvidia-drm's modeset). Seeing the
 * files of other users' processes needs root: in the daemon this runs in horcrux-privd.
 */
#pragma once

#include "host/inventory.h"

struct holder {
	const char *kind;		/* "process" or "kernel" */
	int64_t pid;			/* 0 for the kernel */
	const char *name;		/* comm of the process, or the kernel user's name */
	const char *node;		/* "/dev/dri/card0"; NULL for the kernel */
	const char *since;		/* RFC 3339 start of the process; NULL unknown */
	const char *unit;		/* systemd unit from its cgroup; NULL unknown */
	struct pci_address address;	/* function that it holds */
};

/*
 * The holders of the given functions (struct function *), in the arena. Returns their number; or
 * -1 with an error when /proc cannot be read as needed (then nothing is known: never "none").
 */
int holders_find(const struct host_root *root, const struct list *functions, struct arena *arena,
		 struct list *holders, struct error *err);
