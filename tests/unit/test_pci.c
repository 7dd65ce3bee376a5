/* SPDX-License-Identifier: Apache-2.0 */
/* One function read from a tree: every field, what is missing, and what must not be opened. */
#include "unit.h"

#include "base/rows.h"
#include "host/inventory.h"
#include "tree.h"

enum { HANG_SECONDS = 20 };

#define GPU	 "0000:08:00.0"
#define GPU_PATH "pci0000:00/0000:00:03.0/" GPU

static const struct tree_function gpu = { GPU_PATH, 0x10de, 0x25b6, 0x030200, "nvidia", 38 };

static int setup(void **state)
{
	struct tree *tree = calloc(1, sizeof(*tree));

	tree_make(tree);
	*state = tree;
	alarm(HANG_SECONDS); /* a trap that was opened ends the program */
	return 0;
}

static int teardown(void **state)
{
	tree_remove(*state);
	free(*state);
	return 0;
}

static struct function *read_one(struct tree *tree, const char *text)
{
	struct function *f = NULL;
	struct pci_address address;
	struct error err = { 0 };

	assert_true(pci_address_parse(text, &address));
	if (function_read(&tree->root, address, &f, &err))
		fail_msg("%s: %s", text, err.message);
	return f;
}

static const char *why(const struct function *f, const char *field)
{
	for (LIST_EACH(struct row_pair, pair, &f->unknown))
		if (!strcmp(pair->key, field))
			return pair->value;
	return NULL;
}

static void assert_strings(const struct list *list, const char *expected)
{
	char text[256] = "";

	for (LIST_EACH(const char *, s, list)) {
		strncat(text, *s, sizeof(text) - strlen(text) - 2);
		strcat(text, " ");
	}
	assert_string_equal(text, expected);
}

static void reads_every_field(void **state)
{
	CLEANUP(function_unrefp) struct function *f = NULL;
	struct tree *tree = *state;

	tree_function(tree, &gpu);
	tree_attribute(tree, GPU, "local_cpulist", "0-5,12-17\n");
	tree_attribute(tree, GPU, "numa_node", "1\n");
	tree_attribute(tree, GPU, "current_link_speed", "2.5 GT/s PCIe\n");
	tree_attribute(tree, GPU, "current_link_width", "8\n");
	tree_attribute(tree, GPU, "max_link_speed", "16.0 GT/s PCIe\n");
	tree_attribute(tree, GPU, "max_link_width", "16\n");
	tree_attribute(tree, GPU, "reset_method", "flr bus\n");
	tree_attribute(tree, GPU, "boot_vga", "1\n");
	tree_attribute(tree, GPU, "aer_dev_correctable", "RxErr 3\nBadTLP 4\nTOTAL_ERR_COR 7\n");
	tree_attribute(tree, GPU, "aer_dev_fatal", "Undefined 0\nTOTAL_ERR_FATAL 2\n");
	f = read_one(tree, GPU);
	assert_string_equal(f->text, GPU);
	assert_string_equal(f->sysfs, "sys/devices/" GPU_PATH);
	assert_int_equal(f->vendor, 0x10de);
	assert_int_equal(f->device, 0x25b6);
	assert_int_equal(f->subsystem_vendor, 0x10de);
	assert_int_equal(f->subsystem_device, 0x1234);
	assert_int_equal(f->class, 0x030200);
	assert_int_equal(f->revision, 0xa1);
	assert_false(f->bridge);
	assert_string_equal(f->driver, "nvidia");
	assert_int_equal(f->group, 38);
	assert_false(f->group_is_noiommu);
	assert_int_equal(f->parents.n, 1);
	assert_string_equal(f->path_key, "00:03.0/00.0");
	assert_int_equal(f->numa_node, 1);
	assert_string_equal(f->local_cpus, "0-5,12-17");
	assert_int_equal(f->boot_vga, 1);
	assert_string_equal(f->power_state, "D0");
	assert_string_equal(f->runtime_status, "active");
	assert_string_equal(f->link_speed, "2.5 GT/s PCIe");
	assert_int_equal(f->link_width, 8);
	assert_string_equal(f->max_link_speed, "16.0 GT/s PCIe");
	assert_int_equal(f->max_link_width, 16);
	assert_strings(&f->reset_methods, "flr bus ");
	assert_int_equal(f->aer_correctable, 7);
	assert_int_equal(f->aer_fatal, 2);
	assert_null(f->sriov);
	assert_null(f->physfn);
	assert_null(f->vgpu);
	assert_int_equal(f->unknown.n, 0);
}

