/* SPDX-License-Identifier: Apache-2.0 */
/* See ssh.h. */
#include "host/ssh.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/fdpath.h"
#include "host/processes.h"

enum {
	PORT_SSH = 22,
	PORTS = 65536,
	CONFIG_BYTES = 256 * 1024,
	PATH_TEXT = 512,
};

struct search {
	const struct host_root *root;
	struct arena *arena;
	struct list sockets;	 /* struct tcp_socket */
	struct list inodes;	 /* unsigned long: sockets of ssh daemons */
	uint8_t port[PORTS / 8]; /* of ssh, a bit each */
	int64_t pid;		 /* the process that was asked last, and whether it is one */
	bool is_daemon;
};

static bool has_port(const struct search *s, unsigned port)
{
	return port < PORTS && s->port[port / 8] >> (port % 8) & 1;
}

static void add_port(struct search *s, unsigned port)
{
	if (port < PORTS)
		s->port[port / 8] |= (uint8_t)(1 << port % 8);
}

static int read_sockets(struct search *s, struct error *err)
{
	const char *text;
	int r = routes_read(s->root, "tcp", s->arena, &text);

	if (r < 0)
		return error_errno(err, ERROR_SYSTEM, -r, "/proc/net/tcp cannot be read");
	tcp_parse(text, false, s->arena, &s->sockets);
	r = routes_read(s->root, "tcp6", s->arena, &text);
	if (!r)
		tcp_parse(text, true, s->arena, &s->sockets);
	else if (r != -ENOENT) /* a kernel without IPv6 */
		return error_errno(err, ERROR_SYSTEM, -r, "/proc/net/tcp6 cannot be read");
	return 0;
}

/* "Port 2222", "ListenAddress [::]:2222", "ListenAddress 10.0.0.1:2222" */
static void parse_line(struct search *s, char *line)
{
	char *word = line + strspn(line, " \t"), *value = word + strcspn(word, " \t="), *colon;

	if (!*value)
		return;
	*value++ = '\0';
	value += strspn(value, " \t=\"");
	value[strcspn(value, " \t\"\r")] = '\0';
	if (!strcasecmp(word, "Port")) {
		add_port(s, (unsigned)strtoul(value, NULL, 10));
	} else if (!strcasecmp(word, "ListenAddress")) {
		colon = strrchr(value, ':');
		/* an address of IPv6 alone has colons too, and no port */
		if (colon && (strchr(value, ':') == colon || (colon > value && colon[-1] == ']')))
			add_port(s, (unsigned)strtoul(colon + 1, NULL, 10));
	}
}

static int read_config(struct search *s, const char *path)
{
	const char *text;
	char *copy, *line;
	int r = fdpath_read_all(s->root->fd, path, CONFIG_BYTES, s->arena, &text);

	if (r < 0)
		return r == -ENOENT || r == -ENOTDIR ? 0 : r;
	copy = arena_strdup(s->arena, text);
	while ((line = strsep(&copy, "\n")))
		parse_line(s, line);
	return 0;
}

static int read_configs(struct search *s)
{
	static const char dir[] = "etc/ssh/sshd_config.d";
	struct list names = { 0 };
	char path[PATH_TEXT];
	int r = read_config(s, "etc/ssh/sshd_config"), one;

	one = fdpath_list(s->root->fd, dir, s->arena, &names);
	if (one < 0 && one != -ENOENT && one != -ENOTDIR)
		r = one;
	for (LIST_EACH(const char *, name, &names)) {
		snprintf(path, sizeof(path), "%s/%s", dir, *name);
		one = read_config(s, path);
		r = one < 0 ? one : r;
	}
	return r;
}

static bool is_daemon(const char *name)
{
	return !strncmp(name, "sshd", 4) || !strcmp(name, "dropbear");
}

static void on_path(void *data, int64_t pid, const char *path)
{
	struct search *s = data;
	char name[PATH_TEXT];
	unsigned long inode;

	if (sscanf(path, "socket:[%lu]", &inode) != 1)
		return;
	if (pid != s->pid)
		s->is_daemon = processes_name(s->root, pid, name, sizeof(name)) && is_daemon(name);
	s->pid = pid;
	if (s->is_daemon)
		*list_add(s->arena, &s->inodes, unsigned long) = inode;
}

static bool of_daemon(const struct search *s, const struct tcp_socket *socket)
{
	for (LIST_EACH(unsigned long, inode, &s->inodes))
		if (*inode == socket->inode)
			return true;
	return false;
}

static bool comes_from_outside(const struct tcp_socket *socket)
{
	return socket->state == TCP_SOCKET_ESTABLISHED && !ip_address_is_loopback(&socket->peer) &&
	       !ip_address_equal(&socket->peer, &socket->local);
}

static bool is_listened(const struct search *s, unsigned port)
{
	for (LIST_EACH(struct tcp_socket, socket, &s->sockets))
		if (socket->state == TCP_SOCKET_LISTEN && socket->local_port == port)
			return true;
	return false;
}

/* Somebody is connected to a port of ours that is not known to be ssh's: is it? */
static bool must_ask_processes(const struct search *s)
{
	for (LIST_EACH(struct tcp_socket, socket, &s->sockets))
		if (comes_from_outside(socket) && !has_port(s, socket->local_port) &&
		    is_listened(s, socket->local_port))
			return true;
	return false;
}

/* Also a session whose listener is systemd: then the connection itself is sshd's. */
static void ports_of_daemons(struct search *s)
{
	for (LIST_EACH(struct tcp_socket, socket, &s->sockets))
		if (of_daemon(s, socket) &&
		    (socket->state == TCP_SOCKET_LISTEN || is_listened(s, socket->local_port)))
			add_port(s, socket->local_port);
}

static int find_ports(struct search *s, struct error *err)
{
	struct processes_visit visit = { .path = on_path, .data = s };
	struct error seen;
	int r;

	add_port(s, PORT_SSH);
	r = read_configs(s);
	if (!must_ask_processes(s))
		return 0;
	if (!processes_visit(s->root, &visit, &seen)) {
		ports_of_daemons(s);
		return 0;
	}
	/* sshd's own configuration is enough, where it could be read */
	if (r < 0)
		return error_set(err, ERROR_SYSTEM,
				 "on which ports sshd listens cannot be told: %s", seen.message);
	return 0;
}

int ssh_peers(const struct host_root *root, struct arena *arena, struct list *peers,
	      struct error *err)
{
	CLEAN_FREE struct search *s = calloc(1, sizeof(*s));

	if (!s)
		return error_set(err, ERROR_SYSTEM, "out of memory");
	s->root = root;
	s->arena = arena;
	if (read_sockets(s, err) || find_ports(s, err))
		return -1;
	for (LIST_EACH(struct tcp_socket, socket, &s->sockets))
		if (comes_from_outside(socket) && has_port(s, socket->local_port))
			*list_add(arena, peers, struct ip_address) = socket->peer;
	return 0;
}
