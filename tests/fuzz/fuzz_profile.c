/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as the name of a vGPU type, a zero, and its description. What is told is a number that can be. */
#include <stdlib.h>
#include <string.h>

#include "base/rows.h"
#include "fuzz.h"
#include "vgpu/profile.h"

static void must(bool holds)
{
	if (!holds)
		abort();
}

static bool sane(int64_t n)
{
	return n == ROW_NULL || (n >= 0 && n <= 1 << 30);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	CLEANUP(arena_freep) struct arena *arena = arena_new();
	const char *name = arena_strndup(arena, (const char *)bytes, strnlen((const char *)bytes, n));
	size_t rest = strlen(name) < n ? strlen(name) + 1 : n;
	const char *text = arena_strndup(arena, (const char *)bytes + rest,
					 strnlen((const char *)bytes + rest, n - rest));
	struct profile_name parsed;
	struct profile said;

	if (profile_name_parse(name, &parsed)) {
		must(parsed.framebuffer_mb >= 512 && sane(parsed.framebuffer_mb));
		must(parsed.class <= PROFILE_COMPUTE);
	}
	must(profile_is("id", "directory", name, name));
	profile_describe(text, arena, &said);
	must(sane(said.framebuffer_mb) && sane(said.max_instances) && sane(said.heads));
	for (LIST_EACH(const struct row_pair, pair, &said.details))
		must(*pair->key && strstr(text, pair->key) && strstr(text, pair->value));
	return 0;
}
