/* SPDX-License-Identifier: Apache-2.0 */
/* The table of operations, the checks they share, and what they write and answer with. */
#include "privd/ops.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/vfs.h>

#include "base/fdpath.h"
#include "privd/fault.h"

enum { CHUNK = 64 << 10 };

/* How long each may take, and the largest `value`. Binding loads firmware; VFs and huge pages move
 * memory. */
static const struct {
	unsigned deadline_ms;
	bool bridge; /* a bridge will do too */
	uint64_t max;
	enum privd_status (*run)(struct op *op);
} table[PRIVD_OPS] = {
	[PRIVD_OVERRIDE] = { 5000, .run = op_override },
	[PRIVD_UNBIND] = { 10000, .max = 1, .run = op_unbind },
	[PRIVD_BIND] = { 30000, .run = op_bind },
	[PRIVD_PROBE] = { 30000, .run = op_probe },
	[PRIVD_VFS] = { 60000, .max = UINT16_MAX, .run = op_vfs },
	[PRIVD_VF_AUTOPROBE] = { 5000, .max = 1, .run = op_vf_autoprobe },
	[PRIVD_MDEV_CREATE] = { 15000, .run = op_mdev_create },
	[PRIVD_MDEV_REMOVE] = { 15000, .run = op_mdev_remove },
	[PRIVD_VF_TYPE] = { 15000, .max = UINT32_MAX, .run = op_vf_type },
	[PRIVD_POWER] = { 10000, .max = 1, .run = op_power },
	[PRIVD_D3COLD] = { 5000, .max = 1, .run = op_d3cold },
	[PRIVD_RESET] = { 15000, .run = op_reset },
	[PRIVD_RESET_METHOD] = { 5000, .max = UINT64_MAX, .run = op_reset_method },
	[PRIVD_REMOVE] = { 10000, .run = op_remove },
	[PRIVD_RESCAN] = { 30000, .bridge = true, .run = op_rescan },
	[PRIVD_UNBIND_LOCK] = { 5000, .max = 1, .run = op_unbind_lock },
	[PRIVD_RESCAN_ALL] = { 30000, .run = op_rescan_all },
	[PRIVD_MODULE] = { 30000, .run = op_module },
	[PRIVD_HUGEPAGES] = { 60000, .max = UINT32_MAX, .run = op_hugepages },
	[PRIVD_READ_OVERRIDE] = { 5000, .run = op_read_override },
	[PRIVD_READ_CONFIG] = { 5000, .max = 4096, .run = op_read_config },
	[PRIVD_READ_ROM] = { 15000, .run = op_read_rom },
	[PRIVD_READ_VFIO] = { 5000, .max = INT32_MAX, .run = op_read_vfio },
	/* who waits for these waits for holders too */
	[PRIVD_READ_TYPES] = { 3000, .max = PRIVD_TYPES_COUNTS, .run = op_read_types },
	[PRIVD_READ_VF_TYPES] = { 3000, .run = op_read_vf_types },
	[PRIVD_READ_IOMEM] = { 5000, .run = op_read_iomem },
	[PRIVD_READ_HOLDERS] = { 10000, .run = op_read_holders },
	[PRIVD_READ_CRITICAL] = { 15000, .run = op_read_critical },
	[PRIVD_READ_LOCK] = { 5000, .run = op_read_lock },
	[PRIVD_VIABLE] = { 5000, .max = INT32_MAX, .run = op_viable },
};

unsigned op_deadline(enum privd_op op)
{
	return table[op].deadline_ms;
}

const char *op_attribute(const struct op *op, char buf[static OP_PATH], const char *attribute)
{
	snprintf(buf, OP_PATH, "sys/bus/pci/devices/%s/%s", op->device, attribute);
	return buf;
}

enum privd_status op_result(struct op *op, ssize_t r)
{
	if (r >= 0)
		return PRIVD_OK;
	op->error = (int)-r;
	return PRIVD_FAILED;
}

static bool is_kernels(const struct statfs *fs)
{
	return fs->f_type == SYSFS_MAGIC || fs->f_type == PROC_SUPER_MAGIC ||
	       fs->f_type == FUSE_SUPER_MAGIC;
}

/* Once it is, it stays so for this child; what is written to is looked at by itself (op_write). */
bool op_writable(const struct op *op)
{
	static bool known;
	CLEAN_FD int fd = known ? -1 : fdpath_open(op->root->fd, "sys", O_PATH | O_DIRECTORY);
	struct statfs fs;

	known = known || (fd >= 0 && !fstatfs(fd, &fs) && is_kernels(&fs));
	return known;
}

enum privd_status op_write(struct op *op, const char *path, const char *text)
{
	CLEAN_FD int fd = fdpath_open(op->root->fd, path, O_WRONLY);
	struct statfs fs;
	ssize_t n;

