/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tables in /proc that are made from devices when they are read; see tables.h.
 * /proc/iomem is a tree by containment: bridges hold their devices' BARs, a BAR
 * holds the driver's name, or the framebuffer of the firmware.
 */
#include "tables.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "driver.h"
#include "host.h"
#include "iommu.h"
#include "pci.h"

struct range {
	struct range *next;
	unsigned long long start, end;
	char *name;
};

static struct range *ranges;
static bool hidden; /* as seen without CAP_SYS_ADMIN: all zeros */
static const struct function *fb_owner;
static char *fb_name;

/* `iomem START-END NAME`, or `iomem hidden` */
int tables_iomem_line(struct line *l)
{
	struct range *r, **end = &ranges;
	const char *span, *name;

	hidden |= line_flag(l, "hidden");
	span = line_word(l);
	name = line_word(l);
	if (!span)
		return 0;
	r = must_alloc(sizeof(*r));
	if (!name || sscanf(span, "%llx-%llx", &r->start, &r->end) != 2) {
		free(r);
		return host_complain("iomem wants START-END NAME, in hex");
	}
	r->name = text_dup(name);
	while (*end)
		end = &(*end)->next;
	*end = r;
	return 0;
}

/* `reserved GROUP START-END TYPE`: a line of the group's reserved_regions */
int tables_reserved_line(struct line *l)
{
	const char *number = line_word(l), *span = line_word(l), *type = line_word(l);
	unsigned long long start, end;
	struct group *g = number ? host_group((int)strtol(number, NULL, 10)) : NULL;
	char *longer;

	if (!g || !span || !type || sscanf(span, "%llx-%llx", &start, &end) != 2)
		return host_complain("reserved wants GROUP START-END TYPE, of a group above");
	longer = text_format("%s0x%016llx 0x%016llx %s\n", g->reserved ? g->reserved : "", start,
			     end, type);
	free(g->reserved);
	g->reserved = longer;
	return 0;
}

void tables_bootfb(const struct function *f, const char *name)
{
	fb_owner = f;
	free(fb_name);
	fb_name = name ? text_dup(name) : NULL;
}

static void add_range(struct text *out, int depth, unsigned long long start, unsigned long long end,
		      const char *name)
{
	text_addf(out, "%*s%08llx-%08llx : %s\n", depth * 2, "", hidden ? 0 : start,
		  hidden ? 0 : end, name);
}

static void add_bars(struct text *out, const struct function *f)
{
	for (int i = 0; i < BAR_COUNT; i++) {
		const struct bar *b = &f->bars[i];

		if (!b->size)
			continue;
		add_range(out, 1, b->start, b->start + b->size - 1, f->name);
		if (f == fb_owner && fb_name && i == 0)
			add_range(out, 2, b->start, b->start + 0x7e8fff, fb_name);
		else if (f->driver && i < BAR_ROM)
			add_range(out, 2, b->start, b->start + b->size - 1, f->driver->name);
	}
}

static int iomem_show(void *owner, const struct attr *attr, struct text *out)
{
	(void)owner;
	(void)attr;
	add_range(out, 0, 0x1000, 0x9ffff, "System RAM");
	add_range(out, 0, 0x100000, 0x7fffffff, "System RAM");
	for (const struct range *r = ranges; r; r = r->next)
		add_range(out, 0, r->start, r->end, r->name);
	add_range(out, 0, 0x80000000, 0xfebfffff, "PCI Bus 0000:00");
	for (const struct function *f = host.functions; f; f = f->next)
		if (f->present)
			add_bars(out, f);
	return 0;
}

/* From 6.2 on each device has a chip of its own: "IR-PCI-MSIX-0000:01:00.0". */
static void add_msi(struct text *out, const struct function *f, unsigned irq)
{
	const char *ir = iommu.remapping ? "IR-" : "";

	if (host_kernel_at_least(6, 2))
		text_addf(out, "%4u:          1          0  %sPCI-MSIX-%s    0-edge      %s\n", irq,
			  ir, f->name, f->driver->name);
	else
		text_addf(out, "%4u:          1          0  %sPCI-MSI %u-edge      %s\n", irq, ir,
			  (f->bus << 8 | f->slot << 3 | f->fn) << 11, f->driver->name);
}

static int interrupts_show(void *owner, const struct attr *attr, struct text *out)
{
	const char *ir = iommu.remapping ? "IR-" : "";
	unsigned irq = 120;

	(void)owner;
	(void)attr;
	text_puts(out, "            CPU0       CPU1\n");
	if (iommu.kind == IOMMU_SMMU) {
		text_puts(out, "  11:        100          0     GICv3  27 Level     arch_timer\n");
		return 0;
	}
	text_addf(out, "   0:          9          0  %sIO-APIC    2-edge      timer\n", ir);
	text_addf(out, "   8:          0          1  %sIO-APIC    8-edge      rtc0\n", ir);
	for (unsigned i = 0; i < iommu.units; i++, irq++)
		text_addf(out, "%4u:          0          0  %s    0-edge      %s%u\n", irq,
			  iommu.kind == IOMMU_DMAR ? "DMAR-MSI" : "PCI-MSI 4096-edge",
			  iommu.kind == IOMMU_DMAR ? "dmar" : "AMD-Vi", i);
	for (const struct function *f = host.functions; f; f = f->next)
		for (unsigned i = 0; f->present && f->driver && i < f->irqs; i++, irq++)
			add_msi(out, f, irq);
	text_puts(out, " NMI:          0          0   Non-maskable interrupts\n");
	return 0;
}

static int modules_show(void *owner, const struct attr *attr, struct text *out)
{
	struct node *dir = node_find("sys/module");

	(void)owner;
	(void)attr;
	for (struct node *n = dir ? dir->children : NULL; n; n = n->next)
		if (node_child(n, "initstate"))
			text_addf(out, "%s 65536 0 - Live 0x0000000000000000\n", n->name);
	return 0;
}

static const struct attr attrs[] = {
	{ .name = "interrupts", .mode = 0444, .show = interrupts_show },
	{ .name = "iomem", .mode = 0444, .show = iomem_show },
	{ .name = "modules", .mode = 0444, .show = modules_show },
};

void tables_make(void)
{
	node_files(node_dir(NULL, "proc"), attrs, sizeof(attrs) / sizeof(*attrs), NULL);
}
