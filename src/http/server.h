/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTTP server: libmicrohttpd with one daemon object for each listening socket, each a pool of
 * threads in poll(). They never block: a handler answers from what is at hand, or defers. One server
 * in a process; started, swept and stopped by the main thread.
 */
#pragma once

#include "http/router.h"

struct server_options {
	int tcp_fd;		    /* listening; -1: none. Closed by the server */
	int unix_fd;		    /* likewise */
	const struct route *routes; /* sorted; lives as long as the server */
	size_t n_routes;
	void *context;	     /* for handlers */
	bool trust_loopback; /* loopback TCP answers local administrators without a token */
	unsigned request_ms; /* for the headers of a request; 0: a minute */
	bool own_uid;	     /* lets in whoever runs the daemon (--dev) */
	const char *group;   /* administrators' group, static */
};

struct server;

int server_start(const struct server_options *options, struct server **ret, struct error *err);
/* To be called every 15 s or so: ends what waits too long (requests, idle or half-sent ones). */
void server_sweep(struct server *server);
/* Answers what waits with 503, lets what is being sent go out (at most 500 ms), ends. */
void server_stop(struct server *server);

/*
 * Open a TCP socket to listen on: "127.0.0.1:8006", "[::1]:8006", "localhost:8006". Any address but
 * loopback is an error (usage) that says why. Returns the descriptor.
 */
int server_listen_tcp(const char *address, struct error *err);
/* A Unix socket at path, mode 0660; one left from before is replaced. Returns the descriptor. */
int server_listen_unix(const char *path, struct error *err);
