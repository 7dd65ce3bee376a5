/* SPDX-License-Identifier: Apache-2.0 */
/* See gpu_words.h. */
#include "cli/gpu_words.h"

#include <string.h>

static const struct {
	const char *state;
	enum color color;
	const char *means;
} states[] = {
	{ "host", COLOR_NONE, "on its host driver" },
	{ "unbound", COLOR_WARN, "no driver has it" },
	{ "preparing", COLOR_BUSY, "being bound to vfio" },
	{ "ready", COLOR_GOOD, "on vfio, and free" },
	{ "in_use", COLOR_BUSY, "on vfio, and a VM or process has it" },
	{ "shared", COLOR_BUSY, "carries virtual functions or instances" },
	{ "releasing", COLOR_BUSY, "being given back to its host driver" },
	{ "mixed", COLOR_WARN, "its functions differ: a change that is not finished, or not ours" },
	{ "stuck", COLOR_BAD, "a change of it does not come back from the kernel" },
	{ "quarantined", COLOR_BAD, "a reset failed, or it does not answer" },
	{ "absent", COLOR_BAD, "it is not there any more" },
};

enum color gpu_state_color(const char *state)
{
	for (size_t i = 0; i < ARRAY_SIZE(states); i++)
		if (!strcmp(states[i].state, state))
			return states[i].color;
	return COLOR_NONE;
}

const char *gpu_state_means(const char *state)
{
	for (size_t i = 0; i < ARRAY_SIZE(states); i++)
		if (!strcmp(states[i].state, state))
			return states[i].means;
	return "";
}

const char *gpu_word(const struct cli *cli, const json_t *object, const char *key)
{
	return json_text(cli, object, key) ?: (json_reason(cli, object, key) ? "?" : "-");
}

const char *gpu_joined(const struct cli *cli, const json_t *array)
{
	const char *all = NULL, *one;
	size_t i;
	json_t *item;

	json_array_foreach (array, i, item) {
		one = text_safe(cli, json_string_value(item));
		if (one)
			all = all ? arena_printf(cli->arena, "%s, %s", all, one) : one;
	}
	return all;
}

static const char *user(const struct cli *cli, const json_t *holder)
{
	const char *kind = json_text(cli, holder, "kind"), *id = json_text(cli, holder, "id");
	const char *name = json_text(cli, holder, "name");

	if (!kind || !id)
		return "?";
	if (!strcmp(kind, "process"))
		return arena_printf(cli->arena, "%s (%s)", name ?: "process", id);
	return name ?: id;
}

const char *gpu_users(const struct cli *cli, const json_t *device)
{
	const json_t *used_by = json_object_get(device, "used_by");
	const char *all = NULL, *one;
	size_t i;
	json_t *holder;

	if (!json_is_array(used_by))
		return "?";
	json_array_foreach (used_by, i, holder) {
		one = user(cli, holder);
		all = all ? arena_printf(cli->arena, "%s, %s", all, one) : one;
	}
	return all ?: "-";
}
