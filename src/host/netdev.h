/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Network interfaces and what runs over what: bridges, bonds, teams, VLANs, macvlan and all that
 * tells the kernel so (lower_* and upper_* links, master, brport). From /sys/class/net of the
 * network namespace in which /sys was mounted. Owned by the thread that looks.
 */
#pragma once

#include "base/arena.h"
#include "host/root.h"

struct netdev {
	const char *name;
	const char *path;  /* "sys/devices/…" */
	bool up;	   /* administratively, or not told */
	struct list lower; /* struct netdev *: what it runs over */
	bool used;	   /* a fact or a doubt was found (critical_net.c) */
	unsigned stamp;
};

struct netdev_map {
	struct arena *arena;
	struct list netdevs; /* struct netdev *, sorted by name */
};

/* 0 or -errno: /sys/class/net cannot be listed. */
int netdev_map_read(const struct host_root *root, struct arena *arena, struct netdev_map *ret);
struct netdev *netdev_by_name(const struct netdev_map *map, const char *name);
