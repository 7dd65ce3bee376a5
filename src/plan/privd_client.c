/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See privd_client.h. The connection: what is under way, and the thread that reads.
 *
 * `lock` guards everything in struct privd but what is immutable. Nothing sleeps under it: requests
 * are sent without waiting, and a call waits on its own condition. The fd is closed by the reading
 * thread only, under the lock, so nobody sends to a number that is another file by then.
 */
#include "plan/privd_client.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>

#include "base/id.h"
#include "base/lock.h"
#include "plan/step.h"

enum {
	CONNECT_MS = 3000, /* a call waits so long for a connection: privd is back within 2 s */
	RETRY_MS = 100,	   /* between two tries to connect; doubled while nobody waits, up to */
	RETRY_MAX_MS = 5000,
	REPLY_MS = PRIVD_DEADLINE_MAX_MS + 10000, /* for a privd that is broken */
	ALIVE_MS = 5000, /* silent for so long, it is asked whether it lives, and has as long to say so */
};

static struct lock lock = LOCK_INIT;

struct pending {
	struct pending *next;
	uint64_t id;
	pthread_cond_t done;
	enum { UNSENT, WAITING, ANSWERED, LOST } state; /* what is not sent yet cannot be lost */
	struct privd_reply reply;
	int data;
};

struct privd {
	char path[108];		    /* immutable; "": connections are handed in */
	struct privd_events events; /* immutable */
	pthread_t thread;	    /* immutable */
	pthread_cond_t changed;	    /* fd, next_fd, callers, closing; pending, while closing */
	/* -1: no connection */
	int fd GUARDED_BY(lock);
	/* its number, from 1 */
	uint64_t connection GUARDED_BY(lock);
	/* handed in and not yet taken; -1 */
	int next_fd GUARDED_BY(lock);
	/* that wait for a connection */
	unsigned callers GUARDED_BY(lock);
	bool closing GUARDED_BY(lock);
	uint64_t id GUARDED_BY(lock);
	/* each on its caller's stack, and guarded while it is in here */
	struct pending *pending GUARDED_BY(lock);
};

static void condition_init(pthread_cond_t *condition)
{
	pthread_condattr_t attributes;

	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(condition, &attributes);
	pthread_condattr_destroy(&attributes);
}

/* The reading thread. */

static int connect_to(const char *path)
{
	CLEAN_FD int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	const struct timeval patience = { .tv_sec = 1 };

	memcpy(address.sun_path, path, strlen(path) + 1);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) ||
	    connect(fd, (struct sockaddr *)&address, sizeof(address)))
		return -1;
	return TAKE_FD(fd);
}

/* A connection, or -1 when it is to end. Called with the lock held, which it lets go while it
 * waits. */
static int next_connection(struct privd *p) REQUIRES(lock)
{
	unsigned wait_ms = RETRY_MS;
	struct timespec until;
	int fd = -1;

	while (!p->closing) {
		if (p->next_fd >= 0)
			return TAKE_FD(p->next_fd);
		if (!p->path[0]) {
			lock_wait(&lock, &p->changed);
			continue;
		}
		lock_give(&lock);
		fd = connect_to(p->path);
		lock_take(&lock);
		if (fd >= 0)
			return fd;
		until = time_in_ms(p->callers ? RETRY_MS : wait_ms);
		wait_ms = wait_ms * 2 < RETRY_MAX_MS ? wait_ms * 2 : RETRY_MAX_MS;
		lock_wait_until(&lock, &p->changed, &until);
	}
	return -1;
}

/* One message. 1, or 0 when the connection is over. *data -1 or a descriptor that came with it. */
static int receive(int fd, struct privd_reply *reply, int *data)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec part = { .iov_base = reply, .iov_len = sizeof(*reply) };
	struct msghdr message = { .msg_iov = &part,
				  .msg_iovlen = 1,
				  .msg_control = &control,
				  .msg_controllen = sizeof(control) };
	struct cmsghdr *header;
	ssize_t n;

	*data = -1;
	do
		n = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	header = n > 0 ? CMSG_FIRSTHDR(&message) : NULL;
	if (header && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS)
		memcpy(data, CMSG_DATA(header), sizeof(*data));
	return n == (ssize_t)sizeof(*reply) && !(message.msg_flags & MSG_TRUNC) &&
	       reply->header.magic == PRIVD_MAGIC && reply->header.version == PRIVD_VERSION &&
	       reply->header.size == sizeof(*reply);
}

/* Hands a reply to whoever waits for it; the data too. */
static void deliver(struct privd *p, const struct privd_reply *reply, int *data)
{
	lock_take(&lock);
	for (struct pending *w = p->pending; w; w = w->next) {
		if (w->id != reply->header.id || w->state != WAITING)
			continue;
		w->reply = *reply;
		w->data = TAKE_FD(*data);
		w->state = ANSWERED;
		pthread_cond_signal(&w->done);
	}
	lock_give(&lock);
}

