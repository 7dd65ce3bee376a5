/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The IOMMU's verdict, from several kinds of evidence and never from the command line alone.
 * Filled while an inventory is built; immutable after.
 */
#pragma once

#include "base/arena.h"
#include "host/root.h"

enum fact { FACT_UNKNOWN = -1, FACT_NO = 0, FACT_YES = 1 };

struct iommu {
	enum fact enabled;		/* units in /sys/class/iommu and real groups */
	const char *message;		/* one sentence for people */
	const char *kind;		/* "intel", "amd", "smmu", "virtio"; NULL none or unknown */
	struct list evidence;		/* strings, one finding each, with where it was found */
	int64_t groups;			/* real ones (not vfio-noiommu) */
	enum fact interrupt_remapping;
	enum fact acs_override;		/* isolation is faked by pcie_acs_override= */
	enum fact unsafe_interrupts;	/* vfio_iommu_type1.allow_unsafe_interrupts */
	struct list cmdline;		/* strings: words of the command line that matter */
	struct list problems;		/* strings: what is wrong and what to do */
	struct list unknown;		/* struct row_pair {field, reason} */
};

/* Reads /sys/class/iommu, /sys/kernel/iommu_groups, /sys/firmware/acpi/tables, /proc/cmdline,
 * /proc/interrupts, /proc/cpuinfo and module parameters. Never fails: what cannot be read is
 * unknown. Everything in the arena. `functions` is a list of struct function *. */
void iommu_read(const struct host_root *root, const struct list *functions, struct arena *arena,
		struct iommu *out);
