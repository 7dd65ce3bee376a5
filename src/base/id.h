/* SPDX-License-Identifier: Apache-2.0 */
/* Identifiers and times as text. Any thread. */
#pragma once

#include <stdint.h>

enum { ID_TEXT = 40, TIME_TEXT = 32 };

/* A random UUID (version 4), lower case with dashes. Returns buf. */
char *id_uuid(char buf[static ID_TEXT]);
/* `prefix` and 16 random hex digits, for ids that people type: "card-3f0c…". Returns buf. */
char *id_short(const char *prefix, char buf[static ID_TEXT]);
/* Now, RFC 3339 in UTC with milliseconds: 2026-01-31T12:00:00.000Z. Returns buf. */
char *time_now(char buf[static TIME_TEXT]);
/* Milliseconds of CLOCK_MONOTONIC, for deadlines and durations. */
uint64_t time_monotonic_ms(void);
