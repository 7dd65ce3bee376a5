/* SPDX-License-Identifier: Apache-2.0 */
/* A reply, handed to libmicrohttpd. On the connection's HTTP thread, from its access handler. */
#pragma once

#include <microhttpd.h>

#include "http/reply.h"

/*
 * Queues it; the body's bytes are shared, not copied. if_none_match: value of that header of a GET
 * or HEAD, else NULL. Returns the status that went out (304 when the client has it), or -1.
 */
int send_reply(struct MHD_Connection *mhd, const struct reply *reply, const char *request_id,
	       const char *if_none_match);
