/* SPDX-License-Identifier: Apache-2.0 */
/* Host facts as the wire shows them: inventories made by hand, and what must come out. */
#include "unit.h"

#include "gpu/view.h"

enum { FUNCTIONS_MAX = 8 };

/* A host under construction. */
struct host {
	struct arena *arena;
	struct inventory inv;
	int card_of[FUNCTIONS_MAX];
	struct list holders, critical;
	struct gpu_facts facts;
};

static int set_up(void **state)
{
	struct arena *arena = arena_new();
	struct host *host = arena_new_of(arena, struct host);

	host->arena = arena;
	host->inv.arena = arena;
	host->inv.card_of = host->card_of;
	host->inv.names = names_open_file(NULL);
	host->facts = (struct gpu_facts){ .inventory = &host->inv,
					  .holders = &host->holders,
					  .critical = &host->critical,
					  .node = "testhost" };
	*state = host;
	return 0;
}

static int tear_down(void **state)
{
	struct host *host = *state;

	names_unref(host->inv.names);
	arena_free(host->arena);
	return 0;
}

static struct pci_address at(const char *text)
{
	struct pci_address a = { 0 };

	assert_true(pci_address_parse(text, &a));
	return a;
}

/* Functions come in order of address; card: index of the card it is of, or -1. */
static struct function *add(struct host *host, const char *address, uint32_t class,
			    const char *driver, int group, int card)
{
	struct function *f = arena_new_of(host->arena, struct function);

	f->address = at(address);
	pci_address_format(f->address, f->text);
	f->vendor = 0xfff0;
	f->device = 0x1b80;
	f->class = class;
	f->driver = driver;
	f->group = group;
	f->numa_node = NUMA_UNKNOWN;
	f->boot_vga = -1;
	f->link_width = f->max_link_width = ROW_NULL;
	f->aer_correctable = f->aer_fatal = ROW_NULL;
	f->path_key = "00:01.0/00.0";
	host->card_of[host->inv.functions.n] = card;
	*list_add(host->arena, &host->inv.functions, struct function *) = f;
	return f;
}

static void add_card(struct host *host, struct function *first, struct function *second)
{
	struct card *card = list_add(host->arena, &host->inv.cards, struct card);

	card->slot = first->address;
	memcpy(card->text, first->text, sizeof(card->text));
	*list_add(host->arena, &card->functions, struct function *) = first;
	if (second)
		*list_add(host->arena, &card->functions, struct function *) = second;
}

static struct group *add_group(struct host *host, int number)
{
	struct group *group = list_add(host->arena, &host->inv.groups, struct group);

	group->number = number;
	for (LIST_EACH(struct function *, f, &host->inv.functions))
		if ((*f)->group == number)
			*list_add(host->arena, &group->functions, struct function *) = *f;
	return group;
}

/* A GPU with its audio function, on the given drivers, alone in group 1. */
static struct function *pair(struct host *host, const char *gpu, const char *audio)
{
	struct function *f = add(host, "0000:01:00.0", 0x030000, gpu, 1, 0);

	add_card(host, f, add(host, "0000:01:00.1", 0x040300, audio, 1, 0));
	add_group(host, 1);
	return f;
}

static void add_holder(struct host *host, const char *kind, int64_t pid, const char *address)
{
	struct holder *h = list_add(host->arena, &host->holders, struct holder);

	*h = (struct holder){
		.kind = kind, .pid = pid, .name = pid ? "Xorg" : "fbcon", .address = at(address)
	};
}

static const char *reason(const struct wire_device *d, const char *field)
{
	for (LIST_EACH(struct row_pair, pair, &d->unknown))
		if (!strcmp(pair->key, field))
			return pair->value;
	return NULL;
}

static void states_follow_drivers(void **state UNUSED)
{
	static const struct {
		const char *gpu, *audio;
		int expect;
	} rows[] = {
		{ "nvidia", "snd_hda_intel", CARD_HOST },
		{ "nvidia", NULL, CARD_HOST },
		{ NULL, "snd_hda_intel", CARD_UNBOUND },
		{ NULL, NULL, CARD_UNBOUND },
		{ "pci-stub", "pci-stub", CARD_UNBOUND },
		{ "vfio-pci", "vfio-pci", CARD_READY },
		{ "nvgrace_gpu_vfio_pci", "vfio-pci", CARD_READY },
		{ "vfio-pci", "snd_hda_intel", CARD_MIXED },
		{ "vfio-pci", NULL, CARD_MIXED },
		{ "nvidia", "vfio-pci", CARD_MIXED },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		void *made;
		struct host *host;

		set_up(&made);
		host = made;
		assert_int_equal(
			gpu_card_state(&host->facts, pair(host, rows[i].gpu, rows[i].audio)),
			rows[i].expect);
		tear_down(&made);
	}
}

