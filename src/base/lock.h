/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A mutex that clang's thread-safety analysis understands. It follows locks that are file-scope
 * statics, not members of structs, so that is how they are used: one per file, named in its opening
 * comment, and at most one held at a time. Nothing sleeps under one.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#ifdef __clang__
#define THREAD_SAFETY(x) __attribute__((x))
#else
#define THREAD_SAFETY(x)
#endif

#define GUARDED_BY(lock) THREAD_SAFETY(guarded_by(lock))
#define PT_GUARDED_BY(lock) THREAD_SAFETY(pt_guarded_by(lock))
/* The caller holds it / must not hold it. */
#define REQUIRES(lock) THREAD_SAFETY(requires_capability(lock))
#define EXCLUDES(lock) THREAD_SAFETY(locks_excluded(lock))

struct THREAD_SAFETY(capability("mutex")) lock {
	pthread_mutex_t mutex;
};

#define LOCK_INIT { PTHREAD_MUTEX_INITIALIZER }

static inline void lock_take(struct lock *lock) THREAD_SAFETY(acquire_capability(*lock))
	THREAD_SAFETY(no_thread_safety_analysis);
static inline void lock_give(struct lock *lock) THREAD_SAFETY(release_capability(*lock))
	THREAD_SAFETY(no_thread_safety_analysis);

static inline void lock_take(struct lock *lock)
{
	pthread_mutex_lock(&lock->mutex);
}

static inline void lock_give(struct lock *lock)
{
	pthread_mutex_unlock(&lock->mutex);
}

/* Sleep until `condition` is signalled; the lock is not held while asleep. */
static inline void lock_wait(struct lock *lock, pthread_cond_t *condition) REQUIRES(*lock);
static inline void lock_wait(struct lock *lock, pthread_cond_t *condition)
{
	pthread_cond_wait(condition, &lock->mutex);
}

/* CLOCK_MONOTONIC in so many milliseconds. */
static inline struct timespec time_in_ms(uint64_t ms)
{
	struct timespec when;

	clock_gettime(CLOCK_MONOTONIC, &when);
	when.tv_sec += (time_t)(ms / 1000);
	when.tv_nsec += (long)(ms % 1000) * 1000000;
	if (when.tv_nsec >= 1000000000) {
		when.tv_sec++;
		when.tv_nsec -= 1000000000;
	}
	return when;
}

/* The same until `when` (CLOCK_MONOTONIC, as time_in_ms() tells it): then ETIMEDOUT. */
static inline int lock_wait_until(struct lock *lock, pthread_cond_t *condition,
				  const struct timespec *when) REQUIRES(*lock);
static inline int lock_wait_until(struct lock *lock, pthread_cond_t *condition,
				  const struct timespec *when)
{
	return pthread_cond_clockwait(condition, &lock->mutex, CLOCK_MONOTONIC, when);
}

/* False: it has not ended within that time, and is left behind. No lock may be held. */
static inline bool thread_join_in_ms(pthread_t thread, uint64_t ms)
{
#if defined(__SANITIZE_THREAD__)	/* gcc 12's does not know the other one */
	struct timespec when;

	clock_gettime(CLOCK_REALTIME, &when);
	when.tv_sec += (time_t)(ms / 1000) + 1;
	return !pthread_timedjoin_np(thread, NULL, &when);
#else
	struct timespec when = time_in_ms(ms);

	return !pthread_clockjoin_np(thread, NULL, CLOCK_MONOTONIC, &when);
#endif
}
