/* SPDX-License-Identifier: Apache-2.0 */
/* NICs that the host lives on, by described hosts; and the parsers of the kernel's tables. */
#include "unit.h"

#include "described.h"
#include "host/critical.h"
#include "host/routes.h"

struct test_case {
	const char *name;
	const char *host;
	const char *expected;	/* described_expect() */
};

#define NICS "net eth0 0000:05:00.0\nnet eth1 0000:06:00.0\nvnet lo\n"
#define DEFAULT(interface) "route " interface " 0.0.0.0/0\n"
#define SSH(peer) "tcp 10.0.0.9:22 " peer ":50000 1 77\n"

static const struct test_case nics[] = {
	{ "no route at all", NICS, "" },
	{ "default route, direct", NICS DEFAULT("eth0") "route eth1 10.0.0.0/24\n",
	  "0000:05:00.0 critical carries the default route (IPv4) on eth0\n" },
	{ "default route of IPv6", NICS "route6 eth1 ::/0\nroute6 lo ::/0\nroute6 eth0 fe80::/64\n",
	  "0000:06:00.0 critical carries the default route (IPv6) on eth1\n" },
	{ "both", NICS DEFAULT("eth0") "route6 eth0 ::/0\n",
	  "0000:05:00.0 critical (IPv4) on eth0\n0000:05:00.0 critical (IPv6) on eth0\n" },
	{ "default route in two halves", NICS "route eth0 0.0.0.0/1\nroute eth0 128.0.0.0/1\n",
	  "0000:05:00.0 critical carries the default route (IPv4) on eth0\n" },
	{ "bridge", NICS "vnet br0\nover br0 eth0\n" DEFAULT("br0"),
	  "0000:05:00.0 critical carries the default route (IPv4) on br0 through eth0\n" },
	{ "bridge, told by brport alone",
	  NICS "vnet br0\nlink sys/devices/pci0000:00/0000:00:05.0/0000:05:00.0/net/eth0/brport/bridge "
	  "../../../../../../virtual/net/br0\n" DEFAULT("br0"),
	  "0000:05:00.0 critical on br0 through eth0\n" },
	{ "bond of two", NICS "vnet bond0\nover bond0 eth0\nover bond0 eth1\n" DEFAULT("bond0"),
	  "0000:05:00.0 critical on bond0 through eth0\n"
	  "0000:06:00.0 critical on bond0 through eth1\n" },
	{ "bond, told by master alone",
	  NICS "vnet bond0\nlink sys/devices/pci0000:00/0000:00:06.0/0000:06:00.0/net/eth1/master "
	  "../../../../../virtual/net/bond0\n" DEFAULT("bond0"),
	  "0000:06:00.0 critical on bond0 through eth1\n" },
	{ "told from below alone",
	  NICS "vnet br0\nfile sys/devices/pci0000:00/0000:00:05.0/0000:05:00.0/net/eth0/upper_br0 x\n"
	  DEFAULT("br0"), "0000:05:00.0 critical on br0 through eth0\n" },
	{ "told from above alone",
	  NICS "vnet br0\nfile sys/devices/virtual/net/br0/lower_eth0 x\n" DEFAULT("br0"),
	  "0000:05:00.0 critical on br0 through eth0\n" },
	{ "of two equal routes to the peer: both", NICS "route eth0 192.168.7.0/24\n"
	  "route eth1 192.168.7.0/24\n" SSH("192.168.7.3"),
	  "0000:05:00.0 critical an ssh session from 192.168.7.3 on eth0\n"
	  "0000:06:00.0 critical an ssh session from 192.168.7.3 on eth1\n" },
	{ "team", NICS "vnet team0\nover team0 eth1\n" DEFAULT("team0"),
	  "0000:06:00.0 critical on team0 through eth1\n" },
	{ "VLAN on bond",
	  NICS "vnet bond0\nover bond0 eth0\nover bond0 eth1\nvnet bond0.100\n"
	  "over bond0.100 bond0\n" DEFAULT("bond0.100"),
	  "0000:05:00.0 critical on bond0.100 through eth0\n"
	  "0000:06:00.0 critical on bond0.100 through eth1\n" },
	{ "bridge on VLAN on NIC", NICS "vnet eth1.7\nover eth1.7 eth1\nvnet br7\nover br7 eth1.7\n"
	  DEFAULT("br7"), "0000:06:00.0 critical on br7 through eth1\n" },
	{ "macvlan", NICS "vnet mv0\nover mv0 eth0\n" DEFAULT("mv0"),
	  "0000:05:00.0 critical on mv0 through eth0\n" },
	{ "ssh session, not by the default route",
	  NICS DEFAULT("eth0") "route eth1 192.168.7.0/24\n" SSH("192.168.7.3"),
	  "0000:05:00.0 critical carries the default route\n"
	  "0000:06:00.0 critical carries an ssh session from 192.168.7.3 on eth1\n" },
	{ "ssh session of IPv6", NICS "route6 eth1 2001:db8::/32\n"
	  "tcp 2001:db8::1:22 2001:db8::2:50000 1 78\n",
	  "0000:06:00.0 critical carries an ssh session from 2001:db8::2 on eth1\n" },
	{ "ssh session of IPv4 at a socket of IPv6", NICS "route eth1 192.168.7.0/24\n"
	  "tcp ::ffff:192.168.7.1:22 ::ffff:192.168.7.3:50000 1 78\n",
	  "0000:06:00.0 critical carries an ssh session from 192.168.7.3 on eth1\n" },
	{ "link-local peer: any of the interfaces", NICS "route6 eth0 fe80::/64\nroute6 eth1 fe80::/64\n"
	  "tcp fe80::1:22 fe80::2:50000 1 78\n",
	  "0000:05:00.0 critical an ssh session from fe80::2 on eth0\n"
	  "0000:06:00.0 critical an ssh session from fe80::2 on eth1\n" },
	{ "ssh over the loopback, a closed one, and one to elsewhere",
	  NICS "route eth1 192.168.7.0/24\ntcp 127.0.0.1:22 127.0.0.2:40000 1 7\n"
	  "tcp 192.168.7.1:22 192.168.7.3:50000 6 8\ntcp 192.168.7.1:50001 192.168.7.3:22 1 9\n"
	  "tcp 192.168.7.1:22 192.168.7.1:50002 1 10\n", "" },
	{ "sshd at another port, by its configuration",
	  NICS "route eth1 192.168.7.0/24\nfile etc/ssh/sshd_config.d/x.conf Port 2222\n"
	  "tcp 0.0.0.0:2222 0.0.0.0:0 10 5\ntcp 192.168.7.1:2222 192.168.7.3:50000 1 8\n",
	  "0000:06:00.0 critical an ssh session from 192.168.7.3 on eth1\n" },
	{ "sshd's address with a port",
	  NICS "route eth1 192.168.7.0/24\nfile etc/ssh/sshd_config ListenAddress [::]:2022\n"
	  "tcp 192.168.7.1:2022 192.168.7.3:50000 1 8\n",
	  "0000:06:00.0 critical an ssh session from 192.168.7.3 on eth1\n" },
	{ "sshd at another port, by its sockets",
	  NICS "route eth1 192.168.7.0/24\nprocess 50 sshd\nopen 50 3 socket:[5]\n"
	  "tcp 0.0.0.0:2222 0.0.0.0:0 10 5\ntcp 192.168.7.1:2222 192.168.7.3:50000 1 8\n",
	  "0000:06:00.0 critical an ssh session from 192.168.7.3 on eth1\n" },
	{ "systemd listens, the session is sshd's",
	  NICS "route eth1 192.168.7.0/24\nprocess 50 sshd-session\nopen 50 3 socket:[8]\n"
	  "tcp 0.0.0.0:2222 0.0.0.0:0 10 5\ntcp 192.168.7.1:2222 192.168.7.3:50000 1 8\n",
	  "0000:06:00.0 critical an ssh session from 192.168.7.3 on eth1\n" },
	{ "somebody else's service",
	  NICS "route eth1 192.168.7.0/24\nprocess 50 nginx\nopen 50 3 socket:[5]\n"
	  "tcp 0.0.0.0:443 0.0.0.0:0 10 5\ntcp 192.168.7.1:443 192.168.7.3:50000 1 8\n", "" },
	{ "a port of Open vSwitch, no route over it",
	  NICS "vnet ovs-system\nover ovs-system eth0\n" DEFAULT("eth1"),
	  "0000:05:00.0 unknown_carries eth0 is a port of Open vSwitch\n"
	  "0000:06:00.0 critical carries the default route\n" },
	{ "the default route on a port of the switch's own",
	  NICS "vnet ovs-system\nover ovs-system eth0\nvnet br-ex\nover ovs-system br-ex\n"
	  DEFAULT("br-ex"),
	  "0000:05:00.0 unknown_carries carries the default route (IPv4) on br-ex through eth0, "
	  "behind Open vSwitch\n" },
	{ "a tunnel: every NIC that is up may carry it",
	  NICS "vnet ppp0\ndown eth1\n" DEFAULT("ppp0"),
	  "0000:05:00.0 unknown_carries on ppp0, and what that runs over cannot be told\n" },
	{ "a tunnel, and a NIC that is known to carry something",
	  NICS "vnet wg0\nroute wg0 0.0.0.0/0\nroute eth0 0.0.0.0/0\n",
	  "0000:05:00.0 critical carries the default route (IPv4) on eth0\n"
	  "0000:06:00.0 unknown_carries on wg0\n" },
	{ "a network that is not ours to see (interfaces missing)",
	  "has 0000:05:00.0\nhas 0000:06:00.0\nvnet lo\n" DEFAULT("eth0"),
	  "0000:05:00.0 unknown_carries on eth0, and what that runs over cannot be told\n"
	  "0000:06:00.0 unknown_carries on eth0, and what that runs over cannot be told\n" },
	{ "no way back to the peer", NICS "down eth1\n" SSH("192.168.7.3"),
	  "0000:05:00.0 unknown_carries no route leads to 192.168.7.3\n" },
	{ "routes cannot be read", NICS "drop proc/net/route\ndown eth0\n",
	  "0000:06:00.0 unknown_carries where the default route goes cannot be told\n" },
	{ "sockets cannot be read", NICS DEFAULT("eth0") "drop proc/net/tcp\n",
	  "0000:05:00.0 critical carries the default route\n"
	  "0000:06:00.0 unknown_carries whether an ssh session goes over it cannot be told\n" },
	{ "a kernel without IPv6", NICS DEFAULT("eth0") "drop proc/net/ipv6_route\ndrop proc/net/tcp6\n",
	  "0000:05:00.0 critical carries the default route\n" },
	{ "no list of interfaces", "has 0000:05:00.0\nhas 0000:06:00.0\ndrop sys/class/net\n",
	  "0000:05:00.0 unknown_carries its interfaces cannot be listed\n"
	  "0000:06:00.0 unknown_carries its interfaces cannot be listed\n" },
	{ "a NIC given to vfio",
	  NICS DEFAULT("eth0") "link sys/devices/pci0000:00/0000:00:05.0/0000:05:00.0/driver "
	  "../../../../bus/pci/drivers/vfio-pci\n", "" },
};

