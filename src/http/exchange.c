/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See exchange.h. Order of the checks: is it well-formed HTTP, may this caller, is there such a
 * route, is its body fit; the first that fails is the answer. The body of a request that is already
 * answered is read and thrown away up to a limit, so that the client sees the answer and not a
 * reset.
 */
#include "http/exchange.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/id.h"
#include "base/log.h"
#include "http/access.h"
#include "http/input.h"
#include "http/members.h"
#include "http/peer.h"
#include "http/pending.h"
#include "http/request.h"
#include "http/send.h"

enum {
	BODY_MAX = 256 * 1024,
	DRAIN_MAX = 4 * 1024 * 1024, /* past that the connection ends instead */
	TARGET_MAX = 4096,
	UPLOAD_MS = 60 * 1000, /* for the whole body */
	LOOK_UP_MS = 10 * 1000,
};

/* Headers that are looked at, found in one walk. */
struct headers {
	struct access_headers access;
	const char *content_length, *transfer_encoding, *content_type, *content_encoding;
	const char *request_id, *if_none_match, *expect;
	unsigned lengths, encodings;
};

struct exchange {
	struct request rq; /* first: the handlers' view is the exchange's address */
	struct connection *connection;
	struct MHD_Connection *mhd;
	const char *method;
	bool begun;	/* the checks that need no body are done */
	bool looked_up; /* membership was asked for once */
	bool deferred;	/* suspended since the last call */
	struct headers headers;
	struct match match;
	struct target target;
	struct input input;
	struct reply reply; /* status 0: none yet */
	char *body;
	size_t body_n, body_room;
	size_t received;
	uint64_t body_until; /* time_monotonic_ms() */
	char text[];	     /* the raw target, cut up by target_parse */
};

struct exchange *exchange_new(struct connection *connection, const char *target)
{
	size_t n = strlen(target);
	struct exchange *x = malloc(sizeof(*x) + n + 1);

	if (!x)
		return NULL;
	*x = (struct exchange){ .connection = connection };
	memcpy(x->text, target, n + 1);
	return x;
}

void exchange_free(struct exchange *x)
{
	if (!x)
		return;
	__atomic_store_n(&x->connection->idle_since, time_monotonic_ms(), __ATOMIC_RELAXED);
	input_finish(&x->input);
	reply_finish(&x->reply);
	free(x->body);
	free(x);
}

/* ---- what handlers may ask ---- */

static struct exchange *exchange_of(struct request *rq)
{
	return (struct exchange *)rq;
}

const char *request_header(const struct request *rq, const char *name)
{
	return MHD_lookup_connection_value(((const struct exchange *)rq)->mhd, MHD_HEADER_KIND,
					   name);
}

uint64_t request_defer(struct request *rq, uint64_t limit_ms, struct error *err)
{
	struct exchange *x = exchange_of(rq);
	uint64_t ticket;

	x->deferred = true;
	ticket = pending_add(x->mhd, &x->reply, limit_ms);
	if (ticket)
		return ticket;
	x->deferred = false;
	error_set(err, ERROR_UNREACHABLE, "the daemon is shutting down");
	return 0;
}

/* ---- headers ---- */

static enum MHD_Result see_header(void *to, enum MHD_ValueKind kind, const char *name,
				  const char *value)
{
	struct headers *h = to;
	const struct {
		const char *name;
		const char **value;
		unsigned *count;
	} wanted[] = {
		{ "Host", &h->access.host, &h->access.hosts },
		{ "Origin", &h->access.origin, NULL },
		{ "Sec-Fetch-Site", &h->access.fetch_site, NULL },
		{ "Authorization", &h->access.authorization, NULL },
		{ "Content-Length", &h->content_length, &h->lengths },
		{ "Transfer-Encoding", &h->transfer_encoding, &h->encodings },
		{ "Content-Type", &h->content_type, NULL },
		{ "Content-Encoding", &h->content_encoding, NULL },
		{ "X-Request-Id", &h->request_id, NULL },
		{ "If-None-Match", &h->if_none_match, NULL },
		{ "Expect", &h->expect, NULL },
	};

	(void)kind;
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
		if (strcasecmp(name, wanted[i].name))
			continue;
		*wanted[i].value = value ?: "";
		if (wanted[i].count)
			++*wanted[i].count;
		return MHD_YES;
	}
	if (!strcasecmp(name, "Forwarded") || !strcasecmp(name, "Via") ||
	    !strncasecmp(name, "X-Forwarded-", strlen("X-Forwarded-")))
		h->access.forwarded = name;
	return MHD_YES;
}

static bool id_is_fit(const char *id)
{
	size_t n = strspn(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.");

	return n && n <= 64 && !id[n];
}

static char id_start[ID_TEXT];

static void make_id_start(void)
{
	id_short("rq-", id_start);
}

/* The client's own id if it is fit for logs and headers; else one of ours, without a system call.
 */
static void set_id(struct exchange *x)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	static uint64_t count;

	if (x->headers.request_id && id_is_fit(x->headers.request_id)) {
		snprintf(x->rq.id, sizeof(x->rq.id), "%s", x->headers.request_id);
		return;
	}
	pthread_once(&once, make_id_start);
	snprintf(x->rq.id, sizeof(x->rq.id), "%s-%llx", id_start,
		 (unsigned long long)__atomic_add_fetch(&count, 1, __ATOMIC_RELAXED));
}

