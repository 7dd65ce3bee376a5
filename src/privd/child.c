/* SPDX-License-Identifier: Apache-2.0 */
/* See child.h. What privd keeps of its children; the child itself is worker.c. */
#include "privd/child.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "base/fdpath.h"
#include "base/id.h"
#include "privd/fault.h"
#include "privd/message.h"
#include "privd/ops.h"
#include "privd/process.h"
#include "privd/worker.h"

enum {
	IDLE_MAX = 2,	  /* children that wait for more */
	IDLE_MS = 10000,  /* so long */
	ORDERS_MAX = 1024, /* what one may leave behind in its memory goes with it */
};

struct privd_chain_reply reply_to(const struct privd_chain *chain, enum privd_status status)
{
	const struct privd_request *first = &chain->request[0];
	struct privd_chain_reply reply = { .n = 1 };

	reply.reply[0] = (struct privd_reply){ .header = first->header,
					       .address = first->address,
					       .status = (uint16_t)status };
	reply.reply[0].header.size = sizeof(reply.reply[0]);
	reply.header = reply.reply[0].header;
	if (chain->header.op == PRIVD_CHAIN) {
		reply.header = chain->header;
		reply.header.size = (uint32_t)privd_chain_reply_size(1);
	}
	return reply;
}

/* About one of its requests. */
static struct privd_reply reply_about(const struct child *child, size_t i, enum privd_status status)
{
	const struct child_task *task = &child->task[i];

	return (struct privd_reply){ .header = { PRIVD_MAGIC, PRIVD_VERSION, task->op, task->id,
						 sizeof(struct privd_reply), 0 },
				     .address = task->address,
				     .status = (uint16_t)status };
}

/* About all of it up to request `at`, which came to that; those before it were done. */
static struct privd_chain_reply reply_up_to(const struct child *child, enum privd_status status)
{
	struct privd_chain_reply reply = { .n = child->at + 1 };

	for (uint32_t i = 0; i < reply.n; i++)
		reply.reply[i] = reply_about(child, i, i < child->at ? PRIVD_OK : status);
	return reply;
}

/* Under the header of what was asked for; late: nobody waits for it any more, so the last alone. */
static void address_reply(const struct child *child, struct privd_chain_reply *reply, bool late)
{
	struct privd_reply *first = &reply->reply[0];

	if (late) {
		*first = reply->reply[reply->n - 1];
		first->ended = first->header.op;
		first->header.op = PRIVD_LATE;
		first->length = 0;
		reply->n = 1;
	}
	reply->header = first->header;
	if (late || !child->chain)
		return;
	reply->header.op = PRIVD_CHAIN;
	reply->header.id = child->chain;
	reply->header.size = (uint32_t)privd_chain_reply_size(reply->n);
}

static const struct child nobody = { .pidfd = -1, .record = -1, .link = -1, .data = -1 };

/* The place is free again. One of our own that still waits for orders ends. */
static void child_clear(const struct children *children, struct child *child)
{
	unlinkat(children->directory, child->name, 0);
	cleanup_closep(&child->pidfd);
	cleanup_closep(&child->record);
	cleanup_closep(&child->link);
	cleanup_closep(&child->data);
	if (child->pid) {
		kill(child->pid, SIGKILL);
		waitpid(child->pid, NULL, 0);
	}
	*child = nobody;
}

static bool is_idle(const struct child *child)
{
	return child->pid && !child->told.id;
}

static struct child *free_place(struct children *children)
{
	for (size_t i = 0; i < PRIVD_CHILDREN; i++)
		if (!children->child[i].told.id && !children->child[i].pid)
			return &children->child[i];
	return NULL;
}

/* Two operations concern the same thing: the same function, or the same operation on none. */
static bool same_thing(const struct child_task *a, const struct privd_request *r)
{
	if (a->address.set != r->address.set)
		return false;
	if (!a->address.set)
		return a->op == r->header.op;
	return !memcmp(&a->address, &r->address, sizeof(a->address));
}

/*
 * Of two that load a module at once the second waits in the kernel and finds it there
 * (kernel/module/main.c, add_unformed_module), so neither need be refused.
 */
