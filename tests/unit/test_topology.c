/* SPDX-License-Identifier: Apache-2.0 */
/* Which functions make a card, which a group, and what a member of a group is to others. */
#include "unit.h"

#include "base/rows.h"
#include "host/topology.h"

enum { FUNCTIONS_MAX = 16 };

/* A function as a row: its address, and the bridges above it, outermost first. */
struct row_function {
	const char *address;
	unsigned vendor, class;
	const char *parents[5];
	const char *physfn;
};

struct machine {
	struct arena *arena;
	struct list functions, cards;
	int card_of[FUNCTIONS_MAX];
};

static struct pci_address address_of(const char *text)
{
	struct pci_address address;

	assert_true(pci_address_parse(text, &address));
	return address;
}

static struct function *function_of(struct arena *arena, const struct row_function *row)
{
	struct function *f = arena_new_of(arena, struct function);

	f->address = address_of(row->address);
	pci_address_format(f->address, f->text);
	f->vendor = (uint16_t)row->vendor;
	f->class = row->class;
	f->bridge = row->class >> 8 == 0x0604;
	f->group = NO_GROUP;
	for (int i = 0; row->parents[i]; i++)
		*list_add(arena, &f->parents, struct pci_address) = address_of(row->parents[i]);
	if (row->physfn) {
		f->physfn = arena_new_of(arena, struct pci_address);
		*f->physfn = address_of(row->physfn);
	}
	return f;
}

static void make(struct machine *m, const struct row_function *rows, size_t n)
{
	struct class_filter filter = { 0 };

	*m = (struct machine){ .arena = arena_new() };
	assert_true(n <= FUNCTIONS_MAX);
	for (size_t i = 0; i < n; i++)
		*list_add(m->arena, &m->functions, struct function *) = function_of(m->arena,
										    &rows[i]);
	topology_cards(&m->functions, &filter, m->arena, &m->cards, m->card_of);
}
#define MAKE(m, rows) make((m), (rows), ARRAY_SIZE(rows))

/* "slot: function function | bridge bridge; …" */
static const char *told(const struct machine *m)
{
	static char text[1024];
	size_t at = 0;

	text[0] = '\0';
#define TELL(...) at += (size_t)snprintf(text + at, sizeof(text) - at, __VA_ARGS__)
	for (LIST_EACH(struct card, card, &m->cards)) {
		TELL("%s:", card->text + 5);
		for (LIST_EACH(struct function *, f, &card->functions))
			TELL(" %s", (*f)->text + 5);
		if (card->bridges.n)
			TELL(" |");
		for (LIST_EACH(struct function *, f, &card->bridges))
			TELL(" %s", (*f)->text + 5);
		TELL("; ");
	}
#undef TELL
	return text;
}

static void same_slot_is_one_card(void **state UNUSED)
{
	static const struct row_function rows[] = {
		{ "0000:00:01.0", 0x8086, 0x060400, { NULL }, NULL },
		{ "0000:00:02.0", 0x8086, 0x030000, { NULL }, NULL },
		{ "0000:01:00.0", 0x10de, 0x040300, { "0000:00:01.0" }, NULL },
		{ "0000:01:00.1", 0x10de, 0x030000, { "0000:00:01.0" }, NULL },
		{ "0000:01:00.2", 0x10de, 0x0c0330, { "0000:00:01.0" }, NULL },
		{ "0000:02:00.0", 0x8086, 0x020000, { "0000:00:02.0" }, NULL },
	};
	struct machine m;

	MAKE(&m, rows);
	/* the GPU comes first, wherever it is on the slot */
	assert_string_equal(told(&m), "00:02.0: 00:02.0; 01:00.1: 01:00.1 01:00.0 01:00.2; ");
	assert_int_equal(m.card_of[0], -1);
	assert_int_equal(m.card_of[1], 0);
	assert_int_equal(m.card_of[2], 1);
	assert_int_equal(m.card_of[5], -1);
	arena_free(m.arena);
}

/* The VFs of 08:00.0 share its slot by address only. */
static void a_vf_is_a_card_of_its_own(void **state UNUSED)
{
	static const struct row_function rows[] = {
		{ "0000:08:00.0", 0x10de, 0x030200, { "0000:00:03.0" }, NULL },
		{ "0000:08:00.1", 0x10de, 0x040300, { "0000:00:03.0" }, NULL },
		{ "0000:08:00.4", 0x10de, 0x030200, { "0000:00:03.0" }, "0000:08:00.0" },
		{ "0000:08:00.5", 0x10de, 0x030200, { "0000:00:03.0" }, "0000:08:00.0" },
	};
	struct machine m;

	MAKE(&m, rows);
	assert_string_equal(told(&m), "08:00.0: 08:00.0 08:00.1; 08:00.4: 08:00.4; "
				      "08:00.5: 08:00.5; ");
	arena_free(m.arena);
}

#define ARC_UP	  "0000:01:00.0"
#define ARC_DOWN1 "0000:02:01.0"
#define ARC_DOWN2 "0000:02:04.0"

