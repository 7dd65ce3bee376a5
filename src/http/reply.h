/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a handler answers: a status, bytes, and the few headers that differ. Owned by whoever holds
 * it; handed over by copying the struct and forgetting the copy.
 */
#pragma once

#include "base/arena.h"
#include "base/error.h"
#include "http/body.h"

struct reply {
	int status;	   /* 0: there is no reply yet */
	struct body *body; /* one reference; NULL: none */
	bool resource;	   /* a GET of a resource: ETag, and 304 when the client has it */
	const char *allow; /* value of Allow, borrowed from the routes; NULL: none */
	char location[96]; /* value of Location; empty: none */
};

void reply_finish(struct reply *reply);
#define CLEAN_REPLY CLEANUP(reply_finish)

/* 200 with this body, of which it takes the reference. */
struct reply reply_resource(struct body *body);
/* The problem of an error; refusals (struct wire_refusal) and task may be NULL. */
struct reply reply_problem(const struct error *err, const struct list *refusals, const char *task);
