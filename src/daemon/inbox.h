/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What other threads ask of the main thread: a queue and an eventfd, on which its event loop waits.
 * One in a process. Any thread posts; nothing blocks.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/address.h"
#include "base/arena.h"
#include "base/error.h"

enum { INBOX_SCANS = 512, INBOX_TOUCHED = 256 };

int inbox_open(struct error *err);
void inbox_close(void);
int inbox_fd(void);

/* A request waits for a full scan. */
void inbox_scan(uint64_t ticket);
/* There is news of the facts. */
void inbox_news(void);

/* Something came back from the helper: the engine is to look at what is stuck. */
void inbox_look_again(void);

/* Have these functions (struct pci_address) read anew, with whatever the kernel has told of since, and
 * wait for that, at most ms. For threads that may wait (tasks). */
void inbox_refresh(const struct list *addresses, unsigned ms);
/* What was taken last is read: those that wait for that go on. Main thread. */
void inbox_refreshed(void);
/* The main thread takes nothing any more: nobody waits for it from now on. */
void inbox_end(void);

/* A task has begun to change something, or is over. */
void inbox_task(void);

struct inbox {
	uint64_t scans[INBOX_SCANS];
	size_t n_scans;
	bool news;
	bool refresh;
	bool all; /* more was touched than is listed */
	struct pci_address touched[INBOX_TOUCHED];
	size_t n_touched;
	bool look_again;
	bool task;
};

/* Takes all that is there. Main thread. */
void inbox_take(struct inbox *out);
