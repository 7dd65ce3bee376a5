/* SPDX-License-Identifier: Apache-2.0 */
/* Mediated devices: drivers/vfio/mdev/{mdev_sysfs,mdev_core}.c of 6.12. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "iommu.h"
#include "pci.h"
#include "uevent.h"
#include "vgpu.h"

/* What the files of a type's directory speak of. */
struct offer {
	struct function *f;
	struct vgpu_type *type;
	struct node *dir;
};

static const char *child_driver(const struct function *f)
{
	return vgpu_of(f)->kind == VGPU_GVTG ? "kvmgt" : "nvidia-vgpu-vfio";
}

/* ---- instances ---- */

static void instance_env(const struct instance *i, bool bound, struct text *out)
{
	text_puts(out, "");
	if (bound)
		text_addf(out, "DRIVER=%s\n", child_driver(i->on));
	text_addf(out, "MODALIAS=mdev:%s\n", i->uuid);
}

static void instance_uevent(const struct instance *i, const char *action, bool bound)
{
	struct text env = { 0 };

	instance_env(i, bound, &env);
	uevent_send(action, i->dir, "mdev", env.data);
	text_free(&env);
}

/* vfio_unregister_group_dev() waits for users; a second remove is EAGAIN. */
static int instance_remove(struct instance *i)
{
	if (i->removing)
		return -EAGAIN;
	i->removing = true;
	while (group_in_use(i->group) && !host.released)
		host_wait();
	group_vfio_put(i->group);
	instance_uevent(i, "unbind", false);
	instance_uevent(i, "remove", false);
	bunch_remove(&i->nodes);
	group_leave(i->group);
	vgpu_instance_free(i);
	host_wake();
	return 0;
}

static int remove_store(void *owner, const struct attr *attr, const char *buf, size_t len)
{
	char *s = text_written(buf, len);
	unsigned long v;
	int r = text_number(s, ~0UL, &v);

	(void)attr;
	free(s);
	if (r)
		return -EINVAL;
	return v ? instance_remove(owner) : 0;
}

static int uevent_show(void *owner, const struct attr *attr, struct text *out)
{
	(void)attr;
	instance_env(owner, true, out);
	return 0;
}

static const struct attr instance_attrs[] = {
	{ .name = "remove", .mode = 0200, .store = remove_store },
	{ .name = "uevent", .mode = 0444, .show = uevent_show },
};

static void add_vendor_files(const struct instance *i)
{
	static unsigned last;

	if (vgpu_of(i->on)->kind == VGPU_GVTG) {
		node_text(node_dir(i->dir, "intel_vgpu"), "vgpu_id", 0444, "%u\n", ++last);
		return;
	}
	node_text(node_dir(i->dir, "nvidia"), "vgpu_params", 0644, "\n");
	node_text(node_dir(i->dir, "nvidia"), "vm_name", 0444, "\n");
}

static struct node *type_dir(const struct instance *i)
{
	char *path = text_format("%s-%s", i->on->driver->name, i->type->id);
	struct node *types = node_child(i->on->dir, "mdev_supported_types");
	struct node *dir = types ? node_child(types, path) : NULL;

	free(path);
	return dir;
}

static void add_nodes(struct instance *i)
{
	struct node *bus = node_dir(NULL, "sys/bus/mdev"), *type = type_dir(i), *driver;

	i->dir = node_dir(i->on->dir, i->uuid);
	bunch_add(&i->nodes, i->dir);
	node_files(i->dir, instance_attrs, 2, i);
	add_vendor_files(i);
	node_link_to(i->dir, "subsystem", bus);
	bunch_add(&i->nodes, node_link_to(node_dir(bus, "devices"), i->uuid, i->dir));
	if (type) {
		node_link_to(i->dir, "mdev_type", type);
		bunch_add(&i->nodes, node_link_to(node_dir(type, "devices"), i->uuid, i->dir));
	}
	group_join(i->group, i->uuid, i->dir, &i->nodes);
	driver = node_dir(node_dir(bus, "drivers"), child_driver(i->on));
	node_link_to(i->dir, "driver", driver);
	bunch_add(&i->nodes, node_link_to(driver, i->uuid, i->dir));
}

