/* SPDX-License-Identifier: Apache-2.0 */
/* The planners of VMs: facts by hand in, steps or refusals out, in the order that their laws
 * demand. */
#include "unit.h"

#include "gpu/record.h"
#include "hand.h"
#include "vm/create.h"
#include "vm/end.h"
#include "vm/start.h"
#include "vm/steps.h"

/* A host with the pair 0000:01:00.0/.1, and a VM that names it and whose disk is there. */
struct scene {
	struct hand_host *host;
	struct vm_facts facts;
	struct list domains; /* struct gpu_domain */
};

static struct scene *scene_new(void)
{
	struct hand_host *host = hand_new();
	struct scene *s = arena_new_of(host->arena, struct scene);
	struct vm_facts *f = &s->facts;

	s->host = host;
	host->facts.gpu.domains = &s->domains;
	*f = (struct vm_facts){ .arena = host->arena,
				.stored = "{}",
				.host = { .kvm = true, .memory_free_mib = 8192, .cpus = 8 },
				.pool = "horcrux",
				.pool_path = "/pool",
				.pool_defined = true,
				.pool_active = true,
				.network = "default",
				.network_defined = true,
				.network_active = true };
	f->vm.uuid = "259e6198-c878-88db-9fdb-b0fe352a8e59";
	rows_clear(wire_vm_spec_rows, &f->vm.spec);
	f->vm.spec.id = f->vm.spec.name = "vm-1";
	f->vm.spec.cpus = 2;
	f->vm.spec.memory = 1024;
	f->vm.spec.firmware = FIRMWARE_BIOS;
	f->vm.spec.os = OS_LINUX;
	f->vm.spec.disks = f->vm.spec.cdrom = f->vm.spec.network = f->vm.spec.gpu_passthrough =
		(struct list){ 0 };
	return s;
}

static int set_up(void **state)
{
	*state = scene_new();
	return 0;
}

static int tear_down(void **state)
{
	hand_free(((struct scene *)*state)->host);
	return 0;
}

static struct vm_card look_at(struct scene *s, const char *address, const char *id)
{
	struct vm_card card = { .address = address, .was_bound = -1 };

	card.look.inventory = &s->host->inv;
	card.look.function = inventory_function(&s->host->inv, hand_at(address));
	card.look.facts = s->host->facts;
	card.look.facts.card_id = id;
	card.look.facts.was_bound = -1;
	gpu_unit_of(&s->host->inv, card.look.function, &card.look.unit);
	return card;
}

/* The VM names the card. Call when the host is as it is to be. */
static struct vm_card *asks_for(struct scene *s, const char *address, const char *id)
{
	struct wire_passthrough *asked = arena_new_of(s->host->arena, struct wire_passthrough);
	struct vm_card *card = list_add(s->host->arena, &s->facts.cards, struct vm_card);

	*asked = (struct wire_passthrough){ .pci_address = address, .multifunction = 1 };
	*card = look_at(s, address, id);
	card->asked = asked;
	card->meant = id;
	list_add_string(s->host->arena, &s->facts.vm.cards, id);
	return card;
}

/* The VM has the card. */
static struct vm_card *has(struct scene *s, const char *address, const char *id, int was_bound)
{
	struct vm_card *card = list_add(s->host->arena, &s->facts.claims, struct vm_card);

	*card = look_at(s, address, id);
	card->look.facts.claimed_by = "vm-1";
	card->claim = id;
	card->was_bound = was_bound;
	return card;
}

static void bound(struct scene *s)
{
	struct function_settings *now;

	hand_pair(s->host, "vfio-pci", "vfio-pci");
	now = s->host->settings.items;
	for (size_t i = 0; i < 2; i++) {
		now[i].override = "vfio-pci";
		now[i].control = "on";
		now[i].d3cold = 0;
		*list_add(s->host->arena, &s->host->taken, struct function_settings) =
			(struct function_settings){ now[i].address, i ? "snd_hda_intel" : "radeon",
						    "", "on", 0 };
	}
}

/* It runs: libvirt says so, and its QEMU has the group's node open. */
static void runs(struct scene *s)
{
	struct gpu_domain *domain = list_add(s->host->arena, &s->domains, struct gpu_domain);
	struct holder *h = list_add(s->host->arena, &s->host->holders, struct holder);

	s->facts.active = true;
	s->facts.state = VIRT_RUNNING;
	*domain = (struct gpu_domain){ .name = "vm-1", .vm = "vm-1" };
	*list_add(s->host->arena, &domain->addresses, struct pci_address) = hand_at("0000:01:00.0");
	*h = (struct holder){ .kind = "process",
			      .pid = 77,
			      .name = "qemu-system-x86",
			      .node = "/dev/vfio/1",
			      .address = hand_at("0000:01:00.0") };
}

