/* SPDX-License-Identifier: Apache-2.0 */
/* The lines `pci` and `sriov`; see README.md. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core.h"
#include "driver.h"
#include "iommu.h"
#include "parse.h"
#include "pci.h"
#include "sriov.h"

static int parse_hex_pair(const char *s, unsigned *a, unsigned *b)
{
	char end;

	return s && sscanf(s, "%4x:%4x%c", a, b, &end) == 2
		       ? 0
		       : host_complain("'%s' is not VEN:DEV", s ? s : "");
}

/* "16M" -> bytes; 0 if it is no size. */
static uint64_t parse_size(const char *s, const char **end)
{
	char *stop;
	uint64_t v = strtoull(s, &stop, 0);
	const char *units = "KMGT", *unit = *stop ? strchr(units, *stop) : NULL;

	if (unit) {
		v <<= 10 * (unit - units + 1);
		stop++;
	}
	*end = stop;
	return v;
}

/* "16G:64:pref", "256K", "0x93000000+16M" */
static int parse_bar(const char *s, struct bar *b)
{
	const char *plus = strchr(s, '+'), *end;
	bool wide = false, prefetch = false;
	char word[16];

	*b = (struct bar){ 0 };
	if (plus)
		b->start = strtoull(s, NULL, 16);
	b->size = parse_size(plus ? plus + 1 : s, &end);
	while (text_next(&end, ":", word, sizeof(word))) {
		wide |= !strcmp(word, "64");
		prefetch |= !strcmp(word, "pref");
		if (strcmp(word, "64") && strcmp(word, "pref"))
			return host_complain("'%s' is no BAR", s);
	}
	if (!b->size || b->size & (b->size - 1))
		return host_complain("'%s': the size of a BAR is a power of two", s);
	b->flags = bar_flags(wide || (plus && b->start >> 32), prefetch);
	return 0;
}

static int parse_bars(struct line *l, const char *prefix, struct bar *bars)
{
	char key[16];
	int r = 0;

	for (int i = 0; i < 6 && !r; i++) {
		const char *s;

		snprintf(key, sizeof(key), "%s%d", prefix, i);
		s = line_key(l, key);
		if (s)
			r = parse_bar(s, &bars[i]);
	}
	return r;
}

/* link=2.5/16x8/16: speed now and at most, width now and at most */
static int parse_link(struct line *l, struct function *f)
{
	const char *s = line_key(l, "link");
	char now[16], most[16];

	if (line_flag(l, "pci")) /* conventional: no link at all */
		return 0;
	f->speed = f->max_speed = "8.0 GT/s PCIe";
	f->width = f->max_width = 16;
	if (!s)
		return 0;
	if (sscanf(s, "%15[0-9.]/%15[0-9.]x%u/%u", now, most, &f->width, &f->max_width) != 4)
		return host_complain("link=%s is not SPEED/MAXxWIDTH/MAX", s);
	f->speed = text_format(strchr(now, '.') ? "%s GT/s PCIe" : "%s.0 GT/s PCIe", now);
	f->max_speed = text_format(strchr(most, '.') ? "%s GT/s PCIe" : "%s.0 GT/s PCIe", most);
	return 0;
}

static int parse_reset(struct line *l, struct function *f)
{
	const char *s = line_key(l, "reset");

	f->reset_can = text_dup(s ? s : pci_is_bridge(f) ? "" : "bus");
	for (char *c = f->reset_can; *c; c++)
		if (*c == ',')
			*c = ' ';
	if (!strcmp(f->reset_can, "none"))
		*f->reset_can = '\0';
	f->reset_method = *f->reset_can ? text_dup(f->reset_can) : NULL;
	return 0;
}

static int parse_rom(struct line *l, struct function *f)
{
	static const char *const kinds[] = { "good", "badsig", "badid", "badlen", "empty" };
	const char *s = line_key(l, "rom");

	for (int i = 0; s && i < 5; i++) {
		if (strcmp(kinds[i], s))
			continue;
		f->rom = i < 4 ? text_dup(s) : NULL;
		f->bars[BAR_ROM] = (struct bar){ .size = 512 * 1024, .flags = 0x00046200 };
		return 0;
	}
	return s ? host_complain("rom=%s is no kind of ROM", s) : 0;
}

