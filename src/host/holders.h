/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who has a card open now: processes with a file of /dev/nvidia*, /dev/dri, /dev/snd, /dev/fb*,
 * /dev/i2c-*, /dev/vfio or a BAR in sysfs (open files and maps), and kernel users that are no
 * process (fbcon, nvidia-drm's modeset). Seeing the files of other users' processes needs root: in
 * the daemon this runs in horcrux-privd. Links of /proc/<pid>/fd are read, never followed.
 */
#pragma once

#include "host/inventory.h"

struct holder {
	const char *kind;  /* "process" or "kernel" */
	int64_t pid;	   /* 0 for the kernel */
	const char *name;  /* comm of the process, or the kernel user's name */
	const char *node;  /* "/dev/dri/card0"; NULL for the kernel */
	const char *since; /* RFC 3339 start of the process; NULL unknown */
	const char *unit;  /* unit of the system's systemd that it is in; NULL: none, unknown */
	struct pci_address address; /* function that it holds */
};

/*
 * The holders of the given functions (struct function *), in the arena, sorted by address, pid and
 * node, one record for each of these. Returns their number; or -1 with an error when /proc cannot
 * be read as needed (then nothing is known: never "none"). Processes that end meanwhile are left
 * out. /dev/nvidiaN holds the card with that minor; which one that is says a file of the driver
 * (code of the driver runs when it is read, so this may hang as the driver does), and where it does
 * not, it is every card on that driver. So it is with nvidia-modeset and nvidia-uvm, but for who has
 * single cards open as well: he uses these.
 */
int holders_find(const struct host_root *root, const struct list *functions, struct arena *arena,
		 struct list *holders, struct error *err);

/*
 * The console alone, which draws on a framebuffer of these functions and is no process: what is left to
 * tell of where nobody has a device node open. As holders_find; needs no root.
 */
int holders_console(const struct host_root *root, const struct list *functions, struct arena *arena,
		    struct list *holders, struct error *err);

/*
 * True when by the kernel's own counts nobody has a node of that function open or mapped in a way
 * that an unbind from `driver` would wait for. False when somebody may: then look who
 * (holders_find). Needs no root.
 *
 * Who opens a node takes a reference of the module behind it (drivers/gpu/drm/drm_drv.c,
 * drm_stub_open; sound/core, snd_pcm_open and snd_ctl_open; drivers/vfio/vfio_main.c,
 * vfio_df_device_first_open). That is the driver's only where the node is the function's own, not
 * where it is of a device below it (virtio, USB). An i2c adapter may be another module's too
 * (drm_dp_helper.c, drm_dp_aux_register), and its removal waits for whoever has it open
 * (i2c_del_adapter): there i2c-dev is asked, whose all these files are. Where VFIO's devices have
 * nodes of their own, an open one is waited for and not counted (vfio_device_fops_cdev_open).
 *
 * Not counted and not waited for: /dev/drm_dp_aux*, BARs mapped through sysfs, and who has a VFIO
 * group and no device of it.
 */
bool holders_ruled_out(const struct host_root *root, struct pci_address address,
		       const char *driver);

/*
 * True for a holder that is no reason to refuse: fbcon goes by itself when the driver of its
 * framebuffer is unbound, and /dev/nvidiactl keeps the module in use, not a card.
 */
bool holder_lets_go(const struct holder *holder);
