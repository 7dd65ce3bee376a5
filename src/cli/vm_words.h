/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How VMs are said to people, shared by the vm commands. Everything returned is safe to print and
 * lives in the run's arena. Main thread.
 */
#pragma once

#include "cli/output.h"

enum color vm_state_color(const char *state);
/* "0000:01:00.0, 0000:02:00.0"; NULL: it names none. */
const char *vm_cards(const struct cli *cli, const json_t *vm);
/* "vm-100 is running", and on stderr what to know of one that runs. */
void vm_print_line(struct cli *cli, const json_t *vm);
/* The same of one that was just made. */
void vm_print_made(struct cli *cli, const json_t *vm);
