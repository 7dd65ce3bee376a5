/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See run.h for the order law and the threading. Forward, back, and what is told of both. Several steps
 * at once: run_chain.c.
 */
#include "plan/run_parts.h"

#include <string.h>

#include "plan/recover.h"

enum {
	GRACE_MS = 2000,	/* past a step's deadline before its thread counts as lost */
	POLL_FIRST_MS = 20,
	POLL_LAST_MS = 1000,
	UNKNOWN_MS = 2000,	/* a helper or libvirt that was gone is back by then */
	UNKNOWN_POLL_MS = 100,
	UNCLEAR_MAX = 4,	/* how often in a row it may find out anew what happened */
};

struct plan_step *run_step(const struct run *run, size_t n)
{
	return (struct plan_step *)run->plan->steps.items + n;
}

bool run_dead(const struct run *run, size_t n)
{
	return run->dead_kernel && !run_step(run, n)->kind->lasting;
}

struct run *run_new(struct run_world *world, const struct run_hooks *hooks, const char *task,
		    const char *requested_by, struct plan *plan)
{
	struct run *run = calloc(1, sizeof(*run));

	if (!run)
		abort();
	run->world = world;
	run->hooks = *hooks;
	run->plan = plan;
	run->status = calloc(plan->steps.n + 1, sizeof(*run->status));
	run->requested_by = requested_by ? strdup(requested_by) : NULL;
	if (!run->status)
		abort();
	snprintf(run->task, sizeof(run->task), "%s", task);
	return run;
}

struct run *run_restore(struct run_world *world, const struct run_hooks *hooks,
			const struct step_table *tables, size_t n_tables,
			const struct journal_task *found, struct error *err)
{
	CLEANUP(plan_freep) struct plan *plan = plan_new();
	struct run *run;
	json_t *step;
	size_t i;

	plan_title(plan, "%s", found->title);
	for (i = 0; i < found->locks.n; i++)
		plan_lock(plan, "%s", ((const char **)found->locks.items)[i]);
	json_array_foreach(found->steps, i, step)
		if (plan_step_load(plan, tables, n_tables,
				   json_string_value(json_object_get(step, "kind")),
				   json_object_get(step, "args"), err) < 0)
			return NULL;
	run = run_new(world, hooks, found->id, found->requested_by, TAKE_PTR(plan));
	memcpy(run->status, found->status, found->n * sizeof(*found->status));
	run->begun = run->changed = run->undone_any = true;
	run->dead_kernel = found->rebooted;
	error_set(&run->error, ERROR_SYSTEM, "the daemon ended while this was under way");
	run_look_again(run);
	return run;
}

void run_free(struct run *run)
{
	if (!run)
		return;
	plan_free(run->plan);
	free(run->status);
	free(run->requested_by);
	free(run);
}

void run_look_again(struct run *run)
{
	run->way = RUN_UNCLEAR;
	run->proving = false;
	run->careful = true;
	run->helper_until = 0;
	run->unknown_until = 0;
	run->unclear = 0;
}

/* ---- calling into kinds ---- */

void run_enter(struct run *run, const struct step_kind *const *kinds, size_t n, bool back)
{
	fault_enter(kinds, n, back);
	if (run->hooks.enter)
		run->hooks.enter(run->hooks.data, run->step_until + GRACE_MS);
}

static void enter(struct run *run, size_t n, bool back)
{
	run_enter(run, &run_step(run, n)->kind, 1, back);
}

bool run_leave(struct run *run)
{
	fault_enter(NULL, 0, false);
	if (!run->hooks.leave || !run->hooks.leave(run->hooks.data))
		return true;
	return false;
}

typedef int step_function(void *services, const void *args, struct error *err);

/* As the function; 2 when it was given up meanwhile. */
static int call(struct run *run, size_t n, bool back, step_function *function, struct error *err)
{
	int r;

	*err = (struct error){ 0 };
	enter(run, n, back);
	r = function(run->world->services, run_step(run, n)->args, err);
	if (run_leave(run))
		return r;
	error_set(err, ERROR_STUCK, "it did not come back in %u ms",
		  step_deadline(run_step(run, n)->kind, run_step(run, n)->args));
	return 2;
}

