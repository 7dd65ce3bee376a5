/* SPDX-License-Identifier: Apache-2.0 */
/* The doctor: what it says of hosts made by hand, and how it puts that on the wire. */
#include "unit.h"

#include "gpu/doctor.h"
#include "hand.h"
#include "host/modules.h"
#include "tree.h"

/* A good host with one card, changed by one thing: what each of the checks makes of it. */
struct test_case {
	const char *name;
	void (*change)(struct hand_host *host, struct doctor_facts *facts, struct function *gpu);
	const char *id;		/* of the check that tells */
	int status;
	const char *title;	/* part of it */
	const char *fix;	/* part of it; NULL: none */
	bool reboot;
};

#define CHANGE(name)                                                                               \
	static void name(struct hand_host *host UNUSED, struct doctor_facts *facts UNUSED,         \
			 struct function *gpu UNUSED)

CHANGE(iommu_off)
{
	host->inv.iommu.enabled = FACT_NO;
	host->inv.iommu.message = "the IOMMU is off";
	list_add_string(host->arena, &host->inv.iommu.problems, "switch on VT-d");
}
CHANGE(iommu_unknown)
{
	host->inv.iommu.enabled = FACT_UNKNOWN;
}
CHANGE(not_remapped)
{
	host->inv.iommu.interrupt_remapping = FACT_NO;
}
CHANGE(not_remapped_allowed)
{
	host->inv.iommu.interrupt_remapping = FACT_NO;
	host->inv.iommu.unsafe_interrupts = FACT_YES;
}
CHANGE(remapping_unknown)
{
	host->inv.iommu.interrupt_remapping = FACT_UNKNOWN;
}
CHANGE(acs_override)
{
	host->inv.iommu.acs_override = FACT_YES;
}
CHANGE(acs_unknown)
{
	host->inv.iommu.acs_override = FACT_UNKNOWN;
}
CHANGE(no_module)
{
	facts->vfio_pci = FACT_NO;
}
CHANGE(module_unknown)
{
	facts->vfio_pci = FACT_UNKNOWN;
}
CHANGE(no_group)
{
	gpu->group = NO_GROUP;
}
CHANGE(noiommu)
{
	gpu->group_is_noiommu = true;
}
CHANGE(neighbour)
{
	struct function *f = hand_function(host, "0000:03:00.0", 0x010802, "nvme", 1, -1);

	*list_add(host->arena, &((struct group *)host->inv.groups.items)->functions,
		  struct function *) = f;
}
CHANGE(direct_region)
{
	((struct group *)host->inv.groups.items)->direct_regions = true;
}
CHANGE(regions_unknown)
{
	((struct group *)host->inv.groups.items)->regions_unknown = true;
}
CHANGE(needed)
{
	hand_critical(host, "0000:01:00.1", "critical");
}
CHANGE(perhaps_needed)
{
	hand_critical(host, "0000:01:00.1", "unknown_carries");
}
CHANGE(other_needed)
{
	hand_critical(host, "0000:09:00.0", "critical");
}
CHANGE(console)
{
	hand_critical(host, "0000:01:00.0", "console_card");
}
CHANGE(only_card)
{
	hand_critical(host, "0000:01:00.0", "only_card");
}
CHANGE(critical_unknown)
{
	facts->gpu.critical = NULL;
	facts->gpu.critical_unknown = "no helper";
}
CHANGE(screen)
{
	struct boot_framebuffer *fb = list_add(host->arena, &host->framebuffers,
					       struct boot_framebuffer);

	*fb = (struct boot_framebuffer){ gpu->address, 1, "efifb" };
}
CHANGE(screen_of_3d)
{
	gpu->class = 0x030200;
	screen(host, facts, gpu);
}
CHANGE(screen_unknown)
{
	facts->framebuffers = NULL;
	facts->framebuffers_unknown = "no helper";
}
CHANGE(screen_unknown_of_3d)
{
	gpu->class = 0x030200;
	screen_unknown(host, facts, gpu);
}
CHANGE(open_in_process)
{
	hand_holder(host, 4711, "0000:01:00.1");
}
CHANGE(fbcon)
{
	hand_holder(host, 0, "0000:01:00.0");
}
CHANGE(open_in_vm)
{
	hand_holder(host, 4711, "0000:01:00.0");
	((struct holder *)host->holders.items)->node = "/dev/vfio/1";
}
CHANGE(holders_unknown)
{
	facts->gpu.holders = NULL;
	facts->gpu.holders_unknown = "no helper";
}
CHANGE(nvidia)
{
	gpu->driver = "nvidia";
}
CHANGE(half)
{
	gpu->driver = "vfio-pci";
}
CHANGE(shared)
{
	*list_add(host->arena, &gpu->mdevs, struct mdev) =
		(struct mdev){ "11111111-2222-3333-4444-555555555555", NULL, NO_GROUP };
}
CHANGE(no_reset)
{
	gpu->reset_methods = (struct list){ 0 };
}
CHANGE(reset_unknown)
{
	gpu->reset_methods = (struct list){ .null = true };
}
CHANGE(no_rom)
{
	gpu->has_rom = false;
}
CHANGE(no_rom_3d)
{
	gpu->has_rom = false;
	gpu->class = 0x030200;
}
CHANGE(asleep)
{
	gpu->in_d3cold = true;
}
CHANGE(power_unknown)
{
	gpu->power_state = NULL;
}
CHANGE(broken)
{
	gpu->aer_fatal = 3;
}
CHANGE(nothing)
{
}

