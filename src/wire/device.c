/* SPDX-License-Identifier: Apache-2.0 */
/* The rows of device.h. Order here is the order on the wire. */
#include "wire/device.h"

const char *const wire_role_words[] = { "gpu", "audio", "usb", "ucsi", "bridge", "other", NULL };
const char *const wire_card_state_words[] = { "host",	"unbound",   "preparing", "ready",
					      "in_use", "shared",    "releasing", "mixed",
					      "stuck",	"quarantined", "absent",  NULL };
const char *const wire_holder_kind_words[] = { "vm", "process", "kernel", NULL };
const char *const wire_vgpu_interface_words[] = { "mdev", "mdev_per_vf", "vendor_vf", "sriov",
						  NULL };

#define AT(type, field) offsetof(struct type, field)

static const struct row function_rows[] = {
	{ "pci_address", ROW_STRING, ROW_NOT_NULL, AT(wire_function, pci_address), .help = "address" },
	{ "device_name", ROW_STRING, 0, AT(wire_function, device_name), .help = "name of the device" },
	{ "class_name", ROW_STRING, 0, AT(wire_function, class_name), .help = "name of its class" },
	{ "driver", ROW_STRING, 0, AT(wire_function, driver), .help = "bound driver; null: none" },
	{ "role", ROW_WORD, ROW_NOT_NULL, AT(wire_function, role), .words = wire_role_words,
	  .help = "what it is on the card" },
	ROW_END,
};

static const struct row bar_rows[] = {
	{ "index", ROW_INT, ROW_NOT_NULL, AT(wire_bar, index), .help = "number of the BAR" },
	{ "size_mib", ROW_INT, ROW_NOT_NULL, AT(wire_bar, size_mib),
	  .help = "size in MiB, rounded up" },
	{ "size_bytes", ROW_INT, ROW_NOT_NULL, AT(wire_bar, size_bytes), .help = "exact size" },
	{ "prefetchable", ROW_BOOL, ROW_NOT_NULL, AT(wire_bar, prefetchable),
	  .help = "prefetchable memory" },
	{ "bits64", ROW_BOOL, ROW_NOT_NULL, AT(wire_bar, bits64), .help = "64-bit BAR" },
	ROW_END,
};

static const struct row link_rows[] = {
	{ "speed", ROW_STRING, 0, AT(wire_link, speed),
	  .help = "current speed; null while the device sleeps, or on a VF" },
	{ "width", ROW_INT, 0, AT(wire_link, width), .help = "current lanes" },
	{ "max_speed", ROW_STRING, 0, AT(wire_link, max_speed), .help = "speed it can do" },
	{ "max_width", ROW_INT, 0, AT(wire_link, max_width), .help = "lanes it can do" },
	ROW_END,
};

static const struct row subsystem_rows[] = {
	{ "vendor_id", ROW_STRING, 0, AT(wire_subsystem, vendor_id), .help = "4 hex digits" },
	{ "device_id", ROW_STRING, 0, AT(wire_subsystem, device_id), .help = "4 hex digits" },
	{ "name", ROW_STRING, 0, AT(wire_subsystem, name), .help = "name of the board" },
	ROW_END,
};

static const struct row rom_rows[] = {
	{ "present", ROW_BOOL, 0, AT(wire_rom, present), .help = "the card has an option ROM" },
	{ "valid", ROW_BOOL, 0, AT(wire_rom, valid), .help = "it was read and checked" },
	{ "reason", ROW_STRING, 0, AT(wire_rom, reason), .help = "why it is not valid, or not read" },
	ROW_END,
};

static const struct row sriov_rows[] = {
	{ "total", ROW_INT, 0, AT(wire_sriov, total), .help = "VFs that it can have" },
	{ "active", ROW_INT, 0, AT(wire_sriov, active), .help = "VFs that it has" },
	{ "wanted", ROW_INT, 0, AT(wire_sriov, wanted),
	  .help = "VFs that it is to have, also after a boot; null: nobody said" },
	{ "vfs", ROW_STRINGS, ROW_NOT_NULL, AT(wire_sriov, vfs), .help = "addresses of its VFs" },
	ROW_END,
};

static const struct row vgpu_rows[] = {
	{ "interface", ROW_WORD, 0, AT(wire_vgpu, interface), .words = wire_vgpu_interface_words,
	  .help = "kernel interface under it" },
	{ "profiles", ROW_STRINGS, 0, AT(wire_vgpu, profiles), .help = "names of the profiles offered" },
	{ "instances", ROW_STRINGS, 0, AT(wire_vgpu, instances), .help = "UUIDs of its instances" },
	ROW_END,
};

