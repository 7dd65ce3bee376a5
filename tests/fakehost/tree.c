/* SPDX-License-Identifier: Apache-2.0 */
/* Writes the tree of a machine to disk; see tree.h. */
#include "tree.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node.h"

static int write_all(int fd, const char *data, size_t len)
{
	while (len) {
		ssize_t n = write(fd, data, len);

		if (n < 0)
			return -errno;
		data += n;
		len -= (size_t)n;
	}
	return 0;
}

/* A file that cannot be read (write-only, EINVAL now) is an empty one. */
static int write_file(int dir, struct node *n)
{
	int fd = openat(dir, n->name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	struct text t = { 0 };
	int r = 0;

	if (fd < 0)
		return -errno;
	if (n->mode & 0444 && !node_show(n, &t))
		r = write_all(fd, t.data ? t.data : "", t.len);
	if (!r && fchmod(fd, n->mode | 0400))
		r = -errno;
	text_free(&t);
	close(fd);
	return r;
}

static int write_dir(int parent, struct node *n);

static int write_node(int dir, struct node *n)
{
	int r = 0;

	switch (n->kind) {
	case NODE_FILE:
		r = write_file(dir, n);
		break;
	case NODE_LINK:
		r = symlinkat(n->text.data, dir, n->name) ? -errno : 0;
		break;
	default:
		r = write_dir(dir, n);
	}
	if (r)
		fprintf(stderr, "fakehost: %s: %s\n", n->name, strerror(-r));
	return r;
}

static int write_children(int dir, struct node *n)
{
	for (struct node *c = n->children; c; c = c->next) {
		int r = write_node(dir, c);

		if (r)
			return r;
	}
	return 0;
}

static int write_dir(int parent, struct node *n)
{
	int dir, r;

	if (mkdirat(parent, n->name, 0755) && errno != EEXIST)
		return -errno;
	dir = openat(parent, n->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (dir < 0)
		return -errno;
	r = write_children(dir, n);
	close(dir);
	return r;
}

int tree_write(const char *path)
{
	int dir, r;

	if (mkdir(path, 0755) && errno != EEXIST) {
		r = -errno;
		fprintf(stderr, "fakehost: %s: %s\n", path, strerror(-r));
		return r;
	}
	dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return -errno;
	r = write_children(dir, node_root());
	close(dir);
	return r;
}