static const struct test_case cases[] = {
	{ "good", nothing, "iommu", CHECK_OK, "the IOMMU is on" },
	{ "IOMMU off", iommu_off, "iommu", CHECK_FAIL, "is off", "switch on VT-d", true },
	{ "IOMMU unknown", iommu_unknown, "iommu", CHECK_UNKNOWN, "on", "firmware setup", true },
	{ "interrupts", not_remapped, "interrupt_remapping", CHECK_FAIL, "not remapped",
	  "x2APIC", true },
	{ "interrupts, allowed", not_remapped_allowed, "interrupt_remapping", CHECK_WARN,
	  "this host allows that", "x2APIC", true },
	{ "interrupts unknown", remapping_unknown, "interrupt_remapping", CHECK_UNKNOWN,
	  "cannot be told", "x2APIC", true },
	{ "ACS override", acs_override, "acs_override", CHECK_WARN, "kernel patch",
	  "pcie_acs_override", true },
	{ "ACS override unknown", acs_unknown, "acs_override", CHECK_UNKNOWN, "cannot be told",
	  "pcie_acs_override", true },
	{ "no vfio-pci", no_module, "vfio_pci", CHECK_FAIL, "has no vfio-pci", "CONFIG_VFIO_PCI" },
	{ "vfio-pci unknown", module_unknown, "vfio_pci", CHECK_UNKNOWN, "cannot be told",
	  "CONFIG_VFIO_PCI" },
	{ "no group", no_group, "group", CHECK_FAIL, "in no IOMMU group", "check of the IOMMU" },
	{ "no-IOMMU mode", noiommu, "group", CHECK_FAIL, "no-IOMMU", "check of the IOMMU" },
	{ "a neighbour", neighbour, "group", CHECK_FAIL, "0000:03:00.0", "another slot" },
	{ "RMRR", direct_region, "reserved_regions", CHECK_FAIL, "keeps memory", "firmware", true },
	{ "RMRR is not the group's fault", direct_region, "group", CHECK_OK, "nothing" },
	{ "regions unknown", regions_unknown, "reserved_regions", CHECK_UNKNOWN, "cannot be told",
	  "firmware", true },
	{ "critical", needed, "critical", CHECK_FAIL, "the host needs it", "elsewhere" },
	{ "perhaps critical", perhaps_needed, "critical", CHECK_UNKNOWN, "the host needs it",
	  "elsewhere" },
	{ "others are", other_needed, "critical", CHECK_OK, "nothing of the host" },
	{ "critical unknown", critical_unknown, "critical", CHECK_UNKNOWN, "cannot be told",
	  "elsewhere" },
	{ "console", console, "console", CHECK_WARN, "the host needs it", "accept console_card" },
	{ "console unknown", critical_unknown, "console", CHECK_UNKNOWN, "cannot be told",
	  "accept console_card" },
	{ "only card", only_card, "only_card", CHECK_WARN, "the host needs it", "accept only_card" },
	{ "screen on VGA", screen, "boot_framebuffer", CHECK_OK, "vfio-pci evicts it" },
	{ "screen on 3D", screen_of_3d, "boot_framebuffer", CHECK_FAIL, "lies in its memory",
	  "initcall_blacklist=sysfb_init", true },
	{ "screen unknown, VGA", screen_unknown, "boot_framebuffer", CHECK_OK, "would evict" },
	{ "screen unknown, 3D", screen_unknown_of_3d, "boot_framebuffer", CHECK_UNKNOWN,
	  "cannot be told", "initcall_blacklist", true },
	{ "open", open_in_process, "holders", CHECK_WARN, "it is open", "end what has it open" },
	{ "open in fbcon, which goes", fbcon, "holders", CHECK_OK, "nobody" },
	{ "open in a VM", open_in_vm, "holders", CHECK_OK, "a VM uses it" },
	{ "open unknown", holders_unknown, "holders", CHECK_UNKNOWN, "cannot be told", "end what" },
	{ "NVIDIA's driver", nvidia, "driver", CHECK_WARN, "waits for every user",
	  "nvidia-persistenced" },
	{ "half bound", half, "functions", CHECK_WARN, "only some of its functions", "bind the card" },
	{ "shared", shared, "shared", CHECK_WARN, "0 VFs, 1 vGPU instances", "stop the VMs" },
	{ "no reset", no_reset, "reset", CHECK_WARN, "no way to reset", "accept no_reset" },
	{ "reset unknown", reset_unknown, "reset", CHECK_UNKNOWN, "cannot be told", "no_reset" },
	{ "no ROM", no_rom, "rom", CHECK_WARN, "no option ROM", "rom_file" },
	{ "no ROM, 3D", no_rom_3d, "rom", CHECK_OK, "needs no option ROM" },
	{ "asleep", asleep, "power", CHECK_WARN, "sleeps", "wakes when it is used" },
	{ "power unknown", power_unknown, "power", CHECK_UNKNOWN, "cannot be told", "wakes" },
	{ "errors", broken, "errors", CHECK_WARN, "3 fatal PCIe errors", "reseat" },
};

