/* SPDX-License-Identifier: Apache-2.0 */
/* What the host lives on: the search as a whole. See critical.h; the parts are critical_*.c. */
#include "host/critical.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "host/critical_parts.h"

enum { FACTS_MAX = 16 }; /* for one function; a disk of a thousand volumes is told in few words */

/* In the order of the answer. */
static const char *const codes[] = { "critical", "console_card", "only_card", "unknown_carries" };

bool critical_concerns(const struct function *f)
{
	return !f->bridge && !driver_is_vfio(f->driver);
}

static const char *clean(struct arena *arena, const char *text)
{
	static const char more[] = "…";
	size_t n = strlen(text);
	char *copy;

	if (n >= CRITICAL_WHY) {
		n = CRITICAL_WHY - sizeof(more);
		while (n && (text[n] & 0xc0) == 0x80) /* not within a character */
			n--;
		copy = arena_printf(arena, "%.*s%s", (int)n, text, more);
	} else {
		copy = arena_strdup(arena, text);
	}
	for (char *c = copy; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			*c = '?';
	return copy;
}

void critical_add(struct critical_search *search, const struct function *f, const char *code,
		  const char *why, const char *evidence)
{
	why = clean(search->arena, why);
	for (LIST_EACH(struct critical, known, &search->facts))
		if (!strcmp(known->code, code) && pci_address_equal(known->address, f->address) &&
		    !strcmp(known->why, why))
			return;
	*list_add(search->arena, &search->facts, struct critical) =
		(struct critical){ f->address, code, why, clean(search->arena, evidence) };
}

void critical_doubt(struct critical_search *search, struct list *doubts, const char *evidence,
		    const char *fmt, ...)
{
	char why[2 * CRITICAL_WHY]; /* clean() tells that it cut */
	va_list args;

	va_start(args, fmt);
	vsnprintf(why, sizeof(why), fmt, args);
	va_end(args);
	*list_add(search->arena, doubts, struct critical_doubt) = (struct critical_doubt){
		arena_strdup(search->arena, why), arena_strdup(search->arena, evidence)
	};
}

bool critical_unreadable(int r)
{
	return r != -EMFILE && r != -ENFILE && r != -ENOMEM && r != -EBADF;
}

/* The facts of one function, the hard ones first; what is too much becomes one line. */
static void gather(struct critical_search *search, const struct function *f, struct list *out)
{
	size_t n = 0, cut = 0;

	for (size_t i = 0; i < ARRAY_SIZE(codes); i++) {
		for (LIST_EACH(struct critical, fact, &search->facts)) {
			if (strcmp(fact->code, codes[i]) ||
			    !pci_address_equal(fact->address, f->address))
				continue;
			if (n++ < FACTS_MAX)
				*list_add(search->arena, out, struct critical) = *fact;
			else
				cut++;
		}
	}
	if (cut)
		((struct critical *)out->items)[out->n - 1].why = arena_printf(
			search->arena, "carries %zu more things", cut + 1);
}

int critical_find(const struct host_root *root, const struct inventory *inv, struct arena *arena,
		  struct list *critical, struct error *err)
{
	struct critical_search search = { .root = root, .inv = inv, .arena = arena };
	struct list found = { 0 };

	if (critical_disks(&search, err) || critical_nics(&search, err))
		return -1;
	critical_consoles(&search);
	for (LIST_EACH(struct function *, f, &inv->functions))
		gather(&search, *f, &found);
	*critical = found;
	return (int)found.n;
}
