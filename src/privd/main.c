/* SPDX-License-Identifier: Apache-2.0 */
/*
 * horcrux-privd: the part of Horcrux that runs as root. It does what the closed list of protocol.h
 * says, for one user, each thing in a child with a deadline, and nothing else: no network, no JSON,
 * no libvirt, no files of users, no configuration. Where the kernel's files are it learns from its
 * own command line only.
 *
 * One thread, one poll(2): the socket, the children (pidfds), signals. What it remembers is what
 * runs now; that is on file in RUN/privd-children/ too (record.h), so it may be killed at any
 * moment, also with children that sleep in the kernel, and started again.
 *
 *   RUN is STATE/run with --state-dir=STATE, else /run/horcrux-privd.
 *
 * What its units must say. horcrux-privd.socket: ListenSequentialPacket=/run/horcrux-privd.sock,
 * SocketUser=horcruxd, SocketMode=0600; the owner of that file is who may connect.
 *
 * horcrux-privd.service: Type=notify. Restart=always with a RestartSec well below a second.
 * KillMode=process: a child that sleeps in unbind neither holds up a stop nor is signalled.
 * RuntimeDirectory=horcrux-privd, RuntimeDirectoryMode=0700, RuntimeDirectoryPreserve=yes.
 *
 * No network: IPAddressDeny=any, RestrictAddressFamilies=AF_UNIX AF_NETLINK (sock_diag tells who is
 * logged in by ssh). ProtectSystem=strict with ReadWritePaths=/sys /proc. CapabilityBoundingSet:
 * CAP_SYS_ADMIN CAP_SYS_MODULE CAP_SYS_PTRACE CAP_DAC_READ_SEARCH CAP_DAC_OVERRIDE (a group's file in
 * /dev/vfio may belong to whom a udev rule says).
 *
 * Not: PrivateNetwork, ProtectHome, PrivateTmp (what the host lives on is read from its own routes
 * and mounts), ProtectKernelTunables (sysfs would be read-only), ProtectKernelModules (vfio-pci is
 * loaded), PrivateDevices (/dev/vfio), ProtectProc and PrivatePIDs (holders are read from /proc).
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>

#include "base/address.h"
#include "base/log.h"
#include "base/strbuf.h"
#include "privd/child.h"
#include "privd/fault.h"
#include "privd/process.h"
#include "privd/server.h"

enum { LOGGED_MAX = 1000, PREDECESSOR_MS = 5000, POLL_MAX = 1 + SERVER_CONNECTIONS + 1 + PRIVD_CHILDREN };

static const char run_default[] = "/run/horcrux-privd";

struct options {
	const char *host_root;
	const char *state;
	int64_t socket;
	int64_t peer_uid;
	int64_t deadline_ms;
};

static struct privd {
	struct host_root root;
	struct server server;
	struct children children;
	int run; /* the run directory */
	int signals;
} privd;

static int usage(const char *why)
{
	log_error("%s; usage: horcrux-privd [--host-root=DIR] [--state-dir=DIR] [--socket-fd=N] "
		  "[--peer-uid=UID] [--deadline-cap=MILLISECONDS] [--version]",
		  why);
	return -1;
}

static int number(const char *text, int64_t max, int64_t *ret)
{
	char *end;

	errno = 0;
	*ret = strtoll(text, &end, 10);
	if (errno || !*text || *end || *ret < 0 || *ret > max)
		return usage("a number is needed");
	return 0;
}

static int one_option(struct options *o, int option)
{
	switch (option) {
	case 'r':
		o->host_root = optarg;
		return 0;
	case 's':
		o->state = optarg;
		return 0;
	case 'f':
		return number(optarg, INT32_MAX, &o->socket);
	case 'u':
		return number(optarg, UINT32_MAX - 1, &o->peer_uid);
	case 'd':
		return number(optarg, PRIVD_DEADLINE_MAX_MS, &o->deadline_ms);
	case 'v':
		printf("horcrux-privd %s\n", HORCRUX_VERSION);
		exit(EXIT_SUCCESS);
	default:
		return usage("unknown option");
	}
}

static int read_options(struct options *o, int argc, char **argv)
{
	static const struct option options[] = {
		{ "deadline-cap", required_argument, NULL, 'd' }, /* for tests */
		{ "host-root", required_argument, NULL, 'r' },
		{ "peer-uid", required_argument, NULL, 'u' },
		{ "socket-fd", required_argument, NULL, 'f' },
		{ "state-dir", required_argument, NULL, 's' },
		{ "version", no_argument, NULL, 'v' },
		{ NULL, 0, NULL, 0 },
	};
	int option;

	opterr = 0;
	while ((option = getopt_long(argc, argv, "", options, NULL)) >= 0)
		if (one_option(o, option) < 0)
			return -1;
	return optind < argc ? usage("nothing but options is taken") : 0;
}

