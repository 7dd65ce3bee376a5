/* SPDX-License-Identifier: Apache-2.0 */
/* See vm_replies.h. What is current is this file's and under its lock. */
#include "api/vm_replies.h"

#include <stdlib.h>
#include <string.h>

#include "base/lock.h"

static struct lock replies_lock = LOCK_INIT;
static struct vm_replies *current GUARDED_BY(replies_lock);

static void swap(struct vm_replies *replies)
{
	struct vm_replies *old;

	lock_take(&replies_lock);
	old = current;
	current = replies;
	lock_give(&replies_lock);
	vm_replies_release(old);
}

struct vm_replies *vm_replies_acquire(void)
{
	struct vm_replies *replies;

	lock_take(&replies_lock);
	replies = current;
	if (replies)
		__atomic_add_fetch(&replies->refs, 1, __ATOMIC_RELAXED);
	lock_give(&replies_lock);
	return replies;
}

void vm_replies_release(struct vm_replies *replies)
{
	if (!replies || __atomic_sub_fetch(&replies->refs, 1, __ATOMIC_ACQ_REL))
		return;
	for (LIST_EACH(struct vm_reply, r, &replies->replies))
		body_unref(r->body);
	body_unref(replies->list);
	arena_free(replies->arena);
	free(replies);
}

static struct vm_replies *new_replies(void)
{
	struct vm_replies *replies = calloc(1, sizeof(*replies));

	if (!replies)
		abort();
	replies->refs = 1;
	replies->arena = arena_new();
	return replies;
}

/* query NULL: all. */
static struct body *join(const struct vm_replies *replies, const struct wire_vm_query *query)
{
	CLEAN_FREE const struct body **parts = calloc(replies->replies.n + 1, sizeof(*parts));
	size_t n = 0;

	if (!parts)
		abort();
	for (LIST_EACH(const struct vm_reply, r, &replies->replies))
		if (!query || query->state < 0 || query->state == r->state)
			parts[n++] = r->body;
	return body_join(parts, n);
}

void vm_replies_publish(const char *node, const struct list *views)
{
	struct vm_replies *replies = new_replies();
	struct vm_reply *r;

	replies->node = arena_strdup(replies->arena, node);
	for (LIST_EACH(const struct wire_vm, vm, views)) {
		r = list_add(replies->arena, &replies->replies, struct vm_reply);
		*r = (struct vm_reply){ arena_strdup(replies->arena, vm->spec.id), vm->state,
					body_rows(wire_vm_rows, vm) };
	}
	replies->list = join(replies, NULL);
	swap(replies);
}

void vm_replies_unknown(const struct error *why)
{
	struct vm_replies *replies = new_replies();

	replies->why = *why;
	swap(replies);
}

void vm_replies_forget(void)
{
	swap(NULL);
}

const struct vm_reply *vm_replies_find(const struct vm_replies *replies, const char *id)
{
	for (LIST_EACH(const struct vm_reply, r, &replies->replies))
		if (!strcmp(r->id, id))
			return r;
	return NULL;
}

struct body *vm_replies_list(const struct vm_replies *replies, const struct wire_vm_query *query)
{
	if (query->node && strcmp(query->node, replies->node ?: ""))
		return body_join(NULL, 0);
	return query->state < 0 ? body_ref(replies->list) : join(replies, query);
}
