/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A growing string with a maximum given at birth. Past the maximum, or without memory, it
 * remembers the failure and stays as it is; whoever builds it asks once, at the end.
 * Owned by one thread.
 */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"

struct strbuf {
	char *text;	/* always ends in a NUL once anything was added; NULL before */
	size_t len;
	size_t room;
	size_t max;
	bool failed;
};

#define STRBUF_INIT(maximum) { .max = (maximum) }

void strbuf_finish(struct strbuf *sb);
#define CLEAN_STRBUF CLEANUP(strbuf_finish)

void strbuf_add(struct strbuf *sb, const char *s);
void strbuf_add_n(struct strbuf *sb, const char *bytes, size_t n);
void strbuf_printf(struct strbuf *sb, const char *fmt, ...) PRINTF(2, 3);
/* The text so far ("" when nothing was added); owned by sb. */
const char *strbuf_text(const struct strbuf *sb);
/* Hand the text over (malloc'd, never NULL unless failed) and start anew. */
char *strbuf_take(struct strbuf *sb);
