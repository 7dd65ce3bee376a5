/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keeper of the inventory: builds it, follows uevents, publishes it, and has the replies made
 * from it. Main thread.
 */
#pragma once

#include <systemd/sd-event.h>

#include "host/inventory.h"

struct keeper;

struct keeper_options {
	const struct host_root *root;
	struct class_filter filter;
	const char *node;	   /* name of this host */
	const char *uevent_socket; /* NULL: the kernel's netlink group */
	/* Adds the cards that hang (struct row_pair: slot, why). May be NULL. Never blocks. */
	void (*stuck)(const struct inventory *inv, struct arena *arena, struct list *cards);
	/* Adds the cards that a task is changing (struct gpu_changing). The same. */
	void (*changing)(const struct inventory *inv, struct arena *arena, struct list *cards);
	/* Is this VM being started? The same. */
	bool (*starting)(const char *vm);
	/* Why the cards of this VM, which has ended, are not back; NULL: nothing stands against it. */
	const char *(*held_back)(const char *vm, struct arena *arena);
	/* Running domains with functions of this host (struct gpu_domain); -1: not known. The same.
	 */
	int (*domains)(struct arena *arena, struct list *domains);
};

/* Builds and publishes the first inventory, and watches from then on. options is copied. */
int keeper_start(sd_event *event, const struct keeper_options *options, struct keeper **ret,
		 struct error *err);
void keeper_stop(struct keeper *keeper);

/* Read everything anew and publish it. */
int keeper_scan(struct keeper *keeper, struct error *err);
/* Read these functions (struct pci_address) anew, and what uevents tell of, and publish it. */
int keeper_refresh(struct keeper *keeper, const struct list *addresses, struct error *err);
/* A task has begun to change a card, or is over: publish that, but not for each of a burst. */
void keeper_publish_soon(struct keeper *keeper);
/* The facts changed (facts.h), or what they are about: make the replies anew. */
void keeper_publish(struct keeper *keeper);
