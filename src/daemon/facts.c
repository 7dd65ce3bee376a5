/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See facts.h. What is shared is this file's and under its lock; the helper is asked without it.
 *
 * A request that comes when nobody looked for a while waits for fresh facts, so that it does not
 * show who held a card an hour ago. It waits a second at most: then what is too old is unknown.
 */
#include "daemon/facts.h"

#include <stdlib.h>
#include <string.h>

#include "base/id.h"
#include "base/lock.h"
#include "host/modules.h"
#include "http/pending.h"
#include "vgpu/catalogue.h"

enum {
	BURST_MS = 500,
	POKE_MS = 100, /* who changed something is answered first */
	EVERY_MS = 5000,
	FRESH_MS = 6000,
	LOOKED_MS = 30 * 1000,
	STALE_MS = 10 * 1000,
	TICKETS = 512,
	STACK_BYTES = 256 * 1024,
	STOP_MS = 500,
};

static struct lock facts_lock = LOCK_INIT;
static pthread_cond_t wake = PTHREAD_COND_INITIALIZER;
static struct facts *newest GUARDED_BY(facts_lock);
/* time_monotonic_ms() of newest; 0: never. Somebody looked last. */
static uint64_t heard_at GUARDED_BY(facts_lock), looked_at GUARDED_BY(facts_lock);
static uint64_t tickets[TICKETS] GUARDED_BY(facts_lock);
static size_t n_tickets GUARDED_BY(facts_lock);
/* How many there were: what was heard before the last is stale. */
static unsigned connections GUARDED_BY(facts_lock);
static bool poked GUARDED_BY(facts_lock), stopping GUARDED_BY(facts_lock);
/* time_monotonic_ms() before which it is not asked for a poke. */
static uint64_t poke_due GUARDED_BY(facts_lock);
static bool silent; /* what is newest is only that it does not answer */

static pthread_t asker;
static struct privd *helper;
static const struct host_root *host;
static struct class_filter classes;
static void (*tell_news)(void);

/* ---- facts ---- */

static struct facts *facts_new(const char *unknown)
{
	struct facts *facts = calloc(1, sizeof(*facts));

	if (!facts)
		abort();
	*facts = (struct facts){ .refs = 1,
				 .arena = arena_new(),
				 .holders.null = true,
				 .critical.null = true,
				 .holders_unknown = unknown,
				 .critical_unknown = unknown,
				 .framebuffers.null = true,
				 .framebuffers_unknown = unknown,
				 .offers.null = true,
				 .offers_unknown = unknown,
				 .vfio_pci = FACT_UNKNOWN,
				 .vfio_pci_evidence = unknown };
	return facts;
}

void facts_release(struct facts *facts)
{
	if (!facts || __atomic_sub_fetch(&facts->refs, 1, __ATOMIC_ACQ_REL))
		return;
	vgpu_offers_release(&facts->offers);
	arena_free(facts->arena);
	free(facts);
}

struct facts *facts_acquire(void)
{
	struct facts *facts;

	lock_take(&facts_lock);
	if (!newest)
		newest = facts_new("not asked yet");
	facts = newest;
	__atomic_add_fetch(&facts->refs, 1, __ATOMIC_RELAXED);
	lock_give(&facts_lock);
	return facts;
}

void facts_view(const struct facts *facts, struct doctor_facts *out)
{
	out->gpu.holders = facts->holders.null ? NULL : &facts->holders;
	out->gpu.holders_unknown = facts->holders_unknown;
	out->gpu.critical = facts->critical.null ? NULL : &facts->critical;
	out->gpu.critical_unknown = facts->critical_unknown;
	out->framebuffers = facts->framebuffers.null ? NULL : &facts->framebuffers;
	out->framebuffers_unknown = facts->framebuffers_unknown;
	out->gpu.offered = facts->offers.null ? NULL : &facts->offered;
	out->gpu.offered_unknown = facts->offers_unknown;
	out->vfio_pci = facts->vfio_pci;
	out->vfio_pci_evidence = facts->vfio_pci_evidence;
}

static void put_locked(struct facts *facts) REQUIRES(facts_lock)
{
	facts_release(newest);
	newest = facts;
	heard_at = time_monotonic_ms();
}

