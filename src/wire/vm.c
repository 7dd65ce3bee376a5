/* SPDX-License-Identifier: Apache-2.0 */
/* The rows of vm.h. The spec's fields stand once, for requests and for answers. */
#include "wire/vm.h"

#include <string.h>

#include "base/address.h"

const char *const wire_network_kind_words[] = { "nat", "none", NULL };
const char *const wire_os_words[] = { "linux", "windows", "other", NULL };
const char *const wire_firmware_words[] = { "uefi", "bios", NULL };
const char *const wire_hide_words[] = { "auto", "on", "off", NULL };
const char *const wire_vm_state_words[] = { "stopped", "starting",  "running", "paused", "stopping",
					    "crashed", "migrating", "unknown", NULL };

/* [a-z0-9][a-z0-9-]{0,62} */
int wire_vm_id_check(const char *text, struct error *err)
{
	size_t n = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-");

	if (n == strlen(text) && n >= 1 && n <= 63 && text[0] != '-')
		return 0;
	error_set(err, ERROR_INVALID_VALUE, "\"%.70s\" cannot be the id of a VM", text);
	return error_hint(err,
			  "1 to 63 of a to z, 0 to 9 and -, not beginning with -, as in vm-100");
}

/* A name in a pool or configured folder: printable ASCII without "/", not hidden, not an option. */
int wire_file_name_check(const char *text, struct error *err)
{
	bool good = *text && *text != '.' && *text != '-';

	for (const char *c = text; *c; c++)
		good = good && *c > ' ' && *c < 0x7f && !strchr("/\\\"'<>&,", *c);
	if (good)
		return 0;
	error_set(err, ERROR_INVALID_VALUE, "\"%.70s\" is not a file's name", text);
	return error_hint(err, "give the bare name of a file in the pool, without a path");
}

/* A ROM may be named with the folder it is in; which folders count is configured. */
static int rom_file_check(const char *text, struct error *err)
{
	bool whole = text[0] == '/' && !strstr(text, "/../") && !strstr(text, "/./");

	if (!wire_file_name_check(whole ? strrchr(text, '/') + 1 : text, err))
		return 0;
	return error_hint(err, "give the name of a file in one of the ROM folders (rom_dirs of the "
			       "configuration), alone or with its folder, as in "
			       "/usr/share/vgabios/card.rom");
}

/* The next character of UTF-8, which JSON was read as. */
static unsigned next_char(const char **at)
{
	const unsigned char *c = (const unsigned char *)*at;
	int more = *c < 0xc0 ? 0 : *c < 0xe0 ? 1 : *c < 0xf0 ? 2 : 3;
	unsigned u = more ? *c & (0x3fu >> more) : *c;

	for (*at += 1; more && (**at & 0xc0) == 0x80; more--, *at += 1)
		u = u << 6 | (**at & 0x3f);
	return u;
}

struct range {
	unsigned from, to;
};

static bool is_in(unsigned u, const struct range *ranges, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (u >= ranges[i].from && u <= ranges[i].to)
			return true;
	return false;
}

/*
 * It will stand in XML, which has no control characters, and neither U+FFFE nor U+FFFF; and in lists,
 * where nothing may turn the text beside it round or begin a new line.
 */
static int line_check(const char *text, const char *what, struct error *err)
{
	static const struct range bad[] = {
		{ 0x00, 0x1f },	    { 0x7f, 0x9f },	/* control characters */
		{ 0x200e, 0x200f }, { 0x202a, 0x202e }, /* marks and overrides of direction */
		{ 0x2066, 0x2069 }, { 0x061c, 0x061c }, { 0x2028, 0x2029 }, /* ends of lines */
		{ 0xfffe, 0xffff },
	};
	unsigned u;

	while (*text) {
		u = next_char(&text);
		if (is_in(u, bad, ARRAY_SIZE(bad)))
			return error_set(err, ERROR_INVALID_VALUE, "%s cannot have U+%04X in it",
					 what, u);
	}
	return 0;
}

static int name_check(const char *text, struct error *err)
{
	static const struct range blank[] = {
		{ ' ', ' ' },	    { 0xa0, 0xa0 },	{ 0xad, 0xad },	    { 0x1680, 0x1680 },
		{ 0x2000, 0x200d }, { 0x202f, 0x202f }, { 0x205f, 0x2064 }, { 0x3000, 0x3000 },
		{ 0xfeff, 0xfeff },
	};
	const char *at = text;

	if (line_check(text, "the name of a VM", err) < 0)
		return -1;
	while (*at)
		if (!is_in(next_char(&at), blank, ARRAY_SIZE(blank)))
			return 0;
	return error_set(err, ERROR_INVALID_VALUE, "the name of a VM has nothing in it to be seen");
}

static int cmdline_check(const char *text, struct error *err)
{
	return line_check(text, "the kernel's cmdline", err);
}

