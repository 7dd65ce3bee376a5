/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The operations on a whole card, as the engine runs them: look, plan, act, answer with the device.
 * Their services begin with struct gpu_services.
 */
#pragma once

#include "plan/task.h"

extern const struct operation gpu_bind_operation;
extern const struct operation gpu_release_operation;
extern const struct operation gpu_unquarantine_operation;

struct gpu_services;

/*
 * The device as the API answers with it after a change: JSON text, malloc'd, or NULL with an error. Fresh:
 * everybody is asked who uses it; else it has just changed hands (card_look_shown). Task threads.
 */
char *gpu_device_text(struct gpu_services *services, const char *address, bool function_only, bool fresh,
		      struct error *err);

/*
 * A request for any: the function named, and whether only that one is meant. Copies; never NULL.
 * task_submit() owns it from then on.
 */
void *gpu_change_new(const char *address, bool function_only);
