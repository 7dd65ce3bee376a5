/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the name and the description of a vGPU type say. Nothing of any card is built in: a driver's
 * words in, numbers out. Pure; any thread.
 *
 * A description is one line of NVIDIA's ("num_heads=4, frl_config=60, framebuffer=1024M, …") or lines of
 * i915's ("low_gm_size: 128MB"; drivers/gpu/drm/i915/gvt/kvmgt.c), or anything else
 * (Documentation/driver-api/vfio-mediated-device.rst leaves it free).
 */
#pragma once

#include "base/arena.h"

/* Same order as wire_profile_class_words. */
enum profile_class { PROFILE_VAPPS, PROFILE_VPC, PROFILE_VWS, PROFILE_COMPUTE };

struct profile {
	int64_t framebuffer_mb, max_instances, heads; /* MiB; ROW_NULL: not told */
	const char *max_resolution;		      /* "5120x2880"; NULL: not told */
	struct list details; /* struct row_pair: all that the description says, keys nobody knows too */
};

/*
 * Reads a description, leniently: "=" or ":" after a key, "," or a line's end after a value, spaces
 * anywhere, keys in any order and case. A number that is none is not told; a part without a key is
 * left out. What comes out is in the arena. text NULL: nothing is told.
 */
void profile_describe(const char *text, struct arena *arena, struct profile *out);

/* What NVIDIA's names tell: "GRID T4-1B4", "NVIDIA L40S-48Q", "A100-1-5CME". */
struct profile_name {
	int64_t framebuffer_mb; /* nominal, MiB; 0 GB are 512 MiB */
	enum profile_class class;
	bool mig; /* backed by a GPU instance of the card */
};

/* False: it is no such name; *out is then untouched. */
bool profile_name_parse(const char *name, struct profile_name *out);

/* The name without "GRID " or "NVIDIA " before it: brands changed, names stayed. */
const char *profile_bare_name(const char *name);

/*
 * Is that what a user means by `text`: the id (a directory, "nvidia-256", or a number, "1145"), the
 * directory-style name ("nvidia-1145"), or the human name, with or without a brand? name may be NULL.
 */
bool profile_is(const char *id, const char *directory, const char *name, const char *text);
