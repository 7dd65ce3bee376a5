/* SPDX-License-Identifier: Apache-2.0 */
/* The lines of a description and what each makes; see parse.h and README.md. */
#include "parse.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "child.h"
#include "core.h"
#include "cpu.h"
#include "display.h"
#include "driver.h"
#include "iommu.h"
#include "knobs.h"
#include "memory.h"
#include "net.h"
#include "process.h"
#include "storage.h"
#include "tables.h"
#include "vgpu.h"

static char *cmdline;
static struct text extra; /* file, link and module lines: done when all else is there */

static int machine_line(struct line *l)
{
	const char *name = line_word(l);

	if (!name)
		return host_complain("machine wants a name");
	host.name = text_dup(name);
	return 0;
}

static int kernel_line(struct line *l)
{
	const char *version = line_word(l);
	unsigned major, minor;

	if (!version || sscanf(version, "%u.%u", &major, &minor) != 2)
		return host_complain("kernel wants a version");
	host.kernel = text_dup(version);
	host.kernel_version = major << 16 | minor;
	return 0;
}

static int cmdline_line(struct line *l)
{
	struct text t = { 0 };
	const char *word;

	text_puts(&t, "");
	for (size_t i = 0; i < l->count; i++) {
		struct word *w = &l->words[i];

		if (w->taken)
			continue;
		w->taken = true;
		word = w->value;
		text_addf(&t, "%s%s%s%s", t.len ? " " : "", w->key ? w->key : "", w->key ? "=" : "",
			  word);
	}
	cmdline = t.data;
	return 0;
}

static int iommu_line(struct line *l)
{
	static const char *const kinds[] = { "none", "dmar", "ivhd", "smmu" };
	const char *kind = line_word(l), *remapping = line_key(l, "intremap");
	const char *acpi = line_key(l, "acpi");

	for (int i = 0; kind && i < 4; i++) {
		if (strcmp(kind, kinds[i]))
			continue;
		iommu.kind = (enum iommu_kind)i;
		iommu.units = i ? 1 : 0;
		iommu.table = i > 0;
		iommu.remapping = i && (!remapping || !strcmp(remapping, "yes"));
		iommu.capable = remapping && !strcmp(remapping, "capable");
		if (acpi)
			iommu.table = !strcmp(acpi, "yes") ? 1 : !strcmp(acpi, "no") ? 0 : -1;
		return line_number(l, "units", 64, &iommu.units);
	}
	return host_complain("an iommu is none, dmar, ivhd or smmu");
}

static int drivers_line(struct line *l)
{
	const char *name;

	while ((name = line_word(l)))
		driver_declare(name);
	return 0;
}

static int absent_line(struct line *l)
{
	const char *name;

	while ((name = line_word(l)))
		driver_declare(name)->loaded = false;
	return 0;
}

/* `driver NAME [ids=A,B] [module=NAME|builtin] [sriov] [managed-dma] [absent]` */
static int driver_line(struct line *l)
{
	bool sriov = line_flag(l, "sriov"), managed = line_flag(l, "managed-dma");
	bool vfio = line_flag(l, "vfio"), absent = line_flag(l, "absent");
	const char *ids = line_key(l, "ids"), *module = line_key(l, "module");
	const char *name = line_word(l);
	struct driver *d = name ? driver_declare(name) : NULL;
	char id[64];
	int r = 0;

	if (!d)
		return host_complain("driver wants a name");
	d->flags |= (sriov ? DRIVER_SRIOV : 0) | (managed || vfio ? DRIVER_MANAGED_DMA : 0) |
		    (vfio ? DRIVER_VFIO : 0);
	d->loaded = !absent;
	if (module)
		d->module = strcmp(module, "builtin") ? text_dup(module) : NULL;
	while (!r && ids && text_next(&ids, ",", id, sizeof(id)))
		r = driver_parse_ids(d, id);
	return r;
}

/* `module NAME [PARAMETER=VALUE ...]` */
static int module_line(struct line *l)
{
	const char *name = line_word(l);

	if (!name)
		return host_complain("module wants a name");
	module_dir(name);
	for (size_t i = 0; i < l->count; i++) {
		struct word *w = &l->words[i];

		if (!w->key)
			continue;
		w->taken = true;
		module_parameter(name, w->key, w->value);
	}
	return 0;
}

static int split_path(const char *path, struct node **dir, const char **name)
{
	const char *slash = path ? strrchr(path, '/') : NULL;
	char *parent;

	if (!slash || !slash[1])
		return host_complain("a path begins with / and ends in a name");
	parent = text_format("%.*s", (int)(slash - path), path);
	*dir = node_dir(NULL, parent);
	*name = slash + 1;
	free(parent);
	return 0;
}

/* `file PATH TEXT [mode=0644]`: over whatever is there */
static int file_line(struct line *l)
{
	const char *mode = line_key(l, "mode"), *path = line_word(l), *text = line_word(l), *name;
	unsigned long m = 0444;
	struct node *dir, *old;
	int r = split_path(path, &dir, &name);

	if (r || (mode && text_number(mode, 07777, &m)))
		return r ? r : host_complain("mode=%s is none", mode);
	old = node_child(dir, name);
	if (old && !old->children)
		node_remove(old);
	node_text(dir, name, (unsigned)m, "%s%s", text ? text : "", text ? "\n" : "");
	return 0;
}

static int link_line(struct line *l)
{
	const char *path = line_word(l), *target = line_word(l), *name;
	struct node *dir;
	int r = split_path(path, &dir, &name);

	if (r || !target)
		return r ? r : host_complain("link wants PATH TARGET");
	node_link(dir, name, target);
	return 0;
}

