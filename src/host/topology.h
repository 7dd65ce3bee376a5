/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which functions make a card, and which a group. Pure but for the few files of a group; the
 * results live in the arena given and borrow the functions. Used by inventory.c.
 */
#pragma once

#include "host/inventory.h"

/*
 * The cards among `functions` (struct function *, sorted by address), sorted by slot. card_of has
 * one element per function: the index of its card in `cards`, or -1.
 */
void topology_cards(const struct list *functions, const struct class_filter *filter,
		    struct arena *arena, struct list *cards, int *card_of);

/* The groups of these functions, sorted by number; what is known of them is their members only. */
void topology_groups(const struct list *functions, struct arena *arena, struct list *groups);
