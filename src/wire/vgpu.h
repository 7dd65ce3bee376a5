/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rows of shared cards: the cards that can be cut into parts, the profiles that they can be cut
 * into, and the instances there are. Field names, types and units are the API's.
 */
#pragma once

#include "base/rows.h"

struct wire_profile {
	const char *name;	/* directory-style id */
	const char *vgpu_type;	/* for people; the key by which a user names it */
	int64_t framebuffer_mb, max_instances;
	const char *description;
	const char *id;
	int64_t available;
	int fits;
	int class;		/* enum profile_class of vgpu/profile.h */
	int64_t heads;
	const char *max_resolution;
	int mig;
	struct list details;	/* struct row_pair */
	struct list nodes, devices; /* strings */
	const char *why;
	struct list unknown;	/* struct row_pair */
};

enum wire_instance_state { INSTANCE_IDLE, INSTANCE_IN_USE };

struct wire_instance {
	const char *uuid, *profile, *vgpu_type, *device, *vf, *node, *vm, *since;
	int state;
	struct list unknown;
};

enum wire_vgpu_vendor { VGPU_NVIDIA, VGPU_AMD, VGPU_INTEL, VGPU_OTHER };
enum wire_vgpu_mode { VGPU_SAME_SIZE, VGPU_MIXED, VGPU_MIG };

/* A card that can be shared. */
struct wire_shared {
	const char *pci_id, *vendor, *device_name;
	int vgpu_type;			/* enum wire_vgpu_vendor */
	struct list available_profiles; /* struct wire_profile */
	int interface;			/* wire_vgpu_interface_words of wire/device.h */
	struct list instances;		/* struct wire_instance */
	int64_t free;
	int mode;			/* enum wire_vgpu_mode */
	const char *node;
	struct list unknown;
};

extern const struct row wire_profile_rows[];
extern const struct row wire_instance_rows[];
extern const struct row wire_shared_rows[];

/* GET /api/vgpu/profiles. */
struct wire_profile_query {
	const char *device; /* NULL: of all cards */
	int fits;	    /* 1: only those of which one more fits */
};

extern const struct row wire_profile_query_rows[];
