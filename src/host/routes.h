/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's tables of IPv4 and IPv6: routes (/proc/net/route, ipv6_route) and TCP sockets
 * (/proc/net/tcp, tcp6), parsed, and the one question to them: which interface leads to a peer.
 * Formats: net/ipv4/fib_trie.c, net/ipv6/route.c, net/ipv4/tcp_ipv4.c. Pure but for routes_read();
 * any thread. Of IPv4 only the main table is there: policy routing is not seen.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "host/root.h"

enum { ADDRESS_BYTES = 16, ADDRESS_TEXT = 48 };

/* An address of either kind; IPv4 takes the first 4 bytes. Bytes are in network order. */
struct ip_address {
	bool v6;
	uint8_t bytes[ADDRESS_BYTES];
};

struct route {
	const char *interface;
	struct ip_address to;
	unsigned prefix;
	unsigned long metric;
};

struct tcp_socket {
	struct ip_address local, peer;
	unsigned local_port, peer_port;
	unsigned state; /* TCP_ESTABLISHED 1, TCP_LISTEN 10 */
	unsigned long inode;
};

enum { TCP_SOCKET_ESTABLISHED = 1, TCP_SOCKET_LISTEN = 10 };

/* Routes that are up and lead somewhere (no reject, no loopback) are added to the list. */
void routes_parse_v4(const char *text, struct arena *arena, struct list *routes);
void routes_parse_v6(const char *text, struct arena *arena, struct list *routes);
/* Addresses of IPv4 that were mapped into IPv6 become IPv4. */
void tcp_parse(const char *text, bool v6, struct arena *arena, struct list *sockets);

/* Does it lead to (at least) half of everything? 0.0.0.0/0, 0.0.0.0/1, ::/0, 2000::/3. */
bool route_is_default(const struct route *route);
/* The next of the best routes to that address, after `after` (NULL: the first); NULL no more. */
const struct route *route_to(const struct list *routes, const struct ip_address *to,
			     const struct route *after);
bool ip_address_is_loopback(const struct ip_address *address);
bool ip_address_equal(const struct ip_address *a, const struct ip_address *b);
char *ip_address_format(const struct ip_address *address, char buf[static ADDRESS_TEXT]);

/*
 * File `name` ("route", "tcp6") of the host's network, as process 1 sees it, else as we do. 0 or
 * -errno.
 */
int routes_read(const struct host_root *root, const char *name, struct arena *arena,
		const char **text);
