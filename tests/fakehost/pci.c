/* SPDX-License-Identifier: Apache-2.0 */
/* The files of a PCI function; see pci.h.  Formats: drivers/pci/pci-sysfs.c, 6.12. */
#include "pci.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core.h"
#include "cpu.h"
#include "log.h"
#include "uevent.h"

void pci_uevent_env(const struct function *f, struct text *out)
{
	if (f->driver)
		text_addf(out, "DRIVER=%s\n", f->driver->name);
	text_addf(out, "PCI_CLASS=%04X\nPCI_ID=%04X:%04X\nPCI_SUBSYS_ID=%04X:%04X\n", f->class,
		  f->vendor, f->device, f->sub_vendor, f->sub_device);
	text_addf(out, "PCI_SLOT_NAME=%s\nMODALIAS=pci:v%08Xd%08Xsv%08Xsd%08Xbc%02Xsc%02Xi%02X\n",
		  f->name, f->vendor, f->device, f->sub_vendor, f->sub_device, f->class >> 16,
		  f->class >> 8 & 0xff, f->class & 0xff);
}

void pci_uevent_extra(struct function *f, const char *action, const char *extra)
{
	struct text env = { 0 };

	text_puts(&env, extra);
	pci_uevent_env(f, &env);
	uevent_send(action, f->dir, "pci", env.data);
	text_free(&env);
}

void pci_uevent(struct function *f, const char *action)
{
	pci_uevent_extra(f, action, "");
}

/*
 * What runtime power management makes of it: an idle device on vfio-pci goes to
 * D3 when control is `auto` (vfio_pci_core_register_device() drops its count).
 */
void pci_set_power(struct function *f)
{
	bool sleep = f->control_auto && f->driver && f->driver->flags & DRIVER_VFIO;

	if (!f->initial_power && !sleep && !f->suspended)
		return;
	if (f->initial_power && f->driver == f->initial && f->control_auto)
		sleep = true;
	f->suspended = sleep;
	if (!sleep)
		f->power_state = "D0";
	else if (f->initial_power)
		f->power_state = f->initial_power;
	else
		f->power_state = f->d3cold_allowed && f->wakes ? "D3cold" : "D3hot";
}

/* pci_config_pm_runtime_get(): the device is awake afterwards. */
void pci_wake(struct function *f)
{
	if (!f->suspended)
		return;
	log_note("wake", f->name);
	f->suspended = false;
	f->power_state = "D0";
}

/* ---- texts ---- */

enum field {
	F_VENDOR,
	F_DEVICE,
	F_SUB_VENDOR,
	F_SUB_DEVICE,
	F_REVISION,
	F_CLASS,
	F_IRQ,
	F_NUMA,
	F_CPUS,
	F_CPULIST,
	F_MODALIAS,
	F_OVERRIDE,
	F_ENABLE,
	F_BOOT_VGA,
	F_D3COLD,
	F_POWER,
	F_SPEED,
	F_WIDTH,
	F_MAX_SPEED,
	F_MAX_WIDTH,
	F_RESET_METHOD,
	F_SECONDARY,
	F_SUBORDINATE,
	F_RESOURCE,
	F_UEVENT,
	F_CONTROL,
	F_STATUS,
	F_ENABLED,
	F_USAGE,
};

static void show_resource(const struct function *f, struct text *out)
{
	static const struct bar unused;
	unsigned lines = pci_is_bridge(f) ? 17 : 13;

	for (unsigned i = 0; i < lines; i++) {
		const struct bar *b = i < BAR_COUNT && f->bars[i].size ? &f->bars[i] : &unused;

		text_addf(out, "0x%016llx 0x%016llx 0x%016llx\n", (unsigned long long)b->start,
			  (unsigned long long)(b->size ? b->start + b->size - 1 : 0),
			  (unsigned long long)b->flags);
	}
}