/* What is written down of a card, its power and its override are gpu/bind.h's matter, and its
 * tests'. */
static bool is_told(const struct plan_step *step)
{
	static const char *const others[] = { "d3cold", "forget", "override", "power", "remember" };

	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		if (!strcmp(step->kind->name, others[i]))
			return false;
	return true;
}

/* Steps, a line each; or what was refused; or "error: …". */
static const char *told(struct scene *s, struct plan *plan, int r, const struct error *err)
{
	char *lines = arena_strdup(s->host->arena, "");
	struct error why;

	if (r < 0)
		return arena_printf(s->host->arena, "error: %s: %s", error_code_name(err->code),
				    err->message);
	assert_int_equal(plan->broken.code, ERROR_NONE);
	assert_int_equal(plan_digest(plan, &why), 0);
	for (LIST_EACH(const struct wire_refusal, refusal, &plan->refusals))
		lines = arena_printf(s->host->arena, "%srefused: %s%s\n", lines, refusal->code,
				     refusal->can_accept == 1 ? ", can be accepted" : "");
	for (LIST_EACH(const struct plan_step, step, &plan->steps))
		if (!plan->refusals.n && is_told(step))
			lines = arena_printf(s->host->arena, "%s%s\n", lines,
					     step_text(step->kind, step->args, s->host->arena));
	return lines;
}

static const char *started(struct scene *s)
{
	CLEANUP(plan_freep) struct plan *plan = plan_new();
	struct error err = { 0 };
	int r = vm_start_plan(plan, &s->facts, &err);

	return told(s, plan, r, &err);
}

static const char *ended(struct scene *s)
{
	CLEANUP(plan_freep) struct plan *plan = plan_new();
	struct error err = { 0 };
	int r = vm_ended_plan(plan, &s->facts, &err);

	return told(s, plan, r, &err);
}

static const char *stopped(struct scene *s)
{
	CLEANUP(plan_freep) struct plan *plan = plan_new();
	struct error err = { 0 };
	int r = vm_stop_plan(plan, &s->facts, 60, &err);
	const char *text = told(s, plan, r, &err);

	for (LIST_EACH(const char *, warning, &plan->warnings))
		text = arena_printf(s->host->arena, "%swarning: %s\n", text, *warning);
	return text;
}

static bool says(const char *text, const char *part)
{
	if (!strstr(text, part))
		print_error("\"%s\" does not say \"%s\"\n", text, part);
	return strstr(text, part) != NULL;
}

#define TAKE_PAIR                                                                                  \
	"unbind 0000:01:00.1 from snd_hda_intel\n"                                                 \
	"unbind 0000:01:00.0 from radeon\n"                                                        \
	"bind 0000:01:00.0 to vfio-pci\n"                                                          \
	"bind 0000:01:00.1 to vfio-pci\n"

/* ---- starting ---- */

static void a_start_claims_binds_and_starts(void **state)
{
	struct scene *s = *state;

	hand_pair(s->host, "radeon", "snd_hda_intel");
	asks_for(s, "0000:01:00.0", "card-1");
	assert_string_equal(started(s), "claim 0000:01:00.0 for VM vm-1\n" TAKE_PAIR
					"see that VFIO accepts IOMMU group 1\n"
					"start the domain vm-1\n");
}

static void what_runs_is_started_already(void **state)
{
	struct scene *s = *state;

	bound(s);
	runs(s);
	asks_for(s, "0000:01:00.0", "card-1");
	assert_string_equal(started(s), "");
}

static void a_bound_card_is_proven_all_the_same(void **state)
{
	struct scene *s = *state;
	CLEANUP(plan_freep) struct plan *plan = plan_new();
	const struct claim_step *claim;
	struct error err = { 0 };

	bound(s);
	asks_for(s, "0000:01:00.0", "card-1");
	assert_string_equal(started(s), "claim 0000:01:00.0 for VM vm-1\n"
					"see that VFIO accepts IOMMU group 1\n"
					"start the domain vm-1\n");
	assert_int_equal(vm_start_plan(plan, &s->facts, &err), 0);
	claim = ((struct plan_step *)plan->steps.items)->args;
	assert_int_equal(claim->was_bound, 1);
	assert_null(claim->path);
}

