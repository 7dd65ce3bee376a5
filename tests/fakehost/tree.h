/* SPDX-License-Identifier: Apache-2.0 */
/* The machine as a plain directory: no behaviour, for benchmarks and unit tests. */
#pragma once

/* Writes it below `path`, which is made; 0 or -errno, told on standard error. */
int tree_write(const char *path);