/* `console WORD...`: what /sys/class/tty/console/active says; `console none`: no such file */
static int console_line(struct line *l)
{
	struct text t = { 0 };
	struct node *dir = node_dir(NULL, "sys/devices/virtual/tty/console");
	const char *word;

	node_remove(node_child(dir, "active"));
	while ((word = line_word(l)))
		text_addf(&t, "%s%s", t.len ? " " : "", word);
	if (t.len && strcmp(t.data, "none"))
		node_text(dir, "active", 0444, "%s\n", t.data);
	text_free(&t);
	return 0;
}

static int knob_description(struct line *l)
{
	(void)l;
	return 0; /* kept for later as text: see later() */
}

enum when { EARLY = 1, LATE = 2, LIVE = 4 };

/* keep sorted.  LATE: done when the tree is there; LIVE: also while it runs */
static const struct {
	const char *word;
	int (*parse)(struct line *l);
	unsigned when;
} words[] = {
	{ "absent", absent_line, EARLY },
	{ "address", net_address_line, EARLY | LIVE },
	{ "block", storage_block_line, EARLY | LIVE },
	{ "bootfb", display_bootfb_line, EARLY },
	{ "cmdline", cmdline_line, EARLY },
	{ "console", console_line, LATE | LIVE },
	{ "cpu", cpu_line, EARLY },
	{ "driver", driver_line, EARLY },
	{ "drivers", drivers_line, EARLY },
	{ "drm", display_drm_line, EARLY },
	{ "fb", display_fb_line, EARLY },
	{ "file", file_line, LATE | LIVE },
	{ "gvtg", vgpu_gvtg_line, EARLY },
	{ "instance", vgpu_instance_line, EARLY },
	{ "iomem", tables_iomem_line, EARLY },
	{ "iommu", iommu_line, EARLY },
	{ "kernel", kernel_line, EARLY },
	{ "knob", knob_description, LATE },
	{ "link", link_line, LATE | LIVE },
	{ "machine", machine_line, EARLY },
	{ "memory", memory_line, EARLY },
	{ "module", module_line, LATE },
	{ "mount", storage_mount_line, EARLY | LIVE },
	{ "net", net_line, EARLY | LIVE },
	{ "pci", pci_line, EARLY | LIVE },
	{ "process", process_line, EARLY | LIVE },
	{ "reserved", tables_reserved_line, EARLY },
	{ "route", net_route_line, EARLY | LIVE },
	{ "sound", display_sound_line, EARLY },
	{ "sriov", sriov_line, EARLY },
	{ "swap", storage_swap_line, EARLY | LIVE },
	{ "tcp", net_tcp_line, EARLY | LIVE },
	{ "usb", display_usb_line, EARLY },
	{ "vgpu", vgpu_line, EARLY },
	{ "vgputype", vgpu_type_line, EARLY },
	{ "vtcon", display_vtcon_line, EARLY },
};

static int run(unsigned stage, const char *word, struct line *l, const char *s)
{
	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
		int r;

		if (strcmp(words[i].word, word))
			continue;
		if (stage == EARLY && words[i].when & LATE) {
			text_addf(&extra, "%s\n", s);
			return 0;
		}
		if (!(words[i].when & stage))
			return host_complain("'%s' is only for descriptions", word);
		if (words[i].parse == knob_description)
			return knob_line(s + strcspn(s, " \t"));
		r = words[i].parse(l);
		return r ? r : line_end(l);
	}
	return host_complain("'%s' is no word of a description", word);
}

static int parse_at(unsigned stage, const char *s)
{
	struct line l;
	const char *word;
	int r = line_split(s, &l);

	if (r)
		return r;
	word = line_word(&l);
	r = word ? run(stage, word, &l, s) : 0;
	line_free(&l);
	return r;
}

int parse_line(const char *s)
{
	return parse_at(host.built ? LIVE : EARLY, s);
}

static int parse_stream(FILE *in)
{
	char *line = NULL;
	size_t size = 0;
	ssize_t len;
	int r = 0;

	while (!r && (len = getline(&line, &size, in)) >= 0) {
		host.line++;
		if (len && line[len - 1] == '\n')
			line[len - 1] = '\0';
		r = parse_at(EARLY, line);
	}
	free(line);
	return r;
}

int parse_file(const char *path)
{
	FILE *in = strcmp(path, "-") ? fopen(path, "re") : stdin;
	int r;

	host.where = path;
	if (!in)
		return host_complain("cannot be opened");
	r = parse_stream(in);
	if (in != stdin)
		fclose(in);
	if (!r && (!host.name || !host.kernel))
		r = host_complain("a machine has at least the lines 'machine' and 'kernel'");
	return r;
}

static int late_lines(void)
{
	const char *at = extra.data ? extra.data : "";
	int r = 0;

	while (!r && *at) {
		char *s = text_format("%.*s", (int)strcspn(at, "\n"), at);

		r = parse_at(LATE, s);
		at += strlen(s) + 1;
		free(s);
	}
	return r;
}

static void make_console(void)
{
	struct node *dir = node_dir(NULL, "sys/devices/virtual/tty/console");

	node_text(dir, "active", 0444, "tty0\n");
	node_link_to(node_dir(NULL, "sys/class/tty"), "console", dir);
}

int parse_build(void)
{
	int r;

	host.line = 0;
	core_make_bus();
	cpu_make(cmdline ? cmdline : "");
	memory_make();
	iommu_make();
	for (struct driver *d = host.drivers; d; d = d->next)
		if (d->loaded)
			driver_load(d, false);
	pci_build();
	child_make_virtual();
	process_make();
	storage_make();
	net_make();
	tables_make();
	make_console();
	r = vgpu_start();
	host.built = true;
	return r ? r : late_lines();
}
