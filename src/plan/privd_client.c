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
	REPLY_MS = PRIVD_DEADLINE_MAX_MS + 10000, /* for a privd that is broken; for each request */
	ALIVE_MS = 5000, /* silent for so long, it is asked whether it lives, and has as long to say so */
	WATCH_MS = 250,	/* how often a chain is asked how far it is */
};

static struct lock lock = LOCK_INIT;

struct pending {
	struct pending *next;
	uint64_t id;
	pthread_cond_t done;
	enum { UNSENT, WAITING, ANSWERED, LOST } state; /* what is not sent yet cannot be lost */
	struct privd_chain_reply reply; /* to a request alone: of one */
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
	/* each on its caller's stack or in the thread's `ahead`, and guarded while it is in here */
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

/* A reply alone becomes one of a chain. False: it is neither. */
static bool normalise(struct privd_chain_reply *reply, size_t n)
{
	struct privd_header header = reply->header;
	struct privd_reply alone;

	if (n < sizeof(header) || header.magic != PRIVD_MAGIC || header.version != PRIVD_VERSION ||
	    header.size != n)
		return false;
	if (header.op == PRIVD_CHAIN)
		return reply->n && reply->n <= PRIVD_CHAIN_MAX && n == privd_chain_reply_size(reply->n);
	if (n != sizeof(alone))
		return false;
	memcpy(&alone, reply, sizeof(alone));
	reply->reply[0] = alone;
	reply->n = 1;
	return true;
}

/* One message. 1, or 0 when the connection is over. *data -1 or a descriptor that came with it. */
static int receive(int fd, struct privd_chain_reply *reply, int *data)
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
	return n > 0 && !(message.msg_flags & MSG_TRUNC) && normalise(reply, (size_t)n);
}

/* Hands a reply to whoever waits for it; the data too. */
static void deliver(struct privd *p, const struct privd_chain_reply *reply, int *data)
{
	lock_take(&lock);
	for (struct pending *w = p->pending; w; w = w->next) {
		if (w->id != reply->header.id || w->state != WAITING)
			continue;
		memcpy(&w->reply, reply, privd_chain_reply_size(reply->n));
		w->data = TAKE_FD(*data);
		w->state = ANSWERED;
		pthread_cond_signal(&w->done);
	}
	lock_give(&lock);
}

