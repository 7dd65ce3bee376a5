/* SPDX-License-Identifier: Apache-2.0 */
/* Any text as the kernel's tables of mounts, routes and sockets: each parser reads each text. */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "host/mounts.h"
#include "host/routes.h"

static void must(bool holds)
{
	if (!holds)
		abort();
}

static void check_routes(const struct list *routes)
{
	struct ip_address to = { 0 };
	const struct route *best = NULL;
	size_t n = 0;

	for (LIST_EACH(struct route, route, routes)) {
		must(route->prefix <= (route->to.v6 ? 128 : 32));
		must(route->interface[0] && strcmp(route->interface, "lo"));
		route_is_default(route);
	}
	while ((best = route_to(routes, &to, best)))
		must(!best->to.v6 && ++n <= routes->n);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	CLEANUP(arena_freep) struct arena *arena = arena_new();
	const char *text = arena_strndup(arena, (const char *)bytes, n);
	struct list mounts = { 0 }, routes = { 0 }, sockets = { 0 };
	char buf[ADDRESS_TEXT];

	mounts_parse(text, arena, &mounts);
	for (LIST_EACH(struct mount, mount, &mounts))
		must(mount->point && mount->type && mount->source && mount->options);
	routes_parse_v4(text, arena, &routes);
	routes_parse_v6(text, arena, &routes);
	check_routes(&routes);
	tcp_parse(text, false, arena, &sockets);
	tcp_parse(text, true, arena, &sockets);
	for (LIST_EACH(struct tcp_socket, socket, &sockets)) {
		must(socket->local_port <= 0xffff && socket->peer_port <= 0xffff);
		must(ip_address_format(&socket->peer, buf)[0]);
	}
	return 0;
}
