/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTTP server with its threads: many clients at once, answers at once and from another thread,
 * answers that come late, twice or never, clients that vanish, replies that are swapped under load,
 * and a stop with all of that under way. Also run with the thread sanitizer.
 */
#include "unit.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>

#include "base/id.h"
#include "http/pending.h"
#include "http/request.h"
#include "http/server.h"

enum { CLIENTS = 16, REQUESTS = 60, QUEUE = 256, STOPS = 200 };

/* ---- a worker, to which handlers hand requests ---- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t wake = PTHREAD_COND_INITIALIZER;
static uint64_t queue[QUEUE];
static size_t n_queue;
static bool ending;
static struct body *shown;

static struct body *number(int n)
{
	return body_json(TYPE_JSON, json_pack("{s:i}", "n", n));
}

static void *work(void *unused UNUSED)
{
	struct reply reply;
	uint64_t ticket;

	pthread_mutex_lock(&lock);
	while (!ending || n_queue) {
		if (!n_queue) {
			pthread_cond_wait(&wake, &lock);
			continue;
		}
		ticket = queue[--n_queue];
		pthread_mutex_unlock(&lock);
		reply = reply_resource(number(2));
		if (ticket & 1)
			pending_resume(ticket); /* the handler is called again and answers itself */
		else
			pending_answer(ticket, &reply);
		reply_finish(&reply);
		reply = reply_resource(number(3));
		pending_answer(ticket, &reply); /* too late: dropped */
		pthread_mutex_lock(&lock);
	}
	pthread_mutex_unlock(&lock);
	return NULL;
}

static int at_once(struct request *rq UNUSED, struct reply *reply, struct error *err UNUSED)
{
	pthread_mutex_lock(&lock);
	*reply = reply_resource(body_ref(shown));
	pthread_mutex_unlock(&lock);
	return 0;
}

static int by_worker(struct request *rq, struct reply *reply, struct error *err)
{
	uint64_t ticket;

	if (rq->resumed) {
		*reply = reply_resource(number(4));
		return 0;
	}
	ticket = request_defer(rq, 0, err);
	if (!ticket)
		return -1;
	pthread_mutex_lock(&lock);
	if (n_queue < QUEUE)
		queue[n_queue++] = ticket;
	pthread_cond_signal(&wake);
	pthread_mutex_unlock(&lock);
	return 0;
}

static int never(struct request *rq, struct reply *reply UNUSED, struct error *err)
{
	return request_defer(rq, 0, err) ? 0 : -1;
}

static int in_time(struct request *rq, struct reply *reply UNUSED, struct error *err)
{
	return request_defer(rq, 50, err) ? 0 : -1;
}

static const struct route routes[] = {
	{ .path = "/later", .method = "GET", .handler = by_worker },
	{ .path = "/never", .method = "GET", .handler = never },
	{ .path = "/now", .method = "GET", .handler = at_once },
	{ .path = "/slow", .method = "GET", .handler = in_time },
};

/* ---- the server and its clients ---- */

static struct server *server;
static uint16_t port;
static pthread_t worker;

static int serve(int tcp_fd)
{
	struct server_options o = { .tcp_fd = tcp_fd,
				    .unix_fd = -1,
				    .routes = routes,
				    .n_routes = ARRAY_SIZE(routes),
				    .trust_loopback = true,
				    .own_uid = true,
				    .group = "horcrux",
				    .request_ms = 300 };
	struct error err;

	ending = false;
	n_queue = 0;
	shown = number(1);
	if (pthread_create(&worker, NULL, work, NULL))
		return -1;
	return server_start(&o, &server, &err);
}

static int listening(void)
{
	struct sockaddr_in at;
	socklen_t n = sizeof(at);
	struct error err;
	int fd = server_listen_tcp("127.0.0.1:0", &err);

	if (fd < 0 || getsockname(fd, (struct sockaddr *)&at, &n))
		return -1;
	port = ntohs(at.sin_port);
	return fd;
}

static int start(void **state UNUSED)
{
	int fd = listening();

	return fd < 0 ? -1 : serve(fd);
}

