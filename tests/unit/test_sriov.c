/* SPDX-License-Identifier: Apache-2.0 */
/* The planner of VFs: facts in, steps out, in the order that the order law demands; and its refusals. */
#include "unit.h"

#include "gpu/steps.h"
#include "hand.h"
#include "vgpu/sriov.h"
#include "vgpu/steps.h"

enum { VFS_MAX = 8 };

static const char pf_at[] = "0000:02:00.0";

/* A PF on `driver` with so many VFs of 7, each a card of its own in a group of its own. */
struct story {
	struct hand_host *host;
	struct function *pf;
	struct gpu_unit unit, vf_unit[VFS_MAX];
	struct card_facts vf_facts[VFS_MAX];
	struct list vfs;
	struct sriov_facts facts;
};

static struct story *story_of(struct hand_host *host, const char *driver, int vfs)
{
	struct story *s = arena_new_of(host->arena, struct story);
	struct function *vf;
	char text[PCI_ADDRESS_TEXT];

	s->host = host;
	host->facts.card_id = "card-1";
	host->facts.wanted_vfs = ROW_NULL;
	s->pf = hand_function(host, pf_at, 0x030000, driver, 5, 0);
	s->pf->sriov = arena_new_of(host->arena, struct sriov);
	s->pf->sriov->total = 7;
	hand_card(host, s->pf, NULL);
	for (int i = 0; i < vfs; i++) {
		snprintf(text, sizeof(text), "0000:02:00.%d", i + 1);
		vf = hand_function(host, text, 0x030000, NULL, 6 + i, i + 1);
		vf->physfn = arena_new_of(host->arena, struct pci_address);
		*vf->physfn = s->pf->address;
		hand_card(host, vf, NULL);
		*list_add(host->arena, &s->pf->sriov->vfs, struct pci_address) = vf->address;
	}
	gpu_unit_of(&host->inv, s->pf, &s->unit);
	for (int i = 0; i < vfs; i++) {
		snprintf(text, sizeof(text), "0000:02:00.%d", i + 1);
		gpu_unit_of(&host->inv, inventory_function(&host->inv, hand_at(text)), &s->vf_unit[i]);
		s->vf_facts[i] = host->facts;
		*list_add(host->arena, &s->vfs, struct sriov_vf) =
			(struct sriov_vf){ &s->vf_facts[i], &s->vf_unit[i] };
	}
	s->facts = (struct sriov_facts){ &host->facts, &s->unit, s->pf, &s->vfs, 1 };
	return s;
}

static struct plan *plan_of(struct story *s, int64_t vfs, struct error *err)
{
	struct plan *plan = plan_new();

	if (sriov_plan(plan, &s->facts, vfs, err) == 0)
		assert_int_equal(plan_digest(plan, err), 0);
	return plan;
}

/* The steps, a line each; "error: …" or "refused: …" instead. */
static const char *planned(struct story *s, int64_t vfs)
{
	struct error err = { 0 };
	CLEANUP(plan_freep) struct plan *plan = plan_of(s, vfs, &err);
	const char *lines = "";

	if (err.code)
		return arena_printf(s->host->arena, "error: %s", error_code_name(err.code));
	for (LIST_EACH(const struct wire_refusal, r, &plan->refusals))
		lines = arena_printf(s->host->arena, "%srefused: %s %s\n", lines, r->code, r->subject);
	for (LIST_EACH(const struct plan_step, step, &plan->steps))
		lines = arena_printf(s->host->arena, "%s%s\n", lines,
				     step_text(step->kind, step->args, s->host->arena));
	return lines;
}

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

#define KEEP_OFF "keep drivers of the host off new VFs of 0000:02:00.0\n"
#define LET	 "let drivers of the host take VFs of 0000:02:00.0 again\n"

static void makes_the_first(void **state)
{
	assert_string_equal(planned(story_of(*state, "xe", 0), 4),
			    KEEP_OFF "make 4 VFs of 0000:02:00.0\n" LET
			    "write down that 0000:02:00.0 is to have 4 VFs after a boot too\n");
}

static void goes_by_none_to_another_number(void **state)
{
	assert_string_equal(planned(story_of(*state, "xe", 2), 4),
			    KEEP_OFF "take the 2 VFs of 0000:02:00.0 away\nmake 4 VFs of 0000:02:00.0\n" LET
			    "write down that 0000:02:00.0 is to have 4 VFs after a boot too\n");
}

static void takes_them_away(void **state)
{
	assert_string_equal(planned(story_of(*state, "xe", 2), 0),
			    "take the 2 VFs of 0000:02:00.0 away\n"
			    "write down that 0000:02:00.0 is to have 0 VFs after a boot too\n");
}

static void leaves_alone_what_is_off_already(void **state)
{
	struct story *s = story_of(*state, "xe", 0);

	s->facts.autoprobe = 0;
	((struct hand_host *)*state)->facts.wanted_vfs = 3;
	assert_string_equal(planned(s, 3), "make 3 VFs of 0000:02:00.0\n");
	s->facts.autoprobe = -1;
	assert_string_equal(planned(s, 3), "make 3 VFs of 0000:02:00.0\n");
}

/* Whatever drives it: what is so needs no driver. */
static void what_is_so_is_only_written_down(void **state)
{
	struct story *s = story_of(*state, "xe", 2);

	assert_string_equal(planned(s, 2), "write down that 0000:02:00.0 is to have 2 VFs after a boot too\n");
	((struct hand_host *)*state)->facts.wanted_vfs = 2;
	assert_string_equal(planned(s, 2), "");
}