static void read_all(struct privd *p, int fd)
{
	struct privd_chain_reply reply;
	int data;

	while (receive(fd, &reply, &data)) {
		if (reply.header.op != PRIVD_LATE)
			deliver(p, &reply, &data);
		else if (p->events.late)
			p->events.late(p->events.data, &reply.reply[0]);
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
static int put(struct privd *p, const struct privd_header *message, struct error *err) REQUIRES(lock)
{
	struct timespec until = time_in_ms(CONNECT_MS);
	uint64_t lost = 0;
	ssize_t n;

	for (;;) {
		if ((p->fd < 0 || p->connection == lost || p->closing) &&
		    await_connection(p, lost, &until) < 0)
			return unreachable(err);
		n = send(p->fd, message, message->size, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n == (ssize_t)message->size)
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

/* What it is asked: one message, and who wants to know how far that is. */
struct asked {
	struct privd_header *message; /* at the beginning of a request or of a chain */
	size_t n;		      /* requests in it */
	bool writes;
	const struct chain_watch *watch; /* NULL: nobody */
};

/* Asks privd itself, which never waits for anything. False: no answer. Its data are the caller's. */
static bool ask_itself(struct privd *p, enum privd_op op, struct pending *mine) REQUIRES(lock)
{
	struct privd_request request = privd_request_new(op, NULL);
	struct timespec until = time_in_ms(ALIVE_MS);
	bool late;

	*mine = (struct pending){ .data = -1, .state = WAITING };
	condition_init(&mine->done);
	mine->id = request.header.id = next_id(p);
	mine->next = p->pending;
	p->pending = mine;
	late = send(p->fd, &request, sizeof(request), MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && errno == EAGAIN;
	while (mine->state == WAITING && !late)
		late = lock_wait_until(&lock, &mine->done, &until) == ETIMEDOUT;
	take_out(p, mine);
	pthread_cond_destroy(&mine->done);
	return mine->state != WAITING;
}

/* Which request of the chain is one of those that live? n: none. */
static size_t find_live(const struct privd_chain *chain, int live, size_t n_live)
{
	struct privd_child child;

	for (size_t i = 0; i < n_live; i++) {
		if (pread(live, &child, sizeof(child), (off_t)(i * sizeof(child))) != (ssize_t)sizeof(child))
			break;
		for (size_t k = 0; k < chain->n; k++)
			if (chain->request[k].header.id == child.id)
				return k;
	}
	return chain->n;
}

/* Does privd answer at all? Its children may take their time. How far a chain is is told on the way. */
static bool is_alive(struct privd *p, const struct asked *asked) REQUIRES(lock)
{
	bool chain = asked->message->op == PRIVD_CHAIN && asked->watch, alive;
	struct pending mine;
	size_t at = asked->n;

	if (p->fd < 0)
		return true;	/* who waits for it is told that it is lost */
	alive = ask_itself(p, chain ? PRIVD_LIVE : PRIVD_PING, &mine);
	if (chain && mine.state == ANSWERED && mine.data >= 0)
		at = find_live((const void *)asked->message, mine.data,
			       mine.reply.reply[0].length / sizeof(struct privd_child));
	cleanup_closep(&mine.data);
	if (at == asked->n)
		return alive;
	lock_give(&lock);
	asked->watch->at(asked->watch->data, at);
	lock_take(&lock);
	return alive;
}

static const char *name_of(const struct asked *asked)
{
	return asked->message->op == PRIVD_CHAIN ? "several operations" : privd_op_name(asked->message->op);
}

static int await_reply(struct privd *p, struct pending *me, const struct asked *asked,
		       struct error *err) REQUIRES(lock)
{
	uint64_t until = time_monotonic_ms() + asked->n * REPLY_MS;
	const unsigned patience_ms = asked->watch ? WATCH_MS : ALIVE_MS;
	struct timespec patience = time_in_ms(patience_ms);

	while (me->state == WAITING) {
		if (lock_wait_until(&lock, &me->done, &patience) != ETIMEDOUT)
			continue;
		if (!is_alive(p, asked) || time_monotonic_ms() >= until)
			break;
		patience = time_in_ms(patience_ms);
	}
	if (me->state == ANSWERED)
		return 0;
	error_set(err, ERROR_HELPER,
		  "horcrux-privd %s during %s, so it is not known whether it was done",
		  me->state == LOST ? "died" : "did not answer", name_of(asked));
	return error_hint(err, "what the host looks like now is read again by itself; "
			       "`journalctl -u horcrux-privd` says more");
}

/* It is under way from now on, until forget() of it. 0, or -1: it could not be sent. */
static int send_off(struct privd *p, const struct asked *asked, struct pending *me, struct error *err)
	REQUIRES(lock)
{
	int r;

	condition_init(&me->done);
	if (!asked->message->id)
		asked->message->id = next_id(p);
	me->id = asked->message->id;
	me->next = p->pending;
	p->pending = me;
	r = put(p, asked->message, err);
	if (!r)
		me->state = WAITING;
	return r;
}

/* What comes now is nobody's any more. */
static void forget(struct privd *p, struct pending *me) REQUIRES(lock)
{
	take_out(p, me);
	pthread_cond_destroy(&me->done);
}

/* Sends it and waits. 0 with me->reply, or -1. */
static int exchange(struct privd *p, const struct asked *asked, struct pending *me, struct error *err)
{
	int r;

	lock_take(&lock);
	r = send_off(p, asked, me, err);
	if (!r && asked->writes)
		fault_inside();
	if (!r)
		r = await_reply(p, me, asked, err);
	forget(p, me);
	lock_give(&lock);
	return r;
}

/* What could not be read, in privd's words. */
static const char *reason(int data, uint64_t length, char *buf, size_t size)
{
	ssize_t n = data >= 0 && length < size ? pread(data, buf, (size_t)length, 0) : 0;

	buf[n > 0 ? n : 0] = '\0';
	return buf;
}

static struct privd_chain *chain_new(struct privd *p, const struct privd_request *requests, size_t n)
{
	struct privd_chain *chain = malloc(privd_chain_size(n));	/* of a struct that has room for more */

	if (!chain)
		abort();
	chain->header = (struct privd_header){ PRIVD_MAGIC, PRIVD_VERSION, PRIVD_CHAIN, 0,
					       (uint32_t)privd_chain_size(n), 0 };
	chain->n = (uint32_t)n;
	chain->zero = 0;
	memcpy(chain->request, requests, n * sizeof(*requests));
	for (size_t i = 0; i < n; i++)
		chain->request[i].header.id = privd_next_id(p);
	return chain;
}

/* Nothing was written, and whoever asks for it alone can say more, or knows another way. */
static bool goes_alone(const struct privd_reply *reply)
{
	switch (reply->status) {
	case PRIVD_HELD:
	case PRIVD_BUSY:
	case PRIVD_NO_DRIVER:
		return true;
	case PRIVD_FAILED:	/* it left that driver meanwhile */
		return reply->header.op == PRIVD_VIABLE ||
		       (reply->header.op == PRIVD_UNBIND && reply->error == ENODEV);
	default:
		return reply->header.op == PRIVD_VIABLE;
	}
}

/* That reply `at` is about. Where none was begun it need not be the first. */
static const struct privd_request *request_of(const struct privd_chain *chain,
					      const struct privd_chain_reply *reply, size_t at)
{
	for (size_t i = 0; i < chain->n; i++)
		if (chain->request[i].header.id == reply->reply[at].header.id)
			return &chain->request[i];
	return &chain->request[at];
}

/* The first that is not done says why. What a request reads is not wanted here. */
static int judge_chain(const struct privd_chain *chain, const struct privd_chain_reply *reply,
		       size_t *done, size_t *begun, struct error *err)
{
	*begun = reply->n;
	while (*done < reply->n && reply->reply[*done].status == PRIVD_OK)
		++*done;
	if (*done < reply->n && goes_alone(&reply->reply[*done])) {
		*begun = *done;
		return 1;
	}
	if (*done < reply->n)
		return privd_error(request_of(chain, reply, *done), &reply->reply[*done], "", err);
	if (*done < chain->n)
		return error_set(err, ERROR_SYSTEM, "horcrux-privd did not begin all that it was asked for");
	return 0;
}

int privd_chain(struct privd *p, const struct privd_request *requests, size_t n,
		const struct chain_watch *watch, size_t *done, size_t *begun, struct error *err)
{
	CLEAN_FREE struct privd_chain *chain = chain_new(p, requests, n);
	const struct asked asked = { &chain->header, n, true, watch };
	struct pending me = { .data = -1 };
	int r = exchange(p, &asked, &me, err);

	*done = 0;
	*begun = me.state == UNSENT ? 0 : n;
	if (!r && me.reply.n > n)
		r = error_set(err, ERROR_HELPER, "horcrux-privd answered what it was not asked");
	if (!r)
		r = judge_chain(chain, &me.reply, done, begun, err);
	cleanup_closep(&me.data);
	return r;
}

/* ---- asking ahead ---- */

static _Thread_local struct {
	struct privd *privd;
	struct privd_chain *chain; /* NULL: nothing was asked for ahead */
	struct pending me;
	bool under_way;
} ahead;

void privd_ahead(struct privd *p, const struct privd_request *requests, size_t n)
{
	struct asked asked = { .n = n };
	int r;

	privd_ahead_end();
	/* who wants it then waits for a connection, and not twice */
	if (!n || !privd_connected(p))
		return;
	ahead.privd = p;
	ahead.chain = chain_new(p, requests, n);
	ahead.me = (struct pending){ .data = -1 };
	asked.message = &ahead.chain->header;
	lock_take(&lock);
	r = send_off(p, &asked, &ahead.me, NULL);
	if (r < 0)
		forget(p, &ahead.me);
	lock_give(&lock);
	ahead.under_way = !r;
	if (r < 0)
		privd_ahead_end();
}

/* True: there is an answer to it. */
static bool ahead_is_here(void)
{
	struct asked asked = { .n = ahead.chain ? ahead.chain->n : 0 };
	struct privd *p = ahead.privd;
	int r;

	if (!ahead.chain || !ahead.under_way)
		return ahead.chain;
	asked.message = &ahead.chain->header;
	lock_take(&lock);
	r = await_reply(p, &ahead.me, &asked, NULL);
	forget(p, &ahead.me);
	lock_give(&lock);
	ahead.under_way = false;
	if (r < 0)
		privd_ahead_end();
	return !r;
}

void privd_ahead_wait(void)
{
	ahead_is_here();
}

void privd_ahead_end(void)
{
	struct privd *p = ahead.privd;

	if (!ahead.chain)
		return;
	if (ahead.under_way) {
		lock_take(&lock);
		forget(p, &ahead.me);
		lock_give(&lock);
		ahead.under_way = false;
	}
	cleanup_closep(&ahead.me.data);
	free(ahead.chain);
	ahead.chain = NULL;
}

/* The same but for its id. */
static bool same_request(const struct privd_request *a, const struct privd_request *b)
{
	const size_t from = offsetof(struct privd_request, address);

	return a->header.op == b->header.op &&
	       !memcmp((const char *)a + from, (const char *)b + from, sizeof(*a) - from);
}

/* Which of them it is; as many as there are: none. */
static uint32_t which_ahead(const struct privd_request *request)
{
	uint32_t i = 0;

	while (ahead.chain && i < ahead.chain->n && !same_request(&ahead.chain->request[i], request))
		i++;
	return i;
}

/* True: it was asked for ahead, and done; what was not is asked for again, and says why. */
static bool told_ahead(const struct privd_request *request, struct privd_reply *reply,
		       struct privd_data *data)
{
	uint32_t which = which_ahead(request);
	off_t at = 0;

	if (!ahead.chain || which == ahead.chain->n || !ahead_is_here() || which >= ahead.me.reply.n)
		return false;
	*reply = ahead.me.reply.reply[which];
	if (reply->status != PRIVD_OK)
		return false;
	for (uint32_t i = 0; i < which; i++)
		at += (off_t)ahead.me.reply.reply[i].length;
	if (data && reply->length)
		*data = (struct privd_data){ fcntl(ahead.me.data, F_DUPFD_CLOEXEC, 0), at };
	return true;
}

int privd_call_data(struct privd *p, const struct privd_request *request, struct privd_reply *reply,
		    struct privd_data *data, struct error *err)
{
	struct privd_request sent = *request;
	const struct asked asked = { &sent.header, 1, privd_op_writes(request->header.op), NULL };
	struct pending me = { .data = -1 };
	char why[sizeof(err->message)];
	int r;

	if (told_ahead(request, reply, data))
		return 0;
	r = exchange(p, &asked, &me, err);
	/* what only reads is asked of the next one too */
	if (r < 0 && me.state == LOST && !asked.writes) {
		me = (struct pending){ .data = -1 };
		sent.header.id = request->header.id;
		r = exchange(p, &asked, &me, err);
	}
	if (!r)
		*reply = me.reply.reply[0];
	if (!r && reply->status != PRIVD_OK)
		r = privd_error(request, reply, reason(me.data, reply->length, why, sizeof(why)), err);
	if (!r && data)
		*data = (struct privd_data){ .fd = TAKE_FD(me.data) };
	cleanup_closep(&me.data);
	return r;
}

int privd_call(struct privd *p, const struct privd_request *request, struct privd_reply *reply,
	       struct error *err)
{
	return privd_call_data(p, request, reply, NULL, err);
}
