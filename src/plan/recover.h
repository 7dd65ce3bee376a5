/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Out of the unknown: after a crash, after a step that did not come back, after the helper was gone in
 * the middle of one. First the helper is asked which of its children still live: nothing is ever written
 * to what a living child writes to. Then the journal and `holds` of the kinds decide: before a point of
 * no return back, after it forward.
 */
#pragma once

#include "plan/run.h"

enum recover_decision {
	RECOVER_WAIT,		/* ask again at run->wake */
	RECOVER_STUCK,		/* run->error says on what */
	RECOVER_FORWARD,	/* run->at is the step to go on with */
	RECOVER_BACK,		/* run->at is the step to begin with */
	RECOVER_NOTHING,	/* nothing of it is left in the world, nothing is to be undone */
	RECOVER_COMPLETE,	/* every step was proven */
};

/* Changes only run->at, wake, passed, helper_until, careful and error; touches nothing outside. */
enum recover_decision recover_decide(struct run *run);
