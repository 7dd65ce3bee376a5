/* SPDX-License-Identifier: Apache-2.0 */
/* What concerns the host as a whole: modules, huge pages, /proc/iomem. */
#include <errno.h>
#include <libkmod.h>
#include <stdio.h>
#include <string.h>

#include "base/fdpath.h"
#include "privd/ops.h"

enum { IOMEM_MAX = 1 << 20 };

static bool module_allowed(const char *name)
{
	for (size_t i = 0; privd_modules[i]; i++)
		if (!strcmp(privd_modules[i], name))
			return true;
	return false;
}

static int kmod_load(struct kmod_ctx *ctx, const char *name)
{
	struct kmod_list *list = NULL, *item;
	int r = kmod_module_new_from_lookup(ctx, name, &list);

	if (!r && !list)
		r = -ENOENT;
	kmod_list_foreach(item, list) {
		struct kmod_module *module = kmod_module_get_module(item);

		if (!r)
			r = kmod_module_probe_insert_module(module, KMOD_PROBE_APPLY_BLACKLIST, NULL,
							    NULL, NULL, NULL);
		kmod_module_unref(module);
	}
	kmod_module_unref_list(list);
	return r > 0 ? -EPERM : r;	/* above 0: it is on a blacklist */
}

enum privd_status op_module(struct op *op)
{
	struct kmod_ctx *ctx;
	int r;

	if (!module_allowed(op->request->name))
		return PRIVD_NO_DRIVER;
	if (!op->root->real)	/* a module would go into this machine, whatever the tree stands for */
		return PRIVD_NOT_HERE;
	ctx = kmod_new(NULL, NULL);
	if (!ctx)
		return op_result(op, -ENOMEM);
	kmod_set_log_priority(ctx, 0);
	r = kmod_load(ctx, op->request->name);
	kmod_unref(ctx);
	return op_result(op, r);
}

/* Documentation/admin-guide/mm/hugetlbpage.rst: it may give fewer than asked for, and says so. */
enum privd_status op_hugepages(struct op *op)
{
	const struct privd_request *r = op->request;
	char path[OP_PATH], text[24];
	enum privd_status status;
	int n;

	if (r->node < -1 || r->node > UINT16_MAX || !r->size_kib || (r->size_kib & (r->size_kib - 1)))
		return PRIVD_RANGE;
	if (r->node < 0)
		snprintf(path, sizeof(path), "sys/kernel/mm/hugepages/hugepages-%ukB/nr_hugepages",
			 r->size_kib);
	else
		snprintf(path, sizeof(path),
			 "sys/devices/system/node/node%d/hugepages/hugepages-%ukB/nr_hugepages",
			 r->node, r->size_kib);
	snprintf(text, sizeof(text), "%llu", (unsigned long long)r->value);
	status = op_write(op, path, text);
	if (status != PRIVD_OK)
		return status;
	n = fdpath_read_u64(op->root->fd, path, &op->value);
	return op_result(op, n);
}

enum privd_status op_read_iomem(struct op *op)
{
	return op_answer_file(op, "proc/iomem", IOMEM_MAX);
}
