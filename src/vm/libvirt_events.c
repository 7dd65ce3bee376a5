/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libvirt's event loop: registered before the first connection is opened, and run for ever by one
 * detached thread (libvirt must not see it stop after a connection closed). What happens to domains
 * is copied and posted; this thread itself asks libvirt nothing, so it never waits for it.
 *
 * A connection is told by its generation, a number: callbacks that come late reach no freed memory.
 */
#include <errno.h>
#include <libxml/parser.h>
#include <string.h>
#include <time.h>

#include "base/lock.h"
#include "vm/libvirt_parts.h"

enum {
	KEEPALIVE_S = 5, /* a question this often, */
	KEEPALIVE_N = 3, /* and so many unanswered ones break the connection */
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static int started; /* written once, by start_libraries() */

/* libvirt prints its errors on stderr unless it has somewhere else to put them. */
static void be_quiet(void *unused UNUSED, virErrorPtr error UNUSED)
{
}

static void *run_events(void *unused UNUSED)
{
	const struct timespec moment = { .tv_nsec = 100000000 };

	for (;;)
		if (virEventRunDefaultImpl() < 0)
			nanosleep(&moment, NULL);
	return NULL;
}

/* libxml2 too, before there are threads that parse. */
static void start_libraries(void)
{
	xmlInitParser();
	virSetErrorFunc(NULL, be_quiet);
	if (virInitialize() < 0 || virEventRegisterDefaultImpl() < 0)
		started = -EIO;
	else
		started = thread_start(run_events, NULL);
}

int events_start(void)
{
	pthread_once(&once, start_libraries);
	return started;
}

/* ---- callbacks, in the event thread ---- */

static uint64_t generation_of(void *opaque)
{
	return (uint64_t)(uintptr_t)opaque;
}

static void post(virDomainPtr dom, enum news_kind kind, void *opaque)
{
	const char *name = virDomainGetName(dom);
	struct news news = { .kind = kind };

	if (!name || virDomainGetUUID(dom, news.uuid) < 0)
		return;
	snprintf(news.name, sizeof(news.name), "%s", name);
	time_now(news.at);
	virt_post(generation_of(opaque), &news);
}

/* A start that failed counts: QEMU that was killed is told so too. */
static enum news_kind end_of(int detail)
{
	return detail == VIR_DOMAIN_EVENT_STOPPED_CRASHED ||
			       detail == VIR_DOMAIN_EVENT_STOPPED_FAILED
		       ? NEWS_CRASHED
		       : NEWS_STOPPED;
}

static int on_lifecycle(virConnectPtr conn UNUSED, virDomainPtr dom, int event, int detail,
			void *opaque)
{
	switch (event) {
	case VIR_DOMAIN_EVENT_DEFINED:
	case VIR_DOMAIN_EVENT_UNDEFINED:
		return 0; /* what is configured, not what runs */
	case VIR_DOMAIN_EVENT_STARTED:
		post(dom, NEWS_STARTED, opaque);
		return 0;
	case VIR_DOMAIN_EVENT_STOPPED:
		post(dom, end_of(detail), opaque);
		return 0;
	default:
		post(dom, NEWS_CHANGED, opaque);
		return 0;
	}
}

static void on_reboot(virConnectPtr conn UNUSED, virDomainPtr dom, void *opaque)
{
	post(dom, NEWS_REBOOTED, opaque);
}

/* libvirt lost the domain's monitor. */
static void on_control_error(virConnectPtr conn UNUSED, virDomainPtr dom, void *opaque)
{
	post(dom, NEWS_CHANGED, opaque);
}

static void on_close(virConnectPtr conn UNUSED, int reason, void *opaque)
{
	static const char *const why[] = {
		[VIR_CONNECT_CLOSE_REASON_ERROR] = "the connection to libvirt broke",
		[VIR_CONNECT_CLOSE_REASON_EOF] = "libvirt closed the connection",
		[VIR_CONNECT_CLOSE_REASON_KEEPALIVE] = "libvirt does not answer any more",
		[VIR_CONNECT_CLOSE_REASON_CLIENT] = "the connection was closed",
	};

	virt_lost(generation_of(opaque),
		  reason >= 0 && (size_t)reason < ARRAY_SIZE(why) ? why[reason] : why[0]);
}

/* ---- */

int events_watch(struct link *link)
{
	static const struct {
		int id;
		virConnectDomainEventGenericCallback callback;
	} rows[WATCHED_EVENTS] = {
		/* of another type: cast by way of the one that fits all; libvirt casts it back */
		{ VIR_DOMAIN_EVENT_ID_LIFECYCLE,
		  VIR_DOMAIN_EVENT_CALLBACK((void (*)(void))on_lifecycle) },
		{ VIR_DOMAIN_EVENT_ID_REBOOT, on_reboot },
		{ VIR_DOMAIN_EVENT_ID_CONTROL_ERROR, on_control_error },
	};
	void *opaque = (void *)(uintptr_t)link->generation;

	/* Drivers without a socket have neither of these two, and need neither. */
	virConnectSetKeepAlive(link->conn, KEEPALIVE_S, KEEPALIVE_N);
	virConnectRegisterCloseCallback(link->conn, on_close, opaque, NULL);
	for (size_t i = 0; i < WATCHED_EVENTS; i++) {
		link->watched[i] = virConnectDomainEventRegisterAny(link->conn, NULL, rows[i].id,
								    rows[i].callback, opaque, NULL);
		if (link->watched[i] < 0)
			return -1;
	}
	return 0;
}

/* Each holds a reference to the connection: without this, closing it would not close it. */
void events_unwatch(struct link *link)
{
	for (size_t i = 0; i < WATCHED_EVENTS; i++)
		if (link->watched[i] >= 0)
			virConnectDomainEventDeregisterAny(link->conn, link->watched[i]);
	virConnectUnregisterCloseCallback(link->conn, on_close);
}
