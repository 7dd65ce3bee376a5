/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tree of files that is mounted: what kernfs is to sysfs.  A node is a
 * directory, a link, or a file; a file's text is made when it is read and its
 * writes go to a function, both named by its attr.
 *
 * All of it is guarded by the host's lock (host.h).  A removed node stays in
 * memory while somebody holds a reference; reading or writing it then gives
 * ENODEV, as it does in sysfs.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "text.h"

enum node_kind { NODE_DIR, NODE_FILE, NODE_LINK };

/* One row of a table of files: name, mode, how to read it, how to write it. */
struct attr {
	const char *name;
	unsigned mode;
	int (*show)(void *owner, const struct attr *attr, struct text *out);
	int (*store)(void *owner, const struct attr *attr, const char *buf, size_t len);
	long arg; /* for rows that share a function */
};

struct node {
	char *name;
	enum node_kind kind;
	unsigned mode;
	unsigned refs;
	bool dead;
	bool stays; /* for ever: who looked it up once need not again */
	uint64_t ino;
	uint64_t size; /* what stat() says; sysfs says 4096 for texts */
	struct node *parent;
	struct node *children;
	struct node *last;
	struct node *next;
	const struct attr *attr;
	void *owner;
	struct text text; /* of a plain file; a link's target */
	unsigned long opens;
	unsigned long reads;
	void *inode; /* of ops.c, while the kernel knows the node */
};

/* Nodes that go together, removed in one call; holds references. */
struct bunch {
	struct node **nodes;
	size_t count;
};

struct node *node_root(void);

/* The directory below `parent` (NULL: the root), made with all its parents. */
struct node *node_dir(struct node *parent, const char *path);
struct node *node_file(struct node *dir, const struct attr *attr, void *owner);
void node_files(struct node *dir, const struct attr *attrs, size_t count, void *owner);

/* A file that is its own text; a write to it (mode permitting) replaces it. */
struct node *node_text(struct node *dir, const char *name, unsigned mode, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
struct node *node_link(struct node *dir, const char *name, const char *target);

/* A link with the relative target that sysfs would give it. */
struct node *node_link_to(struct node *dir, const char *name, struct node *to);

/* Takes the node and all below it out of the tree; NULL and dead ones are fine. */
void node_remove(struct node *n);
struct node *node_child(struct node *dir, const char *name);

/* By path from the root, links not followed; NULL if there is none. */
struct node *node_find(const char *path);

/* From the root, with a leading slash (of a removed one: its name); the caller frees it. */
char *node_path(const struct node *n);

struct node *node_get(struct node *n);
void node_put(struct node *n);

int node_show(struct node *n, struct text *out);
int node_store(struct node *n, const char *buf, size_t len);
void node_set_text(struct node *n, const char *s);

void bunch_add(struct bunch *b, struct node *n);
void bunch_remove(struct bunch *b);
