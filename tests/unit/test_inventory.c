/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inventory: built whole, then from the one before with only what was touched read again;
 * published and taken by several threads at once; and two real servers' records read right.
 */
#include "unit.h"

#include <pthread.h>

#include "base/rows.h"
#include "host/inventory.h"
#include "tree.h"

static const struct tree_function machine[] = {
	{ "pci0000:00/0000:00:01.0", 0x8086, 0x1901, 0x060400, "pcieport", 1 },
	{ "pci0000:00/0000:00:01.0/0000:01:00.0", 0x10de, 0x1b80, 0x030000, "nouveau", 1 },
	{ "pci0000:00/0000:00:01.0/0000:01:00.1", 0x10de, 0x10f0, 0x040300, "snd_hda_intel", 1 },
	{ "pci0000:00/0000:00:02.0", 0x8086, 0x3e92, 0x030000, "i915", 2 },
	{ "pci0000:00/0000:00:1f.6", 0x8086, 0x15bc, 0x020000, "e1000e", 11 },
};

static int setup(void **state)
{
	struct tree *tree = calloc(1, sizeof(*tree));

	tree_make(tree);
	*state = tree;
	return 0;
}

static int teardown(void **state)
{
	tree_remove(*state);
	free(*state);
	return 0;
}

static struct pci_address address_of(const char *text)
{
	struct pci_address address;

	assert_true(pci_address_parse(text, &address));
	return address;
}

static struct inventory *build(struct tree *tree, struct inventory *old,
			       const struct inventory_changes *changes)
{
	struct error err = { 0 };
	struct inventory *inv = inventory_build(&tree->root, NULL, NULL, old, changes, &err);

	if (!inv)
		fail_msg("%s", err.message);
	return inv;
}

/* What a build costs when these functions (space separated) were touched. */
static struct inventory *rebuild(struct tree *tree, struct inventory *old, const char *touched)
{
	CLEANUP(arena_freep) struct arena *arena = arena_new();
	struct inventory_changes changes = { .arena = arena };
	char *at = arena_strdup(arena, touched), *text;

	while ((text = strsep(&at, " ")))
		*list_add(arena, &changes.addresses, struct pci_address) = address_of(text);
	return build(tree, old, &changes);
}

static struct function *function_at(const struct inventory *inv, const char *text)
{
	return inventory_function(inv, address_of(text));
}

static struct card *card_at(const struct inventory *inv, const char *text)
{
	return inventory_card(inv, address_of(text));
}

static void builds_it_whole(void **state)
{
	CLEANUP(inventory_releasep) struct inventory *inv = NULL;
	struct tree *tree = *state;
	const struct group *group;
	const struct card *card;

	tree_functions(tree, machine);
	tree_file(tree, "sys/kernel/iommu_groups/11/reserved_regions",
		  "0x00000000000e0000 0x00000000000effff direct\n"
		  "0x00000000fee00000 0x00000000feefffff msi\n");
	tree_file(tree, "sys/kernel/iommu_groups/2/reserved_regions",
		  "0x0000000000000000 0x0000000000ffffff direct-relaxable\n");
	tree_drop(tree, "sys/kernel/iommu_groups/1/reserved_regions");
	inv = build(tree, NULL, NULL);
	assert_int_equal(inv->revision, 1);
	assert_int_equal(inv->functions.n, 5);
	assert_int_equal(inv->cards.n, 2);
	assert_int_equal(inv->groups.n, 3);
	assert_null(function_at(inv, "0000:05:00.0"));
	card = card_at(inv, "0000:01:00.1");
	assert_non_null(card);
	assert_string_equal(card->text, "0000:01:00.0");
	assert_int_equal(card->functions.n, 2);
	assert_ptr_equal(card, card_at(inv, "0000:01:00.0"));
	assert_null(card_at(inv, "0000:00:1f.6"));
	assert_null(card_at(inv, "0000:05:00.0"));
	group = inventory_group(inv, 1);
	assert_int_equal(group->functions.n, 3);
	assert_string_equal(group->type, "DMA-FQ");
	assert_true(group->regions_unknown);
	assert_false(group->direct_regions);
	assert_true(inventory_group(inv, 11)->direct_regions);
	assert_false(inventory_group(inv, 11)->regions_unknown);
	assert_false(inventory_group(inv, 2)->direct_regions);
	assert_null(inventory_group(inv, 12));
	assert_int_equal(inv->iommu.enabled, FACT_YES);
}

