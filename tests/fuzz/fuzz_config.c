/* SPDX-License-Identifier: Apache-2.0 */
/* Any text as a configuration: it is whole, or an error that names the file and a line. */
#include <stdlib.h>
#include <string.h>

#include "daemon/config.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	CLEANUP(arena_freep) struct arena *arena = arena_new();
	struct config config = { 0 };
	struct error err = { 0 };

	if (!config_parse(arena_strndup(arena, (const char *)bytes, n), "file", 0, arena, &config,
			  &err)) {
		if (config.classes.n_extra < 0 || config.classes.n_extra > (int)ARRAY_SIZE(config.classes.extra))
			abort();
		return 0;
	}
	if (err.code != ERROR_USAGE || strncmp(err.message, "file, line ", 11))
		abort();
	return 0;
}
