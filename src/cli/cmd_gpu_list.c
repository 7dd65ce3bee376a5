/* SPDX-License-Identifier: Apache-2.0 */
/* horcrux gpu list, horcrux gpu scan: the table of cards. Main thread. */
#include "cli/commands.h"
#include "cli/gpu_words.h"
#include "cli/source.h"

enum {
	CELL_ADDRESS,
	CELL_NAME,
	CELL_IDS,
	CELL_DRIVER,
	CELL_GROUP,
	CELL_STATE,
	CELL_USED_BY,
	CELLS
};

static const struct column columns[CELLS] = {
	[CELL_ADDRESS] = { "ADDRESS" },
	[CELL_NAME] = { "NAME", .cut = true },
	[CELL_IDS] = { "IDS", .from_width = 100 },
	[CELL_DRIVER] = { "DRIVER", .cut = true },
	[CELL_GROUP] = { "GROUP" },
	[CELL_STATE] = { "STATE" },
	[CELL_USED_BY] = { "USED BY", .cut = true },
};

static void add_device(const struct cli *cli, struct table *table, const json_t *device)
{
	const char *vendor = json_text(cli, device, "vendor_id");
	const char *id = json_text(cli, device, "device_id");
	const char *state = gpu_word(cli, device, "state");
	const char *const cells[CELLS] = {
		[CELL_ADDRESS] = gpu_word(cli, device, "pci_address"),
		[CELL_NAME] = gpu_word(cli, device, "device_name"),
		[CELL_IDS] = arena_printf(cli->arena, "%s:%s", vendor ?: "?", id ?: "?"),
		[CELL_DRIVER] = gpu_word(cli, device, "driver"),
		[CELL_GROUP] = gpu_word(cli, device, "iommu_group"),
		[CELL_STATE] = state,
		[CELL_USED_BY] = gpu_users(cli, device),
	};

	table_row(table, cells, CELL_STATE, gpu_state_color(state));
}

static int print_devices(const struct cli *cli, const struct answer *answer, struct failure *why)
{
	CLEANUP(table_freep) struct table *table = NULL;
	size_t i;
	json_t *device;

	if (cli->options.output == OUTPUT_JSON) {
		print_json(cli, answer->bytes, answer->n);
		return 0;
	}
	if (!json_is_array(answer->json))
		return error_set(&why->error, ERROR_INTERNAL,
				 "the daemon's answer is no list of cards");
	if (!json_array_size(answer->json)) {
		fputs("horcrux: there is no graphics card on this host\n", stderr);
		return 0;
	}
	table = table_new(cli, columns, CELLS);
	json_array_foreach (answer->json, i, device)
		add_device(cli, table, device);
	table_print(table);
	return 0;
}

int cmd_gpu_list(struct cli *cli, char *const *words UNUSED, struct failure *why)
{
	CLEAN_ANSWER struct answer answer = { 0 };

	if (source_ask(cli, ASK_DEVICES, NULL, &answer, why) < 0)
		return -1;
	return print_devices(cli, &answer, why);
}

int cmd_gpu_scan(struct cli *cli, char *const *words UNUSED, struct failure *why)
{
	CLEAN_ANSWER struct answer answer = { 0 };

	if (source_call(cli, "POST", "/api/gpu/devices/scan", &answer, why) < 0)
		return -1;
	return print_devices(cli, &answer, why);
}