static void takes_configured_classes(void **state)
{
	struct class_filter filter = { .extra = { 0x0200 }, .n_extra = 1 };
	CLEANUP(inventory_releasep) struct inventory *inv = NULL;
	struct tree *tree = *state;

	tree_functions(tree, machine);
	inv = inventory_build(&tree->root, &filter, NULL, NULL, NULL, NULL);
	assert_int_equal(inv->cards.n, 3);
	assert_non_null(card_at(inv, "0000:00:1f.6"));
	assert_int_equal(function_role(function_at(inv, "0000:00:1f.6"), &inv->filter), ROLE_GPU);
}

/*
 * Files of one endpoint of the tree: its directory, eleven attributes. A start opens the bus and the
 * one module parameter that can change at any time.
 */
enum { READS_OF_FUNCTION = 1 + 11, READS_OF_GROUP = 2, READS_OF_START = 2 };

static void reads_only_what_was_touched(void **state)
{
	CLEANUP(inventory_releasep) struct inventory *first = NULL, *second = NULL, *third = NULL;
	struct tree *tree = *state;

	tree_functions(tree, machine);
	first = build(tree, NULL, NULL);
	assert_true(first->reads > 5 * READS_OF_FUNCTION);

	tree_link(tree, "sys/devices/pci0000:00/0000:00:01.0/0000:01:00.0/driver",
		  "../../../../bus/pci/drivers/vfio-pci");
	second = rebuild(tree, first, "0000:01:00.0");
	/* on a vfio driver, the group's name is looked at too */
	assert_int_equal(second->reads, READS_OF_START + READS_OF_FUNCTION + 1 + READS_OF_GROUP);
	assert_int_equal(second->revision, 2);
	assert_string_equal(function_at(first, "0000:01:00.0")->driver, "nouveau");
	assert_string_equal(function_at(second, "0000:01:00.0")->driver, "vfio-pci");
	for (LIST_EACH(struct function *, f, &first->functions)) {
		bool touched = !strcmp((*f)->text, "0000:01:00.0");

		assert_int_equal(inventory_function(second, (*f)->address) == *f, !touched);
	}
	assert_int_equal(second->groups.n, 3);
	assert_string_equal(inventory_group(second, 2)->type, "DMA-FQ");
	assert_ptr_equal(second->iommu_facts, first->iommu_facts);
	assert_int_equal(second->iommu.unsafe_interrupts, FACT_UNKNOWN);
	assert_string_equal(second->iommu.message, first->iommu.message);

	tree_file(tree, "sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts", "Y\n");
	third = rebuild(tree, second, "0000:00:1f.6");
	assert_int_equal(third->iommu.unsafe_interrupts, FACT_YES);
	assert_int_equal(third->reads, READS_OF_START + READS_OF_FUNCTION + READS_OF_GROUP);
	inventory_release(first);
	first = NULL;
	/* what the first read is still there for the others */
	assert_string_equal(function_at(third, "0000:00:02.0")->driver, "i915");
}

