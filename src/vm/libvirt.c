/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connection that is, and the thread that keeps it (the keeper): it opens the connection, reads
 * what runs, then takes news one by one, reads the domain again, puts it into the list and tells
 * the listener; when the connection is lost, it begins anew. Nothing here asks libvirt outside a
 * call with a deadline, so the keeper cannot hang either.
 *
 * All of struct virt that changes is under virt_lock; calls and callbacks are made without it.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "base/lock.h"
#include "vm/libvirt_parts.h"

enum { QUEUE = 256 };

enum standing {
	OPENING, /* the first try, or the first after a loss: whoever calls waits for it */
	UP,
	DOWN, /* tried and failed: whoever calls is told why */
};

static struct lock virt_lock = LOCK_INIT;
static struct virt *virts GUARDED_BY(virt_lock);
static uint64_t generations GUARDED_BY(virt_lock);

struct virt {
	char *uri; /* NULL: no libvirt */
	struct virt_events events;
	struct caller caller;
	pthread_t keeper;
	pthread_cond_t changed; /* anything below */
	struct virt *next GUARDED_BY(virt_lock);
	bool stopping GUARDED_BY(virt_lock);
	enum standing standing GUARDED_BY(virt_lock);
	struct error why GUARDED_BY(virt_lock); /* it is not UP */
	/* Of the connection, or of the one being opened; and the last one that was lost. */
	uint64_t generation GUARDED_BY(virt_lock);
	uint64_t lost GUARDED_BY(virt_lock);
	struct link *link GUARDED_BY(virt_lock); /* while UP */
	/* A ring of news. overflow: some was dropped, and all is to be read again. */
	struct news *queue GUARDED_BY(virt_lock);
	size_t first GUARDED_BY(virt_lock), waiting GUARDED_BY(virt_lock);
	bool overflow GUARDED_BY(virt_lock);
	/* struct virt_domain, by name, in the arena. The keeper alone puts new ones in their place.
	 */
	struct list domains GUARDED_BY(virt_lock);
	struct arena *arena GUARDED_BY(virt_lock);
	/* One of them was starting when it was read. The keeper's own. */
	bool starting;
};

/* ---- from the event thread and from calls ---- */

static struct virt *virt_of(uint64_t generation) REQUIRES(virt_lock)
{
	for (struct virt *virt = virts; virt; virt = virt->next)
		if (virt->generation == generation)
			return virt;
	return NULL;
}

void virt_post(uint64_t generation, const struct news *news)
{
	struct virt *virt;

	lock_take(&virt_lock);
	virt = virt_of(generation);
	if (virt && virt->waiting == QUEUE)
		virt->overflow = true;
	else if (virt)
		virt->queue[(virt->first + virt->waiting++) % QUEUE] = *news;
	if (virt)
		pthread_cond_broadcast(&virt->changed);
	lock_give(&virt_lock);
}

void virt_lost(uint64_t generation, const char *why)
{
	struct virt *virt;

	lock_take(&virt_lock);
	virt = virt_of(generation);
	if (virt)
		virt->lost = generation;
	if (virt && virt->standing == UP) {
		virt->standing = OPENING;
		error_set(&virt->why, ERROR_LIBVIRT, "%s", why);
		error_hint(&virt->why, "Horcrux connects anew; see: systemctl status libvirtd");
		pthread_cond_broadcast(&virt->changed);
	}
	lock_give(&virt_lock);
}

/* ---- the list ---- */

/* Put `arena` and `domains` in the place of what was. */
static void publish(struct virt *virt, struct arena *arena, struct list domains)
{
	struct arena *old;

	lock_take(&virt_lock);
	old = virt->arena;
	virt->arena = arena;
	virt->domains = domains;
	lock_give(&virt_lock);
	arena_free(old);
}

static void publish_copy(struct virt *virt, const struct list *domains)
{
	struct arena *arena = arena_new();
	struct list copy = { 0 };

	for (LIST_EACH(const struct virt_domain, domain, domains))
		domain_copy(arena, &copy, domain);
	publish(virt, arena, copy);
}

