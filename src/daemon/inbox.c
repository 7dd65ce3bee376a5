/* SPDX-License-Identifier: Apache-2.0 */
/* See inbox.h. The queue is this file's and under its lock. */
#include "daemon/inbox.h"

#include <errno.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <time.h>

#include "http/pending.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct inbox waiting;
static int event = -1;
/* Readings asked for by threads that wait, and how many of these are done. */
static pthread_cond_t refreshed = PTHREAD_COND_INITIALIZER;
static uint64_t wanted, begun, done;
static bool ended;

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

	pthread_mutex_lock(&lock);
	if (waiting.n_scans < INBOX_SCANS) {
		waiting.scans[waiting.n_scans++] = ticket;
		taken = true;
	}
	pthread_mutex_unlock(&lock);
	if (!taken) { /* cannot be: there are fewer connections */
		pending_resume(ticket);
		return;
	}
	ring();
}

void inbox_news(void)
{
	pthread_mutex_lock(&lock);
	waiting.news = true;
	pthread_mutex_unlock(&lock);
	ring();
}

void inbox_look_again(void)
{
	pthread_mutex_lock(&lock);
	waiting.look_again = true;
	pthread_mutex_unlock(&lock);
	ring();
}

void inbox_task(void)
{
	pthread_mutex_lock(&lock);
	waiting.task = true;
	pthread_mutex_unlock(&lock);
	ring();
}

static void touch(const struct list *addresses)
{
	for (LIST_EACH(const struct pci_address, address, addresses))
		if (waiting.n_touched < INBOX_TOUCHED)
			waiting.touched[waiting.n_touched++] = *address;
		else
			waiting.all = true;
}

void inbox_refresh(const struct list *addresses, unsigned ms)
{
	struct timespec until;
	uint64_t mine;
	int r = 0;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += ms / 1000;
	until.tv_nsec += (long)(ms % 1000) * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	pthread_mutex_lock(&lock);
	waiting.refresh = true;
	touch(addresses);
	mine = ++wanted;
	ring();
	while (!ended && done < mine && !r)
		r = pthread_cond_timedwait(&refreshed, &lock, &until);
	pthread_mutex_unlock(&lock);
}

void inbox_refreshed(void)
{
	pthread_mutex_lock(&lock);
	done = begun;
	pthread_cond_broadcast(&refreshed);
	pthread_mutex_unlock(&lock);
}

void inbox_end(void)
{
	pthread_mutex_lock(&lock);
	ended = true;
	pthread_cond_broadcast(&refreshed);
	pthread_mutex_unlock(&lock);
}

void inbox_take(struct inbox *out)
{
	uint64_t count;

	if (read(event, &count, sizeof(count)) < 0 && errno != EAGAIN)
		return;
	pthread_mutex_lock(&lock);
	*out = waiting;
	begun = wanted;
	waiting = (struct inbox){ 0 };
	pthread_mutex_unlock(&lock);
}
