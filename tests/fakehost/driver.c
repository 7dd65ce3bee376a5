/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Drivers and modules; see driver.h.
 *
 * The table knows what real drivers match, so that a machine need not say it;
 * the order of driver declarations is the order in which they are tried.
 */
#include "driver.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core.h"
#include "iommu.h"
#include "process.h"
#include "uevent.h"

struct known {
	const char *name;
	const char *module; /* NULL: built in */
	const char *ids;    /* space-separated patterns VEN:DEV[:CLASS] */
	unsigned flags;
};

/* keep sorted */
static const struct known known[] = {
	{ "ahci", "ahci", "*:*:0106", 0 },
	{ "amdgpu", "amdgpu", "1002:*:03 1002:*:12", DRIVER_DISPLAY },
	{ "ast", "ast", "1a03:*:03", DRIVER_DISPLAY },
	{ "bochs-drm", "bochs", "1234:1111:03", DRIVER_DISPLAY },
	{ "ccp", "ccp", "1022:*:1080", 0 },
	{ "e1000", "e1000", "8086:100e:02 8086:100f:02", 0 },
	{ "e1000e", "e1000e", "8086:10d3:02 8086:15b8:02", 0 },
	{ "gim", "gim", "", DRIVER_DISPLAY },
	{ "hpilo", "hpilo", "103c:3307", 0 },
	{ "hpwdt", "hpwdt", "103c:3306", 0 },
	{ "i915", "i915", "8086:*:03", DRIVER_DISPLAY },
	{ "igb", "igb", "8086:10c9:02 8086:1521:02", DRIVER_SRIOV },
	{ "ixgbe", "ixgbe", "8086:10fb:02 8086:1528:02", DRIVER_SRIOV },
	{ "mgag200", "mgag200", "102b:*:03", DRIVER_DISPLAY },
	{ "nouveau", "nouveau", "10de:*:03", DRIVER_DISPLAY },
	{ "nvgrace-gpu-vfio-pci", "nvgrace_gpu_vfio_pci", "", DRIVER_MANAGED_DMA | DRIVER_VFIO },
	{ "nvidia", "nvidia", "10de:*:0300 10de:*:0302", DRIVER_NVIDIA | DRIVER_DISPLAY },
	{ "nvidia-gpu", "i2c_nvidia_gpu", "10de:*:0c80", 0 },
	{ "nvidia-nvswitch", "nvidia", "10de:*:0680", 0 },
	{ "nvme", "nvme", "*:*:0108", 0 },
	{ "pci-pf-stub", "pci_pf_stub", "1d0f:0053", DRIVER_SRIOV },
	{ "pci-stub", "pci_stub", "", DRIVER_MANAGED_DMA },
	{ "pcieport", NULL, "*:*:0604", DRIVER_MANAGED_DMA },
	{ "radeon", "radeon", "1002:5159 1002:5046", DRIVER_DISPLAY },
	{ "snd_hda_intel", "snd_hda_intel", "*:*:0403", 0 },
	{ "uhci_hcd", "uhci_hcd", "*:*:0c0300", 0 },
	{ "vfio-pci", "vfio_pci", "", DRIVER_MANAGED_DMA | DRIVER_VFIO },
	{ "virtio-pci", NULL, "1af4:*", 0 },
	{ "xe", "xe", "8086:e20b:03 8086:e211:03 8086:e212:03 8086:e20c:03",
	  DRIVER_SRIOV | DRIVER_DISPLAY },
	{ "xhci_hcd", "xhci_pci", "*:*:0c0330", 0 },
};

void driver_add_pattern(struct pattern **list, const struct pattern *p)
{
	struct pattern *fresh = must_alloc(sizeof(*fresh));

	*fresh = *p;
	fresh->next = NULL;
	while (*list)
		list = &(*list)->next;
	*list = fresh;
}

/* "10de" or "*"; -2 for anything else. */
static long parse_id(const char *s, size_t len)
{
	char *end;
	long v;

	if (len == 1 && *s == '*')
		return -1;
	v = strtol(s, &end, 16);
	return end == s + len && len && v >= 0 ? v : -2;
}

