/* SPDX-License-Identifier: Apache-2.0 */
/* See child.h. The first half is the child itself, the second what privd keeps of it. */
#include "privd/child.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/fdpath.h"
#include "base/id.h"
#include "privd/fault.h"
#include "privd/message.h"
#include "privd/ops.h"
#include "privd/process.h"

enum {
	IDLE_MAX = 2,	  /* children that wait for more */
	IDLE_MS = 2000,	  /* so long */
	OPERATIONS_MAX = 1024, /* what one may leave behind in its memory goes with it */
};

/* What a child is told to do: one message on its link. It answers with one byte, and its data. */
struct order {
	struct privd_request request;
	struct privd_child told;
	bool strike;
};

/*
 * Sockets above all must not stay open here: a child that sleeps for ever would keep the daemon
 * from seeing that privd is gone.
 */
static void keep_only(int root, int record, int link)
{
	unsigned first = STDERR_FILENO + 1;

	for (;;) {
		unsigned next = ~0U;
		const int keep[] = { root, record, link };

		for (size_t i = 0; i < ARRAY_SIZE(keep); i++)
			if ((unsigned)keep[i] >= first && (unsigned)keep[i] < next)
				next = (unsigned)keep[i];
		if (next > first)
			syscall(SYS_close_range, first, next == ~0U ? next : next - 1, 0);
		if (next == ~0U)
			return;
		first = next + 1;
	}
}

static void plain_signals(void)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/*
 * One operation. While nothing is on record, this child must not outlive privd; once it is, it may.
 * 0, or -1: it cannot go on.
 */
static int carry_out(const struct host_root *root, int file, int link, const struct order *order)
{
	struct record record = { .child = order->told };
	struct op op = {
		.root = root, .request = &order->request, .data = -1, .strike = order->strike
	};
	int r;

	if (record_begin(file, &record) < 0)
		return -1;
	prctl(PR_SET_PDEATHSIG, 0);
	record.status = (uint16_t)op_run(&op);
	record.error = op.error;
	record.value = op.value;
	record.length = op.length;
	record.done = 1;
	if (record_end(file, &record) < 0)
		return -1;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	r = message_send(link, "", 1, op.data);
	cleanup_closep(&op.data);
	return r;
}

/* In the child; `privd` is the parent's pid. Its end of the link is closed when no more is wanted. */
static _Noreturn void child_main(const struct children *children, int record, int link, pid_t privd)
{
	struct order order;
	ssize_t n;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != privd)
		_exit(EXIT_FAILURE);
	plain_signals();
	keep_only(children->root->fd, record, link);
	for (;;) {
		n = recv(link, &order, sizeof(order), 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n != (ssize_t)sizeof(order) ||
		    carry_out(children->root, record, link, &order) < 0 || getppid() != privd)
			_exit(n ? EXIT_FAILURE : EXIT_SUCCESS);
	}
}

static int64_t wall_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

struct privd_reply reply_to(const struct privd_request *request, enum privd_status status)
{
	struct privd_reply reply = {
		.header = { PRIVD_MAGIC, PRIVD_VERSION, request->header.op, request->header.id,
			    sizeof(reply), 0 },
		.address = request->address,
		.status = (uint16_t)status,
	};

	return reply;
}

static struct privd_reply reply_about(const struct child *child, enum privd_status status)
{
	struct privd_reply reply = {
		.header = { PRIVD_MAGIC, PRIVD_VERSION, child->told.op, child->told.id,
			    sizeof(reply), 0 },
		.address = child->told.address,
		.status = (uint16_t)status,
		.pid = child->told.pid,
	};