static int stop(void **state UNUSED)
{
	uint64_t began = time_monotonic_ms();

	server_stop(server);
	if (time_monotonic_ms() > began + 2000)
		return -1;
	pthread_mutex_lock(&lock);
	ending = true;
	pthread_cond_signal(&wake);
	pthread_mutex_unlock(&lock);
	pthread_join(worker, NULL);
	body_unref(shown);
	return 0;
}

static int client(void)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
				  .sin_port = htons(port),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (connect(fd, (struct sockaddr *)&at, sizeof(at))) {
		close(fd);
		return -1;
	}
	return fd;
}

static bool asked(int fd, const char *path)
{
	char text[256];
	int n = snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", path);

	return send(fd, text, (size_t)n, MSG_NOSIGNAL) == n;
}

static void ask(int fd, const char *path)
{
	assert_true(asked(fd, path));
}

/* Reads one reply with its body into text; the status, or -1 at the end of the connection. */
static int answer(int fd, char *text, size_t size)
{
	size_t n = 0, want = 0;
	ssize_t got;
	char *end, *length;

	text[0] = '\0';
	while (!want || n < want) {
		got = recv(fd, text + n, size - 1 - n, 0);
		if (got <= 0)
			return -1;
		n += (size_t)got;
		text[n] = '\0';
		end = strstr(text, "\r\n\r\n");
		length = strstr(text, "Content-Length: ");
		if (!want && end && length)
			want = (size_t)(end + 4 - text) + strtoul(length + 16, NULL, 10);
	}
	return (int)strtol(text + 9, NULL, 10);
}

static void *many_requests(void *path)
{
	int fd = client(), failures = 0;
	char text[1024];

	for (int i = 0; i < REQUESTS; i++) {
		ask(fd, path);
		if (answer(fd, text, sizeof(text)) != 200 || !strstr(text, "{\"n\":") ||
		    !strstr(text, "X-Request-Id: "))
			failures++;
	}
	close(fd);
	return (void *)(intptr_t)failures;
}

static void serves_many_at_once(void **state UNUSED)
{
	static char paths[2][8] = { "/now", "/later" };
	pthread_t clients[CLIENTS];
	void *failures;

	for (int i = 0; i < CLIENTS; i++)
		assert_int_equal(pthread_create(&clients[i], NULL, many_requests, paths[i % 2]), 0);
	for (int i = 0; i < 200; i++) { /* swap what is served, under load */
		struct body *next = number(i), *old;

		pthread_mutex_lock(&lock);
		old = shown;
		shown = next;
		pthread_mutex_unlock(&lock);
		body_unref(old);
		nanosleep(&(struct timespec){ .tv_nsec = 1000 * 1000 }, NULL);
	}
	for (int i = 0; i < CLIENTS; i++) {
		pthread_join(clients[i], &failures);
		assert_int_equal((intptr_t)failures, 0);
	}
}

static void outlives_clients_that_vanish(void **state UNUSED)
{
	static const char *const paths[] = { "/now", "/later", "/never" };
	char text[1024];
	int fd;

	for (int i = 0; i < 60; i++) {
		fd = client();
		ask(fd, paths[i % 3]);
		close(fd);
	}
	fd = client();
	ask(fd, "/now");
	assert_int_equal(answer(fd, text, sizeof(text)), 200);
	close(fd);
}

static void gives_up_after_the_limit(void **state UNUSED)
{
	char text[1024];
	int fd = client();

	ask(fd, "/slow");
	nanosleep(&(struct timespec){ .tv_nsec = 100 * 1000 * 1000 }, NULL);
	server_sweep(server);
	assert_int_equal(answer(fd, text, sizeof(text)), 503);
	assert_non_null(strstr(text, "application/problem+json"));
	ask(fd, "/now"); /* and the connection goes on */
	assert_int_equal(answer(fd, text, sizeof(text)), 200);
	close(fd);
}

/* Bytes that keep coming do not keep a request open for ever; one that is complete may take long.
 */
