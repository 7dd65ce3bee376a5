/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The catalogue: the cards that can be shared, what each can be cut into now, and what it carries;
 * one shape for all kernel interfaces under it. A PF with its VFs is one card. Pure; any thread. What
 * comes out borrows from the facts, the offers and the arena.
 */
#pragma once

#include "gpu/view.h"
#include "vgpu/offer.h"
#include "wire/vgpu.h"

/*
 * As struct wire_shared, by address. offers: struct vgpu_offer *; NULL: they were not asked for, and
 * facts->offered_unknown says why.
 */
void vgpu_catalogue(const struct gpu_facts *facts, const struct list *offers, struct arena *arena,
		    struct list *out);
/*
 * The profiles of these (struct wire_shared), or of the one whose address `device` is; those that several
 * cards know under one id and name are one, and what fits is counted together. query as the API has it.
 */
void vgpu_profiles(const struct list *shared, const char *device, bool fits, struct arena *arena,
		   struct list *out);
/* Their instances, struct wire_instance. */
void vgpu_instances(const struct list *shared, struct arena *arena, struct list *out);
/* The names of what the offers say, as gpu_facts.offered has them. */
void vgpu_offered(const struct list *offers, struct arena *arena, struct list *out);
