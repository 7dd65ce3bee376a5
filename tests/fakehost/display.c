/* SPDX-License-Identifier: Apache-2.0 */
/* drm, sound, graphics, vtconsole and usb devices; see display.h and README.md. */
#include "display.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "child.h"
#include "host.h"
#include "tables.h"

struct display {
	struct display *next;
	unsigned card, node; /* node: the render node, 0: none */
	char *connectors;    /* "HDMI-A-1:connected,DP-1:disconnected" */
	char *name;
	const struct function *f;
	struct child *child;
};

static struct display *framebuffers;

static struct display *new_display(struct line *l, const char *what, struct function **f,
				   struct child **child, void (*make)(struct child *))
{
	const char *address = line_word(l), *driver = line_key(l, "driver");
	struct display *d;

	*f = address ? host_function(address) : NULL;
	if (!*f) {
		host_complain("%s: there is no function '%s'", what, address ? address : "");
		return NULL;
	}
	d = must_alloc(sizeof(*d));
	d->f = *f;
	*child = d->child = child_new(*f, driver, d, make);
	return d;
}

static void add_dev(struct child *c, const char *dir, const char *name)
{
	char *path = text_format("dev/%s", dir);

	bunch_add(&c->nodes, node_text(node_dir(NULL, path), name, 0660, "%s", ""));
	free(path);
}

/* ---- drm ---- */

static void add_connectors(struct child *c, const struct display *d, struct node *card)
{
	const char *at = d->connectors;
	char word[64], name[96];

	while (at && text_next(&at, ",", word, sizeof(word))) {
		size_t len = strcspn(word, ":");
		struct node *n;

		snprintf(name, sizeof(name), "%s-%.*s", card->name, (int)len, word);
		n = child_device(c, card, name, "drm", "DEVTYPE=drm_connector\n");
		node_text(n, "status", 0644, "%s\n", word[len] ? word + len + 1 : "disconnected");
		node_text(n, "enabled", 0444,
			  strstr(word, ":connected") ? "enabled\n" : "disabled\n");
	}
}

static struct node *add_minor(struct child *c, const char *kind, unsigned minor, unsigned number)
{
	char name[32], env[96];
	struct node *n;

	snprintf(name, sizeof(name), "%s%u", kind, number);
	snprintf(env, sizeof(env), "MAJOR=226\nMINOR=%u\nDEVNAME=dri/%s\nDEVTYPE=drm_minor\n",
		 minor, name);
	n = child_device(c, node_dir(c->under->dir, "drm"), name, "drm", env);
	node_text(n, "dev", 0444, "226:%u\n", minor);
	add_dev(c, "dri", name);
	return n;
}

static void make_drm(struct child *c)
{
	const struct display *d = c->data;

	add_connectors(c, d, add_minor(c, "card", d->card, d->card));
	if (d->node)
		add_minor(c, "renderD", d->node, d->node);
}

/* `drm ADDR card=N [render=N] [connectors=NAME:STATUS,...] [driver=]` */
int display_drm_line(struct line *l)
{
	struct function *f;
	struct child *c;
	struct display *d = new_display(l, "drm", &f, &c, make_drm);
	const char *connectors = line_key(l, "connectors");
	int r;

	if (!d)
		return -EINVAL;
	d->connectors = connectors ? text_dup(connectors) : NULL;
	r = line_number(l, "card", 63, &d->card);
	return r ? r : line_number(l, "render", 191, &d->node);
}

/* ---- sound ---- */

static void make_sound(struct child *c)
{
	const struct display *d = c->data;
	char name[32], env[96];
	struct node *card;

	snprintf(name, sizeof(name), "card%u", d->card);
	card = child_device(c, node_dir(c->under->dir, "sound"), name, "sound", "");
	node_text(card, "id", 0644, "%s\n", d->name);
	node_text(card, "number", 0444, "%u\n", d->card);
	for (unsigned i = 0; i < 3; i++) {
		snprintf(name, sizeof(name),
			 i == 0	  ? "controlC%u"
			 : i == 1 ? "hwC%uD0"
				  : "pcmC%uD3p",
			 d->card);
		snprintf(env, sizeof(env), "MAJOR=116\nMINOR=%u\nDEVNAME=snd/%s\n",
			 d->card * 32 + i, name);
		child_device(c, card, name, "sound", env);
		add_dev(c, "snd", name);
	}
}

/* `sound ADDR card=N [name=] [driver=]` */
int display_sound_line(struct line *l)
{
	struct function *f;
	struct child *c;
	struct display *d = new_display(l, "sound", &f, &c, make_sound);
	const char *name = line_key(l, "name");

	if (!d)
		return -EINVAL;
	d->name = text_dup(name ? name : "HDMI");
	return line_number(l, "card", 31, &d->card);
}

/* ---- framebuffers ---- */

static int fb_show(void *owner, const struct attr *attr, struct text *out)
{
	(void)owner;
	(void)attr;
	for (const struct display *d = framebuffers; d; d = d->next)
		if (d->child->count)
			text_addf(out, "%u %s\n", d->card, d->name);
	return 0;
}

static const struct attr fb_attr = { .name = "fb", .mode = 0444, .show = fb_show };