static bool excludes(const struct child_task *a, const struct privd_request *r)
{
	return a->write && privd_op_writes(r->header.op) && r->header.op != PRIVD_MODULE;
}

/* Does it stand in the way of the request, with what it is in or is still to begin? */
static bool hinders(const struct child *child, const struct privd_request *r)
{
	/* one that is stuck begins nothing more */
	uint32_t end = child->told.stuck ? child->at + 1 : child->n;

	for (uint32_t i = child->at; i < end; i++)
		if (same_thing(&child->task[i], r) && (child->told.stuck || excludes(&child->task[i], r)))
			return true;
	return false;
}

/*
 * What a request has to wait for: anything stuck, and for a change, any other change. Reads of what
 * is being changed wait in the kernel at worst. *which: the request.
 */
static const struct child *in_the_way(const struct children *children,
				      const struct privd_chain *chain, uint32_t *which)
{
	const struct child *found = NULL;

	for (size_t i = 0; i < PRIVD_CHILDREN; i++) {
		const struct child *c = &children->child[i];

		for (uint32_t k = 0; c->told.id && k < chain->n && found != c; k++) {
			if (!hinders(c, &chain->request[k]) || (found && !c->told.stuck))
				continue;
			found = c;
			*which = k;
		}
		if (found && found->told.stuck)
			return found;
	}
	return found;
}

static int launch(struct children *children, struct child *child)
{
	pid_t privd = getpid(), pid;
	int link[2], r;

	child->record = record_create(children->directory, child->name);
	if (child->record < 0)
		return child->record;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, link))
		return -errno;
	child->link = link[0];
	pid = fork();
	r = -errno;
	if (!pid)
		worker_main(children->root, child->record, link[1], privd);
	close(link[1]);
	if (pid < 0)
		return r;
	child->pid = pid;
	child->start_time = process_start_time(child->pid);
	return child->start_time ? 0 : -ESRCH;	/* nobody could find it again */
}

static void note_tasks(struct child *child, const struct privd_chain *chain)
{
	const struct privd_request *r = chain->request;

	child->chain = chain->header.op == PRIVD_CHAIN ? chain->header.id : 0;
	child->n = chain->n;
	child->at = 0;
	for (uint32_t i = 0; i < chain->n; i++)
		child->task[i] = (struct child_task){ r[i].header.id, r[i].address, r[i].header.op,
						      privd_op_writes(r[i].header.op) };
	child->told = (struct privd_child){ .id = r->header.id,
					    .start_time = child->start_time,
					    .since_ms = wall_ms(),
					    .address = r->address,
					    .pid = (uint32_t)child->pid,
					    .op = r->header.op,
					    .write = child->task[0].write };
}

static int give_order(struct child *child, const struct privd_chain *chain, int32_t strike)
{
	static struct order order;

	order.start_time = child->start_time;
	order.n = chain->n;
	order.strike = strike;
	memcpy(order.request, chain->request, chain->n * sizeof(chain->request[0]));
	note_tasks(child, chain);
	order.since_ms = child->told.since_ms;
	return message_send(child->link, &order, order_size(chain->n), -1);
}

/* The request in which the child is to strike; -1. */
static int32_t take_strike(const struct privd_chain *chain)
{
	for (uint32_t i = 0; i < chain->n; i++)
		if (fault_take_inside(chain->request[i].header.op))
			return (int32_t)i;
	return -1;
}

/* A child that waits for orders, or a new one, has it now. NULL: *reason says why not. */
static struct child *child_for(struct children *children, const struct privd_chain *chain,
			       int *reason)
{
	int32_t strike = take_strike(chain);
	struct child *child;

	for (size_t i = 0; i < PRIVD_CHILDREN; i++) {
		child = &children->child[i];
		if (!is_idle(child))
			continue;
		if (!give_order(child, chain, strike))
			return child;
		child_clear(children, child);	/* somebody ended it */
	}
	child = free_place(children);
	*reason = child ? launch(children, child) : -EAGAIN;
	if (!*reason)
		*reason = give_order(child, chain, strike);
	if (!*reason)
		return child;
	if (child)
		child_clear(children, child);
	return NULL;
}

