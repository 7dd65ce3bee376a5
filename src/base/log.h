/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Logging, for the programs' top layers: library code returns errors and does not log.
 * Under systemd a line goes to the journal with its fields; else to stderr. Any thread.
 */
#pragma once

#include <syslog.h>

#include "base/cleanup.h"

/* Name put before each line on stderr (a static string); call once, before threads. */
void log_open(const char *program);
/* Lines less urgent than `priority` (LOG_ERR … LOG_DEBUG) are dropped. Default LOG_INFO. */
void log_level(int priority);
void log_line(int priority, const char *fmt, ...) PRINTF(2, 3);

#define log_error(...) log_line(LOG_ERR, __VA_ARGS__)
#define log_warning(...) log_line(LOG_WARNING, __VA_ARGS__)
#define log_notice(...) log_line(LOG_NOTICE, __VA_ARGS__)
#define log_info(...) log_line(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_DEBUG, __VA_ARGS__)
