/* SPDX-License-Identifier: Apache-2.0 */
/* See look.h. */
#include "gpu/look.h"

#include <string.h>
#include <time.h>

#include "base/fdpath.h"
#include "gpu/record.h"

enum { RECORD_TRIES = 30, RECORD_PAUSE_MS = 100 };

void card_look_finish(struct card_look *look)
{
	inventory_release(look->inventory);
	arena_free(look->arena);
	*look = (struct card_look){ 0 };
}

static void touch(struct inventory_changes *changes, struct pci_address address)
{
	*list_add(changes->arena, &changes->addresses, struct pci_address) = address;
}

/* The card's functions, and everything in their groups. */
static void touch_unit(struct inventory_changes *changes, const struct inventory *inv,
		       const struct gpu_unit *unit)
{
	const struct group *group;

	for (size_t i = 0; i < unit->n; i++) {
		touch(changes, unit->functions[i]->address);
		group = inventory_group(inv, unit->functions[i]->group);
		if (!group)
			continue;
		for (LIST_EACH(struct function *, it, &group->functions))
			touch(changes, (*it)->address);
	}
}

static void unit_of(struct card_look *look, bool function_only)
{
	gpu_unit_of(look->inventory, look->function, &look->unit);
	if (!function_only)
		return;
	look->unit.functions[0] = look->function;
	look->unit.n = 1;
	look->unit.card = NULL;	/* to it alone, the others of its card are neighbours */
}

static int look_again(struct gpu_services *services, const char *address, struct card_look *look,
		      struct error *err)
{
	CLEANUP(inventory_releasep) struct inventory *old = look->inventory;
	struct inventory_changes changes = { .arena = look->arena };

	look->inventory = NULL;
	touch_unit(&changes, old, &look->unit);
	look->inventory = inventory_build(services->root, &old->filter, old->names, old, &changes, err);
	if (!look->inventory)
		return -1;
	return gpu_find(look->inventory, address, &look->function, err);
}

/* What privd cannot read is unknown; that it cannot be asked, or has no room, ends the looking. */
static int cannot_tell(struct card_look *look, const struct error *why, const char **reason,
		       struct error *err)
{
	*reason = arena_strdup(look->arena, why->message);
	if (why->code != ERROR_HELPER && why->code != ERROR_STORE)
		return 0;
	if (err)
		*err = *why;
	return -1;
}

/* To ask is to have it for a moment, in which nobody else gets it. */
static bool group_free(struct gpu_services *services, const struct function *f)
{
	unsigned flags;

	return f->group != NO_GROUP &&
	       privd_vfio_status(services->privd, f->group, &flags, NULL) >= 0 &&
	       !(flags & PRIVD_GROUP_HELD);
}

/*
 * Nobody has it open: so say the kernel's counts (holders_ruled_out), nobody has its VFIO groups, and
 * nobody was seen when that was last looked for. That last is for what the counts leave out; BARs
 * mapped through sysfs the kernel mostly does not allow while a driver has the device
 * (kernel/resource.c, iomem_is_exclusive). locked: no VM of ours can be about to open these groups.
 */
static bool nobody_has(struct gpu_services *services, const struct gpu_unit *unit, bool locked)
{
	const struct function *f;

	if (!services->held || services->held(services, unit))
		return false;
	for (size_t i = 0; i < unit->n; i++) {
		f = unit->functions[i];
		if (!f->driver || !holders_ruled_out(services->root, f->address, f->driver))
			return false;
		if (!driver_is_vfio(f->driver) || (i && unit->functions[i - 1]->group == f->group))
			continue;
		if (!locked || !group_free(services, f))
			return false;
	}
	return true;
}

/*
 * What is on vfio has no framebuffer, and so no console. A firmware's that was left on it is no node of
 * its driver: then nobody_has() is not true.
 */
static int read_holders(struct gpu_services *services, struct card_look *look, bool locked,
			struct error *err)
{
	struct list addresses = { 0 }, functions = { 0 };
	struct list *found = arena_new_of(look->arena, struct list);
	struct error why = { 0 };
	int r = 0;

	for (size_t i = 0; i < look->unit.n; i++) {
		*list_add(look->arena, &addresses, struct pci_address) = look->unit.functions[i]->address;
		*list_add(look->arena, &functions, const struct function *) = look->unit.functions[i];
	}
	if (!nobody_has(services, &look->unit, locked)) {
		privd_ahead_wait();	/* in which the helper may have a group open for a moment */
		r = privd_holders(services->privd, &addresses, look->arena, found, &why);
	} else if (!gpu_unit_on_vfio(&look->unit)) {
		r = holders_console(services->root, &functions, look->arena, found, &why);
	}
	if (r < 0)
		return cannot_tell(look, &why, &look->facts.gpu.holders_unknown, err);
	look->facts.gpu.holders = found;
	return 0;
}