/* ---- asking ---- */

static void ask_holders(const struct list *functions, struct facts *facts)
{
	struct list addresses = { 0 };
	struct error err;

	for (LIST_EACH(struct function *, f, functions))
		*list_add(facts->arena, &addresses, struct pci_address) = (*f)->address;
	facts->holders.null = false;
	if (!addresses.n ||
	    privd_holders(helper, &addresses, facts->arena, &facts->holders, &err) >= 0)
		return;
	facts->holders.null = true;
	facts->holders_unknown = arena_strdup(facts->arena, err.message);
}

static void ask_critical(struct facts *facts)
{
	struct error err;

	facts->critical.null = false;
	if (privd_critical(helper, &classes, facts->arena, &facts->critical, &err) >= 0)
		return;
	facts->critical.null = true;
	facts->critical_unknown = arena_strdup(facts->arena, err.message);
}

static void ask_framebuffers(const struct list *functions, struct facts *facts)
{
	struct error err;
	const char *text;

	facts->framebuffers.null = false;
	if (!functions->n ||
	    (privd_iomem(helper, facts->arena, &text, &err) >= 0 &&
	     iomem_boot_framebuffers(text, functions, facts->arena, &facts->framebuffers, &err) >= 0))
		return;
	facts->framebuffers.null = true;
	facts->framebuffers_unknown = arena_strdup(facts->arena, err.message);
}

/* Only what somebody touched, or what is as old as all the rest. */
static void ask_offers(const struct inventory *inv, struct facts *facts)
{
	const struct vgpu_reader reader = { helper, privd_types, privd_vf_types };
	CLEANUP(facts_releasep) struct facts *old = facts_acquire();
	uint64_t now = time_monotonic_ms();

	vgpu_offers_read(&reader, inv, &old->offers, now > EVERY_MS ? now - EVERY_MS : 0, facts->arena,
			 &facts->offers);
	vgpu_offered(&facts->offers, facts->arena, &facts->offered);
}

/* Without a connection a call would wait for one; nobody needs to wait to hear that. */
static struct facts *ask_helper(void)
{
	CLEANUP(inventory_releasep) struct inventory *inv = inventory_acquire();
	struct list functions = { 0 };
	struct facts *facts;

	if (!privd_connected(helper))
		return facts_new("horcrux-privd cannot be reached");
	facts = facts_new(NULL);
	if (inv)
		functions = inventory_card_functions(inv, facts->arena);
	ask_holders(&functions, facts);
	ask_critical(facts);
	ask_framebuffers(&functions, facts);
	if (inv)
		ask_offers(inv, facts);
	return facts;
}

static bool looked_lately_locked(uint64_t now) REQUIRES(facts_lock)
{
	return looked_at && now < looked_at + LOOKED_MS;
}

/* Milliseconds until it is time to ask; 0: now; UINT64_MAX: not before somebody looks. */
static uint64_t due_locked(uint64_t now) REQUIRES(facts_lock)
{
	uint64_t due;

	/* taking a card is a dozen uevents within half a second, and each look reads the whole host */
	if (poked) {
		due = heard_at && heard_at + BURST_MS > poke_due ? heard_at + BURST_MS : poke_due;
		return now >= due ? 0 : due - now;
	}
	if (!looked_lately_locked(now))
		return UINT64_MAX;
	return !heard_at || now >= heard_at + EVERY_MS ? 0 : heard_at + EVERY_MS - now;
}

static void sleep_locked(uint64_t ms) REQUIRES(facts_lock)
{
	struct timespec until;

	if (ms == UINT64_MAX) {
		lock_wait(&facts_lock, &wake);
		return;
	}
	until = time_in_ms(ms);
	lock_wait_until(&facts_lock, &wake, &until);
}

