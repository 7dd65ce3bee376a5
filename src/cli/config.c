/* SPDX-License-Identifier: Apache-2.0 */
/* See config.h. The file's grammar is inih's, as in the daemon. */
#include "cli/config.h"

#include <errno.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char standard[] = "/etc/horcrux/horcrux.conf";

struct reading {
	struct class_filter *filter;
	bool wrong;
};

static int on_line(void *data, const char *section, const char *name, const char *value)
{
	struct reading *r = data;

	if (!*section && !strcmp(name, "extra_classes"))
		r->wrong = class_filter_parse(value, r->filter) < 0;
	return 1;
}

int config_classes(bool real, struct class_filter *ret, const char **hidden, struct error *err)
{
	const char *named = getenv("HORCRUX_CONFIG");
	const char *path = named && *named ? named : real ? standard : NULL;
	struct reading reading = { ret, false };
	FILE *file = path ? fopen(path, "re") : NULL;

	*hidden = NULL;
	if (!path || (!file && errno == ENOENT && path == standard))
		return 0;
	if (!file && path == standard) {
		*hidden = path;
		return 0;
	}
	if (!file)
		return error_errno(err, ERROR_USAGE, errno, "%s cannot be opened", path);
	ini_parse_file(file, on_line, &reading);
	fclose(file);
	if (!reading.wrong)
		return 0;
	error_set(err, ERROR_USAGE, "%s: \"extra_classes\" is no list of classes", path);
	return error_hint(err, "4 hex digits each, with commas between them");
}
