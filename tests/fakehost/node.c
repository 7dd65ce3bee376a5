/* SPDX-License-Identifier: Apache-2.0 */
/* The tree of files; see node.h for its invariants. */
#include "node.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct node *root;
static uint64_t last_ino = 1;

static struct node *node_new(struct node *dir, const char *name, enum node_kind kind, unsigned mode)
{
	struct node *n = must_alloc(sizeof(*n));

	n->name = text_dup(name);
	n->kind = kind;
	n->mode = mode;
	n->refs = 1;
	n->ino = ++last_ino;
	n->parent = dir;
	if (!dir)
		return n;
	if (dir->last)
		dir->last->next = n;
	else
		dir->children = n;
	dir->last = n;
	return n;
}

struct node *node_root(void)
{
	if (!root)
		root = node_new(NULL, "", NODE_DIR, 0755);
	return root;
}

struct node *node_child(struct node *dir, const char *name)
{
	for (struct node *n = dir->children; n; n = n->next)
		if (!strcmp(n->name, name))
			return n;
	return NULL;
}

/* Copies the next part of *path into `part`; false at the end. */
static bool next_part(const char **path, char part[256])
{
	size_t len;

	*path += strspn(*path, "/");
	len = strcspn(*path, "/");
	if (!len || len > 255)
		return false;
	memcpy(part, *path, len);
	part[len] = '\0';
	*path += len;
	return true;
}

struct node *node_dir(struct node *parent, const char *path)
{
	struct node *n = parent ? parent : node_root();
	char part[256];

	while (next_part(&path, part)) {
		struct node *child = node_child(n, part);

		n = child ? child : node_new(n, part, NODE_DIR, 0755);
	}
	return n;
}

struct node *node_find(const char *path)
{
	struct node *n = node_root();
	char part[256];

	while (n && next_part(&path, part))
		n = node_child(n, part);
	return n;
}

struct node *node_file(struct node *dir, const struct attr *attr, void *owner)
{
	struct node *n = node_new(dir, attr->name, NODE_FILE, attr->mode);

	n->attr = attr;
	n->owner = owner;
	n->size = 4096;
	return n;
}

void node_files(struct node *dir, const struct attr *attrs, size_t count, void *owner)
{
	for (size_t i = 0; i < count; i++)
		node_file(dir, &attrs[i], owner);
}

struct node *node_text(struct node *dir, const char *name, unsigned mode, const char *fmt, ...)
{
	struct node *n = node_child(dir, name);
	va_list ap;

	if (!n)
		n = node_new(dir, name, NODE_FILE, mode);
	n->size = 4096;
	text_clear(&n->text);
	va_start(ap, fmt);
	text_vaddf(&n->text, fmt, ap);
	va_end(ap);
	return n;
}

struct node *node_link(struct node *dir, const char *name, const char *target)
{
	struct node *n = node_child(dir, name);

	if (n)
		node_remove(n);
	n = node_new(dir, name, NODE_LINK, 0777);
	text_puts(&n->text, target);
	return n;
}

static unsigned node_depth(const struct node *n)
{
	unsigned depth = 0;

	for (; n->parent; n = n->parent)
		depth++;
	return depth;
}

static void add_below(struct text *t, const struct node *from, const struct node *to)
{
	if (to == from || !to)
		return;
	add_below(t, from, to->parent);
	text_addf(t, "%s/", to->name);
}

struct node *node_link_to(struct node *dir, const char *name, struct node *to)
{
	const struct node *a = dir, *b = to;
	unsigned da = node_depth(a), db = node_depth(b);
	struct text t = { 0 };
	struct node *n;

	while (a != b) {
		if (da >= db) {
			text_puts(&t, "../");
			a = a->parent;
			da--;
		} else {
			b = b->parent;
			db--;
		}
	}
	add_below(&t, a, to);
	if (t.len)
		t.data[t.len - 1] = '\0';
	n = node_link(dir, name, t.len ? t.data : ".");
	text_free(&t);
	return n;
}

static void node_detach(struct node *n)
{
	struct node *dir = n->parent, *prev = NULL;

	for (struct node *c = dir->children; c != n; c = c->next)
		prev = c;
	if (prev)
		prev->next = n->next;
	else
		dir->children = n->next;
	if (dir->last == n)
		dir->last = prev;
	n->parent = NULL;
	n->next = NULL;
}

void node_remove(struct node *n)
{
	if (!n || n->dead || !n->parent)
		return;
	while (n->children)
		node_remove(n->children);
	node_detach(n);
	n->dead = true;
	node_put(n);
}

char *node_path(const struct node *n)
{
	struct text t = { 0 };

	add_below(&t, node_root(), n);
	if (!t.len)
		return text_dup("/");
	char *path = text_format("/%.*s", (int)t.len - 1, t.data);
	text_free(&t);
	return path;
}

struct node *node_get(struct node *n)
{
	n->refs++;
	return n;
}

void node_put(struct node *n)
{
	if (!n || --n->refs)
		return;
	text_free(&n->text);
	free(n->name);
	free(n);
}

int node_show(struct node *n, struct text *out)
{
	if (n->dead)
		return -ENODEV;
	if (!n->attr) {
		text_add(out, n->text.data ? n->text.data : "", n->text.len);
		return 0;
	}
	return n->attr->show ? n->attr->show(n->owner, n->attr, out) : -EIO;
}

void node_set_text(struct node *n, const char *s)
{
	text_clear(&n->text);
	text_puts(&n->text, s);
}

int node_store(struct node *n, const char *buf, size_t len)
{
	if (n->dead)
		return -ENODEV;
	if (n->attr)
		return n->attr->store ? n->attr->store(n->owner, n->attr, buf, len) : -EIO;
	text_clear(&n->text);
	text_add(&n->text, buf, len);
	return 0;
}

void bunch_add(struct bunch *b, struct node *n)
{
	b->nodes = must_grow(b->nodes, b->count + 1, sizeof(*b->nodes));
	b->nodes[b->count++] = node_get(n);
}

void bunch_remove(struct bunch *b)
{
	while (b->count) {
		struct node *n = b->nodes[--b->count];

		node_remove(n);
		node_put(n);
	}
	free(b->nodes);
	b->nodes = NULL;
}