/* ---- who asks ---- */

enum verdict { ALLOWED, DENIED, WAIT };

static enum verdict deny_account(const struct exchange *x, struct error *err)
{
	error_set(err, ERROR_UNAUTHORIZED, "user %u may not use this", x->rq.uid);
	error_hint(err, "call as root, or have an administrator add the user to group %s",
		   x->connection->options->group);
	return DENIED;
}

/* Leaves *x alone once it waits: the answer may come at any time. */
static enum verdict ask_membership(struct exchange *x, struct error *err)
{
	uid_t uid = x->rq.uid;
	uint64_t ticket;

	switch (members_ask(uid)) {
	case MEMBER_YES:
		return ALLOWED;
	case MEMBER_NO:
		return deny_account(x, err);
	case MEMBER_UNKNOWN:
		break;
	}
	if (x->looked_up)
		return deny_account(x, err);
	x->looked_up = true;
	ticket = request_defer(&x->rq, LOOK_UP_MS, err);
	if (!ticket)
		return DENIED;
	if (!members_look_up(uid, ticket))
		pending_resume(ticket); /* too many at once: it is then told "may not" */
	return WAIT;
}

static int find_owner(struct connection *c, uid_t *uid, struct error *err)
{
	return c->unix_socket ? peer_unix_owner(c->fd, uid, err) : peer_tcp_owner(c->fd, uid, err);
}

/* The owner of a connection never changes, so he is looked up once; that he is there, each time. */
static enum verdict check_peer(struct exchange *x, struct error *err)
{
	struct connection *c = x->connection;
	gid_t group;

	if (!c->unix_socket && !c->options->trust_loopback) {
		error_set(err, ERROR_UNAUTHORIZED,
			  "this host takes no TCP request without a token");
		error_hint(err,
			   "trust_loopback is off, and this version has no tokens yet: use the "
			   "Unix socket");
		return DENIED;
	}
	if (!c->known || (!c->unix_socket && !peer_tcp_alive(c->fd))) {
		if (find_owner(c, &c->uid, err) < 0)
			return DENIED;
		c->known = true;
	}
	x->rq.uid = c->uid;
	if (c->uid == 0 || (c->options->own_uid && c->uid == getuid()))
		return ALLOWED;
	if (c->unix_socket && members_group(&group) && peer_unix_in_group(c->fd, group))
		return ALLOWED;
	return ask_membership(x, err);
}

/* Straight before something is changed: is it still the same account at the other end? */
static int check_again(struct exchange *x, struct error *err)
{
	uid_t uid;

	if (find_owner(x->connection, &uid, err) < 0)
		return -1;
	if (uid == x->rq.uid)
		return 0;
	return error_set(err, ERROR_UNAUTHORIZED, "the other end of the connection changed hands");
}

/* ---- the first call ---- */

/* A request whose end two servers could see in different places is not one. */
static int check_lengths(const struct headers *h, struct error *err)
{
	if (h->lengths > 1 || h->encodings > 1 || (h->lengths && h->encodings))
		return error_set(err, ERROR_BAD_REQUEST,
				 "the request says more than once how long its body is");
	if (h->encodings && strcasecmp(h->transfer_encoding, "chunked"))
		return error_set(err, ERROR_BAD_REQUEST,
				 "transfer encoding \"%.40s\" is not understood",
				 h->transfer_encoding);
	return 0;
}

static uint64_t announced(const struct exchange *x)
{
	return x->headers.lengths ? strtoull(x->headers.content_length, NULL, 10) : 0;
}

static int too_large(struct error *err)
{
	error_set(err, ERROR_TOO_LARGE, "the body is larger than %d KiB", BODY_MAX / 1024);
	return error_hint(err, "a request is at most %d KiB", BODY_MAX / 1024);
}

static int find_route(struct exchange *x, struct error *err)
{
	const struct server_options *o = x->connection->options;
	int r;

	if (target_parse(x->text, &x->target, err) < 0)
		return -1;
	r = router_find(o->routes, o->n_routes, x->method, &x->target, &x->match, err);
	x->rq.route = x->match.route;
	x->rq.params = x->match.params;
	x->rq.context = o->context;
	if (r < 0)
		return -1;
	return announced(x) > BODY_MAX ? too_large(err) : 0;
}

static void fail(struct exchange *x, const struct error *err)
{
	x->reply = reply_problem(err, NULL, NULL);
	if (err->code == ERROR_METHOD_NOT_ALLOWED)
		x->reply.allow = x->match.allow;
	if (err->code == ERROR_UNAUTHORIZED || err->code == ERROR_FORBIDDEN)
		log_notice("%s %.120s refused: %s (user %d, %s)", x->method, x->text, err->message,
			   x->connection->known ? (int)x->rq.uid : -1, x->rq.id);
}

