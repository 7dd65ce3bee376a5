/* SPDX-License-Identifier: Apache-2.0 */
/* See catalogue.h. */
#include "vgpu/catalogue.h"

#include <string.h>

#include "gpu/names.h"
#include "gpu/record.h"
#include "gpu/unit.h"
#include "vgpu/profile.h"

/* An instance there is. */
struct live {
	const struct function *on;	/* its VF, or the card */
	const struct mdev *mdev;	/* NULL: it is none */
	const char *id;			/* of its type; NULL: it cannot be told */
	const struct vgpu_type *type;	/* NULL: the driver told nothing of it */
};

struct sight;

/* One for each kernel interface. Plain VFs have no profiles, and are no instances: no functions. */
struct backend {
	const char *interface;
	bool vfs; /* its instances are on VFs */
	void (*find_live)(struct sight *s);
	void (*count)(const struct sight *s, const struct vgpu_type *type, struct wire_profile *out);
};

/* One card while it is looked at. */
struct sight {
	const struct gpu_facts *facts;
	const struct function *pf;
	const struct vgpu_offer *offer; /* NULL: its driver was not asked */
	const char *not_asked;		/* then: why */
	const struct backend *backend;
	struct list live; /* struct live */
	int64_t free_vfs; /* ROW_NULL: that is unknown, or it has none */
	int64_t live_mb;  /* framebuffer of all that are live; ROW_NULL: unknown, or not one size */
	bool live_sizes;  /* they are known to be of several sizes */
	bool live_mig;	  /* one of them is backed by a GPU instance */
	struct arena *arena;
	struct wire_shared *out;
};

static void unknown(struct arena *arena, struct list *list, const char *field, const char *why)
{
	*list_add(arena, list, struct row_pair) = (struct row_pair){ field, why };
}

/* ---- types ---- */

static const char *directory_of(const char *interface, const char *id, struct arena *arena)
{
	return strcmp(interface, "vendor_vf") ? id : arena_printf(arena, "nvidia-%s", id);
}

/* Its framebuffer in MiB: what the driver says of it, else what its name does; ROW_NULL. */
static int64_t framebuffer_of(const struct vgpu_type *type, const struct profile *said)
{
	struct profile_name name;

	if (said->framebuffer_mb != ROW_NULL)
		return said->framebuffer_mb;
	return type->name && profile_name_parse(type->name, &name) ? name.framebuffer_mb : ROW_NULL;
}

static int64_t type_mb(const struct vgpu_type *type, struct arena *arena)
{
	struct profile said;

	profile_describe(type->description, arena, &said);
	return framebuffer_of(type, &said);
}

static bool type_is_mig(const struct vgpu_type *type)
{
	struct profile_name name;

	return type->name && profile_name_parse(type->name, &name) && name.mig;
}

/* ---- what is live ---- */

static void add_live(struct sight *s, const struct function *on, const struct mdev *mdev, const char *id)
{
	*list_add(s->arena, &s->live, struct live) =
		(struct live){ on, mdev, id, s->offer && id ? vgpu_offer_type(s->offer, id) : NULL };
}

static void add_mdevs(struct sight *s, const struct function *f)
{
	for (LIST_EACH(const struct mdev, mdev, &f->mdevs))
		add_live(s, f, mdev, mdev->type);
}

static const struct function *vf_at(const struct sight *s, size_t i)
{
	return inventory_function(s->facts->inventory,
				  ((const struct pci_address *)s->pf->sriov->vfs.items)[i]);
}

static size_t vfs_of(const struct sight *s)
{
	return s->pf->sriov ? s->pf->sriov->vfs.n : 0;
}

static void live_on_card(struct sight *s)
{
	add_mdevs(s, s->pf);
}

static void live_on_vfs(struct sight *s)
{
	for (size_t i = 0; i < vfs_of(s); i++)
		if (vf_at(s, i))
			add_mdevs(s, vf_at(s, i));
}

static void live_by_type(struct sight *s)
{
	const struct function *f;

	if (!s->offer || s->offer->set.null) {
		s->out->instances.null = true;
		unknown(s->arena, &s->out->unknown, "instances",
			s->offer ? s->offer->set_unknown : s->not_asked);
		return;
	}
	for (LIST_EACH(const struct vgpu_set, set, &s->offer->set)) {
		f = inventory_function(s->facts->inventory, set->vf);
		if (f)
			add_live(s, f, NULL, set->type);
	}
}

