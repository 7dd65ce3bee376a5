/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One clock for the lab's benchmark: does what a script of lines says and prints how long each took.
 * Linked statically, so that it runs in any lab host. One thread.
 *
 *   peer SCRIPT ROUNDS
 *
 * A line is four words with tabs between: LABEL, VERB, TARGET, VALUE. Lines one after another with one
 * label are timed together, those labelled "-" not at all. The whole script is done ROUNDS times.
 *
 *   write PATH VALUE    open, write, close; a VALUE of \n is a newline
 *   call METHOD PATH    one request of Horcrux's API, over one connection kept for all of them
 *   run COMMAND         a program and its arguments, with spaces between; it must end with 0
 *   sleep MILLISECONDS
 *
 * Prints "LABEL MICROSECONDS" for each timed group. Ends with 1 at the first thing that fails.
 */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { LINES_MAX = 512, LINE_BYTES = 1024, REPLY_BYTES = 1 << 20, WORDS_MAX = 32 };

struct line {
	char text[LINE_BYTES];
	const char *label, *verb, *target, *value;
};

static struct line lines[LINES_MAX];
static size_t n_lines;
static char reply[REPLY_BYTES];
static int api = -1;

static int fail(const struct line *line, const char *why)
{
	fprintf(stderr, "%s %s %s: %s\n", line->verb, line->target, line->value, why);
	return -1;
}

static int do_write(const struct line *line)
{
	const char *value = strcmp(line->value, "\\n") ? line->value : "\n";
	int fd = open(line->target, O_WRONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return fail(line, strerror(errno));
	n = write(fd, value, strlen(value));
	if (n < 0)
		fail(line, strerror(errno));
	close(fd);
	return n < 0 ? -1 : 0;
}

static int connect_api(const struct line *line)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = "/run/horcrux/api.sock" };

	api = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (api < 0 || connect(api, (struct sockaddr *)&address, sizeof(address)))
		return fail(line, strerror(errno));
	return 0;
}

/* Reads one whole answer into `reply`; its status, or -1. */
static int read_answer(const struct line *line)
{
	size_t have = 0, wanted = 0;
	char *body = NULL, *length;
	ssize_t n;

	while (!body || have < wanted) {
		n = have + 1 < sizeof(reply) ? read(api, reply + have, sizeof(reply) - 1 - have) : 0;
		if (n <= 0)
			return fail(line, "the answer ends too early");
		have += (size_t)n;
		reply[have] = '\0';
		body = body ? body : strstr(reply, "\r\n\r\n");
		if (!body || wanted)
			continue;
		length = strcasestr(reply, "\r\ncontent-length:");
		wanted = (size_t)(body + 4 - reply) +
			 (length && length < body ? strtoul(length + 17, NULL, 10) : 0);
	}
	return (int)strtoul(reply + 9, NULL, 10);
}

static int do_call(const struct line *line)
{
	char text[LINE_BYTES * 2];
	int n = snprintf(text, sizeof(text),
			 "%s %s HTTP/1.1\r\nHost: localhost\r\nPrefer: wait=300\r\nContent-Length: 0\r\n\r\n",
			 line->target, line->value);
	int status;

	if (api < 0 && connect_api(line) < 0)
		return -1;
	if (write(api, text, (size_t)n) != n)
		return fail(line, strerror(errno));
	status = read_answer(line);
	return status >= 200 && status < 300 ? 0 : fail(line, reply);
}

static int do_run(const struct line *line)
{
	char text[LINE_BYTES], *argv[WORDS_MAX] = { NULL }, *at = text;
	posix_spawn_file_actions_t actions;
	int status = 0, r;
	pid_t pid;

	snprintf(text, sizeof(text), "%s", line->target);
	for (size_t i = 0; i < WORDS_MAX - 1 && (argv[i] = strsep(&at, " ")); i++)
		;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
	r = posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	if (r)
		return fail(line, strerror(r));
	if (waitpid(pid, &status, 0) < 0 || status)
		return fail(line, "it did not end well");
	return 0;
}

static int do_sleep(const struct line *line)
{
	unsigned long ms = strtoul(line->target, NULL, 10);
	struct timespec left = { (time_t)(ms / 1000), (long)(ms % 1000) * 1000000 };

	while (nanosleep(&left, &left) && errno == EINTR)
		;
	return 0;
}

static int act(const struct line *line)
{
	static const struct {
		const char *verb;
		int (*act)(const struct line *line);
	} verbs[] = { { "write", do_write }, { "call", do_call }, { "run", do_run }, { "sleep", do_sleep } };

	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		if (!strcmp(verbs[i].verb, line->verb))
			return verbs[i].act(line);
	return fail(line, "no such verb");
}

static int read_script(const char *path)
{
	FILE *file = fopen(path, "re");
	struct line *line;
	char *at;

	while (file && n_lines < LINES_MAX && fgets(lines[n_lines].text, LINE_BYTES, file)) {
		line = &lines[n_lines++];
		at = line->text;
		at[strcspn(at, "\n")] = '\0';
		line->label = strsep(&at, "\t");
		line->verb = at ? strsep(&at, "\t") : "";
		line->target = at ? strsep(&at, "\t") : "";
		line->value = at ? at : "";
	}
	return file && feof(file) ? fclose(file) : -1;
}

static long microseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static int round_of_all(void)
{
	const char *label;
	size_t i = 0;
	long began;

	while (i < n_lines) {
		label = lines[i].label;
		began = microseconds();
		do {
			if (act(&lines[i]) < 0)
				return -1;
			i++;
		} while (i < n_lines && !strcmp(lines[i].label, label));
		if (strcmp(label, "-"))
			printf("%s %ld\n", label, microseconds() - began);
	}
	return fflush(stdout);
}

int main(int argc, char **argv)
{
	unsigned long rounds = argc == 3 ? strtoul(argv[2], NULL, 10) : 0;

	if (!rounds || read_script(argv[1])) {
		fprintf(stderr, "usage: peer SCRIPT ROUNDS\n");
		return 2;
	}
	while (rounds--)
		if (round_of_all())
			return 1;
	return 0;
}
