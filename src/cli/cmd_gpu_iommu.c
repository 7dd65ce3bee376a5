/* SPDX-License-Identifier: Apache-2.0 */
/* horcrux gpu iommu: the verdict, its evidence, and what to do. Main thread. */
#include "cli/commands.h"
#include "cli/gpu_words.h"
#include "cli/source.h"

/* yes, no, or that it is unknown and why. */
static const char *fact(const struct cli *cli, const json_t *status, const char *key)
{
	const json_t *value = json_object_get(status, key);
	const char *reason = json_reason(cli, status, key);

	if (json_is_boolean(value))
		return json_is_true(value) ? "yes" : "no";
	return reason ? arena_printf(cli->arena, "unknown: %s", reason) : "unknown";
}

static void print_list(struct cli *cli, const json_t *status, const char *key, const char *title)
{
	const json_t *list = json_object_get(status, key);
	size_t i;
	json_t *item;

	if (!json_array_size(list))
		return;
	print_title(cli, "%s", title);
	json_array_foreach (list, i, item)
		print_item(cli, text_safe(cli, json_string_value(item)) ?: "?");
}

static void print_verdict(struct cli *cli, const json_t *status)
{
	int64_t groups = json_number(status, "groups", -1);
	const char *words = gpu_joined(cli, json_object_get(status, "cmdline"));

	print_title(cli, "%s", json_text(cli, status, "message") ?: "The daemon gave no verdict");
	print_field(cli, "enabled", fact(cli, status, "enabled"));
	print_field(cli, "kind", gpu_word(cli, status, "kind"));
	print_field(cli, "groups",
		    groups < 0 ? fact(cli, status, "groups")
			       : arena_printf(cli->arena, "%lld", (long long)groups));
	print_field(
		cli, "interrupts",
		arena_printf(cli->arena, "remapped: %s", fact(cli, status, "interrupt_remapping")));
	print_field(cli, "unsafe ones allowed", fact(cli, status, "unsafe_interrupts"));
	print_field(cli, "isolation faked", fact(cli, status, "acs_override"));
	print_field(cli, "command line", words ?: "nothing in it that matters here");
}

int cmd_gpu_iommu(struct cli *cli, char *const *words UNUSED, struct failure *why)
{
	CLEAN_ANSWER struct answer answer = { 0 };

	if (source_ask(cli, ASK_IOMMU, NULL, &answer, why) < 0)
		return -1;
	if (cli->options.output == OUTPUT_JSON) {
		print_json(cli, answer.bytes, answer.n);
		return 0;
	}
	print_verdict(cli, answer.json);
	print_list(cli, answer.json, "evidence", "What says so");
	print_list(cli, answer.json, "problems", "What is wrong, and what to do");
	return 0;
}