static void *ask(void *unused)
{
	struct facts *facts;
	unsigned connection;
	uint64_t due;

	(void)unused;
	lock_take(&facts_lock);
	while (!stopping) {
		due = due_locked(time_monotonic_ms());
		if (due) {
			sleep_locked(due);
			continue;
		}
		poked = false;
		connection = connections;
		lock_give(&facts_lock);
		facts = ask_helper();
		facts->vfio_pci = module_available(host, "vfio_pci", facts->arena,
						   &facts->vfio_pci_evidence);
		lock_take(&facts_lock);
		put_locked(facts);
		silent = false;
		if (connection != connections)
			heard_at = 0;
		lock_give(&facts_lock);
		tell_news();
		lock_take(&facts_lock);
	}
	lock_give(&facts_lock);
	return NULL;
}

int facts_start(struct privd *privd, const struct host_root *root,
		const struct class_filter *filter, void (*news)(void), struct error *err)
{
	pthread_attr_t attributes;
	int r;

	helper = privd;
	host = root;
	classes = *filter;
	tell_news = news;
	lock_take(&facts_lock); /* it may be poked already */
	stopping = false;
	poked = true;
	lock_give(&facts_lock);
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, STACK_BYTES);
	r = pthread_create(&asker, &attributes, ask, NULL);
	pthread_attr_destroy(&attributes);
	if (r)
		return error_errno(err, ERROR_SYSTEM, r, "a thread cannot be started");
	pthread_setname_np(asker, "facts");
	return 0;
}

bool facts_stop(void)
{
	lock_take(&facts_lock);
	stopping = true;
	pthread_cond_signal(&wake);
	lock_give(&facts_lock);
	if (!thread_join_in_ms(asker, STOP_MS))
		return false;
	lock_take(&facts_lock);
	put_locked(NULL);
	lock_give(&facts_lock);
	return true;
}

/* ---- who looks ---- */

bool facts_look(void)
{
	uint64_t now = time_monotonic_ms();
	bool fresh, idle;

	lock_take(&facts_lock);
	idle = !looked_lately_locked(now);
	looked_at = now;
	fresh = heard_at && now < heard_at + FRESH_MS;
	if (idle)
		pthread_cond_signal(&wake);
	lock_give(&facts_lock);
	return fresh;
}

bool facts_silent(void)
{
	bool is;

	lock_take(&facts_lock);
	is = silent;
	lock_give(&facts_lock);
	return is;
}

void facts_refresh(uint64_t ticket)
{
	bool taken = false, fresh;

	lock_take(&facts_lock);
	fresh = heard_at && time_monotonic_ms() < heard_at + FRESH_MS;
	if (!fresh && n_tickets < TICKETS) {
		tickets[n_tickets++] = ticket;
		taken = true;
	}
	poked = poked || !fresh;
	poke_due = fresh ? poke_due : 0;
	pthread_cond_signal(&wake);
	lock_give(&facts_lock);
	if (taken)
		tell_news(); /* that somebody waits: facts_waiting() */
	else
		pending_resume(ticket);
}

void facts_poke(void)
{
	lock_take(&facts_lock);
	if (!poked)
		poke_due = time_monotonic_ms() + POKE_MS;
	poked = true;
	pthread_cond_signal(&wake);
	lock_give(&facts_lock);
}

void facts_connected(void)
{
	lock_take(&facts_lock);
	connections++;
	heard_at = poke_due = 0;
	poked = true;
	pthread_cond_signal(&wake);
	lock_give(&facts_lock);
}

bool facts_waiting(void)
{
	bool waiting;

	lock_take(&facts_lock);
	waiting = n_tickets != 0;
	lock_give(&facts_lock);
	return waiting;
}

bool facts_give_up(void)
{
	bool stale;

	lock_take(&facts_lock);
	stale = !heard_at || time_monotonic_ms() >= heard_at + STALE_MS;
	if (stale) /* counts as heard: the next request is not to wait for the same again */
		put_locked(facts_new("horcrux-privd does not answer in time"));
	silent = silent || stale;
	lock_give(&facts_lock);
	return stale;
}

void facts_published(void)
{
	uint64_t waiting[TICKETS];
	size_t n;

	lock_take(&facts_lock);
	n = n_tickets;
	memcpy(waiting, tickets, n * sizeof(waiting[0]));
	n_tickets = 0;
	lock_give(&facts_lock);
	for (size_t i = 0; i < n; i++)
		pending_resume(waiting[i]);
}
