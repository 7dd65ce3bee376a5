/* SPDX-License-Identifier: Apache-2.0 */
/* horcrux doctor: what is well on this host, what is not, and what to do. Main thread. */
#include <string.h>

#include "cli/commands.h"
#include "cli/output.h"
#include "cli/source.h"

static const struct verdict {
	const char *word;
	const char *mark;      /* before a line */
	const char *any, *one; /* of the whole host, of one card */
} verdicts[] = {
	{ "ok", "ok", "At least one card can be given to a VM.", "It can be given to a VM." },
	{ "warn", "warning", "At least one card can be given to a VM; mind the warnings.",
	  "It can be given to a VM; mind the warnings." },
	{ "fail", "FAILED", "No card can be given to a VM as things stand.",
	  "It cannot be given to a VM as things stand." },
	{ "unknown", "unknown", "Whether a card can be given to a VM could not be told.",
	  "Whether it can be given to a VM could not be told." },
};

static const struct verdict *verdict_of(const char *word)
{
	for (size_t i = 0; i < ARRAY_SIZE(verdicts); i++)
		if (word && !strcmp(verdicts[i].word, word))
			return &verdicts[i];
	return &verdicts[ARRAY_SIZE(verdicts) - 1];
}

static void print_part(const struct cli *cli, const json_t *check, const char *label,
		       const char *key)
{
	const char *text = json_text(cli, check, key);

	if (!text)
		return;
	printf("           %s: ", label);
	print_folded_after(cli, stdout, 13 + (int)strlen(label), text);
}

/* What is well takes one line; of what is not, all that is known of it. */
static void print_check(const struct cli *cli, const json_t *check)
{
	const struct verdict *v = verdict_of(json_text(cli, check, "status"));

	printf("  %-7s  ", v->mark);
	print_folded_after(cli, stdout, 11, json_text(cli, check, "title") ?: "?");
	if (v == &verdicts[0])
		return;
	print_part(cli, check, "seen", "evidence");
	print_part(cli, check, "why", "why");
	print_part(cli, check, "fix", "fix");
	if (json_is_true(json_object_get(check, "reboot_needed")))
		puts("           (after that, a reboot)");
}

static void print_checks(struct cli *cli, const json_t *checks)
{
	const char *last = "", *subject;
	size_t i;
	json_t *check;

	json_array_foreach (checks, i, check) {
		subject = json_text(cli, check, "subject") ?: "?";
		if (strcmp(subject, last))
			print_title(cli, "%s", strcmp(subject, "host") ? subject : "The host");
		last = subject;
		print_check(cli, check);
	}
}

int cmd_doctor(struct cli *cli, char *const *words UNUSED, struct failure *why)
{
	CLEAN_ANSWER struct answer answer = { 0 };
	const struct verdict *verdict;

	if (source_ask(cli, ASK_DOCTOR, cli->options.device, &answer, why) < 0)
		return -1;
	verdict = verdict_of(json_text(cli, answer.json, "verdict"));
	if (cli->options.output == OUTPUT_JSON) {
		print_json(cli, answer.bytes, answer.n);
	} else {
		print_checks(cli, json_object_get(answer.json, "checks"));
		print_title(cli, "%s", cli->options.device ? verdict->one : verdict->any);
	}
	if (strcmp(verdict->word, "fail"))
		return 0;
	return error_set(&why->error, ERROR_CONFLICT, "checks failed; each says what to do");
}