static bool is_live(const struct sight *s, const struct function *vf)
{
	for (LIST_EACH(const struct live, live, &s->live))
		if (live->on == vf)
			return true;
	return false;
}

/* Where instances are on VFs, one on another driver cannot carry any. */
static bool may_carry(const struct sight *s, const struct function *vf)
{
	return !s->backend->count || (vf->vgpu && !strcmp(vf->vgpu, s->backend->interface));
}

/* VFs that nobody has and that carry nothing. Holders that are unknown leave it unknown. */
static void count_free_vfs(struct sight *s)
{
	const struct card_record *record;
	const struct function *vf;
	struct gpu_unit unit;
	enum fact held;

	s->free_vfs = s->out->instances.null ? ROW_NULL : 0;
	for (size_t i = 0; i < vfs_of(s) && s->free_vfs != ROW_NULL; i++) {
		vf = vf_at(s, i);
		if (!vf || is_live(s, vf) || !may_carry(s, vf))
			continue;
		gpu_unit_of(s->facts->inventory, vf, &unit);
		record = record_at(s->facts->records, s->facts->inventory, vf->address);
		held = gpu_unit_held(s->facts, &unit);
		if (held == FACT_UNKNOWN)
			s->free_vfs = ROW_NULL;
		else if (held == FACT_NO && !(record && (record->owner || record->quarantined_why)))
			s->free_vfs++;
	}
}

static void find_live_sizes(struct sight *s)
{
	int64_t first = ROW_NULL, mb;
	bool all_known = true;

	for (LIST_EACH(const struct live, live, &s->live)) {
		mb = live->type ? type_mb(live->type, s->arena) : ROW_NULL;
		all_known &= mb != ROW_NULL;
		s->live_sizes |= mb != ROW_NULL && first != ROW_NULL && mb != first;
		s->live_mig |= live->type && type_is_mig(live->type);
		first = first == ROW_NULL ? mb : first;
	}
	s->live_mb = all_known && !s->live_sizes ? first : ROW_NULL;
}

/* ---- how many more ---- */

static void not_counted(const struct sight *s, struct wire_profile *out, const char *why)
{
	out->available = ROW_NULL;
	unknown(s->arena, &out->unknown, "available", why);
}

static const char not_told[] = "the driver does not tell it";

static void count_on_card(const struct sight *s, const struct vgpu_type *type, struct wire_profile *out)
{
	out->available = type->available;
	if (out->available == ROW_NULL)
		not_counted(s, out, not_told);
	else
		out->fits = out->available > 0;
}

/*
 * A VF says 1 while one more fits on the whole card. How many follows from the most that the card
 * carries, as long as all are of one size.
 */
static void count_on_vfs(const struct sight *s, const struct vgpu_type *type, struct wire_profile *out)
{
	int64_t left = ROW_NULL;

	if (type->available == ROW_NULL)
		return not_counted(s, out, not_told);
	out->fits = type->available > 0 && s->free_vfs;
	if (!out->fits) {
		out->available = 0;
		return;
	}
	if (out->max_instances != ROW_NULL && s->out->mode != VGPU_MIXED && s->out->mode != VGPU_MIG &&
	    (!s->live.n || s->live_mb != ROW_NULL))
		left = out->max_instances - (int64_t)s->live.n;
	if (left < 1 && s->free_vfs != 1)
		return not_counted(s, out, "the driver says that one more fits, not how many");
	out->available = left < 1 || (s->free_vfs != ROW_NULL && s->free_vfs < left) ? s->free_vfs : left;
}

static void count_by_type(const struct sight *s, const struct vgpu_type *type, struct wire_profile *out)
{
	out->fits = type->offered && s->free_vfs;
	if (!out->fits)
		out->available = 0;
	else if (s->free_vfs == 1)
		out->available = 1;
	else
		not_counted(s, out, "the driver says that one more fits, not how many");
}

static const struct backend backends[] = {
	{ "mdev", false, live_on_card, count_on_card },
	{ "mdev_per_vf", true, live_on_vfs, count_on_vfs },
	{ "vendor_vf", true, live_by_type, count_by_type },
	{ "sriov", true, NULL, NULL },
};

/* ---- why not ---- */

static const char *size_text(int64_t mb, struct arena *arena)
{
	return mb % 1024 ? arena_printf(arena, "%lld MB", (long long)mb) :
			   arena_printf(arena, "%lld GB", (long long)mb / 1024);
}

