/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Builds and publishes inventories; see inventory.h. Building is the owner's alone; `current` is
 * what every thread reaches, under its mutex, and nothing is done under it but to count.
 */
#include "host/inventory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/fdpath.h"
#include "base/lock.h"
#include "host/reader.h"
#include "host/topology.h"

enum { PATH_TEXT = 128, GROUP_TYPE_TEXT = 64, REGIONS_MAX = 64 * 1024 };

static struct lock lock = LOCK_INIT;
static struct inventory *current GUARDED_BY(lock);

/* A function that was read again. */
struct fresh {
	struct pci_address address;
	struct function *f; /* one reference; NULL: it is gone */
};

/* One build under way. */
struct build {
	bool brief;
	struct pci_reader reader;
	struct inventory *inv;
	struct inventory *old; /* NULL: everything is read */
	struct list fresh;     /* struct fresh, in inv's arena */
	uint64_t other_reads;
};

static struct inventory *inventory_new(const struct class_filter *filter, struct names *names,
				       uint64_t revision)
{
	struct arena *arena = arena_new();
	struct inventory *inv = arena_new_of(arena, struct inventory);

	inv->refs = 1;
	inv->arena = arena;
	inv->revision = revision;
	if (filter)
		inv->filter = *filter;
	inv->names = names ? names_ref(names) : NULL;
	return inv;
}

static int by_address(const void *a, const void *b)
{
	return pci_address_compare((*(struct function *const *)a)->address,
				   (*(struct function *const *)b)->address);
}

static void add_function(struct inventory *inv, struct function *f)
{
	*list_add(inv->arena, &inv->functions, struct function *) = f;
}

static void sort_functions(struct inventory *inv)
{
	if (inv->functions.n)
		qsort(inv->functions.items, inv->functions.n, sizeof(struct function *),
		      by_address);
}

static int cannot_list(int r, struct error *err)
{
	error_errno(err, ERROR_SYSTEM, -r, "the PCI bus cannot be listed");
	return error_hint(err, "see that /sys is mounted, and what the system's log says of it");
}

/* Reads every function that the bus lists. One that goes away meanwhile is left out. */
static int read_all(struct build *b, struct error *err)
{
	struct list names = { 0 };
	struct pci_address address;
	int r;

	if (b->reader.devices < 0)
		return 0;
	r = fdpath_list(b->reader.root->fd, "sys/bus/pci/devices", b->inv->arena, &names);
	b->other_reads++;
	if (r < 0)
		return cannot_list(r, err);
	for (LIST_EACH(const char *, name, &names)) {
		struct function *f = NULL;

		if (!pci_address_parse(*name, &address))
			continue;
		if (!pci_reader_function(&b->reader, address, NULL, &f, NULL))
			add_function(b->inv, f);
	}
	return 0;
}

static const struct fresh *find_fresh(const struct build *b, struct pci_address address)
{
	for (LIST_EACH(struct fresh, fresh, &b->fresh))
		if (pci_address_equal(fresh->address, address))
			return fresh;
	return NULL;
}

static void read_again(struct build *b, struct pci_address address);

static bool has_vf(const struct function *pf, struct pci_address address)
{
	if (!pf || !pf->sriov)
		return false;
	for (LIST_EACH(const struct pci_address, vf, &pf->sriov->vfs))
		if (pci_address_equal(*vf, address))
			return true;
	return false;
}

/* Those that `pf` has and `other`, which is it at another time, has not. */
static void read_vfs(struct build *b, const struct function *pf, const struct function *other)
{
	if (!pf || !pf->sriov)
		return;
	for (LIST_EACH(const struct pci_address, vf, &pf->sriov->vfs))
		if (!has_vf(other, *vf))
			read_again(b, *vf);
}

static void read_again(struct build *b, struct pci_address address)
{
	const struct function *before = inventory_function(b->old, address);
	struct function *f = NULL;

	if (find_fresh(b, address))
		return;
	pci_reader_function(&b->reader, address, before, &f, NULL);
	*list_add(b->inv->arena, &b->fresh, struct fresh) = (struct fresh){ address, f };
	if (f && f->physfn)
		read_again(b, *f->physfn);
	if (before && before->physfn)
		read_again(b, *before->physfn);
	read_vfs(b, f, before);
	read_vfs(b, before, f);
}

/* What was touched is read, the rest is shared with the old one. */
static void read_touched(struct build *b, const struct list *addresses)
{
	for (LIST_EACH(struct pci_address, address, addresses))
		read_again(b, *address);
	for (LIST_EACH(struct fresh, fresh, &b->fresh))
		if (fresh->f)
			add_function(b->inv, fresh->f);
	for (LIST_EACH(struct function *, f, &b->old->functions))
		if (!find_fresh(b, (*f)->address))
			add_function(b->inv, function_ref(*f));
}

/* "0x<start> 0x<end> direct" a line: the firmware wants that memory mapped one to one. */
static bool has_direct(const char *regions)
{
	char type[32];

	for (const char *line = regions; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (sscanf(line, "%*s %*s %31s", type) == 1 && !strcmp(type, "direct"))
			return true;
	}
	return false;
}

/* The very same devices: what the firmware keeps of them is as it was. */
static bool same_members(const struct group *group, const struct group *before)
{
	struct function *const *now = group->functions.items, *const *then;

	if (!before || before->regions_unknown || before->functions.n != group->functions.n)
		return false;
	then = before->functions.items;
	for (size_t i = 0; i < group->functions.n; i++)
		if (!now[i]->inode || now[i]->inode != then[i]->inode)
			return false;
	return true;
}

