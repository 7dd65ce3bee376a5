/* SPDX-License-Identifier: Apache-2.0 */
/* horcrux gpu show: one card, in sections. Main thread. */
#include <string.h>

#include "cli/commands.h"
#include "cli/gpu_words.h"
#include "cli/source.h"

/* "text" when the field says something, "unknown" when it could not be told, "none" otherwise. */
static const char *field(const struct cli *cli, const json_t *device, const char *key)
{
	return json_text(cli, device, key) ?: (json_reason(cli, device, key) ? "unknown" : "none");
}

static const char *yes_no(const struct cli *cli, const json_t *device, const char *key)
{
	const json_t *value = json_object_get(device, key);

	if (json_is_boolean(value))
		return json_is_true(value) ? "yes" : "no";
	return json_reason(cli, device, key) ? "unknown" : "no";
}

static void print_state(struct cli *cli, const json_t *device)
{
	const char *state = field(cli, device, "state"), *means = gpu_state_means(state);
	const char *assigned = gpu_joined(cli, json_object_get(device, "assigned_to"));
	const char *users = gpu_users(cli, device), *held_back;

	print_field(cli, "state",
		    *means ? arena_printf(cli->arena, "%s: %s", state, means) : state);
	print_field(cli, "driver", field(cli, device, "driver"));
	print_field(cli, "in use", *users == '?' ? "unknown" : yes_no(cli, device, "in_use"));
	print_field(cli, "used by", *users == '?' ? "unknown" : *users == '-' ? "nobody" : users);
	print_field(cli, "assigned to", assigned ?: field(cli, device, "assigned_to"));
	print_field(cli, "claimed by", field(cli, device, "claimed_by"));
	held_back = json_text(cli, json_object_get(device, "health"), "held_back_why");
	if (held_back)
		print_field(cli, "not back, because", held_back);
}

static void print_functions(struct cli *cli, const json_t *device)
{
	static const struct column columns[] = {
		{ "  FUNCTION" }, { "ROLE" }, { "DRIVER" }, { "NAME", .cut = true }
	};
	CLEANUP(table_freep) struct table *table = table_new(cli, columns, ARRAY_SIZE(columns));
	size_t i;
	json_t *f;

	print_title(cli, "Functions of the card");
	json_array_foreach (json_object_get(device, "functions"), i, f) {
		const char *const cells[] = {
			arena_printf(cli->arena, "  %s", gpu_word(cli, f, "pci_address")),
			gpu_word(cli, f, "role"),
			gpu_word(cli, f, "driver"),
			gpu_word(cli, f, "device_name"),
		};

		table_row(table, cells, 0, COLOR_NONE);
	}
	table_print(table);
}

/* Could a VM have it, as things are bound now? */
static const char *possible(const struct cli *cli, const json_t *device)
{
	const json_t *viable = json_object_get(device, "viable");
	const json_t *ok = json_object_get(viable, "ok");
	const char *blockers = gpu_joined(cli, json_object_get(viable, "blockers"));

	if (!json_is_boolean(ok))
		return "unknown";
	if (json_is_true(ok))
		return "yes";
	if (!blockers && json_text(cli, viable, "why"))
		return arena_printf(cli->arena, "no: %s", json_text(cli, viable, "why"));
	if (!blockers)
		return "no: it is in no group that isolates it; see: horcrux gpu iommu";
	return arena_printf(cli->arena, "no: blocked by %s; see: horcrux gpu group %s", blockers,
			    gpu_word(cli, device, "pci_address"));
}

static void print_isolation(struct cli *cli, const json_t *device)
{
	const char *resets = gpu_joined(cli, json_object_get(device, "reset_methods"));

	print_title(cli, "Giving it to a VM");
	print_field(cli, "IOMMU group", field(cli, device, "iommu_group"));
	print_field(cli, "possible", possible(cli, device));
	print_field(cli, "ways to reset it", resets ?: field(cli, device, "reset_methods"));
}

static void print_critical(struct cli *cli, const json_t *device)
{
	const json_t *critical = json_object_get(device, "critical");
	const char *reason = json_reason(cli, device, "critical");
	size_t i;
	json_t *item;

	print_title(cli, "What the host needs it for");
	json_array_foreach (critical, i, item)
		print_item(cli, gpu_word(cli, item, "why"));
	if (reason)
		print_item(cli, arena_printf(cli->arena, "unknown: %s", reason));
	else if (!json_array_size(critical))
		print_item(cli, "nothing that was found");
	print_field(cli, "host's console", yes_no(cli, device, "console"));
	print_field(cli, "boot display", yes_no(cli, device, "boot_vga"));
}

static const char *size_text(const struct cli *cli, int64_t bytes)
{
	if (bytes < 1024 * 1024)
		return arena_printf(cli->arena, "%lld KiB", (long long)((bytes + 1023) / 1024));
	return arena_printf(cli->arena, "%lld MiB", (long long)(bytes >> 20));
}

static const char *bars(const struct cli *cli, const json_t *device)
{
	const char *all = NULL;
	size_t i;
	json_t *bar;

	json_array_foreach (json_object_get(device, "bars"), i, bar)
		all = arena_printf(
			cli->arena, "%s%s%lld: %s%s", all ?: "", all ? ", " : "",
			(long long)json_number(bar, "index", -1),
			size_text(cli, json_number(bar, "size_bytes", 0)),
			json_is_true(json_object_get(bar, "prefetchable")) ? " prefetchable" : "");
	return all ?: field(cli, device, "bars");
}

