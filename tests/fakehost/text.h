/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Growing text, and strings that end the program when there is no memory: a
 * test program has no better answer to that.  Owned by one thread, or guarded
 * by the host's lock like everything else.
 */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

struct text {
	char *data; /* NUL after the last byte, or NULL when empty */
	size_t len;
	size_t cap;
};

void text_add(struct text *t, const void *bytes, size_t len);
void text_puts(struct text *t, const char *s);
void text_addf(struct text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void text_vaddf(struct text *t, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));
void text_clear(struct text *t);
void text_free(struct text *t);

/* A fresh string; the caller frees it. */
char *text_format(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
char *text_dup(const char *s);

/* Memory that is zeroed and always there. */
void *must_alloc(size_t size);
void *must_grow(void *old, size_t count, size_t size);

/*
 * What the kernel's sysfs_streq() does before parsing: a copy of what was
 * written, without the last newline.  The caller frees it.
 */
char *text_written(const char *buf, size_t len);

/* Whole-string numbers, base 0 as kstrtoul() does: 0, -EINVAL or -ERANGE. */
int text_number(const char *s, unsigned long max, unsigned long *ret);

/* Copies the next word (cut to fit) and moves *at behind it; false at the end. */
bool text_next(const char **at, const char *separators, char *word, size_t size);