/* It was left over, by a release that failed: what was noted then still holds. */
static void ones_own_claim_is_not_taken_again(void **state)
{
	struct scene *s = *state;
	struct vm_card *card;

	bound(s);
	card = asks_for(s, "0000:01:00.0", "card-1");
	card->claim = "card-1";
	card->look.facts.claimed_by = "vm-1";
	assert_string_equal(started(s),
			    "see that VFIO accepts IOMMU group 1\nstart the domain vm-1\n");
}

static void anothers_claim_is_refused(void **state)
{
	struct scene *s = *state;

	hand_pair(s->host, "radeon", "snd_hda_intel");
	asks_for(s, "0000:01:00.0", "card-1")->look.facts.claimed_by = "vm-2";
	assert_string_equal(started(s), "refused: claimed\n");
}

static void a_card_that_moved_has_to_be_confirmed(void **state)
{
	struct scene *s = *state;
	CLEANUP(plan_freep) struct plan *plan = plan_new();
	const struct claim_step *claim;
	struct error err = { 0 };

	hand_pair(s->host, "radeon", "snd_hda_intel");
	asks_for(s, "0000:01:00.0", "card-1")->look.facts.moved_from = "00:02.0/00.0";
	assert_string_equal(started(s), "refused: unknown_identity, can be accepted\n");
	assert_int_equal(vm_start_plan(plan, &s->facts, &err), 0);
	claim = ((struct plan_step *)plan->steps.items)->args;
	assert_string_equal(claim->path, "00:01.0/00.0"); /* accepting it confirms where it is */
	assert_string_equal(claim->path_was, "00:02.0/00.0");
	assert_int_equal(claim->owned, 0);
}

/* What the start's plan writes down of the VM; NULL: nothing. In the scene's arena. */
static const char *written(struct scene *s, const char **was)
{
	CLEANUP(plan_freep) struct plan *plan = plan_new();
	const struct record_step *args;
	struct error err = { 0 };

	assert_int_equal(vm_start_plan(plan, &s->facts, &err), 0);
	for (LIST_EACH(const struct plan_step, step, &plan->steps)) {
		if (step->kind != vm_step(VM_STEP_RECORD))
			continue;
		args = step->args;
		*was = arena_strdup(s->host->arena, args->was);
		return arena_strdup(s->host->arena, args->value);
	}
	return NULL;
}

/* Bus numbers shift: the address that the VM names is another card's. */
static void another_card_at_its_address_has_to_be_confirmed(void **state)
{
	struct scene *s = *state;
	struct vm_card *card;
	const char *was = NULL;

	hand_pair(s->host, "radeon", "snd_hda_intel");
	card = asks_for(s, "0000:01:00.0", "card-1");
	assert_null(written(s, &was));
	card->look.facts.card_id = "card-2";
	card->instead = card->look.facts.meant = "card-1 (10de:1b80), which is at 0000:03:00.0 now";
	assert_string_equal(started(s), "refused: unknown_identity, can be accepted\n");
	/* it is this one from then on; that another was accepted once does not hold for a third */
	assert_true(says(written(s, &was), "\"cards\":[\"card-2\"]"));
	assert_string_equal(was, "{}");
	assert_null(strstr(written(s, &was), "unknown_identity"));
	error_set(&card->missing, ERROR_NOT_FOUND, "there is no PCI device 0000:01:00.0");
	assert_true(says(started(s), "error: conflict: VM vm-1 is to have 0000:01:00.0"));
}

/* An earlier version noted no cards: the first start does. */
static void a_start_notes_which_card_it_is(void **state)
{
	struct scene *s = *state;
	const char *was = NULL;

	hand_pair(s->host, "radeon", "snd_hda_intel");
	asks_for(s, "0000:01:00.0", "card-1")->meant = NULL;
	s->facts.vm.cards = (struct list){ .null = true };
	assert_true(says(started(s), "write down the change of VM vm-1\nstart the domain"));
	assert_true(says(written(s, &was), "\"card-1\""));
}

static void what_is_passed_over_is_noted(void **state)
{
	struct scene *s = *state;
	const char *was = NULL, *const codes[] = { "console_card" };

	hand_pair(s->host, "radeon", "snd_hda_intel");
	hand_critical(s->host, "0000:01:00.0", "console_card");
	asks_for(s, "0000:01:00.0", "card-1");
	assert_true(says(written(s, &was), "\"accepted\":[\"console_card\"]"));
	list_add_string(s->host->arena, &s->facts.vm.accepted, codes[0]);
	assert_null(written(s, &was)); /* the same again */
	s->host->facts.gpu.critical = NULL;
	s->host->facts.gpu.critical_unknown = "nobody knows";
	((struct vm_card *)s->facts.cards.items)->look.facts = s->host->facts;
	((struct vm_card *)s->facts.cards.items)->look.facts.card_id = "card-1";
	assert_true(says(written(s, &was), "\"accepted\":[\"unknown_carries\"]"));
}