int run_holds(struct run *run, size_t n)
{
	int r;

	run->step_until = time_monotonic_ms() + step_deadline(run_step(run, n)->kind,
							      run_step(run, n)->args);
	enter(run, n, false);
	r = run_step(run, n)->kind->holds(run->world->services, run_step(run, n)->args);
	if (r >= 0)
		run->unknown_until = 0;
	return run_leave(run) ? r : 2;
}

bool run_ask_again(struct run *run)
{
	uint64_t now = time_monotonic_ms();

	if (!run->unknown_until)
		run->unknown_until = now + UNKNOWN_MS;
	if (now >= run->unknown_until) {
		run->unknown_until = 0;
		return false;
	}
	run->wake = now + UNKNOWN_POLL_MS;
	return true;
}

static void set_deadline(struct run *run, const struct plan_step *step)
{
	run->step_until = time_monotonic_ms() + step_deadline(step->kind, step->args);
	run->poll_ms = POLL_FIRST_MS;
	run->again_at = step->kind->again_ms ? time_monotonic_ms() + step->kind->again_ms : UINT64_MAX;
}

static int note(struct run *run, size_t n, enum step_status status, struct error *err)
{
	int r = journal_step(run->world->journal, run->task, n, run_step(run, n), status, err);

	/* Going back, what was done counts for more than whether it could be written down (and what
	 * was undone is written later, see journal.h). */
	if (!r || status == STEP_UNDOING || status == STEP_UNDONE)
		run->status[n] = status;
	return r;
}

void run_tell(struct run *run, size_t n, bool back)
{
	const struct plan_step *step = run_step(run, n);

	if (run->hooks.step)
		run->hooks.step(run->hooks.data, n, back,
				step_text(step->kind, step->args, run->plan->arena));
}

/* The proof is not there yet: how to go on. */
static int not_yet(struct run *run, struct error *why)
{
	uint64_t now = time_monotonic_ms();

	if (now >= run->step_until) {
		if (!why->code)
			error_set(why, ERROR_PROOF_FAILED, "it was not so in time");
		return -1;
	}
	run->wake = now + run->poll_ms;
	if (run->wake > run->step_until)
		run->wake = run->step_until;
	run->poll_ms = run->poll_ms * 2 > POLL_LAST_MS ? POLL_LAST_MS : run->poll_ms * 2;
	return 1;
}

/* ---- failing ---- */

void run_blame(struct run *run, size_t n, const struct error *why)
{
	struct plan_step *step = run_step(run, n);

	run->error = *why;
	if (!why->code)
		error_set(&run->error, ERROR_INTERNAL, "it failed without saying why");
	error_wrap(&run->error, "step %zu of %zu (%s)", n + 1, run->plan->steps.n,
		   step_text(step->kind, step->args, run->plan->arena));
}

/* holds() of step n said -1, or (2) it was given up meanwhile. */
static int not_told(struct run *run, size_t n, int held)
{
	static const char what[] = "it cannot be told whether it happened";
	struct error why;

	if (held == 2)
		return RUN_STUCK;
	if (run_ask_again(run))
		return RUN_WAIT;
	error_set(&why, ERROR_STUCK, "%s", what);
	if (run->error.code == ERROR_STUCK)	/* looked at again, and it is as it was */
		return RUN_STUCK;
	if (run->error.code)
		error_wrap(&run->error, "step %zu of %zu: %s; it began with", n + 1,
			   run->plan->steps.n, what);
	else
		run_blame(run, n, &why);
	run->error.code = ERROR_STUCK;
	return RUN_STUCK;
}

static int unclear(struct run *run)
{
	run->way = RUN_UNCLEAR;
	run->proving = false;
	return GO_ON;
}

bool run_needs_asking(const struct error *why)
{
	return why->code == ERROR_STUCK || why->code == ERROR_HELPER;
}

