/* SPDX-License-Identifier: Apache-2.0 */
/* Block devices, their stacks, mounts and swap. */
#pragma once

#include "line.h"

int storage_block_line(struct line *l);
int storage_mount_line(struct line *l);
int storage_swap_line(struct line *l);

/* A mount (by its point) or a swap area (by its source) ends. */
int storage_forget(const char *what, const char *which);
void storage_make(void);
