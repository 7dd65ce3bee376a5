/* SPDX-License-Identifier: Apache-2.0 */
/* See fdpath.h. */
#include "base/fdpath.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

enum {
	OPEN_TRIES = 4096, /* openat2 says EAGAIN while anything, anywhere, is being renamed */
	NUMBER_TEXT = 64,
	PATH_BYTES = 4096,
	FIRST_READ = 4096,
	LISTING_BYTES = 8192,
};

int fdpath_root(const char *directory)
{
	int fd = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

int fdpath_open(int root, const char *path, int flags)
{
	/* whatever stands where a file of the kernel should: to read it never waits for a writer */
	int more = flags & O_PATH		     ? 0
		   : (flags & O_ACCMODE) == O_RDONLY ? O_NOCTTY | O_NONBLOCK
						     : O_NOCTTY;
	struct open_how how = {
		.flags = (uint64_t)(unsigned)(flags | O_CLOEXEC | more),
		.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
	};
	long fd = -1;

	for (int i = 0; i < OPEN_TRIES; i++) {
		fd = syscall(SYS_openat2, root, path, &how, sizeof(how));
		if (fd >= 0)
			return (int)fd;
		if (errno != EAGAIN && errno != EINTR)
			break;
	}
	return -errno;
}

ssize_t fdpath_pread(int root, const char *path, void *buf, size_t size, off_t offset)
{
	CLEAN_FD int fd = fdpath_open(root, path, O_RDONLY);
	size_t done = 0;
	ssize_t n;

	if (fd < 0)
		return fd;
	while (done < size) {
		n = pread(fd, (char *)buf + done, size - done, offset + (off_t)done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (!n)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

/* The n bytes read into buf as text: terminated, without its last newline. */
static ssize_t as_text(char *buf, size_t size, ssize_t n)
{
	if (n < 0)
		return n;
	if ((size_t)n == size)
		return -EFBIG;
	if (n && buf[n - 1] == '\n')
		n--;
	buf[n] = '\0';
	return n;
}

ssize_t fdpath_read(int root, const char *path, char *buf, size_t size)
{
	return as_text(buf, size, fdpath_pread(root, path, buf, size, 0));
}

ssize_t fdpath_attribute(int dir, const char *name, char *buf, size_t size)
{
	CLEAN_FD int fd = fdpath_open(dir, name, O_RDONLY);
	ssize_t n;

	if (fd < 0)
		return fd;
	do
		n = read(fd, buf, size);
	while (n < 0 && errno == EINTR);
	return as_text(buf, size, n < 0 ? -errno : n);
}

/* What is left of the file, into a buffer that grows with it: most are far smaller than max. */
static ssize_t read_growing(int fd, size_t max, char **buf)
{
	size_t room = 0, done = 0;
	char *more;
	ssize_t n;

	for (;;) {
		if (done == room) {
			if (room > max)
				return -EFBIG;
			room = room ? room * 2 : FIRST_READ;
			more = realloc(*buf, room);
			if (!more)
				return -ENOMEM;
			*buf = more;
		}
		n = read(fd, *buf + done, room - done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (!n)
			return done > max ? -EFBIG : (ssize_t)done;
		done += (size_t)n;
	}
}

int fdpath_read_all(int root, const char *path, size_t max, struct arena *arena, const char **ret)
{
	CLEAN_FD int fd = fdpath_open(root, path, O_RDONLY);
	CLEAN_FREE char *buf = NULL;
	ssize_t n;

	if (fd < 0)
		return fd;
	n = read_growing(fd, max, &buf);
	if (n < 0)
		return (int)n;
	*ret = arena_strndup(arena, buf, (size_t)n);
	return 0;
}

static int read_number(int root, const char *path, int base, uint64_t *ret)
{
	char text[NUMBER_TEXT], *end;
	ssize_t n = fdpath_read(root, path, text, sizeof(text));
	uint64_t value;

	if (n < 0)
		return (int)n;
	if (!n || text[0] == '-' || text[0] == ' ')
		return -EINVAL;
	errno = 0;
	value = strtoull(text, &end, base);
	if (errno || *end)
		return -EINVAL;
	*ret = value;
	return 0;
}

int fdpath_read_u64(int root, const char *path, uint64_t *ret)
{
	return read_number(root, path, 0, ret);
}

int fdpath_read_hex(int root, const char *path, uint64_t *ret)
{
	return read_number(root, path, 16, ret);
}

int fdpath_write(int root, const char *path, const char *text)
{
	CLEAN_FD int fd = fdpath_open(root, path, O_WRONLY);
	size_t len = strlen(text);
	ssize_t n;

	if (fd < 0)
		return fd;
	n = write(fd, text, len);
	if (n < 0)
		return -errno;
	return (size_t)n == len ? 0 : -EIO;
}

static ssize_t as_link(char *buf, size_t size, ssize_t n)
{
	if (n < 0)
		return -errno;
	if ((size_t)n == size)
		return -ENAMETOOLONG;
	buf[n] = '\0';
	return n;
}

ssize_t fdpath_readlink(int root, const char *path, char *buf, size_t size)
{
	CLEAN_FD int fd = fdpath_open(root, path, O_PATH | O_NOFOLLOW);
	ssize_t n = fd < 0 ? fd : as_link(buf, size, readlinkat(fd, "", buf, size));

	return fd >= 0 && n == -ENOENT ? -EINVAL : n; /* "" of what is no link */
}

ssize_t fdpath_entry_link(int dir, const char *name, char *buf, size_t size)
{
	return strchr(name, '/') ? -EINVAL : as_link(buf, size, readlinkat(dir, name, buf, size));
}

ssize_t fdpath_link_name(int root, const char *path, char *buf, size_t size)
{
	char target[PATH_BYTES];
	ssize_t n = fdpath_readlink(root, path, target, sizeof(target));
	const char *name;

	if (n < 0)
		return n;
	name = strrchr(target, '/');
	name = name ? name + 1 : target;
	if (strlen(name) >= size)
		return -ENAMETOOLONG;
	memcpy(buf, name, strlen(name) + 1);
	return (ssize_t)strlen(name);
}

int fdpath_exists(int root, const char *path)
{
	CLEAN_FD int fd = fdpath_open(root, path, O_PATH | O_NOFOLLOW);

	if (fd >= 0)
		return 1;
	return fd == -ENOENT || fd == -ENOTDIR ? 0 : fd;
}

int fdpath_each(int root, const char *path, fdpath_entry *each, void *data)
{
	CLEAN_FD int dir = fdpath_open(root, path, O_RDONLY | O_DIRECTORY);
	_Alignas(struct dirent64) char buf[LISTING_BYTES];
	const struct dirent64 *entry;
	ssize_t n = 0;
	int r = dir < 0 ? dir : 0;

	while (!r && (n = getdents64(dir, buf, sizeof(buf))) > 0)
		for (ssize_t at = 0; at < n && !r; at += entry->d_reclen) {
			entry = (const void *)(buf + at);
			if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
				r = each(data, dir, entry);
		}
	return n < 0 && errno != ENOENT ? -errno : r; /* ENOENT: it was removed meanwhile */
}

struct listing {
	struct arena *arena;
	struct list *names;
};

static int add_name(void *data, int dir UNUSED, const struct dirent64 *entry)
{
	struct listing *listing = data;

	list_add_string(listing->arena, listing->names, arena_strdup(listing->arena, entry->d_name));
	return 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

int fdpath_list(int root, const char *path, struct arena *arena, struct list *names)
{
	struct list found = { 0 };
	int r = fdpath_each(root, path, add_name, &(struct listing){ arena, &found });

	if (r < 0)
		return r;
	if (found.n)
		qsort(found.items, found.n, sizeof(char *), by_name);
	*names = found;
	return (int)found.n;
}
