/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who uses which block device: mounts, swap, file systems that the kernel lists (also those mounted
 * in namespaces that are not ours), disks it exports. Each use is noted at its device; what cannot
 * be followed to its devices becomes a doubt. See critical_parts.h.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/fdpath.h"
#include "host/critical_parts.h"
#include "host/mounts.h"
#include "host/sysfs.h"

enum { TEXT = 512 };

struct uses {
	struct critical_search *search;
	const struct block_map *map;
	struct list *doubts;
	const char *mounts_file; /* "/proc/1/mountinfo" */
	bool zfs;
};

static struct block *by_dev_path(const struct uses *u, const char *path)
{
	return strncmp(path, "/dev/", 5) ? NULL : block_by_link(u->map, path + 5);
}

static void use_mount(struct uses *u, struct block *block, const struct mount *mount)
{
	struct arena *arena = u->search->arena;
	const char *what = arena_printf(arena, "%s (%s)", mount->point, mount->type);
	const char *now = block->use[USE_MOUNTED].what;

	/* bind mounts show a file system in many places: the shortest says most */
	block_use(block, USE_MOUNTED, what, u->mounts_file, now && strlen(what) < strlen(now));
}

/* Devices named in a list with `separator`: bcachefs' source "/dev/sda:/dev/sdb". Number found. */
static int use_named(struct uses *u, const struct mount *mount, const char *list, int separator)
{
	char path[TEXT];
	struct block *block;
	int found = 0;
	size_t n;

	for (; *list; list += n + (list[n] == separator)) {
		n = (size_t)(strchrnul(list, separator) - list);
		if (n >= sizeof(path))
			continue;
		memcpy(path, list, n);
		path[n] = '\0';
		block = by_dev_path(u, path);
		if (!block)
			continue;
		use_mount(u, block, mount);
		found++;
	}
	return found;
}

/* xfs keeps its log and its real-time part on devices of their own, named in its options. */
static void use_options(struct uses *u, const struct mount *mount)
{
	const char *at = mount->options;
	char option[TEXT];
	size_t n;

	for (; *at; at += n + (at[n] == ',')) {
		n = strcspn(at, ",");
		if (n >= sizeof(option))
			continue;
		memcpy(option, at, n);
		option[n] = '\0';
		if (strstr(option, "dev=/dev/"))
			use_named(u, mount, strchr(option, '=') + 1, ',');
	}
}

static bool is_one_of(const char *word, const char *const *words)
{
	for (; *words; words++)
		if (!strcmp(word, *words))
			return true;
	return false;
}

static void use_of_mount(struct uses *u, const struct mount *mount)
{
	/* their number is of no device, though they are on some */
	static const char *const numberless[] = { "btrfs", "bcachefs", NULL };
	struct block *block = mount->major ? block_by_number(u->map, mount->major, mount->minor)
					   : NULL;

	use_options(u, mount);
	if (!strcmp(mount->type, "zfs")) {
		u->zfs = true;
	} else if (block) {
		use_mount(u, block, mount);
	} else if (!use_named(u, mount, mount->source, ':') &&
		   (mount->major || is_one_of(mount->type, numberless))) {
		critical_doubt(u->search, u->doubts, u->mounts_file,
			       "%s (%s) is mounted from %s, which is no device that can be found",
			       mount->point, mount->type, mount->source);
	}
}

static int use_mounts(struct uses *u, struct list *mounts)
{
	const char *file;
	int r = mounts_read(u->search->root, u->search->arena, mounts, &file);

	if (r < 0) {
		critical_doubt(u->search, u->doubts, "/proc/1/mountinfo cannot be read",
			       "what is mounted cannot be told");
		return critical_unreadable(r) ? 0 : r;
	}
	u->mounts_file = arena_printf(u->search->arena, "/%s", file);
	for (LIST_EACH(struct mount, mount, mounts))
		use_of_mount(u, mount);
	return 0;
}

static int use_swaps(struct uses *u)
{
	struct list swaps = { 0 };
	struct block *block;
	int r = swaps_read(u->search->root, u->search->arena, &swaps);

	if (r < 0) {
		critical_doubt(u->search, u->doubts, "/proc/swaps cannot be read",
			       "what is swapped to cannot be told");
		return critical_unreadable(r) ? 0 : r;
	}
	for (LIST_EACH(const char *, path, &swaps)) {
		if (strncmp(*path, "/dev/", 5))
			continue; /* a file: its file system is mounted */
		block = by_dev_path(u, *path);
		if (block)
			block_use(block, USE_SWAP, "swap", "/proc/swaps", false);
		else
			critical_doubt(u->search, u->doubts, "/proc/swaps",
				       "there is swap on %s, which cannot be found", *path);
	}
	return 0;
}

/* The names in a directory under the root; none when it is not there or may not be read. */
static struct list names_in(const struct uses *u, const char *path)
{
	struct list names = { 0 };

	if (fdpath_list(u->search->root->fd, path, u->search->arena, &names) < 0)
		return (struct list){ 0 };
	return names;
}

