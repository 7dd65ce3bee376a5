/* SPDX-License-Identifier: Apache-2.0 */
/* See reader.h: opens and lists the directory, and reads what is in it. What it means is pci.c's.
 */
#include "host/reader.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fdpath.h"
#include "base/rows.h"

enum {
	TEXT_MAX = 4096,
	NUMBER_TEXT = 64,
	REASON_MAX = 256,
	LISTING_BYTES = 8192,
	UUID_TEXT = 36,
};

/* File of each entry; sorted, so that a listed name is found by bisection. */
static const char *const entry_names[ENTRIES] = {
	[ENTRY_AER_CORRECTABLE] = "aer_dev_correctable",
	[ENTRY_AER_FATAL] = "aer_dev_fatal",
	[ENTRY_BOOT_VGA] = "boot_vga",
	[ENTRY_CLASS] = "class",
	[ENTRY_LINK_SPEED] = "current_link_speed",
	[ENTRY_LINK_WIDTH] = "current_link_width",
	[ENTRY_DEVICE] = "device",
	[ENTRY_DRIVER] = "driver",
	[ENTRY_GROUP] = "iommu_group",
	[ENTRY_LOCAL_CPUS] = "local_cpulist",
	[ENTRY_MAX_LINK_SPEED] = "max_link_speed",
	[ENTRY_MAX_LINK_WIDTH] = "max_link_width",
	[ENTRY_MDEV_TYPES] = "mdev_supported_types",
	[ENTRY_NUMA_NODE] = "numa_node",
	[ENTRY_NVIDIA] = "nvidia",
	[ENTRY_PCI_BUS] = "pci_bus",
	[ENTRY_PHYSFN] = "physfn",
	[ENTRY_POWER] = "power",
	[ENTRY_POWER_STATE] = "power_state",
	[ENTRY_RESET] = "reset",
	[ENTRY_RESET_METHOD] = "reset_method",
	[ENTRY_RESOURCE] = "resource",
	[ENTRY_REVISION] = "revision",
	[ENTRY_ROM] = "rom",
	[ENTRY_SRIOV_TOTAL] = "sriov_totalvfs",
	[ENTRY_SUBSYSTEM_DEVICE] = "subsystem_device",
	[ENTRY_SUBSYSTEM_VENDOR] = "subsystem_vendor",
	[ENTRY_VENDOR] = "vendor",
};

bool whole_number(const char *text, long max, long *ret)
{
	unsigned long long value;
	char *end;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	value = strtoull(text, &end, 10);
	if (errno || *end || value > (unsigned long long)max)
		return false;
	*ret = (long)value;
	return true;
}

int pci_reader_init(struct pci_reader *reader, const struct host_root *root)
{
	int fd = fdpath_open(root->fd, "sys/bus/pci/devices", O_PATH | O_DIRECTORY);

	*reader = (struct pci_reader){ .root = root, .devices = fd < 0 ? -1 : fd, .opens = 1 };
	return fd >= 0 || fd == -ENOENT || fd == -ENOTDIR ? 0 : fd;
}

void pci_reader_finish(struct pci_reader *reader)
{
	if (reader->devices >= 0)
		close(reader->devices);
	reader->devices = -1;
}

static int compare_name(const void *name, const void *entry)
{
	return strcmp(name, *(const char *const *)entry);
}

static void dir_note(struct device_dir *dir, const char *name)
{
	const char *const *found = bsearch(name, entry_names, ENTRIES, sizeof(entry_names[0]),
					   compare_name);

	if (found)
		dir->has |= UINT64_C(1) << (found - entry_names);
}

ssize_t dir_path_text(struct device_dir *dir, const char *path, char *buf, size_t size)
{
	ssize_t n = fdpath_attribute(dir->fd, path, buf, size);

	dir->reader->opens++;
	if (n == -ENODEV)
		dir->gone = true;
	return n;
}

ssize_t dir_text(struct device_dir *dir, enum entry entry, char *buf, size_t size)
{
	return dir_has(dir, entry) ? dir_path_text(dir, entry_names[entry], buf, size) : -ENOENT;
}

