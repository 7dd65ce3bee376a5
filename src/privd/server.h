/* SPDX-License-Identifier: Apache-2.0 */
/*
 * privd's end of the socket: a listening one (from systemd) or one inherited connection
 * (--socket-fd), who may connect, and whole messages in and out. Never blocks: a peer that does not
 * read its replies loses its connection. Owned by privd's one thread.
 */
#pragma once

#include <poll.h>
#include <sys/types.h>

#include "base/error.h"
#include "privd/protocol.h"

enum { SERVER_CONNECTIONS = 8 };

struct connection {
	int fd;	     /* -1: this place is free */
	uint64_t id; /* never 0, never used twice */
	pid_t pid;   /* of the peer, for the log */
};

struct server {
	int listener; /* -1: one inherited connection, and nothing after it */
	uid_t peer;   /* the only uid that may connect */
	uint64_t next_id;
	struct connection connection[SERVER_CONNECTIONS];
	void (*closed)(void *context, uint64_t id);
	void *context;
};

/* fd: listening or connected. peer_uid -1: the owner of the socket's file (else: our own uid). */
int server_init(struct server *server, int fd, int64_t peer_uid, struct error *err);

/* Fills in what to poll, at most SERVER_CONNECTIONS + 1; returns how many. */
nfds_t server_poll(const struct server *server, struct pollfd *fds);
/* Nobody can ask for anything any more. */
bool server_is_over(const struct server *server);

/* Takes in who wants to connect. */
void server_accept(struct server *server);

/*
 * One well-formed message (privd_message_check), and from whom; false when there is none now. What is
 * not well-formed ends its connection, and says so in the log.
 */
bool server_receive(struct server *server, struct privd_chain *chain, uint64_t *from);

/*
 * A chain's reply, or what is not PRIVD_CHAIN by its header: the one reply in it. data: a descriptor to
 * go with it, or -1. Nothing happens when that connection is gone.
 */
void server_send(struct server *server, uint64_t to, const struct privd_chain_reply *reply, int data);
/* To every connection. */
void server_broadcast(struct server *server, const struct privd_chain_reply *reply);
