/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The child itself: it carries out one order after the other until its link is closed, its parent is
 * gone, or it is told to stop in the middle of one. What it does is on record first (record.h).
 */
#pragma once

#include <sys/types.h>

#include "host/root.h"
#include "privd/protocol.h"

/* What a child is told to do: one message on its link, of order_size(n) bytes. */
struct order {
	uint64_t start_time;	/* the child's own, as in struct privd_child */
	int64_t since_ms;	/* of the first request, as there */
	uint32_t n;
	int32_t strike;		/* a fault: the request at which to kill the parent; -1 */
	struct privd_request request[PRIVD_CHAIN_MAX];
};

/* What came of one request. The answer to an order is an array of those that were begun. */
struct outcome {
	uint64_t value;
	uint64_t length;
	int32_t error;
	uint16_t status; /* enum privd_status */
	uint16_t zero;
};

size_t order_size(size_t n);

/* In a new process; does not return. `privd` is the parent's pid; the descriptors stay open. */
_Noreturn void worker_main(const struct host_root *root, int record, int link, pid_t privd);

/* CLOCK_REALTIME in ms. */
int64_t wall_ms(void);