/* power=auto,D3cold: control, and the state it sleeps in on its own driver */
static int parse_power(struct line *l, struct function *f)
{
	const char *s = line_key(l, "power");
	char word[16];

	f->power_state = "D0";
	f->d3cold_allowed = true;
	while (s && text_next(&s, ",", word, sizeof(word))) {
		if (!strcmp(word, "auto") || !strcmp(word, "on")) {
			f->control_auto = *word == 'a';
		} else if (!strcmp(word, "wakes")) {
			f->wakes = true;
		} else if (!strcmp(word, "D3hot") || !strcmp(word, "D3cold")) {
			f->initial_power = text_dup(word);
			f->suspended = true;
			f->power_state = f->initial_power;
		} else {
			return host_complain("power=%s is not understood", word);
		}
	}
	return 0;
}

static int parse_group(struct line *l, struct function *f)
{
	unsigned number = ~0U;
	int r = line_number(l, "group", 65535, &number);

	if (r || number == ~0U)
		return r;
	if (iommu.kind == IOMMU_NONE)
		return host_complain("group=%u on a machine without IOMMU", number);
	f->group = host_group((int)number);
	if (!f->group) {
		f->group = host_group_new();
		f->group->number = (int)number;
	}
	return 0;
}

/* A driver that no table knows matches what the description binds to it. */
static void learn_id(struct driver *d, const struct function *f)
{
	struct pattern p = { .vendor = f->vendor, .device = f->device };

	if (!driver_matches(d, f) && !(d->flags & DRIVER_VFIO) && d->loaded &&
	    strcmp(d->name, "pci-stub") && !f->override)
		driver_add_pattern(&d->ids, &p);
}

static int parse_driver(struct line *l, struct function *f)
{
	const char *name = line_key(l, "driver"), *override = line_key(l, "override");

	f->override = override ? text_dup(override) : NULL;
	if (!name)
		return 0;
	f->initial = driver_declare(name);
	if (!f->initial->loaded)
		return host_complain("driver %s is absent", name);
	learn_id(f->initial, f);
	return 0;
}

/* The bridge whose bus this is, unless `under=` names it. */
static int parse_under(struct line *l, struct function *f)
{
	const char *s = line_key(l, "under"), *bus = line_key(l, "bus");
	struct function *bridge = s ? host_function(s) : NULL;

	if (s && (!bridge || !pci_is_bridge(bridge)))
		return host_complain("under=%s is no bridge above this line", s);
	for (struct function *b = host.functions; b && !bridge; b = b->next)
		if (pci_is_bridge(b) && b->secondary && b->domain == f->domain &&
		    b->secondary == f->bus)
			bridge = b;
	f->under = bridge;
	if (bridge && !bridge->secondary)
		bridge->secondary = bridge->subordinate = f->bus;
	for (; bridge; bridge = bridge->under)
		if (bridge->subordinate < f->bus)
			bridge->subordinate = f->bus;
	if (bus && sscanf(bus, "%x-%x", &f->secondary, &f->subordinate) != 2)
		return host_complain("bus=%s is not SECONDARY-SUBORDINATE", bus);
	return 0;
}

static int parse_ids(struct line *l, struct function *f)
{
	const char *ids = line_word(l), *class = line_word(l), *sub = line_key(l, "sub");
	const char *rev = line_key(l, "rev");
	char end;

	if (parse_hex_pair(ids, &f->vendor, &f->device))
		return -EINVAL;
	if (!class || (strlen(class) != 4 && strlen(class) != 6) ||
	    sscanf(class, "%x%c", &f->class, &end) != 1)
		return host_complain("'%s' is no class", class ? class : "");
	if (strlen(class) == 4)
		f->class <<= 8;
	f->sub_vendor = f->vendor;
	f->revision = rev ? (unsigned)strtoul(rev, NULL, 16) & 0xff : 0;
	return sub ? parse_hex_pair(sub, &f->sub_vendor, &f->sub_device) : 0;
}

static int parse_rest(struct line *l, struct function *f)
{
	const char *numa = line_key(l, "numa");
	int r = parse_under(l, f);

	f->boot_vga = line_flag(l, "boot_vga");
	f->numa = numa ? (int)strtol(numa, NULL, 10) : -1;
	f->irqs = 1;
	f->minor = -1;
	r = r ? r : line_number(l, "irqs", 64, &f->irqs);
	r = r ? r : line_number(l, "kernel_users", 64, &f->kernel_users);
	r = r ? r : parse_bars(l, "bar", f->bars);
	r = r ? r : parse_link(l, f);
	r = r ? r : parse_reset(l, f);
	r = r ? r : parse_rom(l, f);
	r = r ? r : parse_power(l, f);
	r = r ? r : parse_group(l, f);
	return r ? r : parse_driver(l, f);
}

