/* SPDX-License-Identifier: Apache-2.0 */
/* See sysfs.h. */
#include "host/sysfs.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fdpath.h"

/* Put one part of a path behind buf; ".." takes the last one off, and stays at the root. */
static int push(char buf[static SYSFS_PATH], const char *part, size_t n)
{
	size_t used = strlen(buf);
	char *slash;

	if (!n || (n == 1 && part[0] == '.'))
		return 0;
	if (n == 2 && !memcmp(part, "..", 2)) {
		slash = strrchr(buf, '/');
		*(slash ? slash : buf) = '\0';
		return 0;
	}
	if (used + n + 2 > SYSFS_PATH)
		return -ENAMETOOLONG;
	if (used)
		buf[used++] = '/';
	memcpy(buf + used, part, n);
	buf[used + n] = '\0';
	return 0;
}

static int push_all(char buf[static SYSFS_PATH], const char *path)
{
	size_t n;
	int r = 0;

	for (; *path && !r; path += n + (path[n] == '/')) {
		n = strcspn(path, "/");
		r = push(buf, path, n);
	}
	return r;
}

/* Where the link at `path` leads that points to `target`. */
static int resolve(const char *path, const char *target, char buf[static SYSFS_PATH])
{
	char result[SYSFS_PATH] = "";
	int r = 0;

	if (target[0] != '/') {
		r = push_all(result, path);
		if (!r)
			r = push(result, "..", 2);
	}
	if (!r)
		r = push_all(result, target);
	if (!r)
		memcpy(buf, result, sizeof(result));
	return r;
}

int sysfs_link_path(int root, const char *path, char buf[static SYSFS_PATH])
{
	char target[SYSFS_PATH];
	ssize_t n = fdpath_readlink(root, path, target, sizeof(target));

	return n < 0 ? (int)n : resolve(path, target, buf);
}

int sysfs_class_path(int root, const char *class, const char *name, char buf[static SYSFS_PATH])
{
	char path[SYSFS_PATH], device[SYSFS_PATH];
	int r;

	if ((size_t)snprintf(path, sizeof(path), "sys/class/%s/%s", class, name) >= sizeof(path) ||
	    (size_t)snprintf(device, sizeof(device), "%s/device", path) >= sizeof(device))
		return -ENAMETOOLONG;
	r = sysfs_link_path(root, path, buf);
	if (r != -EINVAL)
		return r;
	r = sysfs_link_path(root, device, buf);
	if (r != -ENOENT && r != -EINVAL)
		return r;
	memcpy(buf, path, strlen(path) + 1);
	return 0;
}

struct class_listing {
	int root;
	const char *class;
	struct arena *arena;
	struct list *entries;
};

static int add_entry(void *data, int dir, const struct dirent64 *found)
{
	const char *name = found->d_name;
	const struct class_listing *listing = data;
	char target[SYSFS_PATH], link[SYSFS_PATH], path[SYSFS_PATH];
	struct sysfs_entry *entry = list_add(listing->arena, listing->entries, struct sysfs_entry);
	int r;

	snprintf(link, sizeof(link), "sys/class/%s/%s", listing->class, name);
	if (fdpath_entry_link(dir, name, target, sizeof(target)) > 0)
		r = resolve(link, target, path);
	else
		r = sysfs_class_path(listing->root, listing->class, name, path);
	entry->name = arena_strdup(listing->arena, name);
	entry->path = r < 0 ? NULL : arena_strdup(listing->arena, path);
	return 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct sysfs_entry *)a)->name, ((const struct sysfs_entry *)b)->name);
}

int sysfs_class_list(int root, const char *class, struct arena *arena, struct list *entries)
{
	struct list found = { 0 };
	struct class_listing listing = { root, class, arena, &found };
	char path[SYSFS_PATH];
	int r;

	snprintf(path, sizeof(path), "sys/class/%s", class);
	r = fdpath_each(root, path, add_entry, &listing);
	if (r < 0)
		return r;
	if (found.n)
		qsort(found.items, found.n, sizeof(struct sysfs_entry), by_name);
	*entries = found;
	return (int)found.n;
}

/* The next part that is an address, outermost first; *path moves behind it. */
static bool next_address(const char **path, struct pci_address *ret)
{
	char part[PCI_ADDRESS_TEXT];
	size_t n;

	while (**path) {
		n = strcspn(*path, "/");
		if (n < sizeof(part)) {
			memcpy(part, *path, n);
			part[n] = '\0';
		} else {
			part[0] = '\0';
		}
		*path += n + ((*path)[n] == '/');
		if (pci_address_parse(part, ret))
			return true;
	}
	return false;
}

bool sysfs_last_address(const char *path, struct pci_address *ret)
{
	bool found = false;

	while (next_address(&path, ret))
		found = true;
	return found;
}

bool sysfs_below(const char *path, const char *address)
{
	size_t n = strlen(address);

	for (const char *at = path; (at = strstr(at, address)); at += n)
		if ((at == path || at[-1] == '/') && at[n] == '/')
			return true;
	return false;
}
