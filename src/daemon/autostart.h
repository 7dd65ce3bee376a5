/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starting VMs with the host: once per boot, not per start of the daemon, so that what somebody
 * stopped meanwhile stays so. That it was done is noted in a file that dies with the boot.
 */
#pragma once

#include "plan/task.h"

/*
 * Hands in a start for each VM that asks for it (vms: struct vm_record) and does not run (domains:
 * struct virt_domain), once in a boot: which these are is written down first, and each when its
 * start is over, so that a daemon that ended in between goes on where it was. What was accepted at
 * the VM's last start is accepted again. One that fails is logged. Never waits for them.
 */
void autostart(struct engine *engine, const char *run_dir, const struct list *vms,
	       const struct list *domains);
