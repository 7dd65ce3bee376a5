/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemon's end of the socket to privd, against a privd that is played here: replies out of
 * order, long answers, late news, and a privd that dies and comes back.
 */
#include "unit.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/id.h"
#include "host/critical.h"
#include "host/holders.h"
#include "plan/privd_client.h"

static const struct pci_address card = { 0, 1, 0, 0 };

/* The other end. */

struct fixture {
	struct privd *privd;
	int peer;
	int late_events;
	struct privd_reply last_late;
	int connections;
	pthread_mutex_t lock;
};

static void on_late(void *data, const struct privd_reply *reply)
{
	struct fixture *f = data;

	pthread_mutex_lock(&f->lock);
	f->last_late = *reply;
	f->late_events++;
	pthread_mutex_unlock(&f->lock);
}

static void on_connected(void *data)
{
	struct fixture *f = data;

	pthread_mutex_lock(&f->lock);
	f->connections++;
	pthread_mutex_unlock(&f->lock);
}

static int count(struct fixture *f, const int *what)
{
	int n;

	pthread_mutex_lock(&f->lock);
	n = *what;
	pthread_mutex_unlock(&f->lock);
	return n;
}

static void await(struct fixture *f, const int *what, int n)
{
	for (int i = 0; i < 5000 && count(f, what) < n; i++)
		usleep(1000);
	assert_true(count(f, what) >= n);
}

static void plug(struct fixture *f)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	f->peer = pair[0];
	privd_attach(f->privd, pair[1]);
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct privd_events events = { f, on_late, on_connected };
	struct error err;

	pthread_mutex_init(&f->lock, NULL);
	f->privd = privd_new(NULL, &events, &err);
	assert_non_null(f->privd);
	plug(f);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	privd_free(f->privd);
	if (f->peer >= 0)
		close(f->peer);
	pthread_mutex_destroy(&f->lock);
	free(f);
	return 0;
}

static struct privd_request take(int peer)
{
	struct privd_request request;
	char bytes[sizeof(request) + 1];
	ssize_t n = recv(peer, bytes, sizeof(bytes), 0);

	assert_int_equal(n, sizeof(request));
	assert_null(privd_request_check(bytes, (size_t)n, &request));
	return request;
}

static struct privd_reply answer_to(const struct privd_request *request, enum privd_status status,
				    int error)
{
	struct privd_reply reply = {
		.header = { PRIVD_MAGIC, PRIVD_VERSION, request->header.op, request->header.id,
			    sizeof(reply), 0 },
		.address = request->address,
		.status = (uint16_t)status,
		.error = error,
	};

	return reply;
}

static void give(int peer, const struct privd_reply *reply)
{
	assert_int_equal(send(peer, reply, sizeof(*reply), MSG_NOSIGNAL), sizeof(*reply));
}

static void give_data(int peer, struct privd_reply *reply, const void *bytes, size_t n)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct iovec part = { reply, sizeof(*reply) };
	struct msghdr message = { .msg_iov = &part,
				  .msg_iovlen = 1,
				  .msg_control = &control,
				  .msg_controllen = sizeof(control) };
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	int fd = memfd_create("test", MFD_CLOEXEC);

	assert_int_equal(write(fd, bytes, n), n);
	reply->length = n;
	*header = (struct cmsghdr){ CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS };
	memcpy(CMSG_DATA(header), &fd, sizeof(fd));
	assert_int_equal(sendmsg(peer, &message, 0), sizeof(*reply));
	close(fd);
}

/* A call in a thread of its own. */

struct call {
	pthread_t thread;
	struct privd *privd;
	struct pci_address address;
	const char *driver;
	int r;
	struct error err;
};

static void *run_bind(void *data)
{
	struct call *call = data;

	call->r = privd_bind(call->privd, call->address, call->driver, &call->err);
	return NULL;
}

static void begin(struct fixture *f, struct call *call, uint8_t bus, const char *driver)
{
	*call = (struct call){ .privd = f->privd, .address = { 0, bus, 0, 0 }, .driver = driver };
	assert_int_equal(pthread_create(&call->thread, NULL, run_bind, call), 0);
}

static void finish(struct call *call)
{
	assert_int_equal(pthread_join(call->thread, NULL), 0);
}

static void test_out_of_order(void **state)
{
	enum { CALLS = 16 };
	struct fixture *f = *state;
	struct call calls[CALLS];
	struct privd_request requests[CALLS];

	for (int i = 0; i < CALLS; i++)
		begin(f, &calls[i], (uint8_t)i, "vfio-pci");
	for (int i = 0; i < CALLS; i++)
		requests[i] = take(f->peer);
	for (int i = CALLS - 1; i >= 0; i--) {
		/* odd buses fail, so a mixed-up reply would show */
		struct privd_reply reply = answer_to(
			&requests[i], requests[i].address.bus & 1 ? PRIVD_FAILED : PRIVD_OK, EBUSY);

		assert_int_equal(requests[i].header.op, PRIVD_BIND);
		assert_string_equal(requests[i].name, "vfio-pci");
		for (int k = 0; k < i; k++)
			assert_true(requests[k].header.id != requests[i].header.id);
		give(f->peer, &reply);
	}
	for (int i = 0; i < CALLS; i++) {
		finish(&calls[i]);
		assert_int_equal(calls[i].r, i & 1 ? -1 : 0);
	}
}