/* What a device is made with stays as long as it is that device; sysfs's own numbers tell. */
static void reads_again_only_what_can_change(void **state)
{
	static const char there[] = "sys/devices/pci0000:00/0000:00:02.0";
	CLEANUP(inventory_releasep) struct inventory *first = NULL, *second = NULL, *third = NULL;
	struct tree *tree = *state;
	char other[sizeof(tree->path) + 16], path[sizeof(tree->path) + sizeof(there)];
	const struct function *f;

	tree->root.real = true;
	tree_functions(tree, machine);
	first = build(tree, NULL, NULL);
	tree_link(tree, "sys/devices/pci0000:00/0000:00:02.0/driver", "../../../../bus/pci/drivers/vfio-pci");
	tree_file(tree, "sys/devices/pci0000:00/0000:00:02.0/device", "0x1234\n");
	tree_file(tree, "sys/devices/pci0000:00/0000:00:02.0/power_state", "D3hot\n");
	second = rebuild(tree, first, "0000:00:02.0");
	f = function_at(second, "0000:00:02.0");
	assert_string_equal(f->driver, "vfio-pci");
	assert_string_equal(f->power_state, "D3hot");
	assert_int_equal(f->device, 0x3e92);
	assert_int_equal(f->numa_node, 0);
	assert_string_equal(inventory_group(second, 2)->type, "DMA-FQ");
	assert_true(second->reads < READS_OF_START + READS_OF_FUNCTION);

	/* another one in its place */
	snprintf(path, sizeof(path), "%s/%s", tree->path, there);
	snprintf(other, sizeof(other), "%s/gone", tree->path);
	assert_int_equal(rename(path, other), 0);
	tree_drop(tree, "sys/bus/pci/devices/0000:00:02.0");
	tree_function(tree, &(struct tree_function){ "pci0000:00/0000:00:02.0", 0x1002, 0x5159, 0x030000,
						     "radeon", 3 });
	third = rebuild(tree, second, "0000:00:02.0");
	f = function_at(third, "0000:00:02.0");
	assert_int_equal(f->vendor, 0x1002);
	assert_int_equal(f->device, 0x5159);
	assert_int_equal(f->group, 3);
	assert_true(third->reads >= READS_OF_START + READS_OF_FUNCTION);
}

static void sees_what_came_and_went(void **state)
{
	static const struct tree_function late = {
		"pci0000:00/0000:00:1d.0/0000:05:00.0", 0x1002, 0x7550, 0x030000, NULL, 20
	};
	CLEANUP(inventory_releasep) struct inventory *first = NULL, *second = NULL, *third = NULL;
	struct tree *tree = *state;

	tree_functions(tree, machine);
	first = build(tree, NULL, NULL);
	tree_function(tree, &late);
	second = rebuild(tree, first, "0000:05:00.0");
	assert_int_equal(second->functions.n, 6);
	assert_int_equal(second->cards.n, 3);
	assert_string_equal(inventory_group(second, 20)->type, "DMA-FQ");
	tree_drop(tree, "sys/devices/pci0000:00/0000:00:1d.0");
	tree_drop(tree, "sys/bus/pci/devices/0000:05:00.0");
	third = rebuild(tree, second, "0000:05:00.0 0000:06:00.0");
	assert_int_equal(third->functions.n, 5);
	assert_int_equal(third->cards.n, 2);
	assert_null(inventory_group(third, 20));
	assert_non_null(function_at(second, "0000:05:00.0"));
}

/* The events of VFs are the VFs' own; their PF must follow. */
static void a_vf_brings_its_pf(void **state)
{
	static const struct tree_function vf = {
		"pci0000:00/0000:00:01.0/0000:01:00.4", 0x10de, 0x1b80, 0x030000, "nvidia", 30
	};
	CLEANUP(inventory_releasep) struct inventory *first = NULL, *second = NULL, *third = NULL;
	struct tree *tree = *state;

	tree_functions(tree, machine);
	tree_attribute(tree, "0000:01:00.0", "sriov_totalvfs", "4\n");
	first = build(tree, NULL, NULL);
	assert_int_equal(function_at(first, "0000:01:00.0")->sriov->vfs.n, 0);
	tree_function(tree, &vf);
	tree_link(tree, "sys/devices/pci0000:00/0000:00:01.0/0000:01:00.4/physfn",
		  "../0000:01:00.0");
	tree_link(tree, "sys/devices/pci0000:00/0000:00:01.0/0000:01:00.0/virtfn0",
		  "../0000:01:00.4");
	second = rebuild(tree, first, "0000:01:00.4");
	assert_int_equal(function_at(second, "0000:01:00.0")->sriov->vfs.n, 1);
	assert_int_equal(card_at(second, "0000:01:00.0")->functions.n, 2);
	assert_int_equal(card_at(second, "0000:01:00.4")->functions.n, 1);
	tree_drop(tree, "sys/devices/pci0000:00/0000:00:01.0/0000:01:00.4");
	tree_drop(tree, "sys/bus/pci/devices/0000:01:00.4");
	tree_drop(tree, "sys/devices/pci0000:00/0000:00:01.0/0000:01:00.0/virtfn0");
	third = rebuild(tree, second, "0000:01:00.4");
	assert_int_equal(function_at(third, "0000:01:00.0")->sriov->vfs.n, 0);
	assert_int_equal(third->functions.n, 5);
}

