/* SPDX-License-Identifier: Apache-2.0 */
/* The machine that is played: its lock and its look-ups; see host.h. */
#include "host.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct host host = { .drivers_autoprobe = true };

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

void host_lock(void)
{
	pthread_mutex_lock(&mutex);
}

void host_unlock(void)
{
	pthread_mutex_unlock(&mutex);
}

void host_wait(void)
{
	pthread_cond_wait(&changed, &mutex);
}

void host_wake(void)
{
	pthread_cond_broadcast(&changed);
}

void host_sleep(unsigned ms)
{
	struct timespec t = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L };

	host_unlock();
	nanosleep(&t, NULL);
	host_lock();
}

int host_complain(const char *fmt, ...)
{
	struct text t = { 0 };
	va_list ap;

	if (host.where)
		text_addf(&t, "%s:%u: ", host.where, host.line);
	va_start(ap, fmt);
	text_vaddf(&t, fmt, ap);
	va_end(ap);
	free(host.error);
	host.error = t.data;
	return -EINVAL;
}

bool host_kernel_at_least(unsigned major, unsigned minor)
{
	return host.kernel_version >= (major << 16 | minor);
}

struct function *host_function(const char *name)
{
	size_t len = strcspn(name, "\n");

	for (struct function *f = host.functions; f; f = f->next)
		if (strlen(f->name) == len && !memcmp(f->name, name, len))
			return f;
	return NULL;
}

struct driver *host_driver(const char *name)
{
	for (struct driver *d = host.drivers; d; d = d->next)
		if (!strcmp(d->name, name))
			return d;
	return NULL;
}

struct group *host_group(int number)
{
	for (struct group *g = host.groups; g; g = g->next)
		if (g->number == number)
			return g;
	return NULL;
}

int host_group_free_number(void)
{
	int number = 0;

	while (host_group(number))
		number++;
	return number;
}

struct group *host_group_new(void)
{
	struct group *g = must_alloc(sizeof(*g)), **end = &host.groups;

	g->number = -1;
	while (*end)
		end = &(*end)->next;
	*end = g;
	return g;
}
