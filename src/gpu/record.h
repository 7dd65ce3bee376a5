/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Card records: what is kept of a card under an id that was minted when it was first seen. Evidence by
 * which it is known again (ids, subsystem, path without bus numbers), and its owner. The owner is one
 * field of one row of the store, so one compare-and-swap decides every race for a card.
 *
 * A card whose path changed is the same card only if it is the only one of its kind that moved; then
 * `moved_from` stays set until somebody confirms it. Rows live under cards/<node>/<id>; `node` is the id of
 * the host, which stays when its name changes.
 */
#pragma once

#include "host/inventory.h"
#include "store/store.h"

struct card_record {
	const char *id;
	const char *ids;		/* "1002:5159 1af4:1100": device and subsystem */
	const char *path;		/* function.path_key where it was confirmed to be */
	const char *address;		/* where it was last seen */
	const char *owner;		/* VM that has the whole card; NULL: nobody */
	int was_bound;			/* it was on vfio before its owner took it; -1 not told */
	const char *quarantined_why;	/* it does not answer (quarantine.h); NULL */
	const char *last_reset;		/* RFC 3339; NULL never */
	int64_t wanted_vfs;		/* VFs that it is to have, also after a boot; ROW_NULL: nobody said */
	const char *seen_at;		/* first sight, RFC 3339 */
	int64_t mod;			/* revision of its row; 0: not stored yet */
	/* Not stored; by records_match(). */
	bool changed;			/* differs from what is stored: save it */
	const char *moved_from;		/* its path is another than the confirmed one; NULL: as it was */
	bool present;
};

/* All records of a node, sorted by id: struct card_record in the arena. Their number, or -1. */
int records_load(struct store *store, const char *node, struct arena *arena, struct list *records,
		 struct error *err);

/*
 * An earlier version stored records under the host's name: move them under its id. Where there are
 * none of that name, and none of the id, those of the only other name there is: the host was given
 * another one since. What cannot be read, or is there already, stays as it is. 0 or -1.
 */
int records_adopt(struct store *store, const char *node, const char *name, struct error *err);

/*
 * Find each card of the inventory among the records: sets present, address and moved_from, and appends a
 * record with a new id (mod 0) for each card that none fits. Pure but for the ids it draws.
 */
void records_match(const struct inventory *inv, struct arena *arena, struct list *records);

/* Write one row if it is still as it was read. 1 written, 0 somebody was faster, -1. */
int record_save(struct store *store, const char *node, const struct card_record *record,
		struct error *err);
/* The record of the card that has this address now; NULL. */
const struct card_record *record_at(const struct list *records, const struct inventory *inv,
				    struct pci_address address);

/* The record of this id; NULL. */
const struct card_record *record_of(const struct list *records, const char *id);

/*
 * Claim a card for a VM, or drop its claim: read, compare, swap, a few times if others write meanwhile.
 * card_claim: error conflict when another VM has it (the message names it). Claiming what one has and
 * dropping what one has not are no errors. `path` (may be NULL): where it is now, confirmed by this.
 * was_bound is kept with the claim, so that its end leaves the card as it was; -1: as was noted.
 */
int card_claim(struct store *store, const char *node, const char *id, const char *vm,
	       const char *path, int was_bound, struct error *err);
int card_unclaim(struct store *store, const char *node, const char *id, const char *vm,
		 struct error *err);
/* Write down how many VFs it is to have; ROW_NULL: as many as it has. 0, or -1 (not_found, store, conflict). */
int card_want_vfs(struct store *store, const char *node, const char *id, int64_t vfs, struct error *err);
/* What is written down of that. 0 or -1. */
int card_wanted_vfs(struct store *store, const char *node, const char *id, int64_t *vfs,
		    struct error *err);
/* 1 and the owner's id in the arena, 0 nobody, -1. */
int card_owner(struct store *store, const char *node, const char *id, struct arena *arena,
	       const char **owner, struct error *err);
/* 0 and the path where it was last confirmed to be, in the arena; -1. */
int card_path(struct store *store, const char *node, const char *id, struct arena *arena,
	      const char **path, struct error *err);
