/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What cards can be cut into: mediated devices (NVIDIA's on the card or one per
 * VF, Intel's GVT-g) and NVIDIA's vendor-specific VFs.  vgpu.c knows what fits,
 * mdev.c and vendor_vf.c are the two faces.
 */
#pragma once

#include "host.h"
#include "line.h"

enum vgpu_kind { VGPU_MDEV, VGPU_MDEV_PER_VF, VGPU_VENDOR_VF, VGPU_GVTG };

struct vgpu_type {
	struct vgpu_type *next;
	char *id; /* "754", "GVTg_V5_4" */
	char *name;
	char *description;
	unsigned fb, max;
	unsigned low, high, fence; /* of GVT-g */
};

struct instance {
	struct instance *next;
	char uuid[37]; /* empty for a vendor-specific VF */
	struct vgpu_type *type;
	struct function *on;
	struct group *group;
	struct node *dir;
	struct bunch nodes;
	bool removing;
};

struct vgpu {
	enum vgpu_kind kind;
	unsigned fb;
	bool mixed;
	int error; /* of a create that does not fit */
	unsigned low, high, fence;
	struct vgpu_type *types;
	struct instance *instances;
};

int vgpu_line(struct line *l);
int vgpu_type_line(struct line *l);
int vgpu_gvtg_line(struct line *l);
int vgpu_instance_line(struct line *l);

/* The instances of the description, when all functions are there. */
int vgpu_start(void);

/* The card's, also when asked of its VF; NULL if it cannot be cut. */
struct vgpu *vgpu_of(const struct function *f);
struct vgpu_type *vgpu_find_type(const struct vgpu *v, const char *id);
unsigned vgpu_available(struct function *f, const struct vgpu_type *t);
struct instance *vgpu_instance_on(const struct function *f);
struct instance *vgpu_instance_new(struct function *f, struct vgpu_type *t);
void vgpu_instance_free(struct instance *i);

/* A VF of NVIDIA's vendor-specific VFIO: never on vfio-pci. */
bool vgpu_is_vendor_vf(const struct function *f);

/* The function's driver came, or is going: types appear, instances go. */
void vgpu_bound(struct function *f);
void vgpu_unbound(struct function *f);

/* mdev.c */
void mdev_register(struct function *f);
void mdev_unregister(struct function *f);
int mdev_create(struct function *f, struct vgpu_type *t, const char *uuid, struct group *g);

/* vendor_vf.c */
void vendor_vf_add(struct function *f);
void vendor_vf_remove(struct function *f);
int vendor_vf_set(struct function *f, const char *id);
