/* SPDX-License-Identifier: Apache-2.0 */
/* See modules.h. Lists: modules.dep(5), modules.builtin; both have the path of a .ko a line. */
#include "host/modules.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fdpath.h"
#include "host/inventory.h"

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

/* What is left of the module's references without those of modules that need it; -errno. */
static int64_t references(const struct host_root *root, const char *module, bool dependents)
{
	CLEANUP(arena_freep) struct arena *arena = arena_new();
	char path[PATH_TEXT], text[NUMBER_TEXT], *end;
	struct list names = { 0 };
	int64_t n;
	int r;

	snprintf(path, sizeof(path), "%s/refcnt", module);
	r = (int)fdpath_read(root->fd, path, text, sizeof(text));
	if (r < 0)
		return r;
	n = strtoll(text, &end, 10);
	if (end == text || *end)
		return -EINVAL;
	if (!dependents)
		return n;
	snprintf(path, sizeof(path), "%s/holders", module);
	r = fdpath_list(root->fd, path, arena, &names);
	return r < 0 ? r : n - (int64_t)names.n;
}

bool driver_unused(const struct host_root *root, const char *driver)
{
	char module[PATH_TEXT];

	snprintf(module, sizeof(module), "sys/bus/pci/drivers/%.60s/module", driver);
	return references(root, module, false) == 0 &&
	       (!driver_is_vfio(driver) || references(root, "sys/module/vfio", true) == 0);
}
