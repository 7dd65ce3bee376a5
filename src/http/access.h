/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may, the part that is read from a request's headers. Which process asks is peer.h's, which
 * account it may be members.h's; exchange.c puts the three together. Pure; any thread.
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"

/* Values as sent; NULL: no such header. */
struct access_headers {
	const char *host;
	const char *origin;
	const char *fetch_site; /* Sec-Fetch-Site */
	const char *authorization;
	const char *forwarded; /* any of Forwarded, X-Forwarded-*, Via */
	unsigned hosts;	       /* how many Host headers there are */
};

/*
 * bad_request: not exactly one Host. forbidden: a Host that is not this machine's loopback name
 * (DNS rebinding), an Origin other than the Host's own or a Sec-Fetch-Site of another site (CSRF).
 * unauthorized: it was forwarded, or shows a token; neither is known yet.
 */
int access_check_headers(const struct access_headers *headers, struct error *err);

/* localhost, 127.0.0.0/8 or [::1], with or without a port. */
bool access_host_is_local(const char *host);
