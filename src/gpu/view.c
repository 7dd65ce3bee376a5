/* SPDX-License-Identifier: Apache-2.0 */
/* Devices. Members and the IOMMU are in view_group.c. See view.h. */
#include "gpu/view.h"

#include <string.h>

#include "gpu/names.h"
#include "gpu/record.h"
#include "gpu/unit.h"

static const char no_records[] = "no records of cards are kept here";

static bool told(const struct list *unknown, const char *field)
{
	for (LIST_EACH(const struct row_pair, pair, unknown))
		if (!strcmp(pair->key, field))
			return true;
	return false;
}

/* The first reason stands: it is nearest to the cause. */
static void unknown(struct arena *arena, struct wire_device *out, const char *field,
		    const char *reason)
{
	struct row_pair *pair;

	if (told(&out->unknown, field))
		return;
	pair = list_add(arena, &out->unknown, struct row_pair);
	pair->key = field;
	pair->value = reason;
}

static void set_reasons(const struct function *f, struct arena *arena, struct wire_device *out)
{
	out->unknown = (struct list){ 0 };
	for (LIST_EACH(const struct row_pair, pair, &f->unknown))
		unknown(arena, out, pair->key, pair->value);
}

static const char *hex4(struct arena *arena, unsigned id)
{
	return arena_printf(arena, "%04x", id);
}

static void set_subsystem(const struct inventory *inv, const struct function *f,
			  struct arena *arena, struct wire_device *out)
{
	struct wire_subsystem *s;

	if (told(&f->unknown, "subsystem"))
		return;
	s = arena_new_of(arena, struct wire_subsystem);
	s->vendor_id = hex4(arena, f->subsystem_vendor);
	s->device_id = hex4(arena, f->subsystem_device);
	s->name = gpu_subsystem_name(inv, f, arena);
	out->subsystem = s;
}

static void set_ids(const struct inventory *inv, const struct function *f, struct arena *arena,
		    struct wire_device *out)
{
	bool vendor = !told(&f->unknown, "vendor_id"), device = !told(&f->unknown, "device_id");

	if (vendor) {
		out->vendor_id = hex4(arena, f->vendor);
		out->vendor_name = gpu_vendor_name(inv, f, arena);
	} else {
		unknown(arena, out, "vendor_name", "its vendor id could not be read");
	}
	if (device)
		out->device_id = hex4(arena, f->device);
	if (vendor && device)
		out->device_name = gpu_device_name(inv, f, arena);
	else
		unknown(arena, out, "device_name", "its ids could not be read");
	if (!told(&f->unknown, "class")) {
		out->class = arena_printf(arena, "%06x", f->class);
		out->class_name = gpu_class_name(inv, f, arena);
	} else {
		unknown(arena, out, "class_name", "its class could not be read");
	}
	if (!told(&f->unknown, "revision"))
		out->revision = arena_printf(arena, "%02x", f->revision);
	set_subsystem(inv, f, arena, out);
	if (vendor && device && out->subsystem && f->path_key)
		out->identity = arena_printf(arena, "%s:%s %s:%s %s", out->vendor_id,
					     out->device_id, out->subsystem->vendor_id,
					     out->subsystem->device_id, f->path_key);
	else
		unknown(arena, out, "identity", "not all that makes it up could be read");
}

/* I/O ports are left out: a VM's memory windows, which this is for, never hold them. */
static void set_bars(const struct function *f, struct arena *arena, struct wire_device *out)
{
	struct wire_bar *bar;

	if (told(&f->unknown, "bars"))
		return;
	out->bars = (struct list){ 0 };
	for (LIST_EACH(const struct bar, b, &f->bars)) {
		if (b->io)
			continue;
		bar = list_add(arena, &out->bars, struct wire_bar);
		bar->index = b->index;
		bar->size_bytes = (int64_t)b->bytes;
		bar->size_mib = (int64_t)((b->bytes >> 20) + !!(b->bytes & 0xfffff));
		bar->prefetchable = b->prefetchable;
		bar->bits64 = b->bits64;
	}
}

