/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The driver core; see core.h.  Function names of the kernel (6.12) that each
 * part follows stand beside it.
 */
#include "core.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "child.h"
#include "driver.h"
#include "iommu.h"
#include "knobs.h"
#include "nvidia.h"
#include "pci.h"
#include "sriov.h"
#include "uevent.h"
#include "vgpu.h"

void device_lock(struct function *f)
{
	while (f->locked)
		host_wait();
	f->locked = true;
}

void device_unlock(struct function *f)
{
	f->locked = false;
	host_wake();
}

void bus_lock(void)
{
	while (host.bus_locked)
		host_wait();
	host.bus_locked = true;
}

void bus_unlock(void)
{
	host.bus_locked = false;
	host_wake();
}

static bool list_matches(const struct pattern *p, const struct function *f)
{
	for (; p; p = p->next) {
		if (p->vendor >= 0 && p->vendor != (long)f->vendor)
			continue;
		if (p->device >= 0 && p->device != (long)f->device)
			continue;
		if (((f->class ^ p->class) & p->class_mask) == 0)
			return true;
	}
	return false;
}

/* pci_match_device(): an override excludes every other driver. */
bool driver_matches(const struct driver *d, const struct function *f)
{
	if (!d->loaded)
		return false;
	if (f->override)
		return !strcmp(f->override, d->name);
	return list_matches(d->dynamic, f) || list_matches(d->ids, f);
}

/* vfio_pci_probe() and vfio_pci_core_register_device() */
static int vfio_check(const struct function *f)
{
	if (pci_is_bridge(f))
		return -EINVAL;
	if (!f->group)
		return -EINVAL;
	if (f->sriov && f->sriov->active)
		return -EBUSY;
	if (vgpu_is_vendor_vf(f))
		return -EINVAL;
	return 0;
}

static int probe_check(const struct driver *d, const struct function *f)
{
	int e = knob_probe(f, d);

	if (e)
		return -e;
	/* pci_dma_configure() -> iommu_device_use_default_domain() */
	if (!(d->flags & DRIVER_MANAGED_DMA) && f->group && group_in_use(f->group))
		return -EBUSY;
	return d->flags & DRIVER_VFIO ? vfio_check(f) : 0;
}

static void add_driver_links(struct driver *d, struct function *f)
{
	f->link = true;
	node_link_to(f->dir, "driver", d->dir);
	node_link_to(d->dir, f->name, f->dir);
}

static void remove_driver_links(struct function *f)
{
	f->link = false;
	node_remove(node_child(f->dir, "driver"));
	if (f->driver->dir && node_child(f->driver->dir, f->name))
		node_remove(node_child(f->driver->dir, f->name));
}

/* What the driver makes in its probe. */
static void after_probe(struct driver *d, struct function *f)
{
	if (d->flags & DRIVER_DISPLAY || (d->flags & DRIVER_VFIO && f->class >> 8 == CLASS_VGA))
		child_evict_firmware(f);
	if (d->flags & DRIVER_VFIO) {
		vfio_device_add(f->group, f->dir, &f->bound);
		f->control_auto = true; /* vfio_pci_core_register_device(): pm_runtime_allow() */
	}
	if (d->flags & DRIVER_NVIDIA)
		nvidia_bound(f);
	child_bound(f);
	vgpu_bound(f);
}

/* __driver_probe_device() and really_probe() */
int driver_probe(struct driver *d, struct function *f)
{
	int r;

	if (!f->present || f->removing)
		return -ENODEV;
	if (f->driver)
		return -EBUSY;
	r = probe_check(d, f);
	if (r)
		return r;
	f->driver = d;
	add_driver_links(d, f);
	f->enabled = 1;
	after_probe(d, f);
	pci_set_power(f);
	pci_uevent(f, "bind");
	host_wake();
	return 0;
}

/* device_attach(): errors of one driver let the next try. */
bool device_attach(struct function *f)
{
	for (struct driver *d = host.drivers; d && !f->driver; d = d->next)
		if (driver_matches(d, f))
			driver_probe(d, f);
	return f->driver;
}

/* Its remove() function: the part that can sleep for ever. */
static void driver_remove(struct function *f)
{
	struct driver *d = f->driver;

	if (d->flags & DRIVER_NVIDIA && nvidia_users(f)) {
		while (!host.released)
			host_wait();
	}
	vgpu_unbound(f);
	if (f->sriov && d->flags & DRIVER_SRIOV && f->sriov->active)
		sriov_disable(f);
	while (d->flags & DRIVER_VFIO && f->group && group_in_use(f->group) && !host.released &&
	       !f->gone)
		host_wait();
	if (d->flags & DRIVER_NVIDIA)
		nvidia_unbound(f);
	child_unbound(f);
	bunch_remove(&f->bound);
	if (d->flags & DRIVER_VFIO)
		f->control_auto = false; /* vfio_pci_core_unregister_device(): pm_runtime_forbid() */
	if (d->flags & DRIVER_VFIO && f->group)
		group_vfio_put(f->group);
}

/*
 * __device_release_driver(): the driver link goes first, then remove() runs; so
 * in a stuck unbind the link has vanished although the driver still has it.
 */
void device_detach(struct function *f)
{
	if (!f->driver)
		return;
	remove_driver_links(f);
	driver_remove(f);
	f->driver = NULL;
	f->enabled = 0;
	pci_set_power(f);
	if (f->dir)
		pci_uevent(f, "unbind");
	host_wake();
}

