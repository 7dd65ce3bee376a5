/* SPDX-License-Identifier: Apache-2.0 */
/* See recover.h. */
#include "plan/recover.h"

#include <string.h>

#include "plan/task.h"

enum { HELPER_POLL_MS = 200 };

/* Not if a part of it died with its boot: what is left would be half of it. */
static bool complete(const struct run *run)
{
	for (size_t i = 0; i < run->plan->steps.n; i++)
		if (run->status[i] != STEP_DONE || run_dead(run, i))
			return false;
	return true;
}

/* Steps whose kind has children, and that are not dead. */
static bool needs_helper(const struct run *run)
{
	for (size_t i = 0; i < run->plan->steps.n; i++)
		if (run_step(run, i)->kind->subject && !run_dead(run, i))
			return true;
	return false;
}

static const struct live_child *writer_of(struct run *run, const struct list *children)
{
	struct arena *arena = run->plan->arena;
	const char *subject;

	for (size_t i = 0; i < run->plan->steps.n; i++) {
		struct plan_step *step = run_step(run, i);

		subject = step->kind->subject ? step->kind->subject(step->args, arena) : NULL;
		if (!subject || run_dead(run, i))
			continue;
		for (LIST_EACH(const struct live_child, child, children))
			if (!strcmp(child->subject, subject))
				return child;
	}
	return NULL;
}

static enum recover_decision stuck(struct run *run, const struct error *why)
{
	if (run->error.code == ERROR_STUCK || run->error.code == ERROR_NONE)
		run->error = *why;
	else	/* the cause stays in the words */
		error_wrap(&run->error, "%s; it began with", why->message);
	run->error.code = why->code;
	error_hint(&run->error,
		   "nothing more is done to it; it is looked at again when what it waits for "
		   "comes back, and when the task is cancelled. If it never does, only a reboot "
		   "ends it");
	return RECOVER_STUCK;
}

static enum recover_decision helper_gone(struct run *run, const struct error *why)
{
	uint64_t now = time_monotonic_ms();

	if (!run->helper_until)
		run->helper_until = now + run->world->helper_ms;
	if (now >= run->helper_until)
		return stuck(run, why);
	run->wake = now + HELPER_POLL_MS;
	return RECOVER_WAIT;
}

/* RECOVER_BACK: nobody writes. */
static enum recover_decision ask_helper(struct run *run)
{
	CLEANUP(arena_freep) struct arena *arena = arena_new();
	const struct live_child *child;
	struct list children = { 0 };
	struct error why = { 0 };

	if (!needs_helper(run) || !run->world->live_children)
		return RECOVER_BACK;
	if (run->world->live_children(run->world->services, arena, &children, &why) < 0)
		return helper_gone(run, &why);
	run->helper_until = 0;
	child = writer_of(run, &children);
	if (!child)
		return RECOVER_BACK;
	error_set(&why, ERROR_STUCK, "%s of %s has not come back (process %lld)", child->what,
		  child->subject, (long long)child->pid);
	return stuck(run, &why);
}

/* Is a point of no return behind it? 1, 0; -1 it cannot be told, 2 it was given up meanwhile. */
static int passed(struct run *run)
{
	int held;

	for (size_t i = 0; i < run->plan->steps.n; i++) {
		if (run_step(run, i)->kind->undo)
			continue;
		if (run->status[i] == STEP_DONE)
			return 1;
		if (run->status[i] != STEP_INTENT)
			continue;
		held = run_dead(run, i) ? 1 : run_holds(run, i);
		if (held)
			return held;
	}
	return 0;
}

enum recover_decision recover_decide(struct run *run)
{
	enum recover_decision decision;
	struct error why = { 0 };
	int no_return;

	if (complete(run))
		return RECOVER_COMPLETE;
	decision = ask_helper(run);
	if (decision != RECOVER_BACK)
		return decision;
	run->careful = true;
	no_return = run->passed ? 1 : passed(run);
	if (no_return == -1 && run_ask_again(run))
		return RECOVER_WAIT;
	if (no_return == -1 || no_return == 2) {
		error_set(&why, ERROR_STUCK,
			  "it cannot be told whether the point of no return was passed");
		return stuck(run, &why);
	}
	run->passed = no_return;
	run->proving = false;
	run->at = no_return ? 0 : run->plan->steps.n;
	return no_return ? RECOVER_FORWARD : RECOVER_BACK;
}