static void set_link(const struct function *f, struct arena *arena, struct wire_device *out)
{
	struct wire_link *link;

	if (!f->link_speed && !f->max_link_speed && f->link_width == ROW_NULL &&
	    f->max_link_width == ROW_NULL) {
		unknown(arena, out, "link",
			f->physfn ? "a VF has no link of its own"
				  : "the kernel shows no PCIe link");
		return;
	}
	link = arena_new_of(arena, struct wire_link);
	link->speed = f->link_speed;
	link->width = f->link_width;
	link->max_speed = f->max_link_speed;
	link->max_width = f->max_link_width;
	if ((!link->speed || link->width == ROW_NULL) && !told(&out->unknown, "link"))
		unknown(arena, out, "link.speed",
			f->in_d3cold ? "the card sleeps, and reading it would wake it"
				     : "the kernel does not show it");
	out->link = link;
}

static void set_boot_vga(const struct function *f, struct arena *arena, struct wire_device *out)
{
	unsigned class = f->class >> 8;

	if (f->boot_vga >= 0)
		out->boot_vga = f->boot_vga;
	else if (class == 0x0300)
		unknown(arena, out, "boot_vga", "the kernel shows no boot_vga for it");
	else if (class == 0x0380)
		unknown(arena, out, "boot_vga", "the kernel tells this only of VGA controllers");
	else
		out->boot_vga = 0;
}

static void set_rom(const struct function *f, struct arena *arena, struct wire_device *out)
{
	struct wire_rom *rom;

	if (told(&f->unknown, "rom"))
		return;
	rom = arena_new_of(arena, struct wire_rom);
	rom->present = f->has_rom;
	rom->valid = f->has_rom ? -1 : 0;
	rom->reason = f->has_rom ? "not read: reading it would wake the card"
				 : "the card shows no option ROM";
	out->rom = rom;
}

static const char *address_text(struct arena *arena, struct pci_address address)
{
	char text[PCI_ADDRESS_TEXT];

	return arena_strdup(arena, pci_address_format(address, text));
}

static void set_sharing(const struct function *f, struct arena *arena, struct wire_device *out)
{
	if (f->physfn)
		out->physfn = address_text(arena, *f->physfn);
	if (f->sriov && !told(&f->unknown, "sriov")) {
		out->sriov = arena_new_of(arena, struct wire_sriov);
		out->sriov->total = f->sriov->total;
		out->sriov->active = (int64_t)f->sriov->vfs.n;
		out->sriov->wanted = ROW_NULL;
		for (LIST_EACH(const struct pci_address, vf, &f->sriov->vfs))
			list_add_string(arena, &out->sriov->vfs, address_text(arena, *vf));
	}
	if (!f->vgpu)
		return;
	out->vgpu = arena_new_of(arena, struct wire_vgpu);
	out->vgpu->interface = word_find(wire_vgpu_interface_words, f->vgpu);
	out->vgpu->profiles.null = true;
	for (LIST_EACH(const struct mdev, mdev, &f->mdevs))
		list_add_string(arena, &out->vgpu->instances, mdev->uuid);
}

/* Of a VF: what its PF's driver offers. */
static void set_offered(const struct gpu_facts *facts, const struct function *f, struct arena *arena,
			struct wire_device *out)
{
	const struct list nothing = { 0 }, *all = facts->offered ?: &nothing;
	const char *why = facts->offered_unknown ?: "the vendor's driver is not asked for them here";

	if (!out->vgpu)
		return;
	for (LIST_EACH(const struct gpu_offered, it, all)) {
		if (!pci_address_equal(it->address, f->physfn ? *f->physfn : f->address))
			continue;
		why = it->unknown;
		if (!why)
			out->vgpu->profiles = it->names;
	}
	if (out->vgpu->profiles.null)
		unknown(arena, out, "vgpu.profiles", why);
}

