/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What privd can do: one function per operation, run in a child that does one at a time and may end in
 * the middle or never. So they own nothing that outlives them, and say what came out in struct op.
 *
 * Every path is made of numbers and of names that were checked; nothing is written to a file system
 * that is not the kernel's (op_write).
 */
#pragma once

#include <sys/types.h>

#include "base/address.h"
#include "host/root.h"
#include "privd/protocol.h"

enum { OP_PATH = 256, OP_TEXT = 4096 };

/* One operation while it runs. Lives in the child. */
struct op {
	const struct host_root *root;
	const struct privd_request *request;
	char device[PCI_ADDRESS_TEXT]; /* the address as text; "" without one */
	int data;		       /* memfd with the long answer; -1: nothing in it yet */
	uint64_t base;		       /* where in that its answer begins */
	bool known;		       /* an earlier request of the same order did with it what op_knows() asks */
	bool strike;		       /* a fault: kill the parent straight before the write */
	/* what came out */
	uint64_t value;
	uint64_t length;
	int error; /* +errno */
};

/* Milliseconds after which it counts as stuck. */
unsigned op_deadline(enum privd_op op);

/* Once it is done, its function is there and no bridge: the next request need not look again. */
bool op_knows(const struct privd_request *request);
/* Checks the request against the machine and does it. */
enum privd_status op_run(struct op *op);

/* For the ops_*.c. Paths are relative to the host root. */

/* "sys/bus/pci/devices/<address>/<attribute>" into buf; returns buf. */
const char *op_attribute(const struct op *op, char buf[static OP_PATH], const char *attribute);

/* PRIVD_FAILED with that errno; PRIVD_OK for 0 and above. Takes a -errno. */
enum privd_status op_result(struct op *op, ssize_t r);

/*
 * One write(2) of `text`. PRIVD_READ_ONLY where the file is not the kernel's (sysfs, procfs) or a
 * fake kernel's (FUSE), PRIVD_FAILED with its errno.
 */
enum privd_status op_write(struct op *op, const char *path, const char *text);

/* The same for an attribute of the device; one number, decimal. */
enum privd_status op_write_number(struct op *op, const char *attribute, uint64_t value);

/* Append to the long answer. PRIVD_FAILED when it is over PRIVD_DATA_MAX or memory is out. */
enum privd_status op_answer(struct op *op, const void *bytes, size_t n);
/* Append the whole file, at most `max` bytes of it. */
enum privd_status op_answer_file(struct op *op, const char *path, size_t max);

/* Name of the driver the device is on. False when on none. */
bool op_driver(const struct op *op, char *buf, size_t size);
/* Is there such a driver on the PCI bus? */
bool op_driver_known(const struct op *op, const char *name);

/* true: files below ROOT/sys may be written. */
bool op_writable(const struct op *op);

/* The operations; each file has its own. */
#define OP(name) enum privd_status name(struct op *op)

OP(op_override); /* ops_driver.c */
OP(op_unbind);
OP(op_bind);
OP(op_probe);
OP(op_unbind_lock);
OP(op_read_lock);
OP(op_power); /* ops_device.c */
OP(op_d3cold);
OP(op_reset);
OP(op_reset_method);
OP(op_remove);
OP(op_rescan);
OP(op_rescan_all);
OP(op_vfs); /* ops_vgpu.c */
OP(op_vf_autoprobe);
OP(op_mdev_create);
OP(op_mdev_remove);
OP(op_vf_type);
OP(op_read_types);
OP(op_read_vf_types);
OP(op_module); /* ops_host.c */
OP(op_hugepages);
OP(op_read_iomem);
OP(op_read_holders); /* ops_look.c */
OP(op_read_critical);
OP(op_read_override); /* ops_read.c */
OP(op_read_config);
OP(op_read_rom);
OP(op_read_vfio);
OP(op_viable);

#undef OP
