/* SPDX-License-Identifier: Apache-2.0 */
/* horcrux task list, show, watch, cancel. Main thread. */
#include <string.h>

#include "cli/change.h"
#include "cli/commands.h"
#include "cli/listing.h"
#include "cli/output.h"

enum { CELL_ID, CELL_TITLE, CELL_STATE, CELL_STEP, CELL_STARTED, CELLS };

static const struct column columns[CELLS] = {
	[CELL_ID] = { "TASK" },
	[CELL_TITLE] = { "TITLE", .cut = true },
	[CELL_STATE] = { "STATE" },
	[CELL_STEP] = { "STEP" },
	[CELL_STARTED] = { "STARTED", .from_width = 100 },
};

static enum color state_color(const char *state)
{
	static const struct {
		const char *state;
		enum color color;
	} rows[] = {
		{ "cancelled", COLOR_WARN },  { "failed", COLOR_BAD },	 { "queued", COLOR_BUSY },
		{ "rolled_back", COLOR_BAD }, { "running", COLOR_BUSY }, { "stuck", COLOR_BAD },
		{ "succeeded", COLOR_GOOD },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (!strcmp(rows[i].state, state))
			return rows[i].color;
	return COLOR_NONE;
}

static const char *path_of(char *buf, size_t size, const char *id, const char *end)
{
	snprintf(buf, size, "/api/tasks/%s%s", id, end);
	return buf;
}

static void add_task(const struct cli *cli, struct table *table, const json_t *task)
{
	const char *state = json_text(cli, task, "state") ?: "?";
	const char *const cells[CELLS] = {
		[CELL_ID] = json_text(cli, task, "id") ?: "?",
		[CELL_TITLE] = json_text(cli, task, "title") ?: "?",
		[CELL_STATE] = state,
		[CELL_STEP] = arena_printf(cli->arena, "%lld/%lld",
					   (long long)json_number(task, "step", 0),
					   (long long)json_number(task, "steps", 0)),
		[CELL_STARTED] = json_text(cli, task, "started_at") ?: "-",
	};

	table_row(table, cells, CELL_STATE, state_color(state));
}

int cmd_task_list(struct cli *cli, char *const *words UNUSED, struct failure *why)
{
	static const struct listing listing = { "/api/tasks", columns, CELLS, add_task,
						"nothing was asked of this daemon so far" };

	return listing_print(cli, &listing, why);
}

static void print_task(struct cli *cli, const json_t *task)
{
	const json_t *problem = json_object_get(task, "problem");
	size_t i;
	json_t *name;

	print_title(cli, "%s  %s", json_text(cli, task, "id") ?: "?",
		    json_text(cli, task, "title") ?: "?");
	print_text(cli, task, "state", "state");
	print_field(cli, "step",
		    arena_printf(cli->arena, "%lld of %lld",
				 (long long)json_number(task, "step", 0),
				 (long long)json_number(task, "steps", 0)));
	print_text(cli, task, "doing", "message");
	print_text(cli, task, "asked for by", "requested_by");
	print_text(cli, task, "started", "started_at");
	print_text(cli, task, "ended", "ended_at");
	print_text(cli, problem, "problem", "detail");
	print_text(cli, problem, "what to do", "hint");
	json_array_foreach (json_object_get(task, "resources"), i, name)
		print_field(cli, i ? "" : "holds", text_safe(cli, json_string_value(name)) ?: "?");
}

static int show(struct cli *cli, const struct answer *answer)
{
	if (cli->options.output == OUTPUT_JSON)
		print_json(cli, answer->bytes, answer->n);
	else
		print_task(cli, answer->json);
	return 0;
}

int cmd_task_show(struct cli *cli, char *const *words, struct failure *why)
{
	CLEAN_ANSWER struct answer answer = { 0 };
	char path[160];

	if (source_call(cli, "GET", path_of(path, sizeof(path), words[0], ""), &answer, why) < 0)
		return -1;
	return show(cli, &answer);
}

int cmd_task_cancel(struct cli *cli, char *const *words, struct failure *why)
{
	char path[160];
	const struct change change = { "POST", path, NULL, NULL };
	enum changed changed;
	json_t *task = NULL;

	path_of(path, sizeof(path), words[0], "/cancel");
	changed = change_run(cli, &change, &task, why);
	if (changed == CHANGE_DONE)
		print_resource(cli, task, print_task);
	json_decref(task);
	return changed == CHANGE_FAILED ? -1 : 0;
}

/* The exit code is the task's: 0 it succeeded. */
int cmd_task_watch(struct cli *cli, char *const *words, struct failure *why)
{
	json_t *task = NULL;
	int r = task_follow(cli, words[0], &task, why);

	if (!r) {
		print_resource(cli, task, task_print_line);
		r = task_verdict(task, why);
	}
	json_decref(task);
	return r;
}
