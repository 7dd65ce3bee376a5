/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration: one table of keys, each of which stands in the file (`name = value`, no
 * sections) and is a flag (`--name=value`, with "-" for "_"). A flag goes before the file. Whatever
 * is wrong stops the start and is named with its line.
 *
 * Read by the main thread before any other; immutable after.
 */
#pragma once

#include <stdint.h>

#include "base/rows.h"
#include "host/pci.h"

#define CONFIG_FILE "/etc/horcrux/horcrux.conf"

enum { CONFIG_LINE_MAX = 190, CONFIG_FILE_MAX = 64 * 1024 };

struct config {
	const char *listen;    /* ADDRESS:PORT, or "none" */
	const char *group;     /* administrators' group */
	const char *node;      /* name of this host; NULL: the host name's first part */
	const char *libvirt;   /* URI, "none"; NULL: by the host root */
	const char *log_level; /* error warning notice info debug */
	const char *rom_dirs;  /* directories, with ":" between them */
	const char *host_root;
	const char *state_dir;
	int trust_loopback;
	struct class_filter classes;

	/* From the command line only. */
	int dev;
	int help, version;
};

enum config_type { CONFIG_TEXT, CONFIG_YES_NO, CONFIG_LEVEL, CONFIG_CLASS_LIST };

struct config_key {
	const char *name;
	enum config_type type;
	const char *initial; /* NULL: none */
	size_t offset;
	const char *help;
};

/* Sorted by name; ends with a row whose name is NULL. */
extern const struct config_key config_keys[];

/*
 * Read the command line, then the file: HORCRUX_CONFIG if set, else CONFIG_FILE if it is there and
 * this is not --dev (where `system` is CONFIG_FILE, given so that tests need not touch /etc).
 * Strings live in the arena. usage with what is wrong, and where.
 */
int config_read(int argc, char **argv, const char *system, struct arena *arena,
		struct config *config, struct error *err);
/* Only the text of a file; path is for messages. Keys that `set` names already are left alone. */
int config_parse(const char *text, const char *path, uint64_t set, struct arena *arena,
		 struct config *config, struct error *err);
/* All flags and keys, for --help. */
void config_print_help(void);
