/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Block devices: disks below functions, partitions of disks, and what is
 * stacked over them (dm, md, bcache, loop) with its slaves/ and holders/; and
 * who uses them: /proc/self/mountinfo, /proc/swaps.
 */
#include "storage.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "child.h"
#include "host.h"

struct block {
	struct block *next;
	char *name;
	struct block *whole; /* of a partition */
	char *over;	     /* names below it, separated by commas */
	char *dm_name, *dm_uuid, *level;
	unsigned major, minor, number, gib;
	struct child *child;
	struct node *dir; /* while it is there */
};

struct use {
	struct use *next;
	char *source, *target, *type, *options, *root;
	struct block *dev; /* NULL: an anonymous number */
	unsigned anonymous;
};

static struct block *blocks;
static struct use *mounts, *swaps;
static unsigned last_minor, last_anonymous = 30;

static struct block *find(const char *name)
{
	for (struct block *b = blocks; b; b = b->next)
		if (!strcmp(b->name, name))
			return b;
	return NULL;
}

/* ---- nodes ---- */

/* Where the disk's directory goes, as the driver of its kind puts it. */
static struct node *disk_parent(struct child *c, const struct block *b)
{
	char path[96];
	unsigned n = 0;

	if (!c->under)
		return child_place(c, "block");
	if (sscanf(b->name, "nvme%u", &n) == 1) {
		snprintf(path, sizeof(path), "nvme%u", n);
		child_device(c, node_dir(c->under->dir, "nvme"), path, "nvme", "");
		snprintf(path, sizeof(path), "nvme/nvme%u", n);
	} else if (!strncmp(b->name, "vd", 2)) {
		snprintf(path, sizeof(path), "virtio0/block");
	} else {
		snprintf(path, sizeof(path), "ata1/host0/target0:0:0/0:0:%d:0/block",
			 b->name[2] - 'a');
	}
	return node_dir(c->under->dir, path);
}

static void link_slaves(const struct block *b)
{
	const char *at = b->over;
	char name[64];

	while (at && text_next(&at, ",", name, sizeof(name))) {
		const struct block *below = find(name);

		if (!below || !below->dir)
			continue;
		node_link_to(node_dir(b->dir, "slaves"), name, below->dir);
		node_link_to(node_dir(below->dir, "holders"), b->name, b->dir);
	}
}

static void add_kind(struct child *c, const struct block *b)
{
	struct node *dev = node_dir(NULL, "dev");

	if (b->dm_name) {
		char *target = text_format("../%s", b->name);

		node_text(node_dir(b->dir, "dm"), "name", 0444, "%s\n", b->dm_name);
		node_text(node_dir(b->dir, "dm"), "uuid", 0444, "%s\n", b->dm_uuid);
		node_text(node_dir(b->dir, "dm"), "suspended", 0444, "0\n");
		bunch_add(&c->nodes, node_link(node_dir(dev, "mapper"), b->dm_name, target));
		free(target);
	}
	if (b->level)
		node_text(node_dir(b->dir, "md"), "level", 0444, "%s\n", b->level);
	if (b->whole)
		node_text(b->dir, "partition", 0444, "%u\n", b->number);
	if (!strncmp(b->name, "bcache", 6))
		node_text(node_dir(b->dir, "bcache"), "state", 0444, "clean\n");
}

static void add_texts(const struct block *b)
{
	node_text(b->dir, "dev", 0444, "%u:%u\n", b->major, b->minor);
	node_text(b->dir, "ro", 0444, "0\n");
	node_text(b->dir, "size", 0444, "%llu\n", (unsigned long long)b->gib << 21);
	node_dir(b->dir, "holders");
	if (b->whole)
		return;
	node_text(b->dir, "removable", 0444, "0\n");
	node_text(b->dir, "hidden", 0444, "0\n");
	node_dir(b->dir, "slaves");
	node_text(node_dir(b->dir, "queue"), "rotational", 0644, "0\n");
}

