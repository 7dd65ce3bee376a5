/* SPDX-License-Identifier: Apache-2.0 */
/* See block.h. Documentation/ABI/stable/sysfs-block, testing/sysfs-block-dm;
 * drivers/nvme/host/multipath.c. */
#include "host/block.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/fdpath.h"
#include "host/sysfs.h"

enum { TEXT = 512, LINKS_MAX = 4 };

static bool listed(const struct list *entries, const char *name)
{
	for (LIST_EACH(const char *, entry, entries))
		if (!strcmp(*entry, name))
			return true;
	return false;
}

/* File `name` of a block device, in the arena; NULL when it cannot be read. */
static const char *text_of(const struct block_map *map, const struct block *block, const char *name)
{
	char path[SYSFS_PATH], text[TEXT];

	snprintf(path, sizeof(path), "sys/class/block/%s/%s", block->name, name);
	if (fdpath_read(map->root->fd, path, text, sizeof(text)) < 0)
		return NULL;
	return arena_strdup(map->arena, text);
}

/*
 * With several controllers, or one that could have more, a namespace hangs below its subsystem and
 * not below a controller: …/virtual/nvme-subsystem/nvme-subsys0/nvme0n1, beside links nvme0, nvme1
 * to the controllers.
 */
static void add_controllers(const struct host_root *root, struct arena *arena, const char *path,
			    struct list *paths)
{
	static const char marker[] = "/nvme-subsystem/";
	char dir[SYSFS_PATH], link[SYSFS_PATH], target[SYSFS_PATH];
	const char *at = strstr(path, marker);
	struct list names;
	size_t n;

	if (!at)
		return;
	n = (size_t)(at - path) + strlen(marker);
	n += strcspn(path + n, "/");
	memcpy(dir, path, n);
	dir[n] = '\0';
	if (fdpath_list(root->fd, dir, arena, &names) < 0)
		return;
	for (LIST_EACH(const char *, name, &names)) {
		if ((size_t)snprintf(link, sizeof(link), "%s/%s", dir, *name) < sizeof(link) &&
		    !sysfs_link_path(root->fd, link, target) && strcmp(*name, "subsystem"))
			list_add_string(arena, paths, arena_strdup(arena, target));
	}
}

static void add_paths(const struct host_root *root, struct arena *arena,
		      const struct sysfs_entry *entry, struct list *paths)
{
	if (!entry->path)
		return;
	list_add_string(arena, paths, entry->path);
	add_controllers(root, arena, entry->path, paths);
}

int block_paths(const struct host_root *root, struct arena *arena, struct list *paths)
{
	struct list entries;
	int r = sysfs_class_list(root->fd, "block", arena, &entries);

	if (r < 0)
		return r;
	*paths = (struct list){ 0 };
	for (LIST_EACH(const struct sysfs_entry, entry, &entries))
		add_paths(root, arena, entry, paths);
	return (int)paths->n;
}

static const char *node_name(struct arena *arena, const struct block *block)
{
	char *node;

	if (block->dm_name)
		return arena_printf(arena, "/dev/mapper/%s", block->dm_name);
	node = arena_printf(arena, "/dev/%s", block->name);
	for (char *c = node; *c; c++) /* the kernel's names have ! for the / of the node's */
		if (*c == '!')
			*c = '/';
	return node;
}

static void read_block(struct block_map *map, const struct sysfs_entry *entry)
{
	struct block *block = arena_new_of(map->arena, struct block);
	char path[SYSFS_PATH];
	struct list entries = { 0 };
	const char *text;

	block->name = entry->name;
	add_paths(map->root, map->arena, entry, &block->paths);
	snprintf(path, sizeof(path), "sys/class/block/%s", entry->name);
	fdpath_list(map->root->fd, path, map->arena, &entries);
	text = text_of(map, block, "dev");
	if (!text || sscanf(text, "%u:%u", &block->major, &block->minor) != 2)
		block->major = block->minor = 0;
	block->partition = listed(&entries, "partition");
	block->bcache = listed(&entries, "bcache");
	text = listed(&entries, "hidden") ? text_of(map, block, "hidden") : NULL;
	block->hidden = text && !strcmp(text, "1");
	text = listed(&entries, "size") ? text_of(map, block, "size") : NULL;
	block->empty = text && !strcmp(text, "0");
	if (listed(&entries, "dm")) {
		block->dm_name = text_of(map, block, "dm/name");
		block->dm_uuid = text_of(map, block, "dm/uuid");
	}
	block->node = node_name(map->arena, block);
	*list_add(map->arena, &map->blocks, struct block *) = block;
}

static void add_above(struct block_map *map, struct block *below, struct block *block,
		      bool partition)
{
	if (!below || !block || below == block)
		return;
	for (LIST_EACH(struct block_above, above, &below->above))
		if (above->block == block)
			return;
	*list_add(map->arena, &below->above,
		  struct block_above) = (struct block_above){ block, partition };
}

