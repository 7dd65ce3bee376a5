/* SPDX-License-Identifier: Apache-2.0 */
/* See uses.h. */
#include "vm/uses.h"

#include <string.h>

static bool same(const char *a, const char *b)
{
	return a && b && !strcmp(a, b);
}

/* The firmware's variables have a name of their own, as vm_nvram_volume() makes it. */
static bool is_nvram_of(const struct vm_record *vm, const char *volume)
{
	size_t n = strlen(vm->spec.id);

	return vm->spec.firmware == FIRMWARE_UEFI && !strncmp(volume, vm->spec.id, n) &&
	       !strcmp(volume + n, ".nvram");
}

unsigned vm_uses(const struct vm_record *vm, const char *volume)
{
	const struct wire_boot *boot = vm->spec.boot;
	unsigned how = 0;

	for (LIST_EACH(const struct wire_disk, disk, &vm->spec.disks))
		how |= same(disk->volume, volume) ? USE_DISK : 0;
	for (LIST_EACH(const char *, iso, &vm->spec.cdrom))
		how |= same(*iso, volume) ? USE_CDROM : 0;
	how |= boot && same(boot->kernel, volume) ? USE_KERNEL : 0;
	how |= boot && same(boot->initrd, volume) ? USE_INITRD : 0;
	return how | (is_nvram_of(vm, volume) ? USE_NVRAM : 0);
}

static const char *words(unsigned how, struct arena *arena)
{
	static const struct {
		unsigned use;
		const char *word;
	} rows[] = { { USE_DISK, "disk" },
		     { USE_CDROM, "cdrom" },
		     { USE_KERNEL, "kernel" },
		     { USE_INITRD, "initrd" },
		     { USE_NVRAM, "firmware's variables" } };
	const char *text = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (how & rows[i].use)
			text = text ? arena_printf(arena, "%s, %s", text, rows[i].word)
				    : rows[i].word;
	return text;
}

static bool runs(const struct vm_facts *facts, const char *vm)
{
	for (LIST_EACH(const char *, it, &facts->running))
		if (!strcmp(*it, vm))
			return true;
	return false;
}

const char *vm_others_with(const struct vm_facts *facts, const char *volume, unsigned how,
			   bool running)
{
	struct arena *arena = facts->arena;
	const char *all = NULL, *one;
	unsigned uses;

	for (LIST_EACH(const struct vm_record, other, &facts->others)) {
		uses = vm_uses(other, volume) & how;
		if (!uses || (running && !runs(facts, other->spec.id)))
			continue;
		one = arena_printf(arena, "VM %s (%s)", other->spec.id, words(uses, arena));
		all = all ? arena_printf(arena, "%s, %s", all, one) : one;
	}
	return all;
}

void vm_volume_locks(struct plan *plan, const struct vm_facts *facts)
{
	for (LIST_EACH(const struct wire_disk, disk, &facts->vm.spec.disks))
		plan_lock(plan, "volume:%.100s", disk->volume);
}

/* ---- making one ---- */

static int check_one(const struct vm_facts *facts, const char *volume, unsigned against,
		     struct error *err)
{
	const char *others = volume ? vm_others_with(facts, volume, against, false) : NULL;

	if (!others)
		return 0;
	error_set(err, ERROR_CONFLICT, "%s is used by %s, and %s", volume, others,
		  against & USE_DISK ? "may be written there" : "would be written here");
	return error_hint(err, "make a copy of it, and name that");
}

int vm_check_uses(const struct vm_facts *facts, struct error *err)
{
	const struct wire_vm_spec *spec = &facts->vm.spec;
	const struct wire_disk *disks = spec->disks.items;
	const char **isos = spec->cdrom.items;

	for (size_t i = 0; i < spec->disks.n; i++)
		if (check_one(facts, disks[i].volume, USE_ANY & ~USE_DISK, err) < 0)
			return error_pointer(err, "/disks/%zu/volume", i);
	for (size_t i = 0; i < spec->cdrom.n; i++)
		if (check_one(facts, isos[i], USE_DISK | USE_NVRAM, err) < 0)
			return error_pointer(err, "/cdrom/%zu", i);
	if (spec->boot && check_one(facts, spec->boot->kernel, USE_DISK | USE_NVRAM, err) < 0)
		return error_pointer(err, "/boot/kernel");
	if (spec->boot && check_one(facts, spec->boot->initrd, USE_DISK | USE_NVRAM, err) < 0)
		return error_pointer(err, "/boot/initrd");
	return 0;
}

/* ---- starting one ---- */

static void refuse_open(struct plan *plan, const struct vm_facts *facts, const char *volume,
			unsigned against)
{
	const char *others = vm_others_with(facts, volume, against, true);

	if (others)
		plan_refuse(plan, REFUSE_CLAIMED, arena_printf(plan->arena, "volume %s", volume),
			    arena_printf(plan->arena, "%s runs with %s", others, volume), NULL,
			    "stop that VM first; a disk is open in one VM at a time");
}

void vm_refuse_open(struct plan *plan, const struct vm_facts *facts)
{
	for (LIST_EACH(const struct wire_disk, disk, &facts->vm.spec.disks))
		refuse_open(plan, facts, disk->volume, USE_ANY);
	for (LIST_EACH(const char *, iso, &facts->vm.spec.cdrom))
		refuse_open(plan, facts, *iso, USE_DISK);
}
