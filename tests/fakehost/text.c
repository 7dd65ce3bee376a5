/* SPDX-License-Identifier: Apache-2.0 */
/* Growing text; see text.h. */
#include "text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void *must_grow(void *old, size_t count, size_t size)
{
	void *p = reallocarray(old, count, size);

	if (!p) {
		fputs("fakehost: no memory\n", stderr);
		abort();
	}
	return p;
}

void *must_alloc(size_t size)
{
	return memset(must_grow(NULL, 1, size), 0, size);
}

void text_add(struct text *t, const void *bytes, size_t len)
{
	if (t->len + len + 1 > t->cap) {
		t->cap = (t->len + len + 1) * 2;
		t->data = must_grow(t->data, t->cap, 1);
	}
	if (len)
		memcpy(t->data + t->len, bytes, len);
	t->len += len;
	t->data[t->len] = '\0';
}

void text_puts(struct text *t, const char *s)
{
	text_add(t, s, strlen(s));
}

void text_vaddf(struct text *t, const char *fmt, va_list ap)
{
	char *s = NULL;
	int n = vasprintf(&s, fmt, ap);

	if (n < 0)
		abort();
	text_add(t, s, (size_t)n);
	free(s);
}

void text_addf(struct text *t, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	text_vaddf(t, fmt, ap);
	va_end(ap);
}

void text_clear(struct text *t)
{
	t->len = 0;
	if (t->data)
		t->data[0] = '\0';
}

void text_free(struct text *t)
{
	free(t->data);
	*t = (struct text){ 0 };
}

char *text_format(const char *fmt, ...)
{
	char *s = NULL;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&s, fmt, ap);
	va_end(ap);
	if (n < 0)
		abort();
	return s;
}

char *text_dup(const char *s)
{
	return text_format("%s", s);
}

char *text_written(const char *buf, size_t len)
{
	char *s = must_alloc(len + 1);

	memcpy(s, buf, len);
	len = strlen(s);
	if (len && s[len - 1] == '\n')
		s[len - 1] = '\0';
	return s;
}

int text_number(const char *s, unsigned long max, unsigned long *ret)
{
	unsigned long v;
	char *end;

	if (*s < '0' || *s > '9')
		return -EINVAL;
	errno = 0;
	v = strtoul(s, &end, 0);
	if (end == s || *end)
		return -EINVAL;
	if (errno || v > max)
		return -ERANGE;
	*ret = v;
	return 0;
}

bool text_next(const char **at, const char *separators, char *word, size_t size)
{
	size_t len;

	*at += strspn(*at, separators);
	len = strcspn(*at, separators);
	if (!len)
		return false;
	snprintf(word, size, "%.*s", (int)len, *at);
	*at += len;
	return true;
}
