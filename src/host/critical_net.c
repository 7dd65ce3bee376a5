/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Network: the interfaces that the default route and the ssh sessions go over, followed down to the
 * NICs. See critical.h.
 *
 * What leads to no NIC (a tunnel, PPP, an interface that is not there) is a doubt about every NIC
 * that nothing else explains. Behind Open vSwitch a port's traffic is not followed.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/strbuf.h"
#include "host/critical_parts.h"
#include "host/netdev.h"
#include "host/ssh.h"
#include "host/sysfs.h"

enum { CLASS_NETWORK = 0x02, TEXT = 512, CHAIN_BYTES = 256 };

static const char ovs[] = "ovs-system";

struct net_search {
	struct critical_search *search;
	struct netdev_map map;
	struct list routes; /* struct route */
	struct list doubts; /* struct critical_doubt */
	unsigned stamp;	    /* of the walk under way */
};

/* What goes over an interface. */
struct traffic {
	const char *why;   /* "carries the default route" */
	const char *where; /* "/proc/net/route" */
};

/* A way down from an interface; on the stack of walk(). */
struct chain {
	struct netdev *netdev;
	const struct chain *above;
	bool ovs; /* a switch that is not followed is on the way */
};

/* "eth0 < bond0 < bond0.100" */
static void add_chain(struct strbuf *sb, const struct chain *chain)
{
	for (; chain; chain = chain->above) {
		strbuf_add(sb, chain->netdev->name);
		if (chain->above)
			strbuf_add(sb, " < ");
	}
}

/* Facts for the functions that the interface is below; false when there is none. */
static bool add_facts(struct net_search *s, const struct chain *chain,
		      const struct traffic *traffic, const char *top)
{
	CLEAN_STRBUF struct strbuf way = STRBUF_INIT(CHAIN_BYTES);
	char why[TEXT], evidence[TEXT];
	bool found = false;

	add_chain(&way, chain);
	snprintf(why, sizeof(why), "%s on %s%s%s%s", traffic->why, top,
		 chain->above ? " through " : "", chain->above ? chain->netdev->name : "",
		 chain->ovs ? ", behind Open vSwitch, which is not followed" : "");
	snprintf(evidence, sizeof(evidence), "%s; %s", traffic->where, strbuf_text(&way));
	for (LIST_EACH(struct function *, f, &s->search->inv->functions)) {
		if (!sysfs_below(chain->netdev->path, (*f)->text))
			continue;
		found = true;
		if (critical_concerns(s->search, *f))
			critical_add(s->search, *f, chain->ovs ? "unknown_carries" : "critical",
				     why, evidence);
	}
	return found;
}

/* True when the interface is, or runs over, a NIC. */
static bool walk(struct net_search *s, const struct chain *above, struct netdev *netdev,
		 const struct traffic *traffic, const char *top)
{
	struct chain chain = { netdev, above, above && above->ovs };
	bool found;

	if (netdev->stamp == s->stamp)
		return false;
	netdev->stamp = s->stamp;
	netdev->used = true;
	chain.ovs |= !strcmp(netdev->name, ovs);
	found = add_facts(s, &chain, traffic, top);
	for (LIST_EACH(struct netdev *, lower, &netdev->lower))
		found |= walk(s, &chain, *lower, traffic, top);
	return found;
}

/* A switch's own port runs over whatever the switch has: down from the switch, as unknown. */
static bool walk_switch(struct net_search *s, struct netdev *port, const struct traffic *traffic)
{
	struct netdev *sw = netdev_by_name(&s->map, ovs);

	if (!sw || !port)
		return false;
	for (LIST_EACH(struct netdev *, lower, &sw->lower))
		if (*lower == port)
			return walk(s, NULL, sw, traffic, port->name);
	return false;
}

static void follow(struct net_search *s, const char *interface, const struct traffic *traffic)
{
	struct netdev *netdev = netdev_by_name(&s->map, interface);

	s->stamp++;
	if (netdev && walk(s, NULL, netdev, traffic, interface))
		return;
	if (walk_switch(s, netdev, traffic))
		return;
	critical_doubt(s->search, &s->doubts, traffic->where,
		       "something %s on %s, and what that runs over cannot be told", traffic->why,
		       interface);
}

