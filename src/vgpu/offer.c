/* SPDX-License-Identifier: Apache-2.0 */
/* See offer.h. */
#include "vgpu/offer.h"

#include <stdlib.h>
#include <string.h>

#include "base/id.h"
#include "base/rows.h"

bool vgpu_is_device(const struct inventory *inv, const struct function *f)
{
	return f->vgpu && !f->physfn && function_is_gpu(f, &inv->filter);
}

/* ---- one offer ---- */

static void offer_unref(struct vgpu_offer *offer)
{
	if (!offer || __atomic_sub_fetch(&offer->refs, 1, __ATOMIC_ACQ_REL))
		return;
	for (LIST_EACH(struct function *, f, &offer->from))
		function_unref(*f);
	arena_free(offer->arena);
	free(offer);
}

static void add_source(struct vgpu_offer *offer, struct function *f)
{
	*list_add(offer->arena, &offer->from, struct function *) = function_ref(f);
}

static struct vgpu_offer *offer_new(const struct inventory *inv, struct function *pf)
{
	struct vgpu_offer *offer = calloc(1, sizeof(*offer));
	struct function *vf;

	if (!offer)
		abort();
	offer->refs = 1;
	offer->arena = arena_new();
	offer->address = pf->address;
	offer->interface = arena_strdup(offer->arena, pf->vgpu);
	offer->types.null = offer->set.null = true;
	offer->read_at = time_monotonic_ms();
	add_source(offer, pf);
	for (size_t i = 0; pf->sriov && i < pf->sriov->vfs.n; i++) {
		vf = inventory_function(inv, ((const struct pci_address *)pf->sriov->vfs.items)[i]);
		if (vf)
			add_source(offer, vf);
	}
	return offer;
}

static bool same_sources(const struct vgpu_offer *a, const struct vgpu_offer *b)
{
	return a->from.n == b->from.n && !strcmp(a->interface, b->interface) &&
	       !memcmp(a->from.items, b->from.items, a->from.n * sizeof(struct function *));
}

const struct vgpu_type *vgpu_offer_type(const struct vgpu_offer *offer, const char *id)
{
	for (LIST_EACH(const struct vgpu_type, type, &offer->types))
		if (!strcmp(type->id, id))
			return type;
	return NULL;
}

/* ---- types ---- */

static struct vgpu_type *add_type(struct vgpu_offer *offer, const struct vgpu_type *type)
{
	struct vgpu_type *to = list_add(offer->arena, &offer->types, struct vgpu_type);

	*to = *type;
	to->id = arena_strdup(offer->arena, type->id);
	to->name = arena_strdup(offer->arena, type->name);
	to->description = arena_strdup(offer->arena, type->description);
	return to;
}

/* What was counted, with the words that are known from before. False: one of them is new. */
static bool put_counts(struct vgpu_offer *offer, const struct vgpu_offer *old, const struct list *raw)
{
	const struct vgpu_type *known;
	struct vgpu_type *type;

	for (LIST_EACH(const struct privd_type, r, raw)) {
		known = vgpu_offer_type(old, r->id);
		if (!known)
			return false;
		type = add_type(offer, known);
		type->available = r->available < 0 ? ROW_NULL : r->available;
		type->offered = true;
	}
	return true;
}

static void put_whole(struct vgpu_offer *offer, const struct list *raw)
{
	for (LIST_EACH(const struct privd_type, r, raw))
		add_type(offer, &(struct vgpu_type){
					.id = r->id,
					.name = r->name[0] ? r->name : NULL,
					.description = r->description[0] ? r->description : NULL,
					.available = r->available < 0 ? ROW_NULL : r->available,
					.offered = true });
}

static int ask_types(const struct vgpu_reader *reader, struct vgpu_offer *offer,
		     const struct function *f, enum privd_types value, struct arena *arena, struct list *raw)
{
	struct error err;

	*raw = (struct list){ 0 };
	offer->types = (struct list){ 0 };
	if (reader->types(reader->privd, f->address, value, arena, raw, &err) >= 0)
		return 0;
	offer->types.null = true;
	offer->types_unknown = arena_strdup(offer->arena, err.message);
	return -1;
}

static void read_types(const struct vgpu_reader *reader, const struct vgpu_offer *old,
		       const struct function *f, struct vgpu_offer *offer)
{
	CLEANUP(arena_freep) struct arena *arena = arena_new();
	struct list raw;

	if (old && old->types.n) {
		if (ask_types(reader, offer, f, PRIVD_TYPES_COUNTS, arena, &raw) < 0 ||
		    put_counts(offer, old, &raw))
			return;
	}
	if (ask_types(reader, offer, f, PRIVD_TYPES_WHOLE, arena, &raw) >= 0)
		put_whole(offer, &raw);
}

/* ---- by interface ---- */

static void read_card(const struct vgpu_reader *reader, const struct vgpu_offer *old,
		      struct vgpu_offer *offer)
{
	read_types(reader, old, *(struct function **)offer->from.items, offer);
}

/* A VF that has an instance offers nothing more, so one without tells what fits; names tell all. */
static void read_mdev_vfs(const struct vgpu_reader *reader, const struct vgpu_offer *old,
			  struct vgpu_offer *offer)
{
	const struct function *ask = NULL;

