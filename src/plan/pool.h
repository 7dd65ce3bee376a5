/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads for tasks: started when there is work and none is idle, ended when idle for a while; one
 * is always there. A job may sleep in the kernel for ever, so one thread is kept for urgent jobs.
 * Any thread may call; nothing blocks but pool_finish().
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"

struct pool;

struct pool_job {
	struct pool_job *next;	/* the pool's, while it waits there */
	bool urgent;
};

/* work runs each job once, in a thread of the pool. NULL when not even one thread can be had. */
struct pool *pool_new(unsigned max, void (*work)(void *data, struct pool_job *job), void *data,
		      struct error *err);
/* The job belongs to the pool until work has it. */
void pool_submit(struct pool *pool, struct pool_job *job);
/*
 * End all threads, waiting at most ms for those inside a job. Jobs not begun are dropped. 0: the
 * pool is freed; -1: some thread is still inside, and the pool is left as it is.
 */
int pool_finish(struct pool *pool, unsigned ms);
