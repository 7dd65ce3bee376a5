/* SPDX-License-Identifier: Apache-2.0 */
/* The planners of bind and release: facts in, steps out, in the order that the order law demands. */
#include "unit.h"

#include "gpu/bind.h"
#include "gpu/steps.h"
#include "hand.h"

typedef int planner_fn(struct plan *plan, const struct card_facts *facts,
		       const struct gpu_unit *unit, struct error *err);

/* The steps for the unit of 0000:01:00.0, a line each; "error: …" or "refused: …" instead. */
static const char *planned(struct hand_host *host, planner_fn *planner)
{
	CLEANUP(plan_freep) struct plan *plan = plan_new();
	struct gpu_unit unit;
	struct error err = { 0 };
	char *lines = arena_strdup(host->arena, "");

	gpu_unit_of(&host->inv, inventory_function(&host->inv, hand_at("0000:01:00.0")), &unit);
	if (planner(plan, &host->facts, &unit, &err) < 0)
		return arena_printf(host->arena, "error: %s", error_code_name(err.code));
	assert_int_equal(plan->broken.code, ERROR_NONE);
	for (LIST_EACH(const struct wire_refusal, r, &plan->refusals))
		lines = arena_printf(host->arena, "%srefused: %s\n", lines, r->code);
	for (LIST_EACH(const struct plan_step, s, &plan->steps))
		lines = arena_printf(host->arena, "%s%s\n", lines,
				     step_text(s->kind, s->args, host->arena));
	assert_int_equal(plan_digest(plan, &err), 0);
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

static void takes_a_two_function_card(void **state)
{
	struct hand_host *host = *state;

	hand_pair(host, "radeon", "snd_hda_intel");
	assert_string_equal(planned(host, bind_plan),
			    "write down that 0000:01:00.0 was on radeon\n"
			    "write down that 0000:01:00.1 was on snd_hda_intel\n"
			    "keep 0000:01:00.0 awake\n"
			    "keep 0000:01:00.0 out of D3cold\n"
			    "keep 0000:01:00.1 awake\n"
			    "keep 0000:01:00.1 out of D3cold\n"
			    "let only vfio-pci take 0000:01:00.1\n"
			    "unbind 0000:01:00.1 from snd_hda_intel\n"
			    "let only vfio-pci take 0000:01:00.0\n"
			    "unbind 0000:01:00.0 from radeon\n"
			    "bind 0000:01:00.0 to vfio-pci\n"
			    "bind 0000:01:00.1 to vfio-pci\n"
			    "keep 0000:01:00.0 awake\n"
			    "keep 0000:01:00.1 awake\n"
			    "see that VFIO accepts IOMMU group 1\n");
}

/* Straight before the unbind, with nothing in between. */
static void locks_nvidia_before_its_unbind(void **state)
{
	struct hand_host *host = *state;

	hand_pair(host, "nvidia", NULL);
	assert_non_null(strstr(planned(host, bind_plan),
			       "take the nvidia driver's unbind lock of 0000:01:00.0\n"
			       "unbind 0000:01:00.0 from nvidia\n"));
	assert_null(strstr(planned(host, bind_plan), "unbind 0000:01:00.1"));
}

static void does_nothing_twice(void **state)
{
	struct hand_host *host = *state;

	hand_pair(host, "vfio-pci", "vfio-pci");
	hand_holder(host, 7, "0000:01:00.0");
	assert_string_equal(planned(host, bind_plan), "");	/* also while a VM uses it */
	hand_free(host);
	*state = host = hand_new();
	hand_pair(host, "radeon", "snd_hda_intel");
	assert_string_equal(planned(host, release_plan), "");
}

static void finishes_what_is_half_done(void **state)
{
	struct hand_host *host = *state;
	struct function_settings *s;

	hand_pair(host, "vfio-pci", "snd_hda_intel");
	s = host->settings.items;
	s[0].override = s[1].override = "vfio-pci";
	s[0].control = s[1].control = "on";
	s[0].d3cold = s[1].d3cold = 0;
	assert_string_equal(planned(host, bind_plan),
			    "write down that 0000:01:00.1 was on snd_hda_intel\n"
			    "let only vfio-pci take 0000:01:00.1\n"
			    "unbind 0000:01:00.1 from snd_hda_intel\n"
			    "bind 0000:01:00.1 to vfio-pci\n"
			    "keep 0000:01:00.1 awake\n"
			    "see that VFIO accepts IOMMU group 1\n");
}

static void needs_its_driver(void **state)
{
	struct hand_host *host = *state;

	hand_pair(host, "radeon", NULL);
	host->facts.vfio_driver = false;
	assert_string_equal(planned(host, bind_plan), "error: conflict");
	host->facts.modules = true;
	assert_int_equal(strncmp(planned(host, bind_plan), "load the module vfio-pci\n", 25), 0);
}

/* Found when it is planned, not when it cannot be given back. */
static void what_could_not_be_put_back_is_not_taken(void **state)
{
	static const char *const odd[] = { "a driver", "drivér", "x/y", "a.b",
					   "a_name_of_more_than_thirty_one_bytes" };
	struct hand_host *host = *state;
	struct function_settings *s;
	struct function *audio;

	hand_pair(host, "radeon", "snd_hda_intel");
	s = host->settings.items;
	audio = (struct function *)inventory_function(&host->inv, hand_at("0000:01:00.1"));
	for (size_t i = 0; i < ARRAY_SIZE(odd); i++) {
		s[1].override = odd[i];
		assert_string_equal(planned(host, bind_plan), "error: conflict");
		s[1].override = "";
		audio->driver = odd[i];
		assert_string_equal(planned(host, bind_plan), "error: conflict");
		audio->driver = "snd_hda_intel";
	}
	s[1].override = "a_name_of_just_thirty-one_bytes";
	assert_null(strstr(planned(host, bind_plan), "error"));
}

static void a_blocked_group_is_not_proven(void **state)
{
	struct hand_host *host = *state;

	hand_function(host, "0000:00:03.0", 0x020000, "e1000", 1, -1);
	hand_pair(host, "radeon", NULL);
	assert_int_equal(strncmp(planned(host, bind_plan), "refused: group_blocked\n", 23), 0);
	assert_null(strstr(planned(host, bind_plan), "VFIO accepts"));
}

static void taken(struct hand_host *host, const char *address, const char *driver,
		  const char *override)
{
	*list_add(host->arena, &host->taken, struct function_settings) =
		(struct function_settings){ hand_at(address), driver, override, "auto", 1 };
}

static void gives_back_what_was(void **state)
{
	struct hand_host *host = *state;
	struct function_settings *s;

	hand_pair(host, "vfio-pci", "vfio-pci");
	s = host->settings.items;
	s[0].override = s[1].override = "vfio-pci";
	s[0].control = s[1].control = "on";
	s[0].d3cold = s[1].d3cold = 0;
	taken(host, "0000:01:00.0", "radeon", "");
	taken(host, "0000:01:00.1", "snd_hda_intel", "snd_hda_intel");
	assert_string_equal(planned(host, release_plan),
			    "unbind 0000:01:00.1 from vfio-pci\n"
			    "unbind 0000:01:00.0 from vfio-pci\n"
			    "let only snd_hda_intel take 0000:01:00.1\n"
			    "let any driver take 0000:01:00.0 again\n"
			    "give 0000:01:00.0 back to radeon\n"
			    "give 0000:01:00.1 back to snd_hda_intel\n"
			    "allow D3cold for 0000:01:00.1\n"
			    "let 0000:01:00.1 sleep when idle\n"
			    "allow D3cold for 0000:01:00.0\n"
			    "let 0000:01:00.0 sleep when idle\n"
			    "drop the note of what 0000:01:00.1 was\n"
			    "drop the note of what 0000:01:00.0 was\n");
}

/* It names another driver than the one it was on, which could not be bound under it. */
static void an_override_that_does_not_fit_comes_last(void **state)
{
	struct hand_host *host = *state;
	struct function_settings *s;

	hand_pair(host, "vfio-pci", NULL);
	s = host->settings.items;
	s[0].override = "vfio-pci";
	taken(host, "0000:01:00.0", "radeon", "pci-stub");
	assert_string_equal(planned(host, release_plan),
			    "unbind 0000:01:00.0 from vfio-pci\n"
			    "let any driver take 0000:01:00.0 again\n"
			    "give 0000:01:00.0 back to radeon\n"
			    "let only pci-stub take 0000:01:00.0\n"
			    "let 0000:01:00.0 sleep when idle\n"
			    "drop the note of what 0000:01:00.0 was\n");
}

static void what_had_no_driver_gets_none(void **state)
{
	struct hand_host *host = *state;

	hand_pair(host, "vfio-pci", "vfio-pci");
	taken(host, "0000:01:00.0", "radeon", "");
	taken(host, "0000:01:00.1", NULL, "");
	assert_non_null(strstr(planned(host, release_plan), "give 0000:01:00.0 back to radeon\n"));
	assert_null(strstr(planned(host, release_plan), "give 0000:01:00.1"));
	assert_null(strstr(planned(host, release_plan), "driver of 0000:01:00.1"));
}

static void without_notes_the_kernel_chooses(void **state)
{
	struct hand_host *host = *state;

	hand_pair(host, "vfio-pci", "vfio-pci");
	((struct function_settings *)host->settings.items)[0].override = "vfio-pci";
	assert_string_equal(planned(host, release_plan),
			    "unbind 0000:01:00.1 from vfio-pci\n"
			    "unbind 0000:01:00.0 from vfio-pci\n"
			    "let any driver take 0000:01:00.0 again\n"
			    "let the kernel find the driver of 0000:01:00.0\n"
			    "let the kernel find the driver of 0000:01:00.1\n");
}

static void every_kind_keeps_the_laws(void **state UNUSED)
{
	struct error err = { 0 };

	if (step_tables_check(&gpu_steps, 1, &err) < 0)
		fail_msg("%s", err.message);
	for (size_t i = 0; i < gpu_steps.n; i++)
		/* binding has no point of no return */
		assert_true(gpu_steps.kinds[i].undo || i == STEP_RELEASE_QUARANTINE);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(takes_a_two_function_card),
		TEST(locks_nvidia_before_its_unbind),
		TEST(does_nothing_twice),
		TEST(finishes_what_is_half_done),
		TEST(needs_its_driver),
		TEST(what_could_not_be_put_back_is_not_taken),
		TEST(a_blocked_group_is_not_proven),
		TEST(gives_back_what_was),
		TEST(an_override_that_does_not_fit_comes_last),
		TEST(what_had_no_driver_gets_none),
		TEST(without_notes_the_kernel_chooses),
		cmocka_unit_test(every_kind_keeps_the_laws),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