/* What /sys says in words and numbers of its own. */
static void set_hardware(const struct function *f, struct arena *arena, struct wire_device *out)
{
	out->driver = f->driver;
	if (f->group != NO_GROUP)
		out->iommu_group = arena_printf(arena, "%d", f->group);
	if (f->numa_node != NUMA_UNKNOWN)
		out->numa_node = f->numa_node;
	else
		unknown(arena, out, "numa_node", "the firmware does not say");
	out->local_cpus = f->local_cpus;
	if (!f->local_cpus)
		unknown(arena, out, "local_cpus", "the kernel does not show them");
	out->power_state = f->power_state;
	if (!f->power_state)
		unknown(arena, out, "power_state", "the kernel does not show it");
	out->reset_methods = f->reset_methods;
	if (f->reset_methods.null)
		unknown(arena, out, "reset_methods", "the kernel shows none for it");
	set_bars(f, arena, out);
	set_link(f, arena, out);
	set_boot_vga(f, arena, out);
	set_rom(f, arena, out);
	set_sharing(f, arena, out);
}

static void set_functions(const struct gpu_facts *facts, const struct gpu_unit *unit,
			  struct arena *arena, struct wire_device *out)
{
	const struct function *g;
	struct wire_function *to;

	out->slot = unit->slot;
	out->functions = (struct list){ 0 };
	for (size_t i = 0; i < unit->n; i++) {
		g = unit->functions[i];
		to = list_add(arena, &out->functions, struct wire_function);
		to->pci_address = g->text;
		to->device_name = gpu_device_name(facts->inventory, g, arena);
		to->class_name = gpu_class_name(facts->inventory, g, arena);
		to->driver = g->driver;
		to->role = (int)function_role(g, &facts->inventory->filter);
	}
}

static struct wire_holder *find_holder(const struct list *used_by, const char *id, int kind)
{
	for (LIST_EACH(struct wire_holder, it, used_by))
		if (it->kind == kind && !strcmp(it->id, id))
			return it;
	return NULL;
}

/* A process that has several nodes of the card open is one holder. */
static void add_holder(const struct holder *h, struct arena *arena, struct wire_device *out)
{
	int kind = word_find(wire_holder_kind_words, h->kind);
	const char *id = h->pid ? arena_printf(arena, "%lld", (long long)h->pid) : h->name;
	struct wire_holder *to = find_holder(&out->used_by, id, kind);

	if (to)
		return;
	to = list_add(arena, &out->used_by, struct wire_holder);
	to->kind = kind;
	to->id = id;
	to->name = h->name;
	to->since = h->since;
}

static void add_domain(const struct gpu_domain *domain, struct wire_device *out, struct arena *arena)
{
	struct wire_holder *to = list_add(arena, &out->used_by, struct wire_holder);

	to->kind = HOLDER_VM;
	to->id = domain->vm ?: domain->name;
	to->name = domain->name;
	to->since = domain->since;
}

/* While a task is at it, what the drivers look like is of that moment only. */
static int changing(const struct gpu_facts *facts, const struct gpu_unit *unit)
{
	for (LIST_EACH(const struct gpu_changing, it, &facts->changing))
		if (!strcmp(it->slot, unit->slot))
			return it->state;
	return -1;
}

static void set_use(const struct gpu_facts *facts, const struct gpu_unit *unit, struct arena *arena,
		    struct wire_device *out)
{
	static const struct list nobody = { 0 };
	const struct gpu_domain *domain = gpu_unit_domain(facts, unit);
	const char *reason = facts->holders_unknown ?: "holders were not read";

	out->in_use = gpu_unit_held(facts, unit) == FACT_YES;
	if (domain || facts->holders)
		out->used_by = (struct list){ 0 };
	if (domain)
		add_domain(domain, out, arena);
	if (!facts->holders && !domain)
		unknown(arena, out, "used_by", reason);
	for (LIST_EACH(const struct holder, h, facts->holders ?: &nobody))
		if (gpu_unit_has(unit, h->address) && !gpu_unit_domain_is(facts, unit, h))
			add_holder(h, arena, out);
	out->state = changing(facts, unit);
	if (out->state < 0)
		out->state = gpu_unit_state(facts, unit);
}

/* When all that may tell it was asked. */
static void set_state_reason(const struct gpu_facts *facts, const struct gpu_unit *unit,
			     struct arena *arena, struct wire_device *out)
{
	const char *reason = facts->holders_unknown ?: "holders were not read";

