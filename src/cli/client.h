/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemon's API over its Unix socket, by libcurl. One connection, one call at a time, main
 * thread. Every call has an end: a time to connect, and a time to answer.
 */
#pragma once

#include "cli/cli.h"

#define CLIENT_SOCKET "/run/horcrux/api.sock"

struct client;

/* An answer: the body as it came, and read. */
struct answer {
	int status;
	char *bytes;
	size_t n;
	json_t *json;
};

void answer_finish(struct answer *answer);
#define CLEAN_ANSWER CLEANUP(answer_finish)

/* NULL with an error when libcurl cannot be had. path: the socket, borrowed. */
struct client *client_new(const char *path, int64_t timeout_s, struct error *err);
void client_free(struct client *client);

/* Could there be a daemon? False only when nobody listens there, or we may not ask (*why says). */
bool client_reachable(const char *path, const char **why);

/* What is asked. */
struct call {
	const char *method;
	const char *path;   /* the whole target, made of words that were checked */
	const char *accept; /* media type of the answer, which is then not read; NULL: JSON */
	const char *body;   /* JSON text; NULL: none */
	const char *prefer; /* value of Prefer; NULL: none */
};

/*
 * One call; path is the whole target ("/api/gpu/devices"), made of words that were checked. 0 and
 * *ret (to be finished by the caller); or -1: `unreachable` when no answer came, what the daemon
 * said when it is a problem, `internal` when it is no answer of its API.
 */
int client_call(struct client *client, const struct call *call, struct answer *ret,
		struct failure *why);
