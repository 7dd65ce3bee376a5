/* SPDX-License-Identifier: Apache-2.0 */
/* See local.h. */
#include "cli/local.h"

#include "base/fdpath.h"
#include "cli/config.h"
#include "gpu/doctor.h"
#include "host/modules.h"

enum { NAME_BYTES = 256, IOMEM_BYTES = 1024 * 1024 };

struct local {
	struct arena *arena;
	struct host_root root;
	const char *config_hidden;
	struct names *names;
	struct inventory *inventory;
	struct list holders, critical, framebuffers;
	struct error holders_error, critical_error, framebuffers_error;
	struct gpu_facts facts;
};

static const char *node_name(const struct host_root *root, struct arena *arena)
{
	static const char *const files[] = { "proc/sys/kernel/hostname", "etc/hostname" };
	char name[NAME_BYTES];

	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		if (fdpath_read(root->fd, files[i], name, sizeof(name)) > 0)
			return arena_strdup(arena, name);
	return NULL;
}

/* Without a card there is nobody to find, and no process needs to be looked at. */
static void need_holders(struct local *local)
{
	struct list functions = inventory_card_functions(local->inventory, local->arena);
	struct gpu_facts *facts = &local->facts;

	if (facts->holders || facts->holders_unknown)
		return;
	if (!functions.n || holders_find(&local->root, &functions, local->arena, &local->holders,
					 &local->holders_error) >= 0)
		facts->holders = &local->holders;
	else
		facts->holders_unknown = local->holders_error.message;
}

static void need_critical(struct local *local)
{
	struct gpu_facts *facts = &local->facts;

	if (facts->critical || facts->critical_unknown)
		return;
	if (critical_find(&local->root, local->inventory, local->arena, &local->critical,
			  &local->critical_error) >= 0)
		facts->critical = &local->critical;
	else
		facts->critical_unknown = local->critical_error.message;
}

struct local *local_new(const char *directory, struct error *err)
{
	struct class_filter filter = { 0 };
	struct inventory_changes changes = { .all = true };
	struct local *local = calloc(1, sizeof(*local));

	if (!local)
		abort();
	local->root.fd = -1;
	local->arena = arena_new();
	if (host_root_open(&local->root, directory, err) < 0 ||
	    config_classes(local->root.real, &filter, &local->config_hidden, err) < 0)
		goto failed;
	local->names = names_open(&local->root);
	local->inventory = inventory_build(&local->root, &filter, local->names, NULL, &changes,
					   err);
	if (!local->inventory)
		goto failed;
	local->facts = (struct gpu_facts){
		.inventory = local->inventory,
		.records_unknown = "the daemon keeps this, and it was not asked",
		.node = node_name(&local->root, local->arena),
	};
	return local;
failed:
	local_free(local);
	return NULL;
}

const char *local_config_hidden(const struct local *local)
{
	return local->config_hidden;
}

void local_free(struct local *local)
{
	if (!local)
		return;
	inventory_release(local->inventory);
	names_unref(local->names);
	host_root_close(&local->root);
	arena_free(local->arena);
	free(local);
}

const char *local_hidden(const struct local *local)
{
	return local->facts.holders_unknown ?: local->facts.critical_unknown;
}

json_t *local_devices(struct local *local, bool whole)
{
	struct list devices;

	need_holders(local);
	if (whole)
		need_critical(local);
	gpu_view_devices(&local->facts, local->arena, &devices);
	return rows_emit_list(wire_device_rows, sizeof(struct wire_device), &devices);
}

json_t *local_device(struct local *local, const char *address, struct error *err)
{
	const struct function *f = NULL;
	struct wire_device device;

	if (gpu_find(local->inventory, address, &f, err) < 0)
		return NULL;
	need_holders(local);
	need_critical(local);
	gpu_view_device(&local->facts, f, local->arena, &device);
	return rows_emit(wire_device_rows, &device);
}

json_t *local_group(struct local *local, const char *address, struct error *err)
{
	const struct function *f = NULL;
	struct list members;

	if (gpu_find(local->inventory, address, &f, err) < 0)
		return NULL;
	need_critical(local);
	gpu_view_group(&local->facts, f, local->arena, &members);
	return rows_emit_list(wire_member_rows, sizeof(struct wire_member), &members);
}

json_t *local_iommu(struct local *local)
{
	struct wire_iommu iommu;

	gpu_view_iommu(&local->facts, local->arena, &iommu);
	return rows_emit(wire_iommu_rows, &iommu);
}

static void look_for_framebuffers(struct local *local, struct doctor_facts *facts)
{
	struct list functions = inventory_card_functions(local->inventory, local->arena);
	struct error *err = &local->framebuffers_error;
	const char *text;
	int r = fdpath_read_all(local->root.fd, "proc/iomem", IOMEM_BYTES, local->arena, &text);

	if (r < 0)
		error_errno(err, ERROR_SYSTEM, -r, "/proc/iomem cannot be read");
	else if (iomem_boot_framebuffers(text, &functions, local->arena, &local->framebuffers,
					 err) >= 0)
		facts->framebuffers = &local->framebuffers;
	if (!facts->framebuffers)
		facts->framebuffers_unknown = err->message;
}

json_t *local_doctor(struct local *local, const char *address, struct error *err)
{
	const struct function *f = NULL;
	struct doctor_facts facts = { 0 };
	struct wire_doctor doctor;

	if (address && gpu_find(local->inventory, address, &f, err) < 0)
		return NULL;
	need_holders(local);
	need_critical(local);
	facts.gpu = local->facts;
	facts.vfio_pci = module_available(&local->root, "vfio_pci", local->arena,
					  &facts.vfio_pci_evidence);
	look_for_framebuffers(local, &facts);
	gpu_doctor(&facts, f, local->arena, &doctor);
	return rows_emit(wire_doctor_rows, &doctor);
}
