/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request and its reply, as libmicrohttpd tells of it: the first call with the headers, calls
 * with pieces of the body, the last call, which queues the reply (queued any earlier, the library
 * ends the connection). Everything here runs on the connection's HTTP thread.
 */
#pragma once

#include <microhttpd.h>

#include "http/server.h"

/* One connection; made when it is accepted, freed when it is closed. */
struct connection {
	const struct server_options *options;
	int fd;
	bool unix_socket;
	bool known; /* uid was asked for and is sure */
	uid_t uid;
	uint64_t idle_since; /* atomic: time_monotonic_ms() of accept or the last reply; 0: busy */
	struct connection *next, *prev; /* server.c's list, under its lock */
};

/* Starts a request from its raw target; NULL without memory. */
struct exchange *exchange_new(struct connection *connection, const char *target);
/* The access handler: see MHD_AccessHandlerCallback. */
enum MHD_Result exchange_step(struct exchange *x, struct MHD_Connection *mhd, const char *method,
			      const char *bytes, size_t *n);
void exchange_free(struct exchange *x);
