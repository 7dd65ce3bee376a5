/* SPDX-License-Identifier: Apache-2.0 */
/* See change.h. Everything of the daemon's is printed only after text_safe(). */
#include "cli/change.h"

#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

#include "cli/output.h"

enum {
	PATH_BYTES = 200,
	POLL_FIRST_MS = 100,
	POLL_LAST_MS = 1000,
	STEP_INDENT = 4,
};

/* ---- progress: one line that changes on a terminal, a line for each step elsewhere ---- */

struct progress {
	bool tty;
	bool shown; /* a line stands there that is to be wiped */
	int width;
	const char *last;
};

static int stderr_width(void)
{
	struct winsize size = { 0 };

	return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) < 0 || !size.ws_col ? 80 : size.ws_col;
}

static void progress_begin(struct progress *p)
{
	*p = (struct progress){ .tty = isatty(STDERR_FILENO), .last = "" };
	if (p->tty)
		p->width = stderr_width();
}

static void progress_tell(struct cli *cli, struct progress *p, const json_t *task)
{
	const char *message = json_text(cli, task, "message");
	const char *line;

	if (!message)
		return;
	line = arena_printf(cli->arena, "%lld/%lld %s", (long long)json_number(task, "step", 0),
			    (long long)json_number(task, "steps", 0), message);
	if (!strcmp(line, p->last))
		return;
	p->last = line;
	if (p->tty)
		fprintf(stderr, "\r\033[K%.*s", p->width - 1, line);
	else
		fprintf(stderr, "%s\n", line);
	p->shown = p->tty;
	fflush(stderr);
}

static void progress_end(struct progress *p)
{
	if (p->shown)
		fputs("\r\033[K", stderr);
	fflush(stderr);
}

/* ---- tasks ---- */

static bool is_over(const json_t *task)
{
	const char *state = json_string_value(json_object_get(task, "state"));

	return !state || (strcmp(state, "queued") && strcmp(state, "running"));
}

int task_verdict(json_t *task, struct failure *why)
{
	const char *state = json_string_value(json_object_get(task, "state"));
	json_t *problem = json_object_get(task, "problem");

	/* with a problem: it is done, but what came of it could not be read */
	if (state && !strcmp(state, "succeeded") && !json_is_object(problem))
		return 0;
	error_set(&why->error, ERROR_INTERNAL, "the task ended as %.40s", state ?: "nothing known");
	if (json_is_object(problem))
		why->problem = json_incref(problem);
	return -1;
}

void task_print_line(struct cli *cli, const json_t *task)
{
	long long step = (long long)json_number(task, "step", 0);

	printf("%s  %s: %s", json_text(cli, task, "id") ?: "?",
	       json_text(cli, task, "title") ?: "?", json_text(cli, task, "state") ?: "?");
	if (step && !is_over(task))
		printf(", step %lld of %lld", step, (long long)json_number(task, "steps", 0));
	putchar('\n');
}

static void pause_ms(unsigned ms)
{
	const struct timespec pause = { ms / 1000, (long)(ms % 1000) * 1000000 };

	nanosleep(&pause, NULL);
}

int task_follow(struct cli *cli, const char *id, json_t **ret, struct failure *why)
{
	char path[PATH_BYTES];
	struct progress progress;
	unsigned pause = POLL_FIRST_MS;
	int r;

	snprintf(path, sizeof(path), "/api/tasks/%.100s", id);
	progress_begin(&progress);
	for (;;) {
		CLEAN_ANSWER struct answer answer = { 0 };

		r = source_call(cli, "GET", path, &answer, why);
		if (r < 0)
			break;
		progress_tell(cli, &progress, answer.json);
		if (is_over(answer.json)) {
			*ret = json_incref(answer.json);
			break;
		}
		pause_ms(pause);
		pause = pause * 2 > POLL_LAST_MS ? POLL_LAST_MS : pause * 2;
	}
	progress_end(&progress);
	return r;
}

/* ---- plans ---- */

/* A bare newline is how sysfs is told "nothing". */
static void print_writes(const struct cli *cli, const json_t *step)
{
	const char *value;
	size_t i;
	json_t *write;

	json_array_foreach (json_object_get(step, "writes"), i, write) {
		value = json_string_value(json_object_get(write, "value"));
		printf("%*s%s > %s\n", STEP_INDENT + 4, "",
		       value && strcmp(value, "\n") ? text_safe(cli, value) : "\"\"",
		       json_text(cli, write, "path") ?: "?");
	}
}

static void print_steps(struct cli *cli, const json_t *steps)
{
	size_t i;
	json_t *step;

	json_array_foreach (steps, i, step) {
		printf("%*lld. ", STEP_INDENT, (long long)json_number(step, "n", (int64_t)i + 1));
		print_folded_after(cli, stdout, STEP_INDENT + 2,
				   arena_printf(cli->arena, "%s%s",
						json_text(cli, step, "text") ?: "?",
						strcmp(json_text(cli, step, "undo") ?: "", "none")
							? ""
							: " (no way back from here)"));
		print_writes(cli, step);
	}
}