static void test_it_dies(void **state)
{
	struct fixture *f = *state;
	struct call calls[2];
	struct privd_reply reply;
	struct privd_request request;

	begin(f, &calls[0], 1, "vfio-pci");
	begin(f, &calls[1], 2, "vfio-pci");
	take(f->peer);
	take(f->peer);
	close(f->peer);
	for (int i = 0; i < 2; i++) {
		finish(&calls[i]);
		assert_int_equal(calls[i].r, -1);
		assert_int_equal(calls[i].err.code, ERROR_HELPER);
		assert_non_null(strstr(calls[i].err.message, "died"));
	}
	assert_false(privd_connected(f->privd));
	begin(f, &calls[0], 3, "vfio-pci"); /* waits for the next one */
	plug(f);
	request = take(f->peer);
	reply = answer_to(&request, PRIVD_OK, 0);
	give(f->peer, &reply);
	finish(&calls[0]);
	assert_int_equal(calls[0].r, 0);
	await(f, &f->connections, 2);
}

static void test_nobody_there(void **state)
{
	struct fixture *f = *state;
	uint64_t begun = time_monotonic_ms();
	struct error err;

	close(f->peer);
	f->peer = -1;
	while (privd_connected(f->privd))
		usleep(1000);
	assert_int_equal(privd_ping(f->privd, NULL, &err), -1);
	assert_int_equal(err.code, ERROR_HELPER);
	assert_true(err.hint[0]);
	assert_in_range(time_monotonic_ms() - begun, 1000, 10000);
}

static void test_freed_under_a_call(void **state)
{
	struct fixture *f = *state;
	struct call call;
	struct privd_events events = { f, on_late, on_connected };

	begin(f, &call, 1, "vfio-pci");
	take(f->peer);
	privd_free(f->privd);
	finish(&call);
	assert_int_equal(call.err.code, ERROR_HELPER);
	f->privd = privd_new(NULL, &events, NULL);
}

static void test_late(void **state)
{
	struct fixture *f = *state;
	struct privd_request request = privd_request_new(PRIVD_UNBIND, &card);
	struct privd_reply reply;

	request.header.id = 77;
	reply = answer_to(&request, PRIVD_OK, 0);
	reply.header.op = PRIVD_LATE;
	reply.ended = PRIVD_UNBIND;
	give(f->peer, &reply);
	await(f, &f->late_events, 1);
	assert_int_equal(f->last_late.header.id, 77);
	assert_int_equal(f->last_late.ended, PRIVD_UNBIND);
	assert_true(pci_address_equal(privd_address_in(f->last_late.address), card));
}

static void test_nonsense_ends_the_connection(void **state)
{
	struct fixture *f = *state;
	struct call call;

	begin(f, &call, 1, "vfio-pci");
	take(f->peer);
	assert_int_equal(send(f->peer, "nonsense", 8, 0), 8);
	finish(&call);
	assert_int_equal(call.err.code, ERROR_HELPER);
}

/* A privd that answers once with these bytes, in a thread of its own. */
struct player {
	pthread_t thread;
	int peer;
	enum privd_status status;
	const void *bytes;
	size_t n;
	uint64_t lie; /* length to claim instead; 0: the truth */
	struct privd_request request;
};

static void *play(void *data)
{
	struct player *p = data;
	struct privd_reply reply;

	p->request = take(p->peer);
	reply = answer_to(&p->request, p->status, 0);
	reply.value = 5;
	if (p->lie) {
		reply.length = p->lie;
		give(p->peer, &reply);
	} else if (p->n) {
		give_data(p->peer, &reply, p->bytes, p->n);
	} else {
		give(p->peer, &reply);
	}
	return NULL;
}

static void play_begin(struct fixture *f, struct player *p)
{
	p->peer = f->peer;
	assert_int_equal(pthread_create(&p->thread, NULL, play, p), 0);
}

static void play_end(struct player *p)
{
	assert_int_equal(pthread_join(p->thread, NULL), 0);
}

