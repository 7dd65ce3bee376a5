/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which driver a function is on (drivers/base/bus.c, drivers/pci/pci-driver.c). Unbinding can sleep
 * for ever with the device's lock held: remove() cannot fail, so drivers wait for their users in
 * it.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/fdpath.h"
#include "host/holders.h"
#include "privd/ops.h"

/* "sys/bus/pci/drivers/<name>/<file>" <- the address */
static enum privd_status driver_write(struct op *op, const char *name, const char *file)
{
	char path[OP_PATH];

	snprintf(path, sizeof(path), "sys/bus/pci/drivers/%s/%s", name, file);
	return op_write(op, path, op->device);
}

enum privd_status op_override(struct op *op)
{
	const char *name = op->request->name;
	char path[OP_PATH], text[OP_TEXT];
	enum privd_status status;
	ssize_t n;

	/* any name: what stood there before may be a driver that is not loaded now */
	op_attribute(op, path, "driver_override");
	status = op_write(op, path, name[0] ? name : "\n");
	if (status != PRIVD_OK)
		return status;
	n = fdpath_attribute(op->root->fd, path, text, sizeof(text));
	if (n < 0)
		return op_result(op, n);
	return !strcmp(text, name[0] ? name : "(null)") ? PRIVD_OK : PRIVD_MISMATCH;
}

/*
 * A card that fell off the bus, or that a reset has killed, reads ff everywhere; drivers that let it go or
 * take it wait for it, some for ever. Vendor and device id alone tell nothing: a VF's read ff by the
 * specification (SR-IOV 1.1, 3.4.1). The kernel is about to wake it anyway (__device_release_driver(),
 * pci_device_probe()). What cannot be read says nothing.
 */
static bool is_silent(const struct op *op)
{
	unsigned char header[16];
	char path[OP_PATH];

	if (fdpath_pread(op->root->fd, op_attribute(op, path, "config"), header, sizeof(header), 0) !=
	    (ssize_t)sizeof(header))
		return false;
	for (size_t i = 0; i < sizeof(header); i++)
		if (header[i] != 0xff)
			return false;
	return true;
}

/* Straight before the write: does the kernel count nobody who uses it through that driver? */
static bool nobody_counted(const struct op *op)
{
	return op->request->name[0] && holders_ruled_out(op->root, privd_address_in(op->request->address),
							 op->request->name);
}

enum privd_status op_unbind(struct op *op)
{
	const char *name = op->request->name;
	char on[OP_PATH];
	enum privd_status status;

	if (name[0] && !op_driver_known(op, name))
		return PRIVD_NO_DRIVER;
	if (is_silent(op))
		return PRIVD_NO_ANSWER;
	if (op->request->value && !nobody_counted(op))
		return PRIVD_HELD;
	/*
	 * Through the driver's own file: should the device have changed hands since it was looked
	 * at, the kernel says ENODEV, while the file behind its `driver` link would go on.
	 */
	if (name[0])
		status = driver_write(op, name, "unbind");
	else if (op_driver(op, on, sizeof(on)))
		status = driver_write(op, on, "unbind");
	else
		status = op_result(op, -ENODEV);
	if (status == PRIVD_OK)
		op->value = !op_driver(op, on, sizeof(on));
	return status;
}

static bool is_on(const struct op *op, const char *driver)
{
	char on[OP_PATH];

	return op_driver(op, on, sizeof(on)) && !strcmp(on, driver);
}

enum privd_status op_bind(struct op *op)
{
	enum privd_status status;

	if (!op_driver_known(op, op->request->name))
		return PRIVD_NO_DRIVER;
	if (is_on(op, op->request->name)) {	/* whoever did it */
		op->value = 1;
		return PRIVD_OK;
	}
	if (is_silent(op))
		return PRIVD_NO_ANSWER;
	status = driver_write(op, op->request->name, "bind");
	if (status == PRIVD_OK)
		op->value = is_on(op, op->request->name);
	return status;
}

enum privd_status op_probe(struct op *op)
{
	enum privd_status status;
	char on[OP_PATH];

	if (is_silent(op))
		return PRIVD_NO_ANSWER;
	status = op_write(op, "sys/bus/pci/drivers_probe", op->device);
	if (status == PRIVD_OK) /* which the kernel also says when no driver wanted it */
		op->value = op_driver(op, on, sizeof(on));
	return status;
}

static const char *lock_path(const struct op *op, char path[static OP_PATH])
{
	snprintf(path, OP_PATH, "proc/driver/nvidia/gpus/%s/unbindLock", op->device);
	return path;
}

enum privd_status op_read_lock(struct op *op)
{
	char path[OP_PATH];

	return op_result(op, fdpath_read_u64(op->root->fd, lock_path(op, path), &op->value));
}

/*
 * NVIDIA's own test-and-lock (kernel-open nv-procfs.c): the write takes effect at close, and only
 * while nobody uses the device; reading back tells.
 */
enum privd_status op_unbind_lock(struct op *op)
{
	char path[OP_PATH];
	enum privd_status status = op_write(op, lock_path(op, path), op->request->value ? "1" : "0");

	if (status == PRIVD_OK)
		status = op_read_lock(op);
	if (status != PRIVD_OK)
		return status;
	return op->value == op->request->value ? PRIVD_OK : PRIVD_MISMATCH;
}
