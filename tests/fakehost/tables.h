/* SPDX-License-Identifier: Apache-2.0 */
/* Tables in /proc that are made from devices: iomem, interrupts, modules. */
#pragma once

#include "line.h"

int tables_iomem_line(struct line *l);
int tables_reserved_line(struct line *l);
void tables_make(void);

/* A firmware framebuffer lies (or no more) in a BAR of a function. */
struct function;
void tables_bootfb(const struct function *f, const char *name);