/* The list with `now` (NULL: it is over) in the place of what has this UUID. */
static void replace(struct virt *virt, const char *uuid, const struct virt_domain *now,
		    const struct news *news)
{
	struct arena *arena = arena_new();
	struct virt_domain next;
	struct list list = { 0 };

	if (now)
		next = *now;
	if (now && !next.started_at && news->kind == NEWS_STARTED)
		next.started_at = news->at;
	lock_take(&virt_lock);
	for (LIST_EACH(const struct virt_domain, domain, &virt->domains)) {
		if (strcmp(domain->uuid, uuid))
			domain_copy(arena, &list, domain);
		else if (now && !next.started_at)
			next.started_at = arena_strdup(arena, domain->started_at);
	}
	lock_give(&virt_lock);
	if (now)
		domain_copy(arena, &list, &next);
	domains_sort(&list);
	publish(virt, arena, list);
}

int virt_domains(struct virt *virt, struct arena *arena, struct list *domains, struct error *err)
{
	bool up;

	lock_take(&virt_lock);
	up = virt->standing == UP;
	if (up)
		for (LIST_EACH(const struct virt_domain, domain, &virt->domains))
			domain_copy(arena, domains, domain);
	else if (err)
		*err = virt->why;
	lock_give(&virt_lock);
	return up ? 0 : -1;
}

/* ---- the keeper: news ---- */

static void tell(struct virt *virt, const char *name, enum virt_state state, bool gone)
{
	if (virt->events.domain)
		virt->events.domain(virt->events.data, name, state, gone);
}

static void tell_connected(struct virt *virt)
{
	if (virt->events.connected)
		virt->events.connected(virt->events.data);
}

enum coming {
	LOST, /* there is nothing more to be had of this connection */
	NEWS,
	DROPPED, /* there was more than the queue holds */
	QUIET, /* nothing for virt_timing.quiet, or .starting */
};

static enum coming next_news(struct virt *virt, struct news *ret)
{
	struct timespec until = time_in_ms(virt->starting ? virt_timing.starting : virt_timing.quiet);
	enum coming coming = LOST;
	int r = 0;

	lock_take(&virt_lock);
	while (virt->standing == UP && !virt->stopping && !virt->waiting && !virt->overflow && !r)
		r = lock_wait_until(&virt_lock, &virt->changed, &until);
	if (virt->standing == UP && !virt->stopping)
		coming = virt->overflow ? DROPPED : virt->waiting ? NEWS : QUIET;
	if (coming == DROPPED) {
		virt->overflow = false;
		virt->waiting = 0;
	} else if (coming == NEWS) {
		*ret = virt->queue[virt->first];
		virt->first = (virt->first + 1) % QUEUE;
		virt->waiting--;
	}
	lock_give(&virt_lock);
	return coming;
}

static void uuid_text(const unsigned char uuid[static VIR_UUID_BUFLEN],
		      char text[static VIR_UUID_STRING_BUFLEN])
{
	char *at = text;

	for (size_t i = 0; i < VIR_UUID_BUFLEN; i++)
		at += snprintf(at, (size_t)(text + VIR_UUID_STRING_BUFLEN - at),
			       i == 4 || i == 6 || i == 8 || i == 10 ? "-%02x" : "%02x", uuid[i]);
}

/* Does it say the same as the list that is published? Both are sorted. */
static bool is_known(struct virt *virt, const struct list *domains)
{
	const struct virt_domain *new = domains->items, *old;
	bool same;

	lock_take(&virt_lock);
	old = virt->domains.items;
	same = virt->domains.n == domains->n;
	for (size_t i = 0; same && i < domains->n; i++)
		same = !strcmp(old[i].uuid, new[i].uuid) && old[i].state == new[i].state;
	lock_give(&virt_lock);
	return same;
}

/*
 * DROPPED or QUIET. A libvirt that tells nothing may have lost what there was to tell: an event that is
 * queued while the last listener goes stays in its queue, and from then on nobody is told anything
 * (src/conf/object_event.c, virObjectEventStateQueueRemote: the timer is set going only by the first in
 * the queue). And of a start that failed the end need not be told. Then it is told here as a connection
 * anew is.
 */
static void read_all(struct virt *virt, struct link *link, enum coming coming)
{
	CLEAN_CALL struct call *call = call_new(CALL_ASK, "listing what runs", run_list);
	struct error err;

	if (call_run(&virt->caller, call, link, &err) < 0) {
		virt_lost(link->generation, err.message);
		return;
	}
	virt->starting = call->starting;
	if (coming == QUIET && is_known(virt, &call->domains))
		return;
	publish_copy(virt, &call->domains);
	tell_connected(virt);
}

/*
 * The domain is read again before anything is told, so the list never lacks one that was stopped
 * and started again at once.
 */
