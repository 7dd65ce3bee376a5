/* SPDX-License-Identifier: Apache-2.0 */
/* horcrux gpu group: what shares a card's IOMMU group, and what blocks it. Main thread. */
#include <string.h>

#include "cli/commands.h"
#include "cli/gpu_words.h"
#include "cli/source.h"

enum { CELL_ADDRESS, CELL_ROLE, CELL_DRIVER, CELL_BLOCKS, CELL_CARRIES, CELL_NAME, CELLS };

static const struct column columns[CELLS] = {
	[CELL_ADDRESS] = { "ADDRESS" },
	[CELL_ROLE] = { "ROLE" },
	[CELL_DRIVER] = { "DRIVER", .cut = true },
	[CELL_BLOCKS] = { "BLOCKS" },
	[CELL_CARRIES] = { "CARRIES", .cut = true },
	[CELL_NAME] = { "NAME", .cut = true },
};

static const char *carried(const struct cli *cli, const json_t *member)
{
	const json_t *carries = json_object_get(member, "carries");

	if (!json_is_array(carries))
		return "?";
	return gpu_joined(cli, carries) ?: "-";
}

static void add_member(const struct cli *cli, struct table *table, const json_t *member)
{
	const json_t *blocks = json_object_get(member, "blocks");
	const char *const cells[CELLS] = {
		[CELL_ADDRESS] = gpu_word(cli, member, "pci_address"),
		[CELL_ROLE] = gpu_word(cli, member, "role"),
		[CELL_DRIVER] = gpu_word(cli, member, "driver"),
		[CELL_BLOCKS] = !json_is_boolean(blocks) ? "?"
				: json_is_true(blocks)	 ? "yes"
							 : "no",
		[CELL_CARRIES] = carried(cli, member),
		[CELL_NAME] = gpu_word(cli, member, "device_name"),
	};

	table_row(table, cells, CELL_BLOCKS, json_is_true(blocks) ? COLOR_BAD : COLOR_NONE);
}

static void print_members(const struct cli *cli, const json_t *members)
{
	CLEANUP(table_freep) struct table *table = table_new(cli, columns, CELLS);
	size_t i;
	json_t *member;

	json_array_foreach (members, i, member)
		add_member(cli, table, member);
	table_print(table);
}

static const char *blocker(const struct cli *cli, const json_t *member)
{
	const char *carries = gpu_joined(cli, json_object_get(member, "carries"));
	const char *reason = json_reason(cli, member, "carries");

	return arena_printf(
		cli->arena, "%s, %s, is on host driver %s%s%s%s%s",
		gpu_word(cli, member, "pci_address"), gpu_word(cli, member, "device_name"),
		gpu_word(cli, member, "driver"), carries ? "; " : "", carries ?: "",
		reason ? "; what of the host lives on it is not known: " : "", reason ?: "");
}

static size_t print_blockers(struct cli *cli, const json_t *members)
{
	size_t i, n = 0;
	json_t *member;

	json_array_foreach (members, i, member) {
		if (!json_is_true(json_object_get(member, "blocks")))
			continue;
		if (!n++)
			print_title(cli, "What keeps a VM from using it");
		print_item(cli, blocker(cli, member));
	}
	return n;
}

/* What the group itself is like, beside its members: no isolation, or memory firmware keeps. */
static void print_verdict(struct cli *cli, const json_t *device, const json_t *members)
{
	const json_t *viable = json_object_get(device, "viable");
	const json_t *ok = json_object_get(viable, "ok");
	const char *reason = json_reason(cli, device, "viable")
				     ?: json_reason(cli, device, "viable.ok");

	if (print_blockers(cli, members)) {
		print_title(cli, "What can be done");
		print_item(cli,
			   "put the card into another slot: slots behind the CPU's own ports are "
			   "more often alone in their group");
		print_item(cli,
			   "take what blocks out of use and out of the host, or give it away with "
			   "the card, if the host can do without it");
		return;
	}
	if (json_is_true(ok))
		print_title(cli, "Nothing in it keeps a VM from using the card.");
	else if (json_is_false(ok) && json_array_size(json_object_get(viable, "blockers")))
		print_title(cli, "Another function of the card is blocked in its own group: %s",
			    gpu_joined(cli, json_object_get(viable, "blockers")));
	else if (json_is_false(ok))
		print_title(
			cli,
			"No member blocks it, but the group cannot be given to a VM: it has no "
			"isolation, or the firmware keeps memory of it (see: horcrux gpu iommu)");
	else
		print_title(cli, "Whether a VM can use it is unknown: %s",
			    reason ?: "no reason given");
}

static int print_group(struct cli *cli, const char *address, const json_t *device,
		       const json_t *members)
{
	const char *group = json_text(cli, device, "iommu_group");
	const char *reason = json_reason(cli, device, "iommu_group");

	if (!group) {
		print_title(cli,
			    reason ? "The IOMMU group of %s is unknown: %s"
				   : "%s is in no IOMMU group%s",
			    address, reason ?: "");
		if (!reason)
			print_item(
				cli,
				"the IOMMU is off, or not for this device; see: horcrux gpu iommu");
		return 0;
	}
	print_title(cli, "IOMMU group %s of %s, %s", group, address,
		    gpu_word(cli, device, "device_name"));
	print_members(cli, members);
	print_verdict(cli, device, members);
	return 0;
}

int cmd_gpu_group(struct cli *cli, char *const *words, struct failure *why)
{
	CLEAN_ANSWER struct answer members = { 0 }, device = { 0 };

	if (source_ask(cli, ASK_GROUP, words[0], &members, why) < 0)
		return -1;
	if (cli->options.output == OUTPUT_JSON) {
		print_json(cli, members.bytes, members.n);
		return 0;
	}
	if (source_ask(cli, ASK_DEVICE, words[0], &device, why) < 0)
		return -1;
	return print_group(cli, words[0], device.json, members.json);
}
