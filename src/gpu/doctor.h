/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The doctor: can this host give its cards to VMs, and if not, why, and what to do. One table of
 * checks over facts that were looked up before; the daemon and the CLI without a daemon show the
 * same. It judges the state now; what refuses a change is guard.h's. Pure; any thread.
 */
#pragma once

#include "gpu/view.h"
#include "host/iomem.h"
#include "wire/doctor.h"

struct doctor_facts {
	struct gpu_facts gpu;
	const struct list *framebuffers;  /* struct boot_framebuffer; NULL: could not be read */
	const char *framebuffers_unknown; /* why not */
	enum fact vfio_pci;		  /* host/modules.h */
	const char *vfio_pci_evidence;
};

/*
 * All checks of the host, then those of each card (VFs are left out), or of the one card (or VF)
 * that `device`, any function of it, belongs to. Strings are in the arena or borrowed from the
 * facts.
 */
void gpu_doctor(const struct doctor_facts *facts, const struct function *device,
		struct arena *arena, struct wire_doctor *out);
