/* SPDX-License-Identifier: Apache-2.0 */
/* Knobs; see knobs.h.  Guarded by the host's lock. */
#include "knobs.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core.h"
#include "line.h"
#include "log.h"
#include "uevent.h"

enum knob_kind { K_FAIL, K_BLOCK, K_DELAY, K_IGNORE, K_HIDE, K_LOSE, K_PROBE, K_SHRINK };

struct knob {
	struct knob *next;
	enum knob_kind kind;
	char *line;
	char *path, *value, *driver, *type; /* globs; NULL: any */
	enum knob_op op;
	unsigned nth;	/* acts from the nth on that matches */
	unsigned times; /* so often; 0: always */
	unsigned ms, to;
	int error;
	struct function *f;
	unsigned seen, done;
	bool dead;
	unsigned blocked; /* threads that wait in it */
};

static struct knob *knobs;

/* keep sorted */
static const struct {
	const char *name;
	int value;
} names[] = {
	{ "EACCES", EACCES },	    { "EAGAIN", EAGAIN }, { "EBUSY", EBUSY },
	{ "EEXIST", EEXIST },	    { "EINVAL", EINVAL }, { "EIO", EIO },
	{ "ENODEV", ENODEV },	    { "ENOENT", ENOENT }, { "ENOMEM", ENOMEM },
	{ "ENOSPC", ENOSPC },	    { "ENOTTY", ENOTTY }, { "ENXIO", ENXIO },
	{ "EPERM", EPERM },	    { "ERANGE", ERANGE }, { "EROFS", EROFS },
	{ "ETIMEDOUT", ETIMEDOUT }, { "EUSERS", EUSERS },
};

int errno_by_name(const char *name)
{
	unsigned long v;

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (!strcmp(names[i].name, name))
			return names[i].value;
	return text_number(name, 4095, &v) ? 0 : (int)v;
}

const char *errno_name(int e)
{
	static char number[16];

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (names[i].value == e)
			return names[i].name;
	snprintf(number, sizeof(number), "%d", e);
	return number;
}

/* ---- lines ---- */

static char *copy_key(struct line *l, const char *key)
{
	const char *s = line_key(l, key);

	return s ? text_dup(s) : NULL;
}

static int parse_common(struct line *l, struct knob *k)
{
	const char *op = line_key(l, "op"), *e = line_key(l, "errno");
	int r;

	k->path = copy_key(l, "path");
	k->value = copy_key(l, "value");
	k->driver = copy_key(l, "driver");
	k->type = copy_key(l, "type");
	k->op = !op || !strcmp(op, "write") ? KNOB_WRITE
		: !strcmp(op, "read")	    ? KNOB_READ
					    : KNOB_OPEN;
	k->error = e ? errno_by_name(e) : EIO;
	if (!k->error)
		return host_complain("errno=%s is none that is known", e);
	r = line_number(l, "nth", 1U << 30, &k->nth);
	r = r ? r : line_number(l, "at", 1U << 30, &k->nth);
	r = r ? r : line_number(l, "times", 1U << 30, &k->times);
	r = r ? r : line_number(l, "ms", 3600000, &k->ms);
	return r ? r : line_number(l, "to", 1U << 30, &k->to);
}

static int parse_function(struct line *l, struct knob *k)
{
	const char *address = line_word(l);

	k->f = address ? host_function(address) : NULL;
	return k->f ? 0 : host_complain("there is no function '%s'", address ? address : "");
}

static const struct {
	const char *word;
	enum knob_kind kind;
	unsigned times;
	bool function;
} kinds[] = {
	{ "block", K_BLOCK, 0, false },	  { "delay", K_DELAY, 0, false },
	{ "fail", K_FAIL, 1, false },	  { "hide", K_HIDE, 0, false },
	{ "ignore", K_IGNORE, 0, false }, { "lose", K_LOSE, 1, true },
	{ "probe", K_PROBE, 0, true },	  { "shrink", K_SHRINK, 0, true },
};

static int parse_knob(struct line *l, const char *word, struct knob *k)
{
	int r;

	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
		if (strcmp(kinds[i].word, word))
			continue;
		*k = (struct knob){ .kind = kinds[i].kind, .nth = 1, .times = kinds[i].times };
		r = parse_common(l, k);
		if (!r && kinds[i].function)
			r = parse_function(l, k);
		if (!r && !k->path && !kinds[i].function)
			return host_complain("%s wants path=GLOB", word);
		return r ? r : line_end(l);
	}
	return host_complain("'%s' is no knob", word);
}

/* Those with this path, or (NULL) all. Threads may sleep in them, so they are not freed. */
static void clear(const char *path)
{
	for (struct knob **at = &knobs; *at;) {
		if (path && (!(*at)->path || strcmp((*at)->path, path))) {
			at = &(*at)->next;
			continue;
		}
		(*at)->dead = true;
		*at = (*at)->next;
	}
	if (!path)
		uevent_mute(false);
	host_wake();
}

