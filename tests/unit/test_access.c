/* SPDX-License-Identifier: Apache-2.0 */
/* Who may: what headers give away, and who owns the other end of a connection. */
#include "unit.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "http/access.h"
#include "http/peer.h"
#include "http/server.h"

static void knows_its_own_names(void **state UNUSED)
{
	static const char *const ours[] = { "localhost", "LOCALHOST:8006", "127.0.0.1",
					    "[::1]",	 "127.8.9.10:1",   "[::1]:65535" };
	static const char *const foreign[] = { "",
					       ":",
					       "example.org",
					       "localhost.example.org",
					       "127.0.0.1.example.org",
					       "localhost:",
					       "localhost:x",
					       "localhost:123456",
					       "[::1",
					       "[::1]x",
					       "[::2]",
					       "[::1]:",
					       "10.0.0.1",
					       "128.0.0.1",
					       "0x7f.1",
					       "2130706433",
					       "127.1",
					       "localhost:8006@evil",
					       "user@localhost",
					       "evil:80:80" };

	for (size_t i = 0; i < ARRAY_SIZE(ours); i++)
		if (!access_host_is_local(ours[i]))
			fail_msg("%s is ours", ours[i]);
	for (size_t i = 0; i < ARRAY_SIZE(foreign); i++)
		if (access_host_is_local(foreign[i]))
			fail_msg("%s is foreign", foreign[i]);
}

static void judges_headers(void **state UNUSED)
{
#define OK ERROR_NONE
	static const struct {
		struct access_headers h;
		enum error_code code;
	} rows[] = {
		{ { .hosts = 1, .host = "localhost:8006" }, OK },
		{ { .hosts = 0 }, ERROR_BAD_REQUEST },
		{ { .hosts = 2, .host = "localhost" }, ERROR_BAD_REQUEST },
		{ { .hosts = 1, .host = "evil.example" }, ERROR_FORBIDDEN },
		{ { .hosts = 1, .host = "localhost:1", .origin = "http://localhost:1" }, OK },
		{ { .hosts = 1, .host = "localhost:1", .origin = "https://localhost:1" }, OK },
		{ { .hosts = 1, .host = "localhost:1", .origin = "http://localhost:2" },
		  ERROR_FORBIDDEN },
		{ { .hosts = 1, .host = "localhost:1", .origin = "http://127.0.0.1:1" },
		  ERROR_FORBIDDEN },
		{ { .hosts = 1, .host = "localhost:1", .origin = "null" }, ERROR_FORBIDDEN },
		{ { .hosts = 1, .host = "localhost:1", .origin = "" }, ERROR_FORBIDDEN },
		{ { .hosts = 1, .host = "localhost:1", .origin = "file://localhost:1" },
		  ERROR_FORBIDDEN },
		{ { .hosts = 1, .host = "localhost", .fetch_site = "same-origin" }, OK },
		{ { .hosts = 1, .host = "localhost", .fetch_site = "none" }, OK },
		{ { .hosts = 1, .host = "localhost", .fetch_site = "same-site" }, ERROR_FORBIDDEN },
		{ { .hosts = 1, .host = "localhost", .fetch_site = "cross-site" },
		  ERROR_FORBIDDEN },
		{ { .hosts = 1, .host = "localhost", .forwarded = "Via" }, ERROR_UNAUTHORIZED },
		{ { .hosts = 1, .host = "localhost", .authorization = "Bearer hx_0" },
		  ERROR_UNAUTHORIZED },
	};
	struct error err;
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		err = (struct error){ 0 };
		r = access_check_headers(&rows[i].h, &err);
		assert_int_equal(r, rows[i].code == OK ? 0 : -1);
		assert_int_equal(err.code, rows[i].code);
	}
}

static union peer_address v4(const char *text, uint16_t port)
{
	union peer_address a = { .v4 = { .sin_family = AF_INET, .sin_port = htons(port) } };

	assert_int_equal(inet_pton(AF_INET, text, &a.v4.sin_addr), 1);
	return a;
}

static union peer_address v6(const char *text, uint16_t port)
{
	union peer_address a = { .v6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) } };

	assert_int_equal(inet_pton(AF_INET6, text, &a.v6.sin6_addr), 1);
	return a;
}

/* Lines as the kernel printed them, of a little-endian machine. */
static void reads_proc_net_tcp(void **state UNUSED)
{
	static const char line[] = "  10: 0100007F:8292 0100007F:DD5B 01 00000000:00000000 "
				   "00:00000000 00000000  1000        0 75485 2 0 21 0 0 10 -1";
	static const char line6[] =
		"   1: 00000000000000000000000001000000:8292 00000000000000000000000001000000:1F46 "
		"01 "
		"00000000:00000000 00:00000000 00000000   998        0 75485 1 0 20 4 30 10 -1";
	static const char mapped[] =
		"   1: 0000000000000000FFFF00000100007F:8292 0000000000000000FFFF00000100007F:DD5B "
		"01 "
		"00000000:00000000 00:00000000 00000000     0        0 9 1 0 20 4 30 10 -1";
	union peer_address ours = v4("127.0.0.1", 0xdd5b), theirs = v4("127.0.0.1", 0x8292);
	union peer_address other = v4("127.0.0.1", 0x8293), far = v4("127.0.0.2", 0x8292);
	union peer_address ours6 = v6("::1", 8006), theirs6 = v6("::1", 0x8292);
	struct socket_owner owner = { 0 };

	assert_true(peer_parse_line(line, false, &theirs, &ours, &owner));
	assert_int_equal(owner.uid, 1000);
	assert_int_equal(owner.inode, 75485);
	assert_int_equal(owner.state, TCP_ESTABLISHED);
	assert_true(peer_owner_is_sure(&owner));
	assert_false(peer_parse_line(line, false, &ours, &theirs, &owner));
	assert_false(peer_parse_line(line, false, &other, &ours, &owner));
	assert_false(peer_parse_line(line, false, &far, &ours, &owner));
	assert_true(peer_parse_line(line6, true, &theirs6, &ours6, &owner));
	assert_int_equal(owner.uid, 998);
	assert_true(peer_parse_line(mapped, true, &theirs, &ours, &owner));
	assert_int_equal(owner.uid, 0);
	assert_false(peer_parse_line("  sl  local_address rem_address   st", false, &theirs, &ours,
				     &owner));
	assert_false(peer_parse_line("", false, &theirs, &ours, &owner));
}

