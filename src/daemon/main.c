/* SPDX-License-Identifier: Apache-2.0 */
/*
 * horcruxd. The main thread runs an sd-event loop: it owns the inventory, follows uevents, and does
 * what the HTTP threads ask of it (inbox.h). It starts what it needs in order and stops it in the
 * reverse one: HTTP first, so that nobody asks any more, then whoever asks the helper, then the
 * helper, then the inventory.
 */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-event.h>

#include "api/api.h"
#include "api/health.h"
#include "base/fdpath.h"
#include "base/id.h"
#include "base/log.h"
#include "daemon/acting.h"
#include "daemon/book.h"
#include "daemon/config.h"
#include "daemon/facts.h"
#include "daemon/helper.h"
#include "daemon/inbox.h"
#include "daemon/keeper.h"
#include "daemon/lives.h"
#include "http/server.h"
#include "vm/facts.h"

enum { SWEEP_USEC = 15 * 1000 * 1000, SLACK_USEC = 1000 * 1000, PATIENCE_USEC = 1000 * 1000 };
enum { REFRESH_MS = 2000, STOP_MS = 1000, UDEV_MS = 180 * 1000 };

static struct {
	struct arena *arena; /* of the configuration's strings */
	struct config config;
	struct host_root root;
	int state; /* the state directory, locked */
	sd_event *event;
	sd_event_source *inbox, *sweep, *patience;
	struct privd *privd;
	struct helper *helper;
	struct keeper *keeper;
	struct acting *acting;
	struct server *server;
	struct api api;
	struct facts *shown; /* what the replies were last made from */
	struct book *shown_book;
	bool facts_run, book_run, lives_run;
	bool silent; /* the helper was, when its health was told last */
	char node[256];
	uint64_t started_ms; /* CLOCK_MONOTONIC */
	char api_socket[512], uevent_socket[512], run_dir[512], var_dir[512], pool_dir[512];
} d = { .root.fd = -1, .state = -1 };

/* ---- health ---- */

static void tell_health_of_helper(void)
{
	static const char so[] = "nothing can be changed, and who holds a card is unknown; see "
				 "`systemctl status horcrux-privd.service`";

	bool silent = facts_silent();

	if (d.silent && !silent)
		inbox_look_again(); /* what it did meanwhile can be asked now */
	d.silent = silent;
	if (!privd_connected(d.privd))
		health_set(HEALTH_HELPER, PART_FAILED, "horcrux-privd cannot be reached: %s", so);
	else if (silent)
		health_set(HEALTH_HELPER, PART_FAILED, "horcrux-privd does not answer: %s", so);
	else
		health_set(HEALTH_HELPER, PART_OK, NULL);
}

/* Any thread. */
static void tell_health_of_store(const struct error *why)
{
	if (!why) {
		health_set(HEALTH_STORE, PART_OK, NULL);
		return;
	}
	health_set(HEALTH_STORE, PART_FAILED, "%s; %s", why->message, why->hint);
	book_ails();
}

/* ---- events ---- */

static int on_patience(sd_event_source *source, uint64_t usec, void *unused)
{
	(void)source, (void)usec, (void)unused;
	if (facts_waiting() && facts_give_up()) {
		keeper_publish(d.keeper);
		tell_health_of_helper();
	}
	facts_published();
	return 0;
}


/* News are new facts, or somebody who has begun to wait for some. */
static void take_news(void)
{
	CLEANUP(facts_releasep) struct facts *facts = facts_acquire();
	CLEANUP(book_releasep) struct book *book = book_acquire();

	tell_health_of_helper();
	if (facts != d.shown || book != d.shown_book) {
		facts_release(d.shown);
		d.shown = TAKE_PTR(facts);
		book_release(d.shown_book);
		d.shown_book = TAKE_PTR(book);
		lives_poke();
		keeper_publish(d.keeper);
		facts_published();
	}
	if (!facts_waiting())
		return;
	sd_event_source_set_time_relative(d.patience, PATIENCE_USEC);
	sd_event_source_set_enabled(d.patience, SD_EVENT_ONESHOT);
}

static int refresh_inventory(struct inbox *inbox, struct error *err)
{
	const struct list touched = { .items = inbox->touched, .n = inbox->n_touched };

	if (inbox->n_scans || inbox->all)
		return keeper_scan(d.keeper, err);
	return inbox->refresh ? keeper_refresh(d.keeper, &touched, err) : 0;
}