static void test_nics(void **state)
{
	struct described host;
	struct list facts;
	struct error err;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(nics); i++) {
		described_make(&host, nics[i].host);
		assert_true(critical_find(&host.tree.root, host.inv, host.arena, &facts, &err) ==
			    (int)facts.n);
		described_expect(&facts, nics[i].name, nics[i].expected);
		described_expect_same(&host, nics[i].name, &facts);
		described_remove(&host);
	}
}

/* What the kernel of this machine prints, as it stands in its documentation and in real files. */
static void test_tables(void **state)
{
	CLEANUP(arena_freep) struct arena *arena = arena_new();
	struct list routes = { 0 }, sockets = { 0 };
	const struct tcp_socket *socket;
	char text[ADDRESS_TEXT];

	(void)state;
	routes_parse_v4("Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
			"eth0\t00000000\t0100A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n"
			"eth1\t0000A8C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0\n"
			"eth2\t000010AC\t00000000\t0000\t0\t0\t0\t0000FFFF\t0\t0\t0\n"
			"*\t0000000A\t00000000\t0201\t0\t0\t0\t000000FF\t0\t0\t0\nbroken", arena, &routes);
	routes_parse_v6("fe800000000000000000000000000000 40 00000000000000000000000000000000 00 "
			"00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0\n"
			"00000000000000000000000000000000 00 00000000000000000000000000000000 00 "
			"00000000000000000000000000000000 ffffffff 00000001 00000000 00200200       lo\n"
			"0000000000000000000000 00 x\n", arena, &routes);
	assert_int_equal(routes.n, 3);
	assert_true(route_is_default((struct route *)routes.items));
	assert_string_equal(ip_address_format(&((struct route *)routes.items)[1].to, text),
			    "192.168.0.0");
	assert_int_equal(((struct route *)routes.items)[1].prefix, 24);
	assert_string_equal(ip_address_format(&((struct route *)routes.items)[2].to, text), "fe80::");
	tcp_parse("  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
		  "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 "
		  "31337 1 0000000000000000 100 0 0 10 0\n"
		  "   1: 0900000A:0016 0507A8C0:C350 01 00000000:00000000 02:000A7214 00000000     0        0 "
		  "424242 2 0000000000000000 20 4 31 10 -1\n  2: 0900000A\n", false, arena, &sockets);
	assert_int_equal(sockets.n, 2);
	socket = (struct tcp_socket *)sockets.items + 1;
	assert_int_equal(socket->local_port, 22);
	assert_int_equal(socket->state, TCP_SOCKET_ESTABLISHED);
	assert_int_equal(socket->inode, 424242);
	assert_string_equal(ip_address_format(&socket->peer, text), "192.168.7.5");
	socket--;
	assert_int_equal(socket->state, TCP_SOCKET_LISTEN);
	assert_true(ip_address_is_loopback(&socket->local));
}

