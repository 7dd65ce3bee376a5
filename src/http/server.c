/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See server.h. The list of connections is this file's, under server_lock: a connection is in it while
 * its descriptor is open.
 */
#include "http/server.h"

#include <string.h>
#include <sys/socket.h>

#include "base/id.h"
#include "base/lock.h"
#include "base/log.h"
#include "http/exchange.h"
#include "http/members.h"
#include "http/pending.h"

enum {
	THREADS = 2,
	CONNECTIONS = 256,
	CONNECTIONS_PER_ADDRESS = 128,
	CONNECTION_BYTES = 16 * 1024, /* request line and headers, and the reply's */
	IDLE_SECONDS = 30,	      /* without a byte */
	REQUEST_MS = 60 * 1000,	      /* until the headers of a request are there */
	STACK_BYTES = 256 * 1024,
	STOP_MS = 500,
	LISTENERS = 2,
};

struct listener {
	struct server *server;
	struct MHD_Daemon *daemon;
	bool unix_socket;
	int fd;
};

struct server {
	struct server_options options;
	struct listener listeners[LISTENERS];
};

static struct lock server_lock = LOCK_INIT;
static struct connection *connections GUARDED_BY(server_lock);

static void connection_open(const struct listener *l, struct MHD_Connection *mhd, void **context)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(
		mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
	struct connection *c = calloc(1, sizeof(*c));

	*context = c;
	if (!c)
		return; /* then its requests get no exchange and it is closed */
	c->options = &l->server->options;
	c->unix_socket = l->unix_socket;
	c->fd = info->connect_fd;
	c->idle_since = time_monotonic_ms();
	lock_take(&server_lock);
	c->next = connections;
	if (connections)
		connections->prev = c;
	connections = c;
	lock_give(&server_lock);
}

static void connection_close(struct connection *c)
{
	if (!c)
		return;
	lock_take(&server_lock);
	if (c->next)
		c->next->prev = c->prev;
	if (c->prev)
		c->prev->next = c->next;
	else
		connections = c->next;
	lock_give(&server_lock);
	free(c);
}

static void on_connection(void *listener, struct MHD_Connection *mhd, void **context,
			  enum MHD_ConnectionNotificationCode what)
{
	if (what == MHD_CONNECTION_NOTIFY_STARTED)
		connection_open(listener, mhd, context);
	else
		connection_close(*context);
}

static void *on_target(void *listener, const char *target, struct MHD_Connection *mhd)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(
		mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

	(void)listener;
	return info->socket_context ? exchange_new(info->socket_context, target ?: "") : NULL;
}

static enum MHD_Result on_request(void *listener, struct MHD_Connection *mhd, const char *url,
				  const char *method, const char *version, const char *bytes,
				  size_t *n, void **exchange)
{
	(void)listener, (void)url, (void)version;
	return *exchange ? exchange_step(*exchange, mhd, method, bytes, n) : MHD_NO;
}

static void on_completed(void *listener, struct MHD_Connection *mhd, void **exchange,
			 enum MHD_RequestTerminationCode how)
{
	(void)listener, (void)mhd, (void)how;
	exchange_free(*exchange);
	*exchange = NULL;
}

/* The library would cut at %00 and make segments of %2F; we split first and unescape after. */
static size_t leave_escaped(void *listener, struct MHD_Connection *mhd, char *text)
{
	(void)listener, (void)mhd;
	return strlen(text);
}

static void PRINTF(2, 0) on_log(void *listener, const char *fmt, va_list args)
{
	char line[256];

	(void)listener;
	vsnprintf(line, sizeof(line), fmt, args);
	log_debug("http: %s", line);
}