static int on_inbox(sd_event_source *source, int fd, uint32_t events, void *unused)
{
	struct inbox inbox = { 0 };
	struct error err;
	int r;

	(void)source, (void)fd, (void)events, (void)unused;
	inbox_take(&inbox);
	r = refresh_inventory(&inbox, &err);
	if (inbox.refresh)
		inbox_refreshed();
	for (size_t i = 0; i < inbox.n_scans; i++)
		api_scanned(inbox.scans[i], r < 0 ? &err : NULL);
	if (inbox.news)
		take_news();
	if (inbox.task)
		keeper_publish_soon(d.keeper);
	if (inbox.look_again && d.api.engine)
		engine_look_again(d.api.engine);
	return 0;
}

static int on_sweep(sd_event_source *source, uint64_t usec, void *unused)
{
	(void)usec, (void)unused;
	server_sweep(d.server);
	tell_health_of_helper();
	lives_tick();
	sd_event_source_set_time_relative(source, SWEEP_USEC);
	sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
	return 0;
}

static int on_signal(sd_event_source *source, const struct signalfd_siginfo *info, void *unused)
{
	(void)unused;
	log_info("%s: stopping", sigabbrev_np((int)info->ssi_signo) ?: "signal");
	sd_notify(0, "STOPPING=1");
	return sd_event_exit(sd_event_source_get_event(source), 0);
}

static void on_connected(void *unused)
{
	(void)unused;
	facts_connected();
	inbox_look_again();
	lives_poke();
}

static void on_lost(void *unused)
{
	(void)unused;
	inbox_news();
}

static void on_late(void *unused, const struct privd_reply *reply)
{
	(void)unused, (void)reply;
	inbox_look_again();
}

static void stuck_cards(const struct inventory *inv, struct arena *arena, struct list *cards)
{
	acting_stuck(d.acting, inv, arena, cards);
}

static void changing_cards(const struct inventory *inv, struct arena *arena, struct list *cards)
{
	acting_changing(d.acting, inv, arena, cards);
}

static void task_changed(struct task *task)
{
	lives_task_changed(task);
	if (task_turned(task))
		inbox_task();
}

static int domains(struct arena *arena, struct list *list)
{
	return acting_domains(d.acting, arena, list);
}

/* The functions that locks speak of: of a card, of a group. */
static void functions_of(const struct inventory *inv, const char *name, struct arena *arena,
			 struct list *addresses)
{
	const struct group *group = NULL;
	const struct card *card = NULL;
	struct pci_address address;

	if (!strncmp(name, "group:", 6))
		group = inventory_group(inv, (int)strtoul(name + 6, NULL, 10));
	else if (!strncmp(name, "card:", 5) && pci_address_parse(name + 5, &address)) {
		*list_add(arena, addresses, struct pci_address) = address;
		card = inventory_card(inv, address);
	}
	for (LIST_EACH(struct function *, f, group ? &group->functions : &(struct list){ 0 }))
		*list_add(arena, addresses, struct pci_address) = (*f)->address;
	for (LIST_EACH(struct function *, f, card ? &card->functions : &(struct list){ 0 }))
		*list_add(arena, addresses, struct pci_address) = (*f)->address;
}

/* VMs first: libvirt's news of them is what cards are shown with; then what is noted of the cards. */
static void refresh(const struct list *locks)
{
	CLEANUP(inventory_releasep) struct inventory *inv = inventory_acquire();
	CLEANUP(arena_freep) struct arena *arena = arena_new();
	struct list addresses = { 0 };

	for (LIST_EACH(const char *, name, locks))
		if (inv)
			functions_of(inv, *name, arena, &addresses);
	lives_refresh(locks);
	book_refresh(REFRESH_MS);
	inbox_refresh(&addresses, REFRESH_MS);
}

/* Libvirt's news change what is told of cards too. */
static void on_domain(void *unused, const char *name, enum virt_state state, bool gone)
{
	(void)unused;
	lives_events.domain(lives_events.data, name, state, gone);
	book_poke();
}

static void on_libvirt(void *unused)
{
	(void)unused;
	lives_events.connected(lives_events.data);
	book_poke();
	inbox_look_again();
}

/* Before a VM is started by itself: who has a card has to be known, and somebody who can bind it.
 */
/*
 * While udev still works off the boot's events a card may not have its driver yet, and would be given
 * back to none. Its queue is empty when this file is not there (systemd, libudev-queue.c). A host on
 * which it never is waits no longer than this.
 */
