/* SPDX-License-Identifier: Apache-2.0 */
/* Drivers: the table of those that are known, their directories and modules. */
#pragma once

#include "host.h"

/* Finds it, or makes it from the table of known ones (or without ids). */
struct driver *driver_declare(const char *name);
void driver_add_pattern(struct pattern **list, const struct pattern *p);

/* "VEN:DEV", "VEN:*:CLASS", "*:*:0604": 0 or -EINVAL with a complaint. */
int driver_parse_ids(struct driver *d, const char *spec);

/* The module is loaded: directories, uevents and (if asked) probing. */
void driver_load(struct driver *d, bool probe);
void driver_unload(struct driver *d);

/* /sys/module/NAME, made if missing. */
struct node *module_dir(const char *name);
void module_parameter(const char *module, const char *name, const char *value);

/* The parameter is there and starts with Y, y or 1. */
bool module_flag(const char *module, const char *name);