int dir_number(struct device_dir *dir, enum entry entry, uint64_t *ret)
{
	char text[NUMBER_TEXT], *end;
	ssize_t n = dir_text(dir, entry, text, sizeof(text));
	uint64_t value;

	if (n < 0)
		return (int)n;
	if (text[0] < '0' || text[0] > '9')
		return -EINVAL;
	errno = 0;
	value = strtoull(text, &end, 0);
	if (errno || *end)
		return -EINVAL;
	*ret = value;
	return 0;
}

ssize_t dir_link_name(struct device_dir *dir, const char *name, char *buf, size_t size)
{
	char target[TEXT_MAX];
	ssize_t n = fdpath_entry_link(dir->fd, name, target, sizeof(target));
	const char *last;

	if (n < 0)
		return n;
	last = strrchr(target, '/');
	last = last ? last + 1 : target;
	if (strlen(last) >= size)
		return -ENAMETOOLONG;
	memcpy(buf, last, strlen(last) + 1);
	return (ssize_t)strlen(last);
}

bool dir_exists(struct device_dir *dir, const char *path)
{
	return fdpath_exists(dir->fd, path) == 1;
}

void dir_unknown(struct device_dir *dir, const char *field, const char *fmt, ...)
{
	struct arena *arena = dir->f->arena;
	char reason[REASON_MAX];
	va_list args;

	for (LIST_EACH(struct row_pair, known, &dir->f->unknown))
		if (!strcmp(known->key, field))
			return;
	va_start(args, fmt);
	vsnprintf(reason, sizeof(reason), fmt, args);
	va_end(args);
	*list_add(arena, &dir->f->unknown,
		  struct row_pair) = (struct row_pair){ field, arena_strdup(arena, reason) };
}

static bool is_uuid(const char *name)
{
	for (int i = 0; i < UUID_TEXT; i++)
		if (i == 8 || i == 13 || i == 18 || i == 23
			    ? name[i] != '-'
			    : !strchr("0123456789abcdefABCDEF", name[i]) || !name[i])
			return false;
	return !name[UUID_TEXT];
}

/* Links alone are read: no code of the vendor's runs for them. */
static void add_mdev(struct device_dir *dir, const char *uuid)
{
	struct arena *arena = dir->f->arena;
	struct mdev *mdev = list_add(arena, &dir->f->mdevs, struct mdev);
	char name[UUID_TEXT + 16], target[TEXT_MAX];
	long number;

	*mdev = (struct mdev){ arena_strdup(arena, uuid), NULL, NO_GROUP };
	snprintf(name, sizeof(name), "%s/mdev_type", uuid);
	if (fdpath_link_name(dir->fd, name, target, sizeof(target)) > 0)
		mdev->type = arena_strdup(arena, target);
	snprintf(name, sizeof(name), "%s/iommu_group", uuid);
	if (fdpath_link_name(dir->fd, name, target, sizeof(target)) > 0 &&
	    whole_number(target, INT32_MAX, &number))
		mdev->group = (int)number;
}

static void note_entry(struct device_dir *dir, const char *name)
{
	if (!strncmp(name, "virtfn", strlen("virtfn")))
		sriov_add_vf(dir, name);
	else if (is_uuid(name))
		add_mdev(dir, name);
	else
		dir_note(dir, name);
}

static int by_uuid(const void *a, const void *b)
{
	const struct mdev *x = a, *y = b;

	return strcmp(x->uuid, y->uuid);
}

/* getdents64 into a buffer of ours: a DIR would cost more than the reads it saves. */
static int list_entries(struct device_dir *dir)
{
	_Alignas(struct dirent64) char buf[LISTING_BYTES];
	struct list *mdevs = &dir->f->mdevs;
	const struct dirent64 *entry;
	ssize_t n;

	while ((n = getdents64(dir->fd, buf, sizeof(buf))) > 0)
		for (ssize_t at = 0; at < n; at += entry->d_reclen) {
			entry = (const void *)(buf + at);
			note_entry(dir, entry->d_name);
		}
	if (mdevs->n)
		qsort(mdevs->items, mdevs->n, sizeof(struct mdev), by_uuid);
	return n < 0 ? -errno : 0;
}

