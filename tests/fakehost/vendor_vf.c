/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NVIDIA's vendor-specific VFIO (kernels from 6.8 on): a VF stays on nvidia and
 * gets its type by a number written to nvidia/current_vgpu_type.  The vendor's
 * driver was not at hand; formats are those that its users report.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "iommu.h"
#include "vgpu.h"

/* Only the header when nothing fits, on the PF, or when there is a type. */
static int creatable_show(void *owner, const struct attr *attr, struct text *out)
{
	struct function *f = owner;

	(void)attr;
	text_puts(out, "ID    : vGPU Name\n");
	for (struct vgpu_type *t = f->physfn ? vgpu_of(f)->types : NULL; t; t = t->next)
		if (vgpu_available(f, t))
			text_addf(out, "%-6s: %s\n", t->id, t->name);
	return 0;
}

static int current_show(void *owner, const struct attr *attr, struct text *out)
{
	const struct instance *i = vgpu_instance_on(owner);

	(void)attr;
	text_addf(out, "%s\n", i ? i->type->id : "0");
	return 0;
}

static int clear(struct instance *i)
{
	if (!i)
		return 0;
	if (group_in_use(i->group))
		return -EPERM;
	bunch_remove(&i->nodes);
	group_vfio_put(i->group);
	vgpu_instance_free(i);
	return 0;
}

int vendor_vf_set(struct function *f, const char *id)
{
	struct instance *i = vgpu_instance_on(f);
	struct vgpu_type *t;

	if (!strcmp(id, "0"))
		return clear(i);
	t = vgpu_find_type(vgpu_of(f), id);
	if (!f->physfn || i || !t || !vgpu_available(f, t) || !f->group)
		return -EINVAL;
	i = vgpu_instance_new(f, t);
	i->group = f->group;
	vfio_device_add(f->group, f->dir, &i->nodes);
	return 0;
}

static int current_store(void *owner, const struct attr *attr, const char *buf, size_t len)
{
	char *s = text_written(buf, len);
	int r = vendor_vf_set(owner, s);

	(void)attr;
	free(s);
	return r;
}

static const struct attr attrs[] = {
	{ .name = "creatable_vgpu_types", .mode = 0444, .show = creatable_show },
	{ .name = "current_vgpu_type", .mode = 0644, .show = current_show, .store = current_store },
};

void vendor_vf_add(struct function *f)
{
	struct node *dir = node_dir(f->dir, "nvidia");

	node_files(dir, attrs, 2, f);
	node_text(dir, "gpu_instance_id", 0644, "4294967295\n");
	node_text(dir, "placement_id", 0644, "Not Applicable\n");
	node_text(dir, "vgpu_params", 0644, "\n");
	node_text(dir, "warm_update", 0644, "0\n");
	bunch_add(&f->bound, dir);
}

/* The type is lost with the driver; a user of it holds the driver up. */
void vendor_vf_remove(struct function *f)
{
	struct instance *i;

	while ((i = vgpu_instance_on(f)) && clear(i) && !host.released)
		host_wait();
}