static void make_block(struct child *c)
{
	struct block *b = c->data;
	struct node *parent = b->whole ? b->whole->dir : disk_parent(c, b);
	char env[160], number[32];

	snprintf(env, sizeof(env), "MAJOR=%u\nMINOR=%u\nDEVNAME=%s\nDEVTYPE=%s\n", b->major,
		 b->minor, b->name, b->whole ? "partition" : "disk");
	b->dir = child_device(c, parent, b->name, "block", env);
	add_texts(b);
	add_kind(c, b);
	link_slaves(b);
	snprintf(number, sizeof(number), "%u:%u", b->major, b->minor);
	bunch_add(&c->nodes, node_link_to(node_dir(NULL, "sys/dev/block"), number, b->dir));
	if (!b->whole)
		bunch_add(&c->nodes, node_link_to(node_dir(NULL, "sys/block"), b->name, b->dir));
	bunch_add(&c->nodes, node_text(node_dir(NULL, "dev"), b->name, 0600, "%s", ""));
}

/* ---- lines ---- */

static unsigned major_of(const char *name)
{
	static const struct {
		const char *prefix;
		unsigned major;
	} majors[] = {
		{ "bcache", 251 }, { "dm-", 254 }, { "loop", 7 }, { "md", 9 },
		{ "nvme", 259 },   { "sd", 8 },	   { "vd", 253 }, { "zd", 230 },
	};

	for (size_t i = 0; i < sizeof(majors) / sizeof(*majors); i++)
		if (!strncmp(majors[i].prefix, name, strlen(majors[i].prefix)))
			return majors[i].major;
	return 250;
}

static char *key_copy(struct line *l, const char *key)
{
	const char *s = line_key(l, key);

	return s ? text_dup(s) : NULL;
}

static int place_block(struct line *l, struct block *b)
{
	const char *under = line_key(l, "under"), *of = line_key(l, "of");
	const char *driver = line_key(l, "driver");
	struct function *f = under ? host_function(under) : NULL;

	if (under && !f)
		return host_complain("under=%s is no function above", under);
	b->whole = of ? find(of) : NULL;
	if (of && !b->whole)
		return host_complain("of=%s is no block device above", of);
	if (b->whole && b->whole->child->under) {
		f = b->whole->child->under;
		driver = b->whole->child->driver ? b->whole->child->driver->name : NULL;
	}
	if (b->whole)
		b->number = (unsigned)strtoul(b->name + strlen(b->whole->name) +
						      strspn(b->name + strlen(b->whole->name), "p"),
					      NULL, 10);
	b->child = child_new(f, driver, b, make_block);
	b->child->dir = &b->dir;
	return 0;
}

/* `block NAME [under=ADDR | of=DISK | over=A,B] [size=GIB] [dm=] [uuid=] [level=]` */
int storage_block_line(struct line *l)
{
	const char *name = line_word(l);
	struct block *b = must_alloc(sizeof(*b)), **end = &blocks;
	int r;

	if (!name || find(name))
		return host_complain("block wants a name that is not there yet");
	b->name = text_dup(name);
	b->gib = 100;
	b->over = key_copy(l, "over");
	b->dm_name = key_copy(l, "dm");
	b->dm_uuid = key_copy(l, "uuid");
	b->level = key_copy(l, "level");
	if (b->dm_name && !b->dm_uuid)
		b->dm_uuid = text_format("LVM-%s", b->dm_name);
	b->major = major_of(name);
	b->minor = last_minor++;
	r = line_number(l, "size", 1U << 30, &b->gib);
	r = r ? r : place_block(l, b);
	if (r)
		return r;
	while (*end)
		end = &(*end)->next;
	*end = b;
	if (host.built)
		make_block(b->child);
	return 0;
}

static void append(struct use **list, struct use *u)
{
	while (*list)
		list = &(*list)->next;
	*list = u;
}

