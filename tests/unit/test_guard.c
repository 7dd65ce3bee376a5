/* SPDX-License-Identifier: Apache-2.0 */
/* Guards: every danger is refused by its code, all of them at once, each with reason and fix. */
#include "unit.h"

#include "gpu/guard.h"
#include "hand.h"
#include "host/iomem.h"

static int set_up(void **state)
{
	*state = hand_new();
	return 0;
}

static int tear_down(void **state)
{
	hand_free(*state);
	return 0;
}

/* The codes refused for the unit of 0000:01:00.0, separated by blanks, in the order of the guards. */
static const char *refused(struct hand_host *host, enum guard_purpose purpose, const char *vm)
{
	CLEANUP(plan_freep) struct plan *plan = plan_new();
	struct gpu_unit unit;
	char *codes = arena_strdup(host->arena, "");

	gpu_unit_of(&host->inv, inventory_function(&host->inv, hand_at("0000:01:00.0")), &unit);
	guard_unit(plan, &host->facts, &unit, purpose, vm);
	for (LIST_EACH(const struct wire_refusal, r, &plan->refusals)) {
		assert_non_null(r->reason);
		assert_non_null(r->subject);
		codes = arena_printf(host->arena, "%s%s%s", codes, *codes ? " " : "", r->code);
	}
	return codes;
}

static void a_free_card_is_not_refused(void **state)
{
	struct hand_host *host = *state;

	hand_pair(host, "radeon", "snd_hda_intel");
	assert_string_equal(refused(host, GUARD_BIND, NULL), "");
	assert_string_equal(refused(host, GUARD_START, "vm-1"), "");
	assert_string_equal(refused(host, GUARD_RELEASE, NULL), "");
}

static void the_iommu(void **state)
{
	struct hand_host *host = *state;
	struct function *f = hand_pair(host, "radeon", NULL);

	host->inv.iommu.enabled = FACT_NO;
	assert_string_equal(refused(host, GUARD_BIND, NULL), "iommu_off");
	host->inv.iommu.enabled = FACT_YES;
	f->group = NO_GROUP;
	assert_string_equal(refused(host, GUARD_BIND, NULL), "no_group");
	f->group = 1;
	f->group_is_noiommu = true;
	assert_string_equal(refused(host, GUARD_BIND, NULL), "no_group");
	f->group_is_noiommu = false;
	host->inv.iommu.interrupt_remapping = FACT_NO;
	assert_string_equal(refused(host, GUARD_BIND, NULL), "");
	assert_string_equal(refused(host, GUARD_START, NULL), "no_interrupt_remapping");
	host->inv.iommu.unsafe_interrupts = FACT_YES;
	assert_string_equal(refused(host, GUARD_START, NULL), "");
	host->inv.iommu.unsafe_interrupts = FACT_NO;
	host->inv.iommu.interrupt_remapping = FACT_UNKNOWN;
	assert_string_equal(refused(host, GUARD_START, NULL), "unknown_interrupt_remapping");
}

static void reserved_regions(void **state)
{
	struct hand_host *host = *state;
	struct group *group;

	hand_pair(host, "radeon", NULL);
	group = inventory_group(&host->inv, 1);
	group->direct_regions = true;
	assert_string_equal(refused(host, GUARD_BIND, NULL), "rmrr rmrr");	/* for each function */
	group->direct_regions = false;
	group->regions_unknown = true;
	assert_non_null(strstr(refused(host, GUARD_BIND, NULL), "unknown_reserved_regions"));
}

static void shared_cards(void **state)
{
	struct hand_host *host = *state;
	struct function *f = hand_pair(host, "nvidia", NULL), *vf;
	struct sriov sriov = { .total = 4 };

	*list_add(host->arena, &f->mdevs, struct mdev) =
		(struct mdev){ "f715f63c-0d00-4007-9c5a-b07b0c6c05de", NULL, NO_GROUP };
	assert_string_equal(refused(host, GUARD_BIND, NULL), "mdev_live");
	f->mdevs.n = 0;
	vf = hand_function(host, "0000:01:00.4", 0x030000, "nvidia", 9, -1);
	*list_add(host->arena, &sriov.vfs, struct pci_address) = vf->address;
	f->sriov = &sriov;
	assert_string_equal(refused(host, GUARD_BIND, NULL), "pf_has_vfs");
	*list_add(host->arena, &vf->mdevs, struct mdev) =
		(struct mdev){ "c728e022-f16f-434b-ad2c-9665ee634d3d", NULL, NO_GROUP };
	assert_string_equal(refused(host, GUARD_BIND, NULL), "pf_has_vfs mdev_live");
}