static struct function *good_host(struct hand_host *host, struct doctor_facts *facts)
{
	struct function *gpu = hand_pair(host, "amdgpu", "snd_hda_intel");

	gpu->has_rom = true;
	gpu->power_state = "D0";
	*facts = (struct doctor_facts){ .gpu = host->facts.gpu, .framebuffers = &host->framebuffers,
					.vfio_pci = FACT_YES, .vfio_pci_evidence = "seen" };
	return gpu;
}

static const struct wire_check *check_of(const struct wire_doctor *report, const char *id)
{
	for (LIST_EACH(const struct wire_check, check, &report->checks))
		if (!strcmp(check->id, id))
			return check;
	return NULL;
}

static void test_checks(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct test_case *c = &cases[i];
		struct hand_host *host = hand_new();
		const struct wire_check *check;
		struct doctor_facts facts;
		struct wire_doctor report;
		struct function *gpu = good_host(host, &facts);

		c->change(host, &facts, gpu);
		gpu_doctor(&facts, NULL, host->arena, &report);
		check = check_of(&report, c->id);
		assert_non_null(check);
		if (check->status != c->status || !strstr(check->title, c->title) ||
		    !check->fix != !c->fix || (c->fix && !strstr(check->fix, c->fix)) ||
		    check->reboot_needed != c->reboot)
			fail_msg("%s: %s %d \"%s\", fix \"%s\", reboot %d", c->name, check->id,
				 check->status, check->title, check->fix ?: "none",
				 check->reboot_needed);
		assert_string_not_equal(check->why, "");
		hand_free(host);
	}
}

