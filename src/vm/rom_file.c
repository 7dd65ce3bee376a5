/* SPDX-License-Identifier: Apache-2.0 */
/* See rom_file.h. */
#include "vm/rom_file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/strbuf.h"

enum { TRIES = 16 };

/* A descriptor, or -errno. A link may lead anywhere within the folder, as it does for QEMU. */
static int open_beneath(const char *folder, const char *name)
{
	CLEAN_FD int at = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
	const struct open_how how = { .flags = O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK,
				      .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS };
	long fd;

	if (at < 0)
		return -errno;
	for (int i = 0; i < TRIES; i++) {
		fd = syscall(SYS_openat2, at, name, &how, sizeof(how));
		if (fd >= 0 || errno != EAGAIN) /* something was renamed meanwhile */
			break;
	}
	return fd >= 0 ? (int)fd : -errno;
}

static int cannot(struct error *err, const char *name, int error)
{
	if (error == EXDEV || error == ELOOP) {
		error_set(err, ERROR_INVALID_VALUE, "the ROM %s is a link out of its folder", name);
		return error_hint(err, "put the file itself into the folder");
	}
	error_errno(err, ERROR_INVALID_VALUE, error, "the ROM %s cannot be read", name);
	return error_hint(err, "let everybody read it: chmod a+r, and a+x of the folders above it");
}

static const char from_card[] = "use a file that was read from this very card, whole";

static int read_all(int fd, const char *name, struct arena *arena, struct rom_file *ret,
		    struct error *err)
{
	struct stat st;
	uint8_t *bytes;
	ssize_t n;

	if (fstat(fd, &st) < 0)
		return cannot(err, name, errno);
	if (!S_ISREG(st.st_mode)) {
		error_set(err, ERROR_INVALID_VALUE, "the ROM %s is %s", name,
			  S_ISDIR(st.st_mode) ? "a directory" : "no regular file");
		return error_hint(err, "name the file that holds the ROM");
	}
	if (st.st_size < 1 || st.st_size > ROM_FILE_MAX) {
		error_set(err, ERROR_INVALID_VALUE,
			  "the ROM %s has %lld bytes; an option ROM has at least 1 and at most %d",
			  name, (long long)st.st_size, ROM_FILE_MAX);
		return error_hint(err, "%s", from_card);
	}
	bytes = arena_alloc(arena, (size_t)st.st_size, 1);
	for (ret->n = 0; ret->n < (size_t)st.st_size; ret->n += (size_t)n) {
		n = pread(fd, bytes + ret->n, (size_t)st.st_size - ret->n, (off_t)ret->n);
		if (n < 0)
			return cannot(err, name, errno);
		if (!n)
			break;
	}
	ret->bytes = bytes;
	return 0;
}

/* What stands after "FOLDER/"; NULL when the path does not begin so. */
static const char *beneath(const char *folder, const char *path)
{
	size_t n = strlen(folder);

	while (n > 1 && folder[n - 1] == '/')
		n--;
	if (strncmp(path, folder, n) || path[n] != '/')
		return NULL;
	path += n;
	return path + strspn(path, "/");
}

/* in_one: its path begins with one of the folders, but it is not there. */
static int not_found(const char *const *folders, const char *name, bool in_one, struct error *err)
{
	struct strbuf all = STRBUF_INIT(256);

	for (size_t i = 0; folders[i]; i++)
		strbuf_printf(&all, "%s%s", i ? ", " : "", folders[i]);
	if (*name == '/' && in_one)
		error_set(err, ERROR_INVALID_VALUE, "there is no ROM %s", name);
	else if (*name == '/')
		error_set(err, ERROR_INVALID_VALUE, "the ROM %s is in none of the ROM folders",
			  name);
	else
		error_set(err, ERROR_INVALID_VALUE, "there is no ROM %s in any of the ROM folders",
			  name);
	error_hint(err, "the ROM folders are: %s", strbuf_text(&all));
	strbuf_finish(&all);
	return -1;
}

int rom_file_read(const char *const *folders, const char *name, struct arena *arena,
		  struct rom_file *ret, struct error *err)
{
	const char *rest;
	bool in_one = false;

	for (size_t i = 0; folders[i]; i++) {
		rest = *name == '/' ? beneath(folders[i], name) : name;
		if (!rest)
			continue;
		in_one = true;
		CLEAN_FD int fd = open_beneath(folders[i], rest);

		if (fd == -ENOENT)
			continue;
		if (fd < 0)
			return cannot(err, name, -fd);
		ret->path = arena_printf(arena, "%s/%s", folders[i], rest);
		return read_all(fd, name, arena, ret, err);
	}
	return not_found(folders, name, in_one, err);
}