static void show_numbers(const struct function *f, enum field field, struct text *out)
{
	switch (field) {
	case F_VENDOR:
		text_addf(out, "0x%04x\n", f->vendor);
		break;
	case F_DEVICE:
		text_addf(out, "0x%04x\n", f->device);
		break;
	case F_SUB_VENDOR:
		text_addf(out, "0x%04x\n", f->sub_vendor);
		break;
	case F_SUB_DEVICE:
		text_addf(out, "0x%04x\n", f->sub_device);
		break;
	case F_REVISION:
		text_addf(out, "0x%02x\n", f->revision);
		break;
	case F_CLASS:
		text_addf(out, "0x%06x\n", f->class);
		break;
	case F_IRQ:
		text_addf(out, "%u\n", f->irqs ? 16 + f->slot % 8 : 0);
		break;
	case F_NUMA:
		text_addf(out, "%d\n", f->numa);
		break;
	case F_ENABLE:
		text_addf(out, "%u\n", f->enabled);
		break;
	case F_BOOT_VGA:
		text_addf(out, "%d\n", f->boot_vga);
		break;
	case F_D3COLD:
		text_addf(out, "%d\n", f->d3cold_allowed);
		break;
	case F_WIDTH:
		text_addf(out, "%u\n", f->width);
		break;
	case F_MAX_WIDTH:
		text_addf(out, "%u\n", f->max_width);
		break;
	case F_SECONDARY:
		text_addf(out, "%u\n", f->secondary);
		break;
	default:
		text_addf(out, "%u\n", f->subordinate);
	}
}

static void show_modalias(const struct function *f, struct text *out)
{
	struct text env = { 0 };

	pci_uevent_env(f, &env);
	text_puts(out, strstr(env.data, "MODALIAS=") + strlen("MODALIAS="));
	text_free(&env);
}

static void show_words(const struct function *f, enum field field, struct text *out)
{
	switch (field) {
	case F_CPUS:
		cpu_mask(f->numa, out);
		break;
	case F_CPULIST:
		cpu_list(f->numa, out);
		break;
	case F_MODALIAS:
		show_modalias(f, out);
		break;
	case F_OVERRIDE:
		text_addf(out, "%s\n", f->override ? f->override : "(null)");
		break;
	case F_POWER:
		text_addf(out, "%s\n", f->power_state);
		break;
	case F_SPEED:
		text_addf(out, "%s\n", f->speed);
		break;
	case F_MAX_SPEED:
		text_addf(out, "%s\n", f->max_speed);
		break;
	case F_RESET_METHOD:
		text_addf(out, "%s\n", f->reset_method ? f->reset_method : "");
		break;
	case F_RESOURCE:
		show_resource(f, out);
		break;
	case F_UEVENT:
		pci_uevent_env(f, out);
		break;
	case F_CONTROL:
		text_puts(out, f->control_auto ? "auto\n" : "on\n");
		break;
	case F_STATUS:
		text_puts(out, f->suspended ? "suspended\n" : "active\n");
		break;
	case F_ENABLED:
		text_puts(out, f->control_auto ? "enabled\n" : "forbidden\n");
		break;
	case F_USAGE:
		text_puts(out, f->suspended ? "0\n" : "1\n");
		break;
	default:
		show_numbers(f, field, out);
	}
}

static int pci_show(void *owner, const struct attr *attr, struct text *out)
{
	struct function *f = owner;
	bool locks = attr->arg == F_OVERRIDE && !host_kernel_at_least(6, 12);

	if (attr->arg == F_SPEED || attr->arg == F_WIDTH || attr->arg == F_SECONDARY ||
	    attr->arg == F_SUBORDINATE)
		pci_wake(f);
	if (locks)
		device_lock(f);
	show_words(f, (enum field)attr->arg, out);
	if (locks)
		device_unlock(f);
	return 0;
}

/* ---- writes ---- */

static int override_store(void *owner, const struct attr *attr, const char *buf, size_t len)
{
	(void)attr;
	return core_override_store(owner, buf, len);
}

static int written_number(const char *buf, size_t len, unsigned long *ret)
{
	char *s = text_written(buf, len);
	int r = text_number(s, ~0UL, ret);

	free(s);
	return r;
}