/* Every check of a good host is ok, each id once for the host and once for each card. */
static void test_good(void **state)
{
	struct hand_host *host = hand_new();
	struct doctor_facts facts;
	struct wire_doctor report;

	(void)state;
	good_host(host, &facts);
	gpu_doctor(&facts, NULL, host->arena, &report);
	assert_int_equal(report.verdict, CHECK_OK);
	assert_int_equal(report.checks.n, 19);
	for (LIST_EACH(struct wire_check, a, &report.checks)) {
		if (a->status != CHECK_OK)
			fail_msg("%s: %s", a->id, a->title);
		assert_string_equal(a->subject, a - (struct wire_check *)report.checks.items < 5 ?
							"host" : "0000:01:00.0");
		for (LIST_EACH(struct wire_check, b, &report.checks))
			assert_true(a == b || strcmp(a->id, b->id));
	}
	hand_free(host);
}

/* The host's verdict is that of its best card; of a card that was named, its own. */
static void test_verdict(void **state)
{
	struct hand_host *host = hand_new();
	struct doctor_facts facts;
	struct wire_doctor report;
	struct function *gpu = good_host(host, &facts), *bmc, *vf;

	(void)state;
	bmc = hand_function(host, "0000:07:00.0", 0x030000, "ast", 7, 1);
	bmc->has_rom = true;
	bmc->power_state = "D0";
	hand_card(host, bmc, NULL);
	hand_group(host, 7);
	hand_critical(host, "0000:07:00.0", "console_card");
	gpu_doctor(&facts, NULL, host->arena, &report);
	assert_int_equal(report.verdict, CHECK_OK);
	gpu_doctor(&facts, bmc, host->arena, &report);
	assert_int_equal(report.verdict, CHECK_WARN);
	assert_int_equal(report.checks.n, 19);
	gpu->reset_methods.null = true;		/* now both have something, and unknown is worse */
	gpu_doctor(&facts, NULL, host->arena, &report);
	assert_int_equal(report.verdict, CHECK_WARN);
	gpu_doctor(&facts, gpu, host->arena, &report);
	assert_int_equal(report.verdict, CHECK_UNKNOWN);
	host->inv.iommu.enabled = FACT_NO;
	gpu_doctor(&facts, NULL, host->arena, &report);
	assert_int_equal(report.verdict, CHECK_FAIL);
	/* a VF is looked at only when it is asked for */
	vf = hand_function(host, "0000:08:00.0", 0x030200, NULL, 8, 2);
	vf->physfn = arena_new_of(host->arena, struct pci_address);
	hand_card(host, vf, NULL);
	gpu_doctor(&facts, NULL, host->arena, &report);
	for (LIST_EACH(struct wire_check, check, &report.checks))
		assert_string_not_equal(check->subject, "0000:08:00.0");
	gpu_doctor(&facts, vf, host->arena, &report);
	assert_string_equal(((struct wire_check *)report.checks.items)[10].subject, "0000:08:00.0");
	hand_free(host);
}

static void test_no_cards(void **state)
{
	struct hand_host *host = hand_new();
	struct doctor_facts facts = { .gpu = host->facts.gpu, .framebuffers = &host->framebuffers,
				      .vfio_pci = FACT_YES };
	struct wire_doctor report;

	(void)state;
	gpu_doctor(&facts, NULL, host->arena, &report);
	assert_int_equal(report.verdict, CHECK_FAIL);
	assert_int_equal(check_of(&report, "cards")->status, CHECK_FAIL);
	hand_free(host);
}

