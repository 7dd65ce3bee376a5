/* SPDX-License-Identifier: Apache-2.0 */
/* Reads one function from its directory in sysfs. See pci.h for what is left out, and why. */
#include "host/pci.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/fdpath.h"
#include "base/rows.h"
#include "host/inventory.h"
#include "host/reader.h"

enum {
	ATTRIBUTE_TEXT = 4096, /* a sysfs attribute is at most a page */
	NAME_TEXT = 256,
	BARS = 6,	     /* lines of `resource`; the next is the ROM */
	WIDTH_UNKNOWN = 255, /* what the kernel shows for it */
};

/* include/linux/ioport.h */
enum {
	RESOURCE_IO = 0x100,
	RESOURCE_PREFETCH = 0x2000,
	RESOURCE_MEM_64 = 0x100000,
};

/* An attribute's text in the arena; NULL, and why, when it cannot be read. */
static const char *text_of(struct device_dir *dir, enum entry entry, const char *field)
{
	char text[ATTRIBUTE_TEXT];
	ssize_t n = dir_text(dir, entry, text, sizeof(text));

	if (n > 0)
		return arena_strdup(dir->f->arena, text);
	if (n == 0)
		dir_unknown(dir, field, "the kernel's file is empty");
	else
		dir_unknown(dir, field, "cannot be read: %s", strerror((int)-n));
	return NULL;
}

static uint64_t number_of(struct device_dir *dir, enum entry entry, const char *field, uint64_t max)
{
	uint64_t value = 0;
	int r = dir_number(dir, entry, &value);

	if (r < 0)
		dir_unknown(dir, field, "cannot be read: %s", strerror(-r));
	else if (value > max)
		dir_unknown(dir, field, "%#llx is out of range", (unsigned long long)value);
	return r < 0 || value > max ? 0 : value;
}

static void read_kind(struct device_dir *dir)
{
	struct function *f = dir->f;

	f->vendor = dir_known(dir, "vendor_id")
			    ? dir->before->vendor
			    : (uint16_t)number_of(dir, ENTRY_VENDOR, "vendor_id", UINT16_MAX);
	f->class = dir_known(dir, "class")
			   ? dir->before->class
			   : (uint32_t)number_of(dir, ENTRY_CLASS, "class", 0xffffff);
	f->bridge = f->class >> 8 == 0x0600 || f->class >> 8 == 0x0604 ||
		    dir_has(dir, ENTRY_PCI_BUS);
}

static void read_ids(struct device_dir *dir)
{
	const struct function *before = dir->before;
	struct function *f = dir->f;

	if (dir_known(dir, "device_id") && dir_known(dir, "revision") && dir_known(dir, "subsystem")) {
		f->device = before->device;
		f->revision = before->revision;
		f->subsystem_vendor = before->subsystem_vendor;
		f->subsystem_device = before->subsystem_device;
		return;
	}
	f->device = (uint16_t)number_of(dir, ENTRY_DEVICE, "device_id", UINT16_MAX);
	f->revision = (uint8_t)number_of(dir, ENTRY_REVISION, "revision", UINT8_MAX);
	f->subsystem_vendor = (uint16_t)number_of(dir, ENTRY_SUBSYSTEM_VENDOR, "subsystem",
						  UINT16_MAX);
	f->subsystem_device = (uint16_t)number_of(dir, ENTRY_SUBSYSTEM_DEVICE, "subsystem",
						  UINT16_MAX);
}

static void read_driver(struct device_dir *dir)
{
	char name[NAME_TEXT];
	ssize_t n;

	if (!dir_has(dir, ENTRY_DRIVER))
		return;
	n = dir_link_name(dir, "driver", name, sizeof(name));
	if (n > 0)
		dir->f->driver = arena_strdup(dir->f->arena, name);
	else if (n != -ENOENT) /* unbound since it was listed */
		dir_unknown(dir, "driver", "its link cannot be read");
}

/*
 * vfio makes groups of its own, named vfio-noiommu, when it takes a device that has none
 * (drivers/vfio/group.c): only a device on a vfio driver can be in one.
 */
