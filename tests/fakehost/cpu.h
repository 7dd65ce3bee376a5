/* SPDX-License-Identifier: Apache-2.0 */
/* Processors, memory, kernel texts: all of a host that is no device. */
#pragma once

#include "line.h"
#include "text.h"

int cpu_line(struct line *l);

unsigned cpu_nodes(void);

/* local_cpus and local_cpulist of a node (-1: all), with newline. */
void cpu_mask(int node, struct text *out);
void cpu_list(int node, struct text *out);
void cpu_make(const char *cmdline);