static void all_is_read_anew_when_told(void **state)
{
	CLEANUP(inventory_releasep) struct inventory *first = NULL, *second = NULL;
	const struct inventory_changes changes = { .all = true };
	struct tree *tree = *state;

	tree_functions(tree, machine);
	first = build(tree, NULL, NULL);
	tree_file(tree, "sys/class/iommu/dmar0/x", "");
	second = build(tree, first, &changes);
	assert_int_equal(second->revision, 2);
	assert_true(second->reads >= first->reads);
	assert_ptr_not_equal(function_at(second, "0000:00:02.0"),
			     function_at(first, "0000:00:02.0"));
	assert_string_equal(second->iommu.kind, "intel");
}

static void a_bare_tree_is_no_error(void **state)
{
	CLEANUP(inventory_releasep) struct inventory *inv = build(*state, NULL, NULL);

	assert_int_equal(inv->functions.n, 0);
	assert_int_equal(inv->cards.n, 0);
	assert_int_equal(inv->iommu.enabled, FACT_UNKNOWN);
}

/* A name that is no address is not a function; one that dangles went away. */
static void skips_what_is_none(void **state)
{
	CLEANUP(inventory_releasep) struct inventory *inv = NULL;
	struct tree *tree = *state;

	tree_functions(tree, machine);
	tree_dir(tree, "sys/bus/pci/devices/virtual");
	tree_link(tree, "sys/bus/pci/devices/0000:07:00.0",
		  "../../../devices/pci0000:00/0000:07:00.0");
	inv = build(tree, NULL, NULL);
	assert_int_equal(inv->functions.n, 5);
}

enum { READERS = 3, SWAPS = 200 };

static int stop; /* atomic */

static void *read_current(void *wrong)
{
	uint64_t last = 0;

	while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE)) {
		CLEANUP(inventory_releasep) struct inventory *inv = inventory_acquire();

		if (!inv)
			continue;
		if (inv->revision < last || inv->functions.n != 5 || !card_at(inv, "0000:01:00.0"))
			__atomic_store_n((int *)wrong, 1, __ATOMIC_RELAXED);
		last = inv->revision;
	}
	return NULL;
}

static void many_read_while_one_publishes(void **state)
{
	struct tree *tree = *state;
	struct inventory *inv = NULL, *next;
	pthread_t readers[READERS];
	int wrong = 0;

	assert_null(inventory_acquire());
	tree_functions(tree, machine);
	stop = 0;
	for (int i = 0; i < READERS; i++)
		assert_int_equal(pthread_create(&readers[i], NULL, read_current, &wrong), 0);
	for (int i = 0; i < SWAPS; i++) {
		next = inv ? rebuild(tree, inv, "0000:00:02.0") : build(tree, NULL, NULL);
		inventory_publish(next);
		inventory_release(inv);
		inv = inventory_acquire();
	}
	__atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
	for (int i = 0; i < READERS; i++)
		pthread_join(readers[i], NULL);
	assert_int_equal(wrong, 0);
	assert_int_equal(inv->revision, SWAPS);
	inventory_release(inv);
	inventory_publish(NULL);
}