static void take_news(struct virt *virt, struct link *link, const struct news *news)
{
	CLEAN_CALL struct call *call = call_new(CALL_ASK, "reading what a domain does", run_look);
	bool ended = news->kind == NEWS_STOPPED || news->kind == NEWS_CRASHED;
	char uuid[VIR_UUID_STRING_BUFLEN];
	const struct virt_domain *now;
	struct error err;

	memcpy(call->uuid, news->uuid, sizeof(call->uuid));
	if (call_run(&virt->caller, call, link, &err) < 0) {
		virt_lost(link->generation, err.message);
		return;
	}
	virt->starting |= call->starting;
	now = call->domains.n ? call->domains.items : NULL;
	uuid_text(news->uuid, uuid);
	replace(virt, uuid, now, news);
	if (ended)
		tell(virt, news->name, news->kind == NEWS_CRASHED ? VIRT_CRASHED : VIRT_OFF, true);
	if (now)
		tell(virt, now->name, now->state, false);
}

/* ---- the keeper: the connection ---- */

static int run_open(struct call *call, virConnectPtr none UNUSED)
{
	struct link *link = link_new(call->generation);

	call->opened = link;
	link->conn = virConnectOpen(call->text);
	if (!link->conn || events_watch(link) < 0)
		return virt_failed(&call->err, call->what);
	return run_list(call, link->conn);
}

static struct call *new_opener(struct virt *virt)
{
	struct call *call = call_new(CALL_ASK, "connecting to libvirt", run_open);

	call->ms = virt_timing.open;
	call->text = arena_strdup(call->arena, virt->uri);
	lock_take(&virt_lock);
	virt->generation = call->generation = ++generations;
	virt->waiting = 0;
	virt->overflow = false;
	lock_give(&virt_lock);
	return call;
}

/*
 * One opener at a time, however long it hangs: a silent peer that lives answers in the end, one
 * that dies ends it. NULL with why not; *opener is then still under way, or NULL.
 */
static struct link *try_open(struct virt *virt, struct call **opener, struct error *err)
{
	struct link *link = NULL;
	int r = 0;

	if (!*opener) {
		*opener = new_opener(virt);
		r = call_start(*opener, NULL, err);
	}
	if (!r)
		r = call_wait(&virt->caller, *opener, err);
	if (r == CALL_LATE)
		return NULL;
	if (!r) {
		link = TAKE_PTR((*opener)->opened);
		virt->starting = (*opener)->starting;
		publish_copy(virt, &(*opener)->domains);
	}
	call_unref(TAKE_PTR(*opener));
	return link;
}

/* False: it broke before anybody could use it. */
static bool set_up(struct virt *virt, struct link *link)
{
	bool good;

	lock_take(&virt_lock);
	good = virt->lost != link->generation;
	if (good) {
		virt->link = link;
		virt->standing = UP;
		pthread_cond_broadcast(&virt->changed);
	}
	lock_give(&virt_lock);
	return good;
}

static void set_down(struct virt *virt, const struct error *why)
{
	lock_take(&virt_lock);
	virt->standing = DOWN;
	virt->why = *why;
	virt->why.code = ERROR_LIBVIRT;
	pthread_cond_broadcast(&virt->changed);
	lock_give(&virt_lock);
}

/* Until it is lost. */
static void serve(struct virt *virt, struct link *link)
{
	enum coming coming;
	struct news news;

	if (set_up(virt, link))
		tell_connected(virt);
	while ((coming = next_news(virt, &news)) != LOST) {
		if (coming == NEWS)
			take_news(virt, link, &news);
		else
			read_all(virt, link, coming);
	}
	lock_take(&virt_lock);
	virt->link = NULL;
	virt->generation = 0;
	lock_give(&virt_lock);
	link_unref(link);
}

/* False: it is to end. */
static bool pause_for(struct virt *virt, unsigned ms)
{
	struct timespec until = time_in_ms(ms);
	bool go;

	lock_take(&virt_lock);
	while (!virt->stopping && ms &&
	       lock_wait_until(&virt_lock, &virt->changed, &until) != ETIMEDOUT)
		;
	go = !virt->stopping;
	lock_give(&virt_lock);
	return go;
}

static unsigned longer(unsigned ms)
{
	unsigned next = ms ? ms * 2 : virt_timing.pause_first;

	return next < virt_timing.pause_most ? next : virt_timing.pause_most;
}

