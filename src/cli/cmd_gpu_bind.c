/* SPDX-License-Identifier: Apache-2.0 */
/* horcrux gpu bind, horcrux gpu unbind: taking a card, and giving it back. Main thread. */
#include <string.h>

#include "cli/change.h"
#include "cli/commands.h"
#include "cli/gpu_words.h"
#include "cli/output.h"
#include "cli/problem.h"

static void print_card(struct cli *cli, const json_t *device)
{
	const char *state = gpu_word(cli, device, "state");

	printf("%s is on %s: %s, %s\n", gpu_word(cli, device, "pci_address"),
	       gpu_word(cli, device, "driver"), state, gpu_state_means(state));
}

static int change(struct cli *cli, const char *address, const char *verb, json_t *body,
		  struct failure *why)
{
	char path[128];
	const struct change change = { "POST", path, NULL, body };
	json_t *device = NULL;
	enum changed changed;

	snprintf(path, sizeof(path), "/api/gpu/devices/%s/%s-vfio", address, verb);
	changed = change_run(cli, &change, &device, why);
	if (changed == CHANGE_DONE && device)
		print_resource(cli, device, print_card);
	json_decref(device);
	return changed == CHANGE_FAILED ? -1 : 0;
}

/* ---- gpu unbind --all ---- */

static void stays(struct cli *cli, const json_t *device, const char *because)
{
	bool bare = json_is_null(json_object_get(device, "driver")) && !json_reason(cli, device, "driver");

	/* with --output=json stdout is for the answers alone */
	fprintf(cli->options.output == OUTPUT_JSON ? stderr : stdout, "%s stays %s%s: %s\n",
		gpu_word(cli, device, "pci_address"), bare ? "without a driver" : "on ",
		bare ? "" : gpu_word(cli, device, "driver"), because);
}

/* A running VM that has the card; NULL. */
static const char *vm_of(const struct cli *cli, const json_t *device)
{
	const json_t *user;
	size_t i;

	json_array_foreach (json_object_get(device, "used_by"), i, user)
		if (!strcmp(json_text(cli, user, "kind") ?: "", "vm"))
			return json_text(cli, user, "name") ?: "a VM";
	return NULL;
}

static bool has_step(const json_t *plan, const char *kind)
{
	const json_t *step;
	size_t i;

	json_array_foreach (json_object_get(plan, "steps"), i, step)
		if (!strcmp(json_string_value(json_object_get(step, "kind")) ?: "", kind))
			return true;
	return false;
}

enum given { GIVEN, NOT_OURS, NOT_GIVEN };

/*
 * Did Horcrux take it? The plan says so: then it has the step that forgets what the card was. A plan
 * that is refused has no steps; its reasons are told, and the card counts as not given back.
 */
static enum given judge(struct cli *cli, const json_t *device, struct failure *why)
{
	CLEAN_ANSWER struct answer answer = { 0 };
	const json_t *plan, *refusal;
	char path[128];
	size_t i;

	snprintf(path, sizeof(path), "/api/gpu/devices/%.20s/unbind-vfio?dry_run=true",
		 gpu_word(cli, device, "pci_address"));
	if (source_call(cli, "POST", path, &answer, why) < 0)
		return NOT_GIVEN;
	plan = json_object_get(answer.json, "plan");
	json_array_foreach (json_object_get(plan, "refusals"), i, refusal)
		if (!cli->options.accept)
			stays(cli, device, json_text(cli, refusal, "reason") ?: "it was refused");
	if (i && !cli->options.accept)
		return NOT_GIVEN;
	if (i || has_step(plan, "forget"))
		return GIVEN;
	if (json_array_size(json_object_get(plan, "steps")))
		stays(cli, device, "Horcrux did not take it");
	return NOT_OURS;
}

static enum given give_back(struct cli *cli, const json_t *device)
{
	struct failure why = { 0 };
	const char *vm = vm_of(cli, device);
	enum given given;

	if (vm) {
		stays(cli, device, arena_printf(cli->arena, "VM %s runs with it", vm));
		return NOT_OURS;
	}
	given = judge(cli, device, &why);
	if (given == GIVEN &&
	    change(cli, gpu_word(cli, device, "pci_address"), "unbind", NULL, &why) < 0)
		given = NOT_GIVEN;
	if (why.problem || why.error.message[0])
		problem_report(cli, &why);
	json_decref(why.problem);
	return given;
}

/* One function of each card; those of a card that is on its host driver need nothing. */
static bool is_to_ask(const struct cli *cli, const json_t *device, json_t *seen)
{
	const char *slot = json_text(cli, device, "slot") ?: gpu_word(cli, device, "pci_address");

	if (json_object_get(seen, slot) || !strcmp(gpu_word(cli, device, "state"), "host"))
		return false;
	json_object_set_new(seen, slot, json_true());
	return true;
}

static int unbind_all(struct cli *cli, struct failure *why)
{
	CLEAN_ANSWER struct answer answer = { 0 };
	unsigned left = 0;
	size_t i;
	json_t *device, *seen;

	if (source_call(cli, "GET", "/api/gpu/devices", &answer, why) < 0)
		return -1;
	seen = json_object();
	json_array_foreach (answer.json, i, device)
		if (is_to_ask(cli, device, seen))
			left += give_back(cli, device) == NOT_GIVEN;
	json_decref(seen);
	return left ? error_set(&why->error, ERROR_CONFLICT, "%u cards were not given back", left) : 0;
}

/* ---- */

int cmd_gpu_bind(struct cli *cli, char *const *words, struct failure *why)
{
	json_t *body = json_pack("{s:s}", "scope", scope_words[cli->options.scope]);
	int r = change(cli, words[0], "bind", body, why);

	json_decref(body);
	return r;
}

int cmd_gpu_unbind(struct cli *cli, char *const *words, struct failure *why)
{
	return cli->options.all ? unbind_all(cli, why) : change(cli, words[0], "unbind", NULL, why);
}
