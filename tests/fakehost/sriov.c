/* SPDX-License-Identifier: Apache-2.0 */
/* SR-IOV; see sriov.h.  Errnos and their order: sriov_numvfs_store(), 6.12. */
#include "sriov.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core.h"
#include "driver.h"
#include "pci.h"

enum { S_AUTOPROBE, S_NUM, S_OFFSET, S_STRIDE, S_TOTAL, S_VF_DEVICE };

struct function *sriov_vf(const struct function *pf, unsigned index)
{
	for (struct function *f = host.functions; f; f = f->next)
		if (f->physfn == pf && f->index == index)
			return f;
	return NULL;
}

/* pci_iov_virtfn_bus(), pci_iov_virtfn_devfn() */
static void set_address(struct function *vf)
{
	const struct function *pf = vf->physfn;
	unsigned id = pf->bus << 8 | pf->slot << 3 | pf->fn;

	id += pf->sriov->offset + pf->sriov->stride * vf->index;
	vf->domain = pf->domain;
	vf->bus = id >> 8 & 0xff;
	vf->slot = id >> 3 & 0x1f;
	vf->fn = id & 7;
	snprintf(vf->name, sizeof(vf->name), "%04x:%02x:%02x.%x", vf->domain, vf->bus, vf->slot,
		 vf->fn);
}

static void set_group(struct function *vf)
{
	int number = vf->physfn->sriov->group;

	if (number == -1)
		return;
	vf->group = host_group_new();
	if (number >= 0 && !host_group(number + (int)vf->index))
		vf->group->number = number + (int)vf->index;
}

static struct function *new_vf(struct function *pf, unsigned index)
{
	struct function *vf = must_alloc(sizeof(*vf)), **end = &host.functions;
	const struct sriov *s = pf->sriov;

	vf->physfn = pf;
	vf->index = index;
	set_address(vf);
	set_group(vf);
	vf->under = pf->under;
	vf->vendor = pf->vendor;
	vf->device = s->vf_device;
	vf->sub_vendor = s->vf_sub_vendor;
	vf->sub_device = s->vf_sub_device;
	vf->class = s->vf_class;
	vf->revision = pf->revision;
	vf->numa = pf->numa;
	vf->speed = "Unknown";
	vf->max_speed = pf->max_speed;
	vf->max_width = pf->max_width;
	vf->power_state = "D0";
	vf->reset_can = text_dup("flr");
	vf->reset_method = text_dup("flr");
	vf->minor = -1;
	pci_place_vf_bars(vf);
	while (*end)
		end = &(*end)->next;
	*end = vf;
	return vf;
}

/* pci_iov_add_virtfn(): links, then `change`, then drivers. */
static void add_vf(struct function *pf, unsigned index, bool probe)
{
	struct function *vf = sriov_vf(pf, index);
	char name[24];

	if (!vf)
		vf = new_vf(pf, index);
	vf->gone = false;
	core_add(vf);
	snprintf(name, sizeof(name), "virtfn%u", index);
	node_link_to(pf->dir, name, vf->dir);
	node_link_to(vf->dir, "physfn", pf->dir);
	pci_uevent(vf, "change");
	if (probe)
		core_offer(vf);
}

static void remove_vf(struct function *pf, unsigned index)
{
	struct function *vf = sriov_vf(pf, index);
	char name[24];

	snprintf(name, sizeof(name), "virtfn%u", index);
	if (pf->dir && node_child(pf->dir, name))
		node_remove(node_child(pf->dir, name));
	if (vf && vf->present)
		core_remove(vf);
}

void sriov_disable(struct function *pf)
{
	while (pf->sriov->active) {
		remove_vf(pf, pf->sriov->active - 1);
		pf->sriov->active--;
	}
}

static void enable(struct function *pf, unsigned count, bool probe)
{
	if (pf->sriov->limit && count > pf->sriov->limit)
		count = pf->sriov->limit;
	for (unsigned i = 0; i < count; i++) {
		pf->sriov->active = i + 1;
		add_vf(pf, i, probe);
	}
}

void sriov_start(struct function *pf)
{
	enable(pf, pf->sriov->initial, false);
}

static bool can_configure(const struct driver *d)
{
	if (d->flags & DRIVER_VFIO)
		return module_flag("vfio_pci", "enable_sriov");
	return d->flags & DRIVER_SRIOV;
}

/* The part under the device lock. */
static int set_count(struct function *pf, unsigned count)
{
	struct sriov *s = pf->sriov;

	if (count == s->active)
		return 0;
	if (!pf->driver || !can_configure(pf->driver))
		return -ENOENT;
	if (!count) {
		sriov_disable(pf);
		return 0;
	}
	if (s->active)
		return -EBUSY;
	if (s->no_mmio)
		return -ENOMEM;
	enable(pf, count, true);
	return 0;
}

static int numvfs_store(void *owner, const struct attr *attr, const char *buf, size_t len)
{
	struct function *pf = owner;
	char *s = text_written(buf, len);
	unsigned long v = 0;
	int r = text_number(s, 0xffff, &v);

	(void)attr;
	free(s);
	if (r)
		return -EINVAL;
	if (v > pf->sriov->total)
		return -ERANGE;
	device_lock(pf);
	r = pf->present ? set_count(pf, (unsigned)v) : -ENODEV;
	device_unlock(pf);
	return r;
}

/* kstrtobool() */
static int autoprobe_store(void *owner, const struct attr *attr, const char *buf, size_t len)
{
	struct function *pf = owner;

	(void)attr;
	if (!len || !strchr("yYtT1nNfF0", buf[0]))
		return -EINVAL;
	pf->sriov->autoprobe = strchr("yYtT1", buf[0]);
	return 0;
}

/* Reading sriov_numvfs takes the device lock, as in the kernel. */
static int sriov_show(void *owner, const struct attr *attr, struct text *out)
{
	struct function *pf = owner;
	const struct sriov *s = pf->sriov;
	unsigned values[] = { s->autoprobe, 0, s->offset, s->stride, s->total, s->vf_device };

	if (attr->arg == S_NUM) {
		device_lock(pf);
		values[S_NUM] = s->active;
		device_unlock(pf);
	}
	text_addf(out, attr->arg == S_VF_DEVICE ? "%x\n" : "%u\n", values[attr->arg]);
	return 0;
}

static const struct attr pf_attrs[] = {
	{ "sriov_drivers_autoprobe", 0644, sriov_show, autoprobe_store, S_AUTOPROBE },
	{ "sriov_numvfs", 0644, sriov_show, numvfs_store, S_NUM },
	{ "sriov_offset", 0444, sriov_show, NULL, S_OFFSET },
	{ "sriov_stride", 0444, sriov_show, NULL, S_STRIDE },
	{ "sriov_totalvfs", 0444, sriov_show, NULL, S_TOTAL },
	{ "sriov_vf_device", 0444, sriov_show, NULL, S_VF_DEVICE },
};

void sriov_add_nodes(struct function *f)
{
	if (!f->sriov)
		return;
	node_files(f->dir, pf_attrs, sizeof(pf_attrs) / sizeof(*pf_attrs), f);
	node_text(f->dir, "sriov_vf_total_msix", 0444, "0\n");
}
