/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The planners of a VM's end: stopped, killed, ended by itself, restarted, deleted. Pure.
 *
 * The order law. The domain first; then, card by card: nobody has it open any more, it goes back as
 * it was before the start (bound, where it was bound), the claim is dropped last: as long as it
 * stands, nobody takes a card that is between two owners.
 */
#pragma once

#include "vm/facts.h"

/* It does not run (facts->active is false): cards back. Nothing to do is a plan without steps. */
int vm_ended_plan(struct plan *plan, const struct vm_facts *facts, struct error *err);
/*
 * What runs is ended first. Where its cards cannot be given back as far as is known now, it is
 * ended all the same and a warning says so: their release is then tried again by itself.
 */
int vm_stop_plan(struct plan *plan, const struct vm_facts *facts, int64_t timeout_s,
		 struct error *err);
int vm_kill_plan(struct plan *plan, const struct vm_facts *facts, struct error *err);
/* It keeps its cards meanwhile. One that does not run is started. */
int vm_restart_plan(struct plan *plan, const struct vm_facts *facts, int64_t timeout_s,
		    struct error *err);
/* conflict while it runs. */
int vm_delete_plan(struct plan *plan, const struct vm_facts *facts, bool delete_disks,
		   struct error *err);