#define AT(type, field) offsetof(struct type, field)
#define OBJECT_OF(name) .rows = name##_rows, .size = sizeof(struct wire_##name)

static const struct row disk_rows[] = {
	{ "size", ROW_INT, ROW_OPTIONAL, AT(wire_disk, size), .help = "size in GiB of a new disk",
	  .min = 1, .max = 65536 },
	{ "volume", ROW_STRING, ROW_OPTIONAL, AT(wire_disk, volume),
	  .help = "name of a volume of the pool horcrux", .min = 1, .max = 128,
	  .check = wire_file_name_check },
	ROW_END,
};

static const struct row network_rows[] = {
	{ "kind", ROW_WORD, ROW_REQUIRED | ROW_NOT_NULL, AT(wire_network, kind),
	  .words = wire_network_kind_words,
	  .help = "nat: libvirt's default network; none: no card" },
	{ "mac", ROW_STRING, ROW_OPTIONAL, AT(wire_network, mac),
	  .help = "of its card; chosen by Horcrux if absent" },
	ROW_END,
};

static const struct row boot_rows[] = {
	{ "kernel", ROW_STRING, ROW_REQUIRED, AT(wire_boot, kernel),
	  .help = "name of a volume of the pool horcrux", .min = 1, .max = 128,
	  .check = wire_file_name_check },
	{ "initrd", ROW_STRING, ROW_OPTIONAL, AT(wire_boot, initrd),
	  .help = "name of a volume of the pool horcrux", .min = 1, .max = 128,
	  .check = wire_file_name_check },
	{ "cmdline", ROW_STRING, ROW_OPTIONAL, AT(wire_boot, cmdline),
	  .help = "kernel command line", .max = 2048, .check = cmdline_check },
	ROW_END,
};

static const struct row passthrough_rows[] = {
	{ "pci_address", ROW_STRING, ROW_REQUIRED | ROW_NOT_NULL, AT(wire_passthrough, pci_address),
	  .help = "any function of the card, dddd:bb:dd.f", .check = pci_address_check },
	{ "rom_file", ROW_STRING, ROW_OPTIONAL, AT(wire_passthrough, rom_file),
	  .help = "option ROM: a file in one of the ROM folders", .min = 1, .max = 255,
	  .check = rom_file_check },
	{ "multifunction", ROW_BOOL, 0, AT(wire_passthrough, multifunction),
	  .help = "all functions of the card; default true" },
	{ "primary_gpu", ROW_BOOL, 0, AT(wire_passthrough, primary_gpu),
	  .help = "the guest's only display; default false" },
	ROW_END,
};

/* `base` is where the struct wire_vm_spec begins. */
#define SPEC(field) (BASE + AT(wire_vm_spec, field))
#define SPEC_ROWS                                                                                    \
	{ "id",                                                                                      \
	  ROW_STRING,                                                                                \
	  0,                                                                                         \
	  SPEC(id),                                                                                  \
	  .help = "a to z, 0 to 9 and -; made from the name if absent",                              \
	  .check = wire_vm_id_check },                                                               \
		{ "name",                                                                            \
		  ROW_STRING,                                                                        \
		  0,                                                                                 \
		  SPEC(name),                                                                        \
		  .help = "for people; the id if absent",                                            \
		  .min = 1,                                                                          \
		  .max = 128,                                                                        \
		  .check = name_check },                                                             \
		{ "cpus",   ROW_INT,   ROW_REQUIRED, SPEC(cpus), .help = "virtual CPUs, 1 to 512",   \
		  .min = 1, .max = 512 },                                                            \
		{ "memory",                                                                          \
		  ROW_INT,                                                                           \
		  ROW_REQUIRED,                                                                      \
		  SPEC(memory),                                                                      \
		  .help = "memory in MiB, 32 to 16777216",                                           \
		  .min = 32,                                                                         \
		  .max = 16777216 },                                                                 \
		{ "disk_size",                                                                       \
		  ROW_INT,                                                                           \
		  0,                                                                                 \
		  SPEC(disk_size),                                                                   \
		  .help = "size in GiB of its one disk; use disks for more",                         \
		  .min = 1,                                                                          \
		  .max = 65536 },                                                                    \
		{ "disks",  ROW_OBJECTS, 0, SPEC(disks), OBJECT_OF(disk), .help = "disks, in order", \
		  .max = 16 },                                                                       \
		{ "cdrom",                                                                           \
		  ROW_STRINGS,                                                                       \
		  0,                                                                                 \
		  SPEC(cdrom),                                                                       \
		  .help = "ISO images: names in the pool horcrux",                                   \
		  .max = 4,                                                                          \
		  .check = wire_file_name_check },                                                   \
		{ "boot",     ROW_OBJECT,      0,                                                    \
		  SPEC(boot), OBJECT_OF(boot), .help = "boot this kernel directly" },                \
		{ "network",	 ROW_OBJECTS,	     ROW_ONE_OR_MANY,                                \
		  SPEC(network), OBJECT_OF(network), .help = "network cards; default one, nat",      \
		  .max = 8 },                                                                        \
		{ "os",                                                                              \
		  ROW_WORD,                                                                          \
		  0,                                                                                 \
		  SPEC(os),                                                                          \
		  .words = wire_os_words,                                                            \
		  .help = "guest system; default linux" },                                           \
		{ "firmware",                                                                        \
		  ROW_WORD,                                                                          \
		  0,                                                                                 \
		  SPEC(firmware),                                                                    \
		  .words = wire_firmware_words,                                                      \
		  .help = "default uefi" },                                                          \
		{ "gpu_passthrough",                                                                 \
		  ROW_OBJECTS,                                                                       \
		  ROW_ONE_OR_MANY,                                                                   \
		  SPEC(gpu_passthrough),                                                             \
		  OBJECT_OF(passthrough),                                                            \
		  .help = "whole cards",                                                             \
		  .max = 16 },                                                                       \
		{ "hide_hypervisor",                                                                 \
		  ROW_WORD,                                                                          \
		  0,                                                                                 \
		  SPEC(hide_hypervisor),                                                             \
		  .words = wire_hide_words,                                                          \
		  .help = "hide KVM from the guest's driver; default auto" },                        \
	{                                                                                            \
		"autostart", ROW_BOOL, 0, SPEC(autostart), .help = "start it with the host"          \
	}