int run_failed_for_good(struct run *run)
{
	size_t left = run->plan->steps.n - run->at - 1;
	struct error cause = run->error;

	if (left)
		error_set(&run->error, cause.code,
			  "%.380s; there is no way back from here, and %zu more step%s not done",
			  cause.message, left, left == 1 ? " was" : "s were");
	else
		error_set(&run->error, cause.code, "%.430s; there is no way back from here",
			  cause.message);
	memcpy(run->error.hint, cause.hint, sizeof(cause.hint));
	return RUN_FAILED;
}

/* A step without undo failed. Did it happen all the same? */
static int point_failed(struct run *run, bool applying)
{
	int held = run_holds(run, run->at);

	if (held == 2)
		return RUN_STUCK;
	if (held < 0)
		return unclear(run);
	if (held && applying) {	/* it did; now it has to be proven like any other */
		run->proving = true;
		return GO_ON;
	}
	if (held) {
		run->passed = true;
		return run_failed_for_good(run);
	}
	run->status[run->at] = STEP_NONE;
	run->way = RUN_BACK;
	return GO_ON;
}

int run_step_failed(struct run *run, const struct error *why, bool applying)
{
	run_blame(run, run->at, why);
	run->proving = false;
	if (run_needs_asking(why))
		return unclear(run);
	if (run->passed)
		return run_failed_for_good(run);
	if (!run_step(run, run->at)->kind->undo)
		return point_failed(run, applying);
	run->way = RUN_BACK;
	run->at++;
	return GO_ON;
}

/* ---- forward ---- */

static int cancelled(struct run *run)
{
	error_set(&run->error, ERROR_CANCELLED, "it was cancelled before step %zu of %zu",
		  run->at + 1, run->plan->steps.n);
	run->way = RUN_BACK;
	return GO_ON;
}

/*
 * There is something of that name already, made by somebody else: so nothing was begun, and holds(),
 * which knows only what it looks like, might take it for ours. Not when the step was begun before:
 * then it may be what that made.
 */
static void not_begun(struct run *run, bool first, const struct error *why)
{
	if (first && why->code == ERROR_EXISTS)
		note(run, run->at, STEP_UNDONE, NULL);
}

/* 0: applied, now prove. Else what run_step_failed() said. */
static int apply(struct run *run, int *next)
{
	const struct plan_step *step = run_step(run, run->at);
	bool first = run->status[run->at] == STEP_NONE;
	struct error why = { 0 };
	int r;

	run_tell(run, run->at, false);
	if (note(run, run->at, STEP_INTENT, &why) < 0) {	/* so it was not begun */
		run_blame(run, run->at, &why);
		*next = run->passed ? run_failed_for_good(run) : GO_ON;
		run->way = RUN_BACK;
		return -1;
	}
	set_deadline(run, step);
	run->changed = true;
	fault_point(FAULT_BEFORE, step->kind, false);
	r = call(run, run->at, false, step->kind->apply, &why);
	if (r == 2) {
		run_blame(run, run->at, &why);
		*next = RUN_STUCK;
		return -1;
	}
	fault_point(FAULT_AFTER, step->kind, false);
	if (r < 0) {
		not_begun(run, first, &why);
		*next = run_step_failed(run, &why, true);
		return -1;
	}
	run->proving = true;
	return 0;
}

/* What the journal says was begun: is there still something to apply? As apply(). */
static int resume(struct run *run, int *next)
{
	int held;

	if (!run->careful || run->status[run->at] == STEP_NONE)
		return apply(run, next);
	held = run_holds(run, run->at);
	if (!held)
		return apply(run, next);
	if (held == 1) {
		run_tell(run, run->at, false);
		set_deadline(run, run_step(run, run->at));
		run->proving = true;
		return 0;
	}
	*next = not_told(run, run->at, held);
	return -1;
}

static int proven(struct run *run)
{
	const struct plan_step *step = run_step(run, run->at);
	struct error why;
	int r = note(run, run->at, STEP_DONE, &why);

	run->proving = run->alone = false;
	run->unclear = 0;
	if (r < 0 && step->kind->undo && !run->passed)
		return run_step_failed(run, &why, false);
	run->status[run->at] = STEP_DONE;
	if (!step->kind->undo) {
		run->passed = true;
		atomic_store(&run->final, true);
	}
	run->at++;
	return GO_ON;
}