/* A second card in the same group: the two do not stand in each other's way, a third function does.
 */
static void cards_of_one_group_are_judged_together(void **state)
{
	struct scene *s = *state;
	struct hand_host *host = s->host;
	struct function *f = hand_function(host, "0000:01:00.0", 0x030000, "radeon", 1, 0);

	hand_card(host, f, NULL);
	hand_card(host, hand_function(host, "0000:02:00.0", 0x030000, "radeon", 1, 1), NULL);
	hand_group(host, 1);
	asks_for(s, "0000:01:00.0", "card-1");
	assert_string_equal(started(s), "refused: group_blocked\n");
	asks_for(s, "0000:02:00.0", "card-2");
	assert_string_equal(started(s), "claim 0000:01:00.0 for VM vm-1\n"
					"claim 0000:02:00.0 for VM vm-1\n"
					"unbind 0000:01:00.0 from radeon\n"
					"bind 0000:01:00.0 to vfio-pci\n"
					"unbind 0000:02:00.0 from radeon\n"
					"bind 0000:02:00.0 to vfio-pci\n"
					"see that VFIO accepts IOMMU group 1\n"
					"see that VFIO accepts IOMMU group 1\n"
					"start the domain vm-1\n");
}

static void a_neighbour_blocks_a_start_for_good(void **state)
{
	struct scene *s = *state;

	hand_function(s->host, "0000:01:00.0", 0x030000, "radeon", 1, 0);
	hand_card(s->host, inventory_function(&s->host->inv, hand_at("0000:01:00.0")), NULL);
	hand_function(s->host, "0000:03:00.0", 0x020000, "e1000", 1, -1);
	hand_group(s->host, 1);
	asks_for(s, "0000:01:00.0", "card-1");
	assert_string_equal(started(s), "refused: group_blocked\n");
}

static void memory_is_pinned_only_with_a_card(void **state)
{
	struct scene *s = *state;

	s->facts.vm.spec.memory = 8193;
	assert_string_equal(started(s), "start the domain vm-1\n");
	bound(s);
	asks_for(s, "0000:01:00.0", "card-1");
	assert_string_equal(started(s), "refused: no_memory\n");
	s->facts.vm.spec.memory = 8192;
	assert_true(says(started(s), "start the domain"));
}

/* Nobody gets more than there is. */
static void memory_that_the_host_has_not_is_refused(void **state)
{
	struct scene *s = *state;

	s->facts.host.memory_mib = 16384;
	s->facts.vm.spec.memory = 16384;
	assert_string_equal(started(s), "start the domain vm-1\n");
	s->facts.vm.spec.memory = 16385;
	assert_string_equal(started(s), "refused: no_memory\n");
}

static void what_a_start_needs_of_libvirt(void **state)
{
	struct scene *s = *state;
	struct vm_facts *f = &s->facts;

	*list_add(f->arena, &f->vm.spec.network,
		  struct wire_network) = (struct wire_network){ NETWORK_NAT, "52:54:00:00:00:01" };
	f->network_active = false;
	f->nvram.name = "vm-1.nvram";
	f->vm.spec.firmware = FIRMWARE_UEFI;
	f->pool_defined = f->pool_active = false;
	assert_string_equal(started(s), "make the pool horcrux at /pool\n"
					"start the network default\n"
					"start the domain vm-1\n");
	f->network_defined = false;
	assert_true(says(started(s), "error: conflict: libvirt has no network default"));
}

