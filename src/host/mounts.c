/* SPDX-License-Identifier: Apache-2.0 */
/* See mounts.h. */
#include "host/mounts.h"

#include <stdio.h>
#include <string.h>

#include "base/fdpath.h"

enum { TABLE_BYTES = 32 * 1024 * 1024 }; /* a host of thousands of containers has megabytes */

/* mountinfo: "36 35 98:0 /root /point options [tags…] - type source super-options" */
enum { WORD_DEVICE = 2, WORD_POINT = 4, WORD_OPTIONS = 5 };

/* The next word, with the kernel's \040 and the like undone; NULL at the end of the line. */
static char *next_word(const char **at, struct arena *arena)
{
	const char *from = *at + strspn(*at, " \t");
	size_t n = strcspn(from, " \t\n");
	char *word, *to;

	*at = from + n;
	if (!n)
		return NULL;
	word = arena_strndup(arena, from, n);
	to = word;
	for (const char *c = word; *c; c++) {
		if (c[0] == '\\' && strspn(c + 1, "01234567") >= 3) {
			*to++ = (char)((c[1] - '0') << 6 | (c[2] - '0') << 3 | (c[3] - '0'));
			c += 3;
		} else {
			*to++ = *c;
		}
	}
	*to = '\0';
	return word;
}

static const char *next_line(const char *at)
{
	const char *end = strchrnul(at, '\n');

	return *end ? end + 1 : end;
}

static bool parse_mount(const char *at, struct arena *arena, struct mount *ret)
{
	struct mount mount = { 0 };
	const char *word;

	for (int i = 0; (word = next_word(&at, arena)); i++) {
		if (i == WORD_DEVICE && sscanf(word, "%u:%u", &mount.major, &mount.minor) != 2)
			return false;
		if (i == WORD_POINT)
			mount.point = word;
		if (i > WORD_OPTIONS && !strcmp(word, "-"))
			break;
	}
	mount.type = next_word(&at, arena);
	mount.source = next_word(&at, arena);
	mount.options = next_word(&at, arena) ?: "";
	if (!mount.point || !mount.type)
		return false;
	mount.source = mount.source ?: "";
	*ret = mount;
	return true;
}

void mounts_parse(const char *text, struct arena *arena, struct list *mounts)
{
	struct mount mount;

	for (; *text; text = next_line(text))
		if (parse_mount(text, arena, &mount))
			*list_add(arena, mounts, struct mount) = mount;
}

int mounts_read(const struct host_root *root, struct arena *arena, struct list *mounts,
		const char **file)
{
	static const char *const files[] = { "proc/1/mountinfo", "proc/self/mountinfo" };
	const char *text;
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		r = fdpath_read_all(root->fd, files[i], TABLE_BYTES, arena, &text);
		if (r < 0)
			continue;
		*file = files[i];
		mounts_parse(text, arena, mounts);
		return 0;
	}
	return r;
}

int swaps_read(const struct host_root *root, struct arena *arena, struct list *swaps)
{
	const char *text, *at, *path;
	int r = fdpath_read_all(root->fd, "proc/swaps", TABLE_BYTES, arena, &text);

	if (r < 0)
		return r;
	for (text = next_line(text); *text; text = next_line(text)) { /* the first is a title */
		at = text;
		path = next_word(&at, arena);
		if (path)
			list_add_string(arena, swaps, path);
	}
	return 0;
}