static void test_long_answers(void **state)
{
	CLEANUP(arena_freep) struct arena *arena = arena_new();
	struct privd_holder holders[2] = { { .pid = 900, .address = { 0, 1, 0, 0, 1 } } };
	struct player player = { .bytes = holders, .n = sizeof(holders) };
	struct fixture *f = *state;
	struct list addresses = { 0 }, found = { 0 };
	const struct holder *holder;

	memcpy(holders[0].kind, "process", 7);
	memset(holders[0].name, 'x', sizeof(holders[0].name)); /* not even an end */
	*list_add(arena, &addresses, struct pci_address) = card;
	play_begin(f, &player);
	assert_int_equal(privd_holders(f->privd, &addresses, arena, &found, NULL), 2);
	play_end(&player);
	holder = found.items;
	assert_int_equal(holder->pid, 900);
	assert_string_equal(holder->kind, "process");
	assert_int_equal(strlen(holder->name), sizeof(holders[0].name));
	assert_null(holder->node);
	assert_int_equal(player.request.n_addresses, 1);
}

static void test_bad_long_answers(void **state)
{
	CLEANUP(arena_freep) struct arena *arena = arena_new();
	struct fixture *f = *state;
	struct player cut = { .bytes = "abc", .n = 3 }, without = { .lie = 40 },
		      huge = { .lie = UINT64_MAX };
	struct list children;
	struct error err;

	play_begin(f, &cut);
	assert_int_equal(privd_live(f->privd, arena, &children, &err), -1);
	play_end(&cut);
	assert_int_equal(err.code, ERROR_HELPER);
	play_begin(f, &without);
	assert_int_equal(privd_live(f->privd, arena, &children, &err), -1);
	play_end(&without);
	assert_int_equal(err.code, ERROR_HELPER);
	play_begin(f, &huge);
	assert_int_equal(privd_live(f->privd, arena, &children, &err), -1);
	play_end(&huge);
	assert_int_equal(err.code, ERROR_HELPER);
}

static void test_why_unreadable(void **state)
{
	CLEANUP(arena_freep) struct arena *arena = arena_new();
	struct player player = { .status = PRIVD_UNREADABLE, .bytes = "/proc is closed", .n = 15 };
	struct class_filter filter = { .extra = { 0x0380, 0x1200 }, .n_extra = 2 };
	struct fixture *f = *state;
	struct list critical;
	struct error err;

	play_begin(f, &player);
	assert_int_equal(privd_critical(f->privd, &filter, arena, &critical, &err), -1);
	play_end(&player);
	assert_int_equal(err.code, ERROR_SYSTEM);
	assert_non_null(strstr(err.message, "/proc is closed"));
	assert_int_equal(player.request.n_classes, 2);
	assert_int_equal(player.request.classes[1], 0x1200);
}

static void test_carried(void **state)
{
	CLEANUP(arena_freep) struct arena *arena = arena_new();
	struct privd_critical facts[1] = { { .address = { 0, 1, 0, 0, 1 }, .code = "critical" } };
	struct player player = { .bytes = facts, .n = sizeof(facts) };
	struct list addresses = { 0 }, found = { 0 };
	struct fixture *f = *state;

	assert_int_equal(privd_carried(f->privd, &addresses, arena, &found, NULL), 0);
	*list_add(arena, &addresses, struct pci_address) = card;
	play_begin(f, &player);
	assert_int_equal(privd_carried(f->privd, &addresses, arena, &found, NULL), 1);
	play_end(&player);
	assert_string_equal(((struct critical *)found.items)->code, "critical");
	assert_int_equal(player.request.n_addresses, 1);
	assert_int_equal(player.request.n_classes, 0);
}

static void test_bad_names_stay_here(void **state)
{
	struct fixture *f = *state;
	struct pollfd p = { .fd = f->peer, .events = POLLIN };
	struct error err;

	assert_int_equal(privd_bind(f->privd, card, "../x", &err), -1);
	assert_int_equal(err.code, ERROR_INVALID_VALUE);
	assert_int_equal(privd_module(f->privd, "0123456789012345678901234567890123456789", &err),
			 -1);
	assert_int_equal(err.code, ERROR_INVALID_VALUE);
	assert_int_equal(privd_mdev_remove(f->privd, card, "no-uuid", &err), -1);
	assert_int_equal(err.code, ERROR_INVALID_VALUE);
	assert_int_equal(privd_vfio_status(f->privd, -1, NULL, &err), -1);
	assert_int_equal(err.code, ERROR_INVALID_VALUE);
	assert_int_equal(poll(&p, 1, 0), 0);
}