/* The refusals as a failure, so that they are told as any others. */
static int refuse(const json_t *plan, struct failure *why)
{
	json_t *refusals = json_object_get(plan, "refusals");

	if (!json_array_size(refusals))
		return 0;
	error_set(&why->error, ERROR_REFUSED, "it would be refused");
	why->problem = json_pack("{s:s, s:s, s:O}", "detail", "it would be refused", "code",
				 error_code_name(ERROR_REFUSED), "refusals", refusals);
	return -1;
}

static int print_plan(struct cli *cli, const struct answer *answer, struct failure *why)
{
	const json_t *plan = json_object_get(answer->json, "plan");
	const json_t *steps = json_object_get(plan, "steps");
	size_t i;
	json_t *text;

	if (cli->options.output == OUTPUT_JSON) {
		print_json(cli, answer->bytes, answer->n);
		return refuse(plan, why);
	}
	print_title(cli, "To %s:", json_text(cli, plan, "title") ?: "do this");
	print_steps(cli, steps);
	if (refuse(plan, why) < 0)
		return -1;
	if (!json_array_size(steps))
		puts("  Nothing is to be done: it is so already.");
	json_array_foreach (json_object_get(plan, "warnings"), i, text)
		print_item(cli, text_safe(cli, json_string_value(text)) ?: "");
	puts("Nothing was done.");
	return 0;
}

/* ---- changes ---- */

/* "a,b" into ["a", "b"]. */
static json_t *codes(const char *text)
{
	json_t *array = json_array();
	size_t n;

	while (*text) {
		n = strcspn(text, ",");
		if (n)
			json_array_append_new(array, json_stringn(text, n));
		text += n + (text[n] == ',');
	}
	return array;
}

static json_t *body_of(const struct cli *cli, const struct change *change)
{
	json_t *body = change->body ? json_incref(change->body) : NULL;

	if (cli->options.accept && !body)
		body = json_object();
	if (cli->options.accept)
		json_object_set_new(body, "accept", codes(cli->options.accept));
	return body;
}

static int ask(struct cli *cli, const struct change *change, struct answer *answer,
	       struct failure *why)
{
	json_t *body = body_of(cli, change);
	char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
	struct call call = { change->method, change->path, NULL, text, NULL };
	char path[PATH_BYTES];
	int r;

	snprintf(path, sizeof(path), "%s%s%s%s%s", change->path,
		 cli->options.plan || change->query ? "?" : "",
		 cli->options.plan ? "dry_run=true" : "",
		 cli->options.plan && change->query ? "&" : "", change->query ?: "");
	call.path = path;
	/* What is quick needs no progress; what is not is followed as a task. */
	call.prefer = cli->options.no_wait ? "respond-async" : "respond-async, wait=1";
	r = source_send(cli, &call, answer, why);
	free(text);
	json_decref(body);
	return r;
}

static enum changed followed(struct cli *cli, const json_t *task, json_t **ret, struct failure *why)
{
	const char *id = json_text(cli, task, "id");
	json_t *ended = NULL, *result;
	int r = -1;

	if (id)
		r = task_follow(cli, id, &ended, why);
	else
		error_set(&why->error, ERROR_INTERNAL, "the daemon's answer is no task");
	if (!r)
		r = task_verdict(ended, why);
	result = r ? NULL : json_object_get(ended, "result");
	*ret = json_is_object(result) ? json_incref(result) : NULL;
	json_decref(ended);
	return r < 0 ? CHANGE_FAILED : CHANGE_DONE;
}

enum changed change_run(struct cli *cli, const struct change *change, json_t **ret,
			struct failure *why)
{
	CLEAN_ANSWER struct answer answer = { 0 };

	*ret = NULL;
	if (ask(cli, change, &answer, why) < 0)
		return CHANGE_FAILED;
	if (cli->options.plan)
		return print_plan(cli, &answer, why) < 0 ? CHANGE_FAILED : CHANGE_TOLD;
	if (answer.status != 202) {
		*ret = json_is_object(answer.json) ? json_incref(answer.json) : NULL;
		return CHANGE_DONE;
	}
	if (!cli->options.no_wait)
		return followed(cli, answer.json, ret, why);
	if (cli->options.output == OUTPUT_JSON)
		print_json(cli, answer.bytes, answer.n);
	else
		task_print_line(cli, answer.json);
	return CHANGE_TOLD;
}

void print_resource(struct cli *cli, const json_t *resource,
		    void (*print)(struct cli *cli, const json_t *resource))
{
	char *text;

	if (cli->options.output != OUTPUT_JSON) {
		print(cli, resource);
		return;
	}
	text = resource ? json_dumps(resource, JSON_COMPACT) : NULL;
	if (text)
		print_json(cli, text, strlen(text));
	free(text);
}