	for (LIST_EACH(struct function *, f, &offer->from)) {
		if (!(*f)->physfn || !(*f)->vgpu || strcmp((*f)->vgpu, "mdev_per_vf"))
			continue;
		if (!ask || (ask->mdevs.n && !(*f)->mdevs.n))
			ask = *f;
	}
	if (ask)
		read_types(reader, old, ask, offer);
	else
		offer->types_unknown = "none of its VFs is on the driver that tells them";
}

static void put_set(struct vgpu_offer *offer, const struct privd_vf_type *vf)
{
	struct vgpu_set *set;

	if (!vf->type && !vf->error)
		return;
	set = list_add(offer->arena, &offer->set, struct vgpu_set);
	set->vf = privd_address_in(vf->address);
	if (!vf->error)
		set->type = arena_printf(offer->arena, "%llu", (unsigned long long)vf->type);
}

/* A VF without a type, which is the one to ask what fits; NULL: there is none, or it is unknown. */
static const struct function *read_set(const struct vgpu_reader *reader, struct vgpu_offer *offer)
{
	CLEANUP(arena_freep) struct arena *arena = arena_new();
	const struct function *first = NULL;
	struct list vfs = { 0 }, raw = { 0 };
	struct error err;

	for (LIST_EACH(struct function *, f, &offer->from))
		if ((*f)->physfn && (*f)->vgpu && !strcmp((*f)->vgpu, "vendor_vf"))
			*list_add(arena, &vfs, struct pci_address) = (*f)->address;
	if (reader->vf_types(reader->privd, &vfs, arena, &raw, &err) < 0) {
		offer->set_unknown = offer->types_unknown = arena_strdup(offer->arena, err.message);
		return NULL;
	}
	offer->set = (struct list){ 0 };
	for (LIST_EACH(const struct privd_vf_type, vf, &raw)) {
		put_set(offer, vf);
		for (LIST_EACH(struct function *, f, &offer->from))
			if (!first && !vf->type && !vf->error &&
			    pci_address_equal((*f)->address, privd_address_in(vf->address)))
				first = *f;
	}
	return first;
}

/*
 * The driver names only what can be made: what it named before and does not now is out. It is known as long as
 * this process runs.
 */
static void remember(const struct vgpu_offer *old, struct vgpu_offer *offer)
{
	if (!old || (offer->types.null && !old->types.n))
		return;
	for (LIST_EACH(const struct vgpu_type, type, &old->types))
		if (!vgpu_offer_type(offer, type->id))
			add_type(offer, type)->offered = false;
	offer->types.null = false;
}

static void read_vendor_vfs(const struct vgpu_reader *reader, const struct vgpu_offer *old,
			    struct vgpu_offer *offer)
{
	CLEANUP(arena_freep) struct arena *arena = arena_new();
	const struct function *ask = read_set(reader, offer);
	struct list raw;

	if (offer->set.null)
		return;
	if (!ask)
		offer->types_unknown = "the driver tells them to a free VF alone, and none is free";
	else if (ask_types(reader, offer, ask, PRIVD_TYPES_WHOLE, arena, &raw) < 0)
		return;
	else
		put_whole(offer, &raw);
	remember(old, offer);
}

/* Plain VFs have no types. */
static const struct {
	const char *interface;
	void (*read)(const struct vgpu_reader *reader, const struct vgpu_offer *old,
		     struct vgpu_offer *offer);
} kinds[] = {
	{ "mdev", read_card },
	{ "mdev_per_vf", read_mdev_vfs },
	{ "vendor_vf", read_vendor_vfs },
};

/* ---- all ---- */

static struct vgpu_offer *find(const struct list *offers, struct pci_address address)
{
	for (LIST_EACH(struct vgpu_offer *, offer, offers))
		if (pci_address_equal((*offer)->address, address))
			return *offer;
	return NULL;
}

const struct vgpu_offer *vgpu_offer_of(const struct list *offers, struct pci_address address)
{
	return find(offers, address);
}

/* Takes the reference to made. */
static struct vgpu_offer *old_or_read(const struct vgpu_reader *reader, struct vgpu_offer *old,
				      uint64_t before, struct vgpu_offer *made)
{
	if (old && old->read_at > before && same_sources(old, made)) {
		offer_unref(made);
		__atomic_add_fetch(&old->refs, 1, __ATOMIC_RELAXED);
		return old;
	}
	if (old && strcmp(old->interface, made->interface))
		old = NULL;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (!strcmp(kinds[i].interface, made->interface))
			kinds[i].read(reader, old, made);
	return made;
}

void vgpu_offers_read(const struct vgpu_reader *reader, const struct inventory *inv,
		      const struct list *old, uint64_t before, struct arena *arena, struct list *out)
{
	struct vgpu_offer *offer;

	*out = (struct list){ 0 };
	for (LIST_EACH(struct function *, f, &inv->functions)) {
		if (!vgpu_is_device(inv, *f))
			continue;
		offer = find(old, (*f)->address);
		*list_add(arena, out, struct vgpu_offer *) =
			old_or_read(reader, offer, before, offer_new(inv, *f));
	}
}

void vgpu_offers_release(struct list *offers)
{
	for (LIST_EACH(struct vgpu_offer *, offer, offers))
		offer_unref(*offer);
	*offers = (struct list){ 0 };
}
