/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host root: the directory that stands for "/" when kernel files are read. Opened once at
 * start; immutable after; any thread.
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"

struct host_root {
	int fd;			/* O_PATH; for fdpath_*() */
	bool real;		/* it is "/": ioctls, modules and netlink mean this machine */
	char path[256];		/* as given, for messages */
};

/* Opens `directory` ("/" for the machine itself). Error usage when it is no directory. */
int host_root_open(struct host_root *root, const char *directory, struct error *err);
void host_root_close(struct host_root *root);
