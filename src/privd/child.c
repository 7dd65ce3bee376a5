/* SPDX-License-Identifier: Apache-2.0 */
/* See child.h. The first half is the child itself, the second what privd keeps of it. */
#include "privd/child.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/fdpath.h"
#include "base/id.h"
#include "privd/fault.h"
#include "privd/ops.h"
#include "privd/process.h"

/*
 * Sockets above all must not stay open here: a child that sleeps for ever would keep the daemon
 * from seeing that privd is gone.
 */
static void keep_only(int root, int record, int data)
{
	unsigned first = STDERR_FILENO + 1;

	for (;;) {
		unsigned next = ~0U;
		const int keep[] = { root, record, data };

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

/* In the child; `privd` is the parent's pid. */
static _Noreturn void child_main(const struct children *children, const struct child *me,
				 pid_t privd, const struct privd_request *request, bool strike)
{
	struct record record = { .child = me->told };
	struct op op = {
		.root = children->root, .request = request, .data = me->data, .strike = strike
	};

	/* until the record is written, this child must not outlive privd; after, it may */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != privd)
		_exit(EXIT_FAILURE);
	plain_signals();
	keep_only(children->root->fd, me->record, me->data);
	if (record_begin(me->record, &record) < 0)
		_exit(EXIT_FAILURE);
	prctl(PR_SET_PDEATHSIG, 0);

	record.status = (uint16_t)op_run(&op);
	record.error = op.error;
	record.value = op.value;
	record.length = op.length;
	record.done = 1;
	_exit(record_end(me->record, &record) < 0 ? EXIT_FAILURE : EXIT_SUCCESS);
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

static void child_clear(const struct children *children, struct child *child)
{
	unlinkat(children->directory, child->name, 0);
	cleanup_closep(&child->pidfd);
	cleanup_closep(&child->record);
	cleanup_closep(&child->data);
	*child = (struct child){ .pidfd = -1, .record = -1, .data = -1 };
}

static struct child *free_place(struct children *children)
{
	for (size_t i = 0; i < PRIVD_CHILDREN; i++)
		if (!children->child[i].told.id)
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

static int launch(struct children *children, struct child *child,
		  const struct privd_request *request)
{
	enum privd_op op = request->header.op;
	bool strike = fault_take_inside(op);
	pid_t privd = getpid(), pid;

	child->record = record_create(children->directory, child->name);
	if (child->record < 0)
		return child->record;
	child->data = memfd_create("privd-answer", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (child->data < 0)
		return -errno;
	pid = fork();
	if (pid < 0)
		return -errno;
	if (!pid)
		child_main(children, child, privd, request, strike);
	child->told.pid = (uint32_t)pid;
	child->told.start_time = process_start_time(pid);
	/* it is our own and not yet reaped: the pid is still its own */
	child->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (child->pidfd >= 0)
		return 0;
	/* Without memory for that there is no watching it. Its record stays, for the next privd. */
	kill(pid, SIGKILL);
	child->name[0] = '\0';
	return -ENOMEM;
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
	struct child *child = free_place(children);
	enum privd_op op = request->header.op;
	int r;

	if (other) {
		*reply = reply_to(request, other->told.stuck ? PRIVD_STUCK : PRIVD_BUSY);
		reply->pid = other->told.pid;
		return false;
	}
	if (!child) {
		*reply = reply_to(request, PRIVD_TOO_MANY);
		return false;
	}
	fault_strike(op, FAULT_BEFORE);
	child->told = (struct privd_child){ .id = request->header.id,
					    .op = (uint16_t)op,
					    .since_ms = wall_ms(),
					    .address = request->address,
					    .write = privd_op_writes(op) };
	child->asker = asker;
	set_deadline(children, child);
	r = launch(children, child, request);
	if (r >= 0)
		return true;
	child_clear(children, child);
	*reply = reply_to(request, PRIVD_FAILED);
	reply->error = -r;
	return false;
}

nfds_t children_poll(const struct children *children, struct pollfd *fds)
{
	nfds_t n = 0;

	for (size_t i = 0; i < PRIVD_CHILDREN; i++)
		if (children->child[i].told.id)
			fds[n++] = (struct pollfd){ .fd = children->child[i].pidfd,
						    .events = POLLIN };
	return n;
}

int children_timeout(const struct children *children)
{
	uint64_t now = time_monotonic_ms(), next = UINT64_MAX;

	for (size_t i = 0; i < PRIVD_CHILDREN; i++) {
		const struct child *c = &children->child[i];

		if (c->told.id && !c->told.stuck && c->deadline < next)
			next = c->deadline;
	}
	if (next == UINT64_MAX)
		return -1;
	return next <= now ? 0 : (int)(next - now);
}

static bool has_ended(const struct child *child)
{
	struct pollfd p = { .fd = child->pidfd, .events = POLLIN };

	return poll(&p, 1, 0) == 1;
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

bool children_ended(struct children *children, struct privd_reply *reply, uint64_t *asker,
		    int *data)
{
	struct child *child = NULL;

	for (size_t i = 0; i < PRIVD_CHILDREN && !child; i++)
		if (children->child[i].told.id && has_ended(&children->child[i]))
			child = &children->child[i];
	if (!child)
		return false;
	if (child->data >= 0) /* our own, not an earlier privd's */
		waitpid((pid_t)child->told.pid, NULL, 0);
	fault_strike(child->told.op, FAULT_AFTER);
	*reply = outcome(child);
	*asker = child->asker;
	*data = *asker ? seal(child, reply->length) : -1;
	if (*data < 0)
		reply->length = 0;
	if (*asker) {
		reply->pid = 0;
	} else {
		reply->ended = child->told.op;
		reply->header.op = PRIVD_LATE;
	}
	child_clear(children, child);
	return true;
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
		children->child[i] = (struct child){ .pidfd = -1, .record = -1, .data = -1 };
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