static void read_all(struct privd *p, int fd)
{
	struct privd_reply reply;
	int data;

	while (receive(fd, &reply, &data)) {
		if (reply.header.op != PRIVD_LATE)
			deliver(p, &reply, &data);
		else if (p->events.late)
			p->events.late(p->events.data, &reply);
		cleanup_closep(&data);
	}
	cleanup_closep(&data);
}

static void lose_all(struct privd *p) REQUIRES(lock)
{
	for (struct pending *w = p->pending; w; w = w->next) {
		if (w->state != WAITING)
			continue;
		w->state = LOST;
		pthread_cond_signal(&w->done);
	}
}

static void *reader(void *context)
{
	struct privd *p = context;
	int fd;

	lock_take(&lock);
	while ((fd = next_connection(p)) >= 0) {
		p->fd = fd;
		p->connection++;
		pthread_cond_broadcast(&p->changed);
		lock_give(&lock);
		if (p->events.connected)
			p->events.connected(p->events.data);
		read_all(p, fd);
		lock_take(&lock);
		close(fd);
		p->fd = -1;
		lose_all(p);
		lock_give(&lock);
		if (p->events.lost)
			p->events.lost(p->events.data);
		lock_take(&lock);
	}
	lose_all(p);
	lock_give(&lock);
	return NULL;
}

/* Everybody else. */

struct privd *privd_new(const char *path, const struct privd_events *events, struct error *err)
{
	struct privd *p = calloc(1, sizeof(*p));
	uint64_t first_id;
	int r;

	if (!p || (path && strlen(path) >= sizeof(p->path))) {
		free(p);
		error_set(err, ERROR_USAGE, "the helper's socket has too long a path");
		return NULL;
	}
	if (path)
		memcpy(p->path, path, strlen(path) + 1);
	if (events)
		p->events = *events;
	/* ids are told apart over restarts of the daemon too: what is late may be from before one
	 */
	if (getrandom(&first_id, sizeof(first_id), 0) != (ssize_t)sizeof(first_id))
		first_id = time_monotonic_ms() << 20;
	lock_take(&lock);
	p->fd = p->next_fd = -1;
	p->id = first_id;
	lock_give(&lock);
	condition_init(&p->changed);
	r = pthread_create(&p->thread, NULL, reader, p);
	if (!r)
		return p;
	error_errno(err, ERROR_SYSTEM, r, "a thread for the helper's replies");
	pthread_cond_destroy(&p->changed);
	free(p);
	return NULL;
}

void privd_free(struct privd *p)
{
	if (!p)
		return;
	lock_take(&lock);
	p->closing = true;
	if (p->fd >= 0)
		shutdown(p->fd, SHUT_RDWR);
	pthread_cond_broadcast(&p->changed);
	lock_give(&lock);
	pthread_join(p->thread, NULL);
	lock_take(&lock);
	while (p->pending) /* calls that were under way are just leaving */
		lock_wait(&lock, &p->changed);
	cleanup_closep(&p->next_fd);
	lock_give(&lock);
	pthread_cond_destroy(&p->changed);
	free(p);
}

void privd_attach(struct privd *p, int fd)
{
	lock_take(&lock);
	cleanup_closep(&p->next_fd);
	p->next_fd = fd;
	pthread_cond_broadcast(&p->changed);
	lock_give(&lock);
}

bool privd_connected(struct privd *p)
{
	bool connected;

	lock_take(&lock);
	connected = p->fd >= 0;
	lock_give(&lock);
	return connected;
}

static uint64_t next_id(struct privd *p) REQUIRES(lock)
{
	if (!++p->id)
		p->id = 1;
	return p->id;
}

uint64_t privd_next_id(struct privd *p)
{
	uint64_t id;

	lock_take(&lock);
	id = next_id(p);
	lock_give(&lock);
	return id;
}

static int unreachable(struct error *err)
{
	error_set(err, ERROR_HELPER, "horcrux-privd cannot be reached");
	return error_hint(err, "see `systemctl status horcrux-privd.socket horcrux-privd.service`");
}

/* Waits for a connection, another than number `lost`, with the lock held. */
static int await_connection(struct privd *p, uint64_t lost, const struct timespec *until)
	REQUIRES(lock)
{
	bool late = false;

	pthread_cond_broadcast(&p->changed); /* the reader shall not wait longer */
	p->callers++;
	while ((p->fd < 0 || p->connection == lost) && !p->closing && !late)
		late = lock_wait_until(&lock, &p->changed, until) == ETIMEDOUT;
	p->callers--;
	return p->fd >= 0 && p->connection != lost && !p->closing ? 0 : -1;
}