static void test_wire(void **state)
{
	struct hand_host *host = hand_new();
	struct doctor_facts facts;
	struct wire_doctor report;
	json_t *json, *check;

	(void)state;
	nvidia(host, &facts, good_host(host, &facts));
	gpu_doctor(&facts, NULL, host->arena, &report);
	json = rows_emit(wire_doctor_rows, &report);
	assert_string_equal(json_string_value(json_object_get(json, "verdict")), "warn");
	check = json_array_get(json_object_get(json, "checks"), 12);
	assert_string_equal(json_string_value(json_object_get(check, "id")), "driver");
	assert_string_equal(json_string_value(json_object_get(check, "subject")), "0000:01:00.0");
	assert_string_equal(json_string_value(json_object_get(check, "status")), "warn");
	assert_true(json_is_false(json_object_get(check, "reboot_needed")));
	assert_int_equal(json_object_size(check), 8);
	json_decref(json);
	hand_free(host);
}

static const struct {
	const char *name;
	struct tree_row rows[3];
	enum fact fact;
	const char *evidence;
} modules[] = {
	{ "registered", { { "sys/bus/pci/drivers/vfio-pci/module", "x" } }, FACT_YES,
	  "/sys/bus/pci/drivers/vfio-pci" },
	{ "a module",
	  { { "proc/sys/kernel/osrelease", "6.1\n" }, { "lib/modules/6.1/modules.builtin", "" },
	    { "lib/modules/6.1/modules.dep", "kernel/a.ko:\nkernel/drivers/vfio/pci/vfio-pci.ko: x.ko\n" } },
	  FACT_YES, "/lib/modules/6.1/modules.dep" },
	{ "built in, with the other dash",
	  { { "proc/sys/kernel/osrelease", "6.1" },
	    { "lib/modules/6.1/modules.builtin", "kernel/drivers/vfio_pci.ko\n" } },
	  FACT_YES, "/lib/modules/6.1/modules.builtin" },
	{ "compressed",
	  { { "proc/sys/kernel/osrelease", "6.1" }, { "lib/modules/6.1/modules.builtin", "" },
	    { "lib/modules/6.1/modules.dep", "kernel/vfio-pci.ko.xz: kernel/vfio.ko.xz\n" } },
	  FACT_YES, "/lib/modules/6.1/modules.dep" },
	{ "names that only look alike",
	  { { "proc/sys/kernel/osrelease", "6.1" },
	    { "lib/modules/6.1/modules.builtin", "vfio-pci.ko\nkernel/vfio-pci-core.ko\n" },
	    { "lib/modules/6.1/modules.dep", "kernel/x-vfio-pci.ko:\nkernel/vfio/pci.ko:\n" } },
	  FACT_NO, "not among the modules of kernel 6.1" },
	{ "no lists", { { "proc/sys/kernel/osrelease", "6.1" } }, FACT_UNKNOWN, "cannot be listed" },
	{ "nothing", { { "etc/hostname", "x" } }, FACT_UNKNOWN, "osrelease" },
};

static void test_modules(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(modules); i++) {
		CLEANUP(arena_freep) struct arena *arena = arena_new();
		const char *evidence = "";
		struct tree tree;
		enum fact fact;

		tree_make(&tree);
		for (size_t k = 0; k < 3 && modules[i].rows[k].path; k++)
			tree_fill_n(&tree, &modules[i].rows[k], 1);
		fact = module_available(&tree.root, "vfio-pci", arena, &evidence);
		if (fact != modules[i].fact || !strstr(evidence, modules[i].evidence))
			fail_msg("%s: %d, %s", modules[i].name, fact, evidence);
		tree_remove(&tree);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_checks),	 cmocka_unit_test(test_good),
		cmocka_unit_test(test_verdict),	 cmocka_unit_test(test_no_cards),
		cmocka_unit_test(test_wire),	 cmocka_unit_test(test_modules),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
