/* SPDX-License-Identifier: Apache-2.0 */
/* Finding a kind in the tables of steps.h. Pure; any thread. */
#include "vm/steps.h"

const struct step_kind *vm_step(enum vm_step step)
{
	static const char *const names[] = {
		[VM_STEP_CLAIM] = "claim",
		[VM_STEP_DESTROY] = "destroy",
		[VM_STEP_DOMAIN] = "domain",
		[VM_STEP_LET_GO] = "let-go",
		[VM_STEP_NETWORK] = "network",
		[VM_STEP_NVRAM_DELETE] = "nvram-delete",
		[VM_STEP_POOL] = "pool",
		[VM_STEP_RECORD] = "record",
		[VM_STEP_RECORD_DELETE] = "record-delete",
		[VM_STEP_SHUTDOWN] = "shutdown",
		[VM_STEP_UNCLAIM] = "unclaim",
		[VM_STEP_VOLUME] = "volume",
		[VM_STEP_VOLUME_DELETE] = "volume-delete",
	};
	const struct step_table tables[] = { vm_card_steps, vm_domain_steps, vm_record_steps,
					     vm_storage_steps };

	return step_find(tables, ARRAY_SIZE(tables), names[step]);
}