/* The host lives on nothing that is on vfio, and on no bridge. */
static void ask_about(struct card_look *look, const struct function *f, struct list *addresses)
{
	if (f->bridge || driver_is_vfio(f->driver))
		return;
	for (LIST_EACH(const struct pci_address, known, addresses))
		if (pci_address_equal(*known, f->address))
			return;
	*list_add(look->arena, addresses, struct pci_address) = f->address;
}

/* The unit's functions; and those that share a group with one, whose use a refusal names. */
static void those_that_carry(struct card_look *look, bool neighbours, struct list *addresses)
{
	const struct group *group;

	for (size_t i = 0; i < look->unit.n; i++) {
		ask_about(look, look->unit.functions[i], addresses);
		group = inventory_group(look->inventory, look->unit.functions[i]->group);
		if (!neighbours || !group)
			continue;
		for (LIST_EACH(struct function *, f, &group->functions))
			ask_about(look, *f, addresses);
	}
}

/* What the host lives on of the unit, and of its neighbours where plans go by it. */
static int read_critical(struct gpu_services *services, struct card_look *look, bool neighbours,
			 struct error *err)
{
	struct list addresses = { 0 }, *found = arena_new_of(look->arena, struct list);
	struct error why = { 0 };

	those_that_carry(look, neighbours, &addresses);
	if (addresses.n &&
	    privd_carried(services->privd, &addresses, look->arena, found, &why) < 0)
		return cannot_tell(look, &why, &look->facts.gpu.critical_unknown, err);
	if (addresses.n)
		critical_displays(services->root, look->inventory, &addresses, look->arena, found);
	look->facts.gpu.critical = found;
	return 0;
}

/* The helper sees where they lie; whether there are any, anybody. */
static int read_framebuffers(struct gpu_services *services, struct card_look *look, struct error *err)
{
	struct list functions = { 0 }, *found = arena_new_of(look->arena, struct list);
	struct error why = { 0 };
	const char *text = NULL;

	look->facts.framebuffers = found;
	for (size_t i = 0; i < look->unit.n; i++)
		if (guard_wants_framebuffers(look->unit.functions[i]))
			*list_add(look->arena, &functions, const struct function *) = look->unit.functions[i];
	if (!functions.n || iomem_no_framebuffers(services->root, look->arena))
		return 0;
	if (privd_iomem(services->privd, look->arena, &text, &why) >= 0 &&
	    iomem_boot_framebuffers(text, &functions, look->arena, found, &why) >= 0)
		return 0;
	look->facts.framebuffers = NULL;
	return cannot_tell(look, &why, &look->facts.framebuffers_unknown, err);
}

static const char *read_word(struct gpu_services *services, struct card_look *look,
			     const struct function *f, const char *file)
{
	char path[128], word[64];

	snprintf(path, sizeof(path), "sys/bus/pci/devices/%s/%s", f->text, file);
	if (fdpath_attribute(services->root->fd, path, word, sizeof(word)) < 0)
		return NULL;
	return arena_strdup(look->arena, word);
}

static int read_settings(struct gpu_services *services, struct card_look *look, struct error *err)
{
	struct list *settings = arena_new_of(look->arena, struct list);
	struct function_settings *s;
	const char *d3cold, *reason;
	struct error why = { 0 };

	for (size_t i = 0; i < look->unit.n; i++) {
		s = list_add(look->arena, settings, struct function_settings);
		s->address = look->unit.functions[i]->address;
		s->driver = look->unit.functions[i]->driver;
		s->control = read_word(services, look, look->unit.functions[i], "power/control");
		d3cold = read_word(services, look, look->unit.functions[i], "d3cold_allowed");
		s->d3cold = d3cold ? *d3cold == '1' : ROW_NULL;
		if (!privd_read_override(services->privd, s->address, look->arena, &s->override, &why))
			continue;
		s->override = NULL;
		if (cannot_tell(look, &why, &reason, err) < 0)
			return -1;
	}
	look->facts.settings = settings;
	return 0;
}

static void read_taken(struct gpu_services *services, struct card_look *look)
{
	struct list *taken = arena_new_of(look->arena, struct list);
	const struct function_settings *s;
	json_t *value;

	for (size_t i = 0; i < look->unit.n; i++) {
		value = journal_taken_get(services->journal, look->unit.functions[i]->text);
		s = value ? taken_load(value, look->arena) : NULL;
		json_decref(value);
		if (s)
			*list_add(look->arena, taken, struct function_settings) = *s;
	}
	look->facts.taken = taken;
}