static unsigned deadline_of(const struct children *children, unsigned op)
{
	unsigned ms = op_deadline(op), cap = children->deadline_cap_ms;

	return cap && cap < ms ? cap : ms;
}

/* No later one, begun at once, could be given up before that. */
static void set_look(const struct children *children, struct child *child)
{
	uint64_t now = time_monotonic_ms(), soonest;

	child->look = child->deadline;
	for (uint32_t i = child->at + 1; i < child->n; i++) {
		soonest = now + deadline_of(children, child->task[i].op);
		if (soonest < child->look)
			child->look = soonest;
	}
}

/* From when it began what it is in. */
static void set_deadline(const struct children *children, struct child *child)
{
	int64_t gone = wall_ms() - child->told.since_ms;
	unsigned ms = deadline_of(children, child->told.op);

	child->deadline = time_monotonic_ms() + ms;
	if (gone > 0 && child->at)	/* by a clock that may be set; the first began just now */
		child->deadline -= gone < ms ? (uint64_t)gone : ms;
	set_look(children, child);
}

bool children_start(struct children *children, const struct privd_chain *chain, uint64_t asker,
		    struct privd_chain_reply *reply)
{
	uint32_t which = 0;
	const struct child *other = in_the_way(children, chain, &which);
	struct child *child;
	int reason = 0;

	if (other) {
		*reply = reply_to(chain, other->told.stuck ? PRIVD_STUCK : PRIVD_BUSY);
		reply->reply[0].header.op = chain->request[which].header.op;
		reply->reply[0].header.id = chain->request[which].header.id;
		reply->reply[0].address = chain->request[which].address;
		reply->reply[0].pid = other->told.pid;
		return false;
	}
	for (uint32_t i = 0; i < chain->n; i++)
		fault_strike(chain->request[i].header.op, FAULT_BEFORE);
	child = child_for(children, chain, &reason);
	if (!child) {
		*reply = reply_to(chain, reason == -EAGAIN ? PRIVD_TOO_MANY : PRIVD_FAILED);
		reply->reply[0].error = reason == -EAGAIN ? 0 : -reason;
		return false;
	}
	child->asker = asker;
	child->orders++;
	set_deadline(children, child);
	return true;
}

/* Which of its requests it is in by now, from its record. True: it went on since it was last asked. */
static bool went_on(struct child *child)
{
	struct record record;

	if (child->n < 2 || !record_read(child->record, &record))
		return false;
	for (uint32_t i = child->at + 1; i < child->n; i++) {
		if (child->task[i].id != record.child.id)
			continue;
		record.child.stuck = child->told.stuck;
		child->told = record.child;
		child->at = i;
		return true;
	}
	return false;
}

/* Nobody wants what it would begin next. */
static void stop_chain(const struct child *child)
{
	if (child->link >= 0 && child->n > 1)
		message_send(child->link, "", 1, -1);
}

/* What becomes readable when there is news of it: the link to our own, the pidfd of another's. */
static int news_of(const struct child *child)
{
	return child->link >= 0 ? child->link : child->pidfd;
}

nfds_t children_poll(const struct children *children, struct pollfd *fds)
{
	nfds_t n = 0;

	for (size_t i = 0; i < PRIVD_CHILDREN; i++)
		if (children->child[i].told.id || children->child[i].pid)
			fds[n++] = (struct pollfd){ .fd = news_of(&children->child[i]),
						    .events = POLLIN };
	return n;
}

int children_timeout(const struct children *children)
{
	uint64_t now = time_monotonic_ms(), next = UINT64_MAX;

	for (size_t i = 0; i < PRIVD_CHILDREN; i++) {
		const struct child *c = &children->child[i];

		if (((c->told.id && !c->told.stuck) || is_idle(c)) && c->look < next)
			next = c->look;
	}
	if (next == UINT64_MAX)
		return -1;
	return next <= now ? 0 : (int)(next - now);
}