/* The disk that a partition is of: its directory's parent. */
static struct block *disk_of(const struct block_map *map, const struct block *partition)
{
	const char *path = partition->paths.n ? *(const char **)partition->paths.items : "";
	const char *end = strrchr(path, '/'), *from = end;
	char name[TEXT];

	while (from && from > path && from[-1] != '/')
		from--;
	if (!end || (size_t)(end - from) >= sizeof(name))
		return NULL;
	memcpy(name, from, (size_t)(end - from));
	name[end - from] = '\0';
	return block_by_name(map, name);
}

/* The kernel keeps both links for each pair; either is enough. */
static void relate(struct block_map *map, struct block *block)
{
	char path[SYSFS_PATH];
	const char *file;
	struct list names;

	if (block->partition) {
		add_above(map, disk_of(map, block), block, true);
		block->partition = disk_of(map, block); /* else it stands for itself */
	}
	snprintf(path, sizeof(path), "sys/class/block/%s/holders", block->name);
	if (fdpath_list(map->root->fd, path, map->arena, &names) > 0)
		for (LIST_EACH(const char *, name, &names))
			add_above(map, block, block_by_name(map, *name), false);
	snprintf(path, sizeof(path), "sys/class/block/%s/slaves", block->name);
	if (fdpath_list(map->root->fd, path, map->arena, &names) > 0)
		for (LIST_EACH(const char *, name, &names))
			add_above(map, block_by_name(map, *name), block, false);
	if (strncmp(block->name, "loop", 4))
		return;
	file = text_of(map, block, "loop/backing_file");
	if (file && !strncmp(file, "/dev/", 5)) /* else its file system is mounted */
		add_above(map, block_by_link(map, file + 5), block, false);
}

int block_map_read(const struct host_root *root, struct arena *arena, struct block_map *ret)
{
	struct block_map map = { .arena = arena, .root = root };
	struct list entries;
	int r = sysfs_class_list(root->fd, "block", arena, &entries);

	if (r < 0)
		return r;
	for (LIST_EACH(const struct sysfs_entry, entry, &entries))
		read_block(&map, entry);
	for (LIST_EACH(struct block *, block, &map.blocks))
		relate(&map, *block);
	*ret = map;
	return 0;
}

struct block *block_by_name(const struct block_map *map, const char *name)
{
	for (LIST_EACH(struct block *, block, &map->blocks))
		if (!strcmp((*block)->name, name))
			return *block;
	return NULL;
}

struct block *block_by_number(const struct block_map *map, unsigned major, unsigned minor)
{
	if (!major && !minor)
		return NULL;
	for (LIST_EACH(struct block *, block, &map->blocks))
		if ((*block)->major == major && (*block)->minor == minor)
			return *block;
	return NULL;
}

static struct block *by_dm_name(const struct block_map *map, const char *name)
{
	for (LIST_EACH(struct block *, block, &map->blocks))
		if ((*block)->dm_name && !strcmp((*block)->dm_name, name))
			return *block;
	return NULL;
}

/* LVM's /dev/vg/lv is device mapper's vg-lv, each "-" of the names doubled (dm_build_dm_name). */
static struct block *by_volume(const struct block_map *map, const char *node)
{
	char name[TEXT];
	size_t n = 0;

	if (!strchr(node, '/') || strlen(node) >= sizeof(name) / 2)
		return NULL;
	for (; *node; node++) {
		name[n++] = *node == '/' ? '-' : *node;
		if (*node == '-')
			name[n++] = '-';
	}
	name[n] = '\0';
	return by_dm_name(map, name);
}

static struct block *by_kernel_name(const struct block_map *map, const char *node)
{
	char name[TEXT];

	if (strlen(node) >= sizeof(name))
		return NULL;
	memcpy(name, node, strlen(node) + 1);
	for (char *c = name; *c; c++)
		if (*c == '/')
			*c = '!';
	return block_by_name(map, name);
}

struct block *block_by_node(const struct block_map *map, const char *node)
{
	struct block *block = by_kernel_name(map, node);

	if (!block && !strncmp(node, "mapper/", 7))
		block = by_dm_name(map, node + 7);
	return block ?: by_volume(map, node);
}

struct block *block_by_link(const struct block_map *map, const char *node)
{
	char path[SYSFS_PATH], target[SYSFS_PATH];

	snprintf(path, sizeof(path), "dev/%s", node);
	for (int i = 0; i < LINKS_MAX && !sysfs_link_path(map->root->fd, path, target); i++)
		memcpy(path, target, sizeof(path));
	return (strncmp(path, "dev/", 4) ? NULL : block_by_node(map, path + 4))
		       ?: block_by_node(map, node);
}

void block_use(struct block *block, enum block_use kind, const char *what, const char *where,
	       bool better)
{
	if (!block->use[kind].n++ || better) {
		block->use[kind].what = what;
		block->use[kind].where = where;
	}
}
