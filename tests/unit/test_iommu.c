/* SPDX-License-Identifier: Apache-2.0 */
/* The verdict on the IOMMU from tables of findings, and the findings from a tree. */
#include "unit.h"

#include "base/rows.h"
#include "host/iommu.h"
#include "host/pci.h"
#include "tree.h"

enum { LIST_MAX = 4 };

/* -2 in `groups`: a PCI function whose group cannot be read. */
enum { GROUP_UNREADABLE = -2 };

/* A machine in one row. Lists end in NULL; { "?" } is one that could not be read. */
struct machine {
	const char *what;
	const char *tables[LIST_MAX], *units[LIST_MAX];
	const char *cmdline;
	int functions;	      /* PCI functions, all in groups[0]… */
	int groups[LIST_MAX]; /* of each function; NO_GROUP: in none */
	bool noiommu;
	enum fact chips, hardware, unsafe;
	/* what comes out */
	enum fact enabled, remapping;
	const char *kind, *message, *problem; /* parts of the texts; NULL: none */
};

#define U FACT_UNKNOWN
#define Y FACT_YES
#define N FACT_NO

/* clang-format off */
static const struct machine machines[] = {
	{ "Intel, all on", { "DMAR" }, { "dmar0", "dmar1" }, "quiet intel_iommu=on iommu=pt", 2,
	  { 1, 2 }, false, Y, Y, U, Y, Y, "intel", "ready for GPU passthrough", NULL },
	{ "Intel, on without a word on the command line", { "DMAR" }, { "dmar0" }, "quiet", 1,
	  { 1 }, false, Y, Y, N, Y, Y, "intel", "ready", NULL },
	{ "AMD, on", { "IVRS" }, { "ivhd0" }, "", 1, { 0 }, false, Y, U, U, Y, Y, "amd", "ready",
	  NULL },
	{ "the word is there, the firmware has it off", { NULL }, { NULL }, "intel_iommu=on", 1,
	  { NO_GROUP }, false, N, U, U, N, N, NULL, "firmware describes none", "firmware setup" },
	{ "AMD's word that does nothing", { "IVRS" }, { "ivhd0" }, "amd_iommu=on", 1, { 3 }, false,
	  Y, U, U, Y, Y, "amd", "ready", "no option of the kernel" },
	{ "Intel, firmware on, kernel off", { "DMAR" }, { NULL }, "quiet", 1, { NO_GROUP }, false,
	  N, U, U, N, N, NULL, "the kernel has it off", "add intel_iommu=on" },
	{ "turned off by hand", { "DMAR" }, { NULL }, "intel_iommu=off", 1, { NO_GROUP }, false, N,
	  U, U, N, N, NULL, "turns it off (intel_iommu=off)", "remove it and reboot" },
	{ "units, but no groups", { "DMAR" }, { "dmar0" }, "", 1, { NO_GROUP }, false, Y, Y, U, N, Y,
	  "intel", "no PCI function is in a group", "no PCI function is in a group" },
	{ "only vfio-noiommu groups", { NULL }, { NULL }, "", 1, { 0 }, true, N, U, U, N, N, NULL,
	  "not enabled", "firmware setup" },
	{ "tables unreadable, groups there", { "?" }, { "?" }, NULL, 2, { 4, 4 }, false, U, U, U, Y,
	  U, NULL, "ready", NULL },
	{ "tables unreadable, no groups", { "?" }, { "?" }, NULL, 1, { NO_GROUP }, false, U, U, U, N,
	  U, NULL, "not enabled", "firmware setup" },
	{ "groups unreadable", { "DMAR" }, { "dmar0" }, "", 1, { GROUP_UNREADABLE }, false, Y, Y, U,
	  U, Y, "intel", "cannot be told", NULL },
	{ "nothing there at all", { "?" }, { "?" }, NULL, 0, { 0 }, false, U, U, U, U, U, NULL,
	  "cannot be told", NULL },
	{ "no functions, no units", { NULL }, { NULL }, "", 0, { 0 }, false, N, U, U, N, N, NULL,
	  "not enabled", "firmware setup" },
	{ "AMD without interrupt remapping", { "IVRS" }, { "ivhd0" }, "", 1, { 1 }, false, N, U, N,
	  Y, N, "amd", "interrupts are not remapped", "Interrupts are not remapped" },
	{ "interrupt remapping turned off", { "DMAR" }, { "dmar0" }, "intremap=off", 1, { 1 }, false,
	  N, Y, N, Y, N, "intel", "not remapped", "remove intremap=off" },
	{ "hardware cannot remap, chips unknown", { "DMAR" }, { "dmar0" }, "", 1, { 1 }, false, U, N,
	  N, Y, N, "intel", "not remapped", "enable interrupt remapping" },
	{ "unsafe interrupts allowed", { "DMAR" }, { "dmar0" }, "", 1, { 1 }, false, Y, Y, Y, Y, Y,
	  "intel", "ready", "allow_unsafe_interrupts" },
	{ "isolation faked", { "DMAR" }, { "dmar0" }, "pcie_acs_override=downstream,multifunction", 1,
	  { 1 }, false, Y, Y, U, Y, Y, "intel", "ready", "pcie_acs_override=downstream" },
	{ "arm64", { "IORT" }, { "smmu3.0x0000000009050000" }, "", 1, { 1 }, false, Y, U, U, Y, Y,
	  "smmu", "ready", NULL },
	{ "virtio-iommu", { "VIOT" }, { "0000:00:01.0" }, "", 1, { 1 }, false, N, U, U, Y, N,
	  "virtio", "not remapped", "Interrupts" },
	{ "POWER: groups without units", { "?" }, { NULL }, "", 1, { 1 }, false, U, U, U, Y, U, NULL,
	  "ready", NULL },
};
/* clang-format on */

