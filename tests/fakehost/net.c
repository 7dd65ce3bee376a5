/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Network interfaces with their upper_ and lower_ links, and /proc/net: routes,
 * addresses, connections.  Formats: net/core/net-sysfs.c, net/ipv4/fib_trie.c,
 * net/ipv4/tcp_ipv4.c (addresses are the bytes of memory, read as a number).
 */
#include "net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "child.h"
#include "host.h"

struct net {
	struct net *next;
	char *name, *kind, *over, *master, *mac;
	unsigned index;
	bool down;
	struct child *child;
	struct node *dir;
};

struct row {
	struct row *next;
	bool six;
	unsigned char address[16], remote[16], via[16];
	unsigned prefix, port, remote_port, metric, uid, inode, state;
	char *dev;
	char *key; /* for net_forget() */
};

static struct net *nets;
static struct row *addresses, *routes, *connections;

static struct net *find(const char *name)
{
	for (struct net *n = nets; n; n = n->next)
		if (!strcmp(n->name, name))
			return n;
	return NULL;
}

/* ---- interfaces ---- */

static void link_pair(const struct net *upper, const struct net *lower)
{
	char name[64];

	if (!upper->dir || !lower->dir)
		return;
	snprintf(name, sizeof(name), "lower_%s", lower->name);
	node_link_to(upper->dir, name, lower->dir);
	snprintf(name, sizeof(name), "upper_%s", upper->name);
	node_link_to(lower->dir, name, upper->dir);
}

static void link_master(const struct net *n)
{
	const struct net *m = n->master ? find(n->master) : NULL;

	if (!m || !m->dir || !n->dir)
		return;
	link_pair(m, n);
	node_link_to(n->dir, "master", m->dir);
	if (m->kind && !strcmp(m->kind, "bridge")) {
		node_link_to(node_dir(n->dir, "brport"), "bridge", m->dir);
		node_link_to(node_dir(m->dir, "brif"), n->name, node_dir(n->dir, "brport"));
	}
}

static void link_all(const struct net *n)
{
	const char *over = n->over;
	char name[32];

	while (over && text_next(&over, ",", name, sizeof(name)))
		if (find(name))
			link_pair(n, find(name));
	link_master(n);
	for (const struct net *m = nets; m; m = m->next)
		if (m->dir && m->master && !strcmp(m->master, n->name))
			link_master(m);
}

static void add_kind(const struct net *n)
{
	if (!n->kind)
		return;
	if (!strcmp(n->kind, "bridge"))
		node_text(node_dir(n->dir, "bridge"), "stp_state", 0644, "0\n");
	if (!strcmp(n->kind, "bond"))
		node_text(node_dir(n->dir, "bonding"), "mode", 0644, "active-backup 1\n");
	if (!strcmp(n->kind, "tun"))
		node_text(n->dir, "tun_flags", 0444, "0x5002\n");
}

static void make_net(struct child *c)
{
	struct net *n = c->data;
	struct node *parent = c->under ? node_dir(c->under->dir, "net") : child_place(c, "net");
	char env[128];

	snprintf(env, sizeof(env), "%s%s%sINTERFACE=%s\nIFINDEX=%u\n", n->kind ? "DEVTYPE=" : "",
		 n->kind ? n->kind : "", n->kind ? "\n" : "", n->name, n->index);
	n->dir = child_device(c, parent, n->name, "net", env);
	node_text(n->dir, "address", 0444, "%s\n", n->mac);
	node_text(n->dir, "carrier", 0644, "%d\n", !n->down);
	node_text(n->dir, "flags", 0644, n->down ? "0x1002\n" : "0x1003\n");
	node_text(n->dir, "ifindex", 0444, "%u\n", n->index);
	node_text(n->dir, "iflink", 0444, "%u\n", n->index);
	node_text(n->dir, "operstate", 0444, n->down ? "down\n" : "up\n");
	node_text(n->dir, "type", 0444, strcmp(n->name, "lo") ? "1\n" : "772\n");
	add_kind(n);
	link_all(n);
}

