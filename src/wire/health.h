/* SPDX-License-Identifier: Apache-2.0 */
/* The rows of how the daemon is, and which it is. Structs hold borrowed pointers. */
#pragma once

#include "base/rows.h"

enum wire_part_state { PART_OK, PART_STARTING, PART_FAILED, PART_OFF };

struct wire_part {
	const char *name;
	int state;	    /* enum wire_part_state */
	const char *detail; /* one sentence; NULL: nothing to say */
	const char *since;  /* RFC 3339: in this state since then */
};

struct wire_status {
	int live;
	int ready;
	struct list parts; /* struct wire_part */
};

struct wire_version {
	const char *version;
	const char *node;
};

extern const struct row wire_status_rows[];
extern const struct row wire_version_rows[];
extern const char *const wire_part_state_words[];
