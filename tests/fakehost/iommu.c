/* SPDX-License-Identifier: Apache-2.0 */
/*
 * IOMMU units (/sys/class/iommu), groups (/sys/kernel/iommu_groups) and their
 * VFIO nodes; see iommu.h.  drivers/iommu/iommu.c, drivers/vfio/group.c.
 */
#include "iommu.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pci.h"
#include "process.h"
#include "uevent.h"
#include "vgpu.h"

struct iommu iommu = { .table = 1 };

/* ---- units ---- */

static void unit_name(unsigned i, char name[32])
{
	static const char *const format[] = { "", "dmar", "ivhd" };

	if (iommu.kind == IOMMU_SMMU)
		snprintf(name, 32, "smmu3.0x%016x", 0x0a000000 + i * 0x20000);
	else
		snprintf(name, 32, "%s%u", format[iommu.kind], i);
}

static struct node *unit_dir(unsigned i)
{
	char name[32];

	if (iommu.kind == IOMMU_NONE || i >= iommu.units)
		return NULL;
	unit_name(i, name);
	return node_dir(node_dir(NULL, iommu.kind == IOMMU_SMMU
					       ? "sys/devices/platform/arm-smmu-v3.0.auto/iommu"
					       : "sys/devices/virtual/iommu"),
			name);
}

static void make_dmar(struct node *unit, unsigned i)
{
	struct node *d = node_dir(unit, "intel-iommu");
	bool ir = iommu.remapping || iommu.capable;

	node_text(d, "address", 0444, "%x\n", 0xfed90000U + i * 0x1000);
	node_text(d, "cap", 0444, "d2078c106f0466\n");
	node_text(d, "domains_supported", 0444, "65536\n");
	node_text(d, "domains_used", 0444, "2\n");
	node_text(d, "ecap", 0444, "%x\n", 0xf020d7U | (ir ? 0x8U : 0U));
	node_text(d, "version", 0444, "1:0\n");
}

static void make_unit(unsigned i)
{
	struct node *unit = unit_dir(i), *class = node_dir(NULL, "sys/class/iommu");

	node_dir(unit, "devices");
	node_link_to(class, unit->name, unit);
	node_link_to(unit, "subsystem", class);
	node_text(unit, "uevent", 0644, "%s", "");
	if (iommu.kind == IOMMU_DMAR) {
		make_dmar(unit, i);
	} else if (iommu.kind == IOMMU_IVHD) {
		node_text(node_dir(unit, "amd-iommu"), "cap", 0444, "40f\n");
		node_text(node_dir(unit, "amd-iommu"), "features", 0444, "%s\n",
			  iommu.remapping || iommu.capable ? "58f77ef22294ade" : "0");
	}
}

static void make_tables(void)
{
	static const char *const table[] = { "DMAR", "DMAR", "IVRS", "IORT" };
	struct node *dir;

	if (iommu.table < 0)
		return;
	dir = node_dir(NULL, "sys/firmware/acpi/tables");
	node_text(dir, "APIC", 0400, "APIC");
	node_text(dir, "FACP", 0400, "FACP");
	if (iommu.table)
		node_text(dir, table[iommu.kind], 0400, "%s", table[iommu.kind]);
}

void iommu_make(void)
{
	node_dir(NULL, "sys/class/iommu");
	node_dir(NULL, "sys/kernel/iommu_groups");
	make_tables();
	for (unsigned i = 0; i < iommu.units; i++)
		make_unit(i);
}

/* ---- groups ---- */

static int type_show(void *owner, const struct attr *attr, struct text *out)
{
	struct group *g = owner;

	(void)attr;
	text_addf(out, "%s\n", g->type ? g->type : "DMA-FQ");
	return 0;
}

static int reserved_show(void *owner, const struct attr *attr, struct text *out)
{
	struct group *g = owner;

	(void)attr;
	if (g->reserved)
		text_puts(out, g->reserved);
	if (iommu.kind == IOMMU_IVHD)
		text_puts(out, "0x000000fd00000000 0x000000ffffffffff reserved\n");
	text_puts(out, iommu.kind == IOMMU_SMMU ? "0x0000000008000000 0x00000000080fffff msi\n"
						: "0x00000000fee00000 0x00000000feefffff msi\n");
	return 0;
}

static int name_show(void *owner, const struct attr *attr, struct text *out)
{
	(void)owner;
	(void)attr;
	text_puts(out, "vfio-noiommu\n");
	return 0;
}

/* A write is allowed only while the group has one device and no driver on it. */
static int type_store(void *owner, const struct attr *attr, const char *buf, size_t len)
{
	struct group *g = owner;
	char *s;

	(void)attr;
	for (struct function *f = host.functions; f; f = f->next)
		if (f->group == g && f->present && f->driver)
			return -EBUSY;
	s = text_written(buf, len);
	if (strcmp(s, "DMA") && strcmp(s, "DMA-FQ") && strcmp(s, "identity") && strcmp(s, "auto")) {
		free(s);
		return -EINVAL;
	}
	free(g->type);
	g->type = s;
	return 0;
}

static const struct attr group_attrs[] = {
	{ .name = "reserved_regions", .mode = 0444, .show = reserved_show },
	{ .name = "type", .mode = 0644, .show = type_show, .store = type_store },
};

static const struct attr emulated_attr = { .name = "name", .mode = 0444, .show = name_show };