/* A path, as in production: connects, and again after the helper was restarted. */
static void test_path(void **state)
{
	char directory[] = "/tmp/privd-client-XXXXXX";
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	struct fixture f = { .peer = -1, .lock = PTHREAD_MUTEX_INITIALIZER };
	struct privd_events events = { &f, on_late, on_connected };
	int64_t pid = 0;

	(void)state;
	assert_non_null(mkdtemp(directory));
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/s", directory);
	f.privd = privd_new(address.sun_path, &events, NULL); /* nobody listens there yet */
	assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(listener, 4), 0);
	for (int i = 0; i < 3; i++) {
		struct player player = { 0 };

		f.peer = accept(listener, NULL, NULL);
		assert_true(f.peer >= 0);
		play_begin(&f, &player);
		assert_int_equal(privd_ping(f.privd, &pid, NULL), 0);
		play_end(&player);
		assert_int_equal(pid, 5);
		close(f.peer);
	}
	await(&f, &f.connections, 3);
	privd_free(f.privd);
	close(listener);
	unlink(address.sun_path);
	rmdir(directory);
}

/* ---- chains ---- */

struct chain_call {
	pthread_t thread;
	struct fixture *f;
	struct privd_request requests[3];
	atomic_int told;	/* 1 + the one under way that the watch was told last */
	size_t done, begun;
	int r;
	struct error err;
};

static void told(void *data, size_t i)
{
	atomic_store(&((struct chain_call *)data)->told, (int)i + 1);
}

static void *run_chain(void *data)
{
	struct chain_call *call = data;
	const struct chain_watch watch = { told, call };

	call->done = call->begun = 99;
	call->r = privd_chain(call->f->privd, call->requests, ARRAY_SIZE(call->requests), &watch, &call->done,
			      &call->begun, &call->err);
	return NULL;
}

/* Three unbinds of buses 1 to 3; `op` for the second. */
static void begin_chain(struct fixture *f, struct chain_call *call, enum privd_op op)
{
	*call = (struct chain_call){ .f = f };
	for (size_t i = 0; i < ARRAY_SIZE(call->requests); i++)
		call->requests[i] = privd_request_new(i == 1 ? op : PRIVD_UNBIND,
						      &(struct pci_address){ 0, (uint8_t)(i + 1), 0, 0 });
	if (op == PRIVD_BIND)
		memcpy(call->requests[1].name, "vfio-pci", 8);
	if (op == PRIVD_VIABLE) {
		call->requests[1].addresses[call->requests[1].n_addresses++] = call->requests[1].address;
		call->requests[1].address = (struct privd_address){ 0 };
	}
	assert_int_equal(pthread_create(&call->thread, NULL, run_chain, call), 0);
}

static void end_chain(struct chain_call *call, int r, size_t done, size_t begun)
{
	assert_int_equal(pthread_join(call->thread, NULL), 0);
	assert_int_equal(call->r, r);
	assert_int_equal(call->done, done);
	assert_int_equal(call->begun, begun);
}

static struct privd_chain take_chain(int peer)
{
	static char bytes[sizeof(struct privd_chain) + 1];
	struct privd_chain chain;
	ssize_t n = recv(peer, bytes, sizeof(bytes), 0);

	assert_true(n > 0);
	assert_null(privd_message_check(bytes, (size_t)n, &chain));
	return chain;
}

/* To the first n of it: all done, but the last, which came to that. */
static struct privd_chain_reply chain_answer(const struct privd_chain *chain, size_t n,
					     enum privd_status status, int error)
{
	struct privd_chain_reply reply = { .header = chain->header, .n = (uint32_t)n };

	reply.header.size = (uint32_t)privd_chain_reply_size(n);
	for (size_t i = 0; i < n; i++)
		reply.reply[i] = i + 1 < n ? answer_to(&chain->request[i], PRIVD_OK, 0)
					   : answer_to(&chain->request[i < chain->n ? i : 0], status, error);
	return reply;
}

static void give_chain(int peer, const struct privd_chain_reply *reply)
{
	assert_int_equal(send(peer, reply, reply->header.size, MSG_NOSIGNAL), reply->header.size);
}

static void test_a_chain_is_done(void **state)
{
	struct fixture *f = *state;
	struct privd_chain_reply reply;
	struct chain_call call;
	struct privd_chain chain;

	begin_chain(f, &call, PRIVD_BIND);
	chain = take_chain(f->peer);
	assert_int_equal(chain.header.op, PRIVD_CHAIN);
	assert_int_equal(chain.n, 3);
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(chain.request[i].header.op, call.requests[i].header.op);
		assert_int_equal(chain.request[i].address.bus, i + 1);
		assert_true(chain.request[i].header.id != chain.header.id);
	}
	assert_string_equal(chain.request[1].name, "vfio-pci");
	reply = chain_answer(&chain, 3, PRIVD_OK, 0);
	give_chain(f->peer, &reply);
	end_chain(&call, 0, 3, 3);
}

