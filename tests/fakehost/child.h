/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Class devices (drm, sound, block, net, graphics): those below a function are
 * there while a certain driver has it, the others always.
 */
#pragma once

#include "host.h"

struct child_device {
	struct node *dir;
	char *subsystem;
	char *env;
};

struct child {
	struct child *next;
	struct function *under; /* NULL: virtual */
	struct driver *driver;	/* whose probe makes it */
	void *data;		/* of who made it */
	void (*make)(struct child *c);
	bool firmware;	   /* goes when a real driver takes the display */
	struct node **dir; /* of its maker: NULL again when it goes */
	struct bunch nodes;
	struct child_device *devices;
	size_t count;
};

/* Registers it; it is made when its driver is bound, or at once if virtual. */
struct child *child_new(struct function *under, const char *driver, void *data,
			void (*make)(struct child *c));

/*
 * For make(): the directory `name` below `parent` becomes a device of class
 * `subsystem`, with its links and its uevent.
 */
struct node *child_device(struct child *c, struct node *parent, const char *name,
			  const char *subsystem, const char *env);

/* The same, but found under /sys/bus/SUBSYSTEM/devices. */
struct node *child_bus_device(struct child *c, struct node *parent, const char *name,
			      const char *subsystem, const char *env);

/* Where its device directories go: below the function, or devices/virtual/X. */
struct node *child_place(const struct child *c, const char *subsystem);

void child_bound(struct function *f);
void child_unbound(struct function *f);
void child_make_virtual(void);
void child_drop(struct child *c);

/* The firmware's framebuffer leaves the function's BARs. */
void child_evict_firmware(struct function *f);