/* "../../../devices/x" as seen from sys/bus/pci/devices; other shapes give the link itself. */
static const char *resolve(struct arena *arena, const char *target, const char *text)
{
	if (!strncmp(target, "../../../", 9) && !strstr(target + 9, ".."))
		return arena_printf(arena, "sys/%s", target + 9);
	return arena_printf(arena, "sys/bus/pci/devices/%s", text);
}

/* The components of the path below the last root bus: bridges, then the function itself. */
static void read_path(struct function *f)
{
	CLEAN_FREE char *path = strdup(f->sysfs);
	struct pci_address address;
	char *at = path, *part, *end;
	const char *key = NULL;
	unsigned long domain;

	if (!path)
		abort();
	while ((part = strsep(&at, "/"))) {
		if (pci_address_parse(part, &address)) {
			*list_add(f->arena, &f->parents, struct pci_address) = address;
			if (key)
				key = arena_printf(f->arena, "%s%c%02x.%x", key,
						   f->parents.n > 1 ? '/' : ':', address.device,
						   address.function);
		} else if (!strncmp(part, "pci", 3) && strchr(part, ':')) {
			domain = strtoul(part + 3, &end, 16);
			f->parents.n = 0;
			key = domain ? arena_printf(f->arena, "%04lx%s", domain, end)
				     : arena_strdup(f->arena, end + 1);
		}
	}
	if (f->parents.n)
		f->parents.n--;
	f->path_key = key;
}

/* It is there, but shows nothing: what would else read as "none" is unknown too. */
static void nothing_known(struct device_dir *dir, int error)
{
	static const char *const fields[] = { "driver", "iommu_group", "reset_methods",
					      "sriov",	"physfn",      "vgpu" };

	for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
		dir_unknown(dir, fields[i], "its directory cannot be read: %s", strerror(-error));
	dir->f->reset_methods.null = true;
}

/* Is it the device that was read before? Only a kernel's own numbers say so. */
static void note_inode(struct device_dir *dir)
{
	const struct function *before = dir->before;
	struct stat st;

	dir->before = NULL;
	if (!dir->reader->root->real || dir->reader->brief || dir->fd < 0 || fstat(dir->fd, &st))
		return;
	dir->f->inode = st.st_ino;
	if (before && before->inode == dir->f->inode && !strcmp(before->sysfs, dir->f->sysfs))
		dir->before = before;
}

bool dir_known(struct device_dir *dir, const char *field)
{
	if (!dir->before)
		return false;
	for (LIST_EACH(const struct row_pair, pair, &dir->before->unknown))
		if (!strcmp(pair->key, field))
			return false;
	return true;
}

int dir_open(struct device_dir *dir, struct error *err)
{
	struct function *f = dir->f;
	char target[TEXT_MAX] = "";
	int r;
	ssize_t n = fdpath_entry_link(dir->reader->devices, f->text, target, sizeof(target));

	if (n < 0 && n != -EINVAL) /* a plain tree may have the directory itself there */
		return error_set(err, ERROR_GONE, "there is no PCI function %s", f->text);
	f->sysfs = resolve(f->arena, target, f->text);
	read_path(f);
	dir->fd = fdpath_open(dir->reader->root->fd, f->sysfs, O_RDONLY | O_DIRECTORY);
	dir->reader->opens++;
	note_inode(dir);
	r = dir->fd < 0 ? dir->fd : list_entries(dir);
	if (r == -ENOENT || r == -ENOTDIR || r == -ENODEV)
		return error_set(err, ERROR_GONE, "there is no PCI function %s any more", f->text);
	if (r < 0)
		nothing_known(dir, r);
	if (!f->path_key)
		dir_unknown(dir, "identity", "its place on the bus cannot be told from its path");
	return 0;
}