	return reply;
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
static bool same_thing(const struct privd_child *a, const struct privd_request *r)
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
static bool excludes(const struct privd_child *a, const struct privd_request *r)
{
	return a->write && privd_op_writes(r->header.op) && r->header.op != PRIVD_MODULE;
}

/*
 * What a request has to wait for: anything stuck, and for a change, any other change. Reads of what
 * is being changed wait in the kernel at worst.
 */
static const struct child *in_the_way(const struct children *children,
				      const struct privd_request *r)
{
	const struct child *found = NULL;

	for (size_t i = 0; i < PRIVD_CHILDREN; i++) {
		const struct child *c = &children->child[i];

		if (!c->told.id || !same_thing(&c->told, r))
			continue;
		if (c->told.stuck)
			return c;
		if (excludes(&c->told, r))
			found = c;
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
		child_main(children, child->record, link[1], privd);
	close(link[1]);
	if (pid < 0)
		return r;
	child->pid = pid;
	child->start_time = process_start_time(child->pid);
	return 0;
}

static int give_order(struct child *child, const struct privd_request *request,
		      const struct privd_child *told, bool strike)
{
	struct order order = { *request, *told, strike };

	child->told = *told;
	child->told.pid = (uint32_t)child->pid;
	child->told.start_time = child->start_time;
	return message_send(child->link, &order, sizeof(order), -1);
}

/* A child that waits for orders, or a new one, has it now. NULL: *reason says why not. */
static struct child *child_for(struct children *children, const struct privd_request *request,
			       const struct privd_child *told, int *reason)
{
	bool strike = fault_take_inside(request->header.op);
	struct child *child;

	for (size_t i = 0; i < PRIVD_CHILDREN; i++) {
		child = &children->child[i];
		if (!is_idle(child))
			continue;
		if (!give_order(child, request, told, strike))
			return child;
		child_clear(children, child);	/* somebody ended it */
	}
	child = free_place(children);
	*reason = child ? launch(children, child) : -EAGAIN;
	if (!*reason)
		*reason = give_order(child, request, told, strike);
	if (!*reason)
		return child;
	if (child)
		child_clear(children, child);
	return NULL;
}

static void set_deadline(const struct children *children, struct child *child)
{
	child->deadline_ms = op_deadline(child->told.op);
	if (children->deadline_cap_ms && children->deadline_cap_ms < child->deadline_ms)
		child->deadline_ms = children->deadline_cap_ms;
	child->deadline = time_monotonic_ms() + child->deadline_ms;
}

bool children_start(struct children *children, const struct privd_request *request, uint64_t asker,
		    struct privd_reply *reply)
{
	const struct child *other = in_the_way(children, request);
	enum privd_op op = request->header.op;
	const struct privd_child told = { .id = request->header.id,
					  .op = (uint16_t)op,
					  .since_ms = wall_ms(),
					  .address = request->address,
					  .write = privd_op_writes(op) };
	struct child *child;
	int reason = 0;

	if (other) {
		*reply = reply_to(request, other->told.stuck ? PRIVD_STUCK : PRIVD_BUSY);
		reply->pid = other->told.pid;
		return false;
	}
	fault_strike(op, FAULT_BEFORE);
	child = child_for(children, request, &told, &reason);
	if (!child) {
		*reply = reply_to(request, reason == -EAGAIN ? PRIVD_TOO_MANY : PRIVD_FAILED);
		reply->error = reason == -EAGAIN ? 0 : -reason;
		return false;
	}
	child->asker = asker;
	child->operations++;
	set_deadline(children, child);
	return true;
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

		if (((c->told.id && !c->told.stuck) || is_idle(c)) && c->deadline < next)
			next = c->deadline;
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

/* Our own says that it is done, and has its answer; false: it is dead. */
static bool says_done(struct child *child)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	char byte;
	struct iovec part = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr message = { .msg_iov = &part,
				  .msg_iovlen = 1,
				  .msg_control = &control,
				  .msg_controllen = sizeof(control) };
	struct cmsghdr *header;

	if (recvmsg(child->link, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) != 1)
		return false;
	header = CMSG_FIRSTHDR(&message);
	if (header && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS)
		memcpy(&child->data, CMSG_DATA(header), sizeof(child->data));
	return true;
}

/* The answer, sealed so that it stays as it is while the daemon reads it. */
static int seal(struct child *child, uint64_t length)
{
	int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL;

	if (!length || child->data < 0 || fcntl(child->data, F_ADD_SEALS, seals))
		return -1;
	return TAKE_FD(child->data);
}

static struct privd_reply outcome(const struct child *child)
{
	struct privd_reply reply = reply_about(child, PRIVD_DIED);
	struct record record;

	if (record_read(child->record, &record) && record.done) {
		reply.status = record.status;
		reply.error = record.error;
		reply.value = record.value;
		reply.length = record.length;
	}
	return reply;
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
	    child->operations >= OPERATIONS_MAX || record_clear(child->record) < 0) {
		child_clear(children, child);
		return;
	}
	child->told = (struct privd_child){ 0 };
	child->asker = 0;
	child->deadline = time_monotonic_ms() + IDLE_MS;
}

bool children_ended(struct children *children, struct privd_reply *reply, uint64_t *asker,
		    int *data)
{
	struct child *child = NULL;
	bool own, alive;

	for (size_t i = 0; i < PRIVD_CHILDREN && !child; i++) {
		child = &children->child[i];
		if (is_idle(child) && has_news(child))
			child_clear(children, child);	/* somebody ended it */
		if (!child->told.id || !has_news(child))
			child = NULL;
	}
	if (!child)
		return false;
	own = child->link >= 0;
	alive = own && says_done(child);
	if (own)	/* what an earlier privd began is no operation of this one */
		fault_strike(child->told.op, FAULT_AFTER);
	*reply = outcome(child);
	*asker = child->asker;
	*data = *asker ? seal(child, reply->length) : -1;
	cleanup_closep(&child->data);
	if (*data < 0 && *asker && reply->length) {	/* it died with it, or there is no room */
		reply->status = PRIVD_FAILED;
		reply->error = EIO;
	}
	if (*data < 0)
		reply->length = 0;
	if (*asker) {
		reply->pid = 0;
	} else {
		reply->ended = child->told.op;
		reply->header.op = PRIVD_LATE;
	}
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

bool children_expired(struct children *children, struct privd_reply *reply, uint64_t *asker)
{
	uint64_t now = time_monotonic_ms();

	for (size_t i = 0; i < PRIVD_CHILDREN; i++) {
		struct child *c = &children->child[i];

		if (!c->told.id || c->told.stuck || c->deadline > now)
			continue;
		c->told.stuck = 1;
		*reply = reply_about(c, PRIVD_STUCK);
		*asker = c->asker;
		c->asker = 0;
		return true;
	}
	return false;
}

void children_orphan(struct children *children, uint64_t asker)
{
	for (size_t i = 0; i < PRIVD_CHILDREN; i++)
		if (children->child[i].asker == asker)
			children->child[i].asker = 0;
}

size_t children_live(const struct children *children, struct privd_child out[static PRIVD_CHILDREN])
{
	size_t n = 0;

	for (size_t i = 0; i < PRIVD_CHILDREN; i++)
		if (children->child[i].told.id)
			out[n++] = children->child[i].told;
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