static void reads_bars(void **state)
{
	CLEANUP(function_unrefp) struct function *f = NULL;
	struct tree *tree = *state;
	const struct bar *bars;

	tree_function(tree, &gpu);
	tree_attribute(tree, GPU, "resource",
		       "0x0000000093000000 0x0000000093ffffff 0x0000000000040200\n"
		       "0x0000039000000000 0x00000393ffffffff 0x000000000014220c\n"
		       "0x0000000000000000 0x0000000000000000 0x0000000000000000\n"
		       "0x0000039c20000000 0x0000039c21ffffff 0x000000000014220c\n"
		       "0x0000000000000000 0x0000000000000000 0x0000000000000000\n"
		       "0x000000000000e000 0x000000000000e07f 0x0000000000040101\n"
		       "0x00000000000c0000 0x00000000000dffff 0x0000000000046200\n"
		       "0x0000000094000000 0x00000000943fffff 0x0000000000040200\n");
	f = read_one(tree, GPU);
	bars = f->bars.items;
	assert_int_equal(f->bars.n, 4); /* neither the ROM nor those of VFs */
	assert_int_equal(bars[0].index, 0);
	assert_int_equal(bars[0].start, 0x93000000);
	assert_int_equal(bars[0].bytes, 16 << 20);
	assert_false(bars[0].bits64 || bars[0].prefetchable || bars[0].io);
	assert_int_equal(bars[1].index, 1);
	assert_int_equal(bars[1].bytes, INT64_C(16) << 30);
	assert_true(bars[1].bits64 && bars[1].prefetchable && !bars[1].io);
	assert_int_equal(bars[2].index, 3);
	assert_int_equal(bars[3].index, 5);
	assert_int_equal(bars[3].bytes, 128);
	assert_true(bars[3].io);
	assert_true(f->has_rom);
}

/* Domains of VMD have five digits, and its path goes through another PCI function. */
static void follows_wide_domains(void **state)
{
	static const struct tree_function vmd = {
		"pci0000:00/0000:00:0e.0/pci10000:e0/10000:e0:06.0/10000:e1:00.0",
		0x144d,
		0xa80a,
		0x010802,
		"nvme",
		7
	};
	CLEANUP(function_unrefp) struct function *f = NULL;
	struct pci_address *parents;

	tree_function(*state, &vmd);
	f = read_one(*state, "10000:e1:00.0");
	assert_int_equal(f->address.domain, 0x10000);
	parents = f->parents.items;
	assert_int_equal(f->parents.n, 1);
	assert_int_equal(parents[0].domain, 0x10000);
	assert_int_equal(parents[0].bus, 0xe0);
	assert_string_equal(f->path_key, "10000:e0:06.0/00.0");
}

static void sorts_vfs_by_number(void **state)
{
	CLEANUP(function_unrefp) struct function *f = NULL, *vf = NULL;
	struct tree *tree = *state;
	char name[128], target[64];
	struct pci_address *vfs;

	tree_function(tree, &gpu);
	tree_attribute(tree, GPU, "sriov_totalvfs", "16\n");
	for (int i = 0; i < 12; i++) {
		snprintf(name, sizeof(name), "sys/devices/" GPU_PATH "/virtfn%d", i);
		snprintf(target, sizeof(target), "../0000:08:%02x.%x", (i + 4) / 8, (i + 4) % 8);
		tree_link(tree, name, target);
	}
	tree_function(tree, &(struct tree_function){ "pci0000:00/0000:00:03.0/0000:08:00.4", 0x10de,
						     0x25b6, 0x030200, "nvidia", 90 });
	tree_link(tree, "sys/devices/pci0000:00/0000:00:03.0/0000:08:00.4/physfn", "../" GPU);
	f = read_one(tree, GPU);
	assert_non_null(f->sriov);
	assert_int_equal(f->sriov->total, 16);
	assert_int_equal(f->sriov->vfs.n, 12);
	vfs = f->sriov->vfs.items;
	for (int i = 0; i < 12; i++)
		assert_int_equal(vfs[i].device * 8 + vfs[i].function, i + 4);
	vf = read_one(tree, "0000:08:00.4");
	assert_non_null(vf->physfn);
	assert_int_equal(vf->physfn->function, 0);
	assert_int_equal(vf->link_width, ROW_NULL);
	assert_non_null(why(vf, "link"));
}

