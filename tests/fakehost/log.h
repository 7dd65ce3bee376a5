/* SPDX-License-Identifier: Apache-2.0 */
/* What was written and read: the texts of .fake/writes and .fake/reads. */
#pragma once

#include "host.h"

/* Opens an entry; its number is for log_result(). */
size_t log_write(const char *path, const char *buf, size_t len);
void log_result(size_t entry, int result);
void log_note(const char *what, const char *path);
void log_show_writes(struct text *out);
void log_clear_writes(void);
void log_show_reads(struct text *out);
void log_clear_reads(void);

/* The path a test would write: below /sys/bus/pci/devices where it can be. */
char *log_path(const struct node *n);
