/* SPDX-License-Identifier: Apache-2.0 */
/* See problem.h. What the daemon said is printed only after text_safe(). */
#include "cli/problem.h"

#include <string.h>

#include "cli/output.h"

static void labelled(const struct cli *cli, const char *label, const char *text)
{
	CLEAN_FREE char *line = NULL;

	if (text && *text && asprintf(&line, "%s %s", label, text) >= 0)
		print_folded(cli, stderr, 4, line);
}

static void print_refusal(const struct cli *cli, const json_t *refusal)
{
	const char *code = json_text(cli, refusal, "code") ?: "refused";
	const char *subject = json_text(cli, refusal, "subject");

	fprintf(stderr, "\n  %s%s%s\n", code, subject ? ": " : "", subject ?: "");
	labelled(cli, "why:  ", json_text(cli, refusal, "reason"));
	labelled(cli, "found:", json_text(cli, refusal, "evidence"));
	labelled(cli, "fix:  ", json_text(cli, refusal, "fix"));
	if (json_is_true(json_object_get(refusal, "can_accept")))
		fprintf(stderr, "    or:    accept it with --accept=%s\n", code);
}

static bool named_before(const json_t *refusals, size_t before, const char *code)
{
	const char *other;

	for (size_t i = 0; i < before; i++) {
		other = json_string_value(json_object_get(json_array_get(refusals, i), "code"));
		if (other && !strcmp(other, code))
			return true;
	}
	return false;
}

/* "Accept all of it" is said only when that would be enough. */
static void print_way_through(const struct cli *cli, const json_t *refusals)
{
	const char *code;
	bool all = true;
	size_t i;
	json_t *refusal;

	json_array_foreach (refusals, i, refusal)
		all = all && json_is_true(json_object_get(refusal, "can_accept"));
	if (!all) {
		fputs("\nNot all of this can be accepted.\n", stderr);
		return;
	}
	fputs("\nTo do it all the same, add: --accept=", stderr);
	json_array_foreach (refusals, i, refusal) {
		code = json_string_value(json_object_get(refusal, "code")) ?: "";
		if (!named_before(refusals, i, code))
			fprintf(stderr, "%s%s", i ? "," : "", text_safe(cli, code));
	}
	fputc('\n', stderr);
}

/* For a program that reads stdout the problem is the answer. */
static void print_problem(const struct cli *cli, const json_t *problem)
{
	CLEAN_FREE char *text = json_dumps(problem, JSON_COMPACT);

	if (text)
		print_json(cli, text, strlen(text));
}

static enum exit_code report_problem(const struct cli *cli, const struct failure *why)
{
	const char *detail = json_text(cli, why->problem, "detail");
	const char *code = json_text(cli, why->problem, "code");
	const char *pointer = json_text(cli, why->problem, "pointer");
	const char *hint = json_text(cli, why->problem, "hint");
	const char *task = json_text(cli, why->problem, "task");
	const json_t *refusals = json_object_get(why->problem, "refusals");
	size_t i;
	json_t *refusal;

	if (cli->options.output == OUTPUT_JSON && !cli->printed)
		print_problem(cli, why->problem);
	fprintf(stderr, "horcrux: %s%s%s%s\n",
		detail ?: json_text(cli, why->problem, "title") ?: why->error.message,
		pointer ? " (at " : "", pointer ?: "", pointer ? ")" : "");
	json_array_foreach (refusals, i, refusal)
		print_refusal(cli, refusal);
	if (json_array_size(refusals))
		print_way_through(cli, refusals);
	if (hint && *hint)
		fprintf(stderr, "  %s\n", hint);
	if (task && *task)
		fprintf(stderr, "  task: %s\n", task);
	if (json_array_size(refusals) || (code && !strcmp(code, error_code_name(ERROR_REFUSED))))
		return EXIT_REFUSED;
	return EXIT_FAILED;
}

enum exit_code problem_report(const struct cli *cli, const struct failure *why)
{
	const struct error *err = &why->error;

	if (why->problem)
		return report_problem(cli, why);
	fprintf(stderr, "horcrux: %s\n", text_safe(cli, err->message));
	if (err->hint[0])
		fprintf(stderr, "  %s\n", text_safe(cli, err->hint));
	if (err->code == ERROR_USAGE)
		return EXIT_USAGE;
	return err->code == ERROR_UNREACHABLE ? EXIT_UNREACHABLE : EXIT_FAILED;
}