static const char *why_out(const struct sight *s, const struct wire_profile *profile)
{
	const char *size;

	if (s->backend->vfs && !vfs_of(s))
		return "the card has no VFs";
	if (s->backend->vfs && !s->free_vfs)
		return arena_printf(s->arena, "none of its %zu VFs is free", vfs_of(s));
	if (s->live_mb != ROW_NULL && profile->framebuffer_mb != ROW_NULL &&
	    profile->framebuffer_mb != s->live_mb && s->out->mode == VGPU_SAME_SIZE) {
		size = size_text(s->live_mb, s->arena);
		return arena_printf(s->arena, "carries %s %s type; only %s types fit",
				    *size == '8' || !strncmp(size, "11 ", 3) || !strncmp(size, "18 ", 3) ? "an" :
													  "a",
				    size, size);
	}
	if (s->live.n)
		return arena_printf(s->arena, "the driver offers no more beside the %zu instance%s there",
				    s->live.n, s->live.n == 1 ? "" : "s");
	if (profile->mig == 1)
		return "the driver offers none: it needs a GPU instance of the card (nvidia-smi mig)";
	if (s->pf->driver && !strcmp(s->pf->driver, "i915"))
		return "the driver offers none, though the card carries nothing: the graphics aperture, which "
		       "the firmware's setup sets, is too small for it";
	return "the driver offers none, though the card carries nothing";
}

/* ---- one profile ---- */

/* Lines become one. */
static const char *one_line(const char *text, struct arena *arena)
{
	const char *all = NULL;
	size_t n;

	for (; text && *text; text += n + !!text[n]) {
		n = strcspn(text, "\n");
		if (n)
			all = all ? arena_printf(arena, "%s, %.*s", all, (int)n, text) :
				    arena_strndup(arena, text, n);
	}
	return all;
}

static void set_words(const struct sight *s, const struct vgpu_type *type, struct wire_profile *out)
{
	struct profile_name name;
	bool named = type->name && profile_name_parse(type->name, &name);

	out->name = directory_of(s->pf->vgpu, type->id, s->arena);
	out->id = type->id;
	out->vgpu_type = type->name;
	if (!type->name)
		unknown(s->arena, &out->unknown, "vgpu_type", not_told);
	out->description = one_line(type->description, s->arena);
	if (!out->description)
		unknown(s->arena, &out->unknown, "description", "the driver has none");
	out->class = named ? (int)name.class : -1;
	if (!named)
		unknown(s->arena, &out->unknown, "class", "its name does not tell it");
	out->mig = named && name.mig;
	if (s->facts->node)
		list_add_string(s->arena, &out->nodes, s->facts->node);
	list_add_string(s->arena, &out->devices, s->pf->text);
}

static void set_numbers(const struct sight *s, const struct vgpu_type *type, struct wire_profile *out)
{
	struct profile said;

	profile_describe(type->description, s->arena, &said);
	out->framebuffer_mb = framebuffer_of(type, &said);
	out->max_instances = said.max_instances;
	out->heads = said.heads;
	out->max_resolution = said.max_resolution;
	out->details = said.details;
	if (out->framebuffer_mb == ROW_NULL)
		unknown(s->arena, &out->unknown, "framebuffer_mb", not_told);
	if (out->max_instances == ROW_NULL)
		unknown(s->arena, &out->unknown, "max_instances", not_told);
	if (out->heads == ROW_NULL)
		unknown(s->arena, &out->unknown, "heads", not_told);
	if (!out->max_resolution)
		unknown(s->arena, &out->unknown, "max_resolution", not_told);
}

static void add_profile(const struct sight *s, const struct vgpu_type *type)
{
	struct wire_profile *out = list_add(s->arena, &s->out->available_profiles, struct wire_profile);

	rows_clear(wire_profile_rows, out);
	out->details = out->nodes = out->devices = out->unknown = (struct list){ 0 };
	set_words(s, type, out);
	set_numbers(s, type, out);
	s->backend->count(s, type, out);
	if (out->fits < 0)
		unknown(s->arena, &out->unknown, "fits", not_told);
	if (!out->fits)
		out->why = why_out(s, out);
}

/* ---- one instance ---- */

/*
 * Its VFIO file: that of its group; or, where VFIO's devices have files of their own, one that is the
 * instance's for certain only where its function carries no other.
 */
