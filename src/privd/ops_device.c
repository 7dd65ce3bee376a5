/* SPDX-License-Identifier: Apache-2.0 */
/* Power, reset and presence of a function (drivers/pci/pci-sysfs.c, drivers/base/power/sysfs.c). */
#include <stdio.h>
#include <string.h>

#include "base/fdpath.h"
#include "privd/ops.h"

static enum privd_status reads_as(struct op *op, const char *attribute, const char *text)
{
	char path[OP_PATH], now[64];
	ssize_t n = fdpath_attribute(op->root->fd, op_attribute(op, path, attribute), now, sizeof(now));

	if (n < 0)
		return op_result(op, n);
	return !strcmp(now, text) ? PRIVD_OK : PRIVD_MISMATCH;
}

enum privd_status op_power(struct op *op)
{
	const char *text = op->request->value ? "on" : "auto";
	char path[OP_PATH];
	enum privd_status status = op_write(op, op_attribute(op, path, "power/control"), text);

	return status == PRIVD_OK ? reads_as(op, "power/control", text) : status;
}

enum privd_status op_d3cold(struct op *op)
{
	enum privd_status status = op_write_number(op, "d3cold_allowed", op->request->value);

	return status == PRIVD_OK ? reads_as(op, "d3cold_allowed", op->request->value ? "1" : "0")
				  : status;
}

enum privd_status op_reset(struct op *op)
{
	return op_write_number(op, "reset", 1);
}

enum privd_status op_reset_method(struct op *op)
{
	char path[OP_PATH], words[128];

	if (!privd_reset_unpack(op->request->value, words, sizeof(words)))
		return PRIVD_RANGE;
	return op_write(op, op_attribute(op, path, "reset_method"), words);
}

enum privd_status op_remove(struct op *op)
{
	return op_write_number(op, "remove", 1);
}

enum privd_status op_rescan(struct op *op)
{
	return op_write_number(op, "rescan", 1);
}

enum privd_status op_rescan_all(struct op *op)
{
	return op_write(op, "sys/bus/pci/rescan", "1");
}
