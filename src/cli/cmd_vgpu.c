/* SPDX-License-Identifier: Apache-2.0 */
/* horcrux vgpu list, profiles, instances. Main thread. */
#include "cli/commands.h"
#include "cli/gpu_words.h"
#include "cli/listing.h"
#include "cli/output.h"

/* "-" where it is null, "?" where it could not be told. */
static const char *number(const struct cli *cli, const json_t *object, const char *key)
{
	int64_t n = json_number(object, key, -1);

	if (n < 0)
		return json_reason(cli, object, key) ? "?" : "-";
	return arena_printf(cli->arena, "%lld", (long long)n);
}

/* ---- list ---- */

enum { CARD_ADDRESS, CARD_NAME, CARD_INTERFACE, CARD_MODE, CARD_CARRIES, CARD_FREE, CARD_CELLS };

static const struct column card_columns[CARD_CELLS] = {
	[CARD_ADDRESS] = { "ADDRESS" },
	[CARD_NAME] = { "NAME", .cut = true },
	[CARD_INTERFACE] = { "INTERFACE" },
	[CARD_MODE] = { "MODE" },
	[CARD_CARRIES] = { "INSTANCES" },
	[CARD_FREE] = { "FREE" },
};

static void add_card(const struct cli *cli, struct table *table, const json_t *card)
{
	const json_t *instances = json_object_get(card, "instances");
	const char *const cells[CARD_CELLS] = {
		[CARD_ADDRESS] = gpu_word(cli, card, "pci_id"),
		[CARD_NAME] = gpu_word(cli, card, "device_name"),
		[CARD_INTERFACE] = gpu_word(cli, card, "interface"),
		[CARD_MODE] = gpu_word(cli, card, "mode"),
		[CARD_CARRIES] = json_is_array(instances) ?
					 arena_printf(cli->arena, "%zu", json_array_size(instances)) :
					 "?",
		[CARD_FREE] = number(cli, card, "free"),
	};

	table_row(table, cells, CARD_ADDRESS, COLOR_NONE);
}

int cmd_vgpu_list(struct cli *cli, char *const *words UNUSED, struct failure *why)
{
	static const struct listing listing = { "/api/vgpu/devices", card_columns, CARD_CELLS, add_card,
						"no card of this host can be shared, as its driver is now" };

	return listing_print(cli, &listing, why);
}

/* ---- profiles ---- */

enum {
	PROFILE_TYPE,
	PROFILE_NAME,
	PROFILE_MEMORY,
	PROFILE_HEADS,
	PROFILE_RESOLUTION,
	PROFILE_FITS,
	PROFILE_MOST,
	PROFILE_WHY,
	PROFILE_CELLS
};

static const struct column profile_columns[PROFILE_CELLS] = {
	[PROFILE_TYPE] = { "PROFILE" },
	[PROFILE_NAME] = { "NAME" },
	[PROFILE_MEMORY] = { "MIB" },
	[PROFILE_HEADS] = { "HEADS", .from_width = 100 },
	[PROFILE_RESOLUTION] = { "RESOLUTION", .from_width = 100 },
	[PROFILE_FITS] = { "FIT" },
	[PROFILE_MOST] = { "OF" },
	[PROFILE_WHY] = { "WHY NOT", .cut = true },
};

/* How many more; "yes" where only that is told. */
static const char *fits(const struct cli *cli, const json_t *profile)
{
	if (json_is_null(json_object_get(profile, "available")) &&
	    json_is_true(json_object_get(profile, "fits")))
		return "yes";
	return number(cli, profile, "available");
}

static void add_profile(const struct cli *cli, struct table *table, const json_t *profile)
{
	bool out = json_is_false(json_object_get(profile, "fits"));
	const char *const cells[PROFILE_CELLS] = {
		[PROFILE_TYPE] = gpu_word(cli, profile, "vgpu_type"),
		[PROFILE_NAME] = gpu_word(cli, profile, "name"),
		[PROFILE_MEMORY] = number(cli, profile, "framebuffer_mb"),
		[PROFILE_HEADS] = number(cli, profile, "heads"),
		[PROFILE_RESOLUTION] = gpu_word(cli, profile, "max_resolution"),
		[PROFILE_FITS] = fits(cli, profile),
		[PROFILE_MOST] = number(cli, profile, "max_instances"),
		[PROFILE_WHY] = gpu_word(cli, profile, "why"),
	};

	table_row(table, cells, PROFILE_FITS, out ? COLOR_WARN : COLOR_GOOD);
}

int cmd_vgpu_profiles(struct cli *cli, char *const *words UNUSED, struct failure *why)
{
	const struct options *o = &cli->options;
	const struct listing listing = {
		arena_printf(cli->arena, "/api/vgpu/profiles%s%s%s", o->fits || o->device ? "?" : "",
			     o->fits ? o->device ? "fits=true&" : "fits=true" : "",
			     o->device ? arena_printf(cli->arena, "device=%s", o->device) : ""),
		profile_columns, PROFILE_CELLS, add_profile,
		o->fits ? "nothing more fits" : "no driver offers a profile now",
	};

	return listing_print(cli, &listing, why);
}

/* ---- instances ---- */

enum { ONE_UUID, ONE_TYPE, ONE_CARD, ONE_VF, ONE_VM, ONE_STATE, ONE_CELLS };

static const struct column one_columns[ONE_CELLS] = {
	[ONE_UUID] = { "UUID" },
	[ONE_TYPE] = { "PROFILE", .cut = true },
	[ONE_CARD] = { "CARD" },
	[ONE_VF] = { "VF" },
	[ONE_VM] = { "VM", .cut = true },
	[ONE_STATE] = { "STATE" },
};

static void add_instance(const struct cli *cli, struct table *table, const json_t *instance)
{
	const char *const cells[ONE_CELLS] = {
		[ONE_UUID] = json_text(cli, instance, "uuid") ?: "-",
		[ONE_TYPE] = json_text(cli, instance, "vgpu_type") ?: gpu_word(cli, instance, "profile"),
		[ONE_CARD] = gpu_word(cli, instance, "device"),
		[ONE_VF] = gpu_word(cli, instance, "vf"),
		[ONE_VM] = gpu_word(cli, instance, "vm"),
		[ONE_STATE] = gpu_word(cli, instance, "state"),
	};

	table_row(table, cells, ONE_UUID, COLOR_NONE);
}

int cmd_vgpu_instances(struct cli *cli, char *const *words UNUSED, struct failure *why)
{
	static const struct listing listing = { "/api/vgpu/instances", one_columns, ONE_CELLS,
						add_instance, "no card carries a vGPU" };

	return listing_print(cli, &listing, why);
}