/* The longest prefix first, then the lowest metric; equal ones one after the other. */
static void test_route_to(void **state)
{
	CLEANUP(arena_freep) struct arena *arena = arena_new();
	struct list routes = { 0 };
	struct ip_address to = { .bytes = { 192, 168, 7, 3 } }, other = { .bytes = { 10, 0, 0, 1 } };
	const struct route *route;

	(void)state;
	routes_parse_v4("a 00000000 0100A8C0 0003 0 0 1 00000000 0 0 0\n"
			"b 0007A8C0 00000000 0001 0 0 200 00FFFFFF 0 0 0\n"
			"c 0007A8C0 00000000 0001 0 0 100 00FFFFFF 0 0 0\n"
			"d 0000A8C0 00000000 0001 0 0 1 0000FFFF 0 0 0\n"
			"e 0007A8C0 00000000 0001 0 0 100 00FFFFFF 0 0 0\n", arena, &routes);
	route = route_to(&routes, &to, NULL);
	assert_string_equal(route->interface, "c");
	route = route_to(&routes, &to, route);
	assert_string_equal(route->interface, "e");
	assert_null(route_to(&routes, &to, route));
	assert_string_equal(route_to(&routes, &other, NULL)->interface, "a");
	to.v6 = true;
	assert_null(route_to(&routes, &to, NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nics),
		cmocka_unit_test(test_tables),
		cmocka_unit_test(test_route_to),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