static bool has_news(const struct child *child)
{
	struct pollfd p = { .fd = news_of(child), .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

/* Our own says what came of how many, and has its answer; 0: it is dead. */
static size_t says_done(struct child *child, struct outcome outcome[static PRIVD_CHAIN_MAX])
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec part = { .iov_base = outcome, .iov_len = PRIVD_CHAIN_MAX * sizeof(*outcome) };
	struct msghdr message = { .msg_iov = &part,
				  .msg_iovlen = 1,
				  .msg_control = &control,
				  .msg_controllen = sizeof(control) };
	ssize_t n = recvmsg(child->link, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	struct cmsghdr *header;

	if (n < (ssize_t)sizeof(*outcome) || (size_t)n > child->n * sizeof(*outcome))
		return 0;
	header = CMSG_FIRSTHDR(&message);
	if (header && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS)
		memcpy(&child->data, CMSG_DATA(header), sizeof(child->data));
	return (size_t)n / sizeof(*outcome);
}

/* The answer, sealed so that it stays as it is while the daemon reads it. */
static int seal(struct child *child)
{
	int seals = ANSWER_SEALS;

	if (child->data < 0 || fcntl(child->data, F_ADD_SEALS, seals))
		return -1;
	return TAKE_FD(child->data);
}

static void put_outcome(struct privd_reply *reply, const struct outcome *outcome)
{
	reply->status = outcome->status;
	reply->error = outcome->error;
	reply->value = outcome->value;
	reply->length = outcome->length;
}

/* What came of it, by its record: it is dead. */
static struct privd_chain_reply outcome_on_record(struct child *child)
{
	struct privd_chain_reply reply;
	struct record record;

	went_on(child);
	reply = reply_up_to(child, PRIVD_DIED);
	if (record_read(child->record, &record) && record.done)
		put_outcome(&reply.reply[child->at],
			    &(struct outcome){ record.value, record.length, record.error,
					       record.status, 0 });
	return reply;
}

/* True: it lives, and waits for more. */
static bool outcome_of(struct child *child, struct privd_chain_reply *reply)
{
	struct outcome outcome[PRIVD_CHAIN_MAX];
	size_t n = child->link >= 0 ? says_done(child, outcome) : 0;

	if (!n) {
		*reply = outcome_on_record(child);
		return false;
	}
	child->at = (uint32_t)n - 1;
	*reply = reply_up_to(child, PRIVD_OK);
	for (size_t i = 0; i < n; i++)
		put_outcome(&reply->reply[i], &outcome[i]);
	return true;
}

/* The data to go with the reply; -1 without. */
static int data_of(struct child *child, struct privd_chain_reply *reply)
{
	bool any = false;
	int data;

	for (uint32_t i = 0; i < reply->n; i++)
		any |= reply->reply[i].length != 0;
	data = any ? seal(child) : -1;
	for (uint32_t i = 0; i < reply->n && data < 0; i++) {
		if (!reply->reply[i].length)
			continue;
		/* it died with it, or there is no room */
		reply->reply[i].status = PRIVD_FAILED;
		reply->reply[i].error = EIO;
		reply->reply[i].length = 0;
	}
	return data;
}

/*
 * It waits for orders from now on, or ends: there are others that do, it is old, it was stuck, or
 * it loaded a module, and has libkmod and what that needs in memory since.
 */
static void put_back(struct children *children, struct child *child)
{
	size_t idle = 0;

	for (size_t i = 0; i < PRIVD_CHILDREN; i++)
		idle += is_idle(&children->child[i]);
	if (child->told.stuck || child->told.op == PRIVD_MODULE || idle >= IDLE_MAX ||
	    child->orders >= ORDERS_MAX || record_clear(child->record) < 0) {
		child_clear(children, child);
		return;
	}
	child->told = (struct privd_child){ 0 };
	child->n = child->at = 0;
	child->asker = 0;
	child->deadline = child->look = time_monotonic_ms() + IDLE_MS;
}

/* One that has ended; NULL when there is none. */
static struct child *find_ended(struct children *children)
{
	struct child *child;

	for (size_t i = 0; i < PRIVD_CHILDREN; i++) {
		child = &children->child[i];
		if (is_idle(child) && has_news(child))
			child_clear(children, child);	/* somebody ended it */
		if (child->told.id && has_news(child))
			return child;
	}
	return NULL;
}

bool children_ended(struct children *children, struct privd_chain_reply *reply, uint64_t *asker,
		    int *data)
{
	struct child *child = find_ended(children);
	bool alive;

	if (!child)
		return false;
	alive = outcome_of(child, reply);
	if (child->link >= 0)	/* what an earlier privd began is no operation of this one */
		for (uint32_t i = 0; i < reply->n; i++)
			fault_strike(child->task[i].op, FAULT_AFTER);
	*asker = child->asker;
	*data = *asker ? data_of(child, reply) : -1;
	cleanup_closep(&child->data);
	child->data = -1;
	if (!*asker)
		reply->reply[reply->n - 1].pid = child->told.pid;
	address_reply(child, reply, !*asker);
	if (alive)
		put_back(children, child);
	else
		child_clear(children, child);
	return true;
}

void children_rest(struct children *children)
{
	uint64_t now = time_monotonic_ms();

	for (size_t i = 0; i < PRIVD_CHILDREN; i++)
		if (is_idle(&children->child[i]) && children->child[i].deadline <= now)
			child_clear(children, &children->child[i]);
}

bool children_expired(struct children *children, struct privd_chain_reply *reply, uint64_t *asker)
{
	uint64_t now = time_monotonic_ms();

	for (size_t i = 0; i < PRIVD_CHILDREN; i++) {
		struct child *c = &children->child[i];

		if (!c->told.id || c->told.stuck || c->look > now)
			continue;
		if (went_on(c))
			set_deadline(children, c);
		else
			set_look(children, c);
		if (c->deadline > now)
			continue;
		c->told.stuck = 1;
		stop_chain(c);
		went_on(c);	/* it had begun the next before it heard that */
		*reply = reply_up_to(c, PRIVD_STUCK);
		reply->reply[c->at].pid = c->told.pid;
		address_reply(c, reply, false);
		*asker = c->asker;
		c->asker = 0;
		return true;
	}
	return false;
}

void children_orphan(struct children *children, uint64_t asker)
{
	for (size_t i = 0; i < PRIVD_CHILDREN; i++) {
		if (children->child[i].asker != asker)
			continue;
		children->child[i].asker = 0;
		stop_chain(&children->child[i]);
	}
}

size_t children_live(struct children *children, struct privd_child out[static PRIVD_CHILDREN])
{
	size_t n = 0;

	for (size_t i = 0; i < PRIVD_CHILDREN; i++) {
		if (!children->child[i].told.id)
			continue;
		went_on(&children->child[i]);
		out[n++] = children->child[i].told;
	}
	return n;
}

/* One record that an earlier privd left. Where the child lives it gets a place, else it goes. */
static void adopt(struct children *children, const char *name)
{
	CLEAN_FD int fd = openat(children->directory, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	struct child *child = free_place(children);
	struct record record;
	int pidfd = -ESRCH;

	if (fd >= 0 && child && record_read(fd, &record) && record.child.id)
		pidfd = process_open((pid_t)record.child.pid, record.child.start_time);
	if (pidfd < 0) {
		unlinkat(children->directory, name, 0);
		return;
	}
	child->told = record.child;
	/* nobody waits for it now; but a read that is still within its time stands in nobody's way */
	child->told.stuck = record.child.write;
	child->n = 1;
	child->task[0] = (struct child_task){ record.child.id, record.child.address, record.child.op,
					      record.child.write };
	set_deadline(children, child);
	child->pidfd = pidfd;
	child->record = TAKE_FD(fd);
	snprintf(child->name, sizeof(child->name), "%s", name);
}

int children_init(struct children *children, const struct host_root *root, int directory)
{
	const struct dirent *entry;
	DIR *dir;
	int copy;

	children->root = root;
	children->directory = directory;
	for (size_t i = 0; i < PRIVD_CHILDREN; i++)
		children->child[i] = nobody;
	copy = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	dir = copy < 0 ? NULL : fdopendir(copy);
	if (!dir)
		return -errno;
	while ((entry = readdir(dir)))
		if (entry->d_name[0] != '.' && strlen(entry->d_name) < RECORD_NAME)
			adopt(children, entry->d_name);
	closedir(dir);
	return 0;
}