static int read_routes(struct net_search *s, struct error *err)
{
	struct critical_search *search = s->search;
	const char *text;
	int r = routes_read(search->root, "route", search->arena, &text);

	if (!r) {
		routes_parse_v4(text, search->arena, &s->routes);
		r = routes_read(search->root, "ipv6_route", search->arena, &text);
		if (!r)
			routes_parse_v6(text, search->arena, &s->routes);
		else if (r == -ENOENT)
			r = 0; /* a kernel without IPv6 */
	}
	if (r && !critical_unreadable(r))
		return error_errno(err, ERROR_SYSTEM, -r, "/proc/net/route cannot be read");
	if (r)
		critical_doubt(search, &s->doubts, "/proc/net/route cannot be read",
			       "where the default route goes cannot be told");
	return 0;
}

static void follow_default_routes(struct net_search *s)
{
	struct traffic traffic;

	for (LIST_EACH(struct route, route, &s->routes)) {
		if (!route_is_default(route))
			continue;
		traffic.why = route->to.v6 ? "carries the default route (IPv6)"
					   : "carries the default route (IPv4)";
		traffic.where = route->to.v6 ? "/proc/net/ipv6_route" : "/proc/net/route";
		follow(s, route->interface, &traffic);
	}
}

static void follow_peer(struct net_search *s, const struct ip_address *peer)
{
	struct arena *arena = s->search->arena;
	const struct route *route = NULL;
	char text[ADDRESS_TEXT];
	struct traffic traffic = {
		.why = arena_printf(arena, "carries an ssh session from %s",
				    ip_address_format(peer, text)),
		.where = "/proc/net/tcp, /proc/net/route",
	};
	bool found = false;

	while ((route = route_to(&s->routes, peer, route))) {
		follow(s, route->interface, &traffic);
		found = true;
	}
	if (!found)
		critical_doubt(s->search, &s->doubts, traffic.where,
			       "no route leads to %s, from where there is an ssh session", text);
}

static void follow_ssh(struct net_search *s)
{
	struct list peers = { 0 };
	struct error err;

	if (ssh_peers(s->search->root, s->search->arena, &peers, &err))
		critical_doubt(s->search, &s->doubts, err.message,
			       "whether an ssh session goes over it cannot be told");
	for (LIST_EACH(struct ip_address, peer, &peers))
		follow_peer(s, peer);
}

/* Interfaces of the function: are there any, one that is up, one that something was found on? */
struct nics {
	bool any, up, used;
	const struct netdev *port; /* of a switch that is not followed */
};

static struct nics nics_of(const struct net_search *s, const struct function *f)
{
	const struct netdev *sw = netdev_by_name(&s->map, ovs);
	struct nics nics = { 0 };

	for (LIST_EACH(struct netdev *, netdev, &s->map.netdevs)) {
		if (!sysfs_below((*netdev)->path, f->text))
			continue;
		nics.any = true;
		nics.up |= (*netdev)->up;
		nics.used |= (*netdev)->used;
		for (LIST_EACH(struct netdev *, lower, sw ? &sw->lower : &(struct list){ 0 }))
			if (*lower == *netdev)
				nics.port = *netdev;
	}
	return nics;
}

/* A NIC that nothing was found on: is that certain? */
static void doubt_function(struct net_search *s, const struct function *f)
{
	struct nics nics = nics_of(s, f);
	bool unseen = !nics.any && f->driver && f->class >> 16 == CLASS_NETWORK;
	char why[TEXT];

	if (nics.used)
		return;
	if (nics.port) {
		snprintf(why, sizeof(why), "%s is a port of Open vSwitch, which is not followed",
			 nics.port->name);
		critical_add(s->search, f, "unknown_carries", why,
			     "/sys/class/net/…/master is ovs-system");
	}
	if (!nics.up && !unseen)
		return;
	for (LIST_EACH(struct critical_doubt, doubt, &s->doubts))
		critical_add(s->search, f, "unknown_carries", doubt->why, doubt->evidence);
}

int critical_nics(struct critical_search *search, struct error *err)
{
	struct net_search s = { .search = search };
	int r = netdev_map_read(search->root, search->arena, &s.map);

	if (r < 0 && !critical_unreadable(r))
		return error_errno(err, ERROR_SYSTEM, -r, "/sys/class/net cannot be read");
	if (r < 0)
		critical_doubt(
			search, &s.doubts, "/sys/class/net cannot be read",
			"its interfaces cannot be listed, so what goes over them is not known");
	if (read_routes(&s, err))
		return -1;
	if (r >= 0) {
		follow_default_routes(&s);
		follow_ssh(&s);
	}
	for (LIST_EACH(struct function *, f, &search->inv->functions))
		if (critical_concerns(search, *f))
			doubt_function(&s, *f);
	return 0;
}
