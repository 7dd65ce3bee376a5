/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a function can share, told from what is there: VFs, and the kernel interface under its
 * vGPUs. No vendor file is read, only looked for; and never sriov_numvfs, which takes the device's
 * lock: the virtfn* links are counted instead.
 *
 * NVIDIA has three interfaces: mdev types on the PF (up to Turing); mdev types on each VF (Ampere
 * and later, where the vendor keeps mdev); vendor VFIO, with nvidia/creatable_vgpu_types on each VF
 * (kernel 6.8 and later). Once VFs are on, the PF itself shows none.
 */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/fdpath.h"
#include "base/rows.h"
#include "host/reader.h"

enum { VF_MAX = 65535, LINK_TEXT = 4096 };

/* While VFs are listed their numbers ride along, for the sort. */
struct numbered_vf {
	long number;
	struct pci_address address;
};

static struct sriov *sriov_of(struct function *f)
{
	if (!f->sriov) {
		f->sriov = arena_new_of(f->arena, struct sriov);
		f->sriov->total = ROW_NULL;
	}
	return f->sriov;
}

void sriov_add_vf(struct device_dir *dir, const char *name)
{
	char target[LINK_TEXT];
	struct numbered_vf vf;

	if (!whole_number(name + strlen("virtfn"), VF_MAX, &vf.number))
		return;
	if (dir_link_name(dir, name, target, sizeof(target)) < 0 ||
	    !pci_address_parse(target, &vf.address)) {
		dir_unknown(dir, "sriov", "%s does not lead to a function", name);
		return;
	}
	*list_add(dir->f->arena, &sriov_of(dir->f)->vfs, struct numbered_vf) = vf;
}

static int by_number(const void *a, const void *b)
{
	const struct numbered_vf *x = a, *y = b;

	return (x->number > y->number) - (x->number < y->number);
}

/* From the list with numbers to the one of addresses: virtfn10 comes after virtfn9. */
static void sort_vfs(struct function *f)
{
	struct list numbered = f->sriov->vfs, sorted = { 0 };

	if (numbered.n)
		qsort(numbered.items, numbered.n, sizeof(struct numbered_vf), by_number);
	for (LIST_EACH(struct numbered_vf, vf, &numbered))
		*list_add(f->arena, &sorted, struct pci_address) = vf->address;
	f->sriov->vfs = sorted;
}

static void read_total(struct device_dir *dir)
{
	uint64_t total;

	if (!dir_has(dir, ENTRY_SRIOV_TOTAL) && !dir->f->sriov)
		return;
	sriov_of(dir->f);
	if (dir_number(dir, ENTRY_SRIOV_TOTAL, &total) < 0 || total > VF_MAX)
		dir_unknown(dir, "sriov", "sriov_totalvfs cannot be read");
	else
		dir->f->sriov->total = (int64_t)total;
	sort_vfs(dir->f);
}

static const char *vf_interface(struct device_dir *dir)
{
	if (dir_has(dir, ENTRY_MDEV_TYPES) || dir->f->mdevs.n)
		return "mdev_per_vf";
	if (dir_has(dir, ENTRY_NVIDIA) && dir_exists(dir, "nvidia/creatable_vgpu_types"))
		return "vendor_vf";
	return NULL;
}

/* Is that mdev an instance on one of these VFs (struct pci_address)? Its link goes through its
 * parents. */
static int is_on(void *vfs, int dir, const struct dirent64 *entry)
{
	char target[LINK_TEXT], part[PCI_ADDRESS_TEXT + 2], text[PCI_ADDRESS_TEXT];

	if (fdpath_entry_link(dir, entry->d_name, target, sizeof(target)) < 0)
		return 0;
	for (LIST_EACH(struct pci_address, vf, (const struct list *)vfs)) {
		snprintf(part, sizeof(part), "/%s/", pci_address_format(*vf, text));
		if (strstr(target, part))
			return 1;
	}
	return 0;
}

static bool mdev_on(struct device_dir *dir, struct list *vfs)
{
	dir->reader->opens++;
	return fdpath_each(dir->reader->root->fd, "sys/bus/mdev/devices", is_on, vfs) == 1;
}

/* Any VF tells: drivers can be bound to some of them only. */
static const char *interface_of_vfs(struct device_dir *dir)
{
	const struct host_root *root = dir->reader->root;
	char path[LINK_TEXT], text[PCI_ADDRESS_TEXT];

	for (LIST_EACH(struct pci_address, vf, &dir->f->sriov->vfs)) {
		pci_address_format(*vf, text);
		snprintf(path, sizeof(path), "sys/bus/pci/devices/%s/mdev_supported_types", text);
		if (fdpath_exists(root->fd, path) == 1)
			return "mdev_per_vf";
		snprintf(path, sizeof(path), "sys/bus/pci/devices/%s/nvidia/creatable_vgpu_types",
			 text);
		if (fdpath_exists(root->fd, path) == 1)
			return "vendor_vf";
	}
	return mdev_on(dir, &dir->f->sriov->vfs) ? "mdev_per_vf" : NULL;
}

void sriov_read(struct device_dir *dir)
{
	struct function *f = dir->f;

	read_total(dir);
	if (f->physfn)
		f->vgpu = vf_interface(dir);
	else if (dir_has(dir, ENTRY_MDEV_TYPES) || f->mdevs.n)
		f->vgpu = "mdev";
	else if (f->sriov && f->sriov->vfs.n)
		f->vgpu = interface_of_vfs(dir);
	if (!f->vgpu && f->sriov && (f->sriov->total > 0 || f->sriov->vfs.n))
		f->vgpu = "sriov";
}