/* Each row: what is there, and the interface that it shows. */
static void tells_the_vgpu_interface(void **state)
{
	static const struct {
		const char *file, *of_pf, *of_vf;
	} cases[] = {
		{ GPU "/mdev_supported_types/nvidia-222/name", "mdev", NULL },
		{ "0000:08:00.4/mdev_supported_types/nvidia-754/name", "mdev_per_vf",
		  "mdev_per_vf" },
		{ "0000:08:00.4/nvidia/creatable_vgpu_types", "vendor_vf", "vendor_vf" },
		{ "0000:08:00.4/nvidia/something_else", "sriov", NULL },
	};
	struct tree *tree = *state;
	char path[256], dir[256];

	tree_function(tree, &gpu);
	tree_attribute(tree, GPU, "sriov_totalvfs", "16\n");
	tree_function(tree, &(struct tree_function){ "pci0000:00/0000:00:03.0/0000:08:00.4", 0x10de,
						     0x25b6, 0x030200, "nvidia", 90 });
	tree_link(tree, "sys/devices/pci0000:00/0000:00:03.0/0000:08:00.4/physfn", "../" GPU);
	tree_link(tree, "sys/devices/" GPU_PATH "/virtfn0", "../0000:08:00.4");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		CLEANUP(function_unrefp) struct function *pf = NULL, *vf = NULL;

		snprintf(path, sizeof(path), "sys/bus/pci/devices/%s", cases[i].file);
		tree_trap(tree, path); /* looked for, never read: it runs vendor code */
		pf = read_one(tree, GPU);
		vf = read_one(tree, "0000:08:00.4");
		assert_string_equal(pf->vgpu, cases[i].of_pf);
		if (cases[i].of_vf)
			assert_string_equal(vf->vgpu, cases[i].of_vf);
		else
			assert_null(vf->vgpu);
		snprintf(dir, sizeof(dir), "%s", path);
		*strchr(strstr(dir, "0000:08") + 13, '/') = '\0';
		tree_drop(tree, dir);
	}
}

static void lists_instances(void **state)
{
	CLEANUP(function_unrefp) struct function *f = NULL;
	struct tree *tree = *state;
	const struct mdev *mdev;

	tree_function(tree, &gpu);
	tree_dir(tree, "sys/devices/" GPU_PATH "/f715f63c-0d00-4007-9c5a-b07b0c6c05de");
	tree_dir(tree, "sys/devices/" GPU_PATH "/3deab9a4-200a-4c54-99b1-5eb0722d1d81");
	tree_dir(tree, "sys/devices/" GPU_PATH "/3deab9a4-200a-4c54-99b1-5eb0722d1d8g");
	tree_link(tree, "sys/devices/" GPU_PATH "/f715f63c-0d00-4007-9c5a-b07b0c6c05de/mdev_type",
		  "../mdev_supported_types/nvidia-754");
	tree_link(tree, "sys/devices/" GPU_PATH "/f715f63c-0d00-4007-9c5a-b07b0c6c05de/iommu_group",
		  "../../../../../kernel/iommu_groups/106");
	f = read_one(tree, GPU);
	mdev = f->mdevs.items;
	assert_int_equal(f->mdevs.n, 2);
	assert_string_equal(mdev[0].uuid, "3deab9a4-200a-4c54-99b1-5eb0722d1d81");
	assert_null(mdev[0].type);
	assert_int_equal(mdev[0].group, NO_GROUP);
	assert_string_equal(mdev[1].uuid, "f715f63c-0d00-4007-9c5a-b07b0c6c05de");
	assert_string_equal(mdev[1].type, "nvidia-754");
	assert_int_equal(mdev[1].group, 106);
	assert_string_equal(f->vgpu, "mdev");
}

/* No method, an emptied list, a kernel that has no list, and a list. */
static void tells_resets_apart(void **state)
{
	struct tree *tree = *state;
	struct function *f;

	tree_function(tree, &gpu);
	f = read_one(tree, GPU);
	assert_false(f->reset_methods.null);
	assert_int_equal(f->reset_methods.n, 0);
	assert_null(why(f, "reset_methods"));
	function_unref(f);

	tree_attribute(tree, GPU, "reset", "");
	f = read_one(tree, GPU);
	assert_true(f->reset_methods.null);
	assert_non_null(strstr(why(f, "reset_methods"), "5.15"));
	function_unref(f);

	tree_attribute(tree, GPU, "reset_method", "\n");
	f = read_one(tree, GPU);
	assert_false(f->reset_methods.null);
	assert_int_equal(f->reset_methods.n, 0);
	function_unref(f);

	tree_attribute(tree, GPU, "reset_method", "device_specific bus\n");
	f = read_one(tree, GPU);
	assert_strings(&f->reset_methods, "device_specific bus ");
	function_unref(f);
}

