/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Out of the unknown: after a crash, after a step that did not come back, after the helper was gone
 * in the middle of one. First the helper is asked which of its children still live: nothing is
 * written to what a living child writes to. Then the journal and `holds` of the kinds decide:
 * before a point of no return back, after it forward.
 *
 * Runs in the thread that has the run.
 */
#pragma once

#include "plan/run.h"

enum recover_decision {
	RECOVER_WAIT,		/* ask again at run->wake */
	RECOVER_STUCK,		/* run->error says on what */
	RECOVER_FORWARD,	/* from run->at */
	RECOVER_BACK,		/* from run->at */
	RECOVER_COMPLETE,	/* every step was proven */
};

/* Changes the run's own fields only; touches nothing outside. */
enum recover_decision recover_decide(struct run *run);