static bool udev_settled(void)
{
	return fdpath_exists(d.root.fd, "run/udev/queue") != 1 ||
	       time_monotonic_ms() > d.started_ms + UDEV_MS;
}

static bool cards_ready(void)
{
	CLEANUP(book_releasep) struct book *book = book_acquire();

	return !book->records.null && privd_connected(d.privd) && udev_settled();
}

/* ---- start ---- */

static int open_loop(struct error *err)
{
	int r = sd_event_default(&d.event);

	if (inbox_open(err) < 0)
		return -1;
	if (r >= 0)
		r = sd_event_add_signal(d.event, NULL, SIGTERM, on_signal, NULL);
	if (r >= 0)
		r = sd_event_add_signal(d.event, NULL, SIGINT, on_signal, NULL);
	if (r >= 0)
		r = sd_event_add_io(d.event, &d.inbox, inbox_fd(), EPOLLIN, on_inbox, NULL);
	if (r >= 0)
		r = sd_event_add_time_relative(d.event, &d.sweep, CLOCK_MONOTONIC, SWEEP_USEC,
					       SLACK_USEC, on_sweep, NULL);
	if (r >= 0)
		r = sd_event_add_time_relative(d.event, &d.patience, CLOCK_MONOTONIC, 0, 1000,
					       on_patience, NULL);
	if (r >= 0)
		r = sd_event_source_set_enabled(d.patience, SD_EVENT_OFF);
	if (r >= 0)
		r = sd_event_set_watchdog(d.event, true);
	return r < 0 ? error_errno(err, ERROR_SYSTEM, -r, "the event loop cannot be made") : 0;
}

static void name_node(void)
{
	char *dot;

	if (d.config.node) {
		snprintf(d.node, sizeof(d.node), "%s", d.config.node);
		return;
	}
	if (gethostname(d.node, sizeof(d.node) - 1) < 0)
		snprintf(d.node, sizeof(d.node), "localhost");
	dot = strchr(d.node, '.');
	if (dot)
		*dot = '\0';
}

static int start_looking(struct error *err)
{
	static const struct privd_events events = { .late = on_late,
						     .connected = on_connected,
						     .lost = on_lost };
	struct keeper_options o = {
		.root = &d.root,
		.filter = d.config.classes,
		.node = d.node,
		.uevent_socket = d.root.real ? NULL : d.uevent_socket,
		.stuck = stuck_cards,
		.changing = changing_cards,
		.starting = lives_starting,
		.held_back = lives_held_back,
		.domains = domains,
	};

	health_set(HEALTH_HELPER, PART_STARTING, NULL);
	if (keeper_start(d.event, &o, &d.keeper, err) < 0)
		return -1;
	d.privd = privd_new(d.config.dev ? NULL : PRIVD_SOCKET, &events, err);
	if (!d.privd)
		return -1;
	if (d.config.dev && helper_start(d.event, d.privd, d.config.host_root, d.config.state_dir,
					 &d.helper, err) < 0) {
		log_warning("%s; going on without", err->message);
		tell_health_of_helper();
	}
	if (facts_start(d.privd, o.root, &o.filter, inbox_news, err) < 0)
		return -1;
	d.facts_run = true;
	return 0;
}

/* By default what the host's root means: a tree that only stands for a host runs no VMs. */
static const char *libvirt_uri(void)
{
	const char *uri = d.config.libvirt ?: d.root.real ? "qemu:///system" : "none";

	return strcmp(uri, "none") ? uri : NULL;
}

/* "a:b" as a list, NULL-terminated, in the arena of the configuration. */
static const char *const *split(const char *text)
{
	struct list parts = { 0 };
	size_t n;

	while (*text) {
		n = strcspn(text, ":");
		if (n)
			list_add_string(d.arena, &parts, arena_strndup(d.arena, text, n));
		text += n + (text[n] == ':');
	}
	list_add_string(d.arena, &parts, NULL);
	return parts.items;
}

