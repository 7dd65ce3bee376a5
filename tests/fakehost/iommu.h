/* SPDX-License-Identifier: Apache-2.0 */
/* IOMMU units, groups, and the VFIO nodes that come and go with drivers. */
#pragma once

#include "host.h"

enum iommu_kind { IOMMU_NONE, IOMMU_DMAR, IOMMU_IVHD, IOMMU_SMMU };

struct iommu {
	enum iommu_kind kind;
	unsigned units;
	int table;	/* ACPI table: 1 there, 0 not, -1 no ACPI at all */
	bool remapping; /* interrupts are remapped */
	bool capable;	/* the hardware could */
};

extern struct iommu iommu;

void iommu_make(void);

/* Puts the function into its group (giving it a number) and below its unit. */
/* The links `iommu` and `iommu_group` in its directory. */
void iommu_add_links(struct function *f);
void iommu_join(struct function *f);
void iommu_leave(struct function *f);

void group_join(struct group *g, const char *name, struct node *dir, struct bunch *links);
void group_leave(struct group *g);

/* A member came onto a vfio driver, or left it. */
void group_vfio_get(struct group *g);
void group_vfio_put(struct group *g);
bool group_viable(const struct group *g);

/* Somebody has /dev/vfio/N open, really or in the story. */
bool group_in_use(const struct group *g);

/* A real open or close of /dev/vfio/N for writing: 0 or -EBUSY. */
int group_open(struct node *n);
void group_close(struct node *n);

/* A device is registered with VFIO: group node, and its vfio-dev directory. */
void vfio_device_add(struct group *g, struct node *device, struct bunch *nodes);
void vfio_make(void);