static void test_a_chain_that_ends_early(void **state)
{
	static const struct {
		enum privd_op op;
		enum privd_status status;
		int error;
		int r;	/* 1: that one goes its own way */
		enum error_code code;
	} rows[] = {
		{ PRIVD_UNBIND, PRIVD_FAILED, EBUSY, -1, ERROR_CONFLICT },
		{ PRIVD_UNBIND, PRIVD_STUCK, 0, -1, ERROR_STUCK },
		{ PRIVD_UNBIND, PRIVD_DIED, 0, -1, ERROR_HELPER },
		{ PRIVD_UNBIND, PRIVD_MISMATCH, 0, -1, ERROR_PROOF_FAILED },
		{ PRIVD_UNBIND, PRIVD_NO_DEVICE, 0, -1, ERROR_GONE },
		{ PRIVD_UNBIND, PRIVD_NO_ANSWER, 0, -1, ERROR_NO_ANSWER },
		{ PRIVD_UNBIND, PRIVD_HELD, 0, 1, ERROR_NONE },
		{ PRIVD_UNBIND, PRIVD_BUSY, 0, 1, ERROR_NONE },
		{ PRIVD_UNBIND, PRIVD_NO_DRIVER, 0, 1, ERROR_NONE },
		{ PRIVD_UNBIND, PRIVD_FAILED, ENODEV, 1, ERROR_NONE },
		{ PRIVD_BIND, PRIVD_FAILED, ENODEV, -1, ERROR_CONFLICT },
		{ PRIVD_VIABLE, PRIVD_MISMATCH, 0, 1, ERROR_NONE },
		{ PRIVD_VIABLE, PRIVD_FAILED, ENOENT, 1, ERROR_NONE },
	};
	struct fixture *f = *state;
	struct privd_chain_reply reply;
	struct chain_call call;
	struct privd_chain chain;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		begin_chain(f, &call, rows[i].op);
		chain = take_chain(f->peer);
		reply = chain_answer(&chain, 2, rows[i].status, rows[i].error);
		give_chain(f->peer, &reply);
		end_chain(&call, rows[i].r, 1, rows[i].r == 1 ? 1 : 2);
		assert_int_equal(call.err.code, rows[i].code);
		if (rows[i].r < 0)
			assert_non_null(strstr(call.err.message, "0000:02:00.0"));
	}
}

/* None was begun, because of the last: it is that one that is spoken of. */
static void test_a_chain_that_cannot_begin(void **state)
{
	struct fixture *f = *state;
	struct privd_chain_reply reply;
	struct chain_call call;
	struct privd_chain chain;

	begin_chain(f, &call, PRIVD_UNBIND);
	chain = take_chain(f->peer);
	reply = chain_answer(&chain, 1, PRIVD_STUCK, 0);
	reply.reply[0] = answer_to(&chain.request[2], PRIVD_STUCK, 0);
	give_chain(f->peer, &reply);
	end_chain(&call, -1, 0, 1);
	assert_int_equal(call.err.code, ERROR_STUCK);
	assert_non_null(strstr(call.err.message, "0000:03:00.0"));
}

/* Of all that it was asked for, it says less, more, or what is no reply. */
static void test_a_chain_is_answered_oddly(void **state)
{
	struct fixture *f = *state;
	struct privd_chain_reply reply;
	struct chain_call call;
	struct privd_chain chain;

	begin_chain(f, &call, PRIVD_UNBIND);
	chain = take_chain(f->peer);
	reply = chain_answer(&chain, 2, PRIVD_OK, 0);
	give_chain(f->peer, &reply);
	end_chain(&call, -1, 2, 2);
	assert_int_equal(call.err.code, ERROR_SYSTEM);
	begin_chain(f, &call, PRIVD_UNBIND);
	chain = take_chain(f->peer);
	reply = chain_answer(&chain, 4, PRIVD_OK, 0);
	give_chain(f->peer, &reply);
	end_chain(&call, -1, 0, 3);
	assert_int_equal(call.err.code, ERROR_HELPER);
	for (int way = 0; way < 3; way++) {
		begin_chain(f, &call, PRIVD_UNBIND);
		chain = take_chain(f->peer);
		reply = chain_answer(&chain, way ? 3 : 0, PRIVD_OK, 0);
		reply.n += way == 1;	/* more than there is room for */
		reply.header.size -= way == 2 ? 8 : 0;
		give_chain(f->peer, &reply);
		end_chain(&call, -1, 0, 3);
		assert_int_equal(call.err.code, ERROR_HELPER);
		close(f->peer);
		plug(f);
	}
}

/* Nobody knows how much of it was begun; of what was never sent everybody does. */
static void test_a_chain_is_lost(void **state)
{
	struct fixture *f = *state;
	struct chain_call call;

	begin_chain(f, &call, PRIVD_UNBIND);
	take_chain(f->peer);
	close(f->peer);
	end_chain(&call, -1, 0, 3);
	assert_int_equal(call.err.code, ERROR_HELPER);
	assert_non_null(strstr(call.err.message, "several operations"));
	f->peer = -1;
	while (privd_connected(f->privd))
		usleep(1000);
	begin_chain(f, &call, PRIVD_UNBIND);
	end_chain(&call, -1, 0, 0);
	assert_int_equal(call.err.code, ERROR_HELPER);
}