static int remove_store(void *owner, const struct attr *attr, const char *buf, size_t len)
{
	struct function *f = owner;
	unsigned long v;

	(void)attr;
	if (written_number(buf, len, &v))
		return -EINVAL;
	if (!v)
		return 0;
	bus_lock();
	core_remove(f);
	bus_unlock();
	return 0;
}

static int rescan_store(void *owner, const struct attr *attr, const char *buf, size_t len)
{
	unsigned long v;

	(void)owner;
	(void)attr;
	if (written_number(buf, len, &v))
		return -EINVAL;
	if (!v)
		return 0;
	bus_lock();
	core_rescan();
	bus_unlock();
	return 0;
}

/* reset_store() */
static int reset_store(void *owner, const struct attr *attr, const char *buf, size_t len)
{
	struct function *f = owner;
	unsigned long v;
	int r = 0;

	(void)attr;
	if (written_number(buf, len, &v) || v != 1)
		return -EINVAL;
	device_lock(f);
	if (!f->present)
		r = -ENODEV;
	else if (!f->reset_method)
		r = -ENOTTY;
	else if (f->ff_after_reset)
		f->ff = true;
	if (!r)
		pci_wake(f);
	device_unlock(f);
	return r;
}

static bool has_word(const char *list, const char *word)
{
	char have[32];

	while (list && text_next(&list, " ", have, sizeof(have)))
		if (!strcmp(have, word))
			return true;
	return false;
}

/* reset_method_store(): all words are looked at before any counts. */
static int reset_method_store(void *owner, const struct attr *attr, const char *buf, size_t len)
{
	struct function *f = owner;
	char *s = text_written(buf, len), word[32];
	struct text t = { 0 };
	int r = 0;

	(void)attr;
	if (!strcmp(s, "default"))
		text_puts(&t, f->reset_can);
	for (const char *at = s; !t.len && text_next(&at, " ", word, sizeof(word));)
		if (!has_word(f->reset_can, word))
			r = -EINVAL;
	if (!r && !t.len)
		text_puts(&t, s);
	free(s);
	if (!r) {
		free(f->reset_method);
		f->reset_method = t.len ? text_dup(t.data) : NULL;
	}
	text_free(&t);
	return r;
}

/* enable_store() */
static int enable_store(void *owner, const struct attr *attr, const char *buf, size_t len)
{
	struct function *f = owner;
	unsigned long v;
	int r = 0;

	(void)attr;
	if (written_number(buf, len, &v))
		return -EINVAL;
	device_lock(f);
	if (f->driver)
		r = -EBUSY;
	else if (v)
		f->enabled++;
	else if (f->enabled)
		f->enabled--;
	else
		r = -EIO;
	device_unlock(f);
	return r;
}

static int d3cold_store(void *owner, const struct attr *attr, const char *buf, size_t len)
{
	struct function *f = owner;
	unsigned long v;

	(void)attr;
	if (written_number(buf, len, &v))
		return -EINVAL;
	f->d3cold_allowed = v;
	pci_wake(f);
	return 0;
}

/* control_store(): only the two words */
static int control_store(void *owner, const struct attr *attr, const char *buf, size_t len)
{
	struct function *f = owner;
	char *s = text_written(buf, len);
	bool is_auto = !strcmp(s, "auto"), is_on = !strcmp(s, "on");

	(void)attr;
	free(s);
	if (!is_auto && !is_on)
		return -EINVAL;
	f->control_auto = is_auto;
	pci_set_power(f);
	return 0;
}

static int uevent_store(void *owner, const struct attr *attr, const char *buf, size_t len)
{
	char *action = text_written(buf, len);
	int known = !strcmp(action, "add") || !strcmp(action, "change") ||
		    !strcmp(action, "remove") || !strcmp(action, "bind") ||
		    !strcmp(action, "unbind") || !strcmp(action, "online");

	(void)attr;
	if (known)
		pci_uevent_extra(owner, action, "SYNTH_UUID=0\n");
	free(action);
	return known ? 0 : -EINVAL;
}

