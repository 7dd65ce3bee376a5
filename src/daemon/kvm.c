/* SPDX-License-Identifier: Apache-2.0 */
/* See kvm.h. */
#include "daemon/kvm.h"

#include <pthread.h>
#include <time.h>

enum { STACK_BYTES = 256 * 1024 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t over = PTHREAD_COND_INITIALIZER;
static int known = -1;
static bool asking, stopping;
static struct virt *asked; /* of the thread, while it asks */
static void (*tell)(void);

static void *ask(void *unused)
{
	struct virt_host host;
	int r = virt_host(asked, &host, NULL);

	(void)unused;
	pthread_mutex_lock(&lock);
	if (!r)
		known = host.kvm;
	pthread_mutex_unlock(&lock);
	tell();
	pthread_mutex_lock(&lock);
	asking = false;
	pthread_cond_broadcast(&over);
	pthread_mutex_unlock(&lock);
	return NULL;
}

static int start(void)
{
	pthread_attr_t attr;
	pthread_t thread;
	int r;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	r = pthread_create(&thread, &attr, ask, NULL);
	pthread_attr_destroy(&attr);
	return r;
}

void kvm_ask(struct virt *virt, void (*news)(void))
{
	pthread_mutex_lock(&lock);
	if (!asking && !stopping) {
		asked = virt;
		tell = news;
		asking = start() == 0;
	}
	pthread_mutex_unlock(&lock);
}

int kvm_known(void)
{
	int r;

	pthread_mutex_lock(&lock);
	r = known;
	pthread_mutex_unlock(&lock);
	return r;
}

bool kvm_stop(unsigned ms)
{
	struct timespec until;
	bool over_now;
	int r = 0;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += ms / 1000;
	pthread_mutex_lock(&lock);
	stopping = true;
	while (asking && !r)
		r = pthread_cond_timedwait(&over, &lock, &until);
	over_now = !asking;
	pthread_mutex_unlock(&lock);
	return over_now;
}
