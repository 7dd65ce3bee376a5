/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looking for a plan: everything that guards and planners of one card go by, read together. The
 * inventory is read anew for the card and its groups when asked to be fresh; holders, critical facts,
 * iomem and overrides come from horcrux-privd. In a task's thread; blocks as long as privd's
 * deadlines.
 */
#pragma once

#include "gpu/guard.h"
#include "gpu/steps.h"

struct card_look {
	struct arena *arena;
	struct inventory *inventory;	/* a reference of its own */
	struct card_facts facts;
	const struct function *function;	/* the one that was asked for */
	struct gpu_unit unit;		/* what is judged with it */
};

/*
 * Look at the card that has this function. 0; or -1 with not_found, invalid_value, store, helper (privd
 * cannot be asked), or internal (no inventory yet). What privd cannot tell is unknown in the facts, not
 * an error.
 * `function_only`: the unit is that one function. `fresh`: the inventory is read again; for who has the
 * locks of the card.
 */
int card_look(struct gpu_services *services, const char *address, bool function_only, bool fresh,
	      struct card_look *ret, struct error *err);
/*
 * The same, for who shows it after a change: who uses the card, and what the host lives on where the
 * card can carry anything (not on vfio); nothing that only planners go by. fresh: false where the change
 * gave it to another driver, and then had the inventory read again. The caller still has the locks of
 * the card.
 */
int card_look_shown(struct gpu_services *services, const char *address, bool function_only, bool fresh,
		    struct card_look *ret, struct error *err);
/*
 * A card that has just come has its record a moment later. Wait for that of what was looked at, for three
 * seconds at most; true: it is there, so look again.
 */
bool card_await_record(struct gpu_services *services, const struct card_look *look);
/* The same, of what the inventory knows alone: no records, nothing is asked. */
int card_find(struct gpu_services *services, const char *address, bool function_only,
	      struct card_look *ret, struct error *err);
/* Adds its record, and those of all others, to what was found. 0, or -1 with store. */
int card_look_record(struct gpu_services *services, struct card_look *look, struct error *err);
void card_look_finish(struct card_look *look);
#define CLEAN_LOOK CLEANUP(card_look_finish)
