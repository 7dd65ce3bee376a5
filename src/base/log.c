/* SPDX-License-Identifier: Apache-2.0 */
/* See log.h. A line is one write, so lines of several threads do not mix. */
#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

enum { LINE_BYTES = 1024 };

static const char *program_name = "horcrux";
static bool under_systemd;
static atomic_int max_priority = LOG_INFO;

void log_open(const char *program)
{
	program_name = program;
	under_systemd = getenv("JOURNAL_STREAM") != NULL;
}

void log_level(int priority)
{
	atomic_store(&max_priority, priority);
}

void log_line(int priority, const char *fmt, ...)
{
	char line[LINE_BYTES];
	size_t n;
	va_list args;

	if (priority > atomic_load(&max_priority))
		return;
	if (under_systemd)	/* sd-daemon(3): the journal takes the priority from <N> */
		n = (size_t)snprintf(line, sizeof(line), "<%d>", priority);
	else
		n = (size_t)snprintf(line, sizeof(line), "%s: ", program_name);
	va_start(args, fmt);
	vsnprintf(line + n, sizeof(line) - n - 1, fmt, args);
	va_end(args);
	for (char *c = line + n; *c; c++)
		if ((unsigned char)*c < ' ')	/* what others wrote must not forge lines of ours */
			*c = ' ';
	n = strlen(line);
	line[n++] = '\n';
	if (write(STDERR_FILENO, line, n) < 0)
		return;	/* nowhere to say it */
}