int driver_parse_ids(struct driver *d, const char *spec)
{
	struct pattern p = { 0 };
	size_t a = strcspn(spec, ":"), b;
	const char *device = spec + a + (spec[a] == ':');
	const char *class;

	b = strcspn(device, ":");
	class = device + b + (device[b] == ':');
	p.vendor = parse_id(spec, a);
	p.device = parse_id(device, b);
	if (p.vendor < -1 || p.device < -1 || strlen(class) > 6)
		return host_complain("'%s' is not VEN:DEV or VEN:DEV:CLASS", spec);
	if (*class) {
		unsigned shift = 24 - 4 * (unsigned)strlen(class);

		p.class = (unsigned)strtoul(class, NULL, 16) << shift;
		p.class_mask = 0xffffffU << shift & 0xffffffU;
	}
	driver_add_pattern(&d->ids, &p);
	return 0;
}

static void add_known_ids(struct driver *d, const char *ids)
{
	char word[32];

	while (text_next(&ids, " ", word, sizeof(word)))
		driver_parse_ids(d, word);
}

struct driver *driver_declare(const char *name)
{
	struct driver *d = host_driver(name), **end = &host.drivers;

	if (d)
		return d;
	d = must_alloc(sizeof(*d));
	d->name = text_dup(name);
	d->loaded = true;
	while (*end)
		end = &(*end)->next;
	*end = d;
	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++) {
		if (strcmp(known[i].name, name))
			continue;
		d->module = known[i].module ? text_dup(known[i].module) : NULL;
		d->flags = known[i].flags;
		add_known_ids(d, known[i].ids);
		return d;
	}
	d->module = text_dup(name);
	for (char *s = d->module; *s; s++)
		if (*s == '-')
			*s = '_';
	return d;
}

/* ---- /sys/bus/pci/drivers/X ---- */

static int bind_store(void *owner, const struct attr *attr, const char *buf, size_t len)
{
	char *name = text_written(buf, len);
	struct function *f = host_function(name);

	(void)attr;
	free(name);
	return f && f->present ? core_bind(owner, f) : -ENODEV;
}

static int unbind_store(void *owner, const struct attr *attr, const char *buf, size_t len)
{
	char *name = text_written(buf, len);
	struct function *f = host_function(name);

	(void)attr;
	free(name);
	return f && f->present ? core_unbind(owner, f) : -ENODEV;
}

static int scan_ids(const char *buf, size_t len, struct pattern *p)
{
	char *s = text_written(buf, len);
	unsigned v[7] = { 0 };
	int n = sscanf(s, "%x %x %x %x %x %x %x", &v[0], &v[1], &v[2], &v[3], &v[4], &v[5], &v[6]);

	free(s);
	if (n < 2)
		return -EINVAL;
	*p = (struct pattern){ .vendor = v[0], .device = v[1], .class = v[4], .class_mask = v[5] };
	return 0;
}

/* new_id_store(): an id that the driver has already is EEXIST. */
static int new_id_store(void *owner, const struct attr *attr, const char *buf, size_t len)
{
	struct driver *d = owner;
	struct function pseudo = { 0 };
	struct pattern p;
	int r = scan_ids(buf, len, &p);

	(void)attr;
	if (r)
		return r;
	pseudo.vendor = (unsigned)p.vendor;
	pseudo.device = (unsigned)p.device;
	pseudo.class = p.class;
	if (driver_matches(d, &pseudo))
		return -EEXIST;
	driver_add_pattern(&d->dynamic, &p);
	for (struct function *f = host.functions; f; f = f->next) {
		if (!f->present || f->driver || !driver_matches(d, f))
			continue;
		device_lock(f);
		if (f->present && !f->driver)
			driver_probe(d, f);
		device_unlock(f);
	}
	return 0;
}

static int remove_id_store(void *owner, const struct attr *attr, const char *buf, size_t len)
{
	struct driver *d = owner;
	struct pattern p;
	int r = scan_ids(buf, len, &p);

	(void)attr;
	if (r)
		return r;
	for (struct pattern **at = &d->dynamic; *at; at = &(*at)->next) {
		struct pattern *dead = *at;

		if (dead->vendor != p.vendor || dead->device != p.device)
			continue;
		*at = dead->next;
		free(dead);
		return 0;
	}
	return -ENODEV;
}

static int driver_uevent_store(void *owner, const struct attr *attr, const char *buf, size_t len)
{
	struct driver *d = owner;
	char *action = text_written(buf, len);

	(void)attr;
	uevent_send(action, d->dir, "drivers", "SYNTH_UUID=0\n");
	free(action);
	return 0;
}