static enum verdict check(struct exchange *x, struct error *err)
{
	enum verdict verdict;

	if (strlen(x->text) > TARGET_MAX) {
		error_set(err, ERROR_URI_TOO_LONG, "the address has more than %d bytes",
			  TARGET_MAX);
		return DENIED;
	}
	if (access_check_headers(&x->headers.access, err) < 0)
		return DENIED;
	verdict = check_peer(x, err);
	if (verdict != ALLOWED)
		return verdict;
	return find_route(x, err) < 0 ? DENIED : ALLOWED;
}

static enum MHD_Result send_now(struct exchange *x)
{
	bool get = !strcmp(x->method, "GET") || !strcmp(x->method, "HEAD");
	int status;

	x->reply.resource &= get; /* what a POST answers has its own address */
	status = send_reply(x->mhd, &x->reply, x->rq.id, get ? x->headers.if_none_match : NULL);
	if (status < 0)
		return MHD_NO;
	if (x->rq.route && (x->rq.route->flags & ROUTE_CHANGES))
		log_info("%s %s %s: %d (user %u, %s)", x->method, x->rq.route->path,
			 x->match.params[0] ?: "", status, x->rq.uid, x->rq.id);
	else
		log_debug("%s %.120s: %d (%s)", x->method, x->text, status, x->rq.id);
	return MHD_YES;
}

static enum MHD_Result begin(struct exchange *x)
{
	struct error err = { 0 };
	enum verdict verdict;

	if (!x->rq.id[0]) {
		MHD_get_connection_values(x->mhd, MHD_HEADER_KIND, see_header, &x->headers);
		set_id(x);
		__atomic_store_n(&x->connection->idle_since, 0, __ATOMIC_RELAXED);
		x->body_until = time_monotonic_ms() + UPLOAD_MS;
	}
	x->deferred = false;
	if (check_lengths(&x->headers, &err) < 0) {
		fail(x, &err);
		return send_now(x); /* where it ends is not known: so ends the connection */
	}
	if (!x->reply.status) { /* else membership was not known in time */
		verdict = check(x, &err);
		if (verdict == WAIT)
			return MHD_YES;
		if (verdict == DENIED)
			fail(x, &err);
	}
	x->begun = true;
	if (x->reply.status && (announced(x) > DRAIN_MAX || x->headers.expect))
		return send_now(x);
	return MHD_YES;
}

/* ---- the body ---- */

static enum MHD_Result take_body(struct exchange *x, const char *bytes, size_t n)
{
	struct error err;
	char *grown;

	x->received += n;
	if (x->received > DRAIN_MAX || time_monotonic_ms() > x->body_until)
		return MHD_NO;
	if (x->reply.status)
		return MHD_YES;
	if (x->received > BODY_MAX) {
		too_large(&err);
		fail(x, &err);
		return MHD_YES;
	}
	if (x->received > x->body_room) {
		x->body_room = x->received > announced(x) ? x->received * 2 : announced(x);
		grown = realloc(x->body, x->body_room);
		if (!grown)
			return MHD_NO;
		x->body = grown;
	}
	memcpy(x->body + x->body_n, bytes, n);
	x->body_n += n;
	return MHD_YES;
}

/* ---- the last call ---- */

static bool may_have_body(const char *method)
{
	return !strcmp(method, "POST") || !strcmp(method, "PUT") || !strcmp(method, "PATCH");
}

static int read_input(struct exchange *x, struct error *err)
{
	const struct input_form form = { x->headers.content_type, x->headers.content_encoding };

	if (input_query(x->rq.route, &x->target, &x->input, err) < 0)
		return -1;
	if (may_have_body(x->method) &&
	    input_body(x->rq.route, &form, x->body, x->body_n, &x->input, err) < 0)
		return -1;
	x->rq.query = x->input.query;
	x->rq.body = x->input.body;
	return 0;
}

static void handle(struct exchange *x)
{
	struct reply reply = { 0 };
	struct error err = { 0 };
	int r = x->rq.resumed ? 0 : read_input(x, &err);

	if (!r && (x->rq.route->flags & ROUTE_CHANGES))
		r = check_again(x, &err);
	if (!r)
		r = x->rq.route->handler(&x->rq, &reply, &err);
	if (x->deferred)
		return; /* x->reply may be set at any time now, by another thread */
	if (!r && !reply.status)
		r = error_set(&err, ERROR_INTERNAL, "the request was not answered");
	if (r < 0)
		fail(x, &err);
	else
		x->reply = reply;
}

enum MHD_Result exchange_step(struct exchange *x, struct MHD_Connection *mhd, const char *method,
			      const char *bytes, size_t *n)
{
	enum MHD_Result result;

	x->mhd = mhd;
	x->method = method;
	if (!x->begun)
		return begin(x);
	if (*n) {
		result = take_body(x, bytes, *n);
		*n = 0;
		return result;
	}
	x->rq.resumed = x->deferred;
	x->deferred = false;
	if (!x->reply.status)
		handle(x);
	return x->deferred ? MHD_YES : send_now(x);
}
