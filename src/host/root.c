/* SPDX-License-Identifier: Apache-2.0 */
/* See root.h. */
#include "host/root.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fdpath.h"

static bool is_slash(int fd)
{
	struct stat here, slash;

	return !fstat(fd, &here) && !stat("/", &slash) && here.st_dev == slash.st_dev &&
	       here.st_ino == slash.st_ino;
}

int host_root_open(struct host_root *root, const char *directory, struct error *err)
{
	int fd;

	if (strlen(directory) >= sizeof(root->path))
		return error_set(err, ERROR_USAGE, "the host root's path is too long");
	fd = fdpath_root(directory);
	if (fd < 0)
		return error_errno(err, ERROR_USAGE, -fd, "host root %s cannot be opened", directory);
	*root = (struct host_root){ .fd = fd, .real = is_slash(fd) };
	memcpy(root->path, directory, strlen(directory) + 1);
	return 0;
}

void host_root_close(struct host_root *root)
{
	if (root->fd >= 0)
		close(root->fd);
	root->fd = -1;
}
