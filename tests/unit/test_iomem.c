/* SPDX-License-Identifier: Apache-2.0 */
/* The firmware's framebuffer in /proc/iomem. */
#include "unit.h"

#include "host/iomem.h"
#include "tree.h"

struct test_case {
	const char *name;
	const char *text;
	const char *expected;	/* "ADDRESS BAR NAME\n"…; NULL: an error */
};

static const struct test_case cases[] = {
	{ "a DRM driver has the card",
	  "00000000-00000fff : Reserved\n"
	  "e0000000-f1ffffff : PCI Bus 0000:01\n"
	  "  e0000000-efffffff : 0000:01:00.0\n"
	  "  f0000000-f1ffffff : 0000:01:00.0\n",
	  "" },
	{ "efifb, and the range of the firmware around it",
	  "00000000-00000fff : Reserved\n"
	  "e0000000-f1ffffff : PCI Bus 0000:01\n"
	  "  e0000000-efffffff : 0000:01:00.0\n"
	  "    e0000000-e02fffff : BOOTFB\n"
	  "      e0000000-e02fffff : efifb\n"
	  "  f0000000-f1ffffff : 0000:01:00.0\n",
	  "0000:01:00.0 1 efifb\n" },
	{ "BOOTFB alone", "e0000000-efffffff : 0000:01:00.0\n  e0000000-e02fffff : BOOTFB\n",
	  "0000:01:00.0 1 BOOTFB\n" },
	{ "simpledrm", "e0000000-efffffff : 0000:01:00.0\n  e0000000-e02fffff : simpledrm\n",
	  "0000:01:00.0 1 simpledrm\n" },
	{ "simple-framebuffer.0",
	  "e0000000-efffffff : 0000:01:00.0\n  e0000000-e02fffff : simple-framebuffer.0\n",
	  "0000:01:00.0 1 simple-framebuffer.0\n" },
	{ "vesafb", "e0000000-efffffff : 0000:01:00.0\n  e0000000-e02fffff : vesafb\n",
	  "0000:01:00.0 1 vesafb\n" },
	{ "efidrm, not nested (before the bus was scanned)", "e0000000-e02fffff : efidrm\n",
	  "0000:01:00.0 1 efidrm\n" },
	{ "above 4 GiB, on the other card",
	  "e0000000-efffffff : 0000:01:00.0\n"
	  "6000000000-7fffffffff : PCI Bus 0000:00\n"
	  "  6000000000-600fffffff : 0000:02:00.0\n"
	  "    6000000000-60007fffff : BOOTFB\n",
	  "0000:02:00.0 3 BOOTFB\n" },
	{ "both cards",
	  "e0000000-efffffff : 0000:01:00.0\n  e0000000-e02fffff : efifb\n"
	  "6000000000-600fffffff : 0000:02:00.0\n  6000000000-60007fffff : vesafb\n",
	  "0000:01:00.0 1 efifb\n0000:02:00.0 3 vesafb\n" },
	{ "outside of every BAR", "c0000000-c02fffff : efifb\n", "" },
	{ "straight behind a BAR, and straight before it",
	  "f0000000-f02fffff : efifb\ndff00000-dfffffff : BOOTFB\n", "" },
	{ "only a part in a BAR", "dff00000-e0000000 : BOOTFB\n", "0000:01:00.0 1 BOOTFB\n" },
	{ "at ports is no framebuffer", "0000e000-0000e07f : vesafb\n", "" },
	{ "names that only begin so", "e0000000-e02fffff : efifbx\ne0000000-e02fffff : BOOT\n", "" },
	{ "in a range of a function whose BARs are not known",
	  "a0000000-afffffff : 0000:03:00.0\n  a0000000-a02fffff : BOOTFB\n",
	  "0000:03:00.0 -1 BOOTFB\n" },
	{ "in a range of a function that was not asked for",
	  "a0000000-afffffff : 0000:09:00.0\n  a0000000-a02fffff : BOOTFB\n", "" },
	{ "not root: addresses are hidden",
	  "00000000-00000000 : PCI Bus 0000:01\n  00000000-00000000 : 0000:01:00.0\n"
	  "    00000000-00000000 : BOOTFB\n",
	  NULL },
	{ "nothing", "", NULL },
	{ "no iomem at all", "hello\nworld - 12 : efifb\n-\n : \nffff", NULL },
	{ "broken lines between good ones",
	  "zz\ne0000000-efffffff : 0000:01:00.0\n  e0000000-e02fffff: efifb\n"
	  "  e0000000 : efifb\n                                        e0000000-e02fffff : vesafb\n"
	  "  e0000000-e02fffff : efifb",
	  "0000:01:00.0 1 efifb\n" },
};