static enum fact is_used(const struct sight *s, const struct live *live)
{
	enum fact used = FACT_NO;
	char node[32];

	if (!s->facts->holders)
		return FACT_UNKNOWN;
	snprintf(node, sizeof(node), "/dev/vfio/%d", live->mdev ? live->mdev->group : live->on->group);
	for (LIST_EACH(const struct holder, h, s->facts->holders)) {
		if (!pci_address_equal(h->address, live->on->address) || !h->node)
			continue;
		if (!strcmp(h->node, node))
			return FACT_YES;
		if (!strncmp(h->node, "/dev/vfio/devices/", strlen("/dev/vfio/devices/")))
			used = live->on->mdevs.n > 1 ? FACT_UNKNOWN : FACT_YES;
	}
	return used;
}

static void set_use(const struct sight *s, const struct live *live, struct wire_instance *out)
{
	enum fact used = is_used(s, live);
	const struct gpu_domain *domain;
	struct gpu_unit unit;

	if (used == FACT_UNKNOWN)
		unknown(s->arena, &out->unknown, "state",
			s->facts->holders ? "whose VFIO file is open cannot be told" :
					    s->facts->holders_unknown ?: "holders were not read");
	else
		out->state = used == FACT_YES ? INSTANCE_IN_USE : INSTANCE_IDLE;
	if (live->mdev)
		return;
	gpu_unit_of(s->facts->inventory, live->on, &unit);
	domain = gpu_unit_domain(s->facts, &unit);
	out->vm = domain ? domain->vm : NULL;
}

static void add_instance(const struct sight *s, const struct live *live)
{
	struct wire_instance *out = list_add(s->arena, &s->out->instances, struct wire_instance);

	rows_clear(wire_instance_rows, out);
	out->unknown = (struct list){ 0 };
	out->uuid = live->mdev ? live->mdev->uuid : NULL;
	if (!out->uuid)
		unknown(s->arena, &out->unknown, "uuid", "the kernel has none for it");
	out->device = s->pf->text;
	out->vf = live->on == s->pf ? NULL : live->on->text;
	out->node = s->facts->node;
	if (live->id)
		out->profile = directory_of(s->pf->vgpu, live->id, s->arena);
	else
		unknown(s->arena, &out->unknown, "profile", "it could not be read");
	out->vgpu_type = live->type ? live->type->name : NULL;
	if (!out->vgpu_type)
		unknown(s->arena, &out->unknown, "vgpu_type", not_told);
	unknown(s->arena, &out->unknown, "since", "Horcrux did not make it");
	set_use(s, live, out);
}

/* ---- one card ---- */

static void no_mode(const struct sight *s, const char *why)
{
	unknown(s->arena, &s->out->unknown, "mode", why);
}

/* Is a type of another size than `mb` to be had beside those of that size? */
static bool others_fit(const struct sight *s, int64_t mb, bool *any)
{
	for (LIST_EACH(const struct vgpu_type, type, &s->offer->types)) {
		if (!type->offered || !type->available || type_is_mig(type))
			continue;
		*any = true;
		if (type_mb(type, s->arena) != mb)
			return true;
	}
	return false;
}

/* What the driver lets stand beside each other is told by what does. */
static void set_mode(const struct sight *s)
{
	bool any = false;

	if (!s->backend->count)
		return no_mode(s, "plain VFs have no profiles");
	if (!s->offer)
		return no_mode(s, s->not_asked);
	if (!s->live.n)
		return no_mode(s, "the driver does not tell it before the card carries an instance");
	if (s->live_mig)
		s->out->mode = VGPU_MIG;
	else if (s->live_sizes || (s->live_mb != ROW_NULL && others_fit(s, s->live_mb, &any)))
		s->out->mode = VGPU_MIXED;
	else if (s->live_mb == ROW_NULL)
		no_mode(s, "the sizes of its instances are not known");
	else if (any)
		s->out->mode = VGPU_SAME_SIZE;
	else
		no_mode(s, "nothing more fits, which would tell it");
}

static void set_profiles(const struct sight *s)
{
	if (!s->backend->count) {
		s->out->available_profiles = (struct list){ 0 };
		return;
	}
	if (!s->offer || s->offer->types.null) {
		unknown(s->arena, &s->out->unknown, "available_profiles",
			s->offer ? s->offer->types_unknown ?: not_told : s->not_asked);
		return;
	}
	s->out->available_profiles = (struct list){ 0 };
	for (LIST_EACH(const struct vgpu_type, type, &s->offer->types))
		add_profile(s, type);
}

