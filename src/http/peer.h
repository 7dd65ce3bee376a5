/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which account is at the other end of a connection from this machine.
 *
 * Of a Unix socket the kernel says it (SO_PEERCRED, SO_PEERGROUPS: as at connect). Of TCP over
 * loopback the kernel is asked which socket is the other end, by its exact four-tuple, through
 * NETLINK_SOCK_DIAG (sock_diag(7)), or /proc/net/tcp where that is not to be had. The answer is
 * believed only of a socket in state ESTABLISHED that has an inode: a closed one reads as uid 0
 * with inode 0. And only while our own end is ESTABLISHED too, looked at afterwards: then the
 * socket that was found still was the other end.
 *
 * Nothing here blocks. Any thread.
 */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <sys/types.h>

#include "base/error.h"

struct socket_owner {
	uid_t uid;
	unsigned inode;
	unsigned state; /* TCP_ESTABLISHED … of linux/tcp_states */
};

union peer_address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

/* Sets *uid, or gives unauthorized, with what could not be told. fd is a connected TCP socket. */
int peer_tcp_owner(int fd, uid_t *uid, struct error *err);
/* Is our own end still ESTABLISHED: has the other neither closed nor half closed it? */
bool peer_tcp_alive(int fd);

/* The account that connected a Unix socket; -1 unauthorized. */
int peer_unix_owner(int fd, uid_t *uid, struct error *err);
/* Was whoever connected the Unix socket in this group, at that moment? */
bool peer_unix_in_group(int fd, gid_t group);

/*
 * Find the socket whose own address is `local` and whose peer is `remote` among the lines of
 * /proc/net/tcp (v6: of /proc/net/tcp6; an IPv4 address is then looked for as ::ffff:a.b.c.d). One
 * line without its newline; true when it is this one. Pure.
 */
bool peer_parse_line(const char *line, bool v6, const union peer_address *local,
		     const union peer_address *remote, struct socket_owner *out);
/* May the owner be believed? */
bool peer_owner_is_sure(const struct socket_owner *owner);