static void read_group(struct device_dir *dir)
{
	struct function *f = dir->f;
	char name[NAME_TEXT], path[NAME_TEXT];
	long number;
	ssize_t n;

	f->group = NO_GROUP;
	if (!dir_has(dir, ENTRY_GROUP))
		return;
	n = dir_link_name(dir, "iommu_group", name, sizeof(name));
	if (n == -ENOENT)
		return;
	if (n < 0 || !whole_number(name, INT32_MAX, &number)) {
		dir_unknown(dir, "iommu_group", "its link cannot be read");
		return;
	}
	f->group = (int)number;
	if (!driver_is_vfio(f->driver))
		return;
	snprintf(path, sizeof(path), "sys/kernel/iommu_groups/%ld/name", number);
	dir->reader->opens++;
	n = fdpath_attribute(dir->reader->root->fd, path, name, sizeof(name));
	f->group_is_noiommu = n > 0 && !strcmp(name, "vfio-noiommu");
}

static bool three_numbers(const char *line, unsigned long long numbers[static 3])
{
	char *end;

	for (int i = 0; i < 3; i++, line = end) {
		numbers[i] = strtoull(line, &end, 16);
		if (end == line)
			return false;
	}
	return true;
}

/* "0x<start> 0x<end> 0x<flags>" a line; a BAR of 64 bits leaves the next line empty. */
static void read_bars(struct device_dir *dir)
{
	struct function *f = dir->f;
	char text[ATTRIBUTE_TEXT], *at = text, *line;
	unsigned long long numbers[3], start, end, flags;
	ssize_t n = dir_text(dir, ENTRY_RESOURCE, text, sizeof(text));

	f->has_rom = dir_has(dir, ENTRY_ROM);
	if (n < 0) {
		f->bars.null = true;
		dir_unknown(dir, "bars", "cannot be read: %s", strerror((int)-n));
		return;
	}
	for (int i = 0; i <= BARS && (line = strsep(&at, "\n")); i++) {
		if (!three_numbers(line, numbers))
			continue;
		start = numbers[0], end = numbers[1], flags = numbers[2];
		if (!flags || end < start || (!start && !end))
			continue;
		if (i == BARS)
			f->has_rom = true;
		else
			*list_add(f->arena, &f->bars, struct bar) = (struct bar){
				.index = i,
				.start = start,
				.bytes = end - start + 1,
				.io = flags & RESOURCE_IO,
				.prefetchable = flags & RESOURCE_PREFETCH,
				.bits64 = flags & RESOURCE_MEM_64,
			};
	}
}

static const char numa_untold[] = "the firmware does not say";

static void read_numa(struct device_dir *dir)
{
	struct function *f = dir->f;
	char text[NAME_TEXT];
	long node = NUMA_UNKNOWN;

	if (dir_known(dir, "local_cpus")) {
		f->numa_node = dir->before->numa_node;
		f->local_cpus = arena_strdup(f->arena, dir->before->local_cpus);
		if (!dir_known(dir, "numa_node"))
			dir_unknown(dir, "numa_node", "%s", numa_untold);
		return;
	}
	if (dir_text(dir, ENTRY_NUMA_NODE, text, sizeof(text)) < 0 ||
	    !whole_number(text, INT16_MAX, &node))
		dir_unknown(dir, "numa_node", "%s", numa_untold);
	f->numa_node = (int)node;
	f->local_cpus = text_of(dir, ENTRY_LOCAL_CPUS, "local_cpus");
}

static void read_power(struct device_dir *dir)
{
	struct function *f = dir->f;
	char status[NAME_TEXT];

	f->power_state = text_of(dir, ENTRY_POWER_STATE, "power_state");
	if (dir_has(dir, ENTRY_POWER) &&
	    dir_path_text(dir, "power/runtime_status", status, sizeof(status)) > 0)
		f->runtime_status = arena_strdup(f->arena, status);
	f->in_d3cold = f->power_state && !strcmp(f->power_state, "D3cold");
}

static bool asleep(const struct function *f)
{
	return f->in_d3cold || (f->power_state && !strcmp(f->power_state, "D3hot")) ||
	       (f->runtime_status && (!strcmp(f->runtime_status, "suspended") ||
				      !strcmp(f->runtime_status, "suspending")));
}

