/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A directory that stands for a host's "/", made for one test and removed after it. What cannot be
 * made ends the test program: a tree that is not as described would prove nothing.
 */
#pragma once

#include <stdbool.h>

#include "host/root.h"

struct tree {
	char path[64];
	struct host_root root;
};

/* One row of a described tree: a file with text, or a link. */
struct tree_row {
	const char *path;	/* relative to the root; missing parents are made */
	const char *text;
	const char *link;
};

void tree_make(struct tree *tree);
void tree_remove(struct tree *tree);

void tree_file(struct tree *tree, const char *path, const char *text);
void tree_link(struct tree *tree, const char *path, const char *target);
void tree_dir(struct tree *tree, const char *path);
/* A FIFO that nobody writes: whoever opens it to read hangs, as with the file of a stuck device. */
void tree_trap(struct tree *tree, const char *path);
/* Removes a file, link or directory with all in it; it must be there. */
void tree_drop(struct tree *tree, const char *path);
#define tree_fill(tree, rows) tree_fill_n((tree), (rows), sizeof(rows) / sizeof((rows)[0]))
void tree_fill_n(struct tree *tree, const struct tree_row *rows, size_t n);

/* A PCI function as the kernel shows one; group < 0: in none. */
struct tree_function {
	const char *path;	/* "pci0000:00/0000:00:01.0/0000:01:00.0" */
	unsigned vendor, device, class;
	const char *driver;	/* NULL: unbound */
	int group;
};

/* Makes it, its links in bus/pci, and its group; a bridge (class 0604) has a pci_bus. */
void tree_function(struct tree *tree, const struct tree_function *f);
#define tree_functions(tree, list)                                                                 \
	for (size_t i_ = 0; i_ < sizeof(list) / sizeof((list)[0]); i_++)                           \
	tree_function((tree), &(list)[i_])
/* One file of a function. */
void tree_attribute(struct tree *tree, const char *address, const char *name, const char *text);

/*
 * Unpacks the record `name` of $HORCRUX_FIXTURES into the tree. False, said on stdout, when that is
 * not set: then the test has nothing to look at, and TREE_FIXTURE skips it; with $CI set it fails.
 */
bool tree_fixture(struct tree *tree, const char *name);
#define TREE_FIXTURE(tree, name)                                                                   \
	do {                                                                                       \
		if (!tree_fixture((tree), (name))) {                                               \
			if (getenv("CI"))                                                          \
				fail_msg("HORCRUX_FIXTURES must be set where CI is");              \
			skip();                                                                    \
		}                                                                                  \
	} while (0)
