/* SPDX-License-Identifier: Apache-2.0 */
/* Any text as /proc/iomem. What is found must be of a function asked for, with a name. */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "host/iomem.h"

static void must(bool holds)
{
	if (!holds)
		abort();
}

static struct function *function_of(struct arena *arena, struct list *list, uint8_t bus)
{
	struct function *f = arena_new_of(arena, struct function);

	f->address.bus = bus;
	*list_add(arena, list, struct function *) = f;
	return f;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	CLEANUP(arena_freep) struct arena *arena = arena_new();
	const char *text = arena_strndup(arena, (const char *)bytes, n);
	struct list functions = { 0 }, found = { 0 };
	struct function *f = function_of(arena, &functions, 1);
	struct error err;
	int r;

	*list_add(arena, &f->bars, struct bar) =
		(struct bar){ .index = 1, .start = 0xe0000000, .bytes = 0x10000000 };
	*list_add(arena, &f->bars, struct bar) =
		(struct bar){ .index = 3, .start = 0xfffffffff0000000, .bytes = 0x10000000 };
	function_of(arena, &functions, 2);
	r = iomem_boot_framebuffers(text, &functions, arena, &found, &err);
	if (r < 0) {
		must(err.code == ERROR_SYSTEM && !found.n);
		return 0;
	}
	must((size_t)r == found.n && found.n <= 4); /* two BARs, and one outside for each */
	for (LIST_EACH(struct boot_framebuffer, fb, &found)) {
		must(fb->name && fb->name[0] && !strchr(fb->name, '\n'));
		must(fb->address.bus == 1 ? fb->bar == 1 || fb->bar == 3 || fb->bar == -1
					  : fb->address.bus == 2 && fb->bar == -1);
	}
	return 0;
}
