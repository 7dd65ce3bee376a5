/* SPDX-License-Identifier: Apache-2.0 */
/* Looking at the world for the planners. See facts.h. */
#include "vm/facts.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fdpath.h"
#include "gpu/record.h"
#include "host/rom.h"
#include "vm/domain_xml.h"
#include "vm/rom_file.h"

enum { KEY_BYTES = STORE_KEY_MAX + 1 };

void vm_facts_init(struct vm_facts *facts, const struct vm_services *services)
{
	*facts = (struct vm_facts){ .arena = arena_new(),
				    .pool = services->pool,
				    .pool_path = services->pool_path,
				    .network = services->network };
}

static void finish_cards(struct list *cards)
{
	for (LIST_EACH(struct vm_card, card, cards))
		card_look_finish(&card->look);
}

void vm_facts_finish(struct vm_facts *facts)
{
	finish_cards(&facts->cards);
	finish_cards(&facts->claims);
	arena_free(facts->arena);
}

/* ---- records ---- */

int vm_list(struct store *store, struct arena *arena, struct list *vms, struct error *err)
{
	struct list rows = { 0 };

	if (store_list(store, "vms/", arena, &rows, NULL, err) < 0)
		return -1;
	for (LIST_EACH(const struct store_row, row, &rows))
		if (vm_record_parse(row->value, row->mod, arena,
				    list_add(arena, vms, struct vm_record), err) < 0)
			return error_wrap(err, "%s", row->key);
	return (int)vms->n;
}

int vm_assignments(struct store *store, struct arena *arena, struct list *list, struct error *err)
{
	struct list vms = { 0 };
	struct pci_address address;

	if (vm_list(store, arena, &vms, err) < 0)
		return -1;
	for (LIST_EACH(const struct vm_record, vm, &vms))
		for (LIST_EACH(const struct wire_passthrough, card, &vm->spec.gpu_passthrough))
			if (pci_address_parse(card->pci_address, &address))
				*list_add(arena, list, struct gpu_assignment) =
					(struct gpu_assignment){ address, vm->spec.id };
	return (int)list->n;
}

int vm_look_record(struct vm_services *services, const char *id, struct vm_facts *facts,
		   struct error *err)
{
	struct list rows = { 0 };
	struct vm_record vm;

	if (store_list(services->gpu.store, "vms/", facts->arena, &rows, NULL, err) < 0)
		return -1;
	for (LIST_EACH(const struct store_row, row, &rows)) {
		if (vm_record_parse(row->value, row->mod, facts->arena, &vm, err) < 0)
			return error_wrap(err, "%s", row->key);
		if (strcmp(vm.spec.id, id)) {
			*list_add(facts->arena, &facts->others, struct vm_record) = vm;
			continue;
		}
		facts->vm = vm;
		facts->stored = row->value;
	}
	if (facts->stored)
		return 0;
	error_set(err, ERROR_NOT_FOUND, "there is no VM %.70s", id);
	return error_hint(err, "GET /api/vms lists those that are there");
}

/* ---- libvirt ---- */

int vm_look_domain(struct vm_services *services, struct vm_facts *facts, struct error *err)
{
	const char *id = facts->vm.spec.id;
	struct list domains = { 0 };
	int r = virt_active(services->virt, id, &facts->state, err);

	if (r < 0)
		return -1;
	facts->active = r == 1;
	if (virt_domains(services->virt, facts->arena, &domains, err) < 0)
		return -1;
	for (LIST_EACH(const struct virt_domain, domain, &domains)) {
		facts->foreign |= !domain->vm && !strcmp(domain->name, id);
		if (domain->vm && strcmp(domain->vm, id))
			list_add_string(facts->arena, &facts->running, domain->vm);
	}
	return 0;
}

int vm_look_running(struct vm_services *services, struct vm_facts *facts, struct error *err)
{
	struct error why = { 0 };
	const char *xml;

	if (!facts->active)
		return 0;
	if (!virt_domain_xml(services->virt, facts->vm.spec.id, facts->arena, &xml, &why)) {
		facts->running_mib = domain_xml_memory_mib(xml);
		return 0;
	}
	if (why.code == ERROR_NOT_FOUND)
		return 0; /* it has just ended: what is free is free already */
	if (err)
		*err = why;
	return -1;
}

