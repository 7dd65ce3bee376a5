/* SPDX-License-Identifier: Apache-2.0 */
/* See quarantine.h. */
#include "gpu/quarantine.h"

#include <string.h>

#include "base/id.h"
#include "gpu/bind.h"
#include "gpu/record.h"

enum { CONFIG_BYTES = 64, TRIES = 8 };

/* why NULL: none any more. 0; or -1 with not_found, store, conflict. */
static int write_down(const struct gpu_services *services, const char *slot, const char *id,
		      const char *why, struct error *err)
{
	CLEANUP(arena_freep) struct arena *arena = arena_new();
	struct list records = { 0 };
	struct card_record *found;
	int r = 0;

	for (int i = 0; i < TRIES && !r; i++) {
		found = NULL;
		if (records_load(services->store, services->node_id, arena, &records, err) < 0)
			return -1;
		for (LIST_EACH(struct card_record, record, &records))
			if (id ? !strcmp(record->id, id)
			       : record->address && !strcmp(record->address, slot))
				found = record;
		if (!found)
			return error_set(err, ERROR_NOT_FOUND, "there is no record of card %s",
					 id ? id : slot);
		found->quarantined_why = why;
		r = record_save(services->store, services->node_id, found, err);
	}
	if (r < 0)
		return -1;
	return r ? 0 : error_set(err, ERROR_CONFLICT, "others keep changing the record of that card");
}

int quarantine_note(const struct gpu_services *services, const char *address, const struct error *err)
{
	CLEANUP(inventory_releasep) struct inventory *inv = inventory_acquire();
	struct pci_address parsed;
	const struct card *card;
	char why[160], now[TIME_TEXT];

	if (!err || err->code != ERROR_NO_ANSWER || !services->store || !inv ||
	    !pci_address_parse(address, &parsed))
		return -1;
	card = inventory_card(inv, parsed);
	snprintf(why, sizeof(why), "the configuration space of %s read ff at %s", address,
		 time_now(now));
	/* who asked is told why it failed; a record that cannot be written adds nothing to that */
	write_down(services, card ? card->text : address, NULL, why, NULL);
	return -1;
}

/* ---- out of it ---- */

int unquarantine_plan(struct plan *plan, const struct card_facts *facts, const struct gpu_unit *unit,
		      struct error *err UNUSED)
{
	struct quarantine_step args = { .card = facts->card_id };

	plan_title(plan, "release %s from quarantine", unit->slot);
	unit_locks(plan, facts->gpu.inventory, unit);
	if (!facts->quarantined_why || !facts->card_id)
		return 0;
	for (size_t i = 0; i < unit->n; i++)
		list_add_string(plan->arena, &args.addresses, unit->functions[i]->text);
	plan_step(plan, gpu_step(STEP_RELEASE_QUARANTINE), &args);
	return 0;
}

static int answers(const struct gpu_services *services, const char *text, struct error *err)
{
	static const unsigned char ff[16] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
					      0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
	CLEANUP(arena_freep) struct arena *arena = arena_new();
	const uint8_t *bytes = NULL;
	struct pci_address address;
	size_t n = 0;

	if (!pci_address_parse(text, &address))
		return error_set(err, ERROR_INTERNAL, "%s is no address", text);
	if (privd_read_config(services->privd, address, CONFIG_BYTES, arena, &bytes, &n, err) < 0)
		return -1;
	if (n < sizeof(ff) || memcmp(bytes, ff, sizeof(ff)))
		return 0;
	error_set(err, ERROR_NO_ANSWER, "%s still does not answer: its configuration space reads ff",
		  text);
	return error_hint(err, "power-cycle the host, and ask again");
}

int step_unquarantine_apply(void *services, const void *args, struct error *err)
{
	const struct quarantine_step *s = args;

	for (LIST_EACH(const char *, address, &s->addresses))
		if (answers(services, *address, err) < 0)
			return -1;
	fault_inside();
	return write_down(services, NULL, s->card, NULL, err);
}

/* 1 it is in quarantine, 0 it is not, -1. */
static int quarantined(const struct gpu_services *services, const struct quarantine_step *s,
		       struct error *err)
{
	CLEANUP(arena_freep) struct arena *arena = arena_new();
	const struct card_record *record;
	struct list records = { 0 };

	if (records_load(services->store, services->node_id, arena, &records, err) < 0)
		return -1;
	record = record_of(&records, s->card);
	return record && record->quarantined_why;
}

int step_unquarantine_prove(void *services, const void *args, struct error *err)
{
	int r = quarantined(services, args, err);

	return r <= 0 ? r : error_set(err, ERROR_PROOF_FAILED, "it is still written down as quarantined");
}

int step_unquarantine_holds(void *services, const void *args)
{
	int r = quarantined(services, args, NULL);

	return r < 0 ? -1 : !r;
}

const char *step_unquarantine_text(const void *args UNUSED, struct arena *arena)
{
	return arena_strdup(arena, "see that the card answers, and drop the note that it did not");
}