/* While it takes its time privd is asked which one it is in. */
static void test_a_slow_chain_is_watched(void **state)
{
	struct fixture *f = *state;
	struct privd_child live[2] = { { .id = 1 } };
	struct privd_chain_reply reply;
	struct privd_request asked;
	struct privd_reply answer;
	struct chain_call call;
	struct privd_chain chain;

	begin_chain(f, &call, PRIVD_UNBIND);
	chain = take_chain(f->peer);
	for (int i = 1; i <= 2; i++) {
		live[1].id = chain.request[i].header.id;
		asked = take(f->peer);
		assert_int_equal(asked.header.op, PRIVD_LIVE);
		answer = answer_to(&asked, PRIVD_OK, 0);
		give_data(f->peer, &answer, live, sizeof(live));
		for (int n = 0; n < 10000 && atomic_load(&call.told) != i + 1; n++)
			usleep(1000);
		assert_int_equal(atomic_load(&call.told), i + 1);
	}
	asked = take(f->peer);	/* none of those that live is of this chain: nothing is told */
	live[1].id = 2;
	answer = answer_to(&asked, PRIVD_OK, 0);
	give_data(f->peer, &answer, live, sizeof(live));
	reply = chain_answer(&chain, 3, PRIVD_OK, 0);
	give_chain(f->peer, &reply);
	end_chain(&call, 0, 3, 3);
	assert_int_equal(atomic_load(&call.told), 3);
}

/* ---- asking ahead ---- */

/* The peer answers one chain: texts of overrides, and a failed read between them. */
struct ahead_player {
	pthread_t thread;
	int peer;
};

static void *play_ahead(void *data)
{
	static const char texts[] = "vfio-pciradeon";
	struct ahead_player *p = data;
	struct privd_chain chain = take_chain(p->peer);
	struct privd_chain_reply reply = chain_answer(&chain, 4, PRIVD_OK, 0);
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct iovec part = { &reply, reply.header.size };
	struct msghdr message = { .msg_iov = &part,
				  .msg_iovlen = 1,
				  .msg_control = &control,
				  .msg_controllen = sizeof(control) };
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	int fd = memfd_create("test", MFD_CLOEXEC);

	assert_int_equal(chain.n, 4);
	assert_int_equal(write(fd, texts, 14), 14);
	reply.reply[0].length = 8;
	reply.reply[1].status = PRIVD_FAILED;
	reply.reply[1].error = EPERM;
	reply.reply[2].value = PRIVD_GROUP_VIABLE;
	reply.reply[3].length = 6;
	*header = (struct cmsghdr){ CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS };
	memcpy(CMSG_DATA(header), &fd, sizeof(fd));
	assert_int_equal(sendmsg(p->peer, &message, 0), reply.header.size);
	close(fd);
	return NULL;
}

static const struct pci_address second_card = { 0, 2, 0, 0 };

static void ask_ahead(struct fixture *f)
{
	struct privd_request requests[] = { privd_ask_override(card), privd_ask_iomem(), privd_ask_vfio(7),
					    privd_ask_override(second_card) };
	struct ahead_player player = { .peer = f->peer };

	await(f, &f->connections, 1);
	assert_int_equal(pthread_create(&player.thread, NULL, play_ahead, &player), 0);
	privd_ahead(f->privd, requests, ARRAY_SIZE(requests));
	assert_int_equal(pthread_join(player.thread, NULL), 0);
}

static void assert_silent(struct fixture *f)
{
	struct pollfd p = { .fd = f->peer, .events = POLLIN };

	assert_int_equal(poll(&p, 1, 0), 0);
}

static const char *override_of(struct fixture *f, struct arena *arena, struct pci_address address)
{
	const char *text = NULL;

	assert_int_equal(privd_read_override(f->privd, address, arena, &text, NULL), 0);
	return text;
}

static void test_what_was_asked_ahead_is_known(void **state)
{
	CLEANUP(arena_freep) struct arena *arena = arena_new();
	struct fixture *f = *state;
	unsigned flags = 0;

	ask_ahead(f);
	for (int i = 0; i < 2; i++) {	/* as often as it is wanted, in any order */
		assert_string_equal(override_of(f, arena, second_card), "radeon");
		assert_string_equal(override_of(f, arena, card), "vfio-pci");
	}
	assert_int_equal(privd_vfio_status(f->privd, 7, &flags, NULL), 0);
	assert_int_equal(flags, PRIVD_GROUP_VIABLE);
	assert_silent(f);
	privd_ahead_end();
}

