/* SPDX-License-Identifier: Apache-2.0 */
/* See server.h. */
#include "privd/server.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/log.h"
#include "privd/message.h"

static void drop(struct server *server, struct connection *c)
{
	uint64_t id = c->id;

	close(c->fd);
	*c = (struct connection){ .fd = -1 };
	server->closed(server->context, id);
}

/* SO_PEERCRED: who the peer was when it connected; the kernel says so, not the peer. */
static int peer_check(const struct server *server, int fd, pid_t *pid)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size))
		return -errno;
	*pid = peer.pid;
	if (peer.uid == server->peer)
		return 0;
	log_warning("refused a connection from pid %d of uid %u: only uid %u may", peer.pid,
		    (unsigned)peer.uid, (unsigned)server->peer);
	return -EPERM;
}

static int adopt(struct server *server, int fd)
{
	pid_t pid = 0;
	int r = peer_check(server, fd, &pid);

	if (r < 0)
		return r;
	for (size_t i = 0; i < SERVER_CONNECTIONS; i++) {
		struct connection *c = &server->connection[i];

		if (c->fd >= 0)
			continue;
		*c = (struct connection){ .fd = fd, .id = ++server->next_id, .pid = pid };
		return 0;
	}
	log_warning("refused a connection from pid %d: there are %d already", pid,
		    SERVER_CONNECTIONS);
	return -EMFILE;
}

/* The socket's file belongs to the daemon's user and nobody else may use it: that says who the
 * daemon is. */
static int owner_of(int fd, uid_t *ret)
{
	struct sockaddr_un address = { 0 };
	socklen_t size = sizeof(address) - 1;
	struct stat st;

	if (getsockname(fd, (struct sockaddr *)&address, &size) || address.sun_path[0] != '/' ||
	    stat(address.sun_path, &st) || !S_ISSOCK(st.st_mode))
		return -ENOTSOCK;
	*ret = st.st_uid;
	return 0;
}

static int option(int fd, int name)
{
	int value = -1;
	socklen_t size = sizeof(value);

	return getsockopt(fd, SOL_SOCKET, name, &value, &size) ? -1 : value;
}

int server_init(struct server *server, int fd, int64_t peer_uid, struct error *err)
{
	bool listening;

	if (option(fd, SO_DOMAIN) != AF_UNIX || option(fd, SO_TYPE) != SOCK_SEQPACKET)
		return error_set(err, ERROR_USAGE, "descriptor %d is no unix socket of packets",
				 fd);
	if (fcntl(fd, F_SETFD, FD_CLOEXEC) || fcntl(fd, F_SETFL, O_NONBLOCK))
		return error_errno(err, ERROR_SYSTEM, errno, "descriptor %d", fd);
	listening = option(fd, SO_ACCEPTCONN) == 1;
	server->listener = listening ? fd : -1;
	server->peer = peer_uid >= 0 ? (uid_t)peer_uid : getuid();
	for (size_t i = 0; i < SERVER_CONNECTIONS; i++)
		server->connection[i].fd = -1;
	if (listening && peer_uid < 0 && owner_of(fd, &server->peer) < 0)
		return error_set(err, ERROR_USAGE,
				 "the socket has no file whose owner may connect");
	if (!listening && adopt(server, fd) < 0)
		return error_set(err, ERROR_FORBIDDEN, "the inherited socket is another user's");
	return 0;
}

nfds_t server_poll(const struct server *server, struct pollfd *fds)
{
	nfds_t n = 0;

	if (server->listener >= 0)
		fds[n++] = (struct pollfd){ .fd = server->listener, .events = POLLIN };
	for (size_t i = 0; i < SERVER_CONNECTIONS; i++)
		if (server->connection[i].fd >= 0)
			fds[n++] = (struct pollfd){ .fd = server->connection[i].fd,
						    .events = POLLIN };
	return n;
}

bool server_is_over(const struct server *server)
{
	struct pollfd fds[SERVER_CONNECTIONS + 1];

	return !server_poll(server, fds);
}

void server_accept(struct server *server)
{
	int fd;

	while (server->listener >= 0) {
		fd = accept4(server->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd < 0 && (errno == EINTR || errno == ECONNABORTED))
			continue;
		if (fd < 0)
			return;
		if (adopt(server, fd) < 0)
			close(fd);
	}
}

/* 1 a message, 0 nothing now, -1 this connection is over. */
static int receive_from(const struct connection *c, struct privd_chain *chain)
{
	static char bytes[sizeof(*chain) + 1]; /* one more, so that what is too long is seen to be */
	ssize_t n = recv(c->fd, bytes, sizeof(bytes), MSG_DONTWAIT);
	const char *wrong;

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -1;
	if (!n)
		return -1;
	wrong = privd_message_check(bytes, (size_t)n, chain);
	if (!wrong)
		return 1;
	log_error("connection of pid %d ended: it sent %s", c->pid, wrong);
	return -1;
}

bool server_receive(struct server *server, struct privd_chain *chain, uint64_t *from)
{
	for (size_t i = 0; i < SERVER_CONNECTIONS; i++) {
		struct connection *c = &server->connection[i];
		int r = c->fd >= 0 ? receive_from(c, chain) : 0;

		if (r < 0)
			drop(server, c);
		if (r <= 0)
			continue;
		*from = c->id;
		return true;
	}
	return false;
}

static void send_or_drop(struct server *server, struct connection *c,
			 const struct privd_chain_reply *reply, int data)
{
	bool chain = reply->header.op == PRIVD_CHAIN;
	int r = message_send(c->fd, chain ? (const void *)reply : &reply->reply[0],
			     reply->header.size, data);

	if (!r)
		return;
	log_warning("connection of pid %d ended: it does not take its replies (%s)", c->pid,
		    strerrordesc_np(-r));
	drop(server, c);
}

void server_send(struct server *server, uint64_t to, const struct privd_chain_reply *reply, int data)
{
	for (size_t i = 0; i < SERVER_CONNECTIONS; i++)
		if (server->connection[i].fd >= 0 && server->connection[i].id == to)
			send_or_drop(server, &server->connection[i], reply, data);
}

void server_broadcast(struct server *server, const struct privd_chain_reply *reply)
{
	for (size_t i = 0; i < SERVER_CONNECTIONS; i++)
		if (server->connection[i].fd >= 0)
			send_or_drop(server, &server->connection[i], reply, -1);
}