static const char *speed_of(struct device_dir *dir, enum entry entry)
{
	char text[NAME_TEXT];

	if (dir_text(dir, entry, text, sizeof(text)) <= 0 || !strncmp(text, "Unknown", 7))
		return NULL;
	return arena_strdup(dir->f->arena, text);
}

static int64_t width_of(struct device_dir *dir, enum entry entry)
{
	uint64_t width;

	if (dir_number(dir, entry, &width) < 0 || !width || width >= WIDTH_UNKNOWN)
		return ROW_NULL;
	return (int64_t)width;
}

/*
 * The current link is read from config space, which wakes a sleeping device. What it can do at most
 * is too, without waking: in D3cold that reads as ones, so nothing is read then.
 */
static void read_link(struct device_dir *dir)
{
	struct function *f = dir->f;

	f->link_width = f->max_link_width = ROW_NULL;
	if (f->physfn) {
		dir_unknown(dir, "link", "a VF uses the link of its PF");
		return;
	}
	if (!dir_has(dir, ENTRY_MAX_LINK_SPEED))
		return; /* no PCI Express device: it has no link */
	if (dir->before && dir->before->max_link_speed && !f->in_d3cold) {
		f->max_link_speed = arena_strdup(f->arena, dir->before->max_link_speed);
		f->max_link_width = dir->before->max_link_width;
	} else if (!f->in_d3cold) {
		f->max_link_speed = speed_of(dir, ENTRY_MAX_LINK_SPEED);
		f->max_link_width = width_of(dir, ENTRY_MAX_LINK_WIDTH);
	}
	if (asleep(f)) {
		dir_unknown(dir, "link",
			    "the device sleeps (%s), and reading its link would wake it",
			    f->power_state ? f->power_state : f->runtime_status);
		return;
	}
	f->link_speed = speed_of(dir, ENTRY_LINK_SPEED);
	f->link_width = width_of(dir, ENTRY_LINK_WIDTH);
}

/*
 * Before 5.15 there is no reset_method: `reset` alone says that some way exists. On every kernel
 * neither file is there when the device cannot be reset (drivers/pci/pci.c, pci-sysfs.c).
 */
static void read_reset(struct device_dir *dir)
{
	struct function *f = dir->f;
	char text[NAME_TEXT], *at = text, *word;
	ssize_t n = dir_text(dir, ENTRY_RESET_METHOD, text, sizeof(text));

	if (n == -ENOENT && !dir_has(dir, ENTRY_RESET))
		return;
	if (n < 0) {
		f->reset_methods.null = true;
		if (n == -ENOENT)
			dir_unknown(
				dir, "reset_methods",
				"it can be reset, but this kernel (before 5.15) does not say how");
		else
			dir_unknown(dir, "reset_methods", "cannot be read: %s", strerror((int)-n));
		return;
	}
	while ((word = strsep(&at, " \n")))
		if (*word)
			list_add_string(f->arena, &f->reset_methods, arena_strdup(f->arena, word));
}

static int64_t aer_total(struct device_dir *dir, enum entry entry)
{
	char text[ATTRIBUTE_TEXT], *total, *end;
	long long value;

	if (dir_text(dir, entry, text, sizeof(text)) <= 0)
		return ROW_NULL;
	total = strstr(text, "TOTAL_ERR_");
	total = total ? strchr(total, ' ') : NULL;
	if (!total)
		return ROW_NULL;
	value = strtoll(total, &end, 10);
	return end == total || value < 0 ? ROW_NULL : value;
}

static void read_boot_vga(struct device_dir *dir)
{
	uint64_t boot_vga;

	dir->f->boot_vga = -1;
	if (!dir_has(dir, ENTRY_BOOT_VGA))
		return;
	if (dir_number(dir, ENTRY_BOOT_VGA, &boot_vga) < 0)
		dir_unknown(dir, "boot_vga", "its file cannot be read");
	else
		dir->f->boot_vga = boot_vga != 0;
}