/* bind_store() */
int core_bind(struct driver *d, struct function *f)
{
	int r;

	if (!driver_matches(d, f))
		return -ENODEV;
	device_lock(f);
	r = driver_probe(d, f);
	device_unlock(f);
	return r;
}

/* unbind_store() */
int core_unbind(struct driver *d, struct function *f)
{
	if (f->driver != d)
		return -ENODEV;
	device_lock(f);
	if (f->present && f->driver == d)
		device_detach(f);
	device_unlock(f);
	return 0;
}

void core_add(struct function *f)
{
	if (f->present)
		return;
	f->present = true;
	f->removing = false;
	f->ff = false;
	iommu_join(f);
	pci_add_nodes(f);
	pci_uevent(f, "add");
}

/* pci_bus_add_device(); VFs are asked for by their PF's switch too */
void core_offer(struct function *f)
{
	if (!host.drivers_autoprobe || (f->physfn && !f->physfn->sriov->autoprobe))
		return;
	device_lock(f);
	if (f->present && !f->driver)
		device_attach(f);
	device_unlock(f);
}

static void remove_one(struct function *f)
{
	device_lock(f);
	if (f->present) {
		f->removing = true;
		device_detach(f);
	}
	if (f->sriov && f->sriov->active)
		sriov_disable(f);
	if (f->present) {
		f->present = false;
		/* what comes in its place is a new device to the kernel: pci_pm_init() */
		free(f->override);
		f->override = NULL;
		f->d3cold_allowed = true;
		f->control_auto = false;
		pci_uevent(f, "remove");
		pci_remove_nodes(f);
		iommu_leave(f);
	}
	device_unlock(f);
}

/* Those below a bridge first, as pci_stop_bus_device() does. */
void core_remove(struct function *f)
{
	for (struct function *c = host.functions; c; c = c->next)
		if (c->under == f && c->present && !c->physfn)
			core_remove(c);
	if (f->present)
		remove_one(f);
}

void core_lose(struct function *f)
{
	f->gone = true;
	f->ff = true;
	host_wake();
	bus_lock();
	core_remove(f);
	bus_unlock();
}

static bool parent_there(const struct function *f)
{
	return !f->under || f->under->present;
}

/* pci_rescan_bus(): all are added, then all new ones are offered to drivers. */
void core_rescan(void)
{
	for (struct function *f = host.functions; f; f = f->next) {
		if (f->present || f->gone || f->physfn || !parent_there(f))
			continue;
		core_add(f);
		f->fresh = true;
	}
	for (struct function *f = host.functions; f; f = f->next) {
		if (!f->fresh)
			continue;
		f->fresh = false;
		core_offer(f);
	}
}

/* driver_override_store(), driver_set_override() */
int core_override_store(struct function *f, const char *buf, size_t len)
{
	bool locks = !host_kernel_at_least(6, 12);
	char *s;

	if (len >= 4095)
		return -EINVAL;
	if (locks)
		device_lock(f);
	s = text_written(buf, len);
	free(f->override);
	f->override = *s ? s : NULL;
	if (!*s)
		free(s);
	if (locks)
		device_unlock(f);
	return 0;
}

/* ---- /sys/bus/pci ---- */

/* drivers_probe_store(): success does not mean that anything was bound */
static int drivers_probe_store(void *owner, const struct attr *attr, const char *buf, size_t len)
{
	char *name = text_written(buf, len);
	struct function *f = host_function(name);

	(void)owner;
	(void)attr;
	free(name);
	if (!f || !f->present)
		return -ENODEV;
	device_lock(f);
	if (f->present && !f->driver)
		device_attach(f);
	device_unlock(f);
	return 0;
}

static int rescan_store(void *owner, const struct attr *attr, const char *buf, size_t len)
{
	char *s = text_written(buf, len);
	unsigned long v;
	int r = text_number(s, ~0UL, &v);

	(void)owner;
	(void)attr;
	free(s);
	if (r)
		return -EINVAL;
	if (!v)
		return 0;
	bus_lock();
	core_rescan();
	bus_unlock();
	return 0;
}

static int autoprobe_show(void *owner, const struct attr *attr, struct text *out)
{
	(void)owner;
	(void)attr;
	text_addf(out, "%d\n", host.drivers_autoprobe);
	return 0;
}

static int autoprobe_store(void *owner, const struct attr *attr, const char *buf, size_t len)
{
	(void)owner;
	(void)attr;
	(void)len;
	host.drivers_autoprobe = buf[0] != '0';
	return 0;
}

static const struct attr bus_attrs[] = {
	{ .name = "drivers_autoprobe",
	  .mode = 0644,
	  .show = autoprobe_show,
	  .store = autoprobe_store },
	{ .name = "drivers_probe", .mode = 0200, .store = drivers_probe_store },
	{ .name = "rescan", .mode = 0200, .store = rescan_store },
};

void core_make_bus(void)
{
	struct node *bus = node_dir(NULL, "sys/bus/pci");

	node_dir(bus, "devices");
	node_dir(bus, "drivers");
	node_dir(bus, "slots");
	node_files(bus, bus_attrs, sizeof(bus_attrs) / sizeof(*bus_attrs), NULL);
}