static void what_is_not_there_is_named(void **state)
{
	struct scene *s = *state;
	struct vm_facts *f = &s->facts;
	struct vm_volume *iso;
	struct vm_card *card;

	iso = list_add(f->arena, &f->cdrom, struct vm_volume);
	*iso = (struct vm_volume){ .name = "tiny.iso" };
	assert_true(says(started(s), "error: conflict: tiny.iso is not in the pool"));
	iso->there = true;
	iso->path = "/pool/tiny.iso";
	assert_string_equal(started(s), "start the domain vm-1\n");
	f->pool_active = false;
	assert_string_equal(started(s), "start the pool horcrux at /pool\nstart the domain vm-1\n");
	f->pool_active = true;
	hand_pair(s->host, "radeon", "snd_hda_intel");
	card = asks_for(s, "0000:01:00.0", "card-1");
	error_set(&card->missing, ERROR_NOT_FOUND, "there is no PCI device 0000:01:00.0");
	assert_true(says(started(s), "error: conflict: VM vm-1 is to have 0000:01:00.0"));
	f->foreign = true;
	f->cards.n = 0;
	assert_true(says(started(s), "error: conflict: a domain vm-1 that Horcrux did not make"));
}

/* ---- ending ---- */

static void an_end_gives_back_what_was_taken(void **state)
{
	struct scene *s = *state;

	bound(s);
	has(s, "0000:01:00.0", "card-1", 0);
	assert_string_equal(ended(s), "wait until nothing has 0000:01:00.0 open\n"
				      "unbind 0000:01:00.1 from vfio-pci\n"
				      "unbind 0000:01:00.0 from vfio-pci\n"
				      "give 0000:01:00.0 back to radeon\n"
				      "give 0000:01:00.1 back to snd_hda_intel\n"
				      "drop the claim of VM vm-1 on 0000:01:00.0\n");
}

static void an_end_leaves_bound_what_was_bound(void **state)
{
	struct scene *s = *state;

	bound(s);
	has(s, "0000:01:00.0", "card-1", 1);
	assert_string_equal(ended(s), "wait until nothing has 0000:01:00.0 open\n"
				      "drop the claim of VM vm-1 on 0000:01:00.0\n");
}

static void an_end_with_nothing_to_do(void **state)
{
	struct scene *s = *state;
	struct vm_card *card;

	assert_string_equal(ended(s), "");
	bound(s);
	card = has(s, "0000:01:00.0", "card-1", 0);
	runs(s);
	assert_string_equal(ended(s), ""); /* it was started again meanwhile */
	s->facts.active = false;
	s->domains.n = s->host->holders.n = 0;
	error_set(&card->missing, ERROR_GONE, "the card is not there any more");
	assert_string_equal(ended(s), "drop the claim of VM vm-1 on 0000:01:00.0\n");
}

static void after_a_reboot_the_claim_alone_is_left(void **state)
{
	struct scene *s = *state;

	hand_pair(s->host, "radeon", "snd_hda_intel");
	has(s, "0000:01:00.0", "card-1", 0);
	assert_string_equal(ended(s), "wait until nothing has 0000:01:00.0 open\n"
				      "drop the claim of VM vm-1 on 0000:01:00.0\n");
}

static void who_else_has_it_open_stands_against_an_end(void **state)
{
	struct scene *s = *state;

	bound(s);
	hand_holder(s->host, 7, "0000:01:00.0");
	has(s, "0000:01:00.0", "card-1", 0);
	assert_string_equal(ended(s), "refused: held\n");
}

/* Its own QEMU has the card open still: that is waited for, not refused. */
static void a_stop_does_all_of_it(void **state)
{
	struct scene *s = *state;
	const char *text;

	bound(s);
	runs(s);
	has(s, "0000:01:00.0", "card-1", 0);
	text = stopped(s);
	assert_true(says(text,
			 "press the power button of VM vm-1 and wait for its guest, at most 60 s\n"
			 "wait until nothing has 0000:01:00.0 open\n"
			 "unbind 0000:01:00.1 from vfio-pci\n"));
	assert_true(says(text, "drop the claim of VM vm-1 on 0000:01:00.0\n"));
	assert_null(strstr(text, "warning"));
}

static void a_stop_never_hangs_on_a_card(void **state)
{
	struct scene *s = *state;

	bound(s);
	runs(s);
	hand_holder(s->host, 7, "0000:01:00.0");
	has(s, "0000:01:00.0", "card-1", 0);
	assert_string_equal(
		stopped(s),
		"press the power button of VM vm-1 and wait for its guest, at most 60 s\n"
		"warning: 0000:01:00.0 cannot be given back now (Xorg (pid 7) has it open); "
		"that is tried again\n");
}

static void a_stop_of_what_is_off_gives_back_what_is_left(void **state)
{
	struct scene *s = *state;

	assert_string_equal(stopped(s), "");
	bound(s);
	has(s, "0000:01:00.0", "card-1", 1);
	assert_true(says(stopped(s), "drop the claim of VM vm-1 on 0000:01:00.0\n"));
	assert_null(strstr(stopped(s), "power button"));
}