/* Words that act at once and leave no knob. */
static int act(struct line *l, const char *word, bool *done)
{
	struct knob k = { 0 };
	int r = 0;

	*done = true;
	if (!strcmp(word, "clear")) {
		clear(line_key(l, "path"));
	} else if (!strcmp(word, "release")) {
		host.released = true;
		host_wake();
	} else if (!strcmp(word, "mute") || !strcmp(word, "unmute")) {
		uevent_mute(*word == 'm');
	} else if (!strcmp(word, "ff")) {
		bool after = line_flag(l, "after-reset"), off = line_flag(l, "off");

		r = parse_function(l, &k);
		if (!r && after)
			k.f->ff_after_reset = !off;
		else if (!r)
			k.f->ff = !off;
	} else {
		*done = false;
		return 0;
	}
	return r ? r : line_end(l);
}

static int add_knob(struct line *l, const char *word, const char *s)
{
	struct knob *k = must_alloc(sizeof(*k)), **end = &knobs;
	int r = parse_knob(l, word, k);

	if (r) {
		free(k);
		return r;
	}
	k->line = text_format("%.*s", (int)strcspn(s, "\n"), s);
	while (*end)
		end = &(*end)->next;
	*end = k;
	return 0;
}

int knob_line(const char *s)
{
	struct line l;
	const char *word;
	bool done;
	int r = line_split(s, &l);

	if (r)
		return r;
	word = line_word(&l);
	r = word ? act(&l, word, &done) : 0;
	if (word && !r && !done)
		r = add_knob(&l, word, s);
	line_free(&l);
	return r;
}

void knob_show(struct text *out)
{
	for (struct knob *k = knobs; k; k = k->next)
		text_addf(out, "%s\t# seen %u, done %u, blocked %u\n", k->line, k->seen, k->done,
			  k->blocked);
}

/* ---- matching ---- */

static bool glob_matches(const char *glob, const struct node *n)
{
	char *path, *alias;
	bool yes;

	if (n->dead)
		return false;
	path = node_path(n);
	alias = log_path(n);
	yes = !fnmatch(glob, path, 0) || !fnmatch(glob, alias, 0) ||
	      (!strchr(glob, '/') && !fnmatch(glob, n->name, 0));
	free(path);
	free(alias);
	return yes;
}

static bool value_matches(const char *glob, const char *buf, size_t len)
{
	char *s;
	bool yes;

	if (!glob)
		return true;
	s = text_written(buf, len);
	yes = !fnmatch(glob, s, 0);
	free(s);
	return yes;
}

/* Counts a match; true if it is one of those that the knob acts on. */
static bool turn(struct knob *k)
{
	k->seen++;
	if (k->seen < k->nth || (k->times && k->done >= k->times))
		return false;
	k->done++;
	return true;
}

static int act_knob(struct knob *k)
{
	switch (k->kind) {
	case K_FAIL:
		return -k->error;
	case K_IGNORE:
		return 1;
	case K_DELAY:
		host_sleep(k->ms);
		return 0;
	case K_LOSE:
		core_lose(k->f);
		return 0;
	default:
		k->blocked++;
		while (!k->dead)
			host_wait();
		k->blocked--;
		return 0;
	}
}

static bool concerns(const struct knob *k, enum knob_op op, const struct node *n, const char *buf,
		     size_t len)
{
	if (k->kind == K_LOSE)
		return op == KNOB_WRITE && (!k->path || glob_matches(k->path, n));
	if (k->kind > K_IGNORE || k->op != op)
		return false;
	return glob_matches(k->path, n) && value_matches(k->value, buf, len);
}

int knob_apply(enum knob_op op, struct node *n, const char *buf, size_t len)
{
	for (struct knob *k = knobs; k; k = k->next) {
		int r;

		if (!concerns(k, op, n, buf, len) || !turn(k))
			continue;
		r = act_knob(k);
		if (r)
			return r;
	}
	return 0;
}

bool knob_hidden(const struct node *n)
{
	for (struct knob *k = knobs; k; k = k->next)
		if (k->kind == K_HIDE && glob_matches(k->path, n))
			return true;
	return false;
}

int knob_probe(const struct function *f, const struct driver *d)
{
	for (struct knob *k = knobs; k; k = k->next)
		if (k->kind == K_PROBE && k->f == f &&
		    (!k->driver || !fnmatch(k->driver, d->name, 0)) && turn(k))
			return k->error;
	return 0;
}

unsigned knob_shrink(const struct function *f, const char *type, unsigned available)
{
	for (struct knob *k = knobs; k; k = k->next)
		if (k->kind == K_SHRINK && (k->f == f || k->f == f->physfn) &&
		    (!k->type || !fnmatch(k->type, type, 0)) && k->to < available)
			available = k->to;
	return available;
}