/* The most of any profile; where that is not told, what free VFs allow. */
static void set_free(const struct sight *s)
{
	int64_t most = 0;

	if (s->backend->vfs && s->free_vfs == ROW_NULL && vfs_of(s)) {
		unknown(s->arena, &s->out->unknown, "free", "whether its VFs are free is not known");
		return;
	}
	for (LIST_EACH(const struct wire_profile, p, &s->out->available_profiles)) {
		if (p->available == ROW_NULL)
			most = s->backend->vfs && p->fits == 1 ? s->free_vfs : most;
		else
			most = p->available > most ? p->available : most;
	}
	if (!s->backend->count || (s->backend->vfs && s->out->available_profiles.null))
		s->out->free = s->free_vfs;
	else if (s->out->available_profiles.null)
		unknown(s->arena, &s->out->unknown, "free", "what its driver offers is not known");
	else
		s->out->free = most;
}

static void set_vendor(const struct sight *s)
{
	static const struct {
		uint16_t id;
		int kind;
		const char *name;
	} vendors[] = {
		{ 0x10de, VGPU_NVIDIA, "NVIDIA" },
		{ 0x1002, VGPU_AMD, "AMD" },
		{ 0x8086, VGPU_INTEL, "Intel" },
	};
	struct wire_shared *out = s->out;

	out->pci_id = s->pf->text;
	out->device_name = gpu_device_name(s->facts->inventory, s->pf, s->arena);
	out->vendor = gpu_vendor_name(s->facts->inventory, s->pf, s->arena);
	out->vgpu_type = VGPU_OTHER;
	out->node = s->facts->node;
	out->interface = word_find(wire_vgpu_interface_words, s->pf->vgpu);
	for (size_t i = 0; i < ARRAY_SIZE(vendors); i++)
		if (vendors[i].id == s->pf->vendor) {
			out->vgpu_type = vendors[i].kind;
			out->vendor = vendors[i].name;
		}
}

static void add_card(const struct gpu_facts *facts, const struct function *pf, const struct list *offers,
		     struct arena *arena, struct list *out)
{
	struct sight s = { .facts = facts, .pf = pf, .arena = arena };

	s.out = list_add(arena, out, struct wire_shared);
	rows_clear(wire_shared_rows, s.out);
	s.out->instances = s.out->unknown = (struct list){ 0 };
	s.offer = offers ? vgpu_offer_of(offers, pf->address) : NULL;
	if (s.offer && strcmp(s.offer->interface, pf->vgpu))
		s.offer = NULL; /* of before its driver changed */
	s.not_asked = (offers ? NULL : facts->offered_unknown) ?: "its driver is not asked yet";
	for (size_t i = 0; i < ARRAY_SIZE(backends); i++)
		if (!strcmp(backends[i].interface, pf->vgpu))
			s.backend = &backends[i];
	set_vendor(&s);
	if (s.backend->find_live)
		s.backend->find_live(&s);
	count_free_vfs(&s);
	find_live_sizes(&s);
	set_mode(&s);
	set_profiles(&s);
	for (LIST_EACH(const struct live, live, &s.live))
		add_instance(&s, live);
	set_free(&s);
}

void vgpu_catalogue(const struct gpu_facts *facts, const struct list *offers, struct arena *arena,
		    struct list *out)
{
	*out = (struct list){ 0 };
	for (LIST_EACH(struct function *, f, &facts->inventory->functions))
		if (vgpu_is_device(facts->inventory, *f))
			add_card(facts, *f, offers, arena, out);
}

void vgpu_offered(const struct list *offers, struct arena *arena, struct list *out)
{
	struct gpu_offered *to;

	*out = (struct list){ 0 };
	for (LIST_EACH(struct vgpu_offer *, offer, offers)) {
		to = list_add(arena, out, struct gpu_offered);
		*to = (struct gpu_offered){ .address = (*offer)->address };
		if ((*offer)->types.null && strcmp((*offer)->interface, "sriov")) {
			to->unknown = (*offer)->types_unknown ?: not_told;
			continue;
		}
		for (LIST_EACH(const struct vgpu_type, type, &(*offer)->types))
			if (type->offered)
				list_add_string(arena, &to->names,
						type->name ?: directory_of((*offer)->interface, type->id, arena));
	}
}