static void append(struct function *f)
{
	struct function **end = &host.functions;

	while (*end)
		end = &(*end)->next;
	*end = f;
}

/* A machine that runs gets a new card: it comes up as after a rescan. */
static void hotplug(struct function *f)
{
	pci_place_bars(f);
	bus_lock();
	core_add(f);
	core_offer(f);
	bus_unlock();
}

int pci_line(struct line *l)
{
	const char *address = line_word(l);
	struct function *f = must_alloc(sizeof(*f));
	char end;
	int r;

	if (!address ||
	    sscanf(address, "%8x:%2x:%2x.%1x%c", &f->domain, &f->bus, &f->slot, &f->fn, &end) !=
		    4 ||
	    f->slot > 31 || f->fn > 7)
		return host_complain("'%s' is no address", address ? address : "");
	snprintf(f->name, sizeof(f->name), "%04x:%02x:%02x.%x", f->domain, f->bus, f->slot, f->fn);
	if (host_function(f->name))
		return host_complain("%s is there already", f->name);
	r = parse_ids(l, f);
	r = r ? r : parse_rest(l, f);
	if (r)
		return r;
	append(f);
	if (host.built)
		hotplug(f);
	return 0;
}

static int parse_vf_group(struct line *l, struct sriov *s)
{
	const char *group = line_key(l, "group");

	s->group = iommu.kind == IOMMU_NONE ? -1 : -2;
	if (group && strcmp(group, "none"))
		s->group = (int)strtol(group, NULL, 10);
	else if (group)
		s->group = -1;
	return 0;
}

/* `sriov ADDR total= [offset=] [stride=] [num=] [vfdev=] [vfsub=] [vfclass=] ...` */
int sriov_line(struct line *l)
{
	const char *address = line_word(l), *dev = line_key(l, "vfdev");
	const char *sub = line_key(l, "vfsub"), *class = line_key(l, "vfclass");
	const char *driver = line_key(l, "driver");
	struct function *f = address ? host_function(address) : NULL;
	struct sriov *s = must_alloc(sizeof(*s));
	int r;

	if (!f)
		return host_complain("there is no function '%s'", address ? address : "");
	*s = (struct sriov){ .total = ~0U, .offset = 1, .stride = 1, .autoprobe = true };
	s->vf_device = dev ? (unsigned)strtoul(dev, NULL, 16) : f->device;
	s->vf_class = class ? (unsigned)strtoul(class, NULL, 16) : f->class;
	s->vf_sub_vendor = f->sub_vendor;
	s->vf_sub_device = f->sub_device;
	r = sub ? parse_hex_pair(sub, &s->vf_sub_vendor, &s->vf_sub_device) : 0;
	r = r ? r : line_number(l, "total", 256, &s->total);
	r = r ? r : line_number(l, "offset", 65535, &s->offset);
	r = r ? r : line_number(l, "stride", 65535, &s->stride);
	r = r ? r : line_number(l, "num", 256, &s->initial);
	r = r ? r : line_number(l, "limit", 256, &s->limit);
	r = r ? r : parse_bars(l, "bar", s->bars);
	r = r ? r : parse_vf_group(l, s);
	s->no_mmio = line_flag(l, "no-mmio");
	s->vf_driver = driver ? driver_declare(driver) : NULL;
	f->sriov = s;
	if (!r && (s->total > 256 || s->initial > s->total))
		return host_complain("sriov wants total=, and num= no larger");
	return r;
}

/* As found after boot: nothing is probed, drivers are where they were said to be. */
static void bind_quietly(struct function *f, struct driver *d)
{
	if (d && f->present && !f->driver)
		driver_probe(d, f);
}

static void start_vfs(struct function *pf)
{
	sriov_start(pf);
	for (unsigned i = 0; i < pf->sriov->initial; i++)
		bind_quietly(sriov_vf(pf, i), pf->sriov->vf_driver);
}

void pci_build(void)
{
	for (struct function *f = host.functions; f; f = f->next)
		if (!f->physfn)
			pci_place_bars(f);
	for (struct function *f = host.functions; f; f = f->next)
		if (!f->physfn)
			core_add(f);
	for (struct function *f = host.functions; f; f = f->next)
		if (!f->physfn)
			bind_quietly(f, f->initial);
	for (struct function *f = host.functions; f; f = f->next)
		if (f->sriov && f->sriov->initial)
			start_vfs(f);
}
