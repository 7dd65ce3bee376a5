/* SPDX-License-Identifier: Apache-2.0 */
/*
 * horcrux vm create: the spec from a file, from options, or from both, where an option goes before
 * the file. What a spec may hold is the daemon's to say; here only the words of the options are
 * looked at. Main thread.
 */
#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "base/strbuf.h"
#include "cli/change.h"
#include "cli/commands.h"
#include "cli/vm_words.h"
#include "wire/vm.h"

enum { SPEC_MAX = 256 * 1024 };

static int bad(struct failure *why, const char *option, const char *text, const char *hint)
{
	error_set(&why->error, ERROR_USAGE, "--%s cannot be \"%.80s\"", option, text);
	return error_hint(&why->error, "%s", hint);
}

/* ---- the file ---- */

static int read_text(FILE *file, const char *name, struct strbuf *text, struct failure *why)
{
	char part[8192];
	size_t n;

	/* Fewer is the end or an error: a terminal would otherwise be asked for its end twice. */
	do {
		n = fread(part, 1, sizeof(part), file);
		strbuf_add_n(text, part, n);
	} while (n == sizeof(part));
	if (ferror(file))
		return error_errno(&why->error, ERROR_USAGE, errno, "%s cannot be read", name);
	if (text->failed)
		return error_set(&why->error, ERROR_USAGE, "%s has more than %d KiB", name,
				 SPEC_MAX / 1024);
	return 0;
}

/* A new reference, or NULL. */
static json_t *read_spec(const char *name, struct failure *why)
{
	CLEAN_STRBUF struct strbuf text = STRBUF_INIT(SPEC_MAX);
	CLEAN_FILE FILE *opened = NULL;
	bool standard = !strcmp(name, "-");
	json_t *json;

	if (!standard)
		opened = fopen(name, "re");
	if (!standard && !opened) {
		error_errno(&why->error, ERROR_USAGE, errno, "%s cannot be opened", name);
		return NULL;
	}
	if (read_text(standard ? stdin : opened, standard ? "standard input" : name, &text, why) <
	    0)
		return NULL;
	json = rows_load(strbuf_text(&text), text.len, &why->error);
	if (json_is_object(json))
		return json;
	if (json)
		error_set(&why->error, ERROR_USAGE, "it is no JSON object");
	json_decref(json);
	error_wrap(&why->error, "%s", standard ? "standard input" : name);
	why->error.code = ERROR_USAGE;
	return NULL;
}

/* ---- the options ---- */

static json_t *parse_card(const char *text, struct failure *why)
{
	static const char hint[] =
		"ADDRESS[,rom=NAME][,primary][,function], as in 0000:01:00.0,primary";
	size_t n = strcspn(text, ",");
	json_t *card = json_pack("{s:s%}", "pci_address", text, n);
	const char *at = text + n;

	while (*at++ == ',') {
		n = strcspn(at, ",");
		if (n == 7 && !strncmp(at, "primary", n)) {
			json_object_set_new(card, "primary_gpu", json_true());
		} else if (n == 8 && !strncmp(at, "function", n)) {
			json_object_set_new(card, "multifunction", json_false());
		} else if (n > 4 && !strncmp(at, "rom=", 4)) {
			json_object_set_new(card, "rom_file", json_stringn(at + 4, n - 4));
		} else {
			json_decref(card);
			bad(why, "gpu", text, hint);
			return NULL;
		}
		at += n;
	}
	return card;
}

/* Digits are the size of a new disk in GiB, all else is the name of a volume. */
static json_t *parse_disk(const char *text, struct failure *why)
{
	if (text[strspn(text, "0123456789")])
		return json_pack("{s:s}", "volume", text);
	if (strlen(text) <= 6)
		return json_pack("{s:I}", "size", (json_int_t)strtoll(text, NULL, 10));
	bad(why, "disk", text, "GIB for a new disk, or the name of a volume of the pool horcrux");
	return NULL;
}

static json_t *parse_name(const char *text, struct failure *why UNUSED)
{
	return json_string(text);
}

static int set_list(json_t *spec, const char *key, const struct list *texts,
		    json_t *(*parse)(const char *text, struct failure *why), struct failure *why)
{
	json_t *array, *one;

	if (!texts->n)
		return 0;
	array = json_array();
	for (LIST_EACH(const char *, text, texts)) {
		one = parse(*text, why);
		if (!one) {
			json_decref(array);
			return -1;
		}
		json_array_append_new(array, one);
	}
	json_object_set_new(spec, key, array);
	return 0;
}

static void set_text(json_t *spec, const char *key, const char *text)
{
	if (text)
		json_object_set_new(spec, key, json_string(text));
}

static void set_number(json_t *spec, const char *key, int64_t number)
{
	if (number)
		json_object_set_new(spec, key, json_integer(number));
}

static int set_options(const struct options *o, json_t *spec, struct failure *why)
{
	set_text(spec, "id", o->id);
	set_text(spec, "name", o->name);
	set_number(spec, "cpus", o->cpus);
	set_number(spec, "memory", o->memory);
	if (o->firmware >= 0)
		set_text(spec, "firmware", wire_firmware_words[o->firmware]);
	if (o->os >= 0)
		set_text(spec, "os", wire_os_words[o->os]);
	if (o->network >= 0)
		json_object_set_new(
			spec, "network",
			json_pack("[{s:s}]", "kind", wire_network_kind_words[o->network]));
	if (o->autostart)
		json_object_set_new(spec, "autostart", json_true());
	if (o->start)
		json_object_set_new(spec, "start", json_true());
	if (set_list(spec, "disks", &o->disks, parse_disk, why) < 0 ||
	    set_list(spec, "cdrom", &o->cdroms, parse_name, why) < 0)
		return -1;
	return set_list(spec, "gpu_passthrough", &o->cards, parse_card, why);
}

/* A file says it in its own words; without one it is the command line that lacks them. */
static int need_size(const struct options *o, struct failure *why)
{
	const char *missing = !o->cpus ? "cpus" : !o->memory ? "memory" : NULL;

	if (o->file || !missing)
		return 0;
	error_set(&why->error, ERROR_USAGE, "--%s is missing", missing);
	return error_hint(&why->error,
			  "a VM needs --cpus=N and --memory=MIB, or a --file that says them");
}

int cmd_vm_create(struct cli *cli, char *const *words UNUSED, struct failure *why)
{
	json_t *spec = need_size(&cli->options, why) < 0 ? NULL
		       : cli->options.file		 ? read_spec(cli->options.file, why)
							 : json_object();
	struct change change = { "POST", "/api/vms", NULL, spec };
	enum changed changed = CHANGE_FAILED;
	json_t *vm = NULL;

	if (spec && !set_options(&cli->options, spec, why))
		changed = change_run(cli, &change, &vm, why);
	if (changed == CHANGE_DONE && vm)
		print_resource(cli, vm, vm_print_made);
	json_decref(vm);
	json_decref(spec);
	return changed == CHANGE_FAILED ? -1 : 0;
}