void group_join(struct group *g, const char *name, struct node *dir, struct bunch *links)
{
	char number[16];

	if (g->number < 0)
		g->number = host_group_free_number();
	snprintf(number, sizeof(number), "%d", g->number);
	if (!g->members++) {
		g->dir = node_dir(node_dir(NULL, "sys/kernel/iommu_groups"), number);
		node_dir(g->dir, "devices");
		node_files(g->dir, group_attrs, sizeof(group_attrs) / sizeof(*group_attrs), g);
		if (g->emulated)
			node_file(g->dir, &emulated_attr, g);
	}
	bunch_add(links, node_link_to(node_child(g->dir, "devices"), name, dir));
	node_link_to(dir, "iommu_group", g->dir);
}

/* The last member gone, the number is free for others. */
void group_leave(struct group *g)
{
	if (--g->members)
		return;
	node_remove(g->dir);
	g->dir = NULL;
	g->number = -1;
}

/* Members are counted here, so that a number is held; links come with the nodes. */
void iommu_join(struct function *f)
{
	if (f->group && f->group->number < 0)
		f->group->number = host_group_free_number();
}

static unsigned unit_of(const struct function *f)
{
	return iommu.units ? f->bus * iommu.units / 256 : 0;
}

void iommu_add_links(struct function *f)
{
	struct node *unit = unit_dir(unit_of(f));

	if (!f->group)
		return;
	group_join(f->group, f->name, f->dir, &f->links);
	if (!unit)
		return;
	node_link_to(f->dir, "iommu", unit);
	bunch_add(&f->links, node_link_to(node_child(unit, "devices"), f->name, f->dir));
}

void iommu_leave(struct function *f)
{
	if (f->group)
		group_leave(f->group);
}

/* ---- VFIO ---- */

bool group_viable(const struct group *g)
{
	for (struct function *f = host.functions; f; f = f->next)
		if (f->group == g && f->present && f->driver &&
		    !(f->driver->flags & DRIVER_MANAGED_DMA) && !vgpu_is_vendor_vf(f))
			return false;
	return true;
}

bool group_in_use(const struct group *g)
{
	char path[32];

	if (g->opens)
		return true;
	snprintf(path, sizeof(path), "/dev/vfio/%d", g->number);
	return process_holds(path);
}

static int viable_show(void *owner, const struct attr *attr, struct text *out)
{
	(void)attr;
	text_puts(out, group_viable(owner) ? "viable\n" : "not viable\n");
	return 0;
}

static int viable_store(void *owner, const struct attr *attr, const char *buf, size_t len)
{
	(void)owner;
	(void)attr;
	(void)buf;
	(void)len;
	return -EINVAL;
}

int group_open(struct node *n)
{
	struct group *g = n->owner;

	if (!n->attr || n->attr->store != viable_store)
		return 0;
	if (group_in_use(g))
		return -EBUSY;
	g->opens++;
	return 0;
}

void group_close(struct node *n)
{
	struct group *g = n->owner;

	if (!n->attr || n->attr->store != viable_store)
		return;
	g->opens--;
	host_wake();
}

static void vfio_env(const struct group *g, char env[64])
{
	snprintf(env, 64, "MAJOR=511\nMINOR=%d\nDEVNAME=vfio/%d\n", g->number, g->number);
}

static void name_node(struct group *g)
{
	free((char *)(uintptr_t)g->attr.name);
	g->attr = (struct attr){ .name = text_format("%d", g->number),
				 .mode = 0600,
				 .show = viable_show,
				 .store = viable_store };
}

/* vfio_create_group(): the class device, and its node by devtmpfs */
void group_vfio_get(struct group *g)
{
	struct node *dir;
	char env[64];

	if (g->vfio++)
		return;
	name_node(g);
	vfio_env(g, env);
	dir = node_dir(node_dir(NULL, "sys/devices/virtual/vfio"), g->attr.name);
	node_text(dir, "dev", 0444, "511:%d\n", g->number);
	node_text(dir, "uevent", 0644, "%s", env);
	bunch_add(&g->nodes, dir);
	bunch_add(&g->nodes, node_link_to(node_dir(NULL, "sys/class/vfio"), g->attr.name, dir));
	bunch_add(&g->nodes, node_file(node_dir(NULL, "dev/vfio"), &g->attr, g));
	uevent_send("add", dir, "vfio", env);
}

void group_vfio_put(struct group *g)
{
	char env[64];

	if (--g->vfio)
		return;
	vfio_env(g, env);
	uevent_send("remove", g->nodes.nodes[0], "vfio", env);
	bunch_remove(&g->nodes);
}

/* vfio_register_group_dev(): vfio-dev/vfioN below the device, from 6.1 on */
void vfio_device_add(struct group *g, struct node *device, struct bunch *nodes)
{
	static unsigned last;
	char name[16];
	struct node *dir;

	group_vfio_get(g);
	if (!host_kernel_at_least(6, 1))
		return;
	snprintf(name, sizeof(name), "vfio%u", last++);
	dir = node_dir(node_dir(device, "vfio-dev"), name);
	node_link_to(dir, "device", device);
	node_text(dir, "uevent", 0644, "%s", "");
	bunch_add(nodes, node_child(device, "vfio-dev"));
	bunch_add(nodes, node_link_to(node_dir(NULL, "sys/class/vfio-dev"), name, dir));
	uevent_send("add", dir, "vfio-dev", "");
}

void vfio_make(void)
{
	struct node *dir = node_dir(NULL, "dev/vfio");

	if (!node_child(dir, "vfio"))
		node_text(dir, "vfio", 0666, "%s", "");
}
