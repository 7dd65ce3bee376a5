/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The IOMMU's verdict, from several kinds of evidence and never from the command line alone.
 * Filled while an inventory is built; immutable after.
 */
#pragma once

#include <stdint.h>

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

/*
 * What the files say that a boot does not change, before any judgement; immutable after it is read,
 * counted. A null list is one that could not be read, not an empty one.
 */
struct iommu_facts {
	int refs;			/* atomic */
	struct arena *arena;
	struct list tables;		/* strings: of DMAR, IVRS, IORT, VIOT, those that are there */
	struct list units;		/* strings: entries of /sys/class/iommu */
	int64_t other_groups;		/* real groups without a PCI function; ROW_NULL unknown */
	const char *cpu;		/* "vmx", "svm"; NULL neither or unknown */
	const char *cmdline;		/* NULL unknown */
	enum fact remapped_chips;	/* /proc/interrupts names IR- (or ITS-) chips */
	enum fact remapping_hardware;	/* some Intel unit has it in its ecap register */
	uint64_t opens;			/* files and directories opened to read this */
};

/* `functions` is a list of struct function *. Never fails: what cannot be read is unknown. */
struct iommu_facts *iommu_facts_read(const struct host_root *root, const struct list *functions);
struct iommu_facts *iommu_facts_ref(struct iommu_facts *facts);
void iommu_facts_unref(struct iommu_facts *facts);
DEFINE_CLEANUP(struct iommu_facts *, iommu_facts_unref)

/*
 * Parameter of vfio_iommu_type1; unknown while the module is not loaded. It can be changed at any
 * time, so it is no part of the facts.
 */
enum fact iommu_read_unsafe_interrupts(const struct host_root *root);

/* The verdict. Pure; strings are in the arena. */
void iommu_judge(const struct iommu_facts *facts, enum fact unsafe_interrupts,
		 const struct list *functions, struct arena *arena, struct iommu *out);

/* Both at once. Reads /sys/class/iommu, /sys/kernel/iommu_groups, /sys/firmware/acpi/tables, /proc/cmdline,
 * /proc/interrupts, /proc/cpuinfo and module parameters. Never fails: what cannot be read is
 * unknown. Everything in the arena. `functions` is a list of struct function *. */
void iommu_read(const struct host_root *root, const struct list *functions, struct arena *arena,
		struct iommu *out);
