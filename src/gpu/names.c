/* SPDX-License-Identifier: Apache-2.0 */
/* See names.h. */
#include "gpu/names.h"

static const char *or_number(const char *name, const char *what, unsigned number,
			     struct arena *arena)
{
	return name ? name : arena_printf(arena, "%s %04x", what, number);
}

const char *gpu_vendor_name(const struct inventory *inv, const struct function *f,
			    struct arena *arena)
{
	return or_number(names_vendor(inv->names, f->vendor), "Vendor", f->vendor, arena);
}

const char *gpu_device_name(const struct inventory *inv, const struct function *f,
			    struct arena *arena)
{
	const char *name = names_device(inv->names, f->vendor, f->device);
	const struct function *pf;

	if (!name && f->physfn) {
		pf = inventory_function(inv, *f->physfn);
		if (pf)
			name = names_device(inv->names, pf->vendor, pf->device);
	}
	return or_number(name, "Device", f->device, arena);
}

const char *gpu_subsystem_name(const struct inventory *inv, const struct function *f,
			       struct arena *arena)
{
	const char *name = names_subsystem(inv->names, f->vendor, f->device, f->subsystem_vendor,
					   f->subsystem_device);

	return or_number(name, "Device", f->subsystem_device, arena);
}

const char *gpu_class_name(const struct inventory *inv, const struct function *f,
			   struct arena *arena)
{
	return or_number(names_class(inv->names, f->class), "Class", f->class >> 8, arena);
}
