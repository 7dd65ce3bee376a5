/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The operations on shared cards, as the engine runs them. Their services begin with struct gpu_services.
 */
#pragma once

#include "plan/task.h"

extern const struct operation sriov_operation;

/*
 * So many VFs of the card of this function; ROW_NULL: as many as are wanted of it when that is planned, where
 * it has none. Copies; never NULL. task_submit() owns it from then on.
 */
void *sriov_change_new(const char *address, int64_t vfs);