	if (out->state >= 0)
		return;
	gpu_unit_unreadable(unit, "driver", &reason);
	unknown(arena, out, "state", reason);
}

static bool has_reason(const struct list *reasons, const char *why)
{
	for (LIST_EACH(const struct wire_reason, it, reasons))
		if (!strcmp(it->why, why))
			return true;
	return false;
}

static void add_critical(const struct critical *c, const struct function *f, struct arena *arena,
			 struct wire_device *out)
{
	if (!strcmp(c->code, "unknown_carries")) {
		unknown(arena, out, "critical", c->why);
		return;
	}
	if (!strcmp(c->code, "console_card") && pci_address_equal(c->address, f->address))
		out->console = 1;
	if (!has_reason(&out->critical, c->why))
		list_add(arena, &out->critical, struct wire_reason)->why = c->why;
}

/* Known reasons stay beside an unknown one; none known and one unknown is null, not "nothing". */
static void set_critical(const struct gpu_facts *facts, const struct function *f,
			 const struct gpu_unit *unit, struct arena *arena, struct wire_device *out)
{
	const char *reason = facts->critical_unknown ?: "what the host needs was not read";

	if (!facts->critical) {
		unknown(arena, out, "critical", reason);
		unknown(arena, out, "console", reason);
		return;
	}
	out->critical = (struct list){ 0 };
	out->console = 0;
	for (LIST_EACH(const struct critical, c, facts->critical))
		if (gpu_unit_has(unit, c->address))
			add_critical(c, f, arena, out);
	if (!out->critical.n && told(&out->unknown, "critical"))
		out->critical.null = true;
}

/* What speaks against the groups themselves, whoever else is in them; NULL: nothing. */
static const char *why_not(const struct inventory *inv, const struct gpu_unit *unit,
			   struct arena *arena)
{
	const struct function *f;
	const struct group *group;

	for (size_t i = 0; i < unit->n; i++) {
		f = unit->functions[i];
		group = inventory_group(inv, f->group);
		if (!group)
			return arena_printf(arena, "%s is in no IOMMU group%s%s", f->text,
					    inv->iommu.message ? ": " : "", inv->iommu.message ?: "");
		if (group->noiommu)
			return "its group is of VFIO's no-IOMMU mode, which isolates nothing";
		if (group->direct_regions)
			return "the firmware keeps memory of its own mapped for its group";
	}
	return NULL;
}

static void set_viable(const struct gpu_facts *facts, const struct gpu_unit *unit,
		       struct arena *arena, struct wire_device *out)
{
	struct wire_viable *viable;
	const char *reason;

	if (gpu_unit_unreadable(unit, "iommu_group", &reason)) {
		unknown(arena, out, "viable", reason);
		return;
	}
	viable = arena_new_of(arena, struct wire_viable);
	viable->ok = gpu_unit_viable(facts->inventory, unit, arena, &viable->blockers);
	viable->why = why_not(facts->inventory, unit, arena);
	if (viable->ok == FACT_UNKNOWN)
		unknown(arena, out, "viable.ok",
			"what memory the firmware keeps of its group could not be read");
	out->viable = viable;
}

static void set_health(const struct function *f, struct arena *arena, struct wire_device *out)
{
	struct wire_health *health = arena_new_of(arena, struct wire_health);

	health->aer_correctable = f->aer_correctable;
	health->aer_fatal = f->aer_fatal;
	if (f->aer_correctable == ROW_NULL && !told(&out->unknown, "health"))
		unknown(arena, out, "health.aer_correctable", "the kernel keeps no count for it");
	if (f->aer_fatal == ROW_NULL && !told(&out->unknown, "health"))
		unknown(arena, out, "health.aer_fatal", "the kernel keeps no count for it");
	out->health = health;
}