static const char *const never_read[] = { "config",    "rom",	 "sriov_numvfs", "driver_override",
					  "resource0", "uevent", "enable" };

static void leaves_out_what_hangs(void **state)
{
	CLEANUP(function_unrefp) struct function *f = NULL;
	char path[256];

	tree_function(*state, &gpu);
	for (size_t i = 0; i < ARRAY_SIZE(never_read); i++) {
		snprintf(path, sizeof(path), "sys/devices/" GPU_PATH "/%s", never_read[i]);
		tree_trap(*state, path);
	}
	f = read_one(*state, GPU);
	assert_true(f->has_rom);
}

static void lets_sleepers_sleep(void **state)
{
	static const struct {
		const char *power_state, *runtime_status;
		bool max_known;
	} cases[] = {
		{ "D3hot\n", "suspended\n", true },
		{ "D3cold\n", "suspended\n", false },
		{ "D0\n", "suspending\n", true },
		{ "unknown\n", "suspended\n", true },
	};
	struct tree *tree = *state;

	tree_function(tree, &gpu);
	tree_trap(tree, "sys/devices/" GPU_PATH "/current_link_speed");
	tree_trap(tree, "sys/devices/" GPU_PATH "/current_link_width");
	tree_attribute(tree, GPU, "max_link_speed", "16.0 GT/s PCIe\n");
	tree_attribute(tree, GPU, "max_link_width", "16\n");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		CLEANUP(function_unrefp) struct function *f = NULL;

		tree_attribute(tree, GPU, "power_state", cases[i].power_state);
		tree_attribute(tree, GPU, "power/runtime_status", cases[i].runtime_status);
		f = read_one(tree, GPU);
		assert_null(f->link_speed);
		assert_int_equal(f->link_width, ROW_NULL);
		assert_non_null(strstr(why(f, "link"), "sleeps"));
		assert_int_equal(f->max_link_width, cases[i].max_known ? 16 : ROW_NULL);
		assert_int_equal(f->in_d3cold, !cases[i].max_known);
	}
}

/* The last part of a link tells, whatever stands at its end. */
static void reads_dangling_links(void **state)
{
	CLEANUP(function_unrefp) struct function *f = NULL;
	struct tree *tree = *state;

	tree_function(tree, &gpu);
	tree_drop(tree, "sys/bus/pci/drivers");
	tree_drop(tree, "sys/kernel");
	f = read_one(tree, GPU);
	assert_string_equal(f->driver, "nvidia");
	assert_int_equal(f->group, 38);
}

static void knows_noiommu_groups(void **state)
{
	CLEANUP(function_unrefp) struct function *f = NULL;
	struct tree *tree = *state;

	tree_function(tree,
		      &(struct tree_function){ GPU_PATH, 0x10de, 0x1c82, 0x030000, "vfio-pci", 0 });
	tree_file(tree, "sys/kernel/iommu_groups/0/name", "vfio-noiommu\n");
	f = read_one(tree, GPU);
	assert_int_equal(f->group, 0);
	assert_true(f->group_is_noiommu);
}

static void says_what_is_missing(void **state)
{
	static const struct {
		const char *file, *field;
	} cases[] = {
		{ "vendor", "vendor_id" },
		{ "device", "device_id" },
		{ "class", "class" },
		{ "revision", "revision" },
		{ "subsystem_vendor", "subsystem" },
		{ "subsystem_device", "subsystem" },
		{ "numa_node", "numa_node" },
		{ "local_cpulist", "local_cpus" },
		{ "power_state", "power_state" },
		{ "resource", "bars" },
	};
	struct tree *tree = *state;
	char path[256];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		CLEANUP(function_unrefp) struct function *f = NULL;

		tree_function(tree, &gpu);
		snprintf(path, sizeof(path), "sys/devices/" GPU_PATH "/%s", cases[i].file);
		tree_drop(tree, path);
		f = read_one(tree, GPU);
		if (!why(f, cases[i].field) || f->unknown.n != 1)
			fail_msg("without %s: %zu unknown", cases[i].file, f->unknown.n);
	}
}

