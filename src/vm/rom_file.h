/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Option ROMs that a user names: a file in one of the configured folders, opened beneath it, so
 * that no link leads out of it. The folders are the host's own, also where another directory stands
 * for its "/": it is libvirt that reads them. Any thread; blocks for a file's reading.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"

enum { ROM_FILE_MAX = 16 << 20 };

struct rom_file {
	const char *path; /* whole, for QEMU */
	const uint8_t *bytes;
	size_t n;
};

/*
 * name: a bare name, looked for in each folder in turn, or a path that begins with one of them. -1
 * with invalid_value: there is none, it is no regular file, it is empty or larger than
 * ROM_FILE_MAX, it cannot be read, or it is outside of the folders.
 */
int rom_file_read(const char *const *folders, const char *name, struct arena *arena,
		  struct rom_file *ret, struct error *err);