static void set_assigned(const struct gpu_facts *facts, const struct gpu_unit *unit,
			 struct arena *arena, struct wire_device *out)
{
	if (!facts->assignments) {
		unknown(arena, out, "assigned_to", facts->records_unknown ?: no_records);
		return;
	}
	out->assigned_to = (struct list){ 0 };
	for (LIST_EACH(const struct gpu_assignment, a, facts->assignments))
		if (gpu_unit_has(unit, a->address))
			list_add_string(arena, &out->assigned_to, a->vm);
}

static bool is_starting(const struct gpu_facts *facts, const char *vm)
{
	for (LIST_EACH(const char *, it, &facts->starting))
		if (!strcmp(*it, vm))
			return true;
	return false;
}

static const char *held_back(const struct gpu_facts *facts, const char *vm)
{
	for (LIST_EACH(const struct row_pair, it, &facts->held_back))
		if (!strcmp(it->key, vm))
			return it->value;
	return NULL;
}

/* Claimed, and no domain has it: on its way to a VM, or back from one. */
static void set_on_its_way(const struct gpu_facts *facts, const struct gpu_unit *unit,
			   struct wire_device *out)
{
	if (!out->claimed_by || !facts->domains || gpu_unit_domain(facts, unit))
		return;
	out->state = is_starting(facts, out->claimed_by) ? CARD_PREPARING : CARD_RELEASING;
	out->health->held_back_why = held_back(facts, out->claimed_by);
}

static void set_records(const struct gpu_facts *facts, const struct function *f,
			const struct gpu_unit *unit, struct arena *arena, struct wire_device *out)
{
	static const char *const fields[] = { "card", "claimed_by", "reserved", "health.last_reset",
					      "health.quarantined_why" };
	const struct card_record *record = record_at(facts->records, facts->inventory, f->address);
	const char *why = facts->records ? "its record is not made yet" :
					   facts->records_unknown ?: no_records;

	set_health(f, arena, out);
	set_assigned(facts, unit, arena, out);
	for (size_t i = 0; !record && i < ARRAY_SIZE(fields); i++)
		unknown(arena, out, fields[i], why);
	if (!record && out->sriov)
		unknown(arena, out, "sriov.wanted", why);
	if (!record)
		return;
	if (out->sriov)
		out->sriov->wanted = record->wanted_vfs;
	out->card = record->id;
	out->claimed_by = record->owner;
	out->reserved = 0;
	set_on_its_way(facts, unit, out);
	out->health->last_reset = record->last_reset;
	out->health->quarantined_why = record->quarantined_why;
	if (record->quarantined_why)
		out->state = CARD_QUARANTINED;
}

/* What hangs in the kernel goes before what the drivers look like. */
static void set_stuck(const struct gpu_facts *facts, const struct gpu_unit *unit,
		      struct wire_device *out)
{
	for (LIST_EACH(const struct row_pair, card, &facts->stuck))
		if (!strcmp(card->key, unit->slot))
			out->state = CARD_STUCK;
}

void gpu_view_device(const struct gpu_facts *facts, const struct function *f, struct arena *arena,
		     struct wire_device *out)
{
	struct gpu_unit unit;

	gpu_unit_of(facts->inventory, f, &unit);
	rows_clear(wire_device_rows, out);
	set_reasons(f, arena, out);
	out->pci_address = f->text;
	out->node = facts->node;
	if (!facts->node)
		unknown(arena, out, "node", "this host has no name");
	set_ids(facts->inventory, f, arena, out);
	set_hardware(f, arena, out);
	set_offered(facts, f, arena, out);
	set_functions(facts, &unit, arena, out);
	set_use(facts, &unit, arena, out);
	set_critical(facts, f, &unit, arena, out);
	set_viable(facts, &unit, arena, out);
	set_records(facts, f, &unit, arena, out);
	set_stuck(facts, &unit, out);
	set_state_reason(facts, &unit, arena, out);
}

void gpu_view_devices(const struct gpu_facts *facts, struct arena *arena, struct list *out)
{
	const struct inventory *inv = facts->inventory;

	*out = (struct list){ 0 };
	for (LIST_EACH(struct function *, f, &inv->functions))
		if (function_is_gpu(*f, &inv->filter))
			gpu_view_device(facts, *f, arena, list_add(arena, out, struct wire_device));
}