/* What could not be sent to a privd that is gone was not done, and goes to the next one. */
static int put(struct privd *p, const struct privd_request *request, struct error *err)
	REQUIRES(lock)
{
	struct timespec until = time_in_ms(CONNECT_MS);
	uint64_t lost = 0;
	ssize_t n;

	for (;;) {
		if ((p->fd < 0 || p->connection == lost || p->closing) &&
		    await_connection(p, lost, &until) < 0)
			return unreachable(err);
		n = send(p->fd, request, sizeof(*request), MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n == (ssize_t)sizeof(*request))
			return 0;
		if (n >= 0 || (errno != EPIPE && errno != ECONNRESET))
			break;
		lost = p->connection;
	}
	error_errno(err, ERROR_HELPER, n < 0 ? errno : EIO, "horcrux-privd takes no request");
	return error_hint(err, "see `systemctl status horcrux-privd.service`");
}

static void take_out(struct privd *p, struct pending *me) REQUIRES(lock)
{
	struct pending **at = &p->pending;

	while (*at != me)
		at = &(*at)->next;
	*at = me->next;
	if (p->closing)
		pthread_cond_broadcast(&p->changed);
}

/* Does privd answer at all? Its children may take their time; itself it never waits for anything. */
static bool is_alive(struct privd *p) REQUIRES(lock)
{
	struct privd_request ping = privd_request_new(PRIVD_PING, NULL);
	struct timespec until = time_in_ms(ALIVE_MS);
	struct pending mine = { .data = -1, .state = WAITING };
	bool late = false;

	if (p->fd < 0)
		return true;	/* who waits for it is told that it is lost */
	condition_init(&mine.done);
	mine.id = ping.header.id = next_id(p);
	mine.next = p->pending;
	p->pending = &mine;
	late = send(p->fd, &ping, sizeof(ping), MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && errno == EAGAIN;
	while (mine.state == WAITING && !late)
		late = lock_wait_until(&lock, &mine.done, &until) == ETIMEDOUT;
	take_out(p, &mine);
	pthread_cond_destroy(&mine.done);
	return mine.state != WAITING;
}

static int await_reply(struct privd *p, struct pending *me, const struct privd_request *request,
		       struct error *err) REQUIRES(lock)
{
	uint64_t until = time_monotonic_ms() + REPLY_MS;
	struct timespec patience = time_in_ms(ALIVE_MS);

	while (me->state == WAITING) {
		if (lock_wait_until(&lock, &me->done, &patience) != ETIMEDOUT)
			continue;
		if (!is_alive(p) || time_monotonic_ms() >= until)
			break;
		patience = time_in_ms(ALIVE_MS);
	}
	if (me->state == ANSWERED)
		return 0;
	error_set(err, ERROR_HELPER,
		  "horcrux-privd %s during %s, so it is not known whether it was done",
		  me->state == LOST ? "died" : "did not answer", privd_op_name(request->header.op));
	return error_hint(err, "what the host looks like now is read again by itself; "
			       "`journalctl -u horcrux-privd` says more");
}

/* Sends it and waits. 0 with me->reply, or -1. */
static int exchange(struct privd *p, struct privd_request *request, struct pending *me,
		    struct error *err)
{
	int r;

	condition_init(&me->done);
	lock_take(&lock);
	if (!request->header.id)
		request->header.id = next_id(p);
	me->id = request->header.id;
	me->next = p->pending;
	p->pending = me;
	r = put(p, request, err);
	if (!r)
		me->state = WAITING;
	if (!r && privd_op_writes(request->header.op))
		fault_inside();
	if (!r)
		r = await_reply(p, me, request, err);
	take_out(p, me);
	lock_give(&lock);
	pthread_cond_destroy(&me->done);
	return r;
}

/* What could not be read, in privd's words. */
static const char *reason(int data, uint64_t length, char *buf, size_t size)
{
	ssize_t n = data >= 0 && length < size ? pread(data, buf, (size_t)length, 0) : 0;

	buf[n > 0 ? n : 0] = '\0';
	return buf;
}

int privd_call_data(struct privd *p, const struct privd_request *asked, struct privd_reply *reply,
		    int *data, struct error *err)
{
	struct pending me = { .data = -1 };
	struct privd_request request = *asked;
	char why[sizeof(err->message)];
	int r = exchange(p, &request, &me, err);

	/* what only reads is asked of the next one too */
	if (r < 0 && me.state == LOST && !privd_op_writes(asked->header.op)) {
		me = (struct pending){ .data = -1 };
		request = *asked;
		r = exchange(p, &request, &me, err);
	}
	if (!r)
		*reply = me.reply;
	if (!r && me.reply.status != PRIVD_OK)
		r = privd_error(&request, &me.reply,
				reason(me.data, me.reply.length, why, sizeof(why)), err);
	if (!r && data)
		*data = TAKE_FD(me.data);
	cleanup_closep(&me.data);
	return r;
}

int privd_call(struct privd *p, const struct privd_request *request, struct privd_reply *reply,
	       struct error *err)
{
	return privd_call_data(p, request, reply, NULL, err);
}
