/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files under a host root. Every path goes through openat2(2) from the root's own descriptor with
 * RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS: a link that leads outside stays inside, and a link of
 * /proc/<pid>/fd is never followed. Kernel links contain "..", so RESOLVE_BENEATH would refuse
 * them. EAGAIN (something was renamed meanwhile) is retried, bounded.
 *
 * Paths are relative to the root, without a leading "/". Results: >= 0, or -errno (no error object:
 * the caller knows what a missing file means). Any thread; a read of a file of a stuck device can
 * block, so the caller chooses what it reads.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/arena.h"

/* Open the directory that stands for "/". Returns a descriptor (O_PATH) or -errno. */
int fdpath_root(const char *directory);

/* open(2) under the root with O_CLOEXEC | O_NOCTTY added. */
int fdpath_open(int root, const char *path, int flags);

/*
 * The file's text, at most size - 1 bytes, NUL-terminated, without its trailing newline (one).
 * Returns the length; -EFBIG when there is more than fits.
 */
ssize_t fdpath_read(int root, const char *path, char *buf, size_t size);
/* As fdpath_read, raw bytes from `offset`, not terminated; the number of bytes read. */
ssize_t fdpath_pread(int root, const char *path, void *buf, size_t size, off_t offset);
/* The whole file as a string in the arena, at most max bytes. *ret untouched on failure. */
int fdpath_read_all(int root, const char *path, size_t max, struct arena *arena, const char **ret);
/* One number: decimal, or hexadecimal after 0x. -EINVAL when it is something else. */
int fdpath_read_u64(int root, const char *path, uint64_t *ret);
/* One hexadecimal number, with or without 0x. */
int fdpath_read_hex(int root, const char *path, uint64_t *ret);

/*
 * For scans of many sysfs attributes from the descriptor of their directory. fdpath_attribute: as
 * fdpath_read with a single read(2), since sysfs hands an attribute out whole (other file systems
 * need not: use fdpath_read there). fdpath_entry_link: where the link `name` points to; name is one
 * entry of the directory (-EINVAL with a "/" in it), so there is nothing to resolve.
 */
ssize_t fdpath_attribute(int dir, const char *name, char *buf, size_t size);
ssize_t fdpath_entry_link(int dir, const char *name, char *buf, size_t size);

/* Write `text` in one write(2), as sysfs wants it. -EIO when it was taken only in part. */
int fdpath_write(int root, const char *path, const char *text);

/* Where the link points to, as it stands. The length, or -errno. Never follows it. */
ssize_t fdpath_readlink(int root, const char *path, char *buf, size_t size);
/* The last part of where it points to: the driver's or the group's name, also of a dangling link.
 */
ssize_t fdpath_link_name(int root, const char *path, char *buf, size_t size);

/* 1 it is there (a dangling link counts), 0 it is not, -errno it cannot be told. */
int fdpath_exists(int root, const char *path);

/* Calls each() for every entry but . and .., with the directory's descriptor; stops at the first
 * that is not 0, and returns that; 0 or -errno. */
struct dirent64;
typedef int fdpath_entry(void *data, int dir, const struct dirent64 *entry);
int fdpath_each(int root, const char *path, fdpath_entry *each, void *data);
/* The names in it, sorted as text, in the arena. Their number or -errno (*names untouched). */
int fdpath_list(int root, const char *path, struct arena *arena, struct list *names);