static void read_group(struct build *b, struct group *group, const struct group *before)
{
	int root = b->reader.root->fd;
	char path[PATH_TEXT], type[GROUP_TYPE_TEXT];
	const char *regions = "";
	int r;

	snprintf(path, sizeof(path), "sys/kernel/iommu_groups/%d/type", group->number);
	if (fdpath_attribute(root, path, type, sizeof(type)) > 0)
		group->type = arena_strdup(b->inv->arena, type);
	b->other_reads++;
	if (same_members(group, before)) {
		group->direct_regions = before->direct_regions;
		return;
	}
	snprintf(path, sizeof(path), "sys/kernel/iommu_groups/%d/reserved_regions", group->number);
	r = fdpath_read_all(root, path, REGIONS_MAX, b->inv->arena, &regions);
	group->regions_unknown = r < 0;
	group->direct_regions = has_direct(regions);
	b->other_reads++;
}

static bool group_touched(const struct build *b, const struct group *group)
{
	for (LIST_EACH(struct function *, f, &group->functions))
		if (find_fresh(b, (*f)->address))
			return true;
	return false;
}

static void read_groups(struct build *b)
{
	struct inventory *inv = b->inv;
	const struct group *before;

	topology_groups(&inv->functions, inv->arena, &inv->groups);
	for (LIST_EACH(struct group, group, &inv->groups)) {
		before = b->old ? inventory_group(b->old, group->number) : NULL;
		if (!before || group_touched(b, group)) {
			read_group(b, group, before);
			continue;
		}
		group->type = arena_strdup(inv->arena, before->type);
		group->direct_regions = before->direct_regions;
		group->regions_unknown = before->regions_unknown;
	}
}

static void read_iommu(struct build *b)
{
	struct inventory *inv = b->inv;
	enum fact unsafe;

	read_groups(b);
	if (b->old) {
		inv->iommu_facts = iommu_facts_ref(b->old->iommu_facts);
	} else {
		inv->iommu_facts = iommu_facts_read(b->reader.root, &inv->functions);
		b->other_reads += inv->iommu_facts->opens;
	}
	unsafe = iommu_read_unsafe_interrupts(b->reader.root);
	b->other_reads++;
	iommu_judge(inv->iommu_facts, unsafe, &inv->functions, inv->arena, &inv->iommu);
}

/* From the functions to what relates them. */
static void finish(struct build *b)
{
	struct inventory *inv = b->inv;

	sort_functions(inv);
	inv->card_of = arena_array(inv->arena, inv->functions.n, int);
	topology_cards(&inv->functions, &inv->filter, inv->arena, &inv->cards, inv->card_of);
	if (!b->brief)
		read_iommu(b);
	inv->reads = b->reader.opens + b->other_reads;
}

struct inventory *inventory_build(const struct host_root *root, const struct class_filter *filter,
				  struct names *names, struct inventory *old,
				  const struct inventory_changes *changes, struct error *err)
{
	CLEANUP(inventory_releasep)
	struct inventory *inv = inventory_new(filter, names, old ? old->revision + 1 : 1);
	struct build b = { .inv = inv, .old = changes && !changes->all ? old : NULL };
	int r;

	b.brief = changes && changes->all && changes->brief;
	r = pci_reader_init(&b.reader, root);
	b.reader.brief = b.brief;
	if (r < 0) {
		cannot_list(r, err);
		return NULL;
	}
	if (b.old)
		read_touched(&b, &changes->addresses);
	else
		r = read_all(&b, err);
	if (!r)
		finish(&b);
	pci_reader_finish(&b.reader);
	return r ? NULL : TAKE_PTR(inv);
}

void inventory_publish(struct inventory *inventory)
{
	struct inventory *before;

	lock_take(&lock);
	before = current;
	current = inventory;
	lock_give(&lock);
	inventory_release(before);
}

struct inventory *inventory_acquire(void)
{
	struct inventory *inv;

	lock_take(&lock);
	inv = current;
	if (inv)
		__atomic_add_fetch(&inv->refs, 1, __ATOMIC_RELAXED);
	lock_give(&lock);
	return inv;
}

void inventory_release(struct inventory *inv)
{
	if (!inv || __atomic_sub_fetch(&inv->refs, 1, __ATOMIC_ACQ_REL))
		return;
	for (LIST_EACH(struct function *, f, &inv->functions))
		function_unref(*f);
	iommu_facts_unref(inv->iommu_facts);
	names_unref(inv->names);
	arena_free(inv->arena);
}

/* Index of the function, or -1. */
static ssize_t index_of(const struct inventory *inv, struct pci_address address)
{
	size_t low = 0, high = inv ? inv->functions.n : 0;
	struct function **functions = inv ? inv->functions.items : NULL;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = pci_address_compare(functions[middle]->address, address);

		if (!order)
			return (ssize_t)middle;
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return -1;
}

struct function *inventory_function(const struct inventory *inv, struct pci_address address)
{
	ssize_t i = index_of(inv, address);

	return i < 0 ? NULL : ((struct function **)inv->functions.items)[i];
}

struct card *inventory_card(const struct inventory *inv, struct pci_address address)
{
	ssize_t i = index_of(inv, address);

	return i < 0 || inv->card_of[i] < 0 ? NULL
					    : (struct card *)inv->cards.items + inv->card_of[i];
}

struct list inventory_card_functions(const struct inventory *inv, struct arena *arena)
{
	struct list functions = { 0 };

	for (LIST_EACH(const struct card, card, &inv->cards))
		for (LIST_EACH(struct function *, f, &card->functions))
			*list_add(arena, &functions, struct function *) = *f;
	return functions;
}

struct group *inventory_group(const struct inventory *inv, int number)
{
	for (LIST_EACH(struct group, group, &inv->groups))
		if (group->number == number)
			return group;
	return NULL;
}
