/* SPDX-License-Identifier: Apache-2.0 */
/* Class devices that come and go with drivers; see child.h. */
#include "child.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "driver.h"
#include "tables.h"
#include "uevent.h"

static struct child *virtual;

struct child *child_new(struct function *under, const char *driver, void *data,
			void (*make)(struct child *c))
{
	struct child *c = must_alloc(sizeof(*c)), **end = under ? &under->children : &virtual;

	c->under = under;
	c->driver = driver ? driver_declare(driver) : under ? under->initial : NULL;
	c->data = data;
	c->make = make;
	while (*end)
		end = &(*end)->next;
	*end = c;
	return c;
}

struct node *child_place(const struct child *c, const char *subsystem)
{
	if (c->under)
		return c->under->dir;
	return node_dir(node_dir(NULL, "sys/devices/virtual"), subsystem);
}

static struct node *make_device(struct child *c, struct node *dir, struct node *home,
				struct node *subsystem, const char *env)
{
	struct child_device *d;

	c->devices = must_grow(c->devices, c->count + 1, sizeof(*c->devices));
	d = &c->devices[c->count++];
	*d = (struct child_device){ node_get(dir), text_dup(subsystem->name), text_dup(env) };
	node_text(dir, "uevent", 0644, "%s", env);
	node_link_to(dir, "subsystem", subsystem);
	bunch_add(&c->nodes, dir);
	bunch_add(&c->nodes, node_link_to(home, dir->name, dir));
	uevent_send("add", dir, d->subsystem, env);
	return dir;
}

struct node *child_device(struct child *c, struct node *parent, const char *name,
			  const char *subsystem, const char *env)
{
	struct node *class = node_dir(node_dir(NULL, "sys/class"), subsystem);
	struct node *dir = node_dir(parent, name);

	if (c->under && !node_child(dir, "device"))
		node_link_to(dir, "device",
			     parent == c->under->dir || !parent->parent ||
					     parent->parent == c->under->dir
				     ? c->under->dir
				     : parent);
	return make_device(c, dir, class, class, env);
}

struct node *child_bus_device(struct child *c, struct node *parent, const char *name,
			      const char *subsystem, const char *env)
{
	struct node *bus = node_dir(node_dir(NULL, "sys/bus"), subsystem);

	return make_device(c, node_dir(parent, name), node_dir(bus, "devices"), bus, env);
}

void child_drop(struct child *c)
{
	while (c->count) {
		struct child_device *d = &c->devices[--c->count];

		if (!d->dir->dead)
			uevent_send("remove", d->dir, d->subsystem, d->env);
		node_put(d->dir);
		free(d->subsystem);
		free(d->env);
	}
	bunch_remove(&c->nodes);
	if (c->dir)
		*c->dir = NULL;
}

void child_bound(struct function *f)
{
	for (struct child *c = f->children; c; c = c->next)
		if (c->driver == f->driver && !c->firmware)
			c->make(c);
}

void child_unbound(struct function *f)
{
	for (struct child *c = f->children; c; c = c->next)
		if (!c->firmware)
			child_drop(c);
}

void child_make_virtual(void)
{
	for (struct child *c = virtual; c; c = c->next)
		c->make(c);
	for (struct function *f = host.functions; f; f = f->next)
		for (struct child *c = f->children; c; c = c->next)
			if (c->firmware)
				c->make(c);
}

void child_evict_firmware(struct function *f)
{
	for (struct child *c = f->children; c; c = c->next) {
		if (!c->firmware || !c->count)
			continue;
		child_drop(c);
		tables_bootfb(NULL, NULL);
	}
}
