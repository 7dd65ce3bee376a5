/* SPDX-License-Identifier: Apache-2.0 */
/* See create.h. */
#include "vm/create.h"

#include <string.h>

#include "vm/start.h"
#include "vm/steps.h"
#include "vm/uses.h"
#include "vm/view.h"

enum { GIB_SHIFT = 30 };

static int exists(const struct vm_facts *facts, struct error *err)
{
	if (facts->stored) {
		error_set(err, ERROR_EXISTS, "there is a VM %s already", facts->vm.spec.id);
		error_hint(err, "choose another id, or leave id out to have one chosen");
	} else {
		error_set(err, ERROR_EXISTS,
			  "a domain %s that Horcrux did not make runs in libvirt",
			  facts->vm.spec.id);
		error_hint(err, "choose another id");
	}
	return error_pointer(err, "/id");
}

/* A volume that is to be made must not be there; one that is named must be. */
static int check_disk(const struct vm_facts *facts, size_t i, bool sized, struct error *err)
{
	const struct wire_disk *disk = (const struct wire_disk *)facts->vm.spec.disks.items + i;
	const struct vm_volume *volume = (const struct vm_volume *)facts->disks.items + i;

	if (disk->size != ROW_NULL && volume->there) {
		error_set(err, ERROR_EXISTS,
			  "the pool %s has a volume %s already, and nothing is overwritten",
			  facts->pool, volume->name);
		error_hint(err, "choose another id, or use that one: \"volume\": \"%s\"",
			   volume->name);
		return sized ? error_pointer(err, "/disk_size")
			     : error_pointer(err, "/disks/%zu", i);
	}
	if (disk->size != ROW_NULL || volume->there)
		return 0;
	error_set(err, ERROR_INVALID_VALUE, "there is no volume %s in the pool %s", volume->name,
		  facts->pool);
	error_hint(err, "give a size to have a new disk made");
	return error_pointer(err, "/disks/%zu/volume", i);
}

static int check_source(const struct vm_facts *facts, const struct vm_volume *volume,
			struct error *err)
{
	if (!volume->name || volume->there)
		return 0;
	error_set(err, ERROR_INVALID_VALUE, "there is no file %s in the pool %s", volume->name,
		  facts->pool);
	error_hint(err, "put it into %s", facts->pool_path);
	return -1;
}

static int check_sources(const struct vm_facts *facts, bool sized, struct error *err)
{
	const struct vm_volume *isos = facts->cdrom.items;

	for (size_t i = 0; i < facts->disks.n; i++)
		if (check_disk(facts, i, sized, err) < 0)
			return -1;
	for (size_t i = 0; i < facts->cdrom.n; i++)
		if (check_source(facts, &isos[i], err) < 0)
			return error_pointer(err, "/cdrom/%zu", i);
	if (check_source(facts, &facts->kernel, err) < 0)
		return error_pointer(err, "/boot/kernel");
	if (check_source(facts, &facts->initrd, err) < 0)
		return error_pointer(err, "/boot/initrd");
	return 0;
}

/* Two VMs of one address on one network: neither is reached. */
static int check_macs(const struct vm_facts *facts, struct error *err)
{
	const struct wire_network *ours = facts->vm.spec.network.items;

	for (LIST_EACH(const struct vm_record, other, &facts->others))
		for (LIST_EACH(const struct wire_network, theirs, &other->spec.network))
			for (size_t i = 0; i < facts->vm.spec.network.n; i++) {
				if (!ours[i].mac || !theirs->mac ||
				    strcmp(ours[i].mac, theirs->mac))
					continue;
				error_set(err, ERROR_CONFLICT, "VM %s has the MAC address %s",
					  other->spec.id, theirs->mac);
				error_hint(err, "leave mac out to have one chosen");
				return error_pointer(err, "/network/%zu/mac", i);
			}
	return 0;
}

static void make_volumes(struct plan *plan, const struct vm_facts *facts, bool start)
{
	const struct wire_vm_spec *spec = &facts->vm.spec;
	struct volume_step args = { .pool = facts->pool, .format = "qcow2" };
	bool any = start && vm_uses_pool(facts);

	for (LIST_EACH(const struct wire_disk, disk, &spec->disks))
		any |= disk->size != ROW_NULL;
	if (any)
		vm_pool_step(plan, facts);
	for (LIST_EACH(const struct wire_disk, disk, &spec->disks)) {
		if (disk->size == ROW_NULL)
			continue;
		args.name = disk->volume;
		args.bytes = disk->size << GIB_SHIFT;
		plan_step(plan, vm_step(VM_STEP_VOLUME), &args);
	}
}

static int write_record(struct plan *plan, const struct vm_record *vm, const char *was,
			struct error *err)
{
	CLEAN_FREE char *text = vm_record_print(vm);
	const struct record_step args = { vm->spec.id, text, was };

	if (!text)
		return error_set(err, ERROR_INTERNAL, "the record of VM %s cannot be written",
				 vm->spec.id);
	plan_step(plan, vm_step(VM_STEP_RECORD), &args);
	return 0;
}

int vm_create_plan(struct plan *plan, const struct vm_facts *facts, bool start, bool sized,
		   struct error *err)
{
	struct vm_facts noted = *facts;

	plan_title(plan, start ? "make and start VM %s" : "make VM %s", facts->vm.spec.id);
	plan_lock(plan, "vm:%s", facts->vm.spec.id);
	if (facts->stored || facts->foreign)
		return exists(facts, err);
	vm_volume_locks(plan, facts);
	if (vm_check_cards(facts, ERROR_INVALID_VALUE, err) < 0 ||
	    check_sources(facts, sized, err) < 0 || vm_check_uses(facts, err) < 0 ||
	    check_macs(facts, err) < 0)
		return -1;
	make_volumes(plan, facts, start);
	vm_note_cards(facts, plan->arena, &noted.vm);
	if (write_record(plan, &noted.vm, NULL, err) < 0)
		return -1;
	return start ? vm_start_steps(plan, &noted, err) : 0;
}

int vm_change_plan(struct plan *plan, const struct vm_facts *facts,
		   const struct wire_vm_change *change, bool running, struct error *err)
{
	struct vm_record vm = facts->vm;
	bool later = false, any = false;

	plan_title(plan, "change VM %s", vm.spec.id);
	plan_lock(plan, "vm:%s", vm.spec.id);
	if (change->name && strcmp(change->name, vm.spec.name)) {
		vm.spec.name = change->name;
		any = true;
	}
	if (change->autostart >= 0 && change->autostart != vm.spec.autostart) {
		vm.spec.autostart = change->autostart;
		any = true;
	}
	if (change->cpus != ROW_NULL && change->cpus != vm.spec.cpus) {
		vm.spec.cpus = change->cpus;
		later = true;
	}
	if (change->memory != ROW_NULL && change->memory != vm.spec.memory) {
		vm.spec.memory = change->memory;
		later = true;
	}
	if (later && running)
		plan_warn(plan, "%s", vm_changes_later);
	return any || later ? write_record(plan, &vm, facts->stored, err) : 0;
}
