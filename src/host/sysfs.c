/* SPDX-License-Identifier: Apache-2.0 */
/* See sysfs.h. */
#include "host/sysfs.h"

#include <errno.h>
#include <stdio.h>
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

int sysfs_link_path(int root, const char *path, char buf[static SYSFS_PATH])
{
	char target[SYSFS_PATH], result[SYSFS_PATH] = "";
	ssize_t n = fdpath_readlink(root, path, target, sizeof(target));
	int r = 0;

	if (n < 0)
		return (int)n;
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