/* The kernel takes a node that exists; it taints, which nobody sees here. */
static int numa_store(void *owner, const struct attr *attr, const char *buf, size_t len)
{
	struct function *f = owner;
	unsigned long v;

	(void)attr;
	if (written_number(buf, len, &v) || v >= cpu_nodes())
		return -EINVAL;
	f->numa = (int)v;
	return 0;
}

/* ---- tables ---- */

#define SHOW(file, id)                                                                             \
	{                                                                                          \
		.name = file, .mode = 0444, .show = pci_show, .arg = id                            \
	}
#define BOTH(file, id, write)                                                                      \
	{                                                                                          \
		.name = file, .mode = 0644, .show = pci_show, .store = write, .arg = id            \
	}
#define WRITE(file, write)                                                                         \
	{                                                                                          \
		.name = file, .mode = 0200, .store = write                                         \
	}

static const struct attr common_attrs[] = {
	SHOW("class", F_CLASS),
	{ .name = "config", .mode = 0644, .show = config_show, .store = config_store },
	BOTH("d3cold_allowed", F_D3COLD, d3cold_store),
	SHOW("device", F_DEVICE),
	BOTH("driver_override", F_OVERRIDE, override_store),
	BOTH("enable", F_ENABLE, enable_store),
	SHOW("irq", F_IRQ),
	SHOW("local_cpulist", F_CPULIST),
	SHOW("local_cpus", F_CPUS),
	SHOW("modalias", F_MODALIAS),
	BOTH("numa_node", F_NUMA, numa_store),
	SHOW("power_state", F_POWER),
	WRITE("remove", remove_store),
	WRITE("rescan", rescan_store),
	SHOW("resource", F_RESOURCE),
	SHOW("revision", F_REVISION),
	SHOW("subsystem_device", F_SUB_DEVICE),
	SHOW("subsystem_vendor", F_SUB_VENDOR),
	BOTH("uevent", F_UEVENT, uevent_store),
	SHOW("vendor", F_VENDOR),
};

static const struct attr power_attrs[] = {
	BOTH("control", F_CONTROL, control_store),
	SHOW("runtime_enabled", F_ENABLED),
	SHOW("runtime_status", F_STATUS),
	SHOW("runtime_usage", F_USAGE),
};

static const struct attr link_attrs[] = {
	SHOW("current_link_speed", F_SPEED),
	SHOW("current_link_width", F_WIDTH),
	SHOW("max_link_speed", F_MAX_SPEED),
	SHOW("max_link_width", F_MAX_WIDTH),
};

static const struct attr bridge_attrs[] = {
	SHOW("secondary_bus_number", F_SECONDARY),
	SHOW("subordinate_bus_number", F_SUBORDINATE),
};

static const struct attr reset_attrs[] = {
	WRITE("reset", reset_store),
	BOTH("reset_method", F_RESET_METHOD, reset_method_store),
};

static const struct attr vga_attrs[] = { SHOW("boot_vga", F_BOOT_VGA) };

static const struct attr rom_attrs[] = {
	{ .name = "rom", .mode = 0600, .show = rom_show, .store = rom_store },
};

#define ADD(f, table) node_files((f)->dir, table, sizeof(table) / sizeof(*(table)), f)

void pci_add_files(struct function *f)
{
	ADD(f, common_attrs);
	node_files(node_dir(f->dir, "power"), power_attrs,
		   sizeof(power_attrs) / sizeof(*power_attrs), f);
	if (f->speed)
		ADD(f, link_attrs);
	if (pci_is_bridge(f))
		ADD(f, bridge_attrs);
	if (f->reset_can && *f->reset_can)
		ADD(f, reset_attrs);
	if (f->class >> 8 == CLASS_VGA)
		ADD(f, vga_attrs);
	if (f->bars[BAR_ROM].size) {
		ADD(f, rom_attrs);
		node_child(f->dir, "rom")->size = f->bars[BAR_ROM].size;
	}
	node_child(f->dir, "config")->size = f->speed ? 4096 : 256;
}
