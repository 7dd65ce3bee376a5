/* SPDX-License-Identifier: Apache-2.0 */
/* See helper.h. */
#include "daemon/helper.h"

#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

#include "base/log.h"

enum { AGAIN_USEC = 100 * 1000, LATER_USEC = 1000 * 1000, CHILD_FD = 3, STOP_MS = 300 };

struct helper {
	sd_event *event;
	sd_event_source *child, *again;
	struct privd *privd;
	const char *host_root, *state_dir;
	pid_t pid; /* 0: none runs */
	bool told; /* that it cannot be started */
	char program[512];
};

static int start(struct helper *h, struct error *err);

static int on_again(sd_event_source *source, uint64_t usec, void *helper);

static void start_in(struct helper *h, uint64_t usec)
{
	h->again = sd_event_source_unref(h->again);
	sd_event_add_time_relative(h->event, &h->again, CLOCK_MONOTONIC, usec, 0, on_again, h);
}

/* One that cannot be started now may be there later: it is tried for ever, and said once. */
static void start_or_later(struct helper *h)
{
	struct error err;

	if (!start(h, &err)) {
		h->told = false;
		return;
	}
	if (!h->told)
		log_error("%s; going on without, and trying again", err.message);
	h->told = true;
	start_in(h, LATER_USEC);
}

static int on_again(sd_event_source *source, uint64_t usec, void *helper)
{
	(void)source, (void)usec;
	start_or_later(helper);
	return 0;
}

static int on_end(sd_event_source *source, const siginfo_t *how, void *helper)
{
	struct helper *h = helper;

	(void)source;
	log_warning("horcrux-privd ended (%s %d), and is started again",
		    how->si_code == CLD_EXITED ? "status" : "signal", how->si_status);
	h->pid = 0;
	h->child = sd_event_source_unref(h->child);
	start_in(h, AGAIN_USEC);
	return 0;
}

/* Signals that this process handles are blocked in it; the child must begin with none blocked. */
static int spawn(struct helper *h, int socket, pid_t *pid)
{
	CLEAN_FREE char *root = NULL, *state = NULL;
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attributes;
	sigset_t none;
	int r;

	if (asprintf(&root, "--host-root=%s", h->host_root) < 0 ||
	    asprintf(&state, "--state-dir=%s", h->state_dir) < 0)
		return ENOMEM;
	sigemptyset(&none);
	posix_spawnattr_init(&attributes);
	posix_spawnattr_setsigmask(&attributes, &none);
	posix_spawnattr_setpgroup(&attributes, 0); /* the terminal's ^C is for the daemon */
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
	posix_spawn_file_actions_init(&files);
	posix_spawn_file_actions_adddup2(&files, socket, CHILD_FD);
	r = posix_spawn(pid, h->program, &files, &attributes,
			(char *[]){ h->program, root, state, (char[]){ "--socket-fd=3" }, NULL },
			environ);
	posix_spawn_file_actions_destroy(&files);
	posix_spawnattr_destroy(&attributes);
	return r;
}

static int start(struct helper *h, struct error *err)
{
	int pair[2], r;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return error_errno(err, ERROR_SYSTEM, errno, "no socketpair for horcrux-privd");
	r = spawn(h, pair[1], &h->pid);
	close(pair[1]);
	if (r) {
		close(pair[0]);
		h->pid = 0;
		return error_errno(err, ERROR_HELPER, r, "%s cannot be started", h->program);
	}
	r = sd_event_add_child(h->event, &h->child, h->pid, WEXITED, on_end, h);
	if (r < 0) {
		close(pair[0]);
		return error_errno(err, ERROR_SYSTEM, -r, "horcrux-privd cannot be watched");
	}
	privd_attach(h->privd, pair[0]);
	return 0;
}

static int find_program(char *buf, size_t size, struct error *err)
{
	static const char name[] = "horcrux-privd";
	ssize_t n = readlink("/proc/self/exe", buf, size);
	char *slash;

	if (n < 0 || (size_t)n + sizeof(name) >= size)
		return error_set(err, ERROR_SYSTEM, "where this program lies cannot be told");
	buf[n] = '\0';
	slash = strrchr(buf, '/');
	if (!slash)
		return error_set(err, ERROR_SYSTEM, "where this program lies cannot be told");
	memcpy(slash + 1, name, sizeof(name));
	return 0;
}

int helper_start(sd_event *event, struct privd *privd, const char *host_root, const char *state_dir,
		 struct helper **ret, struct error *err)
{
	struct helper *h = calloc(1, sizeof(*h));

	if (!h)
		return error_set(err, ERROR_SYSTEM, "no memory");
	*h = (struct helper){
		.event = event, .privd = privd, .host_root = host_root, .state_dir = state_dir
	};
	if (find_program(h->program, sizeof(h->program), err) < 0) {
		free(h);
		return -1;
	}
	start_or_later(h);
	*ret = h;
	return 0;
}

/* One that sleeps in the kernel is left behind; its state is on file, for the next. */
void helper_stop(struct helper *h)
{
	if (!h)
		return;
	sd_event_source_unref(h->again);
	sd_event_source_disable_unref(h->child);
	if (h->pid) {
		kill(h->pid, SIGTERM);
		for (int waited = 0; waited < STOP_MS && !waitpid(h->pid, NULL, WNOHANG);
		     waited += 5)
			nanosleep(&(struct timespec){ .tv_nsec = 5 * 1000 * 1000 }, NULL);
	}
	free(h);
}