static int start_acting(struct error *err)
{
	static const struct virt_events events = { .domain = on_domain, .connected = on_libvirt };
	const struct acting_options o = {
		.privd = d.privd,
		.root = &d.root,
		.node = d.node,
		.run_dir = d.run_dir,
		.var_dir = d.var_dir,
		.libvirt = libvirt_uri(),
		.events = &events,
		.pool_path = d.pool_dir,
		.rom_folders = split(d.config.rom_dirs),
		.refresh = refresh,
		.changed = task_changed,
	};

	health_set(HEALTH_STORE, PART_STARTING, NULL);
	store_tell(tell_health_of_store);
	if (acting_start(d.event, &o, &d.acting, err) < 0)
		return -1;
	tell_health_of_store(NULL); /* it was opened */
	d.api.engine = acting_engine(d.acting);
	if (book_start(acting_store(d.acting), acting_services(d.acting)->gpu.node_id, vm_assignments, inbox_news, err) < 0)
		return -1;
	d.book_run = true;
	return 0;
}

static int start_lives(struct error *err)
{
	const struct lives_options o = {
		.engine = acting_engine(d.acting),
		.services = acting_services(d.acting),
		.libvirt = libvirt_uri() != NULL,
		.run_dir = d.run_dir,
		.news = book_poke,
		.ready = cards_ready,
	};

	if (lives_start(&o, err) < 0)
		return -1;
	d.lives_run = true;
	return 0;
}

/* The Unix socket that systemd made for us; -1: none. */
static int inherited_socket(void)
{
	int n = sd_listen_fds(1);

	for (int fd = SD_LISTEN_FDS_START; fd < SD_LISTEN_FDS_START + n; fd++)
		if (sd_is_socket_unix(fd, SOCK_STREAM, 1, NULL, 0) > 0)
			return fd;
	return -1;
}

static int start_serving(struct error *err)
{
	struct server_options o = {
		.tcp_fd = -1,
		.unix_fd = inherited_socket(),
		.routes = api_routes,
		.n_routes = api_routes_n,
		.context = &d.api,
		.trust_loopback = d.config.trust_loopback,
		.own_uid = d.config.dev,
		.group = d.config.group,
	};

	d.api.node = d.node;
	d.api.scan = inbox_scan;
	d.api.look = facts_look;
	d.api.refresh = facts_refresh;
	d.api.check = book_check;
	if (strcmp(d.config.listen, "none")) {
		o.tcp_fd = server_listen_tcp(d.config.listen, err);
		if (o.tcp_fd < 0)
			return -1;
	}
	if (o.unix_fd < 0 && d.config.dev) {
		o.unix_fd = server_listen_unix(d.api_socket, err);
		if (o.unix_fd < 0)
			return -1;
	}
	if (o.tcp_fd < 0 && o.unix_fd < 0)
		return error_set(err, ERROR_USAGE,
				 "listen is none, and there is no socket from systemd");
	return server_start(&o, &d.server, err);
}

/* ---- what is allowed ---- */

static int check_libvirt(struct error *err)
{
	const char *uri = d.config.libvirt;

	if (d.root.real || !uri || strncmp(uri, "qemu:", 5))
		return 0;
	error_set(err, ERROR_USAGE, "libvirt %s runs VMs on this machine, not on host root %s", uri,
		  d.config.host_root);
	return error_hint(err, "with another host root, libvirt is none or a test: URI");
}

static int check_who(struct error *err)
{
	if (geteuid() || d.config.dev)
		return 0;
	error_set(err, ERROR_USAGE, "horcruxd does not run as root");
	return error_hint(err, "its unit runs it as user horcruxd; --dev is for trying");
}

/* The lock goes with the process, however that ends. */
static int lock_state(const char *dir, struct error *err)
{
	d.state = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (d.state < 0)
		return error_errno(err, ERROR_STORE, errno, "%s cannot be used", dir);
	if (!flock(d.state, LOCK_EX | LOCK_NB))
		return 0;
	if (errno != EWOULDBLOCK)
		return error_errno(err, ERROR_STORE, errno, "%s cannot be locked", dir);
	error_set(err, ERROR_STORE, "another horcruxd works in %s", dir);
	return error_hint(err, "stop it, or give this one a --state-dir of its own");
}