static const struct attr driver_attrs[] = {
	{ .name = "bind", .mode = 0200, .store = bind_store },
	{ .name = "new_id", .mode = 0200, .store = new_id_store },
	{ .name = "remove_id", .mode = 0200, .store = remove_id_store },
	{ .name = "uevent", .mode = 0200, .store = driver_uevent_store },
	{ .name = "unbind", .mode = 0200, .store = unbind_store },
};

/* ---- modules ---- */

/*
 * The kernel counts whoever has a node of the module's devices open (kernel/module/main.c). Here no node
 * knows its module: each counts for all but VFIO's, and those for VFIO's. None is none either way;
 * but on nvidia others always stand (nvidia_modeset, nvidia_uvm).
 */
static int refcnt_show(void *owner, const struct attr *attr, struct text *out)
{
	const struct node *module = owner;

	(void)attr;
	text_addf(out, "%u\n", process_nodes(!strncmp(module->name, "vfio", 4)) +
					 !strcmp(module->name, "nvidia"));
	return 0;
}

static const struct attr refcnt_attr = { .name = "refcnt", .mode = 0444, .show = refcnt_show };

struct node *module_dir(const char *name)
{
	struct node *dir = node_dir(NULL, "sys/module");
	struct node *m = node_child(dir, name);

	if (m)
		return m;
	m = node_dir(dir, name);
	node_text(m, "initstate", 0444, "live\n");
	node_files(m, &refcnt_attr, 1, m);
	node_dir(m, "holders");
	uevent_send("add", m, "module", "");
	return m;
}

void module_parameter(const char *module, const char *name, const char *value)
{
	node_text(node_dir(module_dir(module), "parameters"), name, 0644, "%s\n", value);
}

bool module_flag(const char *module, const char *name)
{
	char *path = text_format("sys/module/%s/parameters/%s", module, name);
	struct node *n = node_find(path);

	free(path);
	return n && n->text.len && strchr("Yy1", n->text.data[0]);
}

static void parameter_default(const char *module, const char *name, const char *value)
{
	struct node *dir = node_dir(module_dir(module), "parameters");

	if (!node_child(dir, name))
		module_parameter(module, name, value);
}

/* The parameters of the VFIO modules, with their defaults. */
static void load_vfio(void)
{
	parameter_default("vfio", "enable_unsafe_noiommu_mode", "N");
	parameter_default("vfio_iommu_type1", "allow_unsafe_interrupts", "N");
	parameter_default("vfio_iommu_type1", "disable_hugepages", "N");
	parameter_default("vfio_iommu_type1", "dma_entry_limit", "65535");
	module_dir("vfio_pci_core");
	parameter_default("vfio_pci", "disable_denylist", "N");
	parameter_default("vfio_pci", "disable_idle_d3", "N");
	parameter_default("vfio_pci", "disable_vga", "N");
	parameter_default("vfio_pci", "enable_sriov", "N");
	parameter_default("vfio_pci", "ids", "(null)");
	parameter_default("vfio_pci", "nointxmask", "N");
	vfio_make();
}

static void make_driver_dir(struct driver *d)
{
	struct node *dir = node_dir(NULL, "sys/bus/pci/drivers");

	d->dir = node_dir(dir, d->name);
	node_files(d->dir, driver_attrs, sizeof(driver_attrs) / sizeof(*driver_attrs), d);
	if (d->module) {
		char *name = text_format("pci:%s", d->name);
		struct node *m = module_dir(d->module);

		node_link_to(d->dir, "module", m);
		node_link_to(node_dir(m, "drivers"), name, d->dir);
		free(name);
	}
}

void driver_load(struct driver *d, bool probe)
{
	d->loaded = true;
	if (d->dir)
		return;
	if (d->flags & DRIVER_VFIO)
		load_vfio();
	make_driver_dir(d);
	uevent_send("add", d->dir, "drivers", "");
	if (!probe || !host.drivers_autoprobe)
		return;
	for (struct function *f = host.functions; f; f = f->next) {
		if (!f->present || f->driver || !driver_matches(d, f))
			continue;
		device_lock(f);
		if (f->present && !f->driver)
			driver_probe(d, f);
		device_unlock(f);
	}
}

void driver_unload(struct driver *d)
{
	d->loaded = false; /* nobody is bound any more */
	for (struct function *f = host.functions; f; f = f->next)
		if (f->present && f->driver == d)
			core_unbind(d, f);
	if (!d->dir)
		return;
	uevent_send("remove", d->dir, "drivers", "");
	node_remove(d->dir);
	d->dir = NULL;
	if (d->module)
		node_remove(module_dir(d->module));
}