static const char accept_help[] =
	"codes of refusals that are to be passed over, where they can be";

#define BASE 0
const struct row wire_vm_spec_rows[] = {
	SPEC_ROWS,
	{ "start", ROW_BOOL, ROW_OPTIONAL, SPEC(start), .help = "start it at once" },
	{ "accept", ROW_STRINGS, ROW_OPTIONAL, SPEC(accept), .max = 32, .help = accept_help },
	ROW_END,
};
#undef BASE

#define BASE	  AT(wire_vm, spec)
#define VM(field) AT(wire_vm, field)
const struct row wire_vm_rows[] = {
	SPEC_ROWS,
	{ "node", ROW_STRING, 0, VM(node), .help = "host it is on" },
	{ "state", ROW_WORD, ROW_NOT_NULL, VM(state), .words = wire_vm_state_words,
	  .help = "how it stands" },
	{ "uuid", ROW_STRING, 0, VM(uuid), .help = "its UUID in libvirt" },
	{ "created_at", ROW_STRING, 0, VM(created_at), .help = "RFC 3339" },
	{ "started_at", ROW_STRING, 0, VM(started_at),
	  .help = "RFC 3339; null while it is stopped" },
	{ "warnings", ROW_STRINGS, ROW_NOT_NULL, VM(warnings),
	  .help = "what one should know of it" },
	{ "unknown", ROW_MAP, ROW_NOT_NULL, VM(unknown),
	  .help = "fields that cannot be told: why" },
	ROW_END,
};

const struct row wire_vm_change_rows[] = {
	{ "name", ROW_STRING, 0, AT(wire_vm_change, name), .help = "for people", .min = 1,
	  .max = 128, .check = name_check },
	{ "cpus", ROW_INT, 0, AT(wire_vm_change, cpus), .help = "virtual CPUs, 1 to 512", .min = 1,
	  .max = 512 },
	{ "memory", ROW_INT, 0, AT(wire_vm_change, memory), .help = "memory in MiB, 32 to 16777216",
	  .min = 32, .max = 16777216 },
	{ "autostart", ROW_BOOL, 0, AT(wire_vm_change, autostart),
	  .help = "start it with the host" },
	ROW_END,
};

#define TIMEOUT(type)                                                                              \
	{ "timeout_s", ROW_INT, 0, AT(type, timeout_s),                                            \
	  .help = "seconds to wait for the guest to power off, 1 to 3600; default 120", .min = 1,  \
	  .max = 3600 }

const struct row wire_vm_stop_rows[] = {
	TIMEOUT(wire_vm_stop),
	ROW_END,
};

const struct row wire_vm_restart_rows[] = {
	TIMEOUT(wire_vm_restart),
	{ "accept", ROW_STRINGS, 0, AT(wire_vm_restart, accept), .max = 32, .help = accept_help },
	ROW_END,
};

const struct row wire_vm_query_rows[] = {
	{ "state", ROW_WORD, 0, AT(wire_vm_query, state), .words = wire_vm_state_words,
	  .help = "only VMs in this state" },
	{ "node", ROW_STRING, 0, AT(wire_vm_query, node), .help = "on this node" },
	ROW_END,
};

const struct row wire_vm_delete_rows[] = {
	{ "dry_run", ROW_BOOL, 0, AT(wire_vm_delete, dry_run),
	  .help = "true: answer with the plan, change nothing" },
	{ "delete_disks", ROW_BOOL, 0, AT(wire_vm_delete, delete_disks),
	  .help = "true: delete its disks too; otherwise they are kept" },
	ROW_END,
};
