/* SPDX-License-Identifier: Apache-2.0 */
/* See kvm.h. What is shared is this file's and under kvm_lock. */
#include "daemon/kvm.h"

#include "base/lock.h"

enum { STACK_BYTES = 256 * 1024 };

static struct lock kvm_lock = LOCK_INIT;
static pthread_cond_t over = PTHREAD_COND_INITIALIZER;
static int known GUARDED_BY(kvm_lock) = -1;
static bool asking GUARDED_BY(kvm_lock), stopping GUARDED_BY(kvm_lock);
/* Of the thread, while it asks. */
static struct virt *asked;
static void (*tell)(void);

static void *ask(void *unused)
{
	struct virt_host host;
	int r = virt_host(asked, &host, NULL);

	(void)unused;
	lock_take(&kvm_lock);
	if (!r)
		known = host.kvm;
	lock_give(&kvm_lock);
	tell();
	lock_take(&kvm_lock);
	asking = false;
	pthread_cond_broadcast(&over);
	lock_give(&kvm_lock);
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
	lock_take(&kvm_lock);
	if (!asking && !stopping) {
		asked = virt;
		tell = news;
		asking = start() == 0;
	}
	lock_give(&kvm_lock);
}

int kvm_known(void)
{
	int r;

	lock_take(&kvm_lock);
	r = known;
	lock_give(&kvm_lock);
	return r;
}

bool kvm_stop(unsigned ms)
{
	struct timespec until = time_in_ms(ms);
	bool over_now;
	int r = 0;

	lock_take(&kvm_lock);
	stopping = true;
	while (asking && !r)
		r = lock_wait_until(&kvm_lock, &over, &until);
	over_now = !asking;
	lock_give(&kvm_lock);
	return over_now;
}