/* mkdir, if need be, and open. -errno. */
static int directory(int at, const char *path, mode_t mode)
{
	int fd;

	if (mkdirat(at, path, mode) && errno != EEXIST)
		return -errno;
	fd = openat(at, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int open_run(const struct options *o)
{
	CLEAN_FD int state = -1;

	if (!o->state)
		return directory(AT_FDCWD, run_default, 0700);
	state = directory(AT_FDCWD, o->state, 0755);
	return state < 0 ? state : directory(state, "run", 0755);
}

/*
 * Whoever was here before must be altogether gone: only then has every child either left a record
 * or been killed with it (record.h). A connection breaks a little earlier than that.
 */
static int await_predecessor(int run)
{
	char text[64] = "";
	CLEAN_FD int file = openat(run, "privd.pid", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW,
				   0600);
	CLEAN_FD int other = -1;
	unsigned long long start_time = 0;
	struct pollfd p;
	int pid = 0;

	if (file < 0)
		return -errno;
	if (pread(file, text, sizeof(text) - 1, 0) > 0 &&
	    sscanf(text, "%d %llu", &pid, &start_time) == 2)
		other = pid == getpid() ? -1 : process_open(pid, start_time);
	p = (struct pollfd){ .fd = other, .events = POLLIN };
	if (other >= 0 && poll(&p, 1, PREDECESSOR_MS) != 1)
		return -EBUSY;
	snprintf(text, sizeof(text), "%d %llu\n", getpid(),
		 (unsigned long long)process_start_time(getpid()));
	if (ftruncate(file, 0) || pwrite(file, text, strlen(text), 0) < 0)
		return -errno;
	return 0;
}

static int open_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static void connection_closed(void *context, uint64_t id)
{
	children_orphan(context, id);
}

static int take_socket(const struct options *o, struct error *err)
{
	int fd = (int)o->socket;

	privd.server.closed = connection_closed;
	privd.server.context = &privd.children;
	if (fd < 0 && sd_listen_fds(1) == 1)
		fd = SD_LISTEN_FDS_START;
	if (fd < 0)
		return error_set(err, ERROR_USAGE,
				 "no socket: start it by its socket unit, or with --socket-fd");
	return server_init(&privd.server, fd, o->peer_uid, err);
}

static int set_up(const struct options *o, struct error *err)
{
	int children, r;

	if (host_root_open(&privd.root, o->host_root, err) < 0)
		return -1;
	privd.run = open_run(o);
	if (privd.run < 0)
		return error_errno(err, ERROR_SYSTEM, -privd.run, "the run directory");
	r = await_predecessor(privd.run);
	if (r < 0)
		return error_errno(err, ERROR_SYSTEM, -r, "%s",
				   r == -EBUSY ? "another horcrux-privd works in the same run directory" :
						 "RUN/privd.pid");
	children = directory(privd.run, "privd-children", 0700);
	if (children < 0)
		return error_errno(err, ERROR_SYSTEM, -children, "RUN/privd-children");
	privd.children.deadline_cap_ms = (unsigned)o->deadline_ms;
	r = children_init(&privd.children, &privd.root, children);
	if (r < 0)
		return error_errno(err, ERROR_SYSTEM, -r, "RUN/privd-children");
	if (fault_init(privd.run) < 0)
		return error_set(err, ERROR_USAGE, "a bad HORCRUX_FAULT");
	privd.signals = open_signals();
	return take_socket(o, err);
}

/* "unbind 0000:01:00.0" */
static void name_operation(const struct privd_reply *reply, struct strbuf *to)
{
	const struct privd_address *a = &reply->address;
	char text[PCI_ADDRESS_TEXT] = "-";

	if (a->set)
		pci_address_format(privd_address_in(*a), text);
	strbuf_printf(to, "%s %s", privd_op_name(reply->ended ? reply->ended : reply->header.op), text);
}

/* What the log keeps: every change, and whatever did not go well. */
static void log_reply(const struct privd_reply *reply)
{
	CLEAN_STRBUF struct strbuf name = STRBUF_INIT(LOGGED_MAX);
	int priority = reply->status != PRIVD_OK || reply->ended ? LOG_WARNING
		       : privd_op_writes(reply->header.op)	 ? LOG_INFO
								 : LOG_DEBUG;

	name_operation(reply, &name);
	log_line(priority, "%s: %s%s%s%s, request %llx", strbuf_text(&name),
		 privd_status_name(reply->status), reply->error ? ", " : "",
		 reply->error ? strerrordesc_np(reply->error) ?: "?" : "",
		 reply->ended ? ", late" : "", (unsigned long long)reply->header.id);
}

static bool went_well(const struct privd_reply *reply)
{
	return reply->status == PRIVD_OK && !reply->ended && privd_op_writes(reply->header.op);
}

/* Changes of a chain that went well are one line: a journal works long at each. */
static void log_replies(const struct privd_chain_reply *reply)
{
	CLEAN_STRBUF struct strbuf well = STRBUF_INIT(LOGGED_MAX);

	for (uint32_t i = 0; i < reply->n && reply->n > 1; i++) {
		if (!went_well(&reply->reply[i]))
			continue;
		if (well.len)
			strbuf_add(&well, ", ");
		name_operation(&reply->reply[i], &well);
	}
	if (well.len)
		log_info("%s: ok, request %llx", strbuf_text(&well), (unsigned long long)reply->header.id);
	for (uint32_t i = 0; i < reply->n; i++)
		if (reply->n == 1 || !went_well(&reply->reply[i]))
			log_reply(&reply->reply[i]);
}

/* What needs no child, because it must be answered whatever hangs. */
static void answer_live(uint64_t from, const struct privd_chain *asked)
{
	struct privd_child live[PRIVD_CHILDREN];
	struct privd_chain_reply answer = reply_to(asked, PRIVD_OK);
	struct privd_reply *reply = &answer.reply[0];
	CLEAN_FD int data = -1;
	size_t bytes;

	reply->value = children_live(&privd.children, live);
	bytes = (size_t)reply->value * sizeof(live[0]);
	if (bytes) {
		data = memfd_create("privd-live", MFD_CLOEXEC | MFD_ALLOW_SEALING);
		if (data < 0 || write(data, live, bytes) != (ssize_t)bytes ||
		    fcntl(data, F_ADD_SEALS, ANSWER_SEALS)) {
			reply->status = PRIVD_FAILED;
			reply->error = errno;
			bytes = 0;
		}
	}
	reply->length = bytes;
	server_send(&privd.server, from, &answer, bytes ? data : -1);
}

static void handle(uint64_t from, const struct privd_chain *asked)
{
	struct privd_chain_reply reply = { 0 };

	if (asked->header.op == PRIVD_LIVE) {
		answer_live(from, asked);
	} else if (asked->header.op == PRIVD_PING) {
		reply = reply_to(asked, PRIVD_OK);
		reply.reply[0].value = (uint64_t)getpid();
		server_send(&privd.server, from, &reply, -1);
	} else if (!children_start(&privd.children, asked, from, &reply)) {
		log_replies(&reply);
		server_send(&privd.server, from, &reply, -1);
	}
}

static void tell_ends(void)
{
	struct privd_chain_reply reply;
	uint64_t asker;
	int data;

	while (children_ended(&privd.children, &reply, &asker, &data)) {
		log_replies(&reply);	/* first: what is done because of it comes after it in the journal */
		if (asker)
			server_send(&privd.server, asker, &reply, data);
		else
			server_broadcast(&privd.server, &reply);
		cleanup_closep(&data);
	}
	while (children_expired(&privd.children, &reply, &asker)) {
		log_replies(&reply);
		if (asker)
			server_send(&privd.server, asker, &reply, -1);
	}
}

static void serve(void)
{
	struct pollfd fds[POLL_MAX];
	static struct privd_chain asked;
	uint64_t from;
	nfds_t n;

	while (!server_is_over(&privd.server)) {
		fds[0] = (struct pollfd){ .fd = privd.signals, .events = POLLIN };
		n = 1 + server_poll(&privd.server, fds + 1);
		n += children_poll(&privd.children, fds + n);
		if (poll(fds, n, children_timeout(&privd.children)) < 0 && errno != EINTR)
			return;
		if (fds[0].revents)
			return;
		tell_ends();
		children_rest(&privd.children);
		/* what a daemon that is gone had asked for comes before what its successor asks about */
		while (server_receive(&privd.server, &asked, &from))
			handle(from, &asked);
		server_accept(&privd.server);
	}
}

int main(int argc, char **argv)
{
	struct options options = { .host_root = "/", .socket = -1, .peer_uid = -1 };
	const struct sigaction ignore = { .sa_handler = SIG_IGN };
	struct error err = { 0 };

	log_open("horcrux-privd");
	umask(077);
	sigaction(SIGPIPE, &ignore, NULL);
	if (read_options(&options, argc, argv) < 0)
		return EXIT_FAILURE;
	if (set_up(&options, &err) < 0) {
		log_error("%s", err.message);
		return EXIT_FAILURE;
	}
	for (size_t i = 0; i < PRIVD_CHILDREN; i++)
		if (privd.children.child[i].told.id)
			log_warning("%s of an earlier run still lives, pid %u",
				    privd_op_name(privd.children.child[i].told.op),
				    (unsigned)privd.children.child[i].told.pid);
	log_info("ready, host root %s", privd.root.path);
	sd_notify(0, "READY=1");
	serve();
	sd_notify(0, "STOPPING=1");
	return EXIT_SUCCESS;
}
