/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Display: the card that the host's console is on, and the only card. See critical.h. Sources:
 * drivers/pci/vgaarb.c (boot_vga), drivers/tty/vt/vt.c (vtconsole), drivers/firmware/sysfb*.c.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/fdpath.h"
#include "host/critical_parts.h"
#include "host/sysfs.h"

enum { TEXT = 512, CLASS_DISPLAY = 0x03 };

struct console {
	bool read;	       /* what follows is known */
	const char *active;    /* words of /sys/class/tty/console/active; NULL unknown */
	bool on_vt;	       /* one of them is a virtual terminal, or that is not known */
	bool told;	       /* there is a list of vtconsoles */
	const char *vtconsole; /* name of the bound one that shows something; NULL none */
	bool fbcon;	       /* it is one of framebuffers */
};

static const char *text_of(struct critical_search *search, const char *path)
{
	char text[TEXT];

	if (fdpath_attribute(search->root->fd, path, text, sizeof(text)) < 0)
		return NULL;
	return arena_strdup(search->arena, text);
}

/* Words like "tty0", "ttyS0 tty0": a digit after "tty" is a virtual terminal. */
static bool names_vt(const char *active)
{
	for (const char *at = active; (at = strstr(at, "tty")); at += 3)
		if (at[3] >= '0' && at[3] <= '9')
			return true;
	return false;
}

static void read_vtconsoles(struct critical_search *search, struct console *console)
{
	struct list names = { 0 };
	char path[SYSFS_PATH];
	const char *bind, *name;

	if (fdpath_list(search->root->fd, "sys/class/vtconsole", search->arena, &names) < 0)
		return;
	console->told = names.n;
	for (LIST_EACH(const char *, entry, &names)) {
		snprintf(path, sizeof(path), "sys/class/vtconsole/%s/bind", *entry);
		bind = text_of(search, path);
		snprintf(path, sizeof(path), "sys/class/vtconsole/%s/name", *entry);
		name = text_of(search, path);
		if (!bind || bind[0] != '1' || !name || strstr(name, "dummy"))
			continue;
		console->vtconsole = name;
		console->fbcon |= strstr(name, "frame buffer") != NULL;
	}
}

/* Read when it is wanted: mostly nobody asks about a card that has anything to do with it. */
static const struct console *read_console(struct critical_search *search, struct console *console)
{
	if (console->read)
		return console;
	console->read = true;
	console->active = text_of(search, "sys/class/tty/console/active");
	console->on_vt = !console->active || names_vt(console->active);
	read_vtconsoles(search, console);
	return console;
}

static const char *evidence_of(struct critical_search *search, struct console *of, const char *first)
{
	const struct console *console = read_console(search, of);

	return arena_printf(search->arena, "%s; console: %s; vtconsole: %s", first,
			    console->active ?: "not told", console->vtconsole ?: "none bound");
}

/* The firmware's display. True when there is one. */
static bool add_boot_vga(struct critical_search *search, struct console *console)
{
	bool found = false;

	for (LIST_EACH(struct function *, f, &search->inv->functions)) {
		if ((*f)->boot_vga != 1)
			continue;
		found = true;
		if (critical_concerns(search, *f))
			critical_add(search, *f, "console_card",
				     read_console(search, console)->on_vt
					     ? "the host's console is on it: it is the display of the firmware"
					     : "it is the display of the firmware",
				     evidence_of(search, console, "boot_vga is 1"));
	}
	return found;
}

/* Where fb0 is: "" when it belongs to no function (a framebuffer of the firmware's), NULL: none. */
static const char *fb0_path(struct critical_search *search)
{
	struct pci_address address;
	char path[SYSFS_PATH];

	if (sysfs_class_path(search->root->fd, "graphics", "fb0", path))
		return NULL;
	if (!sysfs_last_address(path, &address) &&
	    sysfs_link_path(search->root->fd, "sys/class/graphics/fb0/device", path))
		return "";
	return sysfs_last_address(path, &address) ? arena_strdup(search->arena, path) : "";
}

/* True when it lies in a function. */
static bool add_fb0(struct critical_search *search, struct console *console, const char *path)
{
	const struct console *now;
	bool found = false;

	for (LIST_EACH(struct function *, f, &search->inv->functions)) {
		if ((*f)->bridge || !sysfs_below(path, (*f)->text))
			continue;
		found = true;
		if (!critical_concerns(search, *f) || (*f)->boot_vga == 1) /* that was told */
			continue;
		now = read_console(search, console);
		if (now->fbcon || !now->told)
			critical_add(search, *f, "console_card",
				     "the host's console is on its framebuffer, /dev/fb0",
				     evidence_of(search, console, "/sys/class/graphics/fb0"));
	}
	return found;
}

static const struct function *gpu_of(const struct card *card)
{
	return card->functions.n ? *(struct function **)card->functions.items : NULL;
}

/* The console's framebuffer lies in one of the cards, and nothing says in which. */
static void doubt_cards(struct critical_search *search, struct console *console)
{
	for (LIST_EACH(struct card, card, &search->inv->cards)) {
		const struct function *f = gpu_of(card);

		if (f && !f->physfn && critical_concerns(search, f) && f->class >> 16 == CLASS_DISPLAY)
			critical_add(search, f, "unknown_carries",
				     "the host's console may be on it: whose framebuffer /dev/fb0 "
				     "is cannot be told",
				     evidence_of(search, console, "/sys/class/graphics/fb0"));
	}
}

static void add_only_card(struct critical_search *search)
{
	const struct function *only = NULL;
	size_t n = 0;

	for (LIST_EACH(struct card, card, &search->inv->cards)) {
		const struct function *f = gpu_of(card);

		if (!f || f->physfn)
			continue;
		only = f;
		n++;
	}
	if (n == 1 && critical_concerns(search, only))
		critical_add(search, only, "only_card",
			     "it is the only card of the host, which then has no display",
			     "/sys/bus/pci/devices shows no other");
}

void critical_consoles(struct critical_search *search)
{
	struct console console = { 0 };
	bool found = add_boot_vga(search, &console);
	const char *fb0 = fb0_path(search);

	if (fb0 && *fb0)
		found |= add_fb0(search, &console, fb0);
	if (!found && fb0 && read_console(search, &console)->on_vt && console.fbcon)
		doubt_cards(search, &console);
	add_only_card(search);
}
