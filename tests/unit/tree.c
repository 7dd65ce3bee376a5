/* SPDX-License-Identifier: Apache-2.0 */
/* See tree.h. */
#include "tree.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/address.h"

enum { PATH_BYTES = 4096, FTW_FDS = 32 };

static void fail(const char *what, const char *path)
{
	fprintf(stderr, "tree: %s %s: %s\n", what, path, strerror(errno));
	abort();
}

static void full_path(const struct tree *tree, const char *path, char buf[static PATH_BYTES])
{
	if (snprintf(buf, PATH_BYTES, "%s/%s", tree->path, path) >= PATH_BYTES) {
		errno = ENAMETOOLONG;
		fail("path", path);
	}
}

/* Makes the directories above the last part. */
static void make_parents(char *path)
{
	char *last = strrchr(path, '/');
	bool there;

	*last = '\0';
	there = !access(path, F_OK);
	*last = '/';
	if (there)
		return;
	for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdir(path, 0755) && errno != EEXIST)
			fail("mkdir", path);
		*slash = '/';
	}
}

void tree_make(struct tree *tree)
{
	struct error err = { 0 };

	/* in memory where that can be: thousands of small files, gone a moment later */
	snprintf(tree->path, sizeof(tree->path), "%s/horcrux-tree-XXXXXX",
		 access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
	if (!mkdtemp(tree->path))
		fail("mkdtemp", tree->path);
	if (host_root_open(&tree->root, tree->path, &err))
		fail(err.message, tree->path);
}

static int remove_entry(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

static void remove_all(const char *path)
{
	if (nftw(path, remove_entry, FTW_FDS, FTW_DEPTH | FTW_PHYS))
		fail("remove", path);
}

void tree_remove(struct tree *tree)
{
	host_root_close(&tree->root);
	remove_all(tree->path);
}

void tree_drop(struct tree *tree, const char *path)
{
	char full[PATH_BYTES];

	full_path(tree, path, full);
	remove_all(full);
}

static void write_bytes(struct tree *tree, const char *path, const char *bytes, size_t n)
{
	char full[PATH_BYTES];
	int fd;

	full_path(tree, path, full);
	make_parents(full);
	fd = open(full, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0 || write(fd, bytes, n) != (ssize_t)n || close(fd))
		fail("write", full);
}

void tree_file(struct tree *tree, const char *path, const char *text)
{
	write_bytes(tree, path, text, strlen(text));
}

void tree_link(struct tree *tree, const char *path, const char *target)
{
	char full[PATH_BYTES];

	full_path(tree, path, full);
	make_parents(full);
	unlink(full);
	if (symlink(target, full))
		fail("symlink", full);
}

void tree_dir(struct tree *tree, const char *path)
{
	char full[PATH_BYTES];

	full_path(tree, path, full);
	make_parents(full);
	if (mkdir(full, 0755) && errno != EEXIST)
		fail("mkdir", full);
}

void tree_trap(struct tree *tree, const char *path)
{
	char full[PATH_BYTES];

	full_path(tree, path, full);
	make_parents(full);
	unlink(full);
	if (mkfifo(full, 0644))
		fail("mkfifo", full);
}

void tree_fill_n(struct tree *tree, const struct tree_row *rows, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (rows[i].link)
			tree_link(tree, rows[i].path, rows[i].link);
		else
			tree_file(tree, rows[i].path, rows[i].text);
	}
}

/* "../" once per part of the path below sys. */
static void up_to_sys(const char *path, char buf[static PATH_BYTES])
{
	size_t at = 0;

	for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/'))
		at += (size_t)snprintf(buf + at, PATH_BYTES - at, "../");
	snprintf(buf + at, PATH_BYTES - at, "../"); /* and "devices" */
}

static void number_attribute(struct tree *tree, const char *address, const char *name, int digits,
			     unsigned value)
{
	char text[32];

	snprintf(text, sizeof(text), "0x%0*x\n", digits, value);
	tree_attribute(tree, address, name, text);
}

static void make_group(struct tree *tree, const struct tree_function *f, const char *up)
{
	const char *address = strrchr(f->path, '/') + 1;
	char path[PATH_BYTES], target[2 * PATH_BYTES];

	snprintf(path, sizeof(path), "sys/devices/%s/iommu_group", f->path);
	snprintf(target, sizeof(target), "%skernel/iommu_groups/%d", up, f->group);
	tree_link(tree, path, target);
	snprintf(path, sizeof(path), "sys/kernel/iommu_groups/%d/type", f->group);
	tree_file(tree, path, "DMA-FQ\n");
	snprintf(path, sizeof(path), "sys/kernel/iommu_groups/%d/reserved_regions", f->group);
	tree_file(tree, path, "0x00000000fee00000 0x00000000feefffff msi\n");
	snprintf(path, sizeof(path), "sys/kernel/iommu_groups/%d/devices/%s", f->group, address);
	snprintf(target, sizeof(target), "../../../../devices/%s", f->path);
	tree_link(tree, path, target);
}

static void make_driver(struct tree *tree, const struct tree_function *f, const char *up)
{
	char path[PATH_BYTES], target[2 * PATH_BYTES];

	snprintf(path, sizeof(path), "sys/devices/%s/driver", f->path);
	snprintf(target, sizeof(target), "%sbus/pci/drivers/%s", up, f->driver);
	tree_link(tree, path, target);
	snprintf(path, sizeof(path), "sys/bus/pci/drivers/%s", f->driver);
	tree_dir(tree, path);
}

static void make_attributes(struct tree *tree, const char *address, const struct tree_function *f)
{
	number_attribute(tree, address, "vendor", 4, f->vendor);
	number_attribute(tree, address, "device", 4, f->device);
	number_attribute(tree, address, "class", 6, f->class);
	number_attribute(tree, address, "revision", 2, 0xa1);
	number_attribute(tree, address, "subsystem_vendor", 4, f->vendor);
	number_attribute(tree, address, "subsystem_device", 4, 0x1234);
	tree_attribute(tree, address, "numa_node", "0\n");
	tree_attribute(tree, address, "local_cpulist", "0-3\n");
	tree_attribute(tree, address, "power_state", "D0\n");
	tree_attribute(tree, address, "power/runtime_status", "active\n");
	tree_attribute(tree, address, "resource",
		       "0x00000000f6000000 0x00000000f6ffffff 0x0000000000040200\n"
		       "0x0000000000000000 0x0000000000000000 0x0000000000000000\n");
}

void tree_function(struct tree *tree, const struct tree_function *f)
{
	const char *address = strrchr(f->path, '/') + 1;
	char path[PATH_BYTES], target[2 * PATH_BYTES], up[PATH_BYTES];

	up_to_sys(f->path, up);
	snprintf(path, sizeof(path), "sys/bus/pci/devices/%s", address);
	snprintf(target, sizeof(target), "../../../devices/%s", f->path);
	tree_link(tree, path, target);
	snprintf(path, sizeof(path), "sys/devices/%s", f->path);
	tree_dir(tree, path);
	make_attributes(tree, address, f);
	if (f->class >> 8 == 0x0604) {
		snprintf(path, sizeof(path), "sys/devices/%s/pci_bus", f->path);
		tree_dir(tree, path);
	}
	if (f->driver)
		make_driver(tree, f, up);
	if (f->group >= 0)
		make_group(tree, f, up);
}

void tree_attribute(struct tree *tree, const char *address, const char *name, const char *text)
{
	char path[PATH_BYTES];

	snprintf(path, sizeof(path), "sys/bus/pci/devices/%s/%s", address, name);
	tree_file(tree, path, text);
}

/* Undoes the escapes of umockdev's "A:" lines in place: \n, \\ and octal. Returns the length. */
static size_t unescape(char *text)
{
	char *out = text;

	for (const char *in = text; *in; in++) {
		if (in[0] != '\\') {
			*out++ = *in;
		} else if (in[1] >= '0' && in[1] <= '7' && in[2] && in[3]) {
			*out++ = (char)((in[1] - '0') << 6 | (in[2] - '0') << 3 | (in[3] - '0'));
			in += 3;
		} else {
			in++;
			*out++ = *in == 'n' ? '\n' : *in == 't' ? '\t' : *in;
		}
	}
	return (size_t)(out - text);
}

/* "SUBSYSTEM=pci": the device is listed under its bus, or its class. */
static void list_device(struct tree *tree, const char *device, const char *subsystem)
{
	static const char *const buses[] = { "mdev", "pci", "platform", "scsi", "usb" };
	const char *where = "class", *below = "";
	char path[PATH_BYTES], target[2 * PATH_BYTES];

	for (size_t i = 0; i < sizeof(buses) / sizeof(buses[0]); i++)
		if (!strcmp(subsystem, buses[i])) {
			where = "bus";
			below = "/devices";
		}
	snprintf(path, sizeof(path), "sys/%s/%s%s/%s", where, subsystem, below,
		 strrchr(device, '/') + 1);
	snprintf(target, sizeof(target), "%s%s", *below ? "../../.." : "../..", device);
	tree_link(tree, path, target);
}

/* One line of a record: P: device, E: property, A: attribute, L: link. H: (binary) is left out. */
static void unpack_line(struct tree *tree, char *line, char device[static PATH_BYTES])
{
	char path[2 * PATH_BYTES], *value;

	line[strcspn(line, "\n")] = '\0';
	if (!strncmp(line, "P: ", 3)) {
		snprintf(device, PATH_BYTES, "%s", line + 3);
		snprintf(path, sizeof(path), "sys%s", device);
		tree_dir(tree, path);
		return;
	}
	if (!strncmp(line, "E: SUBSYSTEM=", 13))
		list_device(tree, device, line + 13);
	value = strchr(line, '=');
	if (!value || !strchr("AL", line[0]) || !line[0] || line[1] != ':')
		return;
	*value++ = '\0';
	snprintf(path, sizeof(path), "sys%s/%s", device, line + 3);
	if (line[0] == 'A')
		write_bytes(tree, path, value, unescape(value));
	else
		tree_link(tree, path, value);
}

static void unpack(struct tree *tree, const char *record)
{
	char device[PATH_BYTES] = "/", *line = NULL;
	FILE *f = fopen(record, "re");
	size_t room = 0;

	if (!f)
		fail("open", record);
	while (getline(&line, &room, f) >= 0)
		unpack_line(tree, line, device);
	free(line);
	fclose(f);
}

bool tree_fixture(struct tree *tree, const char *name)
{
	const char *fixtures = getenv("HORCRUX_FIXTURES");
	char path[PATH_BYTES];

	if (!fixtures || !*fixtures) {
		printf("skipped: HORCRUX_FIXTURES is not set, so %s was not read\n", name);
		return false;
	}
	snprintf(path, sizeof(path), "%s/%s.umockdev", fixtures, name);
	unpack(tree, path);
	return true;
}
