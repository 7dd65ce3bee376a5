/* SPDX-License-Identifier: Apache-2.0 */
/* What concerns the host as a whole: modules, huge pages, /proc/iomem. */
#include <dlfcn.h>
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

/*
 * libkmod is opened here, in the child that needs it: linked to, it and the libcrypto behind it
 * would be two thirds of what privd keeps in memory for good. The types are those of the header.
 */
struct kmod_calls {
	__typeof__(kmod_new) *new;
	__typeof__(kmod_set_log_priority) *set_log_priority;
	__typeof__(kmod_module_new_from_lookup) *lookup;
	__typeof__(kmod_list_next) *next;
	__typeof__(kmod_module_get_module) *module;
	__typeof__(kmod_module_probe_insert_module) *insert;
};

static bool kmod_open(struct kmod_calls *calls)
{
	void *library = dlopen("libkmod.so.2", RTLD_NOW);

	if (!library)
		return false;
	*(void **)&calls->new = dlsym(library, "kmod_new");
	*(void **)&calls->set_log_priority = dlsym(library, "kmod_set_log_priority");
	*(void **)&calls->lookup = dlsym(library, "kmod_module_new_from_lookup");
	*(void **)&calls->next = dlsym(library, "kmod_list_next");
	*(void **)&calls->module = dlsym(library, "kmod_module_get_module");
	*(void **)&calls->insert = dlsym(library, "kmod_module_probe_insert_module");
	return calls->new && calls->set_log_priority && calls->lookup && calls->next &&
	       calls->module && calls->insert;
}

/* Nothing is given back: this process ends with the operation. */
static int kmod_load(const char *name)
{
	struct kmod_calls kmod;
	struct kmod_ctx *ctx;
	struct kmod_list *list = NULL, *item;
	int r;

	if (!kmod_open(&kmod))
		return -ELIBACC;
	ctx = kmod.new(NULL, NULL);
	if (!ctx)
		return -ENOMEM;
	kmod.set_log_priority(ctx, 0);
	r = kmod.lookup(ctx, name, &list);
	if (!r && !list)
		return -ENOENT;
	for (item = list; item && !r; item = kmod.next(list, item))
		r = kmod.insert(kmod.module(item), KMOD_PROBE_APPLY_BLACKLIST, NULL, NULL, NULL,
				NULL);
	return r > 0 ? -EPERM : r; /* above 0: it is on a blacklist */
}

enum privd_status op_module(struct op *op)
{
	if (!module_allowed(op->request->name))
		return PRIVD_NO_DRIVER;
	if (!op->root->real) /* a module would go into this machine, whatever the tree stands for */
		return PRIVD_NOT_HERE;
	return op_result(op, kmod_load(op->request->name));
}

/* Documentation/admin-guide/mm/hugetlbpage.rst: it may give fewer than asked for, and says so. */
enum privd_status op_hugepages(struct op *op)
{
	const struct privd_request *r = op->request;
	char path[OP_PATH], text[24];
	enum privd_status status;
	int n;

	if (r->node < -1 || r->node > UINT16_MAX || !r->size_kib ||
	    (r->size_kib & (r->size_kib - 1)))
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