/* In MiB. False: the kernel does not say. */
static bool read_meminfo(const char *text, const char *word, uint64_t *ret)
{
	const char *at = strstr(text, word);

	if (at)
		*ret = strtoull(at + strlen(word), NULL, 10) / 1024;
	return at != NULL;
}

/* What the kernel says can be had without swapping; more exact than what libvirt adds up. */
static void look_memory(const struct host_root *root, struct virt_host *host)
{
	uint64_t all, swap;
	char text[4096];

	if (fdpath_read(root->fd, "proc/meminfo", text, sizeof(text)) < 0)
		return;
	read_meminfo(text, "MemAvailable:", &host->memory_free_mib);
	if (read_meminfo(text, "MemTotal:", &all) && read_meminfo(text, "SwapTotal:", &swap))
		host->memory_mib = all + swap;
}

int vm_look_host(struct vm_services *services, struct vm_facts *facts, struct error *err)
{
	if (virt_host(services->virt, &facts->host, err) < 0)
		return -1;
	look_memory(services->gpu.root, &facts->host);
	return 0;
}

/* "I may not look" is not "it is not there": what is there would be overwritten, or taken for ours. */
static int cannot_look(const struct vm_facts *facts, const char *name, int why, struct error *err)
{
	error_errno(err, ERROR_CONFLICT, why, "whether there is a file %s for the pool %s cannot be told",
		    name, facts->pool);
	return error_hint(err, "let the daemon look into %s (chmod a+x on it and the folders above "
			  "it), or start the pool, so that libvirt looks: virsh pool-start %s",
			  facts->pool_path, facts->pool);
}

/*
 * What a pool that is not made or not started will find: the files of its folder. By its first bytes where
 * we may read them, else by its name.
 */
static int look_file(const struct vm_facts *facts, struct vm_volume *volume, struct error *err)
{
	const char *path = arena_printf(facts->arena, "%s/%s", facts->pool_path, volume->name);
	const char *end = strrchr(volume->name, '.');
	bool qcow2 = end && !strcmp(end, ".qcow2");
	char magic[4] = "";
	struct stat st;
	CLEAN_FD int fd = -1;

	if (stat(path, &st) < 0)
		return errno == ENOENT || errno == ENOTDIR ? 0 : cannot_look(facts, volume->name, errno, err);
	if (!S_ISREG(st.st_mode))
		return 0;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd >= 0 && pread(fd, magic, sizeof(magic), 0) == sizeof(magic))
		qcow2 = !memcmp(magic, "QFI\xfb", sizeof(magic));
	volume->there = true;
	volume->path = path;
	volume->format = qcow2 ? "qcow2" : "raw";
	return 0;
}

static int look_volume(struct vm_services *services, struct vm_facts *facts, const char *name,
		       struct vm_volume *volume, struct error *err)
{
	int r;

	*volume = (struct vm_volume){ .name = name };
	if (!name)
		return 0;
	if (!facts->pool_active)
		return look_file(facts, volume, err);
	r = virt_volume(services->virt, facts->pool, name, facts->arena, &volume->path,
			&volume->format, NULL, err);
	volume->there = r == 1;
	return r < 0 ? -1 : 0;
}

static int look_volumes(struct vm_services *services, struct vm_facts *facts, struct error *err)
{
	const struct wire_vm_spec *spec = &facts->vm.spec;

	for (LIST_EACH(const struct wire_disk, disk, &spec->disks))
		if (look_volume(services, facts, disk->volume,
				list_add(facts->arena, &facts->disks, struct vm_volume), err) < 0)
			return -1;
	for (LIST_EACH(const char *, name, &spec->cdrom))
		if (look_volume(services, facts, *name,
				list_add(facts->arena, &facts->cdrom, struct vm_volume), err) < 0)
			return -1;
	if (spec->boot &&
	    (look_volume(services, facts, spec->boot->kernel, &facts->kernel, err) < 0 ||
	     look_volume(services, facts, spec->boot->initrd, &facts->initrd, err) < 0))
		return -1;
	if (spec->firmware != FIRMWARE_UEFI)
		return 0;
	return look_volume(services, facts, vm_nvram_volume(&facts->vm, facts->arena),
			   &facts->nvram, err);
}