/* An A2 cut into sixteen VFs, three vGPUs on them, and a BMC's VGA that the firmware uses. */
static void reads_the_vgpu_server(void **state)
{
	static const char *const with_mdev[] = { "0000:08:00.4", "0000:08:00.6", "0000:08:02.0" };
	CLEANUP(inventory_releasep) struct inventory *inv = NULL;
	const struct function *pf, *vga;
	struct pci_address *vfs;
	size_t mdevs = 0;

	TREE_FIXTURE(*state, "vgpu-node");
	inv = build(*state, NULL, NULL);
	assert_int_equal(inv->functions.n, 226);
	pf = function_at(inv, "0000:08:00.0");
	assert_int_equal(pf->vendor, 0x10de);
	assert_int_equal(pf->device, 0x25b6);
	assert_int_equal(pf->subsystem_device, 0x157e);
	assert_int_equal(pf->class, 0x030200);
	assert_int_equal(pf->revision, 0xa1);
	assert_string_equal(pf->driver, "nvidia");
	assert_int_equal(pf->group, 38);
	assert_int_equal(pf->numa_node, 0);
	assert_string_equal(pf->local_cpus, "0-5,12-17");
	assert_string_equal(pf->path_key, "00:03.0/00.0");
	assert_string_equal(pf->link_speed, "2.5 GT/s PCIe");
	assert_int_equal(pf->link_width, 8);
	assert_int_equal(pf->max_link_width, 16);
	assert_int_equal(pf->bars.n, 3);
	assert_int_equal(((struct bar *)pf->bars.items)[1].bytes, INT64_C(16) << 30);
	assert_int_equal(pf->reset_methods.n, 2);
	assert_string_equal(pf->vgpu, "mdev_per_vf");
	assert_int_equal(pf->sriov->total, 16);
	assert_int_equal(pf->sriov->vfs.n, 16);
	vfs = pf->sriov->vfs.items;
	for (int i = 0; i < 16; i++) {
		const struct function *vf = inventory_function(inv, vfs[i]);

		assert_int_equal(vfs[i].device * 8 + vfs[i].function, 4 + i);
		assert_int_equal(vf->group, 90 + i);
		assert_true(pci_address_equal(*vf->physfn, pf->address));
		assert_int_equal(inventory_card(inv, vfs[i])->functions.n, 1);
		mdevs += vf->mdevs.n;
	}
	assert_int_equal(mdevs, 3);
	for (size_t i = 0; i < ARRAY_SIZE(with_mdev); i++)
		assert_int_equal(function_at(inv, with_mdev[i])->mdevs.n, 1);
	assert_int_equal(card_at(inv, "0000:08:00.0")->functions.n, 1);

	vga = function_at(inv, "0000:01:00.1");
	assert_int_equal(vga->boot_vga, 1);
	assert_int_equal(vga->group, 33);
	assert_int_equal(inventory_group(inv, 33)->functions.n, 4);
	assert_string_equal(card_at(inv, "0000:01:00.0")->text, "0000:01:00.1");
	assert_true(function_blocks(function_at(inv, "0000:01:00.4"), NULL));
	assert_int_equal(inv->cards.n, 18);
	assert_int_equal(inv->iommu.enabled, FACT_YES);
	assert_string_equal(inv->iommu.kind, "intel");
	/* the record has no /proc and no ACPI tables: unknown, not off */
	assert_int_equal(inv->iommu.interrupt_remapping, FACT_UNKNOWN);
}

static void reads_the_server_without_iommu(void **state)
{
	CLEANUP(inventory_releasep) struct inventory *inv = NULL;

	TREE_FIXTURE(*state, "iommu-off-node");
	inv = build(*state, NULL, NULL);
	assert_int_equal(inv->functions.n, 208);
	assert_int_equal(inv->groups.n, 0);
	assert_int_equal(inv->iommu.enabled, FACT_NO);
	assert_int_equal(inv->iommu.groups, 0);
	assert_non_null(strstr(inv->iommu.message, "no PCI function is in an IOMMU group"));
	assert_int_equal(inv->iommu.problems.n, 1);
	for (LIST_EACH(struct function *, f, &inv->functions))
		assert_int_equal((*f)->group, NO_GROUP);
	assert_int_equal(inv->cards.n, 1);
	assert_int_equal(function_at(inv, "0000:01:00.1")->boot_vga, 1);
}

int main(void)
{
#define TREE_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TREE_TEST(builds_it_whole),
		TREE_TEST(takes_configured_classes),
		TREE_TEST(reads_only_what_was_touched),
		TREE_TEST(reads_again_only_what_can_change),
		TREE_TEST(sees_what_came_and_went),
		TREE_TEST(a_vf_brings_its_pf),
		TREE_TEST(all_is_read_anew_when_told),
		TREE_TEST(a_bare_tree_is_no_error),
		TREE_TEST(skips_what_is_none),
		TREE_TEST(many_read_while_one_publishes),
		TREE_TEST(reads_the_vgpu_server),
		TREE_TEST(reads_the_server_without_iommu),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
