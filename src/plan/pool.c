/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See pool.h. All fields of a pool are under pool_lock. Threads are detached; the last thing that
 * one does is to count itself out under the lock.
 */
#include "plan/pool.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>

#include "base/id.h"
#include "base/lock.h"

enum {
	STACK_BYTES = 1 << 20,	/* address space; what is not touched costs nothing */
	IDLE_MS = 10000,
};

static struct lock pool_lock = LOCK_INIT;

struct queue {
	struct pool_job *first, **last;
};

struct pool {
	void (*work)(void *data, struct pool_job *job);
	void *data;
	unsigned max;
	unsigned threads GUARDED_BY(pool_lock);
	unsigned idle GUARDED_BY(pool_lock);
	unsigned ordinary GUARDED_BY(pool_lock); /* threads inside jobs that are not urgent */
	bool stopping GUARDED_BY(pool_lock);
	struct queue urgent GUARDED_BY(pool_lock);
	struct queue other GUARDED_BY(pool_lock);
	pthread_cond_t news;
};

static void queue_add(struct queue *queue, struct pool_job *job)
{
	job->next = NULL;
	*queue->last = job;
	queue->last = &job->next;
}

static struct pool_job *queue_take(struct queue *queue)
{
	struct pool_job *job = queue->first;

	if (!job)
		return NULL;
	queue->first = job->next;
	if (!queue->first)
		queue->last = &queue->first;
	return job;
}

static struct pool_job *next_job(struct pool *pool) REQUIRES(pool_lock)
{
	struct pool_job *job = queue_take(&pool->urgent);

	if (!job && pool->ordinary < pool->max - 1)
		job = queue_take(&pool->other);
	return job;
}

/* NULL: this thread is to end. The last one does not end for having nothing to do. */
static struct pool_job *wait_for_job(struct pool *pool) REQUIRES(pool_lock)
{
	struct timespec until = time_in_ms(IDLE_MS);
	struct pool_job *job = NULL;
	bool late = false;

	pool->idle++;
	while (!pool->stopping && !(job = next_job(pool)) && !(late && pool->threads > 1)) {
		if (late)
			lock_wait(&pool_lock, &pool->news);
		else
			late = lock_wait_until(&pool_lock, &pool->news, &until) == ETIMEDOUT;
	}
	pool->idle--;
	return job;
}

static void *thread_main(void *data)
{
	struct pool *pool = data;
	struct pool_job *job;
	bool urgent;

	lock_take(&pool_lock);
	while ((job = wait_for_job(pool))) {
		urgent = job->urgent;
		pool->ordinary += !urgent;
		lock_give(&pool_lock);
		pool->work(pool->data, job);
		lock_take(&pool_lock);
		pool->ordinary -= !urgent;
	}
	pool->threads--;
	pthread_cond_broadcast(&pool->news);
	lock_give(&pool_lock);
	return NULL;
}

static int start_thread(struct pool *pool)
{
	sigset_t all, before;
	pthread_attr_t attr;
	pthread_t thread;
	int r;

	sigfillset(&all);	/* signals are the main thread's */
	pthread_sigmask(SIG_SETMASK, &all, &before);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	r = pthread_create(&thread, &attr, thread_main, pool);
	pthread_attr_destroy(&attr);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -r;
}

/* Count a thread in, then start it: it is not done under the lock. */
static int add_thread(struct pool *pool)
{
	int r = start_thread(pool);

	if (!r)
		return 0;
	lock_take(&pool_lock);
	pool->threads--;
	pthread_cond_broadcast(&pool->news);
	lock_give(&pool_lock);
	return r;
}

struct pool *pool_new(unsigned max, void (*work)(void *data, struct pool_job *job), void *data,
		      struct error *err)
{
	struct pool *pool = calloc(1, sizeof(*pool));
	int r;

	if (!pool)
		abort();
	pool->work = work;
	pool->data = data;
	pool->max = max;
	pthread_cond_init(&pool->news, NULL);
	lock_take(&pool_lock);
	pool->urgent.last = &pool->urgent.first;
	pool->other.last = &pool->other.first;
	pool->threads = 1;
	lock_give(&pool_lock);
	r = add_thread(pool);
	if (!r)
		return pool;
	error_errno(err, ERROR_SYSTEM, -r, "no thread for tasks can be started");
	pthread_cond_destroy(&pool->news);
	free(pool);
	return NULL;
}

void pool_submit(struct pool *pool, struct pool_job *job)
{
	unsigned waiting = 0;
	bool more;

	lock_take(&pool_lock);
	queue_add(job->urgent ? &pool->urgent : &pool->other, job);
	for (struct pool_job *j = pool->urgent.first; j && waiting <= pool->idle; j = j->next)
		waiting++;
	for (struct pool_job *j = pool->other.first; j && waiting <= pool->idle; j = j->next)
		waiting++;
	more = waiting > pool->idle && pool->threads < pool->max && !pool->stopping;
	pool->threads += more;
	lock_give(&pool_lock);
	pthread_cond_signal(&pool->news); /* who wakes is not to find the lock taken */
	if (more)	/* without it the job waits for one of those there are */
		add_thread(pool);
}

int pool_finish(struct pool *pool, unsigned ms)
{
	struct timespec until = time_in_ms(ms);
	unsigned left;

	lock_take(&pool_lock);
	pool->stopping = true;
	pthread_cond_broadcast(&pool->news);
	while (pool->threads && lock_wait_until(&pool_lock, &pool->news, &until) != ETIMEDOUT)
		;
	left = pool->threads;
	lock_give(&pool_lock);
	if (left)
		return -1;
	pthread_cond_destroy(&pool->news);
	free(pool);
	return 0;
}