/* Another group, what failed, and all of it when that is over: privd is asked. */
static void test_what_is_not_known_is_asked(void **state)
{
	CLEANUP(arena_freep) struct arena *arena = arena_new();
	struct player iomem = { .bytes = "text", .n = 4 }, other = { 0 },
		      again = { .bytes = "nouveau", .n = 7 };
	struct fixture *f = *state;
	const char *text = NULL;
	unsigned flags;

	ask_ahead(f);
	play_begin(f, &iomem);
	assert_int_equal(privd_iomem(f->privd, arena, &text, NULL), 0);
	play_end(&iomem);
	assert_int_equal(iomem.request.header.op, PRIVD_READ_IOMEM);
	assert_string_equal(text, "text");
	play_begin(f, &other);
	assert_int_equal(privd_vfio_status(f->privd, 8, &flags, NULL), 0);
	play_end(&other);
	assert_int_equal(other.request.value, 8);
	privd_ahead_end();
	play_begin(f, &again);
	assert_string_equal(override_of(f, arena, card), "nouveau");
	play_end(&again);
	privd_ahead_end();	/* a second end is none */
}

static void *ask_elsewhere(void *data)
{
	CLEANUP(arena_freep) struct arena *arena = arena_new();
	struct fixture *f = data;

	assert_string_equal(override_of(f, arena, card), "nouveau");
	return NULL;
}