static void states_follow_holders(void **state)
{
	struct host *host = *state;
	struct function *f = pair(host, "vfio-pci", "vfio-pci");

	assert_int_equal(gpu_card_state(&host->facts, NULL), CARD_ABSENT);
	add_holder(host, "kernel", 0, "0000:01:00.0");
	assert_int_equal(gpu_card_state(&host->facts, f), CARD_READY);
	add_holder(host, "process", 812, "0000:01:00.1");
	assert_int_equal(gpu_card_state(&host->facts, f), CARD_IN_USE);
	host->facts.holders = NULL;
	assert_int_equal(gpu_card_state(&host->facts, f), -1);
}

static void carrying_others_is_shared(void **state)
{
	struct host *host = *state;
	struct function *f = pair(host, "nvidia", NULL);
	struct sriov sriov = { .total = 16 };

	f->sriov = &sriov;
	assert_int_equal(gpu_card_state(&host->facts, f), CARD_HOST);
	*list_add(host->arena, &sriov.vfs, struct pci_address) = at("0000:01:00.4");
	assert_int_equal(gpu_card_state(&host->facts, f), CARD_SHARED);
	f->sriov = NULL;
	*list_add(host->arena, &f->mdevs, struct mdev) =
		(struct mdev){ "f715f63c-0d00-4007-9c5a-b07b0c6c05de", NULL, NO_GROUP };
	assert_int_equal(gpu_card_state(&host->facts, f), CARD_SHARED);
}

static void an_unreadable_driver_is_no_state(void **state)
{
	struct host *host = *state;
	struct function *f = pair(host, NULL, NULL);
	struct wire_device d;

	*list_add(host->arena, &f->unknown,
		  struct row_pair) = (struct row_pair){ "driver", "its link cannot be read" };
	gpu_view_device(&host->facts, f, host->arena, &d);
	assert_int_equal(d.state, -1);
	assert_string_equal(reason(&d, "state"), "its link cannot be read");
	assert_null(d.driver);
}

static void a_device_has_its_fields(void **state)
{
	struct host *host = *state;
	struct function *f = pair(host, "nouveau", "snd_hda_intel");
	struct wire_device d;
	struct wire_function *functions;

	f->subsystem_vendor = 0x1458;
	f->subsystem_device = 0x3702;
	f->revision = 0xa1;
	gpu_view_device(&host->facts, f, host->arena, &d);
	assert_string_equal(d.pci_address, "0000:01:00.0");
	assert_string_equal(d.vendor_id, "fff0");
	assert_string_equal(d.device_id, "1b80");
	assert_string_equal(d.vendor_name, "Vendor fff0");
	assert_string_equal(d.device_name, "Device 1b80");
	assert_string_equal(d.class, "030000");
	assert_string_equal(d.revision, "a1");
	assert_string_equal(d.subsystem->name, "Device 3702");
	assert_string_equal(d.identity, "fff0:1b80 1458:3702 00:01.0/00.0");
	assert_string_equal(d.iommu_group, "1");
	assert_string_equal(d.driver, "nouveau");
	assert_string_equal(d.slot, "0000:01:00.0");
	assert_string_equal(d.node, "testhost");
	assert_int_equal(d.in_use, 0);
	assert_int_equal(d.state, CARD_HOST);
	assert_int_equal(d.functions.n, 2);
	functions = d.functions.items;
	assert_int_equal(functions[0].role, ROLE_GPU);
	assert_int_equal(functions[1].role, ROLE_AUDIO);
	assert_string_equal(functions[1].driver, "snd_hda_intel");
	assert_int_equal(d.viable->ok, 1);
	assert_int_equal(d.viable->blockers.n, 0);
}

