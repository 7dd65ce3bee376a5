/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A line of a description: words, and key=value pairs; values may stand in
 * double quotes.  What nobody asked for is an error in the end.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct word {
	char *key; /* NULL: a bare word */
	char *value;
	bool taken;
};

struct line {
	struct word *words;
	size_t count;
};

/* 0, or -EINVAL with a complaint (an open quote). */
int line_split(const char *s, struct line *ret);
void line_free(struct line *l);

/* The next bare word, or NULL; the line keeps it. */
const char *line_word(struct line *l);
const char *line_key(struct line *l, const char *key);

/* A bare word anywhere in the rest. */
bool line_flag(struct line *l, const char *word);

/* The numbers of a key: the default if it is not there; -EINVAL if it is none. */
int line_number(struct line *l, const char *key, unsigned long max, unsigned *ret);

/* Complains about the first word that nobody took. */
int line_end(const struct line *l);
