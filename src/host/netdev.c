/* SPDX-License-Identifier: Apache-2.0 */
/* See netdev.h. Documentation/ABI/testing/sysfs-class-net; net/core/dev.c (adjacent links). */
#include "host/netdev.h"

#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include "base/fdpath.h"
#include "host/sysfs.h"

enum { NAME_TEXT = 64 };

static void add_lower(struct netdev_map *map, struct netdev *upper, struct netdev *lower)
{
	if (!upper || !lower || upper == lower)
		return;
	for (LIST_EACH(struct netdev *, known, &upper->lower))
		if (*known == lower)
			return;
	*list_add(map->arena, &upper->lower, struct netdev *) = lower;
}

/* Each pair is told from both sides, and by its kind as well: any is enough. */
static void relate(struct netdev_map *map, int root, struct netdev *netdev)
{
	static const char *const masters[] = { "master", "brport/bridge" };
	char path[SYSFS_PATH], name[NAME_TEXT];
	struct list entries;

	snprintf(path, sizeof(path), "sys/class/net/%s", netdev->name);
	if (fdpath_list(root, path, map->arena, &entries) < 0)
		return;
	for (LIST_EACH(const char *, entry, &entries)) {
		if (!strncmp(*entry, "lower_", 6))
			add_lower(map, netdev, netdev_by_name(map, *entry + 6));
		else if (!strncmp(*entry, "upper_", 6))
			add_lower(map, netdev_by_name(map, *entry + 6), netdev);
	}
	for (size_t i = 0; i < ARRAY_SIZE(masters); i++) {
		snprintf(path, sizeof(path), "sys/class/net/%s/%s", netdev->name, masters[i]);
		if (fdpath_link_name(root, path, name, sizeof(name)) > 0)
			add_lower(map, netdev_by_name(map, name), netdev);
	}
}

static void read_netdev(struct netdev_map *map, int root, const struct sysfs_entry *entry)
{
	struct netdev *netdev = arena_new_of(map->arena, struct netdev);
	char path[SYSFS_PATH];
	uint64_t flags;

	netdev->name = entry->name;
	netdev->path = entry->path ?: "";
	snprintf(path, sizeof(path), "sys/class/net/%s/flags", entry->name);
	netdev->up = fdpath_read_hex(root, path, &flags) < 0 || flags & IFF_UP;
	*list_add(map->arena, &map->netdevs, struct netdev *) = netdev;
}

int netdev_map_read(const struct host_root *root, struct arena *arena, struct netdev_map *ret)
{
	struct netdev_map map = { .arena = arena };
	struct list entries;
	int r = sysfs_class_list(root->fd, "net", arena, &entries);

	if (r < 0)
		return r;
	for (LIST_EACH(const struct sysfs_entry, entry, &entries))
		if (strcmp(entry->name, "bonding_masters")) /* a file among the interfaces */
			read_netdev(&map, root->fd, entry);
	for (LIST_EACH(struct netdev *, netdev, &map.netdevs))
		relate(&map, root->fd, *netdev);
	*ret = map;
	return 0;
}

struct netdev *netdev_by_name(const struct netdev_map *map, const char *name)
{
	for (LIST_EACH(struct netdev *, netdev, &map->netdevs))
		if (!strcmp((*netdev)->name, name))
			return *netdev;
	return NULL;
}