static void test_another_thread_asks_by_itself(void **state)
{
	struct player again = { .bytes = "nouveau", .n = 7 };
	struct fixture *f = *state;
	pthread_t thread;

	ask_ahead(f);
	play_begin(f, &again);
	assert_int_equal(pthread_create(&thread, NULL, ask_elsewhere, f), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	play_end(&again);
	privd_ahead_end();
}

/* It is lost while it is asked: nothing is known, and nothing is told of that. */
static void *lose_ahead(void *data)
{
	struct ahead_player *p = data;

	take_chain(p->peer);
	close(p->peer);
	return NULL;
}

static void test_asking_ahead_may_fail(void **state)
{
	CLEANUP(arena_freep) struct arena *arena = arena_new();
	struct privd_request requests[] = { privd_ask_override(card), privd_ask_iomem() };
	struct player again = { .bytes = "nouveau", .n = 7 };
	struct fixture *f = *state;
	struct ahead_player player = { .peer = f->peer };

	await(f, &f->connections, 1);
	assert_int_equal(pthread_create(&player.thread, NULL, lose_ahead, &player), 0);
	privd_ahead(f->privd, requests, 2);
	assert_int_equal(pthread_join(player.thread, NULL), 0);
	while (privd_connected(f->privd))
		usleep(1000);
	privd_ahead(f->privd, requests, 2);	/* nobody is there: not waited for, nor asked when one is */
	plug(f);
	play_begin(f, &again);
	assert_string_equal(override_of(f, arena, card), "nouveau");
	play_end(&again);
	assert_silent(f);
	privd_ahead_end();
}

static size_t descriptors(void)
{
	size_t n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

/* It is sent before anybody wants it; who ends it does not wait, and what comes then is nobody's. */
static void test_asking_ahead_waits_for_nobody(void **state)
{
	CLEANUP(arena_freep) struct arena *arena = arena_new();
	struct privd_request requests[] = { privd_ask_override(card), privd_ask_iomem(), privd_ask_vfio(7),
					    privd_ask_override(second_card) };
	struct player again = { .bytes = "nouveau", .n = 7 };
	struct fixture *f = *state;
	struct ahead_player player = { .peer = f->peer };
	size_t before;

	await(f, &f->connections, 1);
	before = descriptors();
	privd_ahead(f->privd, requests, ARRAY_SIZE(requests));
	privd_ahead_end();
	play_ahead(&player);
	play_begin(f, &again);
	assert_string_equal(override_of(f, arena, card), "nouveau");
	play_end(&again);
	assert_int_equal(descriptors(), before);
}

static void test_meanings(void **state)
{
	static const struct {
		enum privd_op op;
		enum privd_status status;
		int error;
		enum error_code code;
		const char *text; /* in the message */
		bool hint;
	} rows[] = {
		{ PRIVD_BIND, PRIVD_FAILED, ENODEV, ERROR_CONFLICT,
		  "binding 0000:01:00.0 to vfio-pci: "
		  "the driver does not accept this device",
		  true },
		{ PRIVD_BIND, PRIVD_FAILED, EBUSY, ERROR_CONFLICT, "group belongs to a VM", true },
		{ PRIVD_BIND, PRIVD_FAILED, EINVAL, ERROR_CONFLICT, "refuses", true },
		{ PRIVD_UNBIND, PRIVD_FAILED, ENODEV, ERROR_CONFLICT, "not on that driver", true },
		{ PRIVD_OVERRIDE, PRIVD_FAILED, ENODEV, ERROR_GONE, "not there any more", false },
		{ PRIVD_VFS, PRIVD_FAILED, ENOMEM, ERROR_CONFLICT, "address space", true },
		{ PRIVD_VFS, PRIVD_FAILED, ENOENT, ERROR_CONFLICT, "no driver", true },
		{ PRIVD_VFS, PRIVD_FAILED, EBUSY, ERROR_CONFLICT, "another number", true },
		{ PRIVD_MDEV_CREATE, PRIVD_FAILED, ENOSPC, ERROR_CONFLICT, "no room", false },
		{ PRIVD_RESET, PRIVD_FAILED, EXDEV, ERROR_SYSTEM, "resetting 0000:01:00.0", false },
		{ PRIVD_UNBIND, PRIVD_STUCK, 0, ERROR_STUCK, "does not come back", true },
		{ PRIVD_UNBIND, PRIVD_BUSY, 0, ERROR_CONFLICT, "under way", false },
		{ PRIVD_UNBIND, PRIVD_READ_ONLY, 0, ERROR_READ_ONLY, "plain files", true },
		{ PRIVD_UNBIND, PRIVD_NO_DEVICE, 0, ERROR_GONE, "no such device", false },
		{ PRIVD_UNBIND, PRIVD_BRIDGE, 0, ERROR_INVALID_VALUE, "bridge", false },
		{ PRIVD_BIND, PRIVD_NO_DRIVER, 0, ERROR_CONFLICT, "\"vfio-pci\"", true },
		{ PRIVD_VFS, PRIVD_RANGE, 0, ERROR_INVALID_VALUE, "range", false },
		{ PRIVD_OVERRIDE, PRIVD_MISMATCH, 0, ERROR_PROOF_FAILED, "otherwise", false },
		{ PRIVD_UNBIND_LOCK, PRIVD_MISMATCH, 0, ERROR_CONFLICT, "somebody uses it", true },
		{ PRIVD_MODULE, PRIVD_NOT_HERE, 0, ERROR_READ_ONLY, "real host", false },
		{ PRIVD_UNBIND, PRIVD_TOO_MANY, 0, ERROR_TOO_MANY, "too many", true },
		{ PRIVD_UNBIND, PRIVD_DIED, 0, ERROR_HELPER, "not known", true },
		{ PRIVD_UNBIND, PRIVD_HELD, 0, ERROR_CONFLICT, "has it open", false },
		{ PRIVD_UNBIND, PRIVD_STATUSES, 0, ERROR_HELPER, "no sense", false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct privd_request request = privd_request_new(rows[i].op, &card);
		struct privd_reply reply;
		struct error err;

		memcpy(request.name, "vfio-pci", 8);
		request.value = rows[i].op == PRIVD_UNBIND_LOCK;
		reply = answer_to(&request, rows[i].status, rows[i].error);
		assert_int_equal(privd_error(&request, &reply, NULL, &err), -1);
		assert_int_equal(err.code, rows[i].code);
		if (!strstr(err.message, rows[i].text))
			fail_msg("row %zu says \"%s\"", i, err.message);
		assert_int_equal(!!err.hint[0], rows[i].hint);
		assert_null(strchr(err.message, '%'));
	}
	for (unsigned op = PRIVD_PING; op < PRIVD_OPS; op++) { /* every operation has its words */
		struct privd_request request = privd_request_new(op, &card);
		struct privd_reply reply = answer_to(&request, PRIVD_FAILED, EXDEV);
		struct error err;

		privd_error(&request, &reply, NULL, &err);
		if (op != PRIVD_LATE)
			assert_memory_not_equal(err.message, "it:", 3);
	}
}

int main(void)
{
#define WITH_PEER(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		WITH_PEER(test_out_of_order),	WITH_PEER(test_it_dies),
		WITH_PEER(test_nobody_there),	WITH_PEER(test_freed_under_a_call),
		WITH_PEER(test_late),		WITH_PEER(test_nonsense_ends_the_connection),
		WITH_PEER(test_long_answers),	WITH_PEER(test_bad_long_answers),
		WITH_PEER(test_why_unreadable), WITH_PEER(test_carried),
		WITH_PEER(test_bad_names_stay_here),
		cmocka_unit_test(test_path),	cmocka_unit_test(test_meanings),
		WITH_PEER(test_a_chain_is_done), WITH_PEER(test_a_chain_that_ends_early),
		WITH_PEER(test_a_chain_that_cannot_begin), WITH_PEER(test_a_chain_is_answered_oddly),
		WITH_PEER(test_a_chain_is_lost), WITH_PEER(test_a_slow_chain_is_watched),
		WITH_PEER(test_what_was_asked_ahead_is_known),
		WITH_PEER(test_what_is_not_known_is_asked),
		WITH_PEER(test_another_thread_asks_by_itself),
		WITH_PEER(test_asking_ahead_may_fail), WITH_PEER(test_asking_ahead_waits_for_nobody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
