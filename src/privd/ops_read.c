/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads of one function or group that want root, wake the device, or can wait for its lock
 * (driver_override does in 6.1).
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "base/fdpath.h"
#include "host/inventory.h"
#include "privd/ops.h"

enum { CONFIG_HEADER = 64, CONFIG_PCI = 256, CONFIG_PCIE = 4096, ROM_MAX = 16 << 20 };

enum privd_status op_read_override(struct op *op)
{
	char path[OP_PATH], text[OP_TEXT];
	ssize_t n = fdpath_attribute(op->root->fd, op_attribute(op, path, "driver_override"), text,
				     sizeof(text));

	if (n < 0)
		return op_result(op, n);
	if (!strcmp(text, "(null)"))
		return PRIVD_OK;
	return op_answer(op, text, (size_t)n);
}

enum privd_status op_read_config(struct op *op)
{
	uint64_t size = op->request->value;
	char path[OP_PATH];

	if (size != CONFIG_HEADER && size != CONFIG_PCI && size != CONFIG_PCIE)
		return PRIVD_RANGE;
	return op_answer_file(op, op_attribute(op, path, "config"), size);
}

/*
 * The kernel maps the ROM only while it is switched on, and answers EINVAL otherwise. In a tree of
 * plain files the file is what it is.
 */
enum privd_status op_read_rom(struct op *op)
{
	char path[OP_PATH];
	enum privd_status status = PRIVD_OK, off;
	bool on = op_writable(op);

	op_attribute(op, path, "rom");
	if (on)
		status = op_write(op, path, "1");
	if (status != PRIVD_OK)
		return status;
	status = op_answer_file(op, path, ROM_MAX);
	if (!on)
		return status;
	off = op_write(op, path, "0");
	return status == PRIVD_OK ? off : status;
}

/*
 * Root may open what is somebody else's (the unit's CAP_DAC_OVERRIDE), unless a security module or a
 * unit that was changed forbids it: then whose the file is says where to look.
 */
static enum privd_status not_allowed(struct op *op, const char *path)
{
	CLEAN_FD int fd = fdpath_open(op->root->fd, path, O_PATH);
	struct stat st = { 0 };
	char text[200];

	if (fd < 0 || fstat(fd, &st) < 0)
		return op_result(op, -EACCES);
	snprintf(text, sizeof(text),
		 "/%s may not be opened: it belongs to uid %u, gid %u, mode %04o; see the udev rule "
		 "that sets this, and the kernel's log",
		 path, (unsigned)st.st_uid, (unsigned)st.st_gid, (unsigned)st.st_mode & 07777);
	op_answer(op, text, strlen(text));
	return PRIVD_UNREADABLE;
}

/* In a tree that stands for a machine: the words of the file, "viable" or "not viable". */
static enum privd_status group_words(struct op *op, const char *path)
{
	char text[64];
	ssize_t n = fdpath_read(op->root->fd, path, text, sizeof(text));

	if (n < 0)
		return n == -EACCES ? not_allowed(op, path) : op_result(op, n);
	if (!strcmp(text, "viable"))
		op->value |= PRIVD_GROUP_VIABLE;
	return PRIVD_OK;
}

/* drivers/vfio/group.c: the group's file opens once only, and EBUSY says that somebody has it. */
enum privd_status op_read_vfio(struct op *op)
{
	struct vfio_group_status status = { .argsz = sizeof(status) };
	char path[OP_PATH];
	CLEAN_FD int fd = -1;

	snprintf(path, sizeof(path), "dev/vfio/%u", (unsigned)op->request->value);
	fd = fdpath_open(op->root->fd, path, O_RDWR);
	if (fd == -EBUSY) {
		op->value = PRIVD_GROUP_HELD;
		return op->root->real ? PRIVD_OK : group_words(op, path);
	}
	if (!op->root->real && fd != -ENOENT)
		return group_words(op, path);
	if (fd < 0)
		return fd == -EACCES ? not_allowed(op, path) : op_result(op, fd);
	if (ioctl(fd, VFIO_GROUP_GET_STATUS, &status))
		return op_result(op, -errno);
	op->value = (status.flags & VFIO_GROUP_FLAGS_VIABLE ? PRIVD_GROUP_VIABLE : 0) |
		    (status.flags & VFIO_GROUP_FLAGS_CONTAINER_SET ? PRIVD_GROUP_CONTAINER : 0);
	return PRIVD_OK;
}

static bool is_on_vfio(const struct op *op, const struct privd_address *a)
{
	char address[PCI_ADDRESS_TEXT], path[OP_PATH], driver[64];

	pci_address_format(privd_address_in(*a), address);
	snprintf(path, sizeof(path), "sys/bus/pci/devices/%s/driver", address);
	return fdpath_link_name(op->root->fd, path, driver, sizeof(driver)) > 0 && driver_is_vfio(driver);
}

enum privd_status op_viable(struct op *op)
{
	const struct privd_request *r = op->request;
	enum privd_status status;

	for (uint32_t i = 0; i < r->n_addresses; i++)
		if (!is_on_vfio(op, &r->addresses[i]))
			return PRIVD_MISMATCH;
	status = op_read_vfio(op);
	if (status == PRIVD_OK && !(op->value & PRIVD_GROUP_VIABLE))
		return PRIVD_MISMATCH;
	return status;
}
