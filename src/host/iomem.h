/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The firmware's framebuffer in /proc/iomem: a range named efifb, simpledrm, simplefb, vesafb or
 * BOOTFB (newer: efidrm, vesadrm) inside a BAR keeps vfio-pci from reserving it ("BAR n: can't
 * reserve"). Addresses read as zero without CAP_SYS_ADMIN (kernel/resource.c), so horcrux-privd
 * reads the text; parsing is pure.
 */
#pragma once

#include "host/pci.h"
#include "host/root.h"

struct boot_framebuffer {
	struct pci_address address; /* the function whose BAR it lies in */
	int bar;		    /* -1: in a range of the function that is none of its BARs */
	const char *name;	    /* as in /proc/iomem; of nested ones the innermost */
};

/*
 * Finds them in the text of /proc/iomem; functions is a list of struct function *. One for each BAR
 * that has any, in the order of the text. Returns their number; or -1 (system) when the text hides
 * its addresses, or is none, so nothing can be told.
 */
int iomem_boot_framebuffers(const char *text, const struct list *functions, struct arena *arena,
			    struct list *found, struct error *err);

/*
 * True when /proc/iomem names none at all, which anybody may read. False when it names one, or cannot be
 * read.
 */
bool iomem_no_framebuffers(const struct host_root *root, struct arena *arena);
