/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The planner that starts a VM. Pure.
 *
 * The order law. First everything is judged: cards all together, memory, volumes, network. Then
 * claims, so that nobody else begins with the cards; then binds; then what the domain needs of
 * libvirt; the domain last. Undone in reverse, so a card goes back before its claim is dropped.
 */
#pragma once

#include "vm/facts.h"

/* No steps when it runs already. -1 with conflict when a card, volume or network is not there. */
int vm_start_plan(struct plan *plan, const struct vm_facts *facts, struct error *err);
/*
 * The steps alone, for plans that do something else before (create, restart). Disks of the spec
 * that have a size and are not there yet are being made by that plan.
 */
int vm_start_steps(struct plan *plan, const struct vm_facts *facts, struct error *err);
/* The domain alone, into plan->domain_xml: what libvirt gets at the next start. */
int vm_xml_plan(struct plan *plan, const struct vm_facts *facts, struct error *err);

/*
 * Are the cards of the spec there, each once, with ROMs that are theirs? -1 with the field's
 * pointer. gone: code of the error for one that is not there.
 */
int vm_check_cards(const struct vm_facts *facts, enum error_code gone, struct error *err);
/* Which cards are meant, into vm: those that are there at the addresses of its spec. */
void vm_note_cards(const struct vm_facts *facts, struct arena *arena, struct vm_record *vm);
/* Does anything of it lie in the pool, or will when it was started? */
bool vm_uses_pool(const struct vm_facts *facts);
/* The pool is made and started, if it is not yet. Takes its lock. */
void vm_pool_step(struct plan *plan, const struct vm_facts *facts);