static void drops_what_was_noted_of_them(void **state)
{
	struct hand_host *host = *state;
	struct story *s = story_of(host, "xe", 1);
	struct list *taken = arena_new_of(host->arena, struct list);

	*list_add(host->arena, taken, struct function_settings) = (struct function_settings){
		.address = hand_at("0000:02:00.1"), .override = "", .control = "auto", .d3cold = 1
	};
	s->vf_facts[0].taken = taken;
	assert_non_null(strstr(planned(s, 0), "away\ndrop the note of what 0000:02:00.1 was\n"));
}

static void a_vf_in_use_stays(void **state)
{
	struct hand_host *host = *state;
	struct story *s = story_of(host, "xe", 2);

	hand_holder(host, 4242, "0000:02:00.2");
	assert_non_null(strstr(planned(s, 4), "refused: held pid 4242\n"));
	host->holders = (struct list){ 0 };
	s->vf_facts[0].claimed_by = "vm-1";
	assert_non_null(strstr(planned(s, 0), "refused: claimed 0000:02:00.1\n"));
	s->vf_facts[0].claimed_by = NULL;
	hand_critical(host, "0000:02:00.2", "critical");
	assert_non_null(strstr(planned(s, 0), "refused: critical 0000:02:00.2\n"));
	/* it is about those that go, not about the number that stays */
	host->facts.wanted_vfs = 2;
	assert_string_equal(planned(s, 2), "");
}

static void nobody_knows_who_has_it(void **state)
{
	struct story *s = story_of(*state, "xe", 1);

	s->vf_facts[0].gpu.holders = NULL;
	assert_non_null(strstr(planned(s, 0), "refused: unknown_holders 0000:02:00.1\n"));
}

static void a_pf_that_a_vm_has(void **state)
{
	struct hand_host *host = *state;
	struct story *s = story_of(host, "xe", 0);

	host->facts.claimed_by = "vm-1";
	assert_non_null(strstr(planned(s, 1), "refused: claimed 0000:02:00.0\n"));
	host->facts.quarantined_why = "it read ff";
	assert_non_null(strstr(planned(s, 1), "refused: quarantined 0000:02:00.0\n"));
}

static void more_than_it_can_have(void **state)
{
	struct error err = { 0 };
	CLEANUP(plan_freep) struct plan *plan = plan_of(story_of(*state, "xe", 0), 8, &err);

	assert_int_equal(err.code, ERROR_INVALID_VALUE);
	assert_string_equal(err.pointer, "/vfs");
	assert_string_equal(err.hint, "0 to 7");
	assert_int_equal(plan->steps.n, 0);
}

static void drivers_with_a_way_of_their_own(void **state)
{
	static const struct {
		const char *driver;
		uint16_t device;
		int64_t vfs;
		const char *hint;
	} rows[] = {
		{ "nvidia", 0x2235, 7, "/usr/lib/nvidia/sriov-manage -e 0000:02:00.0" },
		{ "nvidia", 0x2235, 3, "/usr/lib/nvidia/sriov-manage -e 0000:02:00.0" },
		{ "gim", 0x74a1, 2, "gim vf_num=2 > /etc/modprobe.d/gim.conf" },
		{ "gim", 0x6929, 4, "vf_num=4 in /etc/gim_config" },
		{ "vfio-pci", 0x46a6, 4, "horcrux gpu unbind 0000:02:00.0" },
		{ NULL, 0x46a6, 4, "load the driver of the card" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct hand_host *host = hand_new();
		struct story *s = story_of(host, rows[i].driver, 0);
		struct error err = { 0 };
		CLEANUP(plan_freep) struct plan *plan = NULL;

		s->pf->device = rows[i].device;
		plan = plan_of(s, rows[i].vfs, &err);
		assert_int_equal(err.code, ERROR_CONFLICT);
		assert_non_null(strstr(err.hint, rows[i].hint));
		assert_int_equal(plan->steps.n, 0);
		hand_free(host);
	}
	/* what they have is neither changed nor, after a boot, made by us */
	assert_string_equal(planned(story_of(*state, "nvidia", 2), 2), "");
}

static void finds_the_pf(void **state)
{
	struct hand_host *host = *state;
	struct function *gpu = hand_pair(host, "xe", "snd_hda_intel");
	struct function *audio = inventory_function(&host->inv, hand_at("0000:01:00.1"));
	struct gpu_unit unit;

	gpu_unit_of(&host->inv, gpu, &unit);
	assert_null(sriov_pf(&unit, gpu));
	gpu->sriov = arena_new_of(host->arena, struct sriov);
	assert_ptr_equal(sriov_pf(&unit, gpu), gpu);
	assert_ptr_equal(sriov_pf(&unit, audio), gpu);
}

static void every_kind_keeps_the_laws(void **state UNUSED)
{
	struct error err = { 0 };

	assert_int_equal(step_tables_check(&vgpu_steps, 1, &err), 0);
	for (size_t i = 0; i < vgpu_steps.n; i++)
		assert_non_null(vgpu_steps.kinds[i].undo);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(makes_the_first),
		TEST(goes_by_none_to_another_number),
		TEST(takes_them_away),
		TEST(leaves_alone_what_is_off_already),
		TEST(what_is_so_is_only_written_down),
		TEST(drops_what_was_noted_of_them),
		TEST(a_vf_in_use_stays),
		TEST(nobody_knows_who_has_it),
		TEST(a_pf_that_a_vm_has),
		TEST(more_than_it_can_have),
		TEST(drivers_with_a_way_of_their_own),
		TEST(finds_the_pf),
		cmocka_unit_test(every_kind_keeps_the_laws),
	};

	return cmocka_run_group_tests_name("sriov", tests, NULL, NULL);
}