/* `net NAME [bridge|bond|vlan|macvlan|tun|openvswitch] [under=] [over=] [master=] [down]` */
int net_line(struct line *l)
{
	static const char *const kinds[] = { "bond",	    "bridge", "macvlan",
					     "openvswitch", "tun",    "vlan" };
	const char *under = line_key(l, "under"), *over = line_key(l, "over"), *name;
	const char *master = line_key(l, "master"), *mac = line_key(l, "mac");
	const char *driver = line_key(l, "driver");
	struct function *f = under ? host_function(under) : NULL;
	struct net *n = must_alloc(sizeof(*n)), **end = &nets;

	for (int i = 0; i < 6; i++)
		if (line_flag(l, kinds[i]))
			n->kind = text_dup(kinds[i]);
	n->down = line_flag(l, "down");
	name = line_word(l);
	if (!name || find(name) || (under && !f))
		return host_complain("net wants a new name, and under= a function above");
	for (n->index = 1; *end; end = &(*end)->next)
		n->index = (*end)->index + 1;
	*end = n;
	n->name = text_dup(name);
	n->over = over ? text_dup(over) : NULL;
	n->master = master ? text_dup(master) : NULL;
	n->mac = mac ? text_dup(mac) : text_format("52:54:00:00:00:%02x", n->index & 0xff);
	n->child = child_new(f, driver, n, make_net);
	n->child->dir = &n->dir;
	if (host.built)
		make_net(n->child);
	return 0;
}

/* ---- tables ---- */

static struct row *append(struct row **list)
{
	struct row *r = must_alloc(sizeof(*r));

	while (*list)
		list = &(*list)->next;
	*list = r;
	return r;
}

/* "10.0.0.5/24", "::1", "[2001:db8::1]:22", "10.0.0.5:22" */
static int parse_address(const char *s, unsigned char address[16], bool *six, unsigned *number,
			 char mark)
{
	char host_part[64];
	const char *stop = strrchr(s, mark);

	*six = *s == '[' || (strchr(s, ':') && strchr(s, ':') != strrchr(s, ':'));
	if (mark == ':' && *six && *s != '[')
		return -EINVAL;
	snprintf(host_part, sizeof(host_part), "%.*s", stop ? (int)(stop - s) : 63, s);
	if (stop)
		*number = (unsigned)strtoul(stop + 1, NULL, 10);
	else
		*number = *six ? 128 : 32;
	if (*host_part == '[') {
		memmove(host_part, host_part + 1, strlen(host_part));
		host_part[strcspn(host_part, "]")] = '\0';
	}
	return inet_pton(*six ? AF_INET6 : AF_INET, host_part, address) == 1 ? 0 : -EINVAL;
}

/* `address IFACE 10.0.0.5/24` */
int net_address_line(struct line *l)
{
	const char *dev = line_word(l), *s = line_word(l);
	struct row row = { 0 };

	if (!dev || !s || parse_address(s, row.address, &row.six, &row.prefix, '/'))
		return host_complain("address wants IFACE ADDRESS/PREFIX");
	row.dev = text_dup(dev);
	*append(&addresses) = row;
	return 0;
}

/* `route default|NET/PREFIX [via=] dev= [metric=] [v6]` */
int net_route_line(struct line *l)
{
	bool v6 = line_flag(l, "v6"), unused;
	const char *s = line_word(l), *dev = line_key(l, "dev"), *via = line_key(l, "via");
	struct row row = { 0 };
	unsigned none;
	int r = line_number(l, "metric", 1U << 30, &row.metric);

	if (r || !s || !dev)
		return r ? r : host_complain("route wants default|NET/PREFIX dev=");
	row.six = v6;
	if (strcmp(s, "default") && parse_address(s, row.address, &row.six, &row.prefix, '/'))
		return host_complain("'%s' is no network", s);
	if (via && parse_address(via, row.via, &unused, &none, '/'))
		return host_complain("via=%s is no address", via);
	row.dev = text_dup(dev);
	row.key = text_dup(dev);
	*append(&routes) = row;
	return 0;
}

/* `tcp LOCAL:PORT REMOTE:PORT [state=ESTABLISHED|LISTEN|TIME_WAIT] [uid=] [inode=]` */
int net_tcp_line(struct line *l)
{
	const char *local = line_word(l), *remote = line_word(l), *state = line_key(l, "state");
	struct row row = { .inode = 30000 };
	int r = line_number(l, "uid", 1U << 30, &row.uid);

	r = r ? r : line_number(l, "inode", 1U << 30, &row.inode);
	if (r || !local || !remote || parse_address(local, row.address, &row.six, &row.port, ':') ||
	    parse_address(remote, row.remote, &row.six, &row.remote_port, ':'))
		return r ? r : host_complain("tcp wants LOCAL:PORT REMOTE:PORT");
	row.state = !state || !strcmp(state, "ESTABLISHED") ? 1 : !strcmp(state, "LISTEN") ? 10 : 6;
	row.key = text_dup(remote);
	*append(&connections) = row;
	return 0;
}

