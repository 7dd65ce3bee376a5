/* SPDX-License-Identifier: Apache-2.0 */
/* A list of the daemon's as a table. Main thread. */
#pragma once

#include "cli/output.h"

struct listing {
	const char *path; /* of the list in the API */
	const struct column *columns;
	size_t n_columns;
	void (*add)(const struct cli *cli, struct table *table, const json_t *object);
	const char *none; /* said on stderr when it is empty */
};

/* Asks for it and prints it, as a table or as it came. 0, or -1 with `why`. */
int listing_print(struct cli *cli, const struct listing *listing, struct failure *why);
