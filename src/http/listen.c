/* SPDX-License-Identifier: Apache-2.0 */
/* The sockets that the server listens on. See server.h. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "http/peer.h"
#include "http/server.h"

enum { BACKLOG = 128 };

static int not_loopback(const char *address, struct error *err)
{
	error_set(err, ERROR_USAGE, "listen address \"%.80s\" is not a loopback address", address);
	return error_hint(err,
			  "any other needs TLS and tokens, which this version does not have yet; "
			  "use 127.0.0.1:PORT or [::1]:PORT, and ssh -L to reach it from afar");
}

static int malformed(const char *address, struct error *err)
{
	error_set(err, ERROR_USAGE, "listen address \"%.80s\" is not ADDRESS:PORT", address);
	return error_hint(err, "for example 127.0.0.1:8006 or [::1]:8006");
}

static bool parse_port(const char *text, in_port_t *ret)
{
	char *end;
	unsigned long port = strtoul(text, &end, 10);

	if (*text < '0' || *text > '9' || *end || port > 65535)
		return false;
	*ret = htons((in_port_t)port);
	return true;
}

/* A name other than localhost is not asked of DNS: what it means could change. */
static int parse_address(const char *text, union peer_address *out, socklen_t *n, struct error *err)
{
	const char *colon = strrchr(text, ':');
	char host[64];
	size_t length = colon ? (size_t)(colon - text) : 0;

	*out = (union peer_address){ 0 };
	if (!colon || length >= sizeof(host))
		return malformed(text, err);
	memcpy(host, text, length);
	host[length] = '\0';
	if (host[0] == '[' && host[length - 1] == ']') {
		host[length - 1] = '\0';
		out->v6.sin6_family = AF_INET6;
		*n = sizeof(out->v6);
		if (inet_pton(AF_INET6, host + 1, &out->v6.sin6_addr) != 1 ||
		    !parse_port(colon + 1, &out->v6.sin6_port))
			return malformed(text, err);
		return IN6_IS_ADDR_LOOPBACK(&out->v6.sin6_addr) ? 0 : not_loopback(text, err);
	}
	out->v4.sin_family = AF_INET;
	*n = sizeof(out->v4);
	if (inet_pton(AF_INET, strcmp(host, "localhost") ? host : "127.0.0.1", &out->v4.sin_addr) !=
		    1 ||
	    !parse_port(colon + 1, &out->v4.sin_port))
		return malformed(text, err);
	return ntohl(out->v4.sin_addr.s_addr) >> 24 == 127 ? 0 : not_loopback(text, err);
}

int server_listen_tcp(const char *address, struct error *err)
{
	union peer_address at;
	socklen_t n = 0;
	CLEAN_FD int fd = -1;

	if (parse_address(address, &at, &n, err) < 0)
		return -1;
	fd = socket(at.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return error_errno(err, ERROR_SYSTEM, errno, "a socket cannot be made");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, sizeof(int));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
	if (bind(fd, &at.any, n) < 0 || listen(fd, BACKLOG) < 0) {
		error_errno(err, ERROR_SYSTEM, errno, "cannot listen on %.80s", address);
		return error_hint(err, "another program may have that port; see: ss -ltnp");
	}
	return TAKE_FD(fd);
}

int server_listen_unix(const char *path, struct error *err)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	CLEAN_FD int fd = -1;

	if (strlen(path) >= sizeof(at.sun_path))
		return error_set(err, ERROR_USAGE, "the path of the socket %.120s is too long",
				 path);
	memcpy(at.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return error_errno(err, ERROR_SYSTEM, errno, "a socket cannot be made");
	unlink(path);
	/* The mode of the descriptor is the file's from its first moment (unix(7) bind, less
	 * umask). */
	if (fchmod(fd, 0660) < 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0 ||
	    chmod(path, 0660) < 0 || listen(fd, BACKLOG) < 0)
		return error_errno(err, ERROR_SYSTEM, errno, "cannot listen on %.120s", path);
	return TAKE_FD(fd);
}