/*
 * What news has told. News comes after what it is about: so where somebody has the card by that who is
 * not the VM that has it anyway, libvirt is asked.
 */
static void read_domains(struct gpu_services *services, struct card_look *look)
{
	struct list *domains = arena_new_of(look->arena, struct list);
	struct list *now = arena_new_of(look->arena, struct list);
	const struct gpu_domain *domain;

	if (!services->domains || services->domains(services, look->arena, false, domains) < 0)
		return;
	look->facts.gpu.domains = domains;
	domain = gpu_unit_domain(&look->facts.gpu, &look->unit);
	if (!domain || (domain->vm && look->facts.claimed_by && !strcmp(domain->vm, look->facts.claimed_by)))
		return;
	if (services->domains(services, look->arena, true, now) >= 0)
		look->facts.gpu.domains = now;
}

static void read_assignments(struct gpu_services *services, struct card_look *look)
{
	struct list *found = arena_new_of(look->arena, struct list);

	if (services->assignments &&
	    services->assignments(services->store, look->arena, found, NULL) >= 0)
		look->facts.gpu.assignments = found;
}

/* Records that cannot be read are an error: who has a card must not be passed over. */
int card_look_record(struct gpu_services *services, struct card_look *look, struct error *err)
{
	struct list *records = arena_new_of(look->arena, struct list);
	const struct card_record *r;

	if (!services->store) {
		look->facts.gpu.records_unknown = "no records of cards are kept here";
		return 0;
	}
	if (records_load(services->store, services->node_id, look->arena, records, err) < 0)
		return error_wrap(err, "who has %s cannot be told", look->unit.slot);
	records_match(look->inventory, look->arena, records);
	look->facts.gpu.records = records;
	r = record_at(records, look->inventory, look->function->address);
	if (!r)
		return 0;
	look->facts.claimed_by = r->owner;
	look->facts.was_bound = r->was_bound;
	look->facts.card_id = r->mod ? r->id : NULL;
	look->facts.wanted_vfs = r->wanted_vfs;
	look->facts.moved_from = r->moved_from;
	look->facts.quarantined_why = r->quarantined_why;
	return 0;
}

bool card_await_record(struct gpu_services *services, const struct card_look *look)
{
	const struct timespec pause = { .tv_nsec = RECORD_PAUSE_MS * 1000000L };
	const struct card_record *record;
	bool there = false;

	for (int i = 0; !there && services->store && i < RECORD_TRIES; i++) {
		CLEANUP(arena_freep) struct arena *arena = arena_new();
		struct list records = { 0 };

		nanosleep(&pause, NULL);
		if (records_load(services->store, services->node_id, arena, &records, NULL) < 0)
			continue;
		records_match(look->inventory, arena, &records);
		record = record_at(&records, look->inventory, look->function->address);
		there = record && record->mod;
	}
	return there;
}

static int find(struct gpu_services *services, const char *address, bool function_only,
		struct card_look *look, struct error *err)
{
	*look = (struct card_look){ .arena = arena_new(), .inventory = inventory_acquire() };
	look->facts.wanted_vfs = ROW_NULL;
	if (!look->inventory)
		return error_set(err, ERROR_INTERNAL, "the host has not been read yet");
	if (gpu_find(look->inventory, address, &look->function, err) < 0)
		return -1;
	unit_of(look, function_only);
	look->facts.gpu.inventory = look->inventory;
	look->facts.gpu.node = services->node;
	return 0;
}

int card_find(struct gpu_services *services, const char *address, bool function_only,
	      struct card_look *ret, struct error *err)
{
	CLEAN_LOOK struct card_look look = { 0 };

	if (find(services, address, function_only, &look, err) < 0)
		return -1;
	*ret = look;
	look = (struct card_look){ 0 };
	return 0;
}

/* Are its drivers those that the inventory says? It may not have been read again in time. */
static bool is_current(const struct gpu_services *services, const struct gpu_unit *unit)
{
	char path[128], name[64];
	ssize_t n;

	for (size_t i = 0; i < unit->n; i++) {
		snprintf(path, sizeof(path), "sys/bus/pci/devices/%s/driver", unit->functions[i]->text);
		n = fdpath_link_name(services->root->fd, path, name, sizeof(name));
		if (strcmp(n >= 0 ? name : "", unit->functions[i]->driver ?: ""))
			return false;
	}
	return true;
}

