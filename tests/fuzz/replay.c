/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inputs that are kept, as a unit test: every file of the directory named, then each of them cut
 * short and with single bytes turned, so that the edges are walked over without a fuzzer too.
 */
#include "fuzz.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"

enum { INPUT_MAX = 1 << 20, TURNS_MAX = 4096 };

static void replay(const uint8_t *bytes, size_t n)
{
	/* copies of the exact size, so that a sanitizer sees one byte too many */
	CLEAN_FREE uint8_t *copy = malloc(n ? n : 1);

	if (!copy)
		abort();
	memcpy(copy, bytes, n);
	LLVMFuzzerTestOneInput(copy, n);
	for (size_t i = 0; i < n && i < TURNS_MAX; i++) {
		copy[i] ^= 0xff;
		LLVMFuzzerTestOneInput(copy, n);
		copy[i] ^= 0xfe;
		LLVMFuzzerTestOneInput(copy, n);
		copy[i] = bytes[i];
	}
}

static int replay_file(int directory, const char *name)
{
	CLEAN_FD int fd = openat(directory, name, O_RDONLY | O_CLOEXEC);
	CLEAN_FREE uint8_t *bytes = malloc(INPUT_MAX);
	ssize_t n = fd >= 0 && bytes ? read(fd, bytes, INPUT_MAX) : -1;

	if (n < 0)
		return -1;
	replay(bytes, (size_t)n);
	for (size_t cut = 0; cut < (size_t)n; cut += 1 + cut / 8)
		LLVMFuzzerTestOneInput(bytes, cut);
	return 0;
}

int main(int argc, char **argv)
{
	DIR *dir = argc == 2 ? opendir(argv[1]) : NULL;
	const struct dirent *entry;
	int n = 0;

	if (!dir) {
		fprintf(stderr, "usage: %s DIRECTORY\n", argv[0]);
		return EXIT_FAILURE;
	}
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		if (replay_file(dirfd(dir), entry->d_name) < 0) {
			fprintf(stderr, "%s cannot be read\n", entry->d_name);
			return EXIT_FAILURE;
		}
		n++;
	}
	closedir(dir);
	printf("%d inputs replayed\n", n);
	return n ? EXIT_SUCCESS : EXIT_FAILURE; /* no inputs: nothing was shown */
}
