/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Several steps at once: what neighbours ask of the helper goes there as one message, a chain. See
 * step_kind.request for what that asks of a step.
 */
#include "plan/run_parts.h"
#include "privd/protocol.h"

struct chain {
	struct run *run;
	size_t n, done, begun;	/* steps from run->at on */
	const struct step_kind *kinds[PRIVD_CHAIN_MAX];
	struct privd_request requests[PRIVD_CHAIN_MAX];
};

/* Could the step it is in go with the next? */
static bool may_chain(const struct run *run)
{
	return run->world->chain && !run->careful && !run->alone && run->at + 1 < run->plan->steps.n &&
	       run_step(run, run->at)->kind->request && run_step(run, run->at + 1)->kind->request;
}

/* The steps from the one it is in that go to the helper together. */
static void gather(struct chain *c)
{
	struct run *run = c->run;
	const struct plan_step *step;
	size_t i;

	for (; c->n < PRIVD_CHAIN_MAX && run->at + c->n < run->plan->steps.n; c->n++) {
		i = run->at + c->n;
		step = run_step(run, i);
		if (run->status[i] != STEP_NONE || !step->kind->request ||
		    !step->kind->request(step->args, &c->requests[c->n]))
			return;
		c->kinds[c->n] = step->kind;
	}
}

static int note_all(const struct run *run, size_t count, enum step_status status, struct error *err)
{
	return count ? journal_steps(run->world->journal, run->task, run->at, count, status, err) : 0;
}

static void fault_points(const struct chain *c, enum fault_point point)
{
	for (size_t i = 0; i < c->n; i++)
		fault_point(point, c->kinds[i], false);
}

static void chain_is_at(void *data, size_t i)
{
	struct chain *c = data;

	run_tell(c->run, c->run->at + i, false);
}

/* As call(). */
static int call_chain(struct chain *c, struct error *err)
{
	const struct chain_watch watch = { chain_is_at, c };
	struct run *run = c->run;
	int r;

	run->step_until = time_monotonic_ms();
	for (size_t i = 0; i < c->n; i++)
		run->step_until += step_deadline(c->kinds[i], run_step(run, run->at + i)->args);
	run_enter(run, c->kinds, c->n, false);
	r = run->world->chain(run->world->services, c->requests, c->n, &watch, &c->done, &c->begun, err);
	if (r < 0 && c->done < c->n && c->kinds[c->done]->refused)
		c->kinds[c->done]->refused(run->world->services, run_step(run, run->at + c->done)->args, err);
	if (run_leave(run))
		return r;
	error_set(err, ERROR_STUCK, "it did not come back in time");
	return 2;
}

/* What was done is written down, what was not begun is as it was. */
static int chain_over(struct chain *c, int r, const struct error *why)
{
	struct run *run = c->run;
	struct error unwritten = { 0 };

	for (size_t i = c->begun; i < c->n; i++)
		run->status[run->at + i] = STEP_NONE;
	run->unclear = 0;
	if (note_all(run, c->done, STEP_DONE, &unwritten) < 0 && !run->passed) {
		run->at += c->begun - 1;	/* the last to be undone; unless somebody still writes there */
		return run_step_failed(run, r < 0 && run_needs_asking(why) ? why : &unwritten, false);
	}
	for (size_t i = 0; i < c->done; i++)
		run->status[run->at + i] = STEP_DONE;
	if (c->done)
		run_tell(run, run->at + c->done - 1, false);
	run->at += c->done;
	run->alone = r == 1;
	return r < 0 ? run_step_failed(run, why, true) : GO_ON;
}

static int do_chain(struct chain *c)
{
	struct run *run = c->run;
	struct error why = { 0 };
	int r;

	run_tell(run, run->at, false);
	if (note_all(run, c->n, STEP_INTENT, &why) < 0) {	/* so none was begun */
		run_blame(run, run->at, &why);
		run->way = RUN_BACK;
		return run->passed ? run_failed_for_good(run) : GO_ON;
	}
	for (size_t i = 0; i < c->n; i++)
		run->status[run->at + i] = STEP_INTENT;
	run->changed = true;
	fault_points(c, FAULT_BEFORE);
	r = call_chain(c, &why);
	if (r == 2) {
		run_blame(run, run->at, &why);
		return RUN_STUCK;
	}
	fault_points(c, FAULT_AFTER);
	return chain_over(c, r, &why);
}

bool run_chain(struct run *run, int *next)
{
	CLEAN_FREE struct chain *c = may_chain(run) ? malloc(sizeof(*c)) : NULL;

	if (!c)
		return false;
	c->run = run;
	c->n = c->done = c->begun = 0;	/* the rest is filled in up to n */
	gather(c);
	if (c->n < 2)
		return false;
	*next = do_chain(c);
	return true;
}
