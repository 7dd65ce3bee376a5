/* SPDX-License-Identifier: Apache-2.0 */
/* The rows of queries: what may stand after the "?" of an address. Strings are borrowed. */
#pragma once

#include "base/rows.h"

/* GET /api/gpu/devices. What is null does not filter. */
struct wire_device_query {
	const char *driver;
	const char *vendor;
	int state; /* enum wire_card_state */
	const char *node;
};

extern const struct row wire_device_query_rows[];

/* GET /api/doctor. */
struct wire_doctor_query {
	const char *device; /* NULL: all cards */
};

extern const struct row wire_doctor_query_rows[];