int vm_look_storage(struct vm_services *services, struct vm_facts *facts, struct error *err)
{
	const char *path = NULL;

	if (virt_pool_state(services->virt, facts->pool, &facts->pool_defined, &facts->pool_active,
			    facts->arena, &path, err) < 0)
		return -1;
	if (path)
		facts->pool_path = path;
	return look_volumes(services, facts, err);
}

int vm_look_files(struct vm_services *services, struct vm_facts *facts, struct error *err)
{
	return look_volumes(services, facts, err); /* as of a pool that is not active */
}

int vm_look_network(struct vm_services *services, struct vm_facts *facts, struct error *err)
{
	return virt_network_state(services->virt, facts->network, &facts->network_defined,
				  &facts->network_active, err);
}

/* ---- cards ---- */

static int look_at(struct vm_services *services, const char *address, bool function_only,
		   enum vm_look_depth depth, struct card_look *look, struct error *err)
{
	if (depth > LOOK_KNOWN)
		return card_look(&services->gpu, address, function_only, depth == LOOK_FRESH, look,
				 err);
	if (card_find(&services->gpu, address, function_only, look, err) < 0)
		return -1;
	if (depth == LOOK_FIND || !card_look_record(&services->gpu, look, err))
		return 0;
	card_look_finish(look);
	return -1;
}

static int look_with_record(struct vm_services *services, const char *address, bool function_only,
			    enum vm_look_depth depth, struct card_look *look, struct error *err)
{
	int r = look_at(services, address, function_only, depth, look, err);

	if (r || depth == LOOK_FIND || look->facts.card_id ||
	    !card_await_record(&services->gpu, look))
		return r;
	card_look_finish(look);
	return look_at(services, address, function_only, depth, look, err);
}

static void look_at_rom(struct vm_services *services, struct vm_card *card, struct arena *arena)
{
	const struct function *f = card->look.unit.functions[0];
	struct rom_file rom = { 0 };

	if (rom_file_read(services->rom_folders, card->asked->rom_file, arena, &rom, &card->rom) <
	    0)
		return;
	if (rom_matches(rom.bytes, rom.n, f->vendor, f->device, &card->rom) < 0) {
		error_wrap(&card->rom, "the ROM %s is not for %s", card->asked->rom_file, f->text);
		if (!card->rom.hint[0])
			error_hint(&card->rom, "use a ROM that was read from this very card, whole");
		return;
	}
	card->rom_path = rom.path;
}

/* Only that it is not there is told in the card: what cannot be read at all is an error. */
static int look_card(struct vm_services *services, struct vm_card *card, bool function_only,
		     enum vm_look_depth depth, struct error *err)
{
	struct error why = { 0 };

	if (!look_with_record(services, card->address, function_only, depth, &card->look, &why))
		return 0;
	if (why.code == ERROR_NOT_FOUND || why.code == ERROR_GONE) {
		card->missing = why;
		return 0;
	}
	if (err)
		*err = why;
	return -1;
}

/* What the card is that is meant, and where it is now. */
static const char *tell_card(const struct list *records, const char *id, struct arena *arena)
{
	const struct card_record *record = record_of(records, id);

	if (!record)
		return arena_printf(arena, "%s, which nothing is known of any more", id);
	return record->present
		       ? arena_printf(arena, "%s (%s), which is at %s now", id, record->ids,
				      record->address)
		       : arena_printf(arena, "%s (%s), which is not there now", id, record->ids);
}

/* Is it the card that the VM was made with? An address may become another card's. */
static int look_meant(struct vm_services *services, struct vm_facts *facts, struct vm_card *card,
		      struct error *err)
{
	CLEANUP(inventory_releasep) struct inventory *inv = NULL;
	struct list records = { 0 };