static const struct row holder_rows[] = {
	{ "kind", ROW_WORD, ROW_NOT_NULL, AT(wire_holder, kind), .words = wire_holder_kind_words,
	  .help = "who it is" },
	{ "id", ROW_STRING, ROW_NOT_NULL, AT(wire_holder, id),
	  .help = "VM id, process id, or the kernel user's name" },
	{ "name", ROW_STRING, 0, AT(wire_holder, name), .help = "name of the VM or process" },
	{ "since", ROW_STRING, 0, AT(wire_holder, since), .help = "RFC 3339" },
	ROW_END,
};

static const struct row reason_rows[] = {
	{ "why", ROW_STRING, ROW_NOT_NULL, AT(wire_reason, why), .help = "one sentence" },
	ROW_END,
};

static const struct row viable_rows[] = {
	{ "ok", ROW_BOOL, 0, AT(wire_viable, ok),
	  .help = "nothing else in the IOMMU group keeps a VM from using the card" },
	{ "blockers", ROW_STRINGS, 0, AT(wire_viable, blockers), .help = "addresses of what does" },
	{ "why", ROW_STRING, ROW_OPTIONAL, AT(wire_viable, why),
	  .help = "what is the matter with the group itself" },
	ROW_END,
};

static const struct row health_rows[] = {
	{ "aer_correctable", ROW_INT, 0, AT(wire_health, aer_correctable),
	  .help = "correctable PCIe errors since boot" },
	{ "aer_fatal", ROW_INT, 0, AT(wire_health, aer_fatal), .help = "fatal PCIe errors since boot" },
	{ "last_reset", ROW_STRING, 0, AT(wire_health, last_reset), .help = "RFC 3339" },
	{ "quarantined_why", ROW_STRING, 0, AT(wire_health, quarantined_why),
	  .help = "why it is quarantined" },
	{ "held_back_why", ROW_STRING, ROW_OPTIONAL, AT(wire_health, held_back_why),
	  .help = "its VM has ended, and it is not back with the host: why" },
	ROW_END,
};

#define DEVICE(field) AT(wire_device, field)
#define OBJECT_OF(name) .rows = name##_rows, .size = sizeof(struct wire_##name)

const struct row wire_device_rows[] = {
	{ "pci_address", ROW_STRING, ROW_NOT_NULL, DEVICE(pci_address), .help = "dddd:bb:dd.f" },
	{ "vendor_id", ROW_STRING, 0, DEVICE(vendor_id), .help = "4 hex digits" },
	{ "device_id", ROW_STRING, 0, DEVICE(device_id), .help = "4 hex digits" },
	{ "vendor_name", ROW_STRING, 0, DEVICE(vendor_name), .help = "from pci.ids" },
	{ "device_name", ROW_STRING, 0, DEVICE(device_name), .help = "from pci.ids" },
	{ "driver", ROW_STRING, 0, DEVICE(driver), .help = "bound driver; null: none" },
	{ "iommu_group", ROW_STRING, 0, DEVICE(iommu_group),
	  .help = "number of its IOMMU group now; null: none" },
	{ "in_use", ROW_BOOL, ROW_NOT_NULL, DEVICE(in_use),
	  .help = "a VM runs with it, or a process of the host holds it" },
	{ "node", ROW_STRING, 0, DEVICE(node), .help = "host it is in" },
	{ "state", ROW_WORD, 0, DEVICE(state), .words = wire_card_state_words,
	  .help = "state of the card" },
	{ "card", ROW_STRING, 0, DEVICE(card), .help = "id of the card's record" },
	{ "slot", ROW_STRING, 0, DEVICE(slot), .help = "address of the card's first function" },
	{ "functions", ROW_OBJECTS, ROW_NOT_NULL, DEVICE(functions), OBJECT_OF(function),
	  .help = "all functions of the card" },
	{ "class", ROW_STRING, 0, DEVICE(class), .help = "6 hex digits" },
	{ "class_name", ROW_STRING, 0, DEVICE(class_name), .help = "from pci.ids" },
	{ "subsystem", ROW_OBJECT, 0, DEVICE(subsystem), OBJECT_OF(subsystem),
	  .help = "board maker's ids" },
	{ "revision", ROW_STRING, 0, DEVICE(revision), .help = "2 hex digits" },
	{ "identity", ROW_STRING, 0, DEVICE(identity),
	  .help = "ids, subsystem and path that tell this card from another" },
	{ "numa_node", ROW_INT, 0, DEVICE(numa_node), .help = "NUMA node" },
	{ "local_cpus", ROW_STRING, 0, DEVICE(local_cpus), .help = "CPUs near it, as a list" },
	{ "bars", ROW_OBJECTS, 0, DEVICE(bars), OBJECT_OF(bar), .help = "base address registers" },
	{ "link", ROW_OBJECT, 0, DEVICE(link), OBJECT_OF(link), .help = "PCIe link" },
	{ "power_state", ROW_STRING, 0, DEVICE(power_state), .help = "D0 to D3cold" },
	{ "boot_vga", ROW_BOOL, 0, DEVICE(boot_vga), .help = "the firmware's display" },
	{ "console", ROW_BOOL, 0, DEVICE(console), .help = "carries the host's console" },
	{ "reset_methods", ROW_STRINGS, 0, DEVICE(reset_methods), .help = "in the kernel's order" },
	{ "rom", ROW_OBJECT, 0, DEVICE(rom), OBJECT_OF(rom), .help = "option ROM" },
	{ "sriov", ROW_OBJECT, 0, DEVICE(sriov), OBJECT_OF(sriov), .help = "null: no SR-IOV" },
	{ "physfn", ROW_STRING, 0, DEVICE(physfn), .help = "PF of a VF; null: it is none" },
	{ "vgpu", ROW_OBJECT, 0, DEVICE(vgpu), OBJECT_OF(vgpu), .help = "null: cannot be shared" },
	{ "used_by", ROW_OBJECTS, 0, DEVICE(used_by), OBJECT_OF(holder),
	  .help = "who has it open now" },
	{ "assigned_to", ROW_STRINGS, 0, DEVICE(assigned_to), .help = "VMs whose spec names it" },
	{ "claimed_by", ROW_STRING, 0, DEVICE(claimed_by), .help = "VM that has taken it" },
	{ "reserved", ROW_BOOL, 0, DEVICE(reserved), .help = "kept for its VM while that is stopped" },
	{ "critical", ROW_OBJECTS, 0, DEVICE(critical), OBJECT_OF(reason),
	  .help = "what the host itself needs it for" },
	{ "viable", ROW_OBJECT, 0, DEVICE(viable), OBJECT_OF(viable),
	  .help = "can its IOMMU group be given to a VM" },
	{ "health", ROW_OBJECT, 0, DEVICE(health), OBJECT_OF(health), .help = "errors and resets" },
	{ "unknown", ROW_MAP, ROW_NOT_NULL, DEVICE(unknown),
	  .help = "for each field that is null because it could not be told: why" },
	ROW_END,
};

