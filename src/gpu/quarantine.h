/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Quarantine: a card whose configuration space reads ff does not answer any more (it fell off the bus, or
 * a reset failed). Letting drivers have it can hang the host, so horcrux-privd refuses to move it, its
 * record says why from then on, and every plan for it is refused until it is released by hand. That is
 * done only when it answers again.
 *
 * Step functions as in plan/step.h; task threads.
 */
#pragma once

#include "gpu/guard.h"
#include "gpu/steps.h"

/* What a write to this function failed with: if it does not answer, note that. Returns -1. */
int quarantine_note(const struct gpu_services *services, const char *address, const struct error *err);

struct quarantine_step {
	const char *card;	/* id of its record */
	struct list addresses;	/* its functions: each has to answer */
};

/* What it fills the plan with: nothing, where the card is in no quarantine. Results as bind_plan(). */
int unquarantine_plan(struct plan *plan, const struct card_facts *facts, const struct gpu_unit *unit,
		      struct error *err);

int step_unquarantine_apply(void *services, const void *args, struct error *err);
int step_unquarantine_prove(void *services, const void *args, struct error *err);
int step_unquarantine_holds(void *services, const void *args);
const char *step_unquarantine_text(const void *args, struct arena *arena);
