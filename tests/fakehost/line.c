/* SPDX-License-Identifier: Apache-2.0 */
/* Words of a line; see line.h. */
#include "line.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "host.h"
#include "text.h"

/* One value, quotes taken off, \n and \" understood within them. */
static int take_value(const char **at, struct text *out)
{
	bool quoted = false;

	text_puts(out, "");
	for (; **at && (quoted || !isspace((unsigned char)**at)); (*at)++) {
		if (**at == '"')
			quoted = !quoted;
		else if (quoted && **at == '\\' && (*at)[1])
			text_add(out, *++*at == 'n' ? "\n" : *at, 1);
		else
			text_add(out, *at, 1);
	}
	return quoted ? host_complain("a quote is not closed") : 0;
}

static int take_word(const char **at, struct word *w)
{
	size_t key = strcspn(*at, "= \t\n\"");
	struct text value = { 0 };
	int r;

	*w = (struct word){ 0 };
	if (key && (*at)[key] == '=') {
		w->key = text_format("%.*s", (int)key, *at);
		*at += key + 1;
	}
	r = take_value(at, &value);
	w->value = value.data;
	return r;
}

int line_split(const char *s, struct line *ret)
{
	struct line l = { 0 };

	for (;;) {
		int r;

		while (isspace((unsigned char)*s))
			s++;
		if (!*s || *s == '#')
			break;
		l.words = must_grow(l.words, l.count + 1, sizeof(*l.words));
		r = take_word(&s, &l.words[l.count++]);
		if (r) {
			line_free(&l);
			return r;
		}
	}
	*ret = l;
	return 0;
}

void line_free(struct line *l)
{
	for (size_t i = 0; i < l->count; i++) {
		free(l->words[i].key);
		free(l->words[i].value);
	}
	free(l->words);
	*l = (struct line){ 0 };
}

const char *line_word(struct line *l)
{
	for (size_t i = 0; i < l->count; i++) {
		struct word *w = &l->words[i];

		if (w->key || w->taken)
			continue;
		w->taken = true;
		return w->value;
	}
	return NULL;
}

const char *line_key(struct line *l, const char *key)
{
	for (size_t i = 0; i < l->count; i++) {
		struct word *w = &l->words[i];

		if (!w->key || w->taken || strcmp(w->key, key))
			continue;
		w->taken = true;
		return w->value;
	}
	return NULL;
}

bool line_flag(struct line *l, const char *word)
{
	for (size_t i = 0; i < l->count; i++) {
		struct word *w = &l->words[i];

		if (w->key || w->taken || strcmp(w->value, word))
			continue;
		w->taken = true;
		return true;
	}
	return false;
}

int line_number(struct line *l, const char *key, unsigned long max, unsigned *ret)
{
	const char *s = line_key(l, key);
	unsigned long v;

	if (!s)
		return 0;
	if (text_number(s, max, &v))
		return host_complain("%s=%s is not a number up to %lu", key, s, max);
	*ret = (unsigned)v;
	return 0;
}

int line_end(const struct line *l)
{
	for (size_t i = 0; i < l->count; i++) {
		const struct word *w = &l->words[i];

		if (!w->taken)
			return host_complain("'%s%s%s' is not understood here",
					     w->key ? w->key : "", w->key ? "=" : "", w->value);
	}
	return 0;
}
