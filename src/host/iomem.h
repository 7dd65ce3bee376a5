/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The firmware's framebuffer in /proc/iomem: a range named efifb, simpledrm, simplefb, vesafb or
 * BOOTFB inside a BAR keeps vfio-pci from reserving it ("BAR n: can't reserve"). Addresses read as
 * zero without CAP_SYS_ADMIN (kernel/resource.c), so horcrux-privd reads the text; parsing is pure.
 */
#pragma once

#include "host/pci.h"

struct boot_framebuffer {
	struct pci_address address;	/* the function whose BAR it lies in */
	int bar;
	const char *name;		/* as in /proc/iomem */
};

/*
 * Finds them in the text of /proc/iomem; functions is a list of struct function *. Returns their
 * number; or -1 (system) when the text hides its addresses, so nothing can be told.
 */
int iomem_boot_framebuffers(const char *text, const struct list *functions, struct arena *arena,
			    struct list *found, struct error *err);
