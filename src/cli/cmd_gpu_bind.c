/* SPDX-License-Identifier: Apache-2.0 */
/* horcrux gpu bind, horcrux gpu unbind: taking a card, and giving it back. Main thread. */
#include "cli/change.h"
#include "cli/commands.h"
#include "cli/gpu_words.h"

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

int cmd_gpu_bind(struct cli *cli, char *const *words, struct failure *why)
{
	json_t *body = json_pack("{s:s}", "scope", scope_words[cli->options.scope]);
	int r = change(cli, words[0], "bind", body, why);

	json_decref(body);
	return r;
}

int cmd_gpu_unbind(struct cli *cli, char *const *words, struct failure *why)
{
	return change(cli, words[0], "unbind", NULL, why);
}
