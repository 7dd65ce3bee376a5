/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the parts of the daemon are. Whoever owns a part says so when that changes; /api/health
 * shows them. Any thread.
 */
#pragma once

#include "base/cleanup.h"
#include "wire/health.h"

/* Sorted by name. */
enum health_part { HEALTH_HELPER, HEALTH_INVENTORY, HEALTH_LIBVIRT, HEALTH_STORE, HEALTH_PARTS };

/* fmt NULL: there is nothing to say. A text of more than 200 bytes is cut. */
void health_set(enum health_part part, enum wire_part_state state, const char *fmt, ...)
	PRINTF(3, 4);
