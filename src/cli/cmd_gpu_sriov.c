/* SPDX-License-Identifier: Apache-2.0 */
/* horcrux gpu sriov: the VFs of a card. Main thread. */
#include <stdlib.h>

#include "cli/change.h"
#include "cli/commands.h"
#include "cli/gpu_words.h"
#include "cli/output.h"

/* Its VFs stand below it. */
static void print_vfs(struct cli *cli, const json_t *device)
{
	const json_t *sriov = json_object_get(device, "sriov"), *vf;
	size_t i;

	if (!json_is_object(sriov)) { /* another function of the card was named */
		printf("done; horcrux gpu show %s tells\n", gpu_word(cli, device, "slot"));
		return;
	}
	printf("%s has %lld of %lld VFs\n", gpu_word(cli, device, "pci_address"),
	       (long long)json_number(sriov, "active", 0), (long long)json_number(sriov, "total", 0));
	json_array_foreach (json_object_get(sriov, "vfs"), i, vf)
		printf("%s\n", text_safe(cli, json_string_value(vf) ?: "?"));
}

int cmd_gpu_sriov(struct cli *cli, char *const *words, struct failure *why)
{
	char path[128];
	struct change change = { "PUT", path, NULL, NULL };
	json_t *device = NULL;
	enum changed changed;

	/* the table's check let nothing but a number through */
	change.body = json_pack("{s:i}", "vfs", (int)strtoul(words[1], NULL, 10));
	snprintf(path, sizeof(path), "/api/gpu/devices/%s/sriov", words[0]);
	changed = change_run(cli, &change, &device, why);
	if (changed == CHANGE_DONE && device)
		print_resource(cli, device, print_vfs);
	json_decref(device);
	json_decref(change.body);
	return changed == CHANGE_FAILED ? -1 : 0;
}
