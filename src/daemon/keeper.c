/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See keeper.h. The first uevent of a burst arms a timer of 50 ms and later ones do not move it, so
 * the inventory is never older than that and the time it takes to read what was touched. What sends
 * no uevent (VFs made by others, error counters) is read once a minute.
 */
#include "daemon/keeper.h"

#include <malloc.h>
#include <sys/epoll.h>
#include <time.h>

#include "api/cards.h"
#include "api/health.h"
#include "base/log.h"
#include "daemon/book.h"
#include "daemon/facts.h"
#include "gpu/record.h"
#include "host/uevent.h"

enum { DEBOUNCE_USEC = 50 * 1000, EVERY_USEC = 60 * 1000 * 1000, SLACK_USEC = 1000 * 1000 };

struct keeper {
	struct keeper_options options;
	struct names *names;
	struct inventory *inventory; /* the current one; the publication has a reference too */
	struct inventory_changes changes;
	int uevents;
	sd_event_source *on_uevent, *debounce, *minute;
	bool armed; /* debounce is */
	bool deaf;  /* uevents wait in their socket until it is over */
	bool owes_poke; /* facts are to be asked for when it is over */
	uint64_t heard_at; /* what armed it; monotonic microseconds */
};

static void changes_clear(struct inventory_changes *changes)
{
	arena_free(changes->arena);
	*changes = (struct inventory_changes){ .arena = arena_new() };
}

/* What the cards were last made from. Lives as long as they do. */
struct sight {
	struct arena *arena;
	struct facts *facts;
	struct book *book;
	struct list domains; /* struct gpu_domain */
};

static void sight_free(void *keep)
{
	struct sight *sight = keep;

	facts_release(sight->facts);
	book_release(sight->book);
	arena_free(sight->arena);
}

/* What is known of the VMs that have a card. */
static void add_owners(const struct keeper *k, const struct book *book, struct arena *arena,
		       struct gpu_facts *view)
{
	const char *why;

	for (LIST_EACH(const struct card_record, record, &book->records)) {
		if (!record->owner)
			continue;
		if (k->options.starting && k->options.starting(record->owner))
			list_add_string(arena, &view->starting, record->owner);
		why = k->options.held_back ? k->options.held_back(record->owner, arena) : NULL;
		if (why)
			*list_add(arena, &view->held_back, struct row_pair) =
				(struct row_pair){ record->owner, why };
	}
}

void keeper_publish(struct keeper *k)
{
	struct arena *arena = arena_new();
	struct sight *sight = arena_new_of(arena, struct sight);
	struct doctor_facts facts = { .gpu.inventory = k->inventory, .gpu.node = k->options.node };

	*sight = (struct sight){ arena, facts_acquire(), book_acquire(), { 0 } };
	facts_view(sight->facts, &facts);
	book_view(sight->book, &facts.gpu);
	if (k->options.stuck)
		k->options.stuck(k->inventory, arena, &facts.gpu.stuck);
	if (k->options.changing)
		k->options.changing(k->inventory, arena, &facts.gpu.changing);
	add_owners(k, sight->book, arena, &facts.gpu);
	if (k->options.domains && k->options.domains(arena, &sight->domains) >= 0)
		facts.gpu.domains = &sight->domains;
	cards_publish(&facts, sight->facts->offers.null ? NULL : &sight->facts->offers, sight, sight_free);
}

/* The same functions of the same kinds: what is noted of cards is noted of these. */
static bool same_functions(const struct inventory *a, const struct inventory *b)
{
	struct function *const *of_a = a->functions.items, *const *of_b = b->functions.items;

	if (a->functions.n != b->functions.n)
		return false;
	for (size_t i = 0; i < a->functions.n; i++)
		if (of_a[i] != of_b[i] && !function_same(of_a[i], of_b[i]))
			return false;
	return true;
}

static int rebuild(struct keeper *k, struct error *err)
{
	struct inventory *next = inventory_build(k->options.root, &k->options.filter, k->names,
						 k->inventory, &k->changes, err);
	bool noted;

	if (!next) {
		health_set(HEALTH_INVENTORY, PART_FAILED, "%s", err->message);
		return -1; /* what is to be read stays noted, for the next time */
	}
	noted = k->inventory && !k->changes.all && same_functions(k->inventory, next);
	changes_clear(&k->changes);
	inventory_publish(next);
	if (!noted)
		book_poke();
	k->inventory = next; /* borrowed: the publication lives until the next one */
	keeper_publish(k);
	health_set(HEALTH_INVENTORY, PART_OK, NULL);
	return 0;
}

static void rebuild_or_log(struct keeper *k)
{
	struct error err;

	if (rebuild(k, &err) < 0)
		log_error("inventory: %s", err.message);
}

int keeper_scan(struct keeper *k, struct error *err)
{
	k->changes.all = true;
	if (rebuild(k, err) < 0)
		return -1;
	facts_poke();
	return 0;
}

