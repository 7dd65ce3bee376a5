/* SPDX-License-Identifier: Apache-2.0 */
/* See strbuf.h. */
#include "base/strbuf.h"

#include <string.h>

void strbuf_finish(struct strbuf *sb)
{
	free(sb->text);
	*sb = (struct strbuf){ .max = sb->max };
}

static bool make_room(struct strbuf *sb, size_t more)
{
	size_t want = sb->len + more + 1;
	size_t room = sb->room ? sb->room : 64;
	char *text;

	if (sb->failed || more > sb->max || sb->len + more > sb->max) {
		sb->failed = true;
		return false;
	}
	if (want <= sb->room)
		return true;
	while (room < want)
		room *= 2;
	text = realloc(sb->text, room);
	if (!text) {
		sb->failed = true;
		return false;
	}
	sb->text = text;
	sb->room = room;
	return true;
}

void strbuf_add_n(struct strbuf *sb, const char *bytes, size_t n)
{
	if (!make_room(sb, n))
		return;
	memcpy(sb->text + sb->len, bytes, n);
	sb->len += n;
	sb->text[sb->len] = '\0';
}

void strbuf_add(struct strbuf *sb, const char *s)
{
	strbuf_add_n(sb, s, strlen(s));
}

void strbuf_printf(struct strbuf *sb, const char *fmt, ...)
{
	va_list args, again;
	int n;

	va_start(args, fmt);
	va_copy(again, args);
	n = vsnprintf(NULL, 0, fmt, args);
	va_end(args);
	if (n >= 0 && make_room(sb, (size_t)n)) {
		vsnprintf(sb->text + sb->len, (size_t)n + 1, fmt, again);
		sb->len += (size_t)n;
	}
	va_end(again);
}

const char *strbuf_text(const struct strbuf *sb)
{
	return sb->text ? sb->text : "";
}

char *strbuf_take(struct strbuf *sb)
{
	char *text;

	if (sb->failed)
		return NULL;
	if (!sb->text && !make_room(sb, 0))
		return NULL;
	text = sb->text;
	text[sb->len] = '\0';
	*sb = (struct strbuf){ .max = sb->max };
	return text;
}