/* Cancelled, and not just now beyond its point of no return. */
static bool may_cancel(struct run *run)
{
	if (!atomic_load(&run->cancel) || run->passed)
		return false;
	return run_step(run, run->at)->kind->undo || run_holds(run, run->at) == 0;
}

/*
 * Not proven yet: time to ask for it once more? Whatever that says, the proof is what counts. Not
 * close to the deadline, by which a call that takes long would not be back.
 */
static int apply_again(struct run *run)
{
	const struct step_kind *kind = run_step(run, run->at)->kind;
	uint64_t now = time_monotonic_ms();
	struct error why;
	int r;

	if (now < run->again_at || now + kind->again_ms > run->step_until)
		return RUN_WAIT;
	r = call(run, run->at, false, kind->apply, &why);
	run->again_at = time_monotonic_ms() + kind->again_ms;
	if (r != 2)
		return RUN_WAIT;
	run_blame(run, run->at, &why);
	return RUN_STUCK;
}

static int prove(struct run *run)
{
	struct error why;
	int r = call(run, run->at, false, run_step(run, run->at)->kind->prove, &why);

	if (r == 2) {
		run_blame(run, run->at, &why);
		return RUN_STUCK;
	}
	if (!r)
		return proven(run);
	if (r == 1 && may_cancel(run)) {
		error_set(&why, ERROR_CANCELLED, "it was cancelled while it waited");
		return run_step_failed(run, &why, false);
	}
	if (r == 1 && not_yet(run, &why) == 1)
		return apply_again(run);
	return run_step_failed(run, &why, false);
}

/* Who cancels in the last step is told that it will end so, and so it does. */
static int all_done(struct run *run)
{
	if (run->passed || !run->hooks.settle || run->hooks.settle(run->hooks.data))
		return RUN_SUCCEEDED;
	error_set(&run->error, ERROR_CANCELLED, "it was cancelled in its last step");
	run->way = RUN_BACK;
	return GO_ON;
}

static int forward(struct run *run)
{
	int next = GO_ON;

	if (run->at == run->plan->steps.n)
		return all_done(run);
	if (run->status[run->at] == STEP_DONE || run_dead(run, run->at)) {
		run->at++;
		return GO_ON;
	}
	if (!run->proving) {
		if (atomic_load(&run->cancel) && !run->passed)
			return cancelled(run);
		if (run_chain(run, &next) || resume(run, &next) < 0)
			return next;
	}
	return prove(run);
}

/* ---- back ---- */

static int came_back(struct run *run)
{
	if (run->error.code == ERROR_CANCELLED)
		return RUN_CANCELLED;
	return run->undone_any ? RUN_ROLLED_BACK : RUN_FAILED;
}

static int undo_failed(struct run *run, size_t n, const struct error *why)
{
	struct plan_step *step = run_step(run, n);
	struct error cause = run->error;
	size_t left = 0;

	run->proving = false;
	if (run_needs_asking(why))
		return unclear(run);
	for (size_t i = 0; i < n; i++)
		left += run->status[i] != STEP_NONE && run->status[i] != STEP_UNDONE;
	error_set(&run->error, cause.code ? cause.code : why->code,
		  "%.200s; then step %zu (%.80s) could not be undone: %.150s; %zu step%s before it "
		  "left as they are",
		  cause.message, n + 1, step_text(step->kind, step->args, run->plan->arena),
		  why->message, left, left == 1 ? "" : "s");
	error_hint(&run->error, "%s",
		   why->hint[0] ? why->hint
				: "look at what is left, and ask again "
				  "for what you want: the next plan starts from what is there");
	return RUN_FAILED;
}

/* did: something was undone; else there was nothing to undo. */
static int undone(struct run *run, bool did)
{
	run->proving = false;
	run->unclear = 0;
	note(run, run->at - 1, STEP_UNDONE, NULL);
	run->undone_any |= did;
	run->at--;
	return GO_ON;
}

