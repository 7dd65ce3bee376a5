/* SPDX-License-Identifier: Apache-2.0 */
/* See inbox.h. The queue is this file's and under its lock. */
#include "daemon/inbox.h"

#include <errno.h>
#include <sys/eventfd.h>

#include "base/lock.h"
#include "http/pending.h"

static struct lock inbox_lock = LOCK_INIT;
static struct inbox waiting GUARDED_BY(inbox_lock);
static int event = -1;
/* Readings asked for by threads that wait, and how many of these are done. */
static pthread_cond_t refreshed = PTHREAD_COND_INITIALIZER;
static uint64_t wanted GUARDED_BY(inbox_lock), begun GUARDED_BY(inbox_lock),
	done GUARDED_BY(inbox_lock);
static bool ended GUARDED_BY(inbox_lock);

int inbox_open(struct error *err)
{
	event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return event < 0 ? error_errno(err, ERROR_SYSTEM, errno, "no eventfd") : 0;
}

void inbox_close(void)
{
	cleanup_closep(&event);
	event = -1;
}

int inbox_fd(void)
{
	return event;
}

static void ring(void)
{
	uint64_t one = 1;

	if (write(event, &one, sizeof(one)) < 0)
		return; /* full: then it rings already */
}

void inbox_scan(uint64_t ticket)
{
	bool taken = false;

	lock_take(&inbox_lock);
	if (waiting.n_scans < INBOX_SCANS) {
		waiting.scans[waiting.n_scans++] = ticket;
		taken = true;
	}
	lock_give(&inbox_lock);
	if (!taken) { /* cannot be: there are fewer connections */
		pending_resume(ticket);
		return;
	}
	ring();
}

void inbox_news(void)
{
	lock_take(&inbox_lock);
	waiting.news = true;
	lock_give(&inbox_lock);
	ring();
}

void inbox_look_again(void)
{
	lock_take(&inbox_lock);
	waiting.look_again = true;
	lock_give(&inbox_lock);
	ring();
}

void inbox_task(void)
{
	lock_take(&inbox_lock);
	waiting.task = true;
	lock_give(&inbox_lock);
	ring();
}

static void touch(const struct list *addresses) REQUIRES(inbox_lock)
{
	for (LIST_EACH(const struct pci_address, address, addresses))
		if (waiting.n_touched < INBOX_TOUCHED)
			waiting.touched[waiting.n_touched++] = *address;
		else
			waiting.all = true;
}

void inbox_refresh(const struct list *addresses, unsigned ms)
{
	struct timespec until = time_in_ms(ms);
	uint64_t mine;
	int r = 0;

	lock_take(&inbox_lock);
	waiting.refresh = true;
	touch(addresses);
	mine = ++wanted;
	lock_give(&inbox_lock);
	ring(); /* who wakes is not to find the lock taken */
	lock_take(&inbox_lock);
	while (!ended && done < mine && !r)
		r = lock_wait_until(&inbox_lock, &refreshed, &until);
	lock_give(&inbox_lock);
}

void inbox_refreshed(void)
{
	lock_take(&inbox_lock);
	done = begun;
	lock_give(&inbox_lock);
	pthread_cond_broadcast(&refreshed);
}

void inbox_end(void)
{
	lock_take(&inbox_lock);
	ended = true;
	pthread_cond_broadcast(&refreshed);
	lock_give(&inbox_lock);
}

void inbox_take(struct inbox *out)
{
	uint64_t count;

	if (read(event, &count, sizeof(count)) < 0 && errno != EAGAIN)
		return;
	lock_take(&inbox_lock);
	*out = waiting;
	begun = wanted;
	waiting = (struct inbox){ 0 };
	lock_give(&inbox_lock);
}