static struct function *function_of(struct arena *arena, struct list *list, const char *address)
{
	struct function *f = arena_new_of(arena, struct function);

	assert_true(pci_address_parse(address, &f->address));
	*list_add(arena, list, struct function *) = f;
	return f;
}

static void add_bar(struct arena *arena, struct function *f, struct bar bar)
{
	*list_add(arena, &f->bars, struct bar) = bar;
}

static void test_cases(void **state)
{
	CLEANUP(arena_freep) struct arena *arena = arena_new();
	struct list functions = { 0 }, found;
	struct function *f;
	struct error err;
	char text[512];
	size_t at;

	(void)state;
	f = function_of(arena, &functions, "0000:01:00.0");
	add_bar(arena, f, (struct bar){ .index = 0, .start = 0xf0300000, .bytes = 0x1000000 });
	add_bar(arena, f, (struct bar){ .index = 1, .start = 0xe0000000, .bytes = 0x10000000 });
	add_bar(arena, f, (struct bar){ .index = 5, .start = 0xe000, .bytes = 128, .io = true });
	f = function_of(arena, &functions, "0000:02:00.0");
	add_bar(arena, f, (struct bar){ .index = 3, .start = 0x6000000000, .bytes = 0x10000000 });
	function_of(arena, &functions, "0000:03:00.0");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		found = (struct list){ 0 };
		at = 0;
		text[0] = '\0';
		if (iomem_boot_framebuffers(cases[i].text, &functions, arena, &found, &err) < 0) {
			assert_int_equal(err.code, ERROR_SYSTEM);
			if (cases[i].expected)
				fail_msg("%s: %s", cases[i].name, err.message);
			continue;
		}
		for (LIST_EACH(struct boot_framebuffer, fb, &found))
			at += (size_t)snprintf(text + at, sizeof(text) - at, "%s %d %s\n",
					       pci_address_format(fb->address,
								  (char[PCI_ADDRESS_TEXT]){ 0 }),
					       fb->bar, fb->name);
		if (!cases[i].expected || strcmp(text, cases[i].expected))
			fail_msg("%s: expected\n%s\nfound\n%s", cases[i].name,
				 cases[i].expected ?: "an error", text);
	}
}

/* What anybody may ask: true is never wrong, and is said where it matters, also with hidden addresses. */
static void test_none_at_all(void **state)
{
	static const struct {
		const char *text;
		bool expected;
	} rows[] = {
		{ NULL, false },
		{ "", false },
		{ "hello\n", false },
		{ "00000000-00000000 : PCI Bus 0000:01\n  00000000-00000000 : 0000:01:00.0\n", true },
		{ "00000000-00000000 : PCI Bus 0000:01\n    00000000-00000000 : BOOTFB\n", false },
		{ "e0000000-e02fffff : efifbx\nhello\n", true },
		{ "00000000-00000fff : Reserved\nhello\n  00000000-00000000 : simple-framebuffer.0", false },
	};
	CLEANUP(arena_freep) struct arena *arena = arena_new();
	struct tree tree;

	(void)state;
	tree_make(&tree);
	for (size_t i = 0; i < ARRAY_SIZE(rows) + ARRAY_SIZE(cases); i++) {
		const struct test_case *c = i < ARRAY_SIZE(rows) ? NULL : &cases[i - ARRAY_SIZE(rows)];

		if (c || rows[i].text)
			tree_file(&tree, "proc/iomem", c ? c->text : rows[i].text);
		if (c ? iomem_no_framebuffers(&tree.root, arena) && (!c->expected || *c->expected)
		      : iomem_no_framebuffers(&tree.root, arena) != rows[i].expected)
			fail_msg("%s", c ? c->name : rows[i].text ?: "no file");
	}
	tree_remove(&tree);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_cases), cmocka_unit_test(test_none_at_all) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
