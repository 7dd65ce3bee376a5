/* SPDX-License-Identifier: Apache-2.0 */
/* What the host lives on: the search as a whole. See critical.h; the parts are critical_*.c. */
#include "host/critical.h"

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/fdpath.h"
#include "host/critical_parts.h"
#include "host/sysfs.h"

enum {
	FACTS_MAX = 16, /* for one function; a disk of a thousand volumes is told in few words */
	PATH_TEXT = 64,
	CLASS_NETWORK = 0x02,
};

/* In the order of the answer. */
static const char *const codes[] = { "critical", "console_card", "only_card", "unknown_carries" };

static bool is_asked_about(const struct critical_search *search, struct pci_address address)
{
	if (!search->only)
		return true;
	for (LIST_EACH(const struct pci_address, it, search->only))
		if (pci_address_equal(*it, address))
			return true;
	return false;
}

bool critical_concerns(const struct critical_search *search, const struct function *f)
{
	return !f->bridge && !driver_is_vfio(f->driver) && is_asked_about(search, f->address);
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

/* The facts of one function, the hard ones first; what is more than `max` becomes one line. */
static void gather(struct critical_search *search, const struct function *f, size_t max,
		   struct list *out)
{
	size_t n = 0, cut = 0;

	for (size_t i = 0; i < ARRAY_SIZE(codes); i++) {
		for (LIST_EACH(struct critical, fact, &search->facts)) {
			if (strcmp(fact->code, codes[i]) ||
			    !pci_address_equal(fact->address, f->address))
				continue;
			if (n++ < max)
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
		gather(&search, *f, FACTS_MAX, &found);
	*critical = found;
	return (int)found.n;
}

void critical_displays(const struct host_root *root, const struct inventory *inv,
		       const struct list *addresses, struct arena *arena, struct list *critical)
{
	struct critical_search search = { root, inv, arena, *critical, addresses };
	struct list found = { 0 };

	critical_consoles(&search);
	for (LIST_EACH(struct function *, f, &inv->functions))
		gather(&search, *f, SIZE_MAX, &found);
	*critical = found;
}

static bool any_below(const struct list *paths, const char *address)
{
	for (LIST_EACH(const char *, path, paths))
		if (sysfs_below(*path, address))
			return true;
	return false;
}

/* Where every disk and interface is; false when that cannot be listed. */
static bool list_paths(const struct host_root *root, struct arena *arena, struct list *paths)
{
	struct list interfaces;

	if (block_paths(root, arena, paths) < 0 ||
	    sysfs_class_list(root->fd, "net", arena, &interfaces) < 0)
		return false;
	for (LIST_EACH(const struct sysfs_entry, entry, &interfaces))
		if (entry->path)
			list_add_string(arena, paths, entry->path);
	return true;
}

/*
 * Could critical_disks() or critical_nics() find anything of these? Only where a disk or an
 * interface is below one, or it is a NIC whose interfaces are not seen; or when that cannot be
 * told.
 */
static bool may_carry(const struct host_root *root, const struct list *addresses,
		      struct arena *arena)
{
	char text[PCI_ADDRESS_TEXT], path[PATH_TEXT];
	struct list paths;
	uint64_t class;

	if (!list_paths(root, arena, &paths))
		return true;
	for (LIST_EACH(const struct pci_address, address, addresses)) {
		pci_address_format(*address, text);
		snprintf(path, sizeof(path), "sys/bus/pci/devices/%s/class", text);
		if (any_below(&paths, text) || fdpath_read_hex(root->fd, path, &class) < 0 ||
		    class >> 16 == CLASS_NETWORK)
			return true;
	}
	return false;
}

int critical_carried(const struct host_root *root, const struct list *addresses,
		     struct arena *arena, struct list *critical, struct error *err)
{
	CLEANUP(inventory_releasep) struct inventory *inv = NULL;
	struct critical_search search = { .root = root, .arena = arena };
	struct inventory_changes all = { .all = true, .brief = true };
	const struct function *f;

	*critical = (struct list){ 0 };
	if (!may_carry(root, addresses, arena))
		return 0;
	search.inv = inv = inventory_build(root, NULL, NULL, NULL, &all, err);
	if (!inv || critical_disks(&search, err) || critical_nics(&search, err))
		return -1;
	for (LIST_EACH(const struct pci_address, address, addresses)) {
		f = inventory_function(inv, *address);
		if (f)
			gather(&search, f, FACTS_MAX, critical);
	}
	return (int)critical->n;
}