#define MEMBER(field) AT(wire_member, field)

const struct row wire_member_rows[] = {
	{ "pci_address", ROW_STRING, ROW_NOT_NULL, MEMBER(pci_address), .help = "dddd:bb:dd.f" },
	{ "device_name", ROW_STRING, 0, MEMBER(device_name), .help = "from pci.ids" },
	{ "class", ROW_STRING, 0, MEMBER(class), .help = "6 hex digits" },
	{ "class_name", ROW_STRING, 0, MEMBER(class_name), .help = "from pci.ids" },
	{ "driver", ROW_STRING, 0, MEMBER(driver), .help = "bound driver; null: none" },
	{ "role", ROW_WORD, ROW_NOT_NULL, MEMBER(role), .words = wire_role_words,
	  .help = "what it is" },
	{ "blocks", ROW_BOOL, 0, MEMBER(blocks),
	  .help = "as it is bound now it keeps a VM from using the group" },
	{ "carries", ROW_STRINGS, 0, MEMBER(carries), .help = "what of the host lives on it" },
	{ "unknown", ROW_MAP, ROW_NOT_NULL, MEMBER(unknown), .help = "fields that cannot be told: why" },
	ROW_END,
};

#define IOMMU(field) AT(wire_iommu, field)

const struct row wire_iommu_rows[] = {
	{ "enabled", ROW_BOOL, 0, IOMMU(enabled), .help = "devices are isolated now" },
	{ "message", ROW_STRING, ROW_NOT_NULL, IOMMU(message), .help = "one sentence" },
	{ "kind", ROW_STRING, 0, IOMMU(kind), .help = "intel, amd, smmu or virtio" },
	{ "evidence", ROW_STRINGS, ROW_NOT_NULL, IOMMU(evidence), .help = "what was found, and where" },
	{ "groups", ROW_INT, 0, IOMMU(groups), .help = "real IOMMU groups" },
	{ "interrupt_remapping", ROW_BOOL, 0, IOMMU(interrupt_remapping),
	  .help = "without it a VM with a card does not start" },
	{ "acs_override", ROW_BOOL, 0, IOMMU(acs_override),
	  .help = "isolation is claimed by a kernel patch, not there" },
	{ "unsafe_interrupts", ROW_BOOL, 0, IOMMU(unsafe_interrupts),
	  .help = "this host allows VMs without interrupt remapping" },
	{ "cmdline", ROW_STRINGS, ROW_NOT_NULL, IOMMU(cmdline),
	  .help = "words of the kernel command line that matter" },
	{ "problems", ROW_STRINGS, ROW_NOT_NULL, IOMMU(problems), .help = "what is wrong, what to do" },
	{ "unknown", ROW_MAP, ROW_NOT_NULL, IOMMU(unknown), .help = "fields that cannot be told: why" },
	ROW_END,
};
