/* SPDX-License-Identifier: Apache-2.0 */
/* What a card can be cut into, and what still fits; see vgpu.h. */
#include "vgpu.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "knobs.h"

struct wanted { /* an instance of the description */
	struct wanted *next;
	char *address, *type, *uuid;
	int group;
};

static struct wanted *wanted;

struct vgpu *vgpu_of(const struct function *f)
{
	return f->physfn ? f->physfn->vgpu : f->vgpu;
}

struct vgpu_type *vgpu_find_type(const struct vgpu *v, const char *id)
{
	for (struct vgpu_type *t = v->types; t; t = t->next)
		if (!strcmp(t->id, id))
			return t;
	return NULL;
}

struct instance *vgpu_instance_on(const struct function *f)
{
	struct vgpu *v = vgpu_of(f);

	for (struct instance *i = v ? v->instances : NULL; i; i = i->next)
		if (i->on == f)
			return i;
	return NULL;
}

struct instance *vgpu_instance_new(struct function *f, struct vgpu_type *t)
{
	struct instance *i = must_alloc(sizeof(*i)), **end = &vgpu_of(f)->instances;

	i->on = f;
	i->type = t;
	while (*end)
		end = &(*end)->next;
	*end = i;
	return i;
}

/* Taken from the list; the memory stays, a file of it may be open. */
void vgpu_instance_free(struct instance *i)
{
	struct instance **at = &vgpu_of(i->on)->instances;

	while (*at != i)
		at = &(*at)->next;
	*at = i->next;
}

bool vgpu_is_vendor_vf(const struct function *f)
{
	return f->physfn && f->physfn->vgpu && f->physfn->vgpu->kind == VGPU_VENDOR_VF;
}

/* ---- what fits ---- */

