/* SPDX-License-Identifier: Apache-2.0 */
/* docs/STATES.md: states, steps, refusals and errors, from the tables that the programs run on. */
#include <stdio.h>
#include <stdlib.h>

#include "base/error.h"
#include "gpu/steps.h"
#include "pages.h"
#include "plan/refusal.h"
#include "plan/task.h"
#include "vgpu/steps.h"
#include "vm/steps.h"
#include "wire/device.h"
#include "wire/vm.h"

static const char *const card_means[] = {
	[CARD_HOST] = "on its host driver",
	[CARD_UNBOUND] = "no driver has it",
	[CARD_PREPARING] = "being bound to vfio",
	[CARD_READY] = "on vfio, and free",
	[CARD_IN_USE] = "on vfio, and a VM or a process has it",
	[CARD_SHARED] = "carries virtual functions or vGPU instances",
	[CARD_RELEASING] = "being given back to its host driver",
	[CARD_MIXED] = "its functions differ: a change that is not finished, or not ours",
	[CARD_STUCK] = "a change of it does not come back from the kernel; it is left alone until it does",
	[CARD_QUARANTINED] = "a reset failed, or it does not answer",
	[CARD_ABSENT] = "it is not there any more",
	NULL,
};

static const char *const vm_means[] = {
	[VM_STOPPED] = "it does not run",
	[VM_STARTING] = "its cards are taken and it is being started",
	[VM_RUNNING] = "it runs",
	[VM_PAUSED] = "it was stopped for a while and keeps its cards",
	[VM_STOPPING] = "it was told to go off",
	[VM_CRASHED] = "it ended by a fault",
	[VM_MIGRATING] = "it is being moved to another node",
	[VM_UNKNOWN] = "libvirt does not answer",
	NULL,
};

static const char *const task_means[] = {
	[TASK_QUEUED] = "waits for what an earlier task has",
	[TASK_RUNNING] = "its steps are being done",
	[TASK_SUCCEEDED] = "done, and every step proven",
	[TASK_FAILED] = "not done; the problem says why, and what could not be undone",
	[TASK_CANCELLED] = "not done, because somebody asked for that",
	[TASK_ROLLED_BACK] = "a step failed, and everything before it was undone and proven",
	[TASK_STUCK] = "the kernel does not come back; it goes on when it does",
	[TASK_STATES] = NULL,
};

static const char *mean(const char *const *means, int i)
{
	if (!means[i])
		abort(); /* a state without its meaning: add it above */
	return means[i];
}

static void states(const char *title, const char *const *words, const char *const *means)
{
	printf("\n## %s\n\n| state | means |\n|---|---|\n", title);
	for (int i = 0; words[i]; i++)
		printf("| `%s` | %s |\n", words[i], mean(means, i));
}

static void tasks(void)
{
	const char *between;

	fputs("\n## Tasks\n\n| state | means | may become |\n|---|---|---|\n", stdout);
	for (int from = 0; from < TASK_STATES; from++) {
		printf("| `%s` | %s | ", wire_task_state_words[from], mean(task_means, from));
		between = "";
		for (int to = 0; to < TASK_STATES; to++) {
			if (!task_may_move((enum task_state)from, (enum task_state)to))
				continue;
			printf("%s`%s`", between, wire_task_state_words[to]);
			between = ", ";
		}
		printf("%s |\n", *between ? "" : "-");
	}
}

static void steps(void)
{
	const struct step_table tables[] = { gpu_steps, vgpu_steps, vm_card_steps, vm_domain_steps, vm_record_steps,
					     vm_storage_steps };
	const struct step_kind *kind;

	fputs("\n## Steps\n\nWhat plans are made of. When a step fails, or the daemon ends in it, what was done "
	      "before is undone,\nunless a step without a way back was done already: then the rest is done.\n\n"
	      "| kind | can be undone | outlives the boot |\n|---|---|---|\n", stdout);
	for (size_t i = 0; i < ARRAY_SIZE(tables); i++)
		for (size_t k = 0; k < tables[i].n; k++) {
			kind = &tables[i].kinds[k];
			printf("| `%s` | %s | %s |\n", kind->name, kind->undo ? "yes" : "no",
			       kind->lasting ? "yes" : "no");
		}
}

static void refusals(void)
{
	static const char *const accepts[] = {
		[ACCEPT_NO] = "no",
		[ACCEPT_YES] = "yes",
		[ACCEPT_AT_BIND] = "yes; not when a VM starts with it",
	};

	fputs("\n## Refusals\n\nWhat can be accepted goes through when its code is in the request's `accept`. "
	      "There is no blanket force.\n\n| code | means | can be accepted |\n|---|---|---|\n", stdout);
	for (int i = 0; i < REFUSAL_CODES; i++)
		printf("| `%s%s` | %s | %s |\n", refusal_table[i].name, i == REFUSE_UNKNOWN ? "…" : "",
		       refusal_table[i].means, accepts[refusal_table[i].accept]);
}

static void errors(void)
{
	fputs("\n## Errors\n\nThe `code` and `status` of every answer that is an error.\n\n"
	      "| code | status | means |\n|---|---|---|\n", stdout);
	for (int i = ERROR_NONE + 1; i < ERROR_CODES; i++)
		printf("| `%s` | %d | %s |\n", error_code_name((enum error_code)i),
		       error_code_status((enum error_code)i), error_code_title((enum error_code)i));
}

void page_states(void)
{
	fputs("# States, steps, refusals, errors\n\n"
	      "Printed from the tables of the programs; `scripts/laws` checks that it is what they print.\n"
	      "`scripts/pages` writes it anew.\n", stdout);
	states("Cards", wire_card_state_words, card_means);
	states("VMs", wire_vm_state_words, vm_means);
	tasks();
	steps();
	refusals();
	errors();
}
