/* SPDX-License-Identifier: Apache-2.0 */
/* See fault.h. */
#include "privd/fault.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/log.h"

static const char note[] = "privd-fault";

enum { LINGER_MS = 500, HOLD_MS = 2000, STEP_MS = 1 };

static struct {
	enum privd_op op;
	enum fault_when when;
	bool hold;
	int directory;
} fault;

static enum fault_when when_find(const char *word)
{
	static const char *const words[] = { NULL, "before", "inside", "after" };

	for (size_t i = 1; i < ARRAY_SIZE(words); i++)
		if (!strcmp(words[i], word))
			return (enum fault_when)i;
	return FAULT_NOWHERE;
}

int fault_init(int run_directory)
{
	static const char prefix[] = "kill:privd:", holds[] = "hold:privd:";
	const char *text = getenv("HORCRUX_FAULT"), *colon;
	char op[PRIVD_NAME];

	static_assert(sizeof(prefix) == sizeof(holds), "the same length");
	fault.hold = text && !strncmp(text, holds, sizeof(holds) - 1);
	if (!text || (!fault.hold && strncmp(text, prefix, sizeof(prefix) - 1)))
		return 0;
	colon = strrchr(text, ':');
	text += sizeof(prefix) - 1;
	if (colon > text && (size_t)(colon - text) < sizeof(op)) {
		memcpy(op, text, (size_t)(colon - text));
		op[colon - text] = '\0';
		fault.op = privd_op_find(op);
		fault.when = when_find(colon + 1);
	}
	if (fault.op == PRIVD_NONE || fault.when == FAULT_NOWHERE ||
	    (fault.hold && fault.when != FAULT_INSIDE)) {
		log_error("HORCRUX_FAULT is not kill:privd:OPERATION:before|inside|after, nor "
			  "hold:privd:OPERATION:inside");
		return -1;
	}
	fault.directory = run_directory;
	log_warning("fault armed: %s %s operation %s", fault.hold ? "held" : "killed", colon + 1,
		    privd_op_name(fault.op));
	return 0;
}

/* True the first time only. */
static bool take(enum privd_op op, enum fault_when when)
{
	CLEAN_FD int fd = -1;

	if (fault.when != when || fault.op != op)
		return false;
	fd = openat(fault.directory, note, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	return fd >= 0;
}

void fault_strike(enum privd_op op, enum fault_when when)
{
	if (take(op, when))
		kill(getpid(), SIGKILL);
}

bool fault_take_inside(enum privd_op op)
{
	return take(op, FAULT_INSIDE);
}

static void pause_ms(long ms)
{
	struct timespec left = { .tv_nsec = ms * 1000000 };

	while (nanosleep(&left, &left) && errno == EINTR)
		;
}

void fault_strike_inside(void)
{
	pid_t parent = getppid();

	if (fault.hold) {
		for (long left = HOLD_MS; left > 0; left -= LINGER_MS)
			pause_ms(LINGER_MS);
		return;
	}
	kill(parent, SIGKILL);
	while (getppid() == parent)
		pause_ms(STEP_MS);
	pause_ms(LINGER_MS);
}