/* A null that is neither "none" nor absent by nature has to say why it is null. */
static void every_unknown_has_its_reason(void **state)
{
	static const char *const fields[] = { "numa_node",
					      "local_cpus",
					      "power_state",
					      "link",
					      "boot_vga",
					      "card",
					      "assigned_to",
					      "claimed_by",
					      "reserved",
					      "used_by",
					      "critical",
					      "console",
					      "node",
					      "health.aer_correctable",
					      "health.aer_fatal" };
	struct host *host = *state;
	struct function *f = pair(host, "nouveau", NULL);
	struct wire_device d;

	host->facts = (struct gpu_facts){ .inventory = &host->inv,
					  .holders_unknown = "not root",
					  .critical_unknown = "no /proc" };
	gpu_view_device(&host->facts, f, host->arena, &d);
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
		if (!reason(&d, fields[i]))
			fail_msg("%s has no reason", fields[i]);
	assert_string_equal(reason(&d, "used_by"), "not root");
	assert_string_equal(reason(&d, "critical"), "no /proc");
	assert_true(d.used_by.null);
	assert_true(d.critical.null);
	assert_int_equal(d.in_use, 0);
	assert_int_equal(d.console, -1);
	assert_int_equal(d.boot_vga, -1);
	assert_true(d.numa_node == ROW_NULL);
}

/* What a task does with the card is known, also where its holders are not: nothing is both. */
static void a_state_that_is_known_has_no_reason(void **state)
{
	struct host *host = *state;
	struct function *f = pair(host, "vfio-pci", "vfio-pci");
	struct list stuck = { 0 };
	struct wire_device d;

	host->facts = (struct gpu_facts){ .inventory = &host->inv, .holders_unknown = "not asked" };
	gpu_view_device(&host->facts, f, host->arena, &d);
	assert_int_equal(d.state, -1);
	assert_string_equal(reason(&d, "state"), "not asked");
	*list_add(host->arena, &stuck, struct row_pair) = (struct row_pair){ "0000:01:00.0", "why" };
	host->facts.stuck = stuck;
	gpu_view_device(&host->facts, f, host->arena, &d);
	assert_int_equal(d.state, CARD_STUCK);
	assert_null(reason(&d, "state"));
}

static void unreadable_ids_are_null(void **state)
{
	struct host *host = *state;
	struct function *f = pair(host, "nouveau", NULL);
	struct wire_device d;

	*list_add(host->arena, &f->unknown, struct row_pair) =
		(struct row_pair){ "device_id", "cannot be read: Input/output error" };
	gpu_view_device(&host->facts, f, host->arena, &d);
	assert_null(d.device_id);
	assert_null(d.device_name);
	assert_null(d.identity);
	assert_non_null(reason(&d, "device_name"));
	assert_non_null(reason(&d, "identity"));
	assert_string_equal(d.vendor_id, "fff0");
}

static void bars_are_rounded_up(void **state)
{
	static const struct {
		uint64_t bytes;
		int64_t mib;
	} rows[] = {
		{ 1, 1 }, { 4096, 1 }, { 1 << 20, 1 }, { (1 << 20) + 1, 2 }, { 16ULL << 30, 16384 }
	};
	struct host *host = *state;
	struct function *f = pair(host, "nouveau", NULL);
	struct wire_device d;
	struct wire_bar *bars;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		*list_add(host->arena, &f->bars, struct bar) =
			(struct bar){ .index = (int)i, .bytes = rows[i].bytes, .bits64 = true };
	list_add(host->arena, &f->bars, struct bar)->io = true;
	gpu_view_device(&host->facts, f, host->arena, &d);
	assert_int_equal(d.bars.n, ARRAY_SIZE(rows));
	bars = d.bars.items;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		assert_true(bars[i].size_mib == rows[i].mib);
	assert_int_equal(bars[0].bits64, 1);
	assert_int_equal(bars[0].prefetchable, 0);
}

