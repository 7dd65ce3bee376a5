/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One pass over /proc: which paths the host's processes have open and mapped, and who they are.
 * All or nothing: a process whose files may not be seen is an error, since what it holds cannot be
 * told. Processes that end meanwhile are passed over. Links are read, never followed. Any thread.
 */
#pragma once

#include <stdint.h>

#include "base/arena.h"
#include "host/root.h"

struct processes_visit {
	bool maps; /* mappings too, not open files alone */
	/* A path as /proc shows it: "/dev/dri/card0", "/dev/null (deleted)", "socket:[123]". */
	void (*path)(void *data, int64_t pid, const char *path);
	void *data;
};

/* 0; or -1 (system) when some process cannot be looked at, or there is no /proc. */
int processes_visit(const struct host_root *root, const struct processes_visit *visit,
		    struct error *err);

struct process_info {
	const char *name;  /* comm; "?" unknown */
	const char *since; /* RFC 3339, by the second; NULL unknown */
	const char *unit;  /* innermost unit of the system's systemd; NULL none or unknown */
};

/* Who `pid` is, strings in the arena. False when there is no such process any more. */
bool processes_describe(const struct host_root *root, int64_t pid, struct arena *arena,
			struct process_info *ret);

/* Its comm alone, in buf. False when that cannot be read. */
bool processes_name(const struct host_root *root, int64_t pid, char *buf, size_t size);

/*
 * The part behind the last "/dev/" of a path of /proc, without " (deleted)", in buf: also when the
 * process lives in a mount namespace or chroot of its own. False when it is no such path.
 */
bool processes_dev_node(const char *path, char *buf, size_t size);
