/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cutting a card into parts: SR-IOV functions (drivers/pci/iov.c), mediated devices
 * (drivers/vfio/mdev/), NVIDIA's types of a VF. The catalogues run vendor code when they are read.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-id128.h>

#include "base/fdpath.h"
#include "privd/ops.h"

enum { UUID_TEXT = 37, VF_TYPES_MAX = 64 << 10 };

enum privd_status op_vfs(struct op *op)
{
	enum privd_status status = op_write_number(op, "sriov_numvfs", op->request->value);
	char path[OP_PATH];
	int r;

	if (status != PRIVD_OK)
		return status;
	/* a driver may enable fewer than it was asked for */
	r = fdpath_read_u64(op->root->fd, op_attribute(op, path, "sriov_numvfs"), &op->value);
	return op_result(op, r);
}

enum privd_status op_vf_autoprobe(struct op *op)
{
	return op_write_number(op, "sriov_drivers_autoprobe", op->request->value);
}

static const char *uuid_text(const struct op *op, char buf[static UUID_TEXT])
{
	sd_id128_t id;

	memcpy(id.bytes, op->request->uuid, sizeof(id.bytes));
	snprintf(buf, UUID_TEXT, SD_ID128_UUID_FORMAT_STR, SD_ID128_FORMAT_VAL(id));
	return buf;
}

enum privd_status op_mdev_create(struct op *op)
{
	char type[OP_PATH], path[OP_PATH + 16], uuid[UUID_TEXT];
	char attribute[OP_PATH];

	snprintf(attribute, sizeof(attribute), "mdev_supported_types/%s", op->request->name);
	op_attribute(op, type, attribute);
	snprintf(path, sizeof(path), "%s/create", type);
	if (fdpath_exists(op->root->fd, path) != 1)
		return PRIVD_NO_DRIVER;
	return op_write(op, path, uuid_text(op, uuid));
}

/* An instance is a directory of its parent, so another card's is not found here. */
enum privd_status op_mdev_remove(struct op *op)
{
	char attribute[UUID_TEXT + 16], path[OP_PATH], uuid[UUID_TEXT];

	snprintf(attribute, sizeof(attribute), "%s/remove", uuid_text(op, uuid));
	return op_write(op, op_attribute(op, path, attribute), "1");
}

static int current_type(const struct op *op, uint64_t *ret)
{
	char path[OP_PATH];

	return fdpath_read_u64(op->root->fd, op_attribute(op, path, "nvidia/current_vgpu_type"),
			       ret);
}

enum privd_status op_vf_type(struct op *op)
{
	enum privd_status status = op_write_number(op, "nvidia/current_vgpu_type",
						   op->request->value);
	int r;

	if (status != PRIVD_OK)
		return status;
	r = current_type(op, &op->value);
	if (r < 0)
		return op_result(op, r);
	return op->value == op->request->value ? PRIVD_OK : PRIVD_MISMATCH;
}

/* Text of one file below the directory of types, cut to what fits; "" when it is not there. */
static void type_text(int dir, const char *type, const char *file, char *buf, size_t size)
{
	char path[OP_PATH];
	ssize_t n;

	snprintf(path, sizeof(path), "%s/%s", type, file);
	n = fdpath_attribute(dir, path, buf, size);
	if (n < 0)
		buf[0] = '\0';
}

static bool mdev_type(int dir, const char *id, bool whole, struct privd_type *type)
{
	char number[24], *end;

	if (strlen(id) >= sizeof(type->id))
		return false;
	*type = (struct privd_type){ .available = -1 };
	memcpy(type->id, id, strlen(id));
	if (whole) {
		type_text(dir, id, "name", type->name, sizeof(type->name));
		type_text(dir, id, "description", type->description, sizeof(type->description));
	}
	type_text(dir, id, "available_instances", number, sizeof(number));
	type->available = strtoll(number, &end, 10);
	if (end == number || *end)
		type->available = -1;
	return true;
}

static enum privd_status mdev_types(struct op *op)
{
	CLEANUP(arena_freep) struct arena *arena = arena_new();
	enum privd_status status = PRIVD_OK;
	CLEAN_FD int dir = -1;
	struct privd_type type;
	struct list names = { 0 };
	char path[OP_PATH];
	int n;

	dir = fdpath_open(op->root->fd, op_attribute(op, path, "mdev_supported_types"),
			  O_RDONLY | O_DIRECTORY);
	n = dir < 0 ? dir : fdpath_list(dir, ".", arena, &names);
	if (n < 0)
		return n == -ENOENT ? PRIVD_OK : op_result(op, n);
	for (LIST_EACH(const char *, name, &names))
		if (status == PRIVD_OK &&
		    mdev_type(dir, *name, op->request->value == PRIVD_TYPES_WHOLE, &type))
			status = op_answer(op, &type, sizeof(type));
	return status;
}

/*
 * One line of creatable_vgpu_types, "1145  : NVIDIA L40S-1B", however it is spaced; the header has no
 * number. What the VF is set to is not among them.
 */
static bool vf_type_line(const char *line, struct privd_type *type)
{
	char *end;
	unsigned long id = strtoul(line, &end, 10);
	size_t n;

	if (end == line)
		return false;
	end += strspn(end, " \t");
	if (*end != ':')
		return false;
	end += 1 + strspn(end + 1, " \t");
	n = strlen(end);
	while (n && isspace((unsigned char)end[n - 1]))
		n--;
	*type = (struct privd_type){ .available = -1, .vendor_vf = 1 };
	snprintf(type->id, sizeof(type->id), "%lu", id);
	snprintf(type->name, sizeof(type->name), "%.*s", (int)n, end);
	return true;
}

static enum privd_status vf_types(struct op *op)
{
	CLEAN_FREE char *text = malloc(VF_TYPES_MAX);
	struct privd_type type;
	char path[OP_PATH], *line, *next;
	ssize_t n;

	if (!text)
		return op_result(op, -ENOMEM);
	n = fdpath_read(op->root->fd, op_attribute(op, path, "nvidia/creatable_vgpu_types"), text,
			VF_TYPES_MAX);
	if (n < 0)
		return n == -ENOENT ? PRIVD_OK : op_result(op, n);
	for (line = text; line; line = next) {
		next = strchr(line, '\n');
		if (next)
			*next++ = '\0';
		if (vf_type_line(line, &type) && op_answer(op, &type, sizeof(type)) != PRIVD_OK)
			return PRIVD_FAILED;
	}
	return PRIVD_OK;
}

enum privd_status op_read_types(struct op *op)
{
	enum privd_status status = mdev_types(op);

	return status == PRIVD_OK ? vf_types(op) : status;
}

enum privd_status op_read_vf_types(struct op *op)
{
	enum privd_status status = PRIVD_OK;
	struct privd_vf_type vf;
	char path[OP_PATH], text[PCI_ADDRESS_TEXT];

	for (uint32_t i = 0; i < op->request->n_addresses && status == PRIVD_OK; i++) {
		vf = (struct privd_vf_type){ .address = op->request->addresses[i] };
		snprintf(path, sizeof(path), "sys/bus/pci/devices/%s/nvidia/current_vgpu_type",
			 pci_address_format(privd_address_in(vf.address), text));
		vf.error = -fdpath_read_u64(op->root->fd, path, &vf.type);
		status = op_answer(op, &vf, sizeof(vf));
	}
	return status;
}