static void holders_are_the_cards_and_once_each(void **state)
{
	struct host *host = *state;
	struct function *f = pair(host, "nouveau", "snd_hda_intel");
	struct wire_device d;
	struct wire_holder *holders;

	add_holder(host, "process", 812, "0000:01:00.0");
	add_holder(host, "process", 812, "0000:01:00.1");
	add_holder(host, "kernel", 0, "0000:01:00.0");
	add_holder(host, "process", 813, "0000:02:00.0");
	gpu_view_device(&host->facts, f, host->arena, &d);
	assert_int_equal(d.used_by.n, 2);
	holders = d.used_by.items;
	assert_int_equal(holders[0].kind, HOLDER_PROCESS);
	assert_string_equal(holders[0].id, "812");
	assert_string_equal(holders[0].name, "Xorg");
	assert_int_equal(holders[1].kind, HOLDER_KERNEL);
	assert_string_equal(holders[1].id, "fbcon");
	assert_int_equal(d.in_use, 1);
}

static void add_critical(struct host *host, const char *code, const char *why, const char *address)
{
	*list_add(host->arena, &host->critical, struct critical) = (struct critical){
		.address = at(address), .code = code, .why = why, .evidence = ""
	};
}

static void critical_facts_are_told(void **state)
{
	struct host *host = *state;
	struct function *f = pair(host, "nouveau", "snd_hda_intel");
	struct wire_device d;

	gpu_view_device(&host->facts, f, host->arena, &d);
	assert_int_equal(d.console, 0);
	assert_int_equal(d.critical.n, 0);
	assert_false(d.critical.null);
	add_critical(host, "unknown_carries", "a ZFS pool cannot be followed", "0000:01:00.0");
	gpu_view_device(&host->facts, f, host->arena, &d);
	assert_true(d.critical.null);
	assert_string_equal(reason(&d, "critical"), "a ZFS pool cannot be followed");
	add_critical(host, "console_card", "the console is on it", "0000:01:00.0");
	gpu_view_device(&host->facts, f, host->arena, &d);
	assert_int_equal(d.console, 1);
	assert_int_equal(d.critical.n, 1);
	assert_non_null(reason(&d, "critical"));
}

static void foreign_members_block(void **state)
{
	struct host *host = *state;
	struct function *f = add(host, "0000:01:00.0", 0x030000, "vfio-pci", 1, 0);
	struct wire_device d;
	struct list members;
	struct wire_member *member;

	add_card(host, f, NULL);
	add(host, "0000:02:00.0", 0x010802, "nvme", 1, -1);
	add(host, "0000:03:00.0", 0x020000, NULL, 1, -1);
	add_group(host, 1);
	add_critical(host, "critical", "carries / on /dev/nvme0n1p2", "0000:02:00.0");
	gpu_view_device(&host->facts, f, host->arena, &d);
	assert_int_equal(d.viable->ok, 0);
	assert_int_equal(d.viable->blockers.n, 1);
	assert_string_equal(((const char **)d.viable->blockers.items)[0], "0000:02:00.0");
	gpu_view_group(&host->facts, f, host->arena, &members);
	assert_int_equal(members.n, 3);
	member = members.items;
	assert_int_equal(member[0].blocks, 0);
	assert_int_equal(member[1].blocks, 1);
	assert_int_equal(member[2].blocks, 0);
	assert_int_equal(member[1].carries.n, 1);
	assert_int_equal(member[2].carries.n, 0);
	assert_int_equal(member[1].role, ROLE_OTHER);
	host->facts.critical = NULL;
	gpu_view_group(&host->facts, f, host->arena, &members);
	member = members.items;
	assert_true(member[1].carries.null);
	assert_int_equal(member[1].unknown.n, 1);
}

static void a_group_without_isolation_is_not_viable(void **state)
{
	struct host *host = *state;
	struct function *f = add(host, "0000:01:00.0", 0x030000, "vfio-pci", 1, 0);
	struct wire_device d;
	struct group *group;

	add_card(host, f, NULL);
	group = add_group(host, 1);
	group->regions_unknown = true;
	gpu_view_device(&host->facts, f, host->arena, &d);
	assert_int_equal(d.viable->ok, -1);
	assert_non_null(reason(&d, "viable.ok"));
	group->direct_regions = true;
	gpu_view_device(&host->facts, f, host->arena, &d);
	assert_int_equal(d.viable->ok, 0);
	assert_non_null(strstr(d.viable->why, "the firmware keeps memory"));
	group->direct_regions = false;
	group->noiommu = true;
	gpu_view_device(&host->facts, f, host->arena, &d);
	assert_int_equal(d.viable->ok, 0);
	assert_non_null(strstr(d.viable->why, "no-IOMMU"));
	f->group = NO_GROUP;
	gpu_view_device(&host->facts, f, host->arena, &d);
	assert_int_equal(d.viable->ok, 0);
	assert_null(d.iommu_group);
	assert_string_equal(d.viable->why, "0000:01:00.0 is in no IOMMU group");
	host->inv.iommu.message = "IOMMU is off";
	gpu_view_device(&host->facts, f, host->arena, &d);
	assert_string_equal(d.viable->why, "0000:01:00.0 is in no IOMMU group: IOMMU is off");
}