static void read_errors(struct device_dir *dir)
{
	struct function *f = dir->f;

	if (dir->before) { /* like all that is counted without being told */
		f->aer_correctable = dir->before->aer_correctable;
		f->aer_fatal = dir->before->aer_fatal;
		return;
	}
	f->aer_correctable = aer_total(dir, ENTRY_AER_CORRECTABLE);
	f->aer_fatal = aer_total(dir, ENTRY_AER_FATAL);
}

static void read_physfn(struct device_dir *dir)
{
	char name[NAME_TEXT];
	struct pci_address address;

	if (!dir_has(dir, ENTRY_PHYSFN))
		return;
	if (dir_link_name(dir, "physfn", name, sizeof(name)) < 0 ||
	    !pci_address_parse(name, &address)) {
		dir_unknown(dir, "physfn", "its link cannot be read");
		return;
	}
	dir->f->physfn = arena_new_of(dir->f->arena, struct pci_address);
	*dir->f->physfn = address;
}

static void read_brief(struct device_dir *dir)
{
	read_kind(dir);
	read_driver(dir);
	read_group(dir);
	read_physfn(dir);
	if (!dir->f->bridge)
		read_boot_vga(dir);
}

/* A bridge is never given away: of it what it is and where it is will do. */
static void read_all(struct device_dir *dir)
{
	read_brief(dir);
	if (dir->reader->brief)
		return;
	read_ids(dir);
	if (dir->f->bridge)
		return;
	read_bars(dir);
	read_numa(dir);
	read_power(dir);
	read_link(dir);
	read_reset(dir);
	read_errors(dir);
	sriov_read(dir);
}

static struct function *function_new(struct pci_address address)
{
	struct arena *arena = arena_new();
	struct function *f = arena_new_of(arena, struct function);

	f->arena = arena;
	f->refs = 1;
	f->address = address;
	pci_address_format(address, f->text);
	return f;
}

int pci_reader_function(struct pci_reader *reader, struct pci_address address,
			const struct function *before, struct function **ret, struct error *err)
{
	CLEANUP(function_unrefp) struct function *f = function_new(address);
	struct device_dir dir = { .reader = reader, .f = f, .before = before, .fd = -1 };
	int r;

	if (reader->devices < 0)
		return error_set(err, ERROR_GONE, "there is no PCI function %s", f->text);
	r = dir_open(&dir, err);
	if (!r) {
		read_all(&dir);
		if (dir.gone)
			r = error_set(err, ERROR_GONE,
				      "PCI function %s went away while it was read", f->text);
	}
	if (dir.fd >= 0)
		close(dir.fd);
	if (!r)
		*ret = TAKE_PTR(f);
	return r;
}

static int read_one(const struct host_root *root, struct pci_address address, bool brief,
		    struct function **ret, struct error *err)
{
	CLEAN_READER struct pci_reader reader = { .devices = -1 };
	int r = pci_reader_init(&reader, root);

	if (r < 0)
		return error_errno(err, ERROR_SYSTEM, -r, "the PCI bus cannot be listed");
	reader.brief = brief;
	return pci_reader_function(&reader, address, NULL, ret, err);
}

int function_read(const struct host_root *root, struct pci_address address, struct function **ret,
		  struct error *err)
{
	return read_one(root, address, false, ret, err);
}

int function_read_brief(const struct host_root *root, struct pci_address address,
			struct function **ret, struct error *err)
{
	return read_one(root, address, true, ret, err);
}

struct function *function_ref(struct function *f)
{
	if (f)
		__atomic_add_fetch(&f->refs, 1, __ATOMIC_RELAXED);
	return f;
}

void function_unref(struct function *f)
{
	if (f && !__atomic_sub_fetch(&f->refs, 1, __ATOMIC_ACQ_REL))
		arena_free(f->arena);
}

bool function_same(const struct function *a, const struct function *b)
{
	return pci_address_equal(a->address, b->address) && a->vendor == b->vendor &&
	       a->device == b->device && a->subsystem_vendor == b->subsystem_vendor &&
	       a->subsystem_device == b->subsystem_device && a->class == b->class &&
	       !strcmp(a->path_key ?: "", b->path_key ?: "");
}