/* One btrfs: what one of its devices is mounted as, all of them are. True when it has `mounted`. */
static bool use_btrfs_devices(struct uses *u, const char *dir, const struct block *mounted)
{
	struct list names = names_in(u, dir);
	const char *what = NULL, *where = arena_printf(u->search->arena, "/%s", dir);
	bool has = false;
	struct block *block;

	for (LIST_EACH(const char *, name, &names)) {
		block = block_by_name(u->map, *name);
		has |= block && block == mounted;
		if (block && block->use[USE_MOUNTED].n && !what)
			what = block->use[USE_MOUNTED].what;
	}
	for (LIST_EACH(const char *, name, &names)) {
		block = block_by_name(u->map, *name);
		if (block && !block->use[USE_MOUNTED].n)
			block_use(block, what ? USE_MOUNTED : USE_KERNEL,
				  what ? what : "a mounted btrfs", where, false);
	}
	return has;
}

/* /sys/fs/btrfs/<uuid>/devices names all devices of each mounted btrfs. */
static void use_btrfs(struct uses *u, const struct list *mounts)
{
	struct list ids = names_in(u, "sys/fs/btrfs");
	struct block *block;
	char dir[SYSFS_PATH];
	bool told;

	for (LIST_EACH(const char *, id, &ids)) {
		snprintf(dir, sizeof(dir), "sys/fs/btrfs/%s/devices", *id);
		use_btrfs_devices(u, dir, NULL);
	}
	for (LIST_EACH(struct mount, mount, mounts)) {
		if (strcmp(mount->type, "btrfs"))
			continue;
		block = by_dev_path(u, mount->source);
		told = false;
		for (LIST_EACH(const char *, id, &ids)) {
			snprintf(dir, sizeof(dir), "sys/fs/btrfs/%s/devices", *id);
			told |= block && use_btrfs_devices(u, dir, block);
		}
		if (!told)
			critical_doubt(u->search, u->doubts, "/sys/fs/btrfs",
				       "the other devices of the btrfs on %s are not told",
				       mount->point);
	}
}

/* Others name a directory after the device: /sys/fs/ext4/dm-0, /sys/fs/xfs/nvme0n1p2. */
static void use_listed(struct uses *u)
{
	struct list types = names_in(u, "sys/fs"), names;
	char dir[SYSFS_PATH];
	struct block *block;

	for (LIST_EACH(const char *, type, &types)) {
		snprintf(dir, sizeof(dir), "sys/fs/%s", *type);
		names = names_in(u, dir);
		for (LIST_EACH(const char *, name, &names)) {
			block = block_by_name(u->map, *name);
			if (block)
				block_use(block, USE_KERNEL,
					  arena_printf(u->search->arena, "a mounted %s", *type),
					  arena_printf(u->search->arena, "/%s/%s", dir, *name),
					  false);
		}
	}
}

/* A file of a kernel target that names a disk it exports. */
static void use_exported(struct uses *u, const char *dir, const char *file, const char *what)
{
	char path[SYSFS_PATH], text[TEXT];
	struct block *block;

	if ((size_t)snprintf(path, sizeof(path), "%s/%s", dir, file) >= sizeof(path) ||
	    fdpath_read(u->search->root->fd, path, text, sizeof(text)) <= 0)
		return;
	block = by_dev_path(u, text);
	if (block)
		block_use(block, USE_KERNEL, what, arena_printf(u->search->arena, "/%s", path),
			  false);
}

/* LIO: target/core/<hba>/<disk>/udev_path. nvmet:
 * nvmet/subsystems/<nqn>/namespaces/<n>/device_path. */
static void use_targets(struct uses *u)
{
	static const struct {
		const char *above, *between, *file, *what;
	} targets[] = {
		{ "sys/kernel/config/target/core", "", "udev_path", "a disk exported over SCSI" },
		{ "sys/kernel/config/nvmet/subsystems", "/namespaces", "device_path",
		  "a disk exported over NVMe" },
	};
	struct list outer, inner;
	char dir[SYSFS_PATH], deeper[SYSFS_PATH];

	for (size_t i = 0; i < ARRAY_SIZE(targets); i++) {
		outer = names_in(u, targets[i].above);
		for (LIST_EACH(const char *, name, &outer)) {
			snprintf(dir, sizeof(dir), "%s/%s%s", targets[i].above, *name,
				 targets[i].between);
			inner = names_in(u, dir);
			for (LIST_EACH(const char *, disk, &inner))
				if ((size_t)snprintf(deeper, sizeof(deeper), "%s/%s", dir, *disk) <
				    sizeof(deeper))
					use_exported(u, deeper, targets[i].file, targets[i].what);
		}
	}
}

/* Its pools keep their disks without a link that would tell: an imported pool has a directory. */
static void doubt_zfs(struct uses *u)
{
	struct list names = names_in(u, "proc/spl/kstat/zfs");
	char path[SYSFS_PATH];

	for (LIST_EACH(const char *, name, &names)) {
		snprintf(path, sizeof(path), "proc/spl/kstat/zfs/%s/state", *name);
		u->zfs |= fdpath_exists(u->search->root->fd, path) == 1;
	}
	if (u->zfs)
		critical_doubt(u->search, u->doubts, "/proc/1/mountinfo, /proc/spl/kstat/zfs",
			       "ZFS is in use, and which disks its pools are on is not followed");
}

int critical_uses(struct critical_search *search, const struct block_map *map, struct list *doubts)
{
	struct uses u = { .search = search, .map = map, .doubts = doubts };
	struct list mounts = { 0 };
	int r = use_mounts(&u, &mounts);

	if (!r)
		r = use_swaps(&u);
	if (r < 0)
		return r;
	use_btrfs(&u, &mounts);
	use_listed(&u);
	use_targets(&u);
	doubt_zfs(&u);
	return 0;
}
