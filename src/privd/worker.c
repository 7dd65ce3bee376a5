/* SPDX-License-Identifier: Apache-2.0 */
/* See worker.h. */
#include "privd/worker.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>

#include "base/cleanup.h"
#include "privd/message.h"
#include "privd/ops.h"
#include "privd/record.h"

struct worker {
	const struct host_root *root;
	int record;
	int link;
	pid_t privd;
	struct order order;
	bool stop; /* nobody wants the rest of it */
	struct outcome outcome[PRIVD_CHAIN_MAX];
	struct record done; /* the one before, of the order that is carried out */
	/* long answers of the order that is carried out */
	int data;
	uint64_t bytes;
};

size_t order_size(size_t n)
{
	return offsetof(struct order, request) + n * sizeof(struct privd_request);
}

int64_t wall_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

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

/* "OK" to a driver's change says that the kernel took the write; its value, that it is so. */
static enum privd_status proven(const struct op *op, enum privd_status status)
{
	unsigned number = op->request->header.op;

	if (status == PRIVD_OK && !op->value && (number == PRIVD_UNBIND || number == PRIVD_BIND))
		return PRIVD_MISMATCH;
	return status;
}

/* What privd told of the first before, whoever comes after it reads. */
static struct record record_of(const struct worker *w, uint32_t i)
{
	const struct privd_request *request = &w->order.request[i];
	unsigned op = request->header.op;

	return (struct record){ .child = { .id = request->header.id,
					   .start_time = w->order.start_time,
					   .since_ms = i ? wall_ms() : w->order.since_ms,
					   .address = request->address,
					   .pid = (uint32_t)getpid(),
					   .op = (uint16_t)op,
					   .write = privd_op_writes(op) } };
}

/* It was request i, and there is a next one to begin. */
static bool goes_on(const struct worker *w, uint32_t i)
{
	return i + 1 < w->order.n && (w->outcome[i].status == PRIVD_OK ||
				      !privd_op_ends(w->order.request[i].header.op));
}

/* An earlier request of the order found the function there, and that it may be touched. */
static bool is_known(const struct worker *w, uint32_t i)
{
	const struct privd_request *r = w->order.request;

	for (uint32_t k = 0; k < i; k++)
		if (w->outcome[k].status == PRIVD_OK && op_knows(&r[k]) &&
		    !memcmp(&r[k].address, &r[i].address, sizeof(r[i].address)))
			return true;
	return false;
}

/*
 * One request, whose record is begun. While nothing is on record, this child must not outlive privd; once
 * it is, it may. 0, or -1: it cannot go on.
 */
static int carry_out(struct worker *w, uint32_t i, struct record *record)
{
	const struct privd_request *request = &w->order.request[i];
	struct outcome *outcome = &w->outcome[i];
	struct op op = { .root = w->root,
			 .request = request,
			 .data = w->data,
			 .base = w->bytes,
			 .known = is_known(w, i),
			 .strike = w->order.strike == (int32_t)i };

	if (!i)
		prctl(PR_SET_PDEATHSIG, 0);
	*outcome = (struct outcome){ .status = (uint16_t)op_run(&op) };
	if (w->order.n > 1)
		outcome->status = (uint16_t)proven(&op, outcome->status);
	w->data = op.data;
	w->bytes += op.length;
	outcome->error = op.error;
	outcome->value = op.value;
	outcome->length = op.length;
	record->status = outcome->status;
	record->error = op.error;
	record->value = op.value;
	record->length = op.length;
	record->done = 1;
	/* else the record of the next one takes its place, which says as much */
	return goes_on(w, i) ? 0 : record_end(w->record, record);
}

/*
 * Between two requests: is there still somebody who wants the next one? Asked when that is on record: so
 * who no longer wants it, or takes privd's place, finds there what may yet be begun.
 */
static bool wanted(struct worker *w, uint32_t i)
{
	char word;

	if (recv(w->link, &word, sizeof(word), MSG_DONTWAIT) >= 0 || errno != EAGAIN)
		w->stop = true;
	/* where a fault is armed, it is come to first, whatever the processors do meanwhile */
	return getppid() == w->privd && (!w->stop || w->order.strike >= (int32_t)i);
}

/* How many were begun; -1: it cannot go on. */
static int carry_out_all(struct worker *w)
{
	struct record record;

	w->bytes = 0;
	w->stop = false;
	for (uint32_t i = 0; i < w->order.n; i++) {
		record = record_of(w, i);
		if (record_begin(w->record, &record) < 0)
			return -1;
		if (i && !wanted(w, i))
			return record_end(w->record, &w->done) < 0 ? -1 : (int)i;
		if (carry_out(w, i, &record) < 0)
			return -1;
		w->done = record;
		if (!goes_on(w, i))
			return (int)i + 1;
	}
	return -1;	/* an order of nothing */
}

static int answer(struct worker *w, size_t n)
{
	int r;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	r = message_send(w->link, w->outcome, n * sizeof(w->outcome[0]), w->data);
	cleanup_closep(&w->data);
	w->data = -1;
	return getppid() == w->privd ? r : -1;
}

/* The next order. False: no more are wanted, or this is none. */
static bool next_order(struct worker *w)
{
	ssize_t n;

	do
		n = recv(w->link, &w->order, sizeof(w->order), 0);
	while (n == 1 || (n < 0 && errno == EINTR));	/* 1: it was to stop, and had just been done */
	return n >= (ssize_t)order_size(1) && (size_t)n == order_size(w->order.n);
}

_Noreturn void worker_main(const struct host_root *root, int record, int link, pid_t privd)
{
	static struct worker w;
	int n;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != privd)
		_exit(EXIT_FAILURE);
	plain_signals();
	keep_only(root->fd, record, link);
	w = (struct worker){ .root = root, .record = record, .link = link, .privd = privd, .data = -1 };
	while (next_order(&w)) {
		n = carry_out_all(&w);
		if (n < 0 || answer(&w, (size_t)n) < 0)
			_exit(EXIT_FAILURE);
	}
	_exit(EXIT_SUCCESS);
}