static void takes_no_nonsense(void **state)
{
	CLEANUP(function_unrefp) struct function *f = NULL;
	struct tree *tree = *state;

	tree_function(tree, &gpu);
	tree_attribute(tree, GPU, "vendor", "0x110de\n");
	tree_attribute(tree, GPU, "class", "graphics\n");
	tree_attribute(tree, GPU, "numa_node", "-1\n");
	tree_attribute(tree, GPU, "local_cpulist", "\n");
	tree_attribute(tree, GPU, "max_link_speed", "Unknown\n");
	tree_attribute(tree, GPU, "max_link_width", "255\n");
	tree_attribute(tree, GPU, "current_link_width", "0\n");
	tree_link(tree, "sys/devices/" GPU_PATH "/iommu_group", "../nowhere/x1");
	f = read_one(tree, GPU);
	assert_int_equal(f->vendor, 0);
	assert_non_null(why(f, "vendor_id"));
	assert_non_null(why(f, "class"));
	assert_int_equal(f->numa_node, NUMA_UNKNOWN);
	assert_non_null(why(f, "numa_node"));
	assert_null(f->local_cpus);
	assert_null(f->max_link_speed);
	assert_int_equal(f->max_link_width, ROW_NULL);
	assert_int_equal(f->link_width, ROW_NULL);
	assert_int_equal(f->group, NO_GROUP);
	assert_non_null(why(f, "iommu_group"));
}

static void says_gone(void **state)
{
	struct tree *tree = *state;
	struct function *f = NULL;
	struct error err = { 0 };
	struct pci_address address = { .bus = 8 };

	assert_int_equal(function_read(&tree->root, address, &f, &err), -1);
	assert_int_equal(err.code, ERROR_GONE);
	tree_function(tree, &gpu);
	tree_drop(tree, "sys/devices/" GPU_PATH); /* the link of bus/pci is left behind */
	assert_int_equal(function_read(&tree->root, address, &f, &err), -1);
	assert_int_equal(err.code, ERROR_GONE);
	assert_null(f);
}

/* A tree copied by hand can have the directories where the kernel has links. */
static void reads_plain_directories(void **state)
{
	CLEANUP(function_unrefp) struct function *f = NULL;
	struct tree *tree = *state;

	tree_attribute(tree, "0000:01:00.0", "vendor", "0x10de\n");
	tree_attribute(tree, "0000:01:00.0", "class", "0x030000\n");
	f = read_one(tree, "0000:01:00.0");
	assert_int_equal(f->vendor, 0x10de);
	assert_string_equal(f->sysfs, "sys/bus/pci/devices/0000:01:00.0");
	assert_non_null(why(f, "identity"));
}

static void filters_classes(void **state UNUSED)
{
	static const struct {
		unsigned vendor, class;
		bool gpu;
	} cases[] = {
		{ 0x10de, 0x030000, true },  { 0x10de, 0x030200, true },
		{ 0x1002, 0x038000, true },  { 0x1002, 0x120000, true },
		{ 0x8086, 0x120000, false }, { 0x10de, 0x068000, false },
		{ 0x10de, 0x040300, false }, { 0x8086, 0x020000, true },
	};
	struct class_filter filter = { .extra = { 0x0200 }, .n_extra = 1 };

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct function f = { .vendor = (uint16_t)cases[i].vendor,
				      .class = cases[i].class };

		assert_int_equal(function_is_gpu(&f, &filter), cases[i].gpu);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(reads_every_field, setup, teardown),
		cmocka_unit_test_setup_teardown(reads_bars, setup, teardown),
		cmocka_unit_test_setup_teardown(follows_wide_domains, setup, teardown),
		cmocka_unit_test_setup_teardown(sorts_vfs_by_number, setup, teardown),
		cmocka_unit_test_setup_teardown(tells_the_vgpu_interface, setup, teardown),
		cmocka_unit_test_setup_teardown(lists_instances, setup, teardown),
		cmocka_unit_test_setup_teardown(tells_resets_apart, setup, teardown),
		cmocka_unit_test_setup_teardown(leaves_out_what_hangs, setup, teardown),
		cmocka_unit_test_setup_teardown(lets_sleepers_sleep, setup, teardown),
		cmocka_unit_test_setup_teardown(reads_dangling_links, setup, teardown),
		cmocka_unit_test_setup_teardown(knows_noiommu_groups, setup, teardown),
		cmocka_unit_test_setup_teardown(says_what_is_missing, setup, teardown),
		cmocka_unit_test_setup_teardown(takes_no_nonsense, setup, teardown),
		cmocka_unit_test_setup_teardown(says_gone, setup, teardown),
		cmocka_unit_test_setup_teardown(reads_plain_directories, setup, teardown),
		cmocka_unit_test(filters_classes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
