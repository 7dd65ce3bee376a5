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
	for (size_t i = 0; i < CARDS_LISTS; i++)
		body_unref(cards->shared[i]);
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

/* Two threads may make the same: the first one's stays. Takes the reference to made; a new reference. */
static struct body *keep_first(struct body **place, struct body *made)
{
	struct body *first = NULL;

	if (__atomic_compare_exchange_n(place, &first, made, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		return body_ref(made);
	body_unref(made);
	return body_ref(first);
}

/* What was made before; NULL: nothing yet. */
static struct body *kept(struct body *const *place)
{
	struct body *body = __atomic_load_n(place, __ATOMIC_ACQUIRE);

	return body ? body_ref(body) : NULL;
}

struct body *cards_device(const struct cards *cards, struct card_reply *reply)
{
	CLEANUP(arena_freep) struct arena *arena = NULL;
	struct body *body = kept(&reply->device);
	struct wire_device device;

	if (body)
		return body;
	arena = arena_new();
	gpu_view_device(&cards->facts.gpu, reply->function, arena, &device);
	return keep_first(&reply->device, body_rows(wire_device_rows, &device));
}

struct body *cards_group(const struct cards *cards, struct card_reply *reply)
{
	CLEANUP(arena_freep) struct arena *arena = NULL;
	struct body *body = kept(&reply->group);
	struct list members;

	if (body)
		return body;
	arena = arena_new();
	gpu_view_group(&cards->facts.gpu, reply->function, arena, &members);
	return keep_first(&reply->group, body_rows_list(wire_member_rows, sizeof(struct wire_member), &members));
}

struct body *cards_iommu(struct cards *cards)
{
	CLEANUP(arena_freep) struct arena *arena = NULL;
	struct body *body = kept(&cards->iommu);
	struct wire_iommu iommu;

	if (body)
		return body;
	arena = arena_new();
	gpu_view_iommu(&cards->facts.gpu, arena, &iommu);
	return keep_first(&cards->iommu, body_rows(wire_iommu_rows, &iommu));
}

struct body *cards_profiles(const struct cards *cards, const char *device, bool fits)
{
	CLEANUP(arena_freep) struct arena *arena = arena_new();
	struct list shared, profiles;

	vgpu_catalogue(&cards->facts.gpu, cards->offers, arena, &shared);
	vgpu_profiles(&shared, device, fits, arena, &profiles);
	return body_rows_list(wire_profile_rows, sizeof(struct wire_profile), &profiles);
}

static struct body *make_shared(const struct cards *cards, enum cards_shared which)
{
	CLEANUP(arena_freep) struct arena *arena = NULL;
	struct list shared, instances;

	if (which == CARDS_PROFILES)
		return cards_profiles(cards, NULL, false);
	arena = arena_new();
	vgpu_catalogue(&cards->facts.gpu, cards->offers, arena, &shared);
	if (which == CARDS_SHARED)
		return body_rows_list(wire_shared_rows, sizeof(struct wire_shared), &shared);
	vgpu_instances(&shared, arena, &instances);
	return body_rows_list(wire_instance_rows, sizeof(struct wire_instance), &instances);
}

struct body *cards_shared(struct cards *cards, enum cards_shared which)
{
	struct body *body = kept(&cards->shared[which]);

	return body ?: keep_first(&cards->shared[which], make_shared(cards, which));
}

void cards_publish(const struct doctor_facts *whole, const struct list *offers, void *keep,
		   void (*release)(void *keep))
{
	struct cards *cards = calloc(1, sizeof(*cards));
	const struct inventory *inv = whole->gpu.inventory;

	if (!cards)
		abort();
	cards->refs = 1;
	cards->arena = arena_new();
	cards->inventory = inventory_acquire();
	cards->facts = *whole;
	cards->offers = offers;
	cards->keep = keep;
	cards->release = release;
	cards->node = arena_strdup(cards->arena, whole->gpu.node);
	for (LIST_EACH(struct function *, f, &inv->functions)) {
		bool listed = function_is_gpu(*f, &inv->filter);

		if (listed || inventory_card(inv, (*f)->address))
			*list_add(cards->arena, &cards->replies, struct card_reply) =
				(struct card_reply){ .function = *f, .listed = listed };
	}
	swap(cards);
}

/* ---- using them ---- */

struct card_reply *cards_find(const struct cards *cards, struct pci_address address)
{
	struct card_reply *replies = cards->replies.items;
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

static bool matches(const struct cards *cards, const struct function *f, const struct wire_device_query *q)
{
	CLEANUP(arena_freep) struct arena *arena = NULL;
	struct wire_device device;

	if (q->driver && strcmp(f->driver ?: "none", q->driver))
		return false;
	if (q->state < 0 && !q->vendor)
		return true;
	arena = arena_new();
	gpu_view_device(&cards->facts.gpu, f, arena, &device);
	if (q->state >= 0 && device.state != q->state)
		return false;
	return !q->vendor || (device.vendor_id && !strcasecmp(device.vendor_id, q->vendor)) ||
	       (device.vendor_name && !strncasecmp(device.vendor_name, q->vendor, strlen(q->vendor)));
}

/* query NULL: all. */
static struct body *join(const struct cards *cards, const struct wire_device_query *query)
{
	CLEAN_FREE struct body **parts = calloc(cards->replies.n + 1, sizeof(*parts));
	struct body *body;
	size_t n = 0;

	if (!parts)
		abort();
	for (LIST_EACH(struct card_reply, r, &cards->replies))
		if (r->listed && (!query || matches(cards, r->function, query)))
			parts[n++] = cards_device(cards, r);
	body = body_join((const struct body *const *)parts, n);
	for (size_t i = 0; i < n; i++)
		body_unref(parts[i]);
	return body;
}

struct body *cards_list(struct cards *cards, const struct wire_device_query *q)
{
	struct body *body;

	if (q && q->node && strcmp(q->node, cards->node ?: ""))
		return body_join(NULL, 0);
	if (q && (q->driver || q->vendor || q->state >= 0))
		return join(cards, q);
	body = kept(&cards->list);
	return body ?: keep_first(&cards->list, join(cards, NULL));
}
