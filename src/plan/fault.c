/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fault injection for the crash tests; see step.h. What is armed is set once, before threads, and
 * constant after; the step that a thread is in is that thread's own.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "plan/step.h"

enum { WORD_BYTES = 64, WORDS = 4 };

static struct {
	bool armed;
	bool undo;
	enum fault_point point;
	char kind[WORD_BYTES];
} fault;

static _Thread_local struct {
	const struct step_kind *const *kinds;
	size_t n;
	bool undo;
} here;

static const char *const points[] = {
	[FAULT_BEFORE] = "before", [FAULT_INSIDE] = "inside", [FAULT_AFTER] = "after", NULL
};

/* Cuts text at colons into exactly WORDS words. */
static bool split(const char *text, char words[WORDS][WORD_BYTES])
{
	const char *end;

	for (size_t i = 0; i < WORDS; i++) {
		end = i + 1 < WORDS ? strchr(text, ':') : text + strlen(text);
		if (!end || end == text || end - text >= WORD_BYTES)
			return false;
		memcpy(words[i], text, (size_t)(end - text));
		words[i][end - text] = '\0';
		text = end + 1;
	}
	return true;
}

int fault_load(const char *program, const char **ret, struct error *err)
{
	const char *text = secure_getenv("HORCRUX_FAULT");
	char words[WORDS][WORD_BYTES] = { 0 };
	char *way;
	int point;

	fault.armed = false;
	*ret = text;
	if (!text)
		return 0;
	if (!split(text, words) || strcmp(words[0], "kill") ||
	    (point = word_find(points, words[3])) < 0)
		return error_set(err, ERROR_USAGE,
				 "HORCRUX_FAULT must be kill:PROGRAM:STEP:before|inside|after");
	if (strcmp(words[1], program))
		return 0;
	way = strstr(words[2], "/undo");
	if (way)
		*way = '\0';
	fault.undo = way;
	fault.point = (enum fault_point)point;
	memcpy(fault.kind, words[2], sizeof(fault.kind));
	fault.armed = true;
	return 1;
}

void fault_enter(const struct step_kind *const *kinds, size_t n, bool undo)
{
	here.kinds = kinds;
	here.n = n;
	here.undo = undo;
}

void fault_point(enum fault_point point, const struct step_kind *kind, bool undo)
{
	if (!fault.armed || fault.point != point || fault.undo != undo ||
	    strcmp(fault.kind, kind->name))
		return;
	raise(SIGKILL);
}

void fault_inside(void)
{
	for (size_t i = 0; i < here.n; i++)
		fault_point(FAULT_INSIDE, here.kinds[i], here.undo);
}
