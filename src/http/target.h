/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The request target: its path, split while still raw, and its query. Splitting comes before
 * unescaping, so that %2F never makes a segment and %00 never ends one; a segment with either is
 * one that nothing is called. Pure; any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

enum { TARGET_SEGMENTS = 16, TARGET_PARAMETERS = 16 };

struct target_parameter {
	const char *name, *value;
};

struct target {
	const char *segments[TARGET_SEGMENTS]; /* unescaped; "/a/b" has two */
	size_t n_segments;
	struct target_parameter parameters[TARGET_PARAMETERS];
	size_t n_parameters;
};

/*
 * Cut up `text` (the raw target, changed in place; *out points into it). Errors: not_found for a
 * path that cannot name anything here (no "/" first, an empty segment, %00, %2F, too many
 * segments); bad_request for a "%" without two hex digits, %00 in the query, a parameter twice or
 * too many of them.
 */
int target_parse(char *text, struct target *out, struct error *err);