static const char *restarted(struct scene *s)
{
	CLEANUP(plan_freep) struct plan *plan = plan_new();
	struct error err = { 0 };
	int r = vm_restart_plan(plan, &s->facts, ROW_NULL, &err);

	return told(s, plan, r, &err);
}

static void a_restart_keeps_the_cards(void **state)
{
	struct scene *s = *state;
	struct vm_card *card;

	bound(s);
	runs(s);
	hand_critical(s->host, "0000:01:00.0", "console_card"); /* was accepted when it got it */
	has(s, "0000:01:00.0", "card-1", 0);
	card = asks_for(s, "0000:01:00.0", "card-1");
	card->claim = "card-1";
	card->look.facts.claimed_by = "vm-1";
	assert_string_equal(
		restarted(s),
		"press the power button of VM vm-1 and wait for its guest, at most 120 s\n"
		"wait until nothing has 0000:01:00.0 open\n"
		"see that VFIO accepts IOMMU group 1\n"
		"start the domain vm-1\n");
	s->facts.host.memory_free_mib = 0; /* what it has now is free then */
	s->facts.running_mib = 1024;
	assert_true(says(restarted(s), "start the domain"));
	s->facts.vm.spec.memory = 1025; /* it was changed while it runs: it never had so much */
	assert_string_equal(restarted(s), "refused: no_memory\n");
	s->facts.vm.spec.memory = 1024;
	s->facts.active = false;
	s->domains.n = s->host->holders.n = 0;
	s->facts.host.memory_free_mib = 8192;
	assert_string_equal(restarted(s), "refused: console_card, can be accepted\n");
}

/* ---- records ---- */

static const char *deleted(struct scene *s, bool disks)
{
	CLEANUP(plan_freep) struct plan *plan = plan_new();
	struct error err = { 0 };
	int r = vm_delete_plan(plan, &s->facts, disks, &err);

	return told(s, plan, r, &err);
}

static void has_disk(struct scene *s, const char *name, bool there)
{
	struct arena *arena = s->facts.arena;

	*list_add(arena, &s->facts.vm.spec.disks, struct wire_disk) = (struct wire_disk){ 4, name };
	*list_add(arena, &s->facts.disks, struct vm_volume) =
		(struct vm_volume){ .name = name, .there = there, .path = there ? name : NULL };
}

static void a_delete_goes_from_the_outside_in(void **state)
{
	struct scene *s = *state;
	struct vm_record *other;

	bound(s);
	has(s, "0000:01:00.0", "card-1", 1);
	has_disk(s, "vm-1.qcow2", true);
	has_disk(s, "gone.qcow2", false);
	s->facts.nvram = (struct vm_volume){ .name = "vm-1.nvram", .there = true };
	assert_string_equal(deleted(s, false), "wait until nothing has 0000:01:00.0 open\n"
					       "drop the claim of VM vm-1 on 0000:01:00.0\n"
					       "delete the firmware's variables, vm-1.nvram\n"
					       "forget VM vm-1\n");
	s->facts.claims.n = 0;
	assert_string_equal(deleted(s, true), "delete the volume vm-1.qcow2\n"
					      "delete the firmware's variables, vm-1.nvram\n"
					      "forget VM vm-1\n");
	other = list_add(s->facts.arena, &s->facts.others, struct vm_record);
	other->spec.id = "vm-2";
	*list_add(s->facts.arena, &other->spec.disks,
		  struct wire_disk) = (struct wire_disk){ ROW_NULL, "vm-1.qcow2" };
	assert_true(says(deleted(s, true),
			 "error: conflict: the volume vm-1.qcow2 is also used by VM vm-2 (disk)"));
	assert_true(says(deleted(s, false), "forget VM vm-1"));
	s->facts.pool_active = false;
	assert_string_equal(deleted(s, false), "start the pool horcrux at /pool\n"
					       "delete the firmware's variables, vm-1.nvram\n"
					       "forget VM vm-1\n");
	s->facts.active = true;
	assert_true(says(deleted(s, false), "error: conflict: VM vm-1 runs"));
}

static const char *created(struct scene *s, bool start)
{
	CLEANUP(plan_freep) struct plan *plan = plan_new();
	struct error err = { 0 };
	int r = vm_create_plan(plan, &s->facts, start, true, &err);

	return told(s, plan, r, &err);
}