static bool uuid_taken(const char *uuid)
{
	for (const struct function *f = host.functions; f; f = f->next)
		for (const struct instance *i = f->vgpu ? f->vgpu->instances : NULL; i; i = i->next)
			if (!strcmp(i->uuid, uuid))
				return true;
	return false;
}

static bool is_uuid(const char *s)
{
	for (int i = 0; i < 36; i++) {
		bool dash = i == 8 || i == 13 || i == 18 || i == 23;

		if (dash ? s[i] != '-' : !isxdigit((unsigned char)s[i]))
			return false;
	}
	return !s[36];
}

int mdev_create(struct function *f, struct vgpu_type *t, const char *uuid, struct group *g)
{
	char lower[37] = "";
	struct instance *i;

	if (!is_uuid(uuid))
		return -EINVAL;
	for (int c = 0; c < 36; c++)
		lower[c] = (char)tolower((unsigned char)uuid[c]);
	if (uuid_taken(lower))
		return -EEXIST;
	if (!vgpu_available(f, t))
		return -vgpu_of(f)->error;
	i = vgpu_instance_new(f, t);
	memcpy(i->uuid, lower, sizeof(lower));
	i->group = g ? g : host_group_new();
	i->group->emulated = true;
	i->group->type = text_dup("unknown");
	add_nodes(i);
	instance_uevent(i, "add", false);
	vfio_device_add(i->group, i->dir, &i->nodes);
	instance_uevent(i, "bind", true);
	return 0;
}

/* ---- types ---- */

/* create_store(): 36 characters, or 37 with a newline */
static int create_store(void *owner, const struct attr *attr, const char *buf, size_t len)
{
	struct offer *o = owner;
	char *s = text_written(buf, len);
	int r = -EINVAL;

	(void)attr;
	if (len == 36 || (len == 37 && buf[36] == '\n'))
		r = o->f->driver ? mdev_create(o->f, o->type, s, NULL) : -ENODEV;
	free(s);
	return r;
}

enum { T_AVAILABLE, T_API, T_NAME, T_DESCRIPTION };

static int type_show(void *owner, const struct attr *attr, struct text *out)
{
	const struct offer *o = owner;

	if (attr->arg == T_AVAILABLE)
		text_addf(out, "%u\n", vgpu_available(o->f, o->type));
	else if (attr->arg == T_API)
		text_puts(out, "vfio-pci\n");
	else if (attr->arg == T_NAME)
		text_addf(out, "%s\n", o->type->name);
	else
		text_puts(out, o->type->description);
	return 0;
}

static const struct attr type_attrs[] = {
	{ "available_instances", 0444, type_show, NULL, T_AVAILABLE },
	{ "create", 0200, NULL, create_store, 0 },
	{ "description", 0444, type_show, NULL, T_DESCRIPTION },
	{ "device_api", 0444, type_show, NULL, T_API },
	{ "name", 0444, type_show, NULL, T_NAME },
};

static void add_type(struct function *f, struct node *types, struct vgpu_type *t)
{
	struct offer *o = must_alloc(sizeof(*o));
	char *name = text_format("%s-%s", f->driver->name, t->id);

	*o = (struct offer){ f, t, node_dir(types, name) };
	node_files(o->dir, type_attrs, sizeof(type_attrs) / sizeof(*type_attrs), o);
	node_dir(o->dir, "devices");
	free(name);
}

/* mdev_register_parent() */
void mdev_register(struct function *f)
{
	struct node *types = node_dir(f->dir, "mdev_supported_types");

	for (struct vgpu_type *t = vgpu_of(f)->types; t; t = t->next)
		add_type(f, types, t);
	bunch_add(&f->bound, types);
	bunch_add(&f->bound, node_link_to(node_dir(NULL, "sys/class/mdev_bus"), f->name, f->dir));
	pci_uevent_extra(f, "change", "MDEV_STATE=registered\n");
}

/* mdev_unregister_parent(): all instances of the parent go first. */
void mdev_unregister(struct function *f)
{
	struct instance *i;

	pci_uevent_extra(f, "change", "MDEV_STATE=unregistered\n");
	while ((i = vgpu_instance_on(f))) {
		if (instance_remove(i))
			host_wait();
	}
}