static uint64_t clock_usec(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/*
 * Until the timer goes off, uevents are not taken one by one: the kernel's socket holds them, and tells
 * when it could not. One that stands for it holds a few datagrams only.
 */
static void stop_hearing(struct keeper *k)
{
	k->deaf = !k->options.uevent_socket &&
		  sd_event_source_set_enabled(k->on_uevent, SD_EVENT_OFF) >= 0;
}

static void arm(struct keeper *k)
{
	if (k->armed)
		return;
	k->armed = true;
	k->heard_at = clock_usec(CLOCK_MONOTONIC);
	sd_event_source_set_time_relative(k->debounce, DEBOUNCE_USEC);
	sd_event_source_set_enabled(k->debounce, SD_EVENT_ONESHOT);
	stop_hearing(k);
}

int keeper_refresh(struct keeper *k, const struct list *addresses, struct error *err)
{
	for (LIST_EACH(const struct pci_address, address, addresses))
		*list_add(k->changes.arena, &k->changes.addresses, struct pci_address) = *address;
	if (uevent_drain(k->uevents, &k->changes, NULL) < 0)
		k->changes.all = true;
	if (rebuild(k, err) < 0)
		return -1;
	k->owes_poke = true; /* whoever waits for this is answered first */
	k->armed = false; /* all that was told is read */
	arm(k);
	return 0;
}

/*
 * How fresh the list is, in what no other work on the machine changes: when it was to be read, and the
 * processor's time until it was served.
 */
static void rebuild_and_tell(struct keeper *k, uint64_t due)
{
	uint64_t began = clock_usec(CLOCK_THREAD_CPUTIME_ID);
	size_t n = k->changes.addresses.n;

	rebuild_or_log(k);
	log_debug("inventory: %zu uevents, due %llu us after the first, served after %llu us of processor",
		  n, (unsigned long long)(due - k->heard_at),
		  (unsigned long long)(clock_usec(CLOCK_THREAD_CPUTIME_ID) - began));
}

/* A task asks the helper itself for what it goes by, and when it is over all is asked (keeper_refresh):
 * meanwhile it is not kept waiting. */
static bool task_at_work(const struct keeper *k)
{
	CLEANUP(arena_freep) struct arena *arena = arena_new();
	struct list cards = { 0 };

	if (k->options.changing)
		k->options.changing(k->inventory, arena, &cards);
	return cards.n;
}

static void hear_again(struct keeper *k)
{
	if (!k->deaf)
		return;
	k->deaf = false;
	sd_event_source_set_enabled(k->on_uevent, SD_EVENT_ON);
	if (uevent_drain(k->uevents, &k->changes, NULL) < 0)
		k->changes.all = true;
}

static int on_debounced(sd_event_source *source, uint64_t usec, void *keeper)
{
	struct keeper *k = keeper;

	(void)source;
	k->armed = false;
	hear_again(k);
	if (k->changes.all || k->changes.addresses.n) {
		rebuild_and_tell(k, usec);
		k->owes_poke |= !task_at_work(k);
	} else {
		keeper_publish(k);
	}
	if (k->owes_poke)
		facts_poke();
	k->owes_poke = false;
	return 0;
}

void keeper_publish_soon(struct keeper *k)
{
	arm(k);
}

static int on_uevent(sd_event_source *source, int fd, uint32_t events, void *keeper)
{
	struct keeper *k = keeper;
	struct error err;
	int n = uevent_drain(fd, &k->changes, &err);

	(void)source, (void)events;
	if (n < 0) {
		log_error("uevents: %s", err.message);
		k->changes.all = true;
	}
	if (k->changes.all || k->changes.addresses.n)
		arm(k);
	return 0;
}

static int on_minute(sd_event_source *source, uint64_t usec, void *keeper)
{
	struct keeper *k = keeper;

	(void)usec;
	k->changes.all = true;
	rebuild_or_log(k);
	malloc_trim(0);
	sd_event_source_set_time_relative(source, EVERY_USEC);
	sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
	return 0;
}

static int watch(struct keeper *k, sd_event *event, struct error *err)
{
	int r;

	k->uevents = uevent_open(k->options.uevent_socket, err);
	if (k->uevents < 0)
		return -1;
	r = sd_event_add_io(event, &k->on_uevent, k->uevents, EPOLLIN, on_uevent, k);
	if (r >= 0)
		r = sd_event_add_time_relative(event, &k->debounce, CLOCK_MONOTONIC, 0, 1000,
					       on_debounced, k);
	if (r >= 0)
		r = sd_event_source_set_enabled(k->debounce, SD_EVENT_OFF);
	if (r >= 0)
		r = sd_event_add_time_relative(event, &k->minute, CLOCK_MONOTONIC, EVERY_USEC,
					       SLACK_USEC, on_minute, k);
	return r < 0 ? error_errno(err, ERROR_SYSTEM, -r, "uevents cannot be watched") : 0;
}

int keeper_start(sd_event *event, const struct keeper_options *options, struct keeper **ret,
		 struct error *err)
{
	struct keeper *k = calloc(1, sizeof(*k));

	if (!k)
		return error_set(err, ERROR_SYSTEM, "no memory");
	*k = (struct keeper){ .options = *options, .names = names_open(options->root), .uevents = -1 };
	changes_clear(&k->changes);
	/* First watch, then read: what changes in between is then read twice, not missed. */
	if (watch(k, event, err) < 0 || keeper_scan(k, err) < 0) {
		keeper_stop(k);
		return -1;
	}
	malloc_trim(0);
	*ret = k;
	return 0;
}

void keeper_stop(struct keeper *k)
{
	if (!k)
		return;
	sd_event_source_disable_unref(k->on_uevent);
	sd_event_source_disable_unref(k->debounce);
	sd_event_source_disable_unref(k->minute);
	cleanup_closep(&k->uevents);
	arena_free(k->changes.arena);
	cards_forget();
	inventory_publish(NULL);
	names_unref(k->names);
	free(k);
}