static void holders(void **state)
{
	struct hand_host *host = *state;

	hand_pair(host, "radeon", "snd_hda_intel");
	hand_holder(host, 0, "0000:01:00.0");
	assert_string_equal(refused(host, GUARD_BIND, NULL), "");	/* fbcon lets go by itself */
	hand_holder(host, 4711, "0000:01:00.1");
	assert_string_equal(refused(host, GUARD_BIND, NULL), "held");
	assert_string_equal(refused(host, GUARD_RELEASE, NULL), "held");
	hand_holder(host, 4712, "0000:02:00.0");
	assert_string_equal(refused(host, GUARD_BIND, NULL), "held");	/* somebody else's card */
	host->facts.gpu.holders = NULL;
	host->facts.gpu.holders_unknown = "no helper";
	assert_string_equal(refused(host, GUARD_BIND, NULL), "unknown_holders");
	assert_string_equal(refused(host, GUARD_RELEASE, NULL), "unknown_holders");
}

static void what_the_host_needs(void **state)
{
	static const struct {
		const char *code, *refusal;
	} rows[] = {
		{ "critical", "critical" },
		{ "console_card", "console_card" },
		{ "only_card", "only_card" },
		{ "unknown_carries", "unknown_carries" },
	};
	struct hand_host *host = *state;

	hand_pair(host, "radeon", NULL);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		host->critical.n = 0;
		hand_critical(host, "0000:01:00.1", rows[i].code);
		hand_critical(host, "0000:02:00.0", rows[i].code);
		assert_string_equal(refused(host, GUARD_BIND, NULL), rows[i].refusal);
	}
	host->facts.gpu.critical = NULL;
	host->facts.gpu.critical_unknown = "no helper";
	assert_string_equal(refused(host, GUARD_BIND, NULL), "unknown_carries");
}

/* vfio-pci evicts the firmware's screen from class 0300 only. */
static void the_firmwares_screen(void **state)
{
	static const struct {
		uint32_t class;
		bool there, readable;
		const char *refusal;
	} rows[] = {
		{ 0x030000, true, true, "" },
		{ 0x030000, false, false, "" },
		{ 0x038000, true, true, "boot_framebuffer" },
		{ 0x030200, true, true, "boot_framebuffer" },
		{ 0x038000, false, true, "" },
		{ 0x038000, false, false, "unknown_boot_framebuffer" },
	};
	struct hand_host *host = *state;
	struct function *f = hand_pair(host, "radeon", NULL);
	struct boot_framebuffer *fb;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		f->class = rows[i].class;
		host->framebuffers.n = 0;
		if (rows[i].there) {
			fb = list_add(host->arena, &host->framebuffers, struct boot_framebuffer);
			*fb = (struct boot_framebuffer){ f->address, 0, "BOOTFB" };
		}
		host->facts.framebuffers = rows[i].readable ? &host->framebuffers : NULL;
		assert_string_equal(refused(host, GUARD_BIND, NULL), rows[i].refusal);
	}
}

static void owners(void **state)
{
	struct hand_host *host = *state;

	hand_pair(host, "vfio-pci", "vfio-pci");
	host->facts.claimed_by = "vm-1";
	assert_string_equal(refused(host, GUARD_START, "vm-1"), "");
	assert_string_equal(refused(host, GUARD_START, "vm-2"), "claimed");
	assert_string_equal(refused(host, GUARD_BIND, NULL), "claimed");
	assert_string_equal(refused(host, GUARD_RELEASE, NULL), "claimed");
}

