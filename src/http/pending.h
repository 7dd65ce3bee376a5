/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests that wait for somebody else: their connections are suspended, and whoever has the
 * ticket may answer from any thread. The first answer counts; one for a ticket that is no longer
 * there (answered, timed out, shut down) is dropped, so nobody needs to know who still waits.
 */
#pragma once

#include <stdint.h>

#include "http/reply.h"

struct MHD_Connection;

/*
 * Suspends the connection; for its own thread, from within the access handler. The answer goes to
 * *slot, and then the connection is resumed. limit_ms: past that the answer is 503 (0: no limit).
 * 0 when the server is shutting down: nothing was suspended.
 */
uint64_t pending_add(struct MHD_Connection *connection, struct reply *slot, uint64_t limit_ms);
/* Answers; takes over *reply and empties it. reply NULL: the request only goes on. */
void pending_answer(uint64_t ticket, struct reply *reply);
/* Let a request go on without an answer: pending_answer(ticket, NULL). */
void pending_resume(uint64_t ticket);
/* Answers those whose limit has passed. To be called now and then. */
void pending_expire(void);
/* Answers all with 503 and takes no more. */
void pending_close(void);
/* Takes some again (tests start a second server). */
void pending_open(void);