int net_forget(const char *what, const char *which)
{
	for (struct row **at = *what == 'r' ? &routes : &connections; *at; at = &(*at)->next) {
		if (strcmp((*at)->key, which))
			continue;
		*at = (*at)->next;
		return 0;
	}
	return host_complain("there is no %s %s", what, which);
}

/* An address as the kernel prints it: the words of memory as hex numbers. */
static void add_words(struct text *out, const unsigned char *a, size_t size)
{
	for (size_t i = 0; i < size; i += 4)
		text_addf(out, "%02X%02X%02X%02X", a[i + 3], a[i + 2], a[i + 1], a[i]);
}

static void add_bytes(struct text *out, const unsigned char *a)
{
	for (int i = 0; i < 16; i++)
		text_addf(out, "%02x", a[i]);
}

static int route_show(void *owner, const struct attr *attr, struct text *out)
{
	static const unsigned char zero[16];

	(void)owner;
	(void)attr;
	text_puts(out, "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\t"
		       "Window\tIRTT                                                       \n");
	for (const struct row *r = routes; r; r = r->next) {
		unsigned mask = r->prefix ? htonl(~0U << (32 - r->prefix)) : 0;

		if (r->six)
			continue;
		text_addf(out, "%s\t", r->dev);
		add_words(out, r->address, 4);
		text_puts(out, "\t");
		add_words(out, r->via, 4);
		text_addf(out, "\t%04X\t0\t0\t%u\t%08X\t0\t0\t0%62s\n",
			  memcmp(r->via, zero, 4) ? 3 : 1, r->metric, mask, "");
	}
	return 0;
}

static int route6_show(void *owner, const struct attr *attr, struct text *out)
{
	static const unsigned char zero[16];

	(void)owner;
	(void)attr;
	for (const struct row *r = routes; r; r = r->next) {
		if (!r->six)
			continue;
		add_bytes(out, r->address);
		text_addf(out, " %02x ", r->prefix);
		add_bytes(out, zero);
		text_puts(out, " 00 ");
		add_bytes(out, r->via);
		text_addf(out, " %08x 00000001 00000000 %08x %8s\n", r->metric,
			  memcmp(r->via, zero, 16) ? 3 : 1, r->dev);
	}
	return 0;
}

static int if_inet6_show(void *owner, const struct attr *attr, struct text *out)
{
	(void)owner;
	(void)attr;
	for (const struct row *r = addresses; r; r = r->next) {
		const struct net *n = find(r->dev);

		if (!r->six)
			continue;
		add_bytes(out, r->address);
		text_addf(out, " %02x %02x 00 80 %8s\n", n ? n->index : 0, r->prefix, r->dev);
	}
	return 0;
}

/* attr->arg: 4 or 6 */
static int tcp_show(void *owner, const struct attr *attr, struct text *out)
{
	size_t size = attr->arg == 6 ? 16 : 4;
	unsigned line = 0;

	(void)owner;
	text_puts(out,
		  attr->arg == 6
			  ? "  sl  local_address                         remote_address            "
			    "        "
			    "    st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
			  : "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when "
			    "retrnsmt   "
			    "uid  timeout inode                                                    "
			    " \n");
	for (const struct row *r = connections; r; r = r->next) {
		if (r->six != (attr->arg == 6))
			continue;
		text_addf(out, "%4u: ", line++);
		add_words(out, r->address, size);
		text_addf(out, ":%04X ", r->port);
		add_words(out, r->remote, size);
		text_addf(out,
			  ":%04X %02X 00000000:00000000 00:00000000 00000000 %5u        0 %u 1 "
			  "0000000000000000 20 4 30 10 -1\n",
			  r->remote_port, r->state, r->uid, r->inode);
	}
	return 0;
}

static const struct attr attrs[] = {
	{ .name = "if_inet6", .mode = 0444, .show = if_inet6_show },
	{ .name = "ipv6_route", .mode = 0444, .show = route6_show },
	{ .name = "route", .mode = 0444, .show = route_show },
	{ .name = "tcp", .mode = 0444, .show = tcp_show, .arg = 4 },
	{ .name = "tcp6", .mode = 0444, .show = tcp_show, .arg = 6 },
};

void net_make(void)
{
	node_files(node_dir(NULL, "proc/1/net"), attrs, sizeof(attrs) / sizeof(*attrs), NULL);
	node_dir(NULL, "sys/class/net");
}
