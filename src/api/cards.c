/* SPDX-License-Identifier: Apache-2.0 */
/* See cards.h. What is current is this file's and under its lock. */
#include "api/cards.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/lock.h"

static struct lock cards_lock = LOCK_INIT;
static struct cards *current GUARDED_BY(cards_lock);

static void swap(struct cards *cards)
{
	struct cards *old;

	lock_take(&cards_lock);
	old = current;
	current = cards;
	lock_give(&cards_lock);
	cards_release(old);
}

struct cards *cards_acquire(void)
{
	struct cards *cards;

	lock_take(&cards_lock);
	cards = current;
	if (cards)
		__atomic_add_fetch(&cards->refs, 1, __ATOMIC_RELAXED);
	lock_give(&cards_lock);
	return cards;
}

void cards_release(struct cards *cards)
{
	if (!cards || __atomic_sub_fetch(&cards->refs, 1, __ATOMIC_ACQ_REL))
		return;
	for (LIST_EACH(struct card_reply, r, &cards->replies)) {
		body_unref(r->device);
		body_unref(r->group);
	}
	body_unref(cards->list);
	body_unref(cards->iommu);
	inventory_release(cards->inventory);
	if (cards->release)
		cards->release(cards->keep);
	arena_free(cards->arena);
	free(cards);
}

void cards_forget(void)
{
	swap(NULL);
}

/* ---- making them ---- */

static struct body *group_of(const struct gpu_facts *facts, const struct function *f)
{
	CLEANUP(arena_freep) struct arena *arena = arena_new();
	struct list members;

	gpu_view_group(facts, f, arena, &members);
	return body_json(TYPE_JSON,
			 rows_emit_list(wire_member_rows, sizeof(struct wire_member), &members));
}

static void add_reply(struct cards *cards, const struct gpu_facts *facts, const struct function *f)
{
	CLEANUP(arena_freep) struct arena *arena = arena_new();
	struct card_reply *r = list_add(cards->arena, &cards->replies, struct card_reply);
	struct wire_device device;

	gpu_view_device(facts, f, arena, &device);
	*r = (struct card_reply){
		.function = f,
		.listed = function_is_gpu(f, &facts->inventory->filter),
		.device = body_json(TYPE_JSON, rows_emit(wire_device_rows, &device)),
		.group = group_of(facts, f),
		.driver = f->driver,
		.vendor_id = arena_strdup(cards->arena, device.vendor_id),
		.vendor_name = arena_strdup(cards->arena, device.vendor_name),
		.state = device.state,
	};
}

static bool matches(const struct card_reply *r, const struct wire_device_query *q)
{
	if (q->driver && strcmp(r->driver ?: "none", q->driver))
		return false;
	if (q->state >= 0 && r->state != q->state)
		return false;
	return !q->vendor || (r->vendor_id && !strcasecmp(r->vendor_id, q->vendor)) ||
	       (r->vendor_name && !strncasecmp(r->vendor_name, q->vendor, strlen(q->vendor)));
}

/* query NULL: all. */
static struct body *join(const struct cards *cards, const struct wire_device_query *query)
{
	CLEAN_FREE const struct body **parts = calloc(cards->replies.n + 1, sizeof(*parts));
	size_t n = 0;

	if (!parts)
		abort();
	for (LIST_EACH(const struct card_reply, r, &cards->replies))
		if (r->listed && (!query || matches(r, query)))
			parts[n++] = r->device;
	return body_join(parts, n);
}

static struct body *iommu_of(const struct gpu_facts *facts)
{
	CLEANUP(arena_freep) struct arena *arena = arena_new();
	struct wire_iommu iommu;

	gpu_view_iommu(facts, arena, &iommu);
	return body_json(TYPE_JSON, rows_emit(wire_iommu_rows, &iommu));
}

void cards_publish(const struct doctor_facts *whole, void *keep, void (*release)(void *keep))
{
	struct cards *cards = calloc(1, sizeof(*cards));
	const struct gpu_facts *facts = &whole->gpu;

	if (!cards)
		abort();
	cards->refs = 1;
	cards->arena = arena_new();
	cards->inventory = inventory_acquire();
	cards->facts = *whole;
	cards->keep = keep;
	cards->release = release;
	cards->node = arena_strdup(cards->arena, facts->node);
	for (LIST_EACH(struct function *, f, &facts->inventory->functions))
		if (function_is_gpu(*f, &facts->inventory->filter) ||
		    inventory_card(facts->inventory, (*f)->address))
			add_reply(cards, facts, *f);
	cards->list = join(cards, NULL);
	cards->iommu = iommu_of(facts);
	swap(cards);
}

/* ---- using them ---- */

const struct card_reply *cards_find(const struct cards *cards, struct pci_address address)
{
	const struct card_reply *replies = cards->replies.items;
	size_t low = 0, high = cards->replies.n;

	while (low < high) {
		size_t middle = (low + high) / 2;
		int order = pci_address_compare(address, replies[middle].function->address);

		if (!order)
			return &replies[middle];
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}

struct body *cards_list(const struct cards *cards, const struct wire_device_query *q)
{
	if (!q->driver && !q->vendor && !q->node && q->state < 0)
		return body_ref(cards->list);
	if (q->node && strcmp(q->node, cards->node ?: ""))
		return body_join(NULL, 0);
	return join(cards, q);
}