/*
 * The reads of the helper that follow, in one message, which it carries out while this thread reads the
 * rest; what has no room in it, or comes of what changed meanwhile, is asked for by itself.
 */
static void ask_ahead(struct gpu_services *services, struct card_look *look, bool locked)
{
	const size_t room = 1 + 2 * look->unit.n < PRIVD_CHAIN_MAX ? 1 + 2 * look->unit.n : PRIVD_CHAIN_MAX;
	struct privd_request *requests = arena_array(look->arena, room, struct privd_request);
	const struct function *f;
	struct list addresses = { 0 };
	size_t n = 0;
	int group = NO_GROUP;

	those_that_carry(look, true, &addresses);
	if (addresses.n)
		requests[n++] = privd_ask_carried(&addresses);
	for (size_t i = 0; i < look->unit.n && n + 2 <= room; i++) {
		f = look->unit.functions[i];
		requests[n++] = privd_ask_override(f->address);
		if (locked && driver_is_vfio(f->driver) && f->group != group && f->group != NO_GROUP)
			requests[n++] = privd_ask_vfio(group = f->group);
	}
	privd_ahead(services->privd, requests, n);
}

static int read_users(struct gpu_services *services, struct card_look *look, struct error *err)
{
	return read_holders(services, look, true, err) < 0 ? -1 : read_critical(services, look, false, err);
}

/*
 * It has just been given to another driver, before which nobody had it and after which nobody had its
 * VFIO group. So the helper is not asked who uses it, nor what it carries; the console and the displays
 * need no helper. What comes of it from now on is read with the facts (daemon/facts.h).
 */
static int just_changed(struct gpu_services *services, struct card_look *look, struct error *err)
{
	struct list functions = { 0 }, *critical = arena_new_of(look->arena, struct list);
	struct list *holders = arena_new_of(look->arena, struct list), addresses = { 0 };
	struct error why = { 0 };

	look->facts.gpu.critical = critical;
	look->facts.gpu.holders = holders;
	those_that_carry(look, false, &addresses);
	if (!addresses.n)
		return 0;
	for (size_t i = 0; i < look->unit.n; i++)
		*list_add(look->arena, &functions, const struct function *) = look->unit.functions[i];
	critical_displays(services->root, look->inventory, &addresses, look->arena, critical);
	if (holders_console(services->root, &functions, look->arena, holders, &why) >= 0)
		return 0;
	look->facts.gpu.holders = NULL;
	return cannot_tell(look, &why, &look->facts.gpu.holders_unknown, err);
}

int card_look_shown(struct gpu_services *services, const char *address, bool function_only,
		    bool fresh, struct card_look *ret, struct error *err)
{
	CLEAN_LOOK struct card_look look = { 0 };

	if (find(services, address, function_only, &look, err) < 0)
		return -1;
	if ((fresh || !is_current(services, &look.unit)) &&
	    look_again(services, address, &look, err) < 0)
		return -1;
	unit_of(&look, function_only);
	look.facts.gpu.inventory = look.inventory;
	if (card_look_record(services, &look, err) < 0 ||
	    (fresh ? read_users(services, &look, err) : just_changed(services, &look, err)) < 0)
		return -1;
	read_domains(services, &look);
	read_assignments(services, &look);
	*ret = look;
	look = (struct card_look){ 0 };
	return 0;
}

static int read_asked(struct gpu_services *services, const char *address, bool function_only, bool locked,
		      struct card_look *look, struct error *err)
{
	if (locked && look_again(services, address, look, err) < 0)
		return -1;
	unit_of(look, function_only);
	look->facts.gpu.inventory = look->inventory;
	look->facts.modules = services->root->real;
	look->facts.vfio_driver = fdpath_exists(services->root->fd, "sys/bus/pci/drivers/vfio-pci") == 1;
	if (card_look_record(services, look, err) < 0 || read_holders(services, look, locked, err) < 0 ||
	    read_critical(services, look, true, err) < 0 || read_framebuffers(services, look, err) < 0)
		return -1;
	return read_settings(services, look, err);
}

int card_look(struct gpu_services *services, const char *address, bool function_only, bool fresh,
	      struct card_look *ret, struct error *err)
{
	CLEAN_LOOK struct card_look look = { 0 };
	int r;

	if (find(services, address, function_only, &look, err) < 0)
		return -1;
	ask_ahead(services, &look, fresh);
	r = read_asked(services, address, function_only, fresh, &look, err);
	privd_ahead_end();
	if (r < 0)
		return -1;
	read_taken(services, &look);
	read_domains(services, &look);
	read_assignments(services, &look);
	*ret = look;
	look = (struct card_look){ 0 };
	return 0;
}