static void health(void **state)
{
	struct hand_host *host = *state;
	struct function *f = hand_pair(host, "radeon", NULL);

	host->facts.stuck_why = "unbind of 0000:01:00.0 by pid 7";
	host->facts.quarantined_why = "config space reads ff";
	assert_string_equal(refused(host, GUARD_RELEASE, NULL), "stuck quarantined");
	host->facts.stuck_why = host->facts.quarantined_why = NULL;
	f->reset_methods.n = 0;
	assert_string_equal(refused(host, GUARD_BIND, NULL), "no_reset");
	f->reset_methods.null = true;
	assert_string_equal(refused(host, GUARD_BIND, NULL), "unknown_reset");
}

static void neighbours(void **state)
{
	static const struct {
		uint32_t class;
		const char *driver, *refusal;
		bool bridge;
	} rows[] = {
		{ 0x020000, "e1000", "group_blocked", false },
		{ 0x020000, NULL, "", false },
		{ 0x020000, "vfio-pci", "", false },
		{ 0x020000, "pci-stub", "", false },
		{ 0x060400, "pcieport", "", true },
		{ 0x060400, NULL, "", true },
		{ 0x068000, "nvidia-nvswitch", "group_blocked", false },
	};
	struct hand_host *host;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		host = hand_new();
		hand_function(host, "0000:00:03.0", rows[i].class, rows[i].driver, 1, -1)->bridge =
			rows[i].bridge;
		hand_pair(host, "radeon", NULL);
		assert_string_equal(refused(host, GUARD_BIND, NULL), rows[i].refusal);
		hand_free(host);
	}
}

/* The neighbour is the card's own audio: another slot does not help, the whole card does. */
static void a_function_alone_is_told_of_its_card(void **state)
{
	struct hand_host *host = *state;
	struct gpu_unit unit = { .n = 1 };
	const struct wire_refusal *refusal;
	struct plan *plan;

	hand_pair(host, "radeon", "snd_hda_intel");
	unit.functions[0] = inventory_function(&host->inv, hand_at("0000:01:00.0"));
	unit.slot = "0000:01:00.0";
	for (int start = 0; start < 2; start++) {
		plan = plan_new();
		guard_unit(plan, &host->facts, &unit, start ? GUARD_START : GUARD_BIND, "vm-1");
		assert_int_equal(plan->refusals.n, 1);
		refusal = plan->refusals.items;
		assert_string_equal(refusal->code, "group_blocked");
		assert_string_equal(refusal->subject, "0000:01:00.1");
		assert_non_null(strstr(refusal->fix, start ? "multifunction: true"
							   : "scope: \"card\""));
		assert_null(strstr(refusal->fix, "slot"));
		plan_free(plan);
	}
}

static void all_refusals_come_at_once(void **state)
{
	struct hand_host *host = *state;
	struct function *f = hand_pair(host, "radeon", "snd_hda_intel");

	host->inv.iommu.enabled = FACT_NO;
	hand_holder(host, 1, "0000:01:00.0");
	hand_critical(host, "0000:01:00.0", "console_card");
	host->facts.claimed_by = "vm-1";
	f->reset_methods.n = 0;
	assert_string_equal(refused(host, GUARD_BIND, NULL), "iommu_off held console_card claimed no_reset");
}

static void an_override_that_cannot_be_read_cannot_be_restored(void **state)
{
	struct hand_host *host = *state;

	hand_pair(host, "radeon", NULL);
	((struct function_settings *)host->settings.items)[1].override = NULL;
	assert_string_equal(refused(host, GUARD_BIND, NULL), "unknown_override");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_free_card_is_not_refused),
		TEST(the_iommu),
		TEST(reserved_regions),
		TEST(shared_cards),
		TEST(holders),
		TEST(what_the_host_needs),
		TEST(the_firmwares_screen),
		TEST(owners),
		TEST(health),
		cmocka_unit_test(neighbours),
		TEST(a_function_alone_is_told_of_its_card),
		TEST(all_refusals_come_at_once),
		TEST(an_override_that_cannot_be_read_cannot_be_restored),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
