/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See pending.h. The table is this file's and under its lock. libmicrohttpd's own lock is taken
 * within it (suspend, resume); that library never calls us while it holds that one.
 */
#include "http/pending.h"

#include <microhttpd.h>
#include <stdbool.h>

#include "base/id.h"
#include "base/lock.h"

enum { PENDING_MAX = 512 }; /* more than there are connections */

struct entry {
	uint64_t ticket;
	struct MHD_Connection *connection;
	struct reply *slot;
	uint64_t until; /* time_monotonic_ms(); 0: no limit */
};

static struct lock pending_lock = LOCK_INIT;
static struct entry entries[PENDING_MAX] GUARDED_BY(pending_lock);
static size_t n_entries GUARDED_BY(pending_lock);
static uint64_t last_ticket GUARDED_BY(pending_lock);
static bool closing GUARDED_BY(pending_lock);

uint64_t pending_add(struct MHD_Connection *connection, struct reply *slot, uint64_t limit_ms)
{
	uint64_t ticket = 0;

	lock_take(&pending_lock);
	if (!closing && n_entries < PENDING_MAX) {
		ticket = ++last_ticket;
		MHD_suspend_connection(connection);
		entries[n_entries++] = (struct entry){ ticket, connection, slot,
						       limit_ms ? time_monotonic_ms() + limit_ms
								: 0 };
	}
	lock_give(&pending_lock);
	return ticket;
}

static void finish_locked(size_t i, struct reply *reply) REQUIRES(pending_lock)
{
	struct entry entry = entries[i];

	entries[i] = entries[--n_entries];
	if (reply) {
		*entry.slot = *reply;
		*reply = (struct reply){ 0 };
	}
	MHD_resume_connection(entry.connection);
}

void pending_answer(uint64_t ticket, struct reply *reply)
{
	lock_take(&pending_lock);
	for (size_t i = 0; i < n_entries; i++) {
		if (entries[i].ticket != ticket)
			continue;
		finish_locked(i, reply);
		break;
	}
	lock_give(&pending_lock);
	if (reply)
		reply_finish(reply);
}

void pending_resume(uint64_t ticket)
{
	pending_answer(ticket, NULL);
}

static struct reply unavailable(const char *why, const char *hint)
{
	struct error err;

	error_set(&err, ERROR_UNREACHABLE, "%s", why);
	error_hint(&err, "%s", hint);
	return reply_problem(&err, NULL, NULL);
}

void pending_expire(void)
{
	uint64_t now = time_monotonic_ms();
	struct reply late;

	lock_take(&pending_lock);
	for (size_t i = n_entries; i-- > 0;) {
		if (!entries[i].until || entries[i].until > now)
			continue;
		late = unavailable("it took too long", "try again");
		finish_locked(i, &late);
	}
	lock_give(&pending_lock);
}

void pending_close(void)
{
	struct reply end;

	lock_take(&pending_lock);
	closing = true;
	while (n_entries) {
		end = unavailable("the daemon is shutting down", "try again when it runs");
		finish_locked(n_entries - 1, &end);
	}
	lock_give(&pending_lock);
}

void pending_open(void)
{
	lock_take(&pending_lock);
	closing = false;
	lock_give(&pending_lock);
}