static void only_gpus_are_listed(void **state)
{
	struct host *host = *state;
	struct list devices;
	struct function *f;

	pair(host, "nvidia", "snd_hda_intel");
	f = add(host, "0000:05:00.0", 0x010802, "nvme", 2, -1);
	gpu_view_devices(&host->facts, host->arena, &devices);
	assert_int_equal(devices.n, 1);
	f->class = 0x120000;
	gpu_view_devices(&host->facts, host->arena, &devices);
	assert_int_equal(devices.n, 1);
	f->vendor = 0x1002;
	gpu_view_devices(&host->facts, host->arena, &devices);
	assert_int_equal(devices.n, 2);
}

static void finding_names_the_card(void **state)
{
	struct host *host = *state;
	const struct function *f = NULL;
	struct error err;

	pair(host, "nvidia", "snd_hda_intel");
	add(host, "0000:05:00.0", 0x010802, "nvme", 2, -1);
	assert_int_equal(gpu_find(&host->inv, "0000:01:00.1", &f, &err), 0);
	assert_string_equal(f->text, "0000:01:00.1");
	assert_int_equal(gpu_find(&host->inv, "0000:01:00.7", &f, &err), -1);
	assert_int_equal(err.code, ERROR_NOT_FOUND);
	assert_non_null(strstr(err.hint, "0000:01:00.0"));
	assert_int_equal(gpu_find(&host->inv, "0000:05:00.0", &f, &err), -1);
	assert_int_equal(err.code, ERROR_NOT_FOUND);
	assert_null(strstr(err.hint, "0000:01:00.0"));
	assert_int_equal(gpu_find(&host->inv, "01:00.0", &f, &err), -1);
	assert_int_equal(err.code, ERROR_INVALID_VALUE);
}

static void the_iommu_is_told_as_it_is(void **state)
{
	struct host *host = *state;
	struct iommu *iommu = &host->inv.iommu;
	struct wire_iommu out;

	*iommu = (struct iommu){ .enabled = FACT_YES,
				 .message = "ready",
				 .kind = "intel",
				 .groups = 12,
				 .interrupt_remapping = FACT_UNKNOWN,
				 .acs_override = FACT_NO,
				 .unsafe_interrupts = FACT_NO };
	gpu_view_iommu(&host->facts, host->arena, &out);
	assert_int_equal(out.enabled, 1);
	assert_int_equal(out.groups, 12);
	assert_int_equal(out.interrupt_remapping, -1);
	assert_int_equal(out.acs_override, 0);
	assert_int_equal(out.unknown.n, 1);
	assert_string_equal(((struct row_pair *)out.unknown.items)[0].key, "interrupt_remapping");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(states_follow_drivers),
		cmocka_unit_test_setup_teardown(states_follow_holders, set_up, tear_down),
		cmocka_unit_test_setup_teardown(carrying_others_is_shared, set_up, tear_down),
		cmocka_unit_test_setup_teardown(an_unreadable_driver_is_no_state, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(a_device_has_its_fields, set_up, tear_down),
		cmocka_unit_test_setup_teardown(every_unknown_has_its_reason, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_state_that_is_known_has_no_reason, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(unreadable_ids_are_null, set_up, tear_down),
		cmocka_unit_test_setup_teardown(bars_are_rounded_up, set_up, tear_down),
		cmocka_unit_test_setup_teardown(holders_are_the_cards_and_once_each, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(critical_facts_are_told, set_up, tear_down),
		cmocka_unit_test_setup_teardown(foreign_members_block, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_group_without_isolation_is_not_viable, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(only_gpus_are_listed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(finding_names_the_card, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_iommu_is_told_as_it_is, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
