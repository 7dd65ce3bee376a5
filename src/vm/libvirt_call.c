/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls that may hang, and the connections they are made on. call_lock guards what several threads
 * see of them: a call's references and `done`, a caller's `closed`, the number of threads.
 * See libvirt_parts.h for who owns what.
 */
#include <errno.h>
#include <signal.h>

#include "base/lock.h"
#include "vm/libvirt_parts.h"

enum {
	STACK_BYTES = 1 << 20, /* address space; what is not touched costs nothing */
	THREADS_MOST = 128,    /* of calls, those left behind too */
};

struct virt_timing virt_timing = {
	.limit = { [CALL_ASK] = 10000,
		   [CALL_PROBE] = 60000,
		   [CALL_CHANGE] = 120000,
		   [CALL_START] = 600000 },
	.open = 20000,
	.pause_first = 250,
	.pause_most = 5000,
	.quiet = 60000,
	.starting = 500,
};

static struct lock call_lock = LOCK_INIT;
/* Some call is done, or some caller is closed. */
static pthread_cond_t call_news = PTHREAD_COND_INITIALIZER;
static unsigned threads GUARDED_BY(call_lock);

int thread_start(void *(*run)(void *data), void *data)
{
	sigset_t all, before;
	pthread_attr_t attr;
	pthread_t thread;
	int r;

	sigfillset(&all); /* signals are the main thread's */
	pthread_sigmask(SIG_SETMASK, &all, &before);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	r = pthread_create(&thread, &attr, run, data);
	pthread_attr_destroy(&attr);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -r;
}

/* ---- connections ---- */

struct link *link_new(uint64_t generation)
{
	struct link *link = calloc(1, sizeof(*link));

	if (!link)
		abort();
	link->generation = generation;
	link->refs = 1;
	for (size_t i = 0; i < WATCHED_EVENTS; i++)
		link->watched[i] = -1;
	return link;
}

struct link *link_ref(struct link *link)
{
	__atomic_add_fetch(&link->refs, 1, __ATOMIC_RELAXED);
	return link;
}

/* Taking the callbacks back asks libvirt, and so does closing: either may never answer. */
static void *close_link(void *data)
{
	struct link *link = data;

	if (link->conn) {
		events_unwatch(link);
		virConnectClose(link->conn);
	}
	free(link);
	return NULL;
}

void link_unref(struct link *link)
{
	if (!link || __atomic_sub_fetch(&link->refs, 1, __ATOMIC_ACQ_REL))
		return;
	/* Without a thread to be had it is left as it is: rather that than to hang here. */
	(void)!thread_start(close_link, link);
}

bool link_host(struct link *link, struct virt_host *ret)
{
	bool known;

	lock_take(&call_lock);
	known = link->host_known;
	if (known)
		*ret = link->host;
	lock_give(&call_lock);
	return known;
}

void link_keep_host(struct link *link, const struct virt_host *host)
{
	lock_take(&call_lock);
	link->host = *host;
	link->host_known = true;
	lock_give(&call_lock);
}

/* ---- calls ---- */

struct call *call_new(enum call_limit limit, const char *what,
		      int (*run)(struct call *call, virConnectPtr conn))
{
	struct call *call = calloc(1, sizeof(*call));

	if (!call)
		abort();
	call->arena = arena_new();
	call->ms = virt_timing.limit[limit];
	call->what = what;
	call->run = run;
	call->refs = 1;
	return call;
}

void call_unref(struct call *call)
{
	bool last;

	if (!call)
		return;
	lock_take(&call_lock);
	last = !--call->refs;
	lock_give(&call_lock);
	if (!last)
		return;
	link_unref(call->opened);
	link_unref(call->link);
	arena_free(call->arena);
	free(call);
}

static void *call_main(void *data)
{
	struct call *call = data;
	virConnectPtr conn = call->link ? call->link->conn : NULL;
	int r = call->run(call, conn);

	/* Asks nobody: it is whether the socket is open. */
	if (r < 0 && conn && virConnectIsAlive(conn) == 0) {
		if (call->err.code == ERROR_LIBVIRT_FAILED)
			call->err.code = ERROR_LIBVIRT; /* it was not libvirt that said so */
		virt_lost(call->link->generation, "libvirt closed the connection");
	}
	lock_take(&call_lock);
	call->result = r;
	call->done = true;
	threads--;
	pthread_cond_broadcast(&call_news);
	lock_give(&call_lock);
	call_unref(call);
	return NULL;
}

int call_start(struct call *call, struct link *link, struct error *err)
{
	unsigned before;
	int r;

	if (link)
		call->link = link_ref(link);
	lock_take(&call_lock);
	before = threads;
	threads += before < THREADS_MOST;
	call->refs += before < THREADS_MOST;
	lock_give(&call_lock);
	if (before >= THREADS_MOST) {
		error_set(err, ERROR_LIBVIRT, "%u calls to libvirt have no answer yet", before);
		return error_hint(err, "restart libvirt: systemctl restart libvirtd virtqemud");
	}
	r = thread_start(call_main, call);
	if (!r)
		return 0;
	lock_take(&call_lock);
	threads--;
	call->refs--;
	lock_give(&call_lock);
	return error_errno(err, ERROR_SYSTEM, -r, "no thread for a call to libvirt can be started");
}

static int late(const struct call *call, struct error *err)
{
	error_set(err, ERROR_LIBVIRT, "%s: libvirt did not answer within %u s", call->what,
		  (call->ms + 999) / 1000);
	error_hint(err,
		   "look at it with: systemctl status libvirtd virtqemud; Horcrux connects anew");
	return CALL_LATE;
}

int call_wait(struct caller *caller, struct call *call, struct error *err)
{
	struct timespec until = time_in_ms(call->ms);
	bool done, closed;

	lock_take(&call_lock);
	while (!call->done && !caller->closed &&
	       lock_wait_until(&call_lock, &call_news, &until) != ETIMEDOUT)
		;
	done = call->done;
	closed = caller->closed;
	lock_give(&call_lock);
	if (!done && closed)
		return error_set(err, ERROR_CANCELLED, "the connection to libvirt is being closed");
	if (!done)
		return late(call, err);
	if (call->result < 0 && err)
		*err = call->err;
	return call->result < 0 ? -1 : 0;
}

int call_run(struct caller *caller, struct call *call, struct link *link, struct error *err)
{
	return call_start(call, link, err) < 0 ? -1 : call_wait(caller, call, err);
}

void call_close(struct caller *caller)
{
	lock_take(&call_lock);
	caller->closed = true;
	pthread_cond_broadcast(&call_news);
	lock_give(&call_lock);
}