static void ends_requests_that_never_get_whole(void **state UNUSED)
{
	static const char half[] = "GET /now HTTP/1.1\r\nHost: localh";
	int slow = client(), waiting = client(), fresh;
	char text[1024];

	assert_int_equal(send(slow, half, sizeof(half) - 1, MSG_NOSIGNAL), sizeof(half) - 1);
	ask(waiting, "/never");
	for (int i = 0; i < 4; i++) {
		nanosleep(&(struct timespec){ .tv_nsec = 100 * 1000 * 1000 }, NULL);
		send(slow, "o", 1, MSG_NOSIGNAL);
	}
	fresh = client();
	server_sweep(server);
	assert_int_equal(answer(slow, text, sizeof(text)), -1);
	ask(fresh, "/now");
	assert_int_equal(answer(fresh, text, sizeof(text)), 200);
	assert_int_equal(recv(waiting, text, 1, MSG_DONTWAIT), -1);
	assert_int_equal(errno, EAGAIN);
	close(slow);
	close(waiting);
	close(fresh);
}

/* Whoever waits is told so before the end; the test's teardown stops it with more of them. */
static void tells_who_waits_that_it_stops(void **state UNUSED)
{
	int fds[CLIENTS];
	char text[1024];
	int told = 0;

	for (int i = 0; i < CLIENTS; i++) {
		fds[i] = client();
		ask(fds[i], "/never");
	}
	nanosleep(&(struct timespec){ .tv_nsec = 100 * 1000 * 1000 }, NULL);
	assert_int_equal(stop(NULL), 0);
	for (int i = 0; i < CLIENTS; i++) {
		told += answer(fds[i], text, sizeof(text)) == 503;
		close(fds[i]);
	}
	assert_int_equal(told, CLIENTS);
	assert_int_equal(client(), -1);
	assert_int_equal(start(NULL), 0); /* for the teardown */
	for (int i = 0; i < CLIENTS; i++)
		ask(client(), i % 2 ? "/never" : "/later");
}

static void *until_it_ends(void *unused UNUSED)
{
	char text[1024];
	int fd = client();

	while (asked(fd, "/now") && answer(fd, text, sizeof(text)) == 200)
		;
	close(fd);
	return NULL;
}

/*
 * The library with an epoll pool aborts the process here (MHD_quiesce_daemon() and a worker that has
 * just been woken both take the listening socket out of the worker's set; up to 1.0.1).
 */
static void stops_while_requests_come(void **state UNUSED)
{
	pthread_t clients[2];

	for (int i = 0; i < STOPS; i++) {
		for (int k = 0; k < 2; k++)
			assert_int_equal(pthread_create(&clients[k], NULL, until_it_ends, NULL), 0);
		nanosleep(&(struct timespec){ .tv_nsec = 2 * 1000 * 1000 }, NULL);
		assert_int_equal(stop(NULL), 0);
		for (int k = 0; k < 2; k++)
			pthread_join(clients[k], NULL);
		assert_int_equal(start(NULL), 0);
	}
}

/* A socket that systemd holds too is left as it was: who comes meanwhile is the next daemon's. */
static void leaves_a_shared_socket_to_the_next(void **state UNUSED)
{
	int held, between;
	char text[1024];

	assert_int_equal(stop(NULL), 0);
	held = listening();
	assert_int_equal(serve(dup(held)), 0);
	assert_int_equal(stop(NULL), 0);
	between = client();
	ask(between, "/now");
	assert_int_equal(serve(held), 0); /* the teardown stops it */
	assert_int_equal(answer(between, text, sizeof(text)), 200);
	close(between);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(serves_many_at_once, start, stop),
		cmocka_unit_test_setup_teardown(outlives_clients_that_vanish, start, stop),
		cmocka_unit_test_setup_teardown(gives_up_after_the_limit, start, stop),
		cmocka_unit_test_setup_teardown(ends_requests_that_never_get_whole, start, stop),
		cmocka_unit_test_setup_teardown(tells_who_waits_that_it_stops, start, stop),
		cmocka_unit_test_setup_teardown(stops_while_requests_come, start, stop),
		cmocka_unit_test_setup_teardown(leaves_a_shared_socket_to_the_next, start, stop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
