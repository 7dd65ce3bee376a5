/* SPDX-License-Identifier: Apache-2.0 */
/* See routes.h. */
#include "host/routes.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "base/fdpath.h"

enum {
	TABLE_BYTES = 64 * 1024 * 1024,
	INTERFACE_TEXT = 32,
	LINE_TEXT = 512,
	V4_BITS = 32,
	DEFAULT_BITS_V4 = 1, /* VPNs split the default route in two, to keep the old one */
	DEFAULT_BITS_V6 = 3, /* 2000::/3: all that is given out */
	ROUTE_UP = 0x1,	     /* linux/route.h */
	ROUTE_REJECT = 0x200,
};

/*
 * The next line in buf (cut to it), *text behind it; NULL at the end. A line of its own, since
 * sscanf(3) takes the length of all that it is given, each time.
 */
static const char *take_line(const char **text, char buf[static LINE_TEXT])
{
	const char *from = *text, *end = strchrnul(from, '\n');
	size_t n = (size_t)(end - from);

	if (!*from)
		return NULL;
	*text = *end ? end + 1 : end;
	if (n >= LINE_TEXT)
		n = LINE_TEXT - 1;
	memcpy(buf, from, n);
	buf[n] = '\0';
	return buf;
}

static unsigned bits_of(uint32_t mask)
{
	return (unsigned)__builtin_popcount(mask);
}

static void add_route(struct arena *arena, struct list *routes, const char *interface,
		      unsigned flags, struct route route)
{
	if (!(flags & ROUTE_UP) || flags & ROUTE_REJECT || !strcmp(interface, "lo"))
		return;
	route.interface = arena_strdup(arena, interface);
	*list_add(arena, routes, struct route) = route;
}

void routes_parse_v4(const char *text, struct arena *arena, struct list *routes)
{
	char interface[INTERFACE_TEXT], buf[LINE_TEXT];
	unsigned to, mask, flags;
	struct route route;
	const char *line;

	while ((line = take_line(&text, buf))) {
		route = (struct route){ 0 };
		/* Iface Destination Gateway Flags RefCnt Use Metric Mask … */
		if (sscanf(line, "%31s %8x %*x %x %*d %*d %lu %8x", interface, &to, &flags,
			   &route.metric, &mask) != 5)
			continue;
		memcpy(route.to.bytes, &to, sizeof(to)); /* printed as this CPU's number */
		route.prefix = bits_of(mask);
		add_route(arena, routes, interface, flags, route);
	}
}

static bool parse_v6(const char *hex, uint8_t bytes[static ADDRESS_BYTES])
{
	unsigned byte;

	for (int i = 0; i < ADDRESS_BYTES; i++) {
		if (sscanf(hex + 2 * i, "%2x", &byte) != 1)
			return false;
		bytes[i] = (uint8_t)byte;
	}
	return true;
}

void routes_parse_v6(const char *text, struct arena *arena, struct list *routes)
{
	char interface[INTERFACE_TEXT], to[2 * ADDRESS_BYTES + 1], buf[LINE_TEXT];
	struct route route;
	const char *line;
	unsigned flags;

	while ((line = take_line(&text, buf))) {
		route = (struct route){ .to.v6 = true };
		/* to length from length via metric refs uses flags interface */
		if (sscanf(line, "%32[0-9a-f] %2x %*s %*x %*s %lx %*x %*x %x %31s", to,
			   &route.prefix, &route.metric, &flags, interface) != 5 ||
		    strlen(to) != 2 * ADDRESS_BYTES || !parse_v6(to, route.to.bytes) ||
		    route.prefix > 8 * ADDRESS_BYTES)
			continue;
		add_route(arena, routes, interface, flags, route);
	}
}

