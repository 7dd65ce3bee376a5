/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The step kinds of shared cards. What the kernel has dies with the boot; what is wanted of a card is
 * written into its record and lasts. Their services begin with struct gpu_services.
 */
#pragma once

#include "plan/step.h"

extern const struct step_table vgpu_steps;

enum vgpu_step {
	VGPU_STEP_VF_AUTOPROBE, /* struct vfs_step: sriov_drivers_autoprobe = n, 0 or 1 */
	VGPU_STEP_VFS,		/* struct vfs_step: sriov_numvfs = n; one of n and was is 0 */
	VGPU_STEP_WANT_VFS,	/* struct want_vfs_step: n VFs are wanted of the card from now on */
};
const struct step_kind *vgpu_step(enum vgpu_step step);

struct vfs_step {
	const char *address; /* the PF */
	int64_t n, was;
};

struct want_vfs_step {
	const char *card;    /* id of its record */
	const char *address; /* the PF, for people */
	int64_t n, was;	     /* ROW_NULL: nobody said */
};
