/* SPDX-License-Identifier: Apache-2.0 */
/* See peer.h. */
#include "http/peer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

enum { PEER_GROUPS = 128 };

bool peer_owner_is_sure(const struct socket_owner *owner)
{
	return owner->state == TCP_ESTABLISHED && owner->inode != 0;
}

bool peer_tcp_alive(int fd)
{
	struct tcp_info info;
	socklen_t n = sizeof(info);

	return !getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &n) &&
	       info.tcpi_state == TCP_ESTABLISHED;
}

/* ---- sock_diag ---- */

struct diag_request {
	struct nlmsghdr header;
	struct inet_diag_req_v2 body;
};

static void diag_fill(struct diag_request *rq, const union peer_address *local,
		      const union peer_address *remote)
{
	struct inet_diag_sockid *id = &rq->body.id;

	*rq = (struct diag_request){
		.header = { .nlmsg_len = sizeof(*rq),
			    .nlmsg_type = SOCK_DIAG_BY_FAMILY,
			    .nlmsg_flags = NLM_F_REQUEST },
		.body = { .sdiag_family = (__u8)local->any.sa_family,
			  .sdiag_protocol = IPPROTO_TCP,
			  .idiag_states = ~0u,
			  .id.idiag_cookie = { INET_DIAG_NOCOOKIE, INET_DIAG_NOCOOKIE } },
	};
	if (local->any.sa_family == AF_INET) {
		id->idiag_sport = local->v4.sin_port;
		id->idiag_dport = remote->v4.sin_port;
		memcpy(id->idiag_src, &local->v4.sin_addr, sizeof(local->v4.sin_addr));
		memcpy(id->idiag_dst, &remote->v4.sin_addr, sizeof(remote->v4.sin_addr));
	} else {
		id->idiag_sport = local->v6.sin6_port;
		id->idiag_dport = remote->v6.sin6_port;
		memcpy(id->idiag_src, &local->v6.sin6_addr, sizeof(local->v6.sin6_addr));
		memcpy(id->idiag_dst, &remote->v6.sin6_addr, sizeof(remote->v6.sin6_addr));
	}
}

/* 0 found, -1 not found or not to be had. Without NLM_F_DUMP the kernel looks one tuple up. */
static int diag_find(const union peer_address *local, const union peer_address *remote,
		     struct socket_owner *out)
{
	CLEAN_FD int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	_Alignas(struct nlmsghdr) char buf[1024];
	struct nlmsghdr *header = (struct nlmsghdr *)buf;
	const struct inet_diag_msg *message = NLMSG_DATA(header);
	struct diag_request rq;
	ssize_t n;

	if (fd < 0)
		return -1;
	diag_fill(&rq, local, remote);
	if (send(fd, &rq, sizeof(rq), 0) != sizeof(rq))
		return -1;
	n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT); /* the kernel answers within send() */
	if (n < (ssize_t)NLMSG_LENGTH(sizeof(*message)) ||
	    header->nlmsg_type != SOCK_DIAG_BY_FAMILY)
		return -1;
	if (message->id.idiag_sport != rq.body.id.idiag_sport ||
	    message->id.idiag_dport != rq.body.id.idiag_dport)
		return -1; /* a listening socket of that port, not this connection */
	*out = (struct socket_owner){ message->idiag_uid, message->idiag_inode,
				      message->idiag_state };
	return 0;
}

/* ---- /proc/net/tcp ---- */

/* As the kernel prints it: each 32 bits of the address as they lie in memory, then the port. */
static void format_address(const union peer_address *address, bool v6, char *buf, size_t size)
{
	uint32_t word[4] = { 0, 0, htonl(0xffff), 0 };

	if (address->any.sa_family == AF_INET6)
		memcpy(word, &address->v6.sin6_addr, sizeof(word));
	else
		memcpy(&word[3], &address->v4.sin_addr, sizeof(word[3]));
	if (v6)
		snprintf(buf, size, "%08" PRIX32 "%08" PRIX32 "%08" PRIX32 "%08" PRIX32 ":%04X",
			 word[0], word[1], word[2], word[3], ntohs(address->v6.sin6_port));
	else
		snprintf(buf, size, "%08" PRIX32 ":%04X", word[3], ntohs(address->v4.sin_port));
}

bool peer_parse_line(const char *line, bool v6, const union peer_address *local,
		     const union peer_address *remote, struct socket_owner *out)
{
	char ours[48], theirs[48], line_local[48], line_remote[48];
	unsigned state, uid, inode;

	if (sscanf(line, "%*d: %47s %47s %x %*s %*s %*s %u %*d %u", line_local, line_remote, &state,
		   &uid, &inode) != 5)
		return false;
	format_address(local, v6, ours, sizeof(ours));
	format_address(remote, v6, theirs, sizeof(theirs));
	if (strcmp(ours, line_local) || strcmp(theirs, line_remote))
		return false;
	*out = (struct socket_owner){ uid, inode, state };
	return true;
}

static int proc_find(const char *path, const union peer_address *local,
		     const union peer_address *remote, struct socket_owner *out)
{
	CLEAN_FILE FILE *f = fopen(path, "re");
	bool v6 = path[strlen(path) - 1] == '6';
	char line[512];

	while (f && fgets(line, sizeof(line), f))
		if (peer_parse_line(line, v6, local, remote, out))
			return 0;
	return -1;
}

/* ---- the answer ---- */

static int find_owner(const union peer_address *local, const union peer_address *remote,
		      struct socket_owner *out)
{
	if (!diag_find(local, remote, out))
		return 0;
	if (local->any.sa_family == AF_INET && !proc_find("/proc/net/tcp", local, remote, out))
		return 0;
	return proc_find("/proc/net/tcp6", local, remote, out);
}

static int unknown_peer(struct error *err)
{
	error_set(err, ERROR_UNAUTHORIZED,
		  "which account is at the other end of this connection cannot be told");
	return error_hint(err,
			  "keep the connection open until the answer comes; over TCP this works "
			  "from this host itself only");
}

int peer_tcp_owner(int fd, uid_t *uid, struct error *err)
{
	union peer_address ours, theirs;
	socklen_t n_ours = sizeof(ours), n_theirs = sizeof(theirs);
	struct socket_owner owner;

	if (getsockname(fd, &ours.any, &n_ours) < 0 || getpeername(fd, &theirs.any, &n_theirs) < 0)
		return unknown_peer(err);
	if (find_owner(&theirs, &ours, &owner) < 0 || !peer_owner_is_sure(&owner))
		return unknown_peer(err);
	if (!peer_tcp_alive(fd))
		return unknown_peer(err);
	*uid = owner.uid;
	return 0;
}

int peer_unix_owner(int fd, uid_t *uid, struct error *err)
{
	struct ucred who;
	socklen_t n = sizeof(who);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &n) < 0 || who.uid == (uid_t)-1)
		return unknown_peer(err);
	*uid = who.uid;
	return 0;
}

bool peer_unix_in_group(int fd, gid_t group)
{
	gid_t groups[PEER_GROUPS];
	socklen_t n = sizeof(groups);
	struct ucred who;
	socklen_t n_who = sizeof(who);

	if (!getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &n_who) && who.gid == group)
		return true;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &n) < 0)
		return false;
	for (size_t i = 0; i < n / sizeof(groups[0]); i++)
		if (groups[i] == group)
			return true;
	return false;
}