/* Intel Arc: a switch of the board's own, its audio on another bus. */
static void a_board_may_have_a_switch(void **state UNUSED)
{
	static const struct row_function rows[] = {
		{ "0000:00:01.0", 0x8086, 0x060400, { NULL }, NULL },
		{ ARC_UP, 0x8086, 0x060400, { "0000:00:01.0" }, NULL },
		{ ARC_DOWN1, 0x8086, 0x060400, { "0000:00:01.0", ARC_UP }, NULL },
		{ ARC_DOWN2, 0x8086, 0x060400, { "0000:00:01.0", ARC_UP }, NULL },
		{ "0000:03:00.0", 0x8086, 0x030000, { "0000:00:01.0", ARC_UP, ARC_DOWN1 }, NULL },
		{ "0000:04:00.0", 0x8086, 0x040300, { "0000:00:01.0", ARC_UP, ARC_DOWN2 }, NULL },
		{ "0000:05:00.0", 0x8086, 0x020000, { "0000:00:1c.0" }, NULL },
	};
	struct machine m;

	MAKE(&m, rows);
	assert_string_equal(told(&m), "03:00.0: 03:00.0 04:00.0 | 01:00.0 02:01.0 02:04.0; ");
	arena_free(m.arena);
}

/* Its SR-IOV VFs are below the same port, and do not make it another's. */
static void a_switch_is_own_with_vfs(void **state UNUSED)
{
	static const struct row_function rows[] = {
		{ "0000:00:01.0", 0x8086, 0x060400, { NULL }, NULL },
		{ ARC_UP, 0x8086, 0x060400, { "0000:00:01.0" }, NULL },
		{ ARC_DOWN1, 0x8086, 0x060400, { "0000:00:01.0", ARC_UP }, NULL },
		{ "0000:03:00.0", 0x8086, 0x030000, { "0000:00:01.0", ARC_UP, ARC_DOWN1 }, NULL },
		{ "0000:03:01.0",
		  0x8086,
		  0x030000,
		  { "0000:00:01.0", ARC_UP, ARC_DOWN1 },
		  "0000:03:00.0" },
	};
	struct machine m;

	MAKE(&m, rows);
	assert_string_equal(told(&m), "03:00.0: 03:00.0 | 01:00.0 02:01.0; 03:01.0: 03:01.0; ");
	arena_free(m.arena);
}

/* Two GPUs below one switch: each is a card, the switch is neither's. */
static void a_shared_switch_is_nobodys(void **state UNUSED)
{
	static const struct row_function rows[] = {
		{ "0000:00:01.0", 0x8086, 0x060400, { NULL }, NULL },
		{ ARC_UP, 0x10de, 0x060400, { "0000:00:01.0" }, NULL },
		{ ARC_DOWN1, 0x10de, 0x060400, { "0000:00:01.0", ARC_UP }, NULL },
		{ ARC_DOWN2, 0x10de, 0x060400, { "0000:00:01.0", ARC_UP }, NULL },
		{ "0000:03:00.0", 0x10de, 0x030000, { "0000:00:01.0", ARC_UP, ARC_DOWN1 }, NULL },
		{ "0000:04:00.0", 0x10de, 0x030000, { "0000:00:01.0", ARC_UP, ARC_DOWN2 }, NULL },
	};
	struct machine m;

	MAKE(&m, rows);
	assert_string_equal(told(&m), "03:00.0: 03:00.0; 04:00.0: 04:00.0; ");
	arena_free(m.arena);
}

/* A GPU and a foreign disk below a switch of a third maker; and of the GPU's own. */
static void foreign_neighbours_do_not_join(void **state UNUSED)
{
	struct row_function rows[] = {
		{ "0000:00:01.0", 0x8086, 0x060400, { NULL }, NULL },
		{ ARC_UP, 0x10b5, 0x060400, { "0000:00:01.0" }, NULL },
		{ ARC_DOWN1, 0x10b5, 0x060400, { "0000:00:01.0", ARC_UP }, NULL },
		{ ARC_DOWN2, 0x10b5, 0x060400, { "0000:00:01.0", ARC_UP }, NULL },
		{ "0000:03:00.0", 0x8086, 0x030000, { "0000:00:01.0", ARC_UP, ARC_DOWN1 }, NULL },
		{ "0000:04:00.0", 0x144d, 0x010802, { "0000:00:01.0", ARC_UP, ARC_DOWN2 }, NULL },
	};
	struct machine m;

	MAKE(&m, rows);
	assert_string_equal(told(&m), "03:00.0: 03:00.0; ");
	arena_free(m.arena);
	for (int i = 1; i <= 3; i++)
		rows[i].vendor = 0x8086;
	MAKE(&m, rows);
	assert_string_equal(told(&m), "03:00.0: 03:00.0; ");
	arena_free(m.arena);
}