static void fill(struct arena *arena, struct list *list, const char *const *strings)
{
	list->null = strings[0] && !strcmp(strings[0], "?");
	for (int i = 0; !list->null && strings[i]; i++)
		list_add_string(arena, list, strings[i]);
}

static void add_functions(struct arena *arena, struct list *functions, const struct machine *m)
{
	for (int i = 0; i < m->functions; i++) {
		struct function *f = arena_new_of(arena, struct function);

		f->group = m->groups[i] < 0 ? NO_GROUP : m->groups[i];
		f->group_is_noiommu = m->noiommu;
		if (m->groups[i] == GROUP_UNREADABLE)
			*list_add(arena, &f->unknown, struct row_pair) =
				(struct row_pair){ "iommu_group", "unreadable" };
		*list_add(arena, functions, struct function *) = f;
	}
}

static bool has_part(const struct list *strings, const char *part)
{
	for (LIST_EACH(const char *, s, strings))
		if (strstr(*s, part))
			return true;
	return false;
}

static const char *why(const struct iommu *iommu, const char *field)
{
	for (LIST_EACH(struct row_pair, pair, &iommu->unknown))
		if (!strcmp(pair->key, field))
			return pair->value;
	return NULL;
}

static void judge(struct arena *arena, const struct machine *m, struct iommu *out)
{
	struct iommu_facts facts = { .arena = arena,
				     .cmdline = m->cmdline,
				     .remapped_chips = m->chips,
				     .remapping_hardware = m->hardware };
	struct list functions = { 0 };

	fill(arena, &facts.tables, m->tables);
	fill(arena, &facts.units, m->units);
	facts.other_groups = facts.units.null ? ROW_NULL : 0;
	add_functions(arena, &functions, m);
	iommu_judge(&facts, m->unsafe, &functions, arena, out);
}

