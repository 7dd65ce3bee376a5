/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The operations under way, each in a forked child: a write into sysfs can sleep for ever, and then
 * only that child does. Past its deadline a child is stuck: it is left alone (a signal would not
 * end it), who asked is told, and its address is closed for everything else until it ends. A child
 * that is done waits a little for the next operation: a change is a dozen of them, and a fork costs
 * more than most do.
 *
 * At most PRIVD_CHILDREN. Children that an earlier privd left are found again by their records
 * (record.h) and count as stuck. Owned by privd's one thread.
 */
#pragma once

#include <poll.h>
#include <sys/types.h>

#include "host/root.h"
#include "privd/protocol.h"
#include "privd/record.h"

/*
 * An answer stays as it is while the daemon reads it. Who wrote it never mapped it, so that no more can
 * be written is enough; F_SEAL_WRITE would also wait for every processor to let go of its pages
 * (mm/memfd.c, memfd_wait_for_pins).
 */
#define ANSWER_SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL)

/* A request that it was given. */
struct child_task {
	uint64_t id;
	struct privd_address address;
	uint16_t op;
	bool write;
};

struct child {
	struct privd_child told; /* as PRIVD_LIVE tells it; id 0: it has nothing to do */
	uint64_t chain;		 /* id of the chain that it works at; 0: of a request alone */
	uint32_t n, at;		 /* requests in that, and which it was in when last looked at */
	struct child_task task[PRIVD_CHAIN_MAX];
	pid_t pid; /* of our own; 0: an earlier privd's child, or, with nothing to do, a free place */
	uint64_t start_time; /* of that */
	int link;  /* to our own: orders out, what came of them back; -1 */
	int pidfd; /* of an earlier privd's; -1 */
	int record;
	int data; /* memfd with the long answer, when it came; -1 */
	char name[RECORD_NAME];
	uint64_t asker;	   /* connection to answer; 0 when it was answered */
	uint64_t deadline; /* CLOCK_MONOTONIC ms; with nothing to do: when it ends */
	uint64_t look;	   /* when to see which it is in: the deadline, or sooner */
	unsigned orders; /* it had so far */
};

struct children {
	const struct host_root *root;
	int directory;
	unsigned deadline_cap_ms; /* no deadline is later; for tests */
	struct child child[PRIVD_CHILDREN];
};

/* Takes `directory` and looks for children that an earlier privd left in it. 0, or -errno. */
int children_init(struct children *children, const struct host_root *root, int directory);

/*
 * Starts what was checked (privd_message_check). True when it runs now; false with a reply that says
 * why not (stuck, busy, too_many, failed): then nothing was begun.
 */
bool children_start(struct children *children, const struct privd_chain *chain, uint64_t asker,
		    struct privd_chain_reply *reply);

/* Fills in what to poll, at most PRIVD_CHILDREN; returns how many. */
nfds_t children_poll(const struct children *children, struct pollfd *fds);
/* Milliseconds until the next deadline; -1: none. For poll(2). */
int children_timeout(const struct children *children);

/*
 * What has ended; false when there is none. *reply says what came of it, under the header of what was
 * asked: to `*asker`, or, where that is 0, a PRIVD_LATE alone for everybody. *data is the sealed
 * answer, the caller's to close; -1 without one.
 */
bool children_ended(struct children *children, struct privd_chain_reply *reply, uint64_t *asker,
		    int *data);
/*
 * One child that is past its deadline now, and the reply that says so; false when there is none.
 * *asker is 0 when nobody is to be told.
 */
bool children_expired(struct children *children, struct privd_chain_reply *reply, uint64_t *asker);

/* Ends those that had nothing to do for a while. */
void children_rest(struct children *children);

/*
 * That connection is gone: what it asked for ends with a PRIVD_LATE for everybody, and of a chain
 * nothing more is begun.
 */
void children_orphan(struct children *children, uint64_t asker);

/* All that live, into `out`; returns how many. */
size_t children_live(struct children *children,
		     struct privd_child out[static PRIVD_CHILDREN]);

/* An answer to all of it with that status for its first request, and nothing else in it. */
struct privd_chain_reply reply_to(const struct privd_chain *chain, enum privd_status status);
