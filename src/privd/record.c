/* SPDX-License-Identifier: Apache-2.0 */
/* See record.h. */
#include "privd/record.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-id128.h>
#include <unistd.h>

enum { RECORD_MAGIC = 0x48585243, TRIES = 1000 };

static int boot_id(uint8_t out[static 16])
{
	sd_id128_t id;
	int r = sd_id128_get_boot(&id);

	if (r >= 0)
		memcpy(out, id.bytes, sizeof(id.bytes));
	return r;
}

int record_create(int directory, char name[static RECORD_NAME])
{
	static const struct record empty;
	static unsigned count;
	int fd = -1;

	for (int i = 0; i < TRIES && fd < 0; i++) {
		snprintf(name, RECORD_NAME, "%d-%u", getpid(), count++);
		fd = openat(directory, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		if (fd < 0 && errno != EEXIST)
			return -errno;
	}
	/* room for it, now: a child that could not write it would seem to have been killed */
	if (fd >= 0 && pwrite(fd, &empty, sizeof(empty), 0) != (ssize_t)sizeof(empty)) {
		unlinkat(directory, name, 0);
		close(fd);
		return -ENOSPC;
	}
	return fd < 0 ? -EEXIST : fd;
}

static int put(int fd, const struct record *record)
{
	ssize_t n = pwrite(fd, record, sizeof(*record), 0);

	if (n < 0)
		return -errno;
	return n == (ssize_t)sizeof(*record) ? 0 : -EIO;
}

int record_begin(int fd, struct record *record)
{
	int r = boot_id(record->boot);

	record->magic = RECORD_MAGIC;
	record->size = sizeof(*record);
	return r < 0 ? r : put(fd, record);
}

int record_end(int fd, const struct record *record)
{
	return put(fd, record);
}

int record_clear(int fd)
{
	static const struct record empty;

	return put(fd, &empty);
}

bool record_read(int fd, struct record *record)
{
	struct record r;
	uint8_t boot[16];

	if (pread(fd, &r, sizeof(r), 0) != (ssize_t)sizeof(r) || boot_id(boot) < 0)
		return false;
	if (r.magic != RECORD_MAGIC || r.size != sizeof(r) || memcmp(r.boot, boot, sizeof(boot)))
		return false;
	*record = r;
	return true;
}
