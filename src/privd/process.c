/* SPDX-License-Identifier: Apache-2.0 */
/* See process.h. */
#include "privd/process.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

#include "base/cleanup.h"

enum { STAT_BYTES = 1024, FIELD_STATE = 3, FIELD_START = 22 };

uint64_t process_start_time(pid_t pid)
{
	char path[32], text[STAT_BYTES], *field;
	CLEAN_FD int fd = -1;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	n = read(fd, text, sizeof(text) - 1);
	if (n <= 0)
		return 0;
	text[n] = '\0';
	field = strrchr(text, ')'); /* the name may hold anything, blanks and brackets too */
	if (!field)
		return 0;
	/* ") S ppid …": the state is two bytes on, and each blank leads to the next field */
	if (field[1] != ' ' || field[2] == 'Z' || field[2] == 'X')
		return 0;
	for (int i = FIELD_STATE - 1; field && i < FIELD_START; i++)
		field = strchr(field + 1, ' ');
	return field ? strtoull(field + 1, NULL, 10) : 0;
}

int process_open(pid_t pid, uint64_t start_time)
{
	CLEAN_FD int fd = -1;

	if (pid <= 0 || !start_time)
		return -ESRCH;
	fd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (fd < 0)
		return errno == EINVAL ? -ESRCH : -errno;
	/* asked after the descriptor was got: from here on it cannot be another one's pid */
	if (process_start_time(pid) != start_time)
		return -ESRCH;
	return TAKE_FD(fd);
}