/* It is not certain that there is something to undo: 1 there is (or half of it), 0 there is not. */
static int to_undo(struct run *run, size_t n)
{
	struct error why;
	int r = run_holds(run, n);

	if (r)
		return r;
	r = call(run, n, true, run_step(run, n)->kind->prove_undone, &why);
	return r == 2 ? 2 : r != 0;
}

/* 0: undone, now prove. Else the way on is in *next. */
static int undo(struct run *run, size_t n, int *next)
{
	const struct plan_step *step = run_step(run, n);
	struct error why;
	int r = 1;

	run_tell(run, n, true);
	set_deadline(run, step);
	if (run->careful || run->status[n] != STEP_DONE)
		r = to_undo(run, n);
	if (r != 1) {
		*next = r == 0 ? undone(run, false) : not_told(run, n, r);
		return -1;
	}
	note(run, n, STEP_UNDOING, NULL);
	set_deadline(run, step);
	fault_point(FAULT_BEFORE, step->kind, true);
	r = call(run, n, true, step->kind->undo, &why);
	if (r == 2) {
		*next = RUN_STUCK;
		return -1;
	}
	fault_point(FAULT_AFTER, step->kind, true);
	if (r < 0) {
		*next = undo_failed(run, n, &why);
		return -1;
	}
	run->proving = true;
	return 0;
}

static int back(struct run *run)
{
	size_t n = run->at - 1;
	struct error why;
	int r, next = GO_ON;

	atomic_store(&run->final, true);
	if (!run->at)
		return came_back(run);
	if (run->status[n] == STEP_NONE || run->status[n] == STEP_UNDONE || run_dead(run, n) ||
	    !run_step(run, n)->kind->undo) {
		run->at--;
		return GO_ON;
	}
	if (!run->proving && undo(run, n, &next) < 0)
		return next;
	r = call(run, n, true, run_step(run, n)->kind->prove_undone, &why);
	if (r == 2)
		return RUN_STUCK;
	if (!r)
		return undone(run, true);
	if (r == 1 && not_yet(run, &why) == 1)
		return RUN_WAIT;
	return undo_failed(run, n, &why);
}

/* ---- all of it ---- */

static int find_out(struct run *run)
{
	if (run->unclear == UNCLEAR_MAX) {
		run->error.code = ERROR_STUCK;
		return RUN_STUCK;
	}
	switch (recover_decide(run)) {
	case RECOVER_WAIT:
		return RUN_WAIT;
	case RECOVER_STUCK:
		return RUN_STUCK;
	case RECOVER_COMPLETE:
		return RUN_SUCCEEDED;
	case RECOVER_FORWARD:
		atomic_store(&run->final, true);
		run->way = RUN_FORWARD;
		break;
	case RECOVER_BACK:
		run->way = RUN_BACK;
		break;
	}
	run->unclear++;
	return GO_ON;
}

static int go(struct run *run)
{
	static int (*const ways[])(struct run *) = {
		[RUN_FORWARD] = forward,
		[RUN_BACK] = back,
		[RUN_UNCLEAR] = find_out,
	};
	int next = GO_ON;

	while (next == GO_ON) {
		if (atomic_load(&run->world->halt)) {
			run->wake = UINT64_MAX;
			return RUN_WAIT;
		}
		next = ways[run->way](run);
	}
	return next;
}

enum run_verdict run_continue(struct run *run)
{
	int verdict;

	if (!run->begun && journal_begin(run->world->journal, run->task, run->requested_by,
					 run->plan, &run->error) < 0)
		return RUN_FAILED;
	run->begun = true;
	verdict = go(run);
	if (verdict == RUN_SUCCEEDED)
		run->error = (struct error){ 0 };
	if (verdict == RUN_STUCK && !run->error.code)
		error_set(&run->error, ERROR_STUCK, "it did not come back");
	if (verdict != RUN_WAIT && verdict != RUN_STUCK && run->plan->steps.n)
		journal_end(run->world->journal, run->task, NULL);
	return (enum run_verdict)verdict;
}