static int prepare_state(struct error *err)
{
	static const char standard[] = "/var/lib/horcrux";
	const char *dir = d.config.state_dir;
	struct stat st;

	if (d.config.dev && !strcmp(dir, standard)) {
		error_set(err, ERROR_USAGE, "--dev needs --state-dir");
		return error_hint(err, "any directory of your own; it is made if it is not there");
	}
	if (d.config.dev && mkdir(dir, 0755) < 0 && errno != EEXIST)
		return error_errno(err, ERROR_STORE, errno, "%s cannot be made", dir);
	if (stat(dir, &st) < 0)
		return error_errno(err, ERROR_STORE, errno, "%s cannot be used", dir);
	if (!S_ISDIR(st.st_mode))
		return error_set(err, ERROR_STORE, "%s is no directory", dir);
	if (lock_state(dir, err) < 0)
		return -1;
	snprintf(d.api_socket, sizeof(d.api_socket), "%s/api.sock", dir);
	snprintf(d.uevent_socket, sizeof(d.uevent_socket), "%s/uevent.sock", dir);
	snprintf(d.var_dir, sizeof(d.var_dir), "%s/private", dir);
	snprintf(d.pool_dir, sizeof(d.pool_dir), "%s/images", dir);
	if (d.config.dev || !d.root.real)
		snprintf(d.run_dir, sizeof(d.run_dir), "%s/run", dir);
	else
		snprintf(d.run_dir, sizeof(d.run_dir), "/run/horcrux");
	return 0;
}

static int set_level(void)
{
	static const struct {
		const char *name;
		int priority;
	} levels[] = { { "error", LOG_ERR },
		       { "warning", LOG_WARNING },
		       { "notice", LOG_NOTICE },
		       { "info", LOG_INFO },
		       { "debug", LOG_DEBUG } };

	for (size_t i = 0; i < ARRAY_SIZE(levels); i++)
		if (!strcmp(levels[i].name, d.config.log_level))
			log_level(levels[i].priority);
	return 0;
}

/* The signals that the loop handles are blocked before there is any thread that could get them. */
static void block_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	sigaction(SIGPIPE, &(struct sigaction){ .sa_handler = SIG_IGN }, NULL);
	/* a file that may not grow is an error of that write, as a full disk is */
	sigaction(SIGXFSZ, &(struct sigaction){ .sa_handler = SIG_IGN }, NULL);
}

static int start(struct error *err)
{
	set_level();
	if (check_who(err) < 0 || host_root_open(&d.root, d.config.host_root, err) < 0 ||
	    check_libvirt(err) < 0 || prepare_state(err) < 0)
		return -1;
	d.started_ms = time_monotonic_ms();
	name_node();
	block_signals();
	return open_loop(err) < 0 || start_looking(err) < 0 || start_acting(err) < 0 ||
			       start_lives(err) < 0 || start_serving(err) < 0
		       ? -1
		       : 0;
}

/* ---- stop ---- */

/* Something hangs in the helper: end the process as it is, the kernel tidies up. */
static void stop(int status)
{
	server_stop(d.server);
	inbox_end();
	if ((d.lives_run && !lives_stop()) || (d.book_run && !book_stop()) ||
	    !acting_stop(d.acting, STOP_MS))
		_exit(status);
	book_release(d.shown_book);
	helper_stop(d.helper);
	if (d.facts_run && !facts_stop())
		_exit(status);
	facts_release(d.shown);
	privd_free(d.privd);
	keeper_stop(d.keeper);
	sd_event_source_disable_unref(d.inbox);
	sd_event_source_disable_unref(d.sweep);
	sd_event_source_disable_unref(d.patience);
	sd_event_unref(d.event);
	inbox_close();
	if (d.config.dev && d.server)
		unlink(d.api_socket);
	cleanup_closep(&d.state);
	host_root_close(&d.root);
	arena_free(d.arena);
}

static int run(void)
{
	sd_notifyf(0, "READY=1\nSTATUS=Serving as node %s", d.node);
	log_info("horcruxd %s on %s, host root %s%s", HORCRUX_VERSION, d.config.listen,
		 d.config.host_root, d.config.dev ? ", --dev" : "");
	return sd_event_loop(d.event);
}

int main(int argc, char **argv)
{
	struct error err = { 0 };
	int r, status;

	mallopt(M_ARENA_MAX, 2);
	log_open("horcruxd");
	d.arena = arena_new();
	r = config_read(argc, argv, CONFIG_FILE, d.arena, &d.config, &err);
	if (!r && d.config.help)
		config_print_help();
	else if (!r && d.config.version)
		printf("horcruxd %s\n", HORCRUX_VERSION);
	else if (!r && !(r = start(&err)))
		r = run();
	if (r < 0)
		log_error("%s%s%s", err.message[0] ? err.message : "the event loop failed",
			  err.hint[0] ? "; " : "", err.hint);
	status = r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
	stop(status);
	return status;
}