static int listener_start(struct server *server, struct listener *l, int fd, bool unix_socket,
			  struct error *err)
{
	struct MHD_OptionItem options[] = {
		{ MHD_OPTION_LISTEN_SOCKET, fd, NULL },
		{ MHD_OPTION_THREAD_POOL_SIZE, THREADS, NULL },
		{ MHD_OPTION_THREAD_STACK_SIZE, STACK_BYTES, NULL },
		{ MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS, NULL },
		{ MHD_OPTION_PER_IP_CONNECTION_LIMIT, CONNECTIONS_PER_ADDRESS, NULL },
		{ MHD_OPTION_CONNECTION_MEMORY_LIMIT, CONNECTION_BYTES, NULL },
		{ MHD_OPTION_CONNECTION_TIMEOUT, IDLE_SECONDS, NULL },
		{ MHD_OPTION_STRICT_FOR_CLIENT, 1, NULL },
		{ MHD_OPTION_UNESCAPE_CALLBACK, (intptr_t)leave_escaped, l },
		{ MHD_OPTION_URI_LOG_CALLBACK, (intptr_t)on_target, l },
		{ MHD_OPTION_NOTIFY_CONNECTION, (intptr_t)on_connection, l },
		{ MHD_OPTION_NOTIFY_COMPLETED, (intptr_t)on_completed, l },
		{ MHD_OPTION_END, 0, NULL },
	};

	*l = (struct listener){ .server = server, .unix_socket = unix_socket, .fd = fd };
	/*
	 * The logger first: the other options may already have something to say. poll(), for with epoll
	 * MHD_quiesce_daemon() can abort the process: it takes the listening socket out of a worker's
	 * set, and so does the worker (MHD_epoll(), up to 1.0.1). At these limits it is no slower.
	 */
	l->daemon = MHD_start_daemon(MHD_USE_POLL_INTERNAL_THREAD | MHD_USE_ITC |
					     MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG,
				     0, NULL, NULL, on_request, l, MHD_OPTION_EXTERNAL_LOGGER,
				     on_log, l, MHD_OPTION_ARRAY, options, MHD_OPTION_END);
	if (l->daemon)
		return 0;
	return error_set(err, ERROR_SYSTEM, "the HTTP server cannot be started");
}

int server_start(const struct server_options *options, struct server **ret, struct error *err)
{
	struct server *server = calloc(1, sizeof(*server));
	struct listener *l = server ? server->listeners : NULL;

	if (!server)
		return error_set(err, ERROR_SYSTEM, "no memory");
	server->options = *options;
	pending_open();
	if (members_start(options->group, pending_resume, err) < 0) {
		free(server);
		return -1;
	}
	if ((options->tcp_fd < 0 || !listener_start(server, l++, options->tcp_fd, false, err)) &&
	    (options->unix_fd < 0 || !listener_start(server, l, options->unix_fd, true, err))) {
		*ret = server;
		return 0;
	}
	server_stop(server);
	return -1;
}

/* Half-sent headers that come byte by byte are never idle to the library. */
static void end_slow_connections(unsigned limit)
{
	uint64_t now = time_monotonic_ms(), since;

	lock_take(&server_lock);
	for (struct connection *c = connections; c; c = c->next) {
		since = __atomic_load_n(&c->idle_since, __ATOMIC_RELAXED);
		if (since && now > since + limit)
			shutdown(c->fd, SHUT_RDWR);
	}
	lock_give(&server_lock);
}

void server_sweep(struct server *server)
{
	end_slow_connections(server->options.request_ms ?: REQUEST_MS);
	pending_expire();
}

static bool any_busy(void)
{
	bool busy = false;

	lock_take(&server_lock);
	for (struct connection *c = connections; c && !busy; c = c->next)
		busy = !__atomic_load_n(&c->idle_since, __ATOMIC_RELAXED);
	lock_give(&server_lock);
	return busy;
}

void server_stop(struct server *server)
{
	uint64_t until = time_monotonic_ms() + STOP_MS;

	if (!server)
		return;
	/* Without this the library would shut down the sockets, which systemd may hold too. */
	for (size_t i = 0; i < LISTENERS; i++)
		if (server->listeners[i].daemon)
			MHD_quiesce_daemon(server->listeners[i].daemon);
	pending_close();
	while (any_busy() && time_monotonic_ms() < until)
		nanosleep(&(struct timespec){ .tv_nsec = 5 * 1000 * 1000 }, NULL);
	members_stop();
	for (size_t i = 0; i < LISTENERS; i++) {
		if (!server->listeners[i].daemon)
			continue;
		MHD_stop_daemon(server->listeners[i].daemon);
		close(server->listeners[i].fd);
	}
	free(server);
}
