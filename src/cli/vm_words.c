/* SPDX-License-Identifier: Apache-2.0 */
/* See vm_words.h. */
#include "cli/vm_words.h"

#include <string.h>

enum color vm_state_color(const char *state)
{
	static const struct {
		const char *state;
		enum color color;
	} rows[] = {
		{ "crashed", COLOR_BAD },  { "migrating", COLOR_BUSY }, { "paused", COLOR_WARN },
		{ "running", COLOR_GOOD }, { "starting", COLOR_BUSY },	{ "stopping", COLOR_BUSY },
		{ "unknown", COLOR_WARN },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (!strcmp(rows[i].state, state))
			return rows[i].color;
	return COLOR_NONE;
}

const char *vm_cards(const struct cli *cli, const json_t *vm)
{
	const char *all = NULL, *one;
	size_t i;
	json_t *card;

	json_array_foreach (json_object_get(vm, "gpu_passthrough"), i, card) {
		one = json_text(cli, card, "pci_address") ?: "?";
		all = all ? arena_printf(cli->arena, "%s, %s", all, one) : one;
	}
	return all;
}

void vm_print_made(struct cli *cli, const json_t *vm)
{
	if (!strcmp(json_text(cli, vm, "state") ?: "", "unknown"))
		printf("%s was made\n", json_text(cli, vm, "id") ?: "?");
	vm_print_line(cli, vm);
}

void vm_print_line(struct cli *cli, const json_t *vm)
{
	size_t i;
	json_t *text;

	const char *state = json_text(cli, vm, "state") ?: "?";

	if (!strcmp(state, "unknown"))
		printf("%s: whether it runs is not known: %s\n", json_text(cli, vm, "id") ?: "?",
		       json_reason(cli, vm, "state") ?: "the daemon does not say why");
	else
		printf("%s is %s\n", json_text(cli, vm, "id") ?: "?", state);
	if (!strcmp(state, "stopped"))
		return;
	fflush(stdout);
	json_array_foreach (json_object_get(vm, "warnings"), i, text)
		fprintf(stderr, "horcrux: note: %s\n",
			text_safe(cli, json_string_value(text)) ?: "");
}