/* "/dev/mapper/NAME" or "/dev/NAME" -> the device; NULL if it is none of ours */
static struct block *by_source(const char *source)
{
	if (!strncmp(source, "/dev/mapper/", 12)) {
		for (struct block *b = blocks; b; b = b->next)
			if (b->dm_name && !strcmp(b->dm_name, source + 12))
				return b;
		return NULL;
	}
	return strncmp(source, "/dev/", 5) ? NULL : find(source + 5);
}

/* `mount SOURCE POINT TYPE [options=] [root=] [anonymous]` */
int storage_mount_line(struct line *l)
{
	struct use *u = must_alloc(sizeof(*u));
	bool anonymous = line_flag(l, "anonymous");
	const char *source, *target, *type;

	u->options = key_copy(l, "options");
	u->root = key_copy(l, "root");
	source = line_word(l);
	target = line_word(l);
	type = line_word(l);
	if (!type) {
		free(u);
		return host_complain("mount wants SOURCE POINT TYPE");
	}
	u->source = text_dup(source);
	u->target = text_dup(target);
	u->type = text_dup(type);
	u->dev = anonymous || !strcmp(type, "btrfs") ? NULL : by_source(source);
	u->anonymous = last_anonymous++;
	append(&mounts, u);
	return 0;
}

/* `swap SOURCE`: a device or a file */
int storage_swap_line(struct line *l)
{
	const char *source = line_word(l);
	struct use *u = must_alloc(sizeof(*u));

	if (!source)
		return host_complain("swap wants a device or a file");
	u->source = text_dup(source);
	append(&swaps, u);
	return 0;
}

int storage_forget(const char *what, const char *which)
{
	bool mount = !strcmp(what, "mount");

	for (struct use **at = mount ? &mounts : &swaps; *at; at = &(*at)->next) {
		if (strcmp(mount ? (*at)->target : (*at)->source, which))
			continue;
		*at = (*at)->next;
		return 0;
	}
	return host_complain("there is no %s %s", what, which);
}

/* ---- /proc ---- */

static int mountinfo_show(void *owner, const struct attr *attr, struct text *out)
{
	unsigned id = 25;

	(void)owner;
	(void)attr;
	for (const struct use *u = mounts; u; u = u->next) {
		const char *options = u->options ? u->options : "rw,relatime";

		text_addf(out, "%u 1 %u:%u %s %s %s shared:%u - %s %s %s\n", id,
			  u->dev ? u->dev->major : 0, u->dev ? u->dev->minor : u->anonymous,
			  u->root ? u->root : "/", u->target, options, id - 24, u->type, u->source,
			  "rw");
		id++;
	}
	return 0;
}

static int mounts_show(void *owner, const struct attr *attr, struct text *out)
{
	(void)owner;
	(void)attr;
	for (const struct use *u = mounts; u; u = u->next)
		text_addf(out, "%s %s %s %s 0 0\n", u->source, u->target, u->type,
			  u->options ? u->options : "rw,relatime");
	return 0;
}

static int swaps_show(void *owner, const struct attr *attr, struct text *out)
{
	(void)owner;
	(void)attr;
	text_puts(out, "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n");
	for (const struct use *u = swaps; u; u = u->next)
		text_addf(out, "%-40s%s\t%u\t\t0\t\t-2\n", u->source,
			  strncmp(u->source, "/dev/", 5) ? "file\t" : "partition", 8388604);
	return 0;
}

static const struct attr mount_attrs[] = {
	{ .name = "mountinfo", .mode = 0444, .show = mountinfo_show },
	{ .name = "mounts", .mode = 0444, .show = mounts_show },
};

static const struct attr swaps_attr = { .name = "swaps", .mode = 0444, .show = swaps_show };

void storage_make(void)
{
	node_files(node_dir(NULL, "proc/1"), mount_attrs, 2, NULL);
	node_file(node_dir(NULL, "proc"), &swaps_attr, NULL);
	node_dir(NULL, "sys/class/block");
	node_dir(NULL, "sys/block");
	node_dir(NULL, "sys/dev/block");
}
