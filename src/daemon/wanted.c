/* SPDX-License-Identifier: Apache-2.0 */
/* See wanted.h. Cards that have VFs already are left as they are, whoever made those. */
#include "daemon/wanted.h"

#include <string.h>

#include "base/id.h"
#include "base/log.h"
#include "daemon/book.h"
#include "gpu/record.h"
#include "vgpu/change.h"

enum { PATIENCE_MS = 60000, RETRY_MS = 2000, CARDS_MAX = 64 };

/* One card of which VFs are wanted that are not there. */
struct attempt {
	char card[ID_TEXT];
	struct task *task; /* NULL: none is under way */
	uint64_t next;	   /* when to try again */
	char why[256];	   /* the last one failed; "": it did not */
};

static struct attempt attempts[CARDS_MAX];
static size_t n_attempts;
static uint64_t until;
static bool over;

static struct attempt *attempt_of(const char *card)
{
	for (size_t i = 0; i < n_attempts; i++)
		if (!strcmp(attempts[i].card, card))
			return &attempts[i];
	if (n_attempts == CARDS_MAX)
		return NULL;
	attempts[n_attempts] = (struct attempt){ 0 };
	snprintf(attempts[n_attempts].card, sizeof(attempts[n_attempts].card), "%s", card);
	return &attempts[n_attempts++];
}

static bool has_vfs(const struct inventory *inv, const struct card_record *record)
{
	struct pci_address address;
	const struct card *card = NULL;

	if (pci_address_parse(record->address, &address))
		card = inventory_card(inv, address);
	for (LIST_EACH(struct function *, f, card ? &card->functions : &(struct list){ 0 }))
		if ((*f)->sriov && (*f)->sriov->vfs.n)
			return true;
	return false;
}

/* A card that a VM has is on vfio: it gets its VFs when they are asked for again. */
static bool is_short(const struct inventory *inv, const struct card_record *record)
{
	return record->present && !record->owner && record->wanted_vfs > 0 && !has_vfs(inv, record);
}

static void begin(struct engine *engine, const struct card_record *record, struct attempt *a)
{
	const struct task_options options = { .requested_by = "horcruxd: VFs that are wanted" };
	struct error err;

	/* as many as are wanted when it comes to that: who is asking for another number now is not overruled */
	a->task = task_submit(engine, &sriov_operation, sriov_change_new(record->address, ROW_NULL), &options,
			      &err);
	if (a->task)
		return;
	a->next = time_monotonic_ms() + RETRY_MS;
	snprintf(a->why, sizeof(a->why), "%.250s", err.message);
}

/* Is what was begun over? Then it is known how. */
static void look_after(struct attempt *a)
{
	struct task_outcome outcome;

	task_outcome(a->task, &outcome);
	if (outcome.ended) {
		snprintf(a->why, sizeof(a->why), "%.250s",
			 outcome.error.code ? outcome.error.message : "");
		a->next = time_monotonic_ms() + RETRY_MS;
		task_unref(TAKE_PTR(a->task));
	}
	task_outcome_finish(&outcome);
}

/* True: it has not as many as it is to have. */
static bool attend(struct engine *engine, const struct inventory *inv, const struct card_record *record)
{
	struct attempt *a;

	if (!is_short(inv, record))
		return false;
	a = attempt_of(record->id);
	if (!a)
		return false;
	if (a->task)
		look_after(a);
	if (!a->task && time_monotonic_ms() >= a->next)
		begin(engine, record, a);
	return true;
}

static void give_up(const struct list *records)
{
	const struct card_record *record;

	for (size_t i = 0; i < n_attempts; i++) {
		record = record_of(records, attempts[i].card);
		if (record && attempts[i].why[0])
			log_warning("the %lld VFs of %s that are wanted were not made: %s",
				    (long long)record->wanted_vfs, record->address, attempts[i].why);
	}
}

static bool all_made(struct engine *engine)
{
	CLEANUP(inventory_releasep) struct inventory *inv = inventory_acquire();
	CLEANUP(book_releasep) struct book *book = book_acquire();
	bool late = time_monotonic_ms() >= until, short_of = false;

	if (!inv || book->records.null) {
		if (late)
			log_warning("no VFs were made as they are wanted: %s",
				    book->unknown ?: "the host has not been read yet");
		return late;
	}
	for (LIST_EACH(const struct card_record, record, &book->records))
		short_of |= attend(engine, inv, record);
	if (short_of && late)
		give_up(&book->records);
	return !short_of || late;
}

bool wanted_made(struct engine *engine)
{
	if (!until)
		until = time_monotonic_ms() + PATIENCE_MS;
	if (!over && all_made(engine)) {
		over = true;
		wanted_forget();
	}
	return over;
}

void wanted_forget(void)
{
	while (n_attempts)
		task_unref(attempts[--n_attempts].task);
}