static void one_is_made_before_it_is_started(void **state)
{
	struct scene *s = *state;

	s->facts.stored = NULL;
	has_disk(s, "vm-1.qcow2", false);
	assert_string_equal(created(s, false),
			    "make the volume vm-1.qcow2 of 4 GiB\nwrite down VM vm-1\n");
	hand_pair(s->host, "radeon", "snd_hda_intel");
	asks_for(s, "0000:01:00.0", "card-1");
	assert_string_equal(created(s, true), "make the volume vm-1.qcow2 of 4 GiB\n"
					      "write down VM vm-1\n"
					      "claim 0000:01:00.0 for VM vm-1\n" TAKE_PAIR
					      "see that VFIO accepts IOMMU group 1\n"
					      "start the domain vm-1\n");
	s->facts.pool_defined = s->facts.pool_active = false;
	assert_true(says(created(s, false), "make the pool horcrux at /pool\nmake the volume"));
	s->facts.stored = "{}";
	assert_true(says(created(s, false), "error: exists: there is a VM vm-1 already"));
}

static void nothing_is_overwritten(void **state)
{
	struct scene *s = *state;

	s->facts.stored = NULL;
	has_disk(s, "vm-1.qcow2", true);
	assert_true(
		says(created(s, false), "error: exists: the pool horcrux has a volume vm-1.qcow2"));
}

/* ---- what other VMs use ---- */

static struct vm_record *another(struct scene *s, const char *id, bool runs_now)
{
	struct vm_record *other = list_add(s->facts.arena, &s->facts.others, struct vm_record);

	rows_clear(wire_vm_spec_rows, &other->spec);
	other->spec.id = id;
	other->spec.firmware = FIRMWARE_UEFI;
	other->spec.disks = other->spec.cdrom = other->spec.network = (struct list){ 0 };
	if (runs_now)
		list_add_string(s->facts.arena, &s->facts.running, id);
	return other;
}

static void its_disk(struct scene *s, struct vm_record *vm, const char *name)
{
	*list_add(s->facts.arena, &vm->spec.disks, struct wire_disk) =
		(struct wire_disk){ ROW_NULL, name };
}

static void what_another_vm_has_open_is_refused(void **state)
{
	struct scene *s = *state;
	struct arena *arena = s->facts.arena;

	has_disk(s, "a.qcow2", true);
	list_add_string(arena, &s->facts.vm.spec.cdrom, "b.iso");
	its_disk(s, another(s, "vm-2", false), "a.qcow2");
	list_add_string(arena, &another(s, "vm-3", true)->spec.cdrom, "b.iso");
	assert_string_equal(started(s), "start the domain vm-1\n");
	list_add_string(arena, &s->facts.running, "vm-2");
	assert_string_equal(started(s), "refused: claimed\n");
	s->facts.running.n = 0;
	list_add_string(arena, &another(s, "vm-4", true)->spec.cdrom, "a.qcow2");
	assert_string_equal(started(s), "refused: claimed\n");
	s->facts.others.n = 0;
	its_disk(s, another(s, "vm-4", true), "b.iso");
	assert_string_equal(started(s), "refused: claimed\n");
}

static void what_others_use_is_not_deleted(void **state)
{
	struct scene *s = *state;
	struct wire_boot boot = { .kernel = "k", .initrd = "a.qcow2" };
	struct vm_record *other;

	has_disk(s, "a.qcow2", true);
	list_add_string(s->facts.arena, &another(s, "vm-2", false)->spec.cdrom, "a.qcow2");
	other = another(s, "vm-3", false);
	other->spec.boot = &boot;
	its_disk(s, other, "a.qcow2");
	assert_true(says(deleted(s, true), "error: conflict: the volume a.qcow2 is also used by "
					   "VM vm-2 (cdrom), VM vm-3 (disk, initrd)"));
	assert_true(says(deleted(s, false), "forget VM vm-1"));
}

static void what_others_use_otherwise_is_not_taken(void **state)
{
	struct scene *s = *state;
	struct vm_record *other = another(s, "vm-2", false);
	struct wire_disk *disk;

	s->facts.stored = NULL;
	has_disk(s, "a.iso", true);
	disk = s->facts.vm.spec.disks.items;
	disk->size = ROW_NULL;
	its_disk(s, other, "a.iso"); /* they take turns */
	assert_string_equal(created(s, false), "write down VM vm-1\n");
	list_add_string(s->facts.arena, &other->spec.cdrom, "a.iso");
	assert_true(says(created(s, false), "error: conflict: a.iso is used by VM vm-2 (cdrom)"));
	disk->volume = "vm-2.nvram";
	assert_true(says(created(s, false), "vm-2.nvram is used by VM vm-2 (firmware's variables)"));
	disk->volume = "mine";
	list_add_string(s->facts.arena, &s->facts.vm.spec.cdrom, "a.iso");
	assert_true(says(created(s, false), "error: conflict: a.iso is used by VM vm-2 (disk)"));
}