static const char *link_text(const struct cli *cli, const json_t *device)
{
	const json_t *link = json_object_get(device, "link");
	const char *speed = json_text(cli, link, "speed"), *max = json_text(cli, link, "max_speed");

	if (!link || json_is_null(link))
		return field(cli, device, "link");
	if (!speed)
		return arena_printf(cli->arena, "now unknown, at most %s x%lld", max ?: "?",
				    (long long)json_number(link, "max_width", 0));
	return arena_printf(cli->arena, "%s x%lld, at most %s x%lld", speed,
			    (long long)json_number(link, "width", 0), max ?: "?",
			    (long long)json_number(link, "max_width", 0));
}

/* The list itself is `vgpu profiles`. */
static const char *sharing_text(const struct cli *cli, const json_t *device)
{
	const json_t *vgpu = json_object_get(device, "vgpu"), *profiles = json_object_get(vgpu, "profiles");
	const char *interface = json_text(cli, vgpu, "interface") ?: "?";

	if (!json_array_size(profiles))
		return interface;
	return arena_printf(cli->arena, "%s, %zu profiles", interface, json_array_size(profiles));
}

static const char *sriov_text(const struct cli *cli, const json_t *device)
{
	const json_t *sriov = json_object_get(device, "sriov");
	const char *physfn = json_text(cli, device, "physfn");

	if (physfn)
		return arena_printf(cli->arena, "is a virtual function of %s", physfn);
	if (!json_is_object(sriov))
		return field(cli, device, "sriov");
	return arena_printf(cli->arena, "%lld of %lld virtual functions",
			    (long long)json_number(sriov, "active", 0),
			    (long long)json_number(sriov, "total", 0));
}

static void print_hardware(struct cli *cli, const json_t *device)
{
	const json_t *board = json_object_get(device, "subsystem");
	const json_t *rom = json_object_get(device, "rom");
	int64_t node = json_number(device, "numa_node", -1);

	print_title(cli, "Hardware");
	print_field(cli, "ids",
		    arena_printf(cli->arena, "%s:%s, revision %s", field(cli, device, "vendor_id"),
				 field(cli, device, "device_id"), field(cli, device, "revision")));
	print_field(cli, "board",
		    arena_printf(cli->arena, "%s:%s %s", gpu_word(cli, board, "vendor_id"),
				 gpu_word(cli, board, "device_id"), gpu_word(cli, board, "name")));
	print_field(cli, "class",
		    arena_printf(cli->arena, "%s (%s)", field(cli, device, "class_name"),
				 field(cli, device, "class")));
	print_field(cli, "NUMA node",
		    node < 0 ? "unknown"
			     : arena_printf(cli->arena, "%lld, CPUs %s", (long long)node,
					    field(cli, device, "local_cpus")));
	print_field(cli, "memory windows", bars(cli, device));
	print_field(cli, "link", link_text(cli, device));
	print_field(cli, "power", field(cli, device, "power_state"));
	print_field(cli, "option ROM", gpu_word(cli, rom, "reason"));
	print_field(cli, "SR-IOV", sriov_text(cli, device));
	if (json_is_object(json_object_get(device, "vgpu")))
		print_field(cli, "can be shared", sharing_text(cli, device));
}

/* Did an earlier field have the same reason? Then it was told there. */
static bool told_before(json_t *unknown, const char *key, const char *reason)
{
	const char *other;
	json_t *value;

	json_object_foreach (unknown, other, value) {
		if (!strcmp(other, key))
			return false;
		if (json_is_string(value) && !strcmp(json_string_value(value), reason))
			return true;
	}
	return false;
}

static const char *fields_with(const struct cli *cli, json_t *unknown, const char *reason)
{
	const char *all = NULL, *key, *one;
	json_t *value;

	json_object_foreach (unknown, key, value) {
		if (!json_is_string(value) || strcmp(json_string_value(value), reason))
			continue;
		one = text_safe(cli, key);
		all = all ? arena_printf(cli->arena, "%s, %s", all, one) : one;
	}
	return all;
}

/* Each reason once, with the fields that it is the reason of. */
static void print_unknown(struct cli *cli, const json_t *device)
{
	json_t *unknown = json_object_get(device, "unknown");
	const char *key, *reason;
	json_t *value;

	if (!json_object_size(unknown))
		return;
	print_title(cli, "What could not be told, and why");
	json_object_foreach (unknown, key, value) {
		reason = json_string_value(value);
		if (reason && !told_before(unknown, key, reason))
			print_item(cli, arena_printf(cli->arena, "%s: %s",
						     fields_with(cli, unknown, reason),
						     text_safe(cli, reason)));
	}
}

static void print_device(struct cli *cli, const json_t *device)
{
	print_title(cli, "%s  %s %s", gpu_word(cli, device, "pci_address"),
		    gpu_word(cli, device, "vendor_name"), gpu_word(cli, device, "device_name"));
	print_state(cli, device);
	print_functions(cli, device);
	print_isolation(cli, device);
	print_critical(cli, device);
	print_hardware(cli, device);
	print_unknown(cli, device);
}

int cmd_gpu_show(struct cli *cli, char *const *words, struct failure *why)
{
	CLEAN_ANSWER struct answer answer = { 0 };

	if (source_ask(cli, ASK_DEVICE, words[0], &answer, why) < 0)
		return -1;
	if (cli->options.output == OUTPUT_JSON)
		print_json(cli, answer.bytes, answer.n);
	else if (json_is_object(answer.json))
		print_device(cli, answer.json);
	else
		return error_set(&why->error, ERROR_INTERNAL, "the daemon's answer is no device");
	return 0;
}
