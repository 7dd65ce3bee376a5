/* SPDX-License-Identifier: Apache-2.0 */
/* horcrux vm: everything but making one (cmd_vm_create.c). Main thread. */
#include <string.h>

#include "cli/change.h"
#include "cli/commands.h"
#include "cli/listing.h"
#include "cli/output.h"
#include "cli/vm_words.h"

enum { CELL_ID, CELL_NAME, CELL_STATE, CELL_CPUS, CELL_MEMORY, CELL_CARDS, CELLS };

static const struct column columns[CELLS] = {
	[CELL_ID] = { "VM", .cut = true }, [CELL_NAME] = { "NAME", .cut = true, .from_width = 90 },
	[CELL_STATE] = { "STATE" },	   [CELL_CPUS] = { "CPUS" },
	[CELL_MEMORY] = { "MEMORY" },	   [CELL_CARDS] = { "CARDS", .cut = true },
};

static const char *path_of(char *buf, size_t size, const char *id, const char *end)
{
	snprintf(buf, size, "/api/vms/%s%s", id, end);
	return buf;
}

/* ---- looking ---- */

static const char *number(const struct cli *cli, const json_t *vm, const char *key,
			  const char *unit)
{
	return arena_printf(cli->arena, "%lld%s", (long long)json_number(vm, key, 0), unit);
}

static void add_vm(const struct cli *cli, struct table *table, const json_t *vm)
{
	const char *state = json_text(cli, vm, "state") ?: "?";
	const char *const cells[CELLS] = {
		[CELL_ID] = json_text(cli, vm, "id") ?: "?",
		[CELL_NAME] = json_text(cli, vm, "name") ?: "-",
		[CELL_STATE] = state,
		[CELL_CPUS] = number(cli, vm, "cpus", ""),
		[CELL_MEMORY] = number(cli, vm, "memory", " MiB"),
		[CELL_CARDS] = vm_cards(cli, vm) ?: "-",
	};

	table_row(table, cells, CELL_STATE, vm_state_color(state));
}

int cmd_vm_list(struct cli *cli, char *const *words UNUSED, struct failure *why)
{
	static const struct listing listing = { "/api/vms", columns, CELLS, add_vm,
						"there is no VM; see: horcrux vm create --help" };

	return listing_print(cli, &listing, why);
}

static void print_disks(struct cli *cli, const json_t *vm)
{
	const char *volume;
	long long size;
	size_t i;
	json_t *disk;

	json_array_foreach (json_object_get(vm, "disks"), i, disk) {
		volume = json_text(cli, disk, "volume") ?: "?";
		size = (long long)json_number(disk, "size", 0);
		print_field(cli, i ? "" : "disks",
			    size ? arena_printf(cli->arena, "%s, %lld GiB", volume, size) : volume);
	}
	json_array_foreach (json_object_get(vm, "cdrom"), i, disk)
		print_field(cli, i ? "" : "CD-ROM", text_safe(cli, json_string_value(disk)) ?: "?");
}

static void print_networks(struct cli *cli, const json_t *vm)
{
	const char *mac;
	size_t i;
	json_t *network;

	json_array_foreach (json_object_get(vm, "network"), i, network) {
		mac = json_text(cli, network, "mac");
		print_field(cli, i ? "" : "network",
			    arena_printf(cli->arena, "%s%s%s",
					 json_text(cli, network, "kind") ?: "?", mac ? ", " : "",
					 mac ?: ""));
	}
}

static void print_warnings(struct cli *cli, const json_t *vm)
{
	const json_t *warnings = json_object_get(vm, "warnings");
	const char *reason = json_reason(cli, vm, "state");
	size_t i;
	json_t *text;

	if (json_array_size(warnings) || reason)
		print_title(cli, "What to know");
	if (reason)
		print_item(cli, arena_printf(cli->arena, "its state cannot be told: %s", reason));
	json_array_foreach (warnings, i, text)
		print_item(cli, text_safe(cli, json_string_value(text)) ?: "");
}