/* A root port and a bridge of Intel above an Intel GPU are no switch of the board. */
static void ports_of_the_machine_are_not_the_cards(void **state UNUSED)
{
	static const struct row_function rows[] = {
		{ "0000:00:01.0", 0x8086, 0x060400, { NULL }, NULL },
		{ "0000:01:00.0", 0x8086, 0x060400, { "0000:00:01.0" }, NULL },
		{ "0000:02:01.0", 0x8086, 0x030000, { "0000:00:01.0", "0000:01:00.0" }, NULL },
		{ "0000:02:02.0", 0x8086, 0x020000, { "0000:00:01.0", "0000:01:00.0" }, NULL },
	};
	struct machine m;

	MAKE(&m, rows);
	assert_string_equal(told(&m), "02:01.0: 02:01.0; ");
	arena_free(m.arena);
}

static void groups_are_by_number(void **state UNUSED)
{
	static const struct row_function rows[] = {
		{ "0000:00:01.0", 0x8086, 0x060400, { NULL }, NULL },
		{ "0000:00:02.0", 0x8086, 0x030000, { NULL }, NULL },
		{ "0000:00:03.0", 0x8086, 0x020000, { NULL }, NULL },
		{ "0000:01:00.0", 0x10de, 0x030000, { "0000:00:01.0" }, NULL },
	};
	static const int numbers[] = { 12, 2, NO_GROUP, 12 };
	struct list groups = { 0 };
	struct group *group;
	struct machine m;

	MAKE(&m, rows);
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		((struct function **)m.functions.items)[i]->group = numbers[i];
	((struct function **)m.functions.items)[1]->group_is_noiommu = true;
	topology_groups(&m.functions, m.arena, &groups);
	assert_int_equal(groups.n, 2);
	group = groups.items;
	assert_int_equal(group[0].number, 2);
	assert_true(group[0].noiommu);
	assert_int_equal(group[1].number, 12);
	assert_false(group[1].noiommu);
	assert_int_equal(group[1].functions.n, 2);
	arena_free(m.arena);
}

static void tells_roles(void **state UNUSED)
{
	static const struct {
		unsigned class;
		bool bridge;
		enum group_role role;
	} cases[] = {
		{ 0x030000, false, ROLE_GPU },	 { 0x030200, false, ROLE_GPU },
		{ 0x040300, false, ROLE_AUDIO }, { 0x0c0330, false, ROLE_USB },
		{ 0x0c8000, false, ROLE_UCSI },	 { 0x060400, true, ROLE_BRIDGE },
		{ 0x068000, false, ROLE_OTHER }, { 0x010601, false, ROLE_OTHER },
		{ 0x0c0500, false, ROLE_OTHER },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct function f = { .class = cases[i].class, .bridge = cases[i].bridge };

		assert_int_equal(function_role(&f, NULL), cases[i].role);
	}
}

/* What the kernel's iommu_group_claim_dma_owner() would say. */
static void tells_what_blocks(void **state UNUSED)
{
	static const struct {
		const char *driver;
		bool bridge, blocks;
	} cases[] = {
		{ NULL, false, false },
		{ "vfio-pci", false, false },
		{ "nvgrace-gpu-vfio-pci", false, false },
		{ "mlx5_vfio_pci", false, false },
		{ "xe-vfio-pci", false, false },
		{ "nvidia-vgpu-vfio", false, false },
		{ "pci-stub", false, false },
		{ "pcieport", false, false },
		{ "shpchp", true, false },
		{ "pci-pf-stub", false, true },
		{ "xhci_hcd", false, true },
		{ "nvidia-nvswitch", false, true },
		{ "snd_hda_intel", false, true },
		{ "vfio_pci_lookalike", false, true },
	};
	struct arena *arena = arena_new();
	struct function f = { .address = { 0, 1, 0, 0 } }, *own = &f;
	struct card card = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		f.driver = cases[i].driver;
		f.bridge = cases[i].bridge;
		if (function_blocks(&f, NULL) != cases[i].blocks)
			fail_msg("%s", cases[i].driver ? cases[i].driver : "no driver");
	}
	f.bridge = false;
	f.driver = "nouveau";
	*list_add(arena, &card.functions, struct function *) = own;
	assert_false(function_blocks(&f, &card)); /* the card itself is not in its own way */
	f.driver = NULL; /* not unbound, but unreadable: nothing says that it does no harm */
	*list_add(arena, &f.unknown, struct row_pair) = (struct row_pair){ "driver", "unreadable" };
	assert_true(function_blocks(&f, NULL));
	arena_free(arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(same_slot_is_one_card),
		cmocka_unit_test(a_vf_is_a_card_of_its_own),
		cmocka_unit_test(a_board_may_have_a_switch),
		cmocka_unit_test(a_switch_is_own_with_vfs),
		cmocka_unit_test(a_shared_switch_is_nobodys),
		cmocka_unit_test(foreign_neighbours_do_not_join),
		cmocka_unit_test(ports_of_the_machine_are_not_the_cards),
		cmocka_unit_test(groups_are_by_number),
		cmocka_unit_test(tells_roles),
		cmocka_unit_test(tells_what_blocks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
