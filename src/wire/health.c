/* SPDX-License-Identifier: Apache-2.0 */
/* The rows of health.h. */
#include "wire/health.h"

const char *const wire_part_state_words[] = { "ok", "starting", "failed", "off", NULL };

#define PART(field) offsetof(struct wire_part, field)

static const struct row part_rows[] = {
	{ "name", ROW_STRING, ROW_NOT_NULL, PART(name), .help = "inventory, helper, …" },
	{ "state", ROW_WORD, ROW_NOT_NULL, PART(state), .words = wire_part_state_words,
	  .help = "off: not used on this host" },
	{ "detail", ROW_STRING, 0, PART(detail), .help = "what is wrong, what to do" },
	{ "since", ROW_STRING, ROW_NOT_NULL, PART(since), .help = "RFC 3339, in this state since" },
	ROW_END,
};

#define STATUS(field) offsetof(struct wire_status, field)

const struct row wire_status_rows[] = {
	{ "live", ROW_BOOL, ROW_NOT_NULL, STATUS(live), .help = "the daemon runs" },
	{ "ready", ROW_BOOL, ROW_NOT_NULL, STATUS(ready), .help = "no part is starting or failed" },
	{ "parts", ROW_OBJECTS, ROW_NOT_NULL, STATUS(parts), .rows = part_rows,
	  .size = sizeof(struct wire_part), .help = "what it is made of" },
	ROW_END,
};

#define VERSION(field) offsetof(struct wire_version, field)

const struct row wire_version_rows[] = {
	{ "version", ROW_STRING, ROW_NOT_NULL, VERSION(version), .help = "of the daemon" },
	{ "node", ROW_STRING, ROW_NOT_NULL, VERSION(node), .help = "host that it runs on" },
	ROW_END,
};