static void check(const struct machine *m)
{
	CLEANUP(arena_freep) struct arena *arena = arena_new();
	struct iommu out;

	judge(arena, m, &out);
	if (out.enabled != m->enabled || out.interrupt_remapping != m->remapping)
		fail_msg("%s: enabled %d, remapping %d", m->what, out.enabled,
			 out.interrupt_remapping);
	if ((m->kind && (!out.kind || strcmp(out.kind, m->kind))) || (!m->kind && out.kind))
		fail_msg("%s: kind %s", m->what, out.kind);
	if (!strstr(out.message, m->message))
		fail_msg("%s: \"%s\"", m->what, out.message);
	if (m->problem ? !has_part(&out.problems, m->problem) : out.problems.n)
		fail_msg("%s: %zu problems", m->what, out.problems.n);
	if (out.evidence.n < 3)
		fail_msg("%s: %zu findings", m->what, out.evidence.n);
	/* what is unknown has its reason, and nothing else has one */
	assert_int_equal(!!why(&out, "enabled"), out.enabled == FACT_UNKNOWN);
	assert_int_equal(!!why(&out, "interrupt_remapping"),
			 out.interrupt_remapping == FACT_UNKNOWN);
	assert_int_equal(!!why(&out, "acs_override"), out.acs_override == FACT_UNKNOWN);
	assert_int_equal(!!why(&out, "unsafe_interrupts"), out.unsafe_interrupts == FACT_UNKNOWN);
	assert_int_equal(!!why(&out, "groups"), out.groups == ROW_NULL);
	assert_int_equal(!!why(&out, "kind"), !out.kind && out.enabled != FACT_NO);
}

static void judges(void **state UNUSED)
{
	for (size_t i = 0; i < ARRAY_SIZE(machines); i++)
		check(&machines[i]);
}

static void counts_groups(void **state UNUSED)
{
	static const struct machine m = { "three functions, two groups",
					  { "DMAR" },
					  { "dmar0" },
					  "",
					  3,
					  { 7, 3, 7 },
					  false,
					  Y,
					  Y,
					  U,
					  Y,
					  Y,
					  NULL,
					  NULL,
					  NULL };
	CLEANUP(arena_freep) struct arena *arena = arena_new();
	struct iommu out;

	judge(arena, &m, &out);
	assert_int_equal(out.groups, 2);
}

static void picks_words_that_matter(void **state UNUSED)
{
	static const struct machine m = {
		"words",
		{ "DMAR" },
		{ "dmar0" },
		"BOOT_IMAGE=/vmlinuz root=/dev/sda1 intel_iommu=on,sm_on iommu=pt quiet "
		"vfio-pci.ids=10de:1b80 nomodeset\n",
		1,
		{ 1 },
		false,
		Y,
		Y,
		U,
		Y,
		Y,
		NULL,
		NULL,
		NULL
	};
	CLEANUP(arena_freep) struct arena *arena = arena_new();
	const char **words;
	struct iommu out;

	judge(arena, &m, &out);
	words = out.cmdline.items;
	assert_int_equal(out.cmdline.n, 4);
	assert_string_equal(words[0], "intel_iommu=on,sm_on");
	assert_string_equal(words[1], "iommu=pt");
	assert_string_equal(words[2], "vfio-pci.ids=10de:1b80");
	assert_string_equal(words[3], "nomodeset");
}

static const struct tree_row intel_tree[] = {
	{ "sys/firmware/acpi/tables/DMAR", "secret", NULL },
	{ "sys/firmware/acpi/tables/FACP", "secret", NULL },
	{ "sys/class/iommu/dmar0", NULL, "../../devices/virtual/iommu/dmar0" },
	{ "sys/devices/virtual/iommu/dmar0/intel-iommu/ecap", "f050da\n", NULL },
	{ "sys/kernel/iommu_groups/1/type", "DMA-FQ\n", NULL },
	{ "sys/kernel/iommu_groups/9/type", "DMA\n", NULL },
	{ "sys/kernel/iommu_groups/106/name", "vfio-noiommu\n", NULL },
	{ "sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts", "N\n", NULL },
	{ "proc/cmdline", "quiet iommu=pt\n", NULL },
	{ "proc/cpuinfo", "processor\t: 0\nvmx flags\t: vmx ept\nflags\t\t: fpu vmx avx\n", NULL },
	{ "proc/interrupts",
	  "            CPU0\n   0:         40 IR-IO-APIC    2-edge      timer\n"
	  "  26:          0 IR-PCI-MSI-0000:00:01.0    0-edge      PCIe PME\n",
	  NULL },
};