	if (!card->meant)
		return 0;
	if (!card->missing.code) {
		if (card->look.facts.card_id && strcmp(card->look.facts.card_id, card->meant))
			card->instead = card->look.facts.meant =
				tell_card(card->look.facts.gpu.records, card->meant, facts->arena);
		return 0;
	}
	inv = inventory_acquire();
	if (records_load(services->gpu.store, services->gpu.node_id, facts->arena, &records, err) < 0)
		return -1;
	if (inv)
		records_match(inv, facts->arena, &records);
	card->instead = tell_card(&records, card->meant, facts->arena);
	return 0;
}

int vm_look_cards(struct vm_services *services, struct vm_facts *facts, enum vm_look_depth depth,
		  struct error *err)
{
	struct vm_card *card;

	for (LIST_EACH(const struct wire_passthrough, asked, &facts->vm.spec.gpu_passthrough)) {
		card = list_add(facts->arena, &facts->cards, struct vm_card);
		*card = (struct vm_card){ .asked = asked,
					  .address = asked->pci_address,
					  .meant = vm_card_meant(&facts->vm, facts->cards.n - 1),
					  .was_bound = -1 };
		if (look_card(services, card, asked->multifunction == 0, depth, err) < 0 ||
		    look_meant(services, facts, card, err) < 0)
			return -1;
		if (card->missing.code)
			continue;
		if (asked->rom_file)
			look_at_rom(services, card, facts->arena);
		if (card->look.facts.claimed_by &&
		    !strcmp(card->look.facts.claimed_by, facts->vm.spec.id)) {
			card->claim = card->look.facts.card_id;
			card->was_bound = card->look.facts.was_bound;
		}
	}
	return 0;
}

/* What of the card the VM got: the entry of its spec says it. */
static void of_spec(const struct vm_facts *facts, const struct inventory *inv, struct vm_card *card)
{
	struct pci_address asked, slot;
	const struct card *found;

	if (!pci_address_parse(card->address, &slot))
		return;
	for (LIST_EACH(const struct wire_passthrough, it, &facts->vm.spec.gpu_passthrough)) {
		found = pci_address_parse(it->pci_address, &asked) ? inventory_card(inv, asked)
								   : NULL;
		if (found && pci_address_equal(found->slot, slot))
			card->asked = it;
	}
}

static int look_claim(struct vm_services *services, struct vm_facts *facts,
		      const struct inventory *inv, const struct card_record *record,
		      enum vm_look_depth depth, struct error *err)
{
	struct vm_card *card = list_add(facts->arena, &facts->claims, struct vm_card);
	bool function_only;

	*card = (struct vm_card){ .address = record->address,
				  .claim = record->id,
				  .was_bound = record->was_bound };
	if (!record->present)
		return error_set(&card->missing, ERROR_GONE,
				 "the card that was at %s is not there any more", record->address),
		       0;
	of_spec(facts, inv, card);
	function_only = card->asked && card->asked->multifunction == 0;
	if (function_only)
		card->address = card->asked->pci_address;
	return look_card(services, card, function_only, depth, err);
}

int vm_look_claims(struct vm_services *services, struct vm_facts *facts, enum vm_look_depth depth,
		   struct error *err)
{
	CLEANUP(inventory_releasep) struct inventory *inv = inventory_acquire();
	struct list records = { 0 };

	if (!inv)
		return error_set(err, ERROR_INTERNAL, "the host has not been read yet");
	if (records_load(services->gpu.store, services->gpu.node_id, facts->arena, &records, err) < 0)
		return -1;
	records_match(inv, facts->arena, &records);
	for (LIST_EACH(const struct card_record, record, &records))
		if (record->owner && !strcmp(record->owner, facts->vm.spec.id) &&
		    look_claim(services, facts, inv, record, depth, err) < 0)
			return -1;
	return 0;
}

void vm_forget_claims(struct vm_facts *facts)
{
	finish_cards(&facts->claims);
	facts->claims = (struct list){ 0 };
}
