/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What privd reads with the eyes of src/host, because only root sees it all: who holds a card, and
 * what the host lives on. When something cannot be read, nothing is told but why.
 */
#include <stdio.h>
#include <string.h>

#include "host/critical.h"
#include "host/holders.h"
#include "privd/ops.h"

#define PUT(field, text) snprintf(field, sizeof(field), "%s", (text) ?: "")

/* The reason goes out as the long answer. */
static enum privd_status unreadable(struct op *op, const struct error *err)
{
	op->length = 0;
	op_answer(op, err->message, strlen(err->message));
	return PRIVD_UNREADABLE;
}

static enum privd_status functions_read(struct op *op, struct arena *arena, struct list *functions)
{
	const struct privd_request *r = op->request;
	struct error err = { 0 };

	for (uint32_t i = 0; i < r->n_addresses; i++) {
		struct pci_address address = privd_address_in(r->addresses[i]);
		struct function *f = NULL;

		if (function_read_brief(op->root, address, &f, &err) < 0)
			return PRIVD_NO_DEVICE;
		*list_add(arena, functions, struct function *) = f;
	}
	return PRIVD_OK;
}

static enum privd_status holder_out(struct op *op, const struct holder *holder)
{
	struct privd_holder out = { .pid = holder->pid, .address = privd_address_out(holder->address) };

	PUT(out.kind, holder->kind);
	PUT(out.name, holder->name);
	PUT(out.node, holder->node);
	PUT(out.since, holder->since);
	PUT(out.unit, holder->unit);
	return op_answer(op, &out, sizeof(out));
}

static enum privd_status holders_of(struct op *op, struct arena *arena,
				    const struct list *functions)
{
	enum privd_status status = PRIVD_OK;
	struct list holders = { 0 };
	struct error err = { 0 };

	if (holders_find(op->root, functions, arena, &holders, &err) < 0)
		return unreadable(op, &err);
	for (LIST_EACH(struct holder, h, &holders))
		if (status == PRIVD_OK)
			status = holder_out(op, h);
	return status;
}

enum privd_status op_read_holders(struct op *op)
{
	CLEANUP(arena_freep) struct arena *arena = arena_new();
	struct list functions = { 0 };
	enum privd_status status = functions_read(op, arena, &functions);

	if (status == PRIVD_OK)
		status = holders_of(op, arena, &functions);
	for (LIST_EACH(struct function *, f, &functions))
		function_unref(*f);
	return status;
}

static enum privd_status critical_out(struct op *op, const struct critical *critical)
{
	struct privd_critical out = { .address = privd_address_out(critical->address) };

	PUT(out.code, critical->code);
	PUT(out.why, critical->why);
	PUT(out.evidence, critical->evidence);
	return op_answer(op, &out, sizeof(out));
}

static int find_all(const struct op *op, struct arena *arena, struct list *critical,
		    struct error *err)
{
	CLEANUP(inventory_releasep) struct inventory *inventory = NULL;
	struct inventory_changes all = { .all = true, .brief = true };
	struct class_filter filter = { .n_extra = (int)op->request->n_classes };

	memcpy(filter.extra, op->request->classes, sizeof(filter.extra));
	inventory = inventory_build(op->root, &filter, NULL, NULL, &all, err);
	return inventory ? critical_find(op->root, inventory, arena, critical, err) : -1;
}

enum privd_status op_read_critical(struct op *op)
{
	CLEANUP(arena_freep) struct arena *arena = arena_new();
	const struct privd_request *r = op->request;
	enum privd_status status = PRIVD_OK;
	struct list critical = { 0 }, addresses = { 0 };
	struct error err = { 0 };
	int n;

	for (uint32_t i = 0; i < r->n_addresses; i++)
		*list_add(arena, &addresses, struct pci_address) = privd_address_in(r->addresses[i]);
	n = addresses.n ? critical_carried(op->root, &addresses, arena, &critical, &err)
			: find_all(op, arena, &critical, &err);
	if (n < 0)
		return unreadable(op, &err);
	for (LIST_EACH(struct critical, c, &critical))
		if (status == PRIVD_OK)
			status = critical_out(op, c);
	return status;
}