static void reads_the_files(void **state UNUSED)
{
	CLEANUP(arena_freep) struct arena *arena = arena_new();
	struct function f = { .group = 1 }, *one = &f;
	struct list functions = { .items = &one, .n = 1 };
	struct iommu_facts *facts;
	struct tree tree;
	struct iommu out;

	tree_make(&tree);
	tree_fill(&tree, intel_tree);
	facts = iommu_facts_read(&tree.root, &functions);
	assert_int_equal(facts->tables.n, 1);
	assert_int_equal(facts->units.n, 1);
	assert_int_equal(facts->other_groups, 1); /* 9; not 1 (PCI), not VFIO's own */
	assert_string_equal(facts->cpu, "vmx");
	assert_string_equal(facts->cmdline, "quiet iommu=pt\n");
	assert_int_equal(facts->remapped_chips, FACT_YES);
	assert_int_equal(facts->remapping_hardware, FACT_YES);
	assert_int_equal(iommu_read_unsafe_interrupts(&tree.root), FACT_NO);
	iommu_facts_unref(facts);

	iommu_read(&tree.root, &functions, arena, &out);
	assert_int_equal(out.enabled, FACT_YES);
	assert_int_equal(out.groups, 2);
	assert_int_equal(out.unknown.n, 0);
	assert_int_equal(out.acs_override, FACT_NO);
	tree_remove(&tree);
}

/* Each row changes one file; the finding changes with it. */
static void tells_chips_apart(void **state UNUSED)
{
	static const struct {
		const char *interrupts;
		enum fact chips;
	} cases[] = {
		{ "   0:  1  IO-APIC   2-edge  timer\n  24:  0  PCI-MSI-0000:00:01.0\n", FACT_NO },
		{ "   0:  1  IR-IO-APIC   2-edge  timer\n", FACT_YES },
		{ "  24:  0  IR-PCI-MSIX-0000:01:00.0  0-edge  nvme0q0\n", FACT_YES },
		{ "  13:  0  ITS-PCI-MSI-0000:00:01.0  0  Edge\n", FACT_YES },
		{ " 120:  0  DMAR-MSI  0-edge  dmar0\n", FACT_UNKNOWN },
		{ " NMI:  0  Non-maskable interrupts\n", FACT_UNKNOWN },
	};
	struct list none = { 0 };
	struct iommu_facts *facts;
	struct tree tree;

	tree_make(&tree);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		tree_file(&tree, "proc/interrupts", cases[i].interrupts);
		facts = iommu_facts_read(&tree.root, &none);
		if (facts->remapped_chips != cases[i].chips)
			fail_msg("%s", cases[i].interrupts);
		iommu_facts_unref(facts);
	}
	tree_remove(&tree);
}

static void unknown_is_not_off(void **state UNUSED)
{
	struct list none = { 0 };
	struct iommu_facts *facts;
	struct tree tree;

	tree_make(&tree);
	facts = iommu_facts_read(&tree.root, &none);
	assert_true(facts->tables.null);
	assert_true(facts->units.null);
	assert_int_equal(facts->other_groups, ROW_NULL);
	assert_null(facts->cmdline);
	assert_null(facts->cpu);
	assert_int_equal(facts->remapped_chips, FACT_UNKNOWN);
	assert_int_equal(iommu_read_unsafe_interrupts(&tree.root), FACT_UNKNOWN);
	iommu_facts_unref(facts);
	tree_dir(&tree, "sys/firmware/acpi/tables");
	tree_dir(&tree, "sys/class/iommu");
	facts = iommu_facts_read(&tree.root, &none);
	assert_false(facts->tables.null);
	assert_false(facts->units.null);
	iommu_facts_unref(facts);
	tree_remove(&tree);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(judges),
		cmocka_unit_test(counts_groups),
		cmocka_unit_test(picks_words_that_matter),
		cmocka_unit_test(reads_the_files),
		cmocka_unit_test(tells_chips_apart),
		cmocka_unit_test(unknown_is_not_off),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
