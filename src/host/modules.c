/* SPDX-License-Identifier: Apache-2.0 */
/* See modules.h. Lists: modules.dep(5), modules.builtin; both have the path of a .ko a line. */
#include "host/modules.h"

#include <stdio.h>
#include <string.h>

#include "base/fdpath.h"

enum { LIST_BYTES = 4 * 1024 * 1024, PATH_TEXT = 512, RELEASE_TEXT = 128, NUMBER_TEXT = 32 };

/* Module files have either - or _ where the driver's name has. */
static bool same_char(char a, char b)
{
	return a == b || (strchr("-_", a) && strchr("-_", b) && a && b);
}

/* Is "…/<name>.ko" (or .ko.xz, .ko:) a file of this list? */
static bool lists(const char *text, const char *name)
{
	size_t n = strlen(name), i;

	for (const char *at = text; (at = strstr(at, ".ko")); at += 3) {
		if ((size_t)(at - text) <= n || at[-(ptrdiff_t)n - 1] != '/')
			continue;
		for (i = 0; i < n && same_char(at[(ptrdiff_t)i - (ptrdiff_t)n], name[i]); i++)
			;
		if (i == n)
			return true;
	}
	return false;
}

enum fact module_available(const struct host_root *root, const char *driver, struct arena *arena,
			   const char **evidence)
{
	static const char *const files[] = { "modules.builtin", "modules.dep" };
	CLEANUP(arena_freep) struct arena *lists_arena = arena_new();
	char path[PATH_TEXT], release[RELEASE_TEXT];
	bool read_all = true;
	const char *text;

	snprintf(path, sizeof(path), "sys/bus/pci/drivers/%s", driver);
	if (fdpath_exists(root->fd, path) == 1) {
		*evidence = arena_printf(arena, "/%s", path);
		return FACT_YES;
	}
	if (fdpath_read(root->fd, "proc/sys/kernel/osrelease", release, sizeof(release)) <= 0) {
		*evidence = "/proc/sys/kernel/osrelease cannot be read";
		return FACT_UNKNOWN;
	}
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		snprintf(path, sizeof(path), "lib/modules/%s/%s", release, files[i]);
		if (fdpath_read_all(root->fd, path, LIST_BYTES, lists_arena, &text) < 0) {
			read_all = false;
			continue;
		}
		if (lists(text, driver)) {
			*evidence = arena_printf(arena, "/%s", path);
			return FACT_YES;
		}
	}
	*evidence = arena_printf(arena,
				 read_all ? "it is not among the modules of kernel %s"
					  : "the modules of kernel %s cannot be listed",
				 release);
	return read_all ? FACT_NO : FACT_UNKNOWN;
}

bool module_unused(const struct host_root *root, const char *directory)
{
	char path[PATH_TEXT], text[NUMBER_TEXT];

	snprintf(path, sizeof(path), "%.200s/refcnt", directory);
	return fdpath_attribute(root->fd, path, text, sizeof(text)) > 0 && !strcmp(text, "0");
}