static void print_vm(struct cli *cli, const json_t *vm)
{
	print_title(cli, "%s  %s", json_text(cli, vm, "id") ?: "?",
		    json_text(cli, vm, "name") ?: "");
	print_text(cli, vm, "state", "state");
	print_text(cli, vm, "running since", "started_at");
	print_field(cli, "CPUs", number(cli, vm, "cpus", ""));
	print_field(cli, "memory", number(cli, vm, "memory", " MiB"));
	print_field(cli, "cards", vm_cards(cli, vm) ?: "none");
	print_disks(cli, vm);
	print_networks(cli, vm);
	print_text(cli, vm, "firmware", "firmware");
	print_text(cli, vm, "guest system", "os");
	print_field(cli, "starts with the host",
		    json_is_true(json_object_get(vm, "autostart")) ? "yes" : "no");
	print_text(cli, vm, "UUID", "uuid");
	print_text(cli, vm, "made", "created_at");
	print_warnings(cli, vm);
}

int cmd_vm_show(struct cli *cli, char *const *words, struct failure *why)
{
	CLEAN_ANSWER struct answer answer = { 0 };
	char path[160];

	if (source_call(cli, "GET", path_of(path, sizeof(path), words[0], ""), &answer, why) < 0)
		return -1;
	if (cli->options.output == OUTPUT_JSON)
		print_json(cli, answer.bytes, answer.n);
	else
		print_vm(cli, answer.json);
	return 0;
}

/* On a terminal a control character in it must do no harm; in a file or pipe it is as it came. */
int cmd_vm_xml(struct cli *cli, char *const *words, struct failure *why)
{
	CLEAN_ANSWER struct answer answer = { 0 };
	char path[160];
	const struct call call = { "GET", path_of(path, sizeof(path), words[0], "/domain.xml"),
				   "application/xml", NULL, NULL };

	if (source_send(cli, &call, &answer, why) < 0)
		return -1;
	if (!cli->out.tty)
		fwrite(answer.bytes, 1, answer.n, stdout);
	else
		print_lines(cli, answer.bytes);
	return 0;
}

/* ---- changing ---- */

static int change(struct cli *cli, const char *id, const char *verb, json_t *body,
		  struct failure *why)
{
	char path[160], end[16];
	const struct change change = { "POST", path, NULL, body };
	json_t *vm = NULL;
	enum changed changed;

	snprintf(end, sizeof(end), "/%s", verb);
	path_of(path, sizeof(path), id, end);
	changed = change_run(cli, &change, &vm, why);
	if (changed == CHANGE_DONE && vm)
		print_resource(cli, vm, vm_print_line);
	json_decref(vm);
	return changed == CHANGE_FAILED ? -1 : 0;
}

int cmd_vm_start(struct cli *cli, char *const *words, struct failure *why)
{
	return change(cli, words[0], "start", NULL, why);
}

int cmd_vm_kill(struct cli *cli, char *const *words, struct failure *why)
{
	return change(cli, words[0], "kill", NULL, why);
}

static int change_within(struct cli *cli, const char *id, const char *verb, struct failure *why)
{
	json_t *body = json_object();
	int r;

	if (cli->options.within_s)
		json_object_set_new(body, "timeout_s", json_integer(cli->options.within_s));
	r = change(cli, id, verb, body, why);
	json_decref(body);
	return r;
}

int cmd_vm_stop(struct cli *cli, char *const *words, struct failure *why)
{
	return change_within(cli, words[0], "stop", why);
}

int cmd_vm_restart(struct cli *cli, char *const *words, struct failure *why)
{
	return change_within(cli, words[0], "restart", why);
}

int cmd_vm_delete(struct cli *cli, char *const *words, struct failure *why)
{
	char path[160];
	const struct change change = { "DELETE", path_of(path, sizeof(path), words[0], ""),
				       cli->options.delete_disks ? "delete_disks=true" : NULL,
				       NULL };
	json_t *nothing = NULL;
	enum changed changed = change_run(cli, &change, &nothing, why);

	json_decref(nothing);
	if (changed == CHANGE_DONE && cli->options.output != OUTPUT_JSON)
		printf("%s is deleted\n", words[0]);
	return changed == CHANGE_FAILED ? -1 : 0;
}
