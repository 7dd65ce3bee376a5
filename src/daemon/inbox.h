/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What other threads ask of the main thread: a queue and an eventfd, on which its event loop waits.
 * One in a process. Any thread posts; nothing blocks.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum { INBOX_SCANS = 512 };

int inbox_open(struct error *err);
void inbox_close(void);
int inbox_fd(void);

/* A request waits for a full scan. */
void inbox_scan(uint64_t ticket);
/* There is news of the facts. */
void inbox_news(void);

/* Something came back from the helper: the engine is to look at what is stuck. */
void inbox_look_again(void);

/* Have all read anew, and wait for that, at most ms. For threads that may wait (tasks). */
void inbox_rescan(unsigned ms);
/* A scan is over: those that wait for one go on. Main thread. */
void inbox_scanned(void);
/* The main thread takes nothing any more: nobody waits for it from now on. */
void inbox_end(void);

/* A task has begun to change something, or is over. */
void inbox_task(void);

struct inbox {
	uint64_t scans[INBOX_SCANS];
	size_t n_scans;
	bool news;
	bool rescan;
	bool look_again;
	bool task;
};

/* Takes all that is there. Main thread. */
void inbox_take(struct inbox *out);
