/* SPDX-License-Identifier: Apache-2.0 */
/* See profile.h. */
#include "vgpu/profile.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/rows.h"

enum { NUMBER_MAX = 1 << 30, GB_MAX = 4096 };

/* ---- descriptions ---- */

/* A whole number up to NUMBER_MAX, and what stands after it; ROW_NULL: it is none. */
static int64_t number_of(const char *text, const char **rest)
{
	unsigned long n;
	char *end;

	if (!isdigit((unsigned char)*text))
		return ROW_NULL;
	n = strtoul(text, &end, 10);
	*rest = end + strspn(end, " \t");
	return n > NUMBER_MAX ? ROW_NULL : (int64_t)n;
}

static int64_t plain_number(const char *text)
{
	const char *rest = text;
	int64_t n = number_of(text, &rest);

	return *rest ? ROW_NULL : n;
}

/* MiB. A size without its unit says nothing. */
static int64_t size_mb(const char *text)
{
	static const struct {
		const char *unit;
		int64_t mb;
	} units[] = { { "M", 1 }, { "MB", 1 }, { "MiB", 1 }, { "G", 1024 }, { "GB", 1024 }, { "GiB", 1024 } };
	const char *rest = "";
	int64_t n = number_of(text, &rest);

	for (size_t i = 0; n != ROW_NULL && i < ARRAY_SIZE(units); i++)
		if (!strcasecmp(rest, units[i].unit) && n <= NUMBER_MAX / units[i].mb)
			return n * units[i].mb;
	return ROW_NULL;
}

static bool is_resolution(const char *text)
{
	size_t wide = strspn(text, "0123456789");
	const char *high = text + wide + 1;

	return wide && text[wide] == 'x' && *high && !high[strspn(high, "0123456789")];
}

static void note(const struct row_pair *said, struct profile *out)
{
	if (!strcasecmp(said->key, "num_heads"))
		out->heads = plain_number(said->value);
	else if (!strcasecmp(said->key, "framebuffer"))
		out->framebuffer_mb = size_mb(said->value);
	else if (!strcasecmp(said->key, "max_instance"))
		out->max_instances = plain_number(said->value);
	else if ((!strcasecmp(said->key, "max_resolution") || !strcasecmp(said->key, "resolution")) &&
		 is_resolution(said->value))
		out->max_resolution = said->value;
}

static const char *trimmed(struct arena *arena, const char *from, const char *end)
{
	while (from < end && isspace((unsigned char)*from))
		from++;
	while (end > from && isspace((unsigned char)end[-1]))
		end--;
	return arena_strndup(arena, from, (size_t)(end - from));
}

static bool is_said(const struct profile *out, const char *key)
{
	for (LIST_EACH(const struct row_pair, it, &out->details))
		if (!strcasecmp(it->key, key))
			return true;
	return false;
}

void profile_describe(const char *text, struct arena *arena, struct profile *out)
{
	struct row_pair said;
	const char *end, *between;

	*out = (struct profile){ ROW_NULL, ROW_NULL, ROW_NULL, NULL, { 0 } };
	for (; text && *text; text = *end ? end + 1 : end) {
		end = text + strcspn(text, ",\n");
		between = text + strcspn(text, "=:");
		if (between >= end)
			continue;
		said.key = trimmed(arena, text, between);
		said.value = trimmed(arena, between + 1, end);
		if (!*said.key || is_said(out, said.key))
			continue;
		*list_add(arena, &out->details, struct row_pair) = said;
		note(&said, out);
	}
}

/* ---- names ---- */

const char *profile_bare_name(const char *name)
{
	static const char *const brands[] = { "GRID ", "NVIDIA " };

	for (size_t i = 0; i < ARRAY_SIZE(brands); i++)
		if (!strncmp(name, brands[i], strlen(brands[i])))
			return name + strlen(brands[i]);
	return name;
}

/* What may stand after the letter of a profile with a GPU instance behind it, and of one without. */
static bool ends_well(const char *end, char letter, bool mig)
{
	static const char *const instances[] = { "ME", "NOME", "MEALL", "GFX" };

	for (size_t i = 0; mig && i < ARRAY_SIZE(instances); i++)
		if (!strcmp(end, instances[i]))
			return true;
	return !*end || (letter == 'B' && isdigit((unsigned char)*end) && !end[1]);
}

/* "-1-5C": the part before the last one is a number of slices. */
static bool has_slices(const char *name, const char *dash)
{
	const char *at = dash;

	while (at > name && isdigit((unsigned char)at[-1]))
		at--;
	return at < dash && at > name + 1 && at[-1] == '-';
}

bool profile_name_parse(const char *name, struct profile_name *out)
{
	static const char letters[] = "ABQC"; /* by enum profile_class */
	const char *bare = profile_bare_name(name), *dash = strrchr(bare, '-'), *letter;
	const char *rest = "";
	int64_t gb = dash ? number_of(dash + 1, &rest) : ROW_NULL;
	bool mig;

	if (gb == ROW_NULL || gb > GB_MAX || dash == bare || !*rest ||
	    !isdigit((unsigned char)rest[-1]))
		return false;
	letter = strchr(letters, *rest);
	mig = has_slices(bare, dash);
	if (!letter || !ends_well(rest + 1, *rest, mig))
		return false;
	*out = (struct profile_name){ gb ? gb * 1024 : 512, (enum profile_class)(letter - letters), mig };
	return true;
}

bool profile_is(const char *id, const char *directory, const char *name, const char *text)
{
	return !strcmp(id, text) || !strcmp(directory, text) ||
	       (name && !strcmp(profile_bare_name(name), profile_bare_name(text)));
}