static void an_address_of_another_vm_is_not_taken(void **state)
{
	struct scene *s = *state;

	s->facts.stored = NULL;
	*list_add(s->facts.arena, &s->facts.vm.spec.network, struct wire_network) =
		(struct wire_network){ NETWORK_NAT, "52:54:00:00:00:01" };
	*list_add(s->facts.arena, &another(s, "vm-2", false)->spec.network, struct wire_network) =
		(struct wire_network){ NETWORK_NAT, "52:54:00:00:00:01" };
	assert_true(says(created(s, false),
			 "error: conflict: VM vm-2 has the MAC address 52:54:00:00:00:01"));
}

static void a_change_that_changes_nothing(void **state)
{
	struct scene *s = *state;
	CLEANUP(plan_freep) struct plan *plan = plan_new();
	struct wire_vm_change change = { "vm-1", 2, ROW_NULL, -1 };
	struct error err = { 0 };

	assert_int_equal(vm_change_plan(plan, &s->facts, &change, true, &err), 0);
	assert_int_equal(plan->steps.n, 0);
	assert_int_equal(plan->warnings.n, 0);
	change.cpus = 4;
	assert_int_equal(vm_change_plan(plan, &s->facts, &change, true, &err), 0);
	assert_int_equal(plan->steps.n, 1);
	assert_int_equal(plan->warnings.n, 1);
}

static void every_kind_keeps_the_laws(void **state UNUSED)
{
	const struct step_table tables[] = { gpu_steps, vm_card_steps, vm_domain_steps,
					     vm_record_steps, vm_storage_steps };
	static const char *const final[] = { "destroy", "shutdown", "nvram-delete",
					     "volume-delete" };
	struct error err = { 0 };
	size_t n = 0;

	if (step_tables_check(tables, ARRAY_SIZE(tables), &err) < 0)
		fail_msg("%s", err.message);
	for (enum vm_step step = 0; step <= VM_STEP_VOLUME_DELETE; step++)
		assert_non_null(vm_step(step));
	for (size_t i = 1; i < ARRAY_SIZE(tables); i++)
		for (size_t k = 0; k < tables[i].n; k++)
			if (!tables[i].kinds[k].undo)
				assert_string_equal(tables[i].kinds[k].name, final[n++]);
	assert_int_equal(n, ARRAY_SIZE(final));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_start_claims_binds_and_starts),
		TEST(what_runs_is_started_already),
		TEST(a_bound_card_is_proven_all_the_same),
		TEST(ones_own_claim_is_not_taken_again),
		TEST(anothers_claim_is_refused),
		TEST(a_card_that_moved_has_to_be_confirmed),
		TEST(another_card_at_its_address_has_to_be_confirmed),
		TEST(a_start_notes_which_card_it_is),
		TEST(what_is_passed_over_is_noted),
		TEST(cards_of_one_group_are_judged_together),
		TEST(a_neighbour_blocks_a_start_for_good),
		TEST(memory_is_pinned_only_with_a_card),
		TEST(memory_that_the_host_has_not_is_refused),
		TEST(what_another_vm_has_open_is_refused),
		TEST(what_others_use_is_not_deleted),
		TEST(what_others_use_otherwise_is_not_taken),
		TEST(an_address_of_another_vm_is_not_taken),
		TEST(what_a_start_needs_of_libvirt),
		TEST(what_is_not_there_is_named),
		TEST(an_end_gives_back_what_was_taken),
		TEST(an_end_leaves_bound_what_was_bound),
		TEST(an_end_with_nothing_to_do),
		TEST(after_a_reboot_the_claim_alone_is_left),
		TEST(who_else_has_it_open_stands_against_an_end),
		TEST(a_stop_does_all_of_it),
		TEST(a_stop_never_hangs_on_a_card),
		TEST(a_stop_of_what_is_off_gives_back_what_is_left),
		TEST(a_restart_keeps_the_cards),
		TEST(a_delete_goes_from_the_outside_in),
		TEST(one_is_made_before_it_is_started),
		TEST(nothing_is_overwritten),
		TEST(a_change_that_changes_nothing),
		cmocka_unit_test(every_kind_keeps_the_laws),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