static void *keep(void *data)
{
	struct virt *virt = data;
	struct call *opener = NULL;
	struct link *link;
	struct error err;
	unsigned pause = 0;
	uint64_t since;

	while (pause_for(virt, pause)) {
		link = try_open(virt, &opener, &err);
		if (!link) {
			set_down(virt, &err);
			pause = opener ? 0 : longer(pause);
			continue;
		}
		since = time_monotonic_ms();
		serve(virt, link);
		/* One that breaks as soon as it is there must not be tried in a circle. */
		pause = time_monotonic_ms() - since > virt_timing.pause_most ? 0 : longer(pause);
	}
	call_unref(opener);
	return NULL;
}

/* ---- calls ---- */

static struct link *wait_for_link(struct virt *virt, struct error *err)
{
	struct timespec until = time_in_ms(virt_timing.open);
	struct link *link = NULL;

	lock_take(&virt_lock);
	while (virt->standing == OPENING && !virt->stopping &&
	       lock_wait_until(&virt_lock, &virt->changed, &until) != ETIMEDOUT)
		;
	if (virt->standing == UP)
		link = link_ref(virt->link);
	else if (err)
		*err = virt->why;
	lock_give(&virt_lock);
	return link;
}

int virt_do(struct virt *virt, struct call *call, struct error *err)
{
	CLEANUP(link_unrefp) struct link *link = wait_for_link(virt, err);
	struct error why = { 0 };
	int r;

	if (!link)
		return -1;
	r = call_run(&virt->caller, call, link, &why);
	if (r == CALL_LATE)
		virt_lost(link->generation, why.message);
	if (r < 0 && err)
		*err = why;
	return r < 0 ? -1 : 0;
}

bool virt_configured(const struct virt *virt)
{
	return virt->uri != NULL;
}

bool virt_connected(struct virt *virt, struct error *err)
{
	bool up;

	lock_take(&virt_lock);
	up = virt->standing == UP;
	if (!up && err)
		*err = virt->why;
	lock_give(&virt_lock);
	return up;
}

/* ---- birth and end ---- */

static void virt_init(struct virt *virt, const char *uri, const struct virt_events *events)
{
	if (events)
		virt->events = *events;
	pthread_cond_init(&virt->changed, NULL);
	lock_take(&virt_lock);
	virt->uri = uri ? strdup(uri) : NULL;
	virt->standing = uri ? OPENING : DOWN;
	virt->queue = uri ? calloc(QUEUE, sizeof(*virt->queue)) : NULL;
	if (uri && (!virt->uri || !virt->queue))
		abort();
	virt->arena = arena_new();
	error_set(&virt->why, ERROR_LIBVIRT,
		  uri ? "the connection to libvirt is being opened"
		      : "Horcrux runs without libvirt");
	error_hint(&virt->why, uri ? "try again in some seconds"
				   : "give the daemon libvirt = qemu:///system, or --libvirt=URI");
	virt->next = virts;
	virts = virt;
	lock_give(&virt_lock);
}

static void virt_finish(struct virt *virt)
{
	struct arena *arena;
	struct news *queue;

	lock_take(&virt_lock);
	for (struct virt **it = &virts; *it; it = &(*it)->next) {
		if (*it != virt)
			continue;
		*it = virt->next;
		break;
	}
	arena = virt->arena;
	queue = virt->queue;
	lock_give(&virt_lock);
	pthread_cond_destroy(&virt->changed);
	arena_free(arena);
	free(queue);
	free(virt->uri);
	free(virt);
}

static int start_keeper(struct virt *virt)
{
	sigset_t all, before;
	int r;

	sigfillset(&all); /* signals are the main thread's */
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = pthread_create(&virt->keeper, NULL, keep, virt);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -r;
}

struct virt *virt_new(const char *uri, const struct virt_events *events, struct error *err)
{
	struct virt *virt = calloc(1, sizeof(*virt));
	int r;

	if (!virt)
		abort();
	virt_init(virt, uri, events);
	r = uri ? events_start() : 0;
	if (!r && uri)
		r = start_keeper(virt);
	if (!r)
		return virt;
	error_errno(err, ERROR_SYSTEM, -r, "the threads for libvirt cannot be started");
	virt_finish(virt);
	return NULL;
}

void virt_free(struct virt *virt)
{
	if (!virt)
		return;
	lock_take(&virt_lock);
	virt->stopping = true;
	pthread_cond_broadcast(&virt->changed);
	lock_give(&virt_lock);
	call_close(&virt->caller);
	if (virt->uri)
		pthread_join(virt->keeper, NULL);
	virt_finish(virt);
}
