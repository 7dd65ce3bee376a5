/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /proc/iomem: one range a line, "start-end : name" in hexadecimal, each level two blanks further
 * in (kernel/resource.c, r_show). See iomem.h.
 */
#include "host/iomem.h"

#include <ctype.h>
#include <string.h>

#include "base/fdpath.h"

enum {
	TEXT_MAX = 4 << 20,
	LEVELS = 16, /* the kernel prints 5 (MAX_IORES_LEVEL) */
	NO_BAR = -1,
};

struct range {
	size_t level;
	uint64_t start, end;
	const char *name;
	size_t name_len;
};

struct walk {
	const struct list *functions;
	struct arena *arena;
	struct list *found;
	size_t first;		    /* elements that `found` had before */
	struct range chain[LEVELS]; /* the ranges that the current line lies in, and itself */
};

/* drivers/video/fbdev/{efifb,vesafb,simplefb}.c, drivers/gpu/drm/sysfb, drivers/firmware/sysfb*.c
 */
static const char *const framebuffers[] = {
	"BOOTFB",    "efidrm",	 "efifb",   "simple-framebuffer",
	"simpledrm", "simplefb", "vesadrm", "vesafb",
};

static bool is_framebuffer(const struct range *range)
{
	for (size_t i = 0; i < ARRAY_SIZE(framebuffers); i++) {
		size_t n = strlen(framebuffers[i]);

		if (range->name_len >= n && !memcmp(range->name, framebuffers[i], n) &&
		    (range->name_len == n || range->name[n] == '.'))
			return true;
	}
	return false;
}

static bool parse_number(const char **at, uint64_t *ret)
{
	char *after;

	if (!isxdigit((unsigned char)**at))
		return false;
	*ret = strtoull(*at, &after, 16);
	*at = after;
	return true;
}

/* The line at *text, which moves to the next one. False when the line is no range. */
static bool parse_line(const char **text, struct range *ret)
{
	const char *at = *text, *end = strchrnul(at, '\n');
	struct range range = { 0 };
	size_t blanks = strspn(at, " ");

	*text = *end ? end + 1 : end;
	range.level = blanks / 2;
	at += blanks;
	if (!parse_number(&at, &range.start) || *at++ != '-' || !parse_number(&at, &range.end) ||
	    strncmp(at, " : ", 3))
		return false;
	range.name = at + 3;
	range.name_len = (size_t)(end - range.name);
	*ret = range;
	return true;
}

static void add(struct walk *walk, const struct function *f, int bar, const struct range *range)
{
	const char *name = arena_strndup(walk->arena, range->name, range->name_len);
	struct boot_framebuffer *known = walk->found->items;

	/* BOOTFB is the range, its child the driver that is in it: the child is what must go */
	for (size_t i = walk->first; i < walk->found->n; i++) {
		if (known[i].bar == bar && pci_address_equal(known[i].address, f->address)) {
			known[i].name = name;
			return;
		}
	}
	*list_add(walk->arena, walk->found,
		  struct boot_framebuffer) = (struct boot_framebuffer){ f->address, bar, name };
}

/* By the BARs, as sysfs shows them. */
static bool add_by_bar(struct walk *walk, const struct range *range)
{
	bool found = false;

	for (LIST_EACH(struct function *, f, walk->functions)) {
		for (LIST_EACH(struct bar, bar, &(*f)->bars)) {
			if (bar->io || !bar->start || !bar->bytes || range->end < bar->start ||
			    range->start > bar->start + (bar->bytes - 1))
				continue;
			add(walk, *f, bar->index, range);
			found = true;
		}
	}
	return found;
}

/* By the ranges around it: a BAR's is named after its function (its BARs could not be read). */
static void add_by_name(struct walk *walk, const struct range *range)
{
	char text[PCI_ADDRESS_TEXT];

	for (size_t level = range->level; level-- > 0;) {
		const struct range *above = &walk->chain[level];

		if (above->name_len >= sizeof(text))
			continue;
		for (LIST_EACH(struct function *, f, walk->functions)) {
			pci_address_format((*f)->address, text);
			if (strlen(text) == above->name_len &&
			    !memcmp(text, above->name, above->name_len)) {
				add(walk, *f, NO_BAR, range);
				return;
			}
		}
	}
}

int iomem_boot_framebuffers(const char *text, const struct list *functions, struct arena *arena,
			    struct list *found, struct error *err)
{
	struct walk walk = { functions, arena, found, found->n, { { 0 } } };
	struct range range;
	bool shown = false;

	while (*text) {
		if (!parse_line(&text, &range) || range.level >= LEVELS)
			continue;
		shown |= range.end != 0;
		walk.chain[range.level] = range;
		if (is_framebuffer(&range) && range.end && !add_by_bar(&walk, &range))
			add_by_name(&walk, &range);
	}
	if (!shown) {
		error_set(err, ERROR_SYSTEM, "/proc/iomem hides its addresses");
		return error_hint(err, "only root sees them; run this as root");
	}
	return (int)(found->n - walk.first);
}

bool iomem_no_framebuffers(const struct host_root *root, struct arena *arena)
{
	struct range range;
	const char *text;
	bool any = false;

	if (fdpath_read_all(root->fd, "proc/iomem", TEXT_MAX, arena, &text) < 0)
		return false;
	while (*text) {
		if (!parse_line(&text, &range))
			continue;
		any = true;
		if (is_framebuffer(&range))
			return false;
	}
	return any;
}