	if (fd < 0)
		return op_result(op, fd);
	if (fstatfs(fd, &fs))
		return op_result(op, -errno);
	if (!is_kernels(&fs))
		return PRIVD_READ_ONLY;
	if (op->strike)
		fault_strike_inside();
	op->strike = false;
	n = write(fd, text, strlen(text));
	if (n < 0)
		return op_result(op, -errno);
	return op_result(op, (size_t)n == strlen(text) ? 0 : -EIO);
}

enum privd_status op_write_number(struct op *op, const char *attribute, uint64_t value)
{
	char path[OP_PATH], text[24];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
	return op_write(op, op_attribute(op, path, attribute), text);
}

enum privd_status op_answer(struct op *op, const void *bytes, size_t n)
{
	const char *from = bytes;

	if (n > PRIVD_DATA_MAX - op->base - op->length)
		return op_result(op, -EFBIG);
	if (op->data < 0)
		op->data = memfd_create("privd-answer", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (op->data < 0)
		return op_result(op, -errno);
	while (n) {
		ssize_t done = pwrite(op->data, from, n, (off_t)(op->base + op->length));

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return op_result(op, -errno);
		from += done;
		n -= (size_t)done;
		op->length += (size_t)done;
	}
	return PRIVD_OK;
}

enum privd_status op_answer_file(struct op *op, const char *path, size_t max)
{
	CLEAN_FD int fd = fdpath_open(op->root->fd, path, O_RDONLY);
	CLEAN_FREE char *chunk = malloc(CHUNK);
	enum privd_status status = PRIVD_OK;
	ssize_t n = 1;

	if (fd < 0 || !chunk)
		return op_result(op, fd < 0 ? fd : -ENOMEM);
	while (n > 0 && max && status == PRIVD_OK) {
		n = read(fd, chunk, max < CHUNK ? max : CHUNK);
		if (n < 0 && errno == EINTR) {
			n = 1;
			continue;
		}
		if (n < 0)
			return op_result(op, -errno);
		max -= (size_t)n;
		status = op_answer(op, chunk, (size_t)n);
	}
	return status;
}

bool op_driver(const struct op *op, char *buf, size_t size)
{
	char path[OP_PATH];

	return fdpath_link_name(op->root->fd, op_attribute(op, path, "driver"), buf, size) > 0;
}

bool op_driver_known(const struct op *op, const char *name)
{
	char path[OP_PATH];

	snprintf(path, sizeof(path), "sys/bus/pci/drivers/%s/bind", name);
	return fdpath_exists(op->root->fd, path) == 1;
}

/* Host bridges and PCI bridges are never touched; other devices of base class 06 are (NVSwitch). */
static bool is_bridge(const struct op *op)
{
	char path[OP_PATH];
	uint64_t class = 0;

	if (fdpath_exists(op->root->fd, op_attribute(op, path, "pci_bus")) == 1)
		return true;
	if (fdpath_read_hex(op->root->fd, op_attribute(op, path, "class"), &class) < 0)
		return false;
	return class >> 8 == 0x0600 || class >> 8 == 0x0604;
}

static enum privd_status device_check(struct op *op, bool bridge)
{
	char path[OP_PATH];
	int there;

	there = fdpath_exists(op->root->fd, op_attribute(op, path, ""));
	if (there < 0)
		return op_result(op, there);
	if (!there)
		return PRIVD_NO_DEVICE;
	return !bridge && is_bridge(op) ? PRIVD_BRIDGE : PRIVD_OK;
}

static bool is_gone(const struct op *op)
{
	char path[OP_PATH];

	return fdpath_exists(op->root->fd, op_attribute(op, path, "")) == 0;
}

bool op_knows(const struct privd_request *request)
{
	return request->address.set && !table[request->header.op].bridge;
}

enum privd_status op_run(struct op *op)
{
	const struct privd_address *a = &op->request->address;
	unsigned number = op->request->header.op;
	enum privd_status status = PRIVD_OK;

	if (op->request->value > table[number].max)
		return PRIVD_RANGE;
	if (a->set)
		pci_address_format(privd_address_in(*a), op->device);
	if (a->set && !op->known)
		status = device_check(op, table[number].bridge);
	if (status != PRIVD_OK)
		return status;
	if (privd_op_writes(number) && number != PRIVD_MODULE && !op_writable(op))
		return PRIVD_READ_ONLY;
	/* a module is loaded by no write of ours */
	if ((!privd_op_writes(number) || number == PRIVD_MODULE) && op->strike)
		fault_strike_inside();
	status = table[number].run(op);
	return op->known && status == PRIVD_FAILED && is_gone(op) ? PRIVD_NO_DEVICE : status;
}