static void believes_no_closed_socket(void **state UNUSED)
{
	static const struct socket_owner rows[] = {
		{ 0, 0, TCP_ESTABLISHED }, { 0, 7, TCP_TIME_WAIT }, { 0, 7, TCP_FIN_WAIT2 },
		{ 0, 7, TCP_CLOSE_WAIT },  { 0, 7, TCP_LISTEN },    { 0, 0, TCP_CLOSE },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		assert_false(peer_owner_is_sure(&rows[i]));
}

struct pair {
	int ours, theirs;
};

static struct pair connect_to(const char *address, const char *family)
{
	union peer_address at = { 0 };
	socklen_t n = sizeof(at);
	struct error err;
	struct pair pair;
	int listening = server_listen_tcp(address, &err);

	assert_true(listening >= 0);
	assert_int_equal(getsockname(listening, &at.any, &n), 0);
	if (!strcmp(family, "mapped")) { /* an IPv6 socket that connects over IPv4 */
		at = v6("::ffff:127.0.0.1", ntohs(at.v4.sin_port));
		n = sizeof(at.v6);
	}
	pair.theirs = socket(at.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(pair.theirs, &at.any, n), 0);
	pair.ours = accept4(listening, NULL, NULL, SOCK_CLOEXEC);
	assert_true(pair.ours >= 0);
	close(listening);
	return pair;
}

static void asks_the_kernel_who_it_is(void **state UNUSED)
{
	static const struct {
		const char *address, *family;
	} rows[] = { { "127.0.0.1:0", "v4" }, { "[::1]:0", "v6" }, { "localhost:0", "mapped" } };
	struct pair pair;
	struct error err;
	uid_t uid;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		pair = connect_to(rows[i].address, rows[i].family);
		uid = (uid_t)-1;
		if (peer_tcp_owner(pair.ours, &uid, &err) < 0)
			fail_msg("%s: %s", rows[i].family, err.message);
		assert_int_equal(uid, getuid());
		assert_true(peer_tcp_alive(pair.ours));
		close(pair.theirs);
		close(pair.ours);
	}
}

/* Half closed, closed, reset: nobody, and above all not uid 0. */
static void knows_nobody_who_hung_up(void **state UNUSED)
{
	static const struct linger reset = { 1, 0 };
	struct pair pair;
	struct error err;
	uid_t uid;

	for (int how = 0; how < 3; how++) {
		pair = connect_to("127.0.0.1:0", "v4");
		uid = 4242;
		if (how == 0)
			shutdown(pair.theirs, SHUT_WR);
		if (how == 2)
			setsockopt(pair.theirs, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
		if (how >= 1)
			close(pair.theirs);
		assert_int_equal(peer_tcp_owner(pair.ours, &uid, &err), -1);
		assert_int_equal(err.code, ERROR_UNAUTHORIZED);
		assert_int_equal(uid, 4242);
		assert_false(peer_tcp_alive(pair.ours));
		if (how == 0)
			close(pair.theirs);
		close(pair.ours);
	}
}

static void knows_who_is_at_a_unix_socket(void **state UNUSED)
{
	int pair[2];
	struct error err;
	uid_t uid = 4242;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	assert_int_equal(peer_unix_owner(pair[0], &uid, &err), 0);
	assert_int_equal(uid, getuid());
	assert_true(peer_unix_in_group(pair[0], getgid()));
	assert_false(peer_unix_in_group(pair[0], 54321));
	close(pair[0]);
	close(pair[1]);
}

static void listens_on_loopback_only(void **state UNUSED)
{
	static const char *const wrong[] = { "0.0.0.0:8006",
					     "192.168.1.1:8006",
					     "[::]:8006",
					     "[fe80::1]:8006",
					     "127.0.0.1",
					     "127.0.0.1:",
					     "8006",
					     "127.0.0.1:65536",
					     "127.0.0.1:-1",
					     "127.0.0.1: 1",
					     "example.org:8006",
					     "[::1:8006",
					     "",
					     ":",
					     "[]:1" };
	struct error err;

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		if (server_listen_tcp(wrong[i], &err) != -1)
			fail_msg("%s", wrong[i]);
		assert_int_equal(err.code, ERROR_USAGE);
		assert_string_not_equal(err.hint, "");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(knows_its_own_names),
		cmocka_unit_test(judges_headers),
		cmocka_unit_test(reads_proc_net_tcp),
		cmocka_unit_test(believes_no_closed_socket),
		cmocka_unit_test(asks_the_kernel_who_it_is),
		cmocka_unit_test(knows_nobody_who_hung_up),
		cmocka_unit_test(knows_who_is_at_a_unix_socket),
		cmocka_unit_test(listens_on_loopback_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
