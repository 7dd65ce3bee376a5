/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of libvirt.h share: calls with a deadline, connections, errors, news.
 *
 * A call runs in a thread of its own and owns everything it touches (its arena, a reference to its
 * connection), so that whoever waits may give up and leave both behind: the thread ends when
 * libvirt answers or the connection breaks, and frees them. Nothing of the caller's is ever reached
 * from it.
 */
#pragma once

#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#include "base/id.h"
#include "vm/libvirt.h"

/* ---- how long (milliseconds). Tests shorten it before virt_new(); else nobody writes here. ----
 */

enum call_limit {
	CALL_ASK,    /* reads what libvirt knows */
	CALL_PROBE,  /* may run QEMU to see what it can: the first time takes long */
	CALL_CHANGE, /* writes files, ends a domain */
	CALL_START,  /* a guest's memory is pinned before the answer: minutes for terabytes */
	CALL_LIMITS
};

struct virt_timing {
	unsigned limit[CALL_LIMITS];
	unsigned open;			  /* a connection, and reading what runs */
	unsigned pause_first, pause_most; /* between tries to connect; doubled each time */
	unsigned quiet;			  /* without news, until what runs is read all the same */
	unsigned starting;		  /* the same, while anything is starting */
};

extern struct virt_timing virt_timing;

/* ---- a connection (libvirt_call.c) ---- */

enum { WATCHED_EVENTS = 3 };

struct link {
	virConnectPtr conn;
	uint64_t generation;	     /* what its events say they are of; never used twice */
	int watched[WATCHED_EVENTS]; /* ids of its event callbacks; -1: none */
	unsigned refs;		     /* atomic */
	bool host_known;	     /* under libvirt_call.c's lock, like host: versions, KVM */
	struct virt_host host;
};

struct link *link_new(uint64_t generation);
struct link *link_ref(struct link *link);
/* The last one closes the connection, in a thread of its own: closing asks libvirt. */
void link_unref(struct link *link);
DEFINE_CLEANUP(struct link *, link_unref)
/* What is asked once per connection. */
bool link_host(struct link *link, struct virt_host *ret);
void link_keep_host(struct link *link, const struct virt_host *host);

/* ---- a call (libvirt_call.c) ---- */

/* Whoever waits for calls; once closed, nobody waits for one any more. */
struct caller {
	bool closed;
};

struct call {
	struct arena *arena; /* of all that is in and out */
	/*
	 * In the call's thread. 0, or -1 with call->err. conn is NULL for a call without a
	 * connection.
	 */
	int (*run)(struct call *call, virConnectPtr conn);
	const char *what; /* "starting the domain": static */
	unsigned ms;	  /* deadline */

	/* in, in the arena */
	const char *name, *pool, *text, *format;
	uint64_t bytes;
	uint64_t generation;
	unsigned char uuid[VIR_UUID_BUFLEN];

	/* out; to be read when call_run() said 0 */
	bool found, defined, active;
	enum virt_state state;
	const char *answer, *answer_format;
	uint64_t answer_bytes;
	struct list domains; /* struct virt_domain */
	bool starting;	     /* one of them is */
	struct virt_host host;
	struct link *opened; /* an own reference; freed with the call unless taken */
	struct error err;

	struct link *link; /* that it runs on; a reference of the call's */

	/* libvirt_call.c's own */
	unsigned refs;
	int result;
	bool done;
};

struct call *call_new(enum call_limit limit, const char *what,
		      int (*run)(struct call *call, virConnectPtr conn));
void call_unref(struct call *call);
DEFINE_CLEANUP(struct call *, call_unref)
#define CLEAN_CALL CLEANUP(call_unrefp)

enum { CALL_LATE = -2 };

/* Start it on the connection (NULL: none). 0 or -1. */
int call_start(struct call *call, struct link *link, struct error *err);
/* 0; -1; CALL_LATE: no answer in time. It may be waited for again, or left behind (call_unref). */
int call_wait(struct caller *caller, struct call *call, struct error *err);
/* Both. */
int call_run(struct caller *caller, struct call *call, struct link *link, struct error *err);
/* No call of this caller is waited for any more. */
void call_close(struct caller *caller);
/* A detached thread with all signals blocked. 0 or -errno. */
int thread_start(void *(*run)(void *data), void *data);

/* ---- the connection that is (libvirt.c) ---- */

/* Run the call on it. A late one gives the connection up. */
int virt_do(struct virt *virt, struct call *call, struct error *err);
/* This connection is no good any more. */
void virt_lost(uint64_t generation, const char *why);

/* ---- news (libvirt_events.c) ---- */

enum news_kind { NEWS_CHANGED, NEWS_STARTED, NEWS_STOPPED, NEWS_CRASHED, NEWS_REBOOTED };

struct news {
	enum news_kind kind;
	char name[128]; /* cut: those of ours are shorter */
	unsigned char uuid[VIR_UUID_BUFLEN];
	char at[TIME_TEXT];
};

/* From the event thread: it is queued. News of a connection that was given up is dropped. */
void virt_post(uint64_t generation, const struct news *news);
/* Once per process: libvirt made quiet, its event loop registered and running. -errno on failure.
 */
int events_start(void);
/* Ask for the connection's events. In a call's thread; -1: libvirt's last error says why. */
int events_watch(struct link *link);
void events_unwatch(struct link *link);

/* ---- what runs (libvirt_list.c) ---- */

/* Calls: all active domains into call->domains; the one of call->uuid, or none when it is gone. */
int run_list(struct call *call, virConnectPtr conn);
int run_look(struct call *call, virConnectPtr conn);
/* A copy of the domain in the arena. */
void domain_copy(struct arena *arena, struct list *list, const struct virt_domain *domain);
void domains_sort(struct list *domains);
enum virt_state state_of(int libvirt_state);

/* ---- errors (libvirt_error.c) ---- */

/*
 * libvirt's last error in this thread, after `doing`, as one of ours; always -1. Before anything is
 * freed: libvirt forgets it then.
 */
int virt_failed(struct error *err, const char *doing);
/* The same of libvirt's number and words. */
int virt_error(struct error *err, const char *doing, int number, const char *words);
/* Is it the last error of this thread? */
bool virt_error_is(int number);

/* ---- libvirt's objects as owned locals ---- */

#define DEFINE_OWNED(type, name, destroy)                                                          \
	static inline void name(type *p)                                                           \
	{                                                                                          \
		if (*p)                                                                            \
			destroy(*p);                                                               \
	}

DEFINE_OWNED(virDomainPtr, cleanup_domain, virDomainFree)
DEFINE_OWNED(virStoragePoolPtr, cleanup_pool, virStoragePoolFree)
DEFINE_OWNED(virStorageVolPtr, cleanup_volume, virStorageVolFree)
DEFINE_OWNED(virNetworkPtr, cleanup_network, virNetworkFree)