static unsigned least(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

/* intel_gvt_update_vgpu_types(): the least of what is left of each resource */
static unsigned gvtg_available(const struct vgpu *v, const struct vgpu_type *t)
{
	unsigned low = v->low, high = v->high, fence = v->fence;

	for (const struct instance *i = v->instances; i; i = i->next) {
		low -= i->type->low;
		high -= i->type->high;
		fence -= i->type->fence;
	}
	return least(least(low / t->low, high / t->high), fence / t->fence);
}

/* Equal sizes only, unless mixed; never more than the framebuffer holds. */
static unsigned fb_available(const struct vgpu *v, const struct vgpu_type *t)
{
	unsigned used = 0, count = 0, room;

	for (const struct instance *i = v->instances; i; i = i->next) {
		if (!v->mixed && i->type->fb != t->fb)
			return 0;
		used += i->type->fb;
		count++;
	}
	room = t->fb ? (v->fb - used) / t->fb : t->max;
	return least(room, t->max > count ? t->max - count : 0);
}

unsigned vgpu_available(struct function *f, const struct vgpu_type *t)
{
	const struct vgpu *v = vgpu_of(f);
	unsigned n = v->kind == VGPU_GVTG ? gvtg_available(v, t) : fb_available(v, t);

	if (f->physfn)
		n = vgpu_instance_on(f) ? 0 : least(n, 1);
	return knob_shrink(f, t->id, n);
}

/* ---- drivers come and go ---- */

static bool shows_types(const struct function *f, const struct vgpu *v)
{
	bool nvidia = f->driver && f->driver->flags & DRIVER_NVIDIA;

	switch (v->kind) {
	case VGPU_MDEV:
		return nvidia && !f->physfn;
	case VGPU_MDEV_PER_VF:
		return nvidia && f->physfn;
	case VGPU_GVTG:
		return f->driver && !strcmp(f->driver->name, "i915");
	default:
		return false;
	}
}

void vgpu_bound(struct function *f)
{
	struct vgpu *v = vgpu_of(f);

	if (!v)
		return;
	if (shows_types(f, v))
		mdev_register(f);
	if (v->kind == VGPU_VENDOR_VF && f->driver->flags & DRIVER_NVIDIA)
		vendor_vf_add(f);
}

void vgpu_unbound(struct function *f)
{
	struct vgpu *v = vgpu_of(f);

	if (!v)
		return;
	if (shows_types(f, v))
		mdev_unregister(f);
	if (v->kind == VGPU_VENDOR_VF && f->driver->flags & DRIVER_NVIDIA)
		vendor_vf_remove(f);
}

/* ---- lines ---- */

static struct function *function_of(struct line *l)
{
	const char *address = line_word(l);
	struct function *f = address ? host_function(address) : NULL;

	if (!f)
		host_complain("there is no function '%s'", address ? address : "");
	return f;
}

/* `vgpu ADDR mdev|mdev_per_vf|vendor_vf fb=MIB [mixed] [errno=EIO]` */
int vgpu_line(struct line *l)
{
	static const char *const kinds[] = { "mdev", "mdev_per_vf", "vendor_vf" };
	const char *error = line_key(l, "errno"), *kind;
	struct vgpu *v = must_alloc(sizeof(*v));
	struct function *f;

	v->mixed = line_flag(l, "mixed");
	v->error = error ? errno_by_name(error) : EIO;
	f = function_of(l);
	kind = line_word(l);
	for (int i = 0; f && kind && i < 3; i++) {
		if (strcmp(kinds[i], kind))
			continue;
		v->kind = (enum vgpu_kind)i;
		f->vgpu = v;
		return line_number(l, "fb", 1U << 30, &v->fb);
	}
	return f ? host_complain("vgpu wants ADDR mdev|mdev_per_vf|vendor_vf fb=") : -EINVAL;
}

static struct vgpu_type *add_type(struct vgpu *v, const char *id, const char *name)
{
	struct vgpu_type *t = must_alloc(sizeof(*t)), **end = &v->types;

	t->id = text_dup(id);
	t->name = text_dup(name);
	while (*end)
		end = &(*end)->next;
	*end = t;
	return t;
}

/* `vgputype ADDR ID NAME fb=MIB max=N [heads=] [frl=] [res=]` */
int vgpu_type_line(struct line *l)
{
	struct function *f = function_of(l);
	const char *id = line_word(l), *name = line_word(l), *res = line_key(l, "res");
	unsigned heads = 4, frl = 60;
	struct vgpu_type *t;
	int r;

	if (!f || !f->vgpu || !name)
		return f ? host_complain("vgputype wants ADDR ID NAME, after vgpu") : -EINVAL;
	t = add_type(f->vgpu, id, name);
	t->max = 1;
	r = line_number(l, "fb", 1U << 30, &t->fb);
	r = r ? r : line_number(l, "max", 1024, &t->max);
	r = r ? r : line_number(l, "heads", 16, &heads);
	r = r ? r : line_number(l, "frl", 240, &frl);
	t->description = text_format("num_heads=%u, frl_config=%u, framebuffer=%uM, "
				     "max_resolution=%s, max_instance=%u\n",
				     heads, frl, t->fb, res ? res : "5120x2880", t->max);
	return r;
}

/*
 * `gvtg ADDR V5 aperture=MIB high=MIB`: what is left to guests is less the
 * host's own 128 MiB, 384 MiB and 4 fences.
 */
int vgpu_gvtg_line(struct line *l)
{
	static const struct {
		unsigned n, low, high, weight;
		const char *res;
	} config[] = {
		{ 8, 64, 384, 2, "1024x768" },
		{ 4, 128, 512, 4, "1920x1200" },
		{ 2, 256, 1024, 8, "1920x1200" },
		{ 1, 512, 2048, 16, "1920x1200" },
	};
	struct function *f = function_of(l);
	const char *version = line_word(l);
	unsigned aperture = 256, high = 4096;
	int r = line_number(l, "aperture", 4096, &aperture);

	r = r ? r : line_number(l, "high", 65536, &high);
	if (r || !f || !version || aperture < 128 || high < 384)
		return r ? r : f ? host_complain("gvtg wants ADDR V4|V5 aperture= high=") : -EINVAL;
	f->vgpu = must_alloc(sizeof(*f->vgpu));
	*f->vgpu = (struct vgpu){ .kind = VGPU_GVTG,
				  .error = ENOSPC,
				  .low = aperture - 128,
				  .high = high - 384,
				  .fence = 28 };
	for (int i = 0; i < 4; i++) {
		char id[24];
		struct vgpu_type *t;

		snprintf(id, sizeof(id), "GVTg_%s_%u", version, config[i].n);
		t = add_type(f->vgpu, id, id);
		t->low = config[i].low;
		t->high = config[i].high;
		t->fence = 4;
		t->description = text_format("low_gm_size: %uMB\nhigh_gm_size: %uMB\nfence: 4\n"
					     "resolution: %s\nweight: %u\n",
					     t->low, t->high, config[i].res, config[i].weight);
	}
	return 0;
}

/* `instance ADDR TYPE [uuid=] [group=]`: there from the start */
int vgpu_instance_line(struct line *l)
{
	const char *uuid = line_key(l, "uuid"), *group = line_key(l, "group");
	const char *address = line_word(l), *type = line_word(l);
	struct wanted *w = must_alloc(sizeof(*w)), **end = &wanted;

	if (!type) {
		free(w);
		return host_complain("instance wants ADDR TYPE");
	}
	w->address = text_dup(address);
	w->type = text_dup(type);
	w->uuid = uuid ? text_dup(uuid) : NULL;
	w->group = group ? (int)strtol(group, NULL, 10) : -1;
	while (*end)
		end = &(*end)->next;
	*end = w;
	return 0;
}

static int start_one(const struct wanted *w)
{
	struct function *f = host_function(w->address);
	struct vgpu *v = f ? vgpu_of(f) : NULL;
	struct vgpu_type *t = v ? vgpu_find_type(v, w->type) : NULL;
	struct group *g = NULL;

	if (!t)
		return host_complain("instance %s %s: no such function or type", w->address,
				     w->type);
	if (v->kind == VGPU_VENDOR_VF)
		return vendor_vf_set(f, w->type);
	if (w->group >= 0) {
		g = host_group_new();
		g->number = w->group;
	}
	return w->uuid ? mdev_create(f, t, w->uuid, g) : host_complain("an mdev wants uuid=");
}

int vgpu_start(void)
{
	for (const struct wanted *w = wanted; w; w = w->next) {
		int r = start_one(w);

		if (r)
			return host.error ? r
					  : host_complain("instance %s %s: %s", w->address, w->type,
							  errno_name(-r));
	}
	return 0;
}