/* Words of 32 bits, each printed as this CPU's number: one for IPv4, four for IPv6. */
static bool parse_words(const char *hex, size_t n, struct ip_address *ret)
{
	static const uint8_t mapped[] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };
	struct ip_address address = { .v6 = n > 1 };
	unsigned word;

	if (strlen(hex) != 8 * n)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (sscanf(hex + 8 * i, "%8x", &word) != 1)
			return false;
		memcpy(address.bytes + 4 * i, &word, sizeof(word));
	}
	if (address.v6 && !memcmp(address.bytes, mapped, sizeof(mapped))) {
		memmove(address.bytes, address.bytes + sizeof(mapped), 4);
		memset(address.bytes + 4, 0, ADDRESS_BYTES - 4);
		address.v6 = false;
	}
	*ret = address;
	return true;
}

void tcp_parse(const char *text, bool v6, struct arena *arena, struct list *sockets)
{
	char local[2 * ADDRESS_BYTES + 1], peer[2 * ADDRESS_BYTES + 1], buf[LINE_TEXT];
	size_t words = v6 ? ADDRESS_BYTES / 4 : 1;
	struct tcp_socket socket;
	const char *line;

	while ((line = take_line(&text, buf))) {
		/* slot: local:port peer:port state tx:rx timer:when retries uid timeout inode */
		if (sscanf(line,
			   "%*d: %32[0-9A-Fa-f]:%4x %32[0-9A-Fa-f]:%4x %2x %*x:%*x %*x:%*x %*x %*d "
			   "%*d %lu",
			   local, &socket.local_port, peer, &socket.peer_port, &socket.state,
			   &socket.inode) != 6 ||
		    socket.local_port > UINT16_MAX || socket.peer_port > UINT16_MAX ||
		    !parse_words(local, words, &socket.local) ||
		    !parse_words(peer, words, &socket.peer))
			continue;
		*list_add(arena, sockets, struct tcp_socket) = socket;
	}
}

bool route_is_default(const struct route *route)
{
	return route->prefix <= (route->to.v6 ? DEFAULT_BITS_V6 : DEFAULT_BITS_V4) &&
	       route->to.bytes[0] != 0xff; /* ff00::/8 is longer, but be sure */
}

static bool same_bits(const uint8_t *a, const uint8_t *b, unsigned bits)
{
	unsigned whole = bits / 8, rest = bits % 8;

	return !memcmp(a, b, whole) && (!rest || !((a[whole] ^ b[whole]) >> (8 - rest)));
}

static bool leads_to(const struct route *route, const struct ip_address *to)
{
	return route->to.v6 == to->v6 && same_bits(route->to.bytes, to->bytes, route->prefix);
}

const struct route *route_to(const struct list *routes, const struct ip_address *to,
			     const struct route *after)
{
	const struct route *best = NULL;

	for (LIST_EACH(struct route, route, routes))
		if (leads_to(route, to) &&
		    (!best || route->prefix > best->prefix ||
		     (route->prefix == best->prefix && route->metric < best->metric)))
			best = route;
	/* link-local networks are reached over any interface, balanced routes over several */
	for (LIST_EACH(struct route, route, routes))
		if (best && leads_to(route, to) && route->prefix == best->prefix &&
		    route->metric == best->metric && (!after || route > after))
			return route;
	return NULL;
}

bool ip_address_is_loopback(const struct ip_address *address)
{
	static const uint8_t one[ADDRESS_BYTES] = { [15] = 1 };

	return address->v6 ? !memcmp(address->bytes, one, sizeof(one)) : address->bytes[0] == 127;
}

bool ip_address_equal(const struct ip_address *a, const struct ip_address *b)
{
	return a->v6 == b->v6 && !memcmp(a->bytes, b->bytes, ADDRESS_BYTES);
}

char *ip_address_format(const struct ip_address *address, char buf[static ADDRESS_TEXT])
{
	if (!inet_ntop(address->v6 ? AF_INET6 : AF_INET, address->bytes, buf, ADDRESS_TEXT))
		snprintf(buf, ADDRESS_TEXT, "?");
	return buf;
}

int routes_read(const struct host_root *root, const char *name, struct arena *arena,
		const char **text)
{
	static const char *const dirs[] = { "proc/1/net", "proc/net" };
	char path[64];
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
		snprintf(path, sizeof(path), "%s/%s", dirs[i], name);
		r = fdpath_read_all(root->fd, path, TABLE_BYTES, arena, text);
		if (!r)
			return 0;
	}
	return r;
}