static void add_framebuffer(struct display *d)
{
	struct display **end = &framebuffers;

	while (*end)
		end = &(*end)->next;
	*end = d;
}

static void make_fb_at(struct child *c, struct node *parent)
{
	const struct display *d = c->data;
	char name[16], env[64];
	struct node *n, *proc = node_dir(NULL, "proc");

	snprintf(name, sizeof(name), "fb%u", d->card);
	snprintf(env, sizeof(env), "MAJOR=29\nMINOR=%u\nDEVNAME=fb%u\n", d->card, d->card);
	n = child_device(c, parent, name, "graphics", env);
	node_text(n, "name", 0444, "%s\n", d->name);
	node_text(n, "dev", 0444, "29:%u\n", d->card);
	add_dev(c, "", name);
	if (!node_child(proc, "fb"))
		node_file(proc, &fb_attr, NULL);
}

static void make_fb(struct child *c)
{
	make_fb_at(c, node_dir(c->under->dir, "graphics"));
}

/* `fb N ADDR name=TEXT [driver=]`: of the function's own driver */
int display_fb_line(struct line *l)
{
	const char *number = line_word(l), *name = line_key(l, "name");
	struct function *f;
	struct child *c;
	struct display *d = new_display(l, "fb", &f, &c, make_fb);

	if (!d || !name || !number)
		return d ? host_complain("fb wants N ADDR name=") : -EINVAL;
	d->card = (unsigned)strtoul(number, NULL, 10);
	d->name = text_dup(name);
	add_framebuffer(d);
	return 0;
}

/* The firmware's: on a platform device, memory in a BAR of the function. */
static void make_bootfb(struct child *c)
{
	const struct display *d = c->data;
	bool simple = !strcmp(d->connectors, "simpledrm");
	struct node *p = node_dir(NULL, simple ? "sys/devices/platform/simple-framebuffer.0"
					       : "sys/devices/platform/efi-framebuffer.0");

	make_fb_at(c, node_dir(p, "graphics"));
	node_link_to(node_child(node_child(p, "graphics"), c->devices[0].dir->name), "device", p);
	node_link_to(node_dir(NULL, "sys/bus/platform/devices"), p->name, p);
	tables_bootfb(d->f, d->connectors);
}

/* `bootfb N ADDR efifb|simpledrm|BOOTFB|vesafb`: the firmware's framebuffer */
int display_bootfb_line(struct line *l)
{
	const char *number = line_word(l);
	struct function *f;
	struct child *c;
	struct display *d = new_display(l, "bootfb", &f, &c, make_bootfb);
	const char *kind = line_word(l);

	if (!d || !kind || !number)
		return d ? host_complain("bootfb wants N ADDR KIND") : -EINVAL;
	d->card = (unsigned)strtoul(number, NULL, 10);
	d->connectors = text_dup(kind);
	d->name = text_dup(!strcmp(kind, "simpledrm") ? "simpledrmdrmfb"
			   : !strcmp(kind, "vesafb")  ? "VESA VGA"
						      : "EFI VGA");
	c->firmware = true;
	add_framebuffer(d);
	return 0;
}

/* ---- consoles ---- */

static void make_vtcon(struct child *c)
{
	const struct display *d = c->data;
	char name[16];
	struct node *n;

	snprintf(name, sizeof(name), "vtcon%u", d->card);
	n = child_device(c, child_place(c, "vtconsole"), name, "vtconsole", "");
	node_text(n, "name", 0444, "%s\n", d->name);
	node_text(n, "bind", 0644, "%u\n", d->node);
}

/* `vtcon N NAME [bound]` */
int display_vtcon_line(struct line *l)
{
	struct display *d = must_alloc(sizeof(*d));
	bool bound = line_flag(l, "bound");
	const char *number = line_word(l), *name = line_word(l);

	if (!number || !name) {
		free(d);
		return host_complain("vtcon wants N NAME");
	}
	d->card = (unsigned)strtoul(number, NULL, 10);
	d->node = bound;
	d->name = text_dup(name);
	d->child = child_new(NULL, NULL, d, make_vtcon);
	return 0;
}

/* ---- usb ---- */

static void make_usb(struct child *c)
{
	const struct display *d = c->data;
	char name[32];
	struct node *hub, *n;

	snprintf(name, sizeof(name), "usb%u", d->card);
	hub = child_bus_device(c, c->under->dir, name, "usb", "DEVTYPE=usb_device\n");
	node_text(hub, "product", 0444, "xHCI Host Controller\n");
	if (!d->name)
		return;
	snprintf(name, sizeof(name), "%u-1", d->card);
	n = child_bus_device(c, hub, name, "usb", "DEVTYPE=usb_device\n");
	node_text(n, "product", 0444, "%s\n", d->name);
}

/* `usb ADDR bus=N [product=TEXT] [driver=]`: a bus, and what is plugged in */
int display_usb_line(struct line *l)
{
	struct function *f;
	struct child *c;
	struct display *d = new_display(l, "usb", &f, &c, make_usb);
	const char *product = line_key(l, "product");

	if (!d)
		return -EINVAL;
	d->name = product ? text_dup(product) : NULL;
	return line_number(l, "bus", 255, &d->card);
}
