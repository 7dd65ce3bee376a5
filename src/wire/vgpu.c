/* SPDX-License-Identifier: Apache-2.0 */
/* The rows of vgpu.h. Order here is the order on the wire. */
#include "wire/vgpu.h"

#include "base/address.h"
#include "wire/device.h"

static const char *const class_words[] = { "vapps", "vpc", "vws", "compute", NULL };
static const char *const vendor_words[] = { "nvidia", "amd", "intel", "other", NULL };
static const char *const mode_words[] = { "same_size", "mixed", "mig", NULL };
static const char *const state_words[] = { "idle", "in_use", NULL };

#define PROFILE(field)	offsetof(struct wire_profile, field)
#define INSTANCE(field) offsetof(struct wire_instance, field)
#define SHARED(field)	offsetof(struct wire_shared, field)
#define QUERY(field)	offsetof(struct wire_profile_query, field)

const struct row wire_profile_rows[] = {
	{ "name", ROW_STRING, ROW_NOT_NULL, PROFILE(name),
	  .help = "directory-style id: nvidia-256, i915-GVTg_V5_8" },
	{ "vgpu_type", ROW_STRING, 0, PROFILE(vgpu_type), .help = "name for people, as the driver has it" },
	{ "framebuffer_mb", ROW_INT, 0, PROFILE(framebuffer_mb), .help = "nominal framebuffer in MiB" },
	{ "max_instances", ROW_INT, 0, PROFILE(max_instances),
	  .help = "how many of it an empty card carries, as the driver says" },
	{ "description", ROW_STRING, 0, PROFILE(description), .help = "in the driver's words" },
	{ "id", ROW_STRING, ROW_NOT_NULL, PROFILE(id), .help = "what the kernel calls it on this card" },
	{ "available", ROW_INT, 0, PROFILE(available), .help = "how many more of it fit now" },
	{ "fits", ROW_BOOL, 0, PROFILE(fits), .help = "one more of it fits now" },
	{ "class", ROW_WORD, 0, PROFILE(class), .words = class_words,
	  .help = "what NVIDIA licenses it for, by its name" },
	{ "heads", ROW_INT, 0, PROFILE(heads), .help = "displays" },
	{ "max_resolution", ROW_STRING, 0, PROFILE(max_resolution), .help = "of a display, in pixels" },
	{ "mig", ROW_BOOL, 0, PROFILE(mig), .help = "backed by a GPU instance (MIG), by its name" },
	{ "details", ROW_MAP, 0, PROFILE(details), .help = "everything that the description says" },
	{ "nodes", ROW_STRINGS, ROW_NOT_NULL, PROFILE(nodes), .help = "nodes whose cards know it" },
	{ "devices", ROW_STRINGS, ROW_NOT_NULL, PROFILE(devices), .help = "addresses of these cards" },
	{ "why", ROW_STRING, 0, PROFILE(why), .help = "why no more of it fits" },
	{ "unknown", ROW_MAP, ROW_NOT_NULL, PROFILE(unknown), .help = "why a field is null" },
	ROW_END,
};

const struct row wire_instance_rows[] = {
	{ "uuid", ROW_STRING, 0, INSTANCE(uuid), .help = "its UUID" },
	{ "profile", ROW_STRING, 0, INSTANCE(profile), .help = "name of its profile: nvidia-256" },
	{ "vgpu_type", ROW_STRING, 0, INSTANCE(vgpu_type), .help = "the same for people" },
	{ "device", ROW_STRING, ROW_NOT_NULL, INSTANCE(device), .help = "address of its card" },
	{ "vf", ROW_STRING, 0, INSTANCE(vf), .help = "VF that it is on; null: on the card itself" },
	{ "node", ROW_STRING, 0, INSTANCE(node), .help = "node of the card" },
	{ "vm", ROW_STRING, 0, INSTANCE(vm), .help = "VM that has it" },
	{ "since", ROW_STRING, 0, INSTANCE(since), .help = "when it was made" },
	{ "state", ROW_WORD, 0, INSTANCE(state), .words = state_words,
	  .help = "in_use: a process has its VFIO file open" },
	{ "unknown", ROW_MAP, ROW_NOT_NULL, INSTANCE(unknown), .help = "why a field is null" },
	ROW_END,
};

const struct row wire_shared_rows[] = {
	{ "pci_id", ROW_STRING, ROW_NOT_NULL, SHARED(pci_id), .help = "address of the card" },
	{ "vendor", ROW_STRING, 0, SHARED(vendor), .help = "who made the chip" },
	{ "device_name", ROW_STRING, 0, SHARED(device_name), .help = "name of the device" },
	{ "vgpu_type", ROW_WORD, 0, SHARED(vgpu_type), .words = vendor_words,
	  .help = "whose kind of sharing it is" },
	{ "available_profiles", ROW_OBJECTS, 0, SHARED(available_profiles), .rows = wire_profile_rows,
	  .size = sizeof(struct wire_profile), .help = "what its driver offers, and why not" },
	{ "interface", ROW_WORD, ROW_NOT_NULL, SHARED(interface), .words = wire_vgpu_interface_words,
	  .help = "kernel interface under it" },
	{ "instances", ROW_OBJECTS, 0, SHARED(instances), .rows = wire_instance_rows,
	  .size = sizeof(struct wire_instance), .help = "what it carries" },
	{ "free", ROW_INT, 0, SHARED(free), .help = "how many more instances it can take at the most" },
	{ "mode", ROW_WORD, 0, SHARED(mode), .words = mode_words,
	  .help = "of which sizes it carries instances beside each other" },
	{ "node", ROW_STRING, 0, SHARED(node), .help = "node it is in" },
	{ "unknown", ROW_MAP, ROW_NOT_NULL, SHARED(unknown), .help = "why a field is null" },
	ROW_END,
};

const struct row wire_profile_query_rows[] = {
	{ "device", ROW_STRING, 0, QUERY(device), .check = pci_address_check,
	  .help = "of the card with this address, which may be that of one of its VFs" },
	{ "fits", ROW_BOOL, 0, QUERY(fits), .help = "true: only those of which one more fits" },
	ROW_END,
};
