/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The planners of a VM's record: made, changed. Pure. The facts have the normalised spec.
 *
 * The order law of making one: pool, volumes, the record, and then what a start does; so a record
 * never names a volume that is not there.
 */
#pragma once

#include "vm/facts.h"

/*
 * facts->vm is not stored yet (facts->stored is the record that has its id, if there is one).
 * sized: the request gave disk_size, for pointers.
 */
int vm_create_plan(struct plan *plan, const struct vm_facts *facts, bool start, bool sized,
		   struct error *err);
/* facts->stored and facts->vm are as it is now. running: of what cannot be changed then, it warns.
 */
int vm_change_plan(struct plan *plan, const struct vm_facts *facts,
		   const struct wire_vm_change *change, bool running, struct error *err);
