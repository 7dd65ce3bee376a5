/* SPDX-License-Identifier: Apache-2.0 */
/* See node.h. The file is whole or not there: it is written beside its place and renamed. */
#include "daemon/node.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"

static const char prefix[] = "node-", file[] = "node-id", fresh[] = "node-id.new";

enum { DIGITS = 16 };

/* It becomes part of keys. */
static bool is_id(const char *text)
{
	size_t n = strlen(prefix);

	return !strncmp(text, prefix, n) && strlen(text) == n + DIGITS &&
	       strspn(text + n, "0123456789abcdef") == DIGITS;
}

/* 1 there is one, 0 none, or none that could be ours, -1. */
static int read_id(int folder, char id[static ID_TEXT], struct error *err)
{
	CLEAN_FD int fd = openat(folder, file, O_RDONLY | O_CLOEXEC);
	char text[ID_TEXT] = "";
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (n < 0 && errno == ENOENT)
		return 0;
	if (n < 0)
		return error_errno(err, ERROR_STORE, errno, "the id of this host cannot be read");
	text[strcspn(text, "\n")] = '\0';
	if (!is_id(text))
		return 0;
	memcpy(id, text, sizeof(text));
	return 1;
}

static int write_id(int folder, const char *id)
{
	CLEAN_FD int fd = openat(folder, fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	size_t n = strlen(id);

	if (fd < 0)
		return -1;
	errno = ENOSPC;	/* what a short write means */
	if (write(fd, id, n) != (ssize_t)n || fsync(fd) < 0)
		return -1;
	return renameat(folder, fresh, folder, file) < 0 ? -1 : fsync(folder);
}

int node_id(const char *folder, char id[static ID_TEXT], struct error *err)
{
	CLEAN_FD int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r;

	if (fd < 0)
		return error_errno(err, ERROR_STORE, errno, "%s cannot be used", folder);
	r = read_id(fd, id, err);
	if (r)
		return r < 0 ? -1 : 0;
	if (write_id(fd, id_short(prefix, id)) < 0)
		return error_errno(err, ERROR_STORE, errno, "the id of this host cannot be written");
	return 0;
}
