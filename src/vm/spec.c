/* SPDX-License-Identifier: Apache-2.0 */
/* See spec.h. */
#include "vm/spec.h"

#include <ctype.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <string.h>

#include "base/address.h"

enum { HASH_BYTES = 32, SLUG_MAX = 40 };

/* The stored form: the spec's own rows as one object, and what was chosen for it. */
struct stored {
	json_t *spec;
	const char *uuid;
	const char *created_at;
	struct list cards, accepted;
};

static const struct row stored_rows[] = {
	{ "uuid", ROW_STRING, ROW_REQUIRED, offsetof(struct stored, uuid), .min = 36, .max = 36 },
	{ "created_at", ROW_STRING, 0, offsetof(struct stored, created_at) },
	{ "cards", ROW_STRINGS, 0, offsetof(struct stored, cards), .max = VM_CARDS },
	{ "accepted", ROW_STRINGS, 0, offsetof(struct stored, accepted), .max = VM_ACCEPTED },
	{ "spec", ROW_JSON, ROW_REQUIRED, offsetof(struct stored, spec) },
	ROW_END,
};

static int wrong(struct error *err, const char *pointer, const char *hint, const char *message)
{
	error_set(err, ERROR_INVALID_VALUE, "%s", message);
	error_hint(err, "%s", hint);
	return error_pointer(err, "%s", pointer);
}

/* The same words give the same bytes on every host and day. */
static void hash(const char *what, const char *id, uint8_t out[static HASH_BYTES])
{
	char text[160];

	snprintf(text, sizeof(text), "horcrux/%s/%s", what, id);
	if (gnutls_hash_fast(GNUTLS_DIG_SHA256, text, strlen(text), out) < 0)
		abort();
}

/* RFC 9562 version 8: the bytes are ours to choose. */
static const char *uuid_of(const char *id, struct arena *arena)
{
	uint8_t h[HASH_BYTES];

	hash("vm", id, h);
	h[6] = (uint8_t)((h[6] & 0x0f) | 0x80);
	h[8] = (uint8_t)((h[8] & 0x3f) | 0x80);
	return arena_printf(arena,
			    "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x",
			    h[0], h[1], h[2], h[3], h[4], h[5], h[6], h[7], h[8], h[9], h[10],
			    h[11], h[12], h[13], h[14], h[15]);
}

/* QEMU's own prefix: locally administered. */
static const char *mac_of(const char *id, size_t card, struct arena *arena)
{
	uint8_t h[HASH_BYTES];
	char what[32];

	snprintf(what, sizeof(what), "nic-%zu", card);
	hash(what, id, h);
	return arena_printf(arena, "52:54:00:%02x:%02x:%02x", h[0], h[1], h[2]);
}

static bool is_taken(const struct list *taken, const char *id)
{
	for (LIST_EACH(const char *, it, taken))
		if (!strcmp(*it, id))
			return true;
	return false;
}

/* Letters and digits of the name, everything else one dash: "GPU workstation!" -> gpu-workstation.
 */
static void slug(const char *name, char out[static SLUG_MAX + 1])
{
	size_t n = 0;

	for (const char *c = name; *c && n < SLUG_MAX; c++) {
		if ((*c >= 'a' && *c <= 'z') || (*c >= '0' && *c <= '9'))
			out[n++] = *c;
		else if (*c >= 'A' && *c <= 'Z')
			out[n++] = (char)(*c - 'A' + 'a');
		else if (n && out[n - 1] != '-')
			out[n++] = '-';
	}
	while (n && out[n - 1] == '-')
		n--;
	out[n] = '\0';
	if (!n)
		memcpy(out, "vm", 3);
}

static const char *choose_id(const char *name, const struct list *taken, struct arena *arena)
{
	char base[SLUG_MAX + 1];
	const char *id = base;

	slug(name ? name : "vm", base);
	for (unsigned i = 2; is_taken(taken, id); i++)
		id = arena_printf(arena, "%s-%u", base, i);
	return arena_strdup(arena, id);
}

/* A new disk is named by its place; asking for it by that very name is the same (idempotence). */
static int normal_disk(const struct wire_disk *asked, struct vm_record *vm, struct arena *arena,
		       struct error *err)
{
	static const char *const hint = "give size for a new disk, or volume for one that exists";
	size_t i = vm->spec.disks.n;
	char pointer[64];
	const char *ours = vm_disk_volume(vm, i, arena), *name = asked->volume ?: ours;

	snprintf(pointer, sizeof(pointer), "/disks/%zu", i);
	if (asked->size == ROW_NULL && !asked->volume)
		return wrong(err, pointer, hint, "a disk has neither size nor volume");
	if (asked->size != ROW_NULL && strcmp(name, ours))
		return wrong(err, pointer, hint, "a disk has both size and volume");
	for (LIST_EACH(const struct wire_disk, other, &vm->spec.disks)) {
		if (strcmp(other->volume, name))
			continue;
		snprintf(pointer, sizeof(pointer), "/disks/%zu/volume", i);
		return wrong(err, pointer, "name each volume once", "a volume is named twice");
	}
	*list_add(arena, &vm->spec.disks, struct wire_disk) = (struct wire_disk){ asked->size,
										  name };
	return 0;
}

static int normal_disks(const struct wire_vm_spec *asked, struct vm_record *vm, struct arena *arena,
			struct error *err)
{
	const struct wire_disk one = { .size = asked->disk_size };

	vm->spec.disks = (struct list){ 0 };
	vm->spec.disk_size = ROW_NULL;
	if (asked->disk_size != ROW_NULL && asked->disks.n)
		return wrong(err, "/disk_size", "give disk_size for one disk, or disks for several",
			     "disk_size and disks are both given");
	if (asked->disk_size != ROW_NULL)
		return normal_disk(&one, vm, arena, err);
	for (LIST_EACH(const struct wire_disk, disk, &asked->disks))
		if (normal_disk(disk, vm, arena, err) < 0)
			return -1;
	return 0;
}

static bool is_disk(const struct vm_record *vm, const char *volume)
{
	for (LIST_EACH(const struct wire_disk, disk, &vm->spec.disks))
		if (volume && !strcmp(disk->volume, volume))
			return true;
	return false;
}

/* A guest that writes what it reads as fixed. */
static int check_sources(const struct vm_record *vm, struct error *err)
{
	static const char *const hint = "name it once; as a disk it can be read too",
				*const message = "a disk of the VM is named as a source as well";
	const struct wire_boot *boot = vm->spec.boot;
	const char **isos = vm->spec.cdrom.items;
	char pointer[64];

	for (size_t i = 0; i < vm->spec.cdrom.n; i++) {
		snprintf(pointer, sizeof(pointer), "/cdrom/%zu", i);
		if (is_disk(vm, isos[i]))
			return wrong(err, pointer, hint, message);
	}
	if (boot && is_disk(vm, boot->kernel))
		return wrong(err, "/boot/kernel", hint, message);
	if (boot && is_disk(vm, boot->initrd))
		return wrong(err, "/boot/initrd", hint, message);
	return 0;
}

/* xx:xx:xx:xx:xx:xx of one card (not of a group of them), lower case; NULL: it is something else.
 */
static const char *normal_mac(const char *asked, struct arena *arena)
{
	unsigned byte[6];
	char last;

	for (size_t i = 0; i < 17; i++)
		if (i % 3 == 2 ? asked[i] != ':' : !isxdigit((unsigned char)asked[i]))
			return NULL;
	if (sscanf(asked, "%2x:%2x:%2x:%2x:%2x:%2x%c", &byte[0], &byte[1], &byte[2], &byte[3],
		   &byte[4], &byte[5], &last) != 6 ||
	    byte[0] & 1)
		return NULL;
	return arena_printf(arena, "%02x:%02x:%02x:%02x:%02x:%02x", byte[0], byte[1], byte[2],
			    byte[3], byte[4], byte[5]);
}

/* none beside others, or with an address; one address twice. */
static int check_network(const struct wire_network *nic, size_t n, size_t i,
			 const struct list *before, struct error *err)
{
	const struct wire_network *all = before->items, *ours = &all[i];
	char pointer[64];

	snprintf(pointer, sizeof(pointer), "/network/%zu", i);
	if (nic[i].kind == NETWORK_NONE && n > 1)
		return wrong(err, pointer, "give none alone, or leave it out",
			     "network none stands beside other networks");
	snprintf(pointer, sizeof(pointer), "/network/%zu/mac", i);
	if (nic[i].kind == NETWORK_NONE && nic[i].mac)
		return wrong(err, pointer, "leave mac out", "network none has no MAC address");
	if (ours->kind == NETWORK_NONE)
		return 0;
	if (!ours->mac)
		return wrong(err, pointer,
			     "as in 52:54:00:12:34:56; leave it out to have one chosen",
			     "that is no MAC address of a card");
	for (size_t k = 0; k < i; k++)
		if (!strcmp(all[k].mac, ours->mac))
			return wrong(err, pointer, "leave mac out to have one chosen",
				     "two network cards have one MAC address");
	return 0;
}

static int normal_network(const struct wire_vm_spec *asked, struct vm_record *vm,
			  struct arena *arena, struct error *err)
{
	static const struct wire_network nat = { .kind = NETWORK_NAT };
	const struct wire_network *nic = asked->network.null ? &nat : asked->network.items;
	size_t n = asked->network.null ? 1 : asked->network.n;

	vm->spec.network = (struct list){ 0 };
	for (size_t i = 0; i < n; i++) {
		struct wire_network *ours = list_add(arena, &vm->spec.network, struct wire_network);

		ours->kind = nic[i].kind;
		if (ours->kind != NETWORK_NONE)
			ours->mac = nic[i].mac ? normal_mac(nic[i].mac, arena)
					       : mac_of(vm->spec.id, i, arena);
		if (check_network(nic, n, i, &vm->spec.network, err) < 0)
			return -1;
	}
	return 0;
}

/* The same function twice; two functions of one card are for who knows the cards. */
static int normal_card(const struct wire_passthrough *card, struct vm_record *vm, bool *primary,
		       struct arena *arena, struct error *err)
{
	size_t i = vm->spec.gpu_passthrough.n;
	char pointer[64], text[PCI_ADDRESS_TEXT];
	struct wire_passthrough *ours;
	struct pci_address address;

	snprintf(pointer, sizeof(pointer), "/gpu_passthrough/%zu/pci_address", i);
	if (!pci_address_parse(card->pci_address, &address))
		return wrong(err, pointer, "as in 0000:01:00.0", "that is no PCI address");
	pci_address_format(address, text); /* 00000:01:00.0 is 0000:01:00.0 */
	for (LIST_EACH(const struct wire_passthrough, other, &vm->spec.gpu_passthrough))
		if (!strcmp(other->pci_address, text))
			return wrong(err, pointer, "name each card once", "a card is named twice");
	snprintf(pointer, sizeof(pointer), "/gpu_passthrough/%zu/primary_gpu", i);
	if (card->primary_gpu == 1 && *primary)
		return wrong(err, pointer, "only one card can be the guest's primary display",
			     "primary_gpu is set twice");
	*primary |= card->primary_gpu == 1;
	ours = list_add(arena, &vm->spec.gpu_passthrough, struct wire_passthrough);
	*ours = *card;
	ours->pci_address = arena_strdup(arena, text);
	ours->multifunction = card->multifunction != 0;
	ours->primary_gpu = card->primary_gpu == 1;
	return 0;
}

static int normal_cards(const struct wire_vm_spec *asked, struct vm_record *vm, struct arena *arena,
			struct error *err)
{
	bool primary = false;

	vm->spec.gpu_passthrough = (struct list){ 0 };
	for (LIST_EACH(const struct wire_passthrough, card, &asked->gpu_passthrough))
		if (normal_card(card, vm, &primary, arena, err) < 0)
			return -1;
	return 0;
}

static int or_default(int value, int otherwise)
{
	return value < 0 ? otherwise : value;
}

int vm_normalise(const struct wire_vm_spec *asked, const struct list *taken, struct arena *arena,
		 struct vm_record *ret, struct error *err)
{
	struct vm_record vm = { .spec = *asked };

	if (!vm.spec.id)
		vm.spec.id = choose_id(asked->name, taken, arena);
	if (!vm.spec.name)
		vm.spec.name = vm.spec.id;
	vm.uuid = uuid_of(vm.spec.id, arena);
	vm.spec.os = or_default(asked->os, OS_LINUX);
	vm.spec.firmware = or_default(asked->firmware, FIRMWARE_UEFI);
	vm.spec.hide_hypervisor = or_default(asked->hide_hypervisor, HIDE_AUTO);
	vm.spec.autostart = or_default(asked->autostart, 0);
	vm.spec.start = -1;
	vm.spec.accept = (struct list){ .null = true };
	if (vm.spec.cdrom.null)
		vm.spec.cdrom = (struct list){ 0 };
	if (normal_disks(asked, &vm, arena, err) < 0 || check_sources(&vm, err) < 0 ||
	    normal_cards(asked, &vm, arena, err) < 0 ||
	    normal_network(asked, &vm, arena, err) < 0)
		return -1;
	*ret = vm;
	return 0;
}

const char *vm_disk_volume(const struct vm_record *vm, size_t i, struct arena *arena)
{
	/* ids have no dot, so no other VM's disk can be called so */
	return i ? arena_printf(arena, "%s.%zu.qcow2", vm->spec.id, i)
		 : arena_printf(arena, "%s.qcow2", vm->spec.id);
}

const char *vm_nvram_volume(const struct vm_record *vm, struct arena *arena)
{
	return arena_printf(arena, "%s.nvram", vm->spec.id);
}

const char *vm_card_meant(const struct vm_record *vm, size_t i)
{
	const char **ids = vm->cards.items;

	return i < vm->cards.n && *ids[i] ? ids[i] : NULL;
}

char *vm_record_print(const struct vm_record *vm)
{
	struct stored stored = { rows_emit(wire_vm_spec_rows, &vm->spec), vm->uuid,
				 vm->created_at, vm->cards, vm->accepted };
	json_t *json = rows_emit(stored_rows, &stored);
	char *text = json_dumps(json, JSON_COMPACT);

	json_decref(json);
	json_decref(stored.spec);
	return text;
}

/* What the reader of the record sees is that a file of ours is bad, never "your request is bad". */
static int damaged(struct error *err)
{
	if (!err)
		return -1;
	error_wrap(err, "a VM's record in the store is damaged");
	err->code = ERROR_STORE;
	err->pointer[0] = '\0';
	return error_hint(err, "put /var/lib/horcrux back from a copy, or make the VM anew");
}

int vm_record_parse(const char *text, int64_t mod, struct arena *arena, struct vm_record *ret,
		    struct error *err)
{
	json_t *json = rows_load(text, strlen(text), err);
	struct vm_record vm = { .mod = mod };
	struct stored stored;
	int r = json ? 0 : -1;

	if (!r)
		r = rows_parse(stored_rows, json, "", arena, &stored, err);
	if (!r)
		r = rows_parse(wire_vm_spec_rows, stored.spec, "/spec", arena, &vm.spec, err);
	json_decref(json);
	if (!r && (!vm.spec.id || !vm.spec.name))
		r = error_set(err, ERROR_STORE, "it has no id or no name");
	if (r < 0)
		return damaged(err);
	vm.uuid = stored.uuid;
	vm.created_at = stored.created_at;
	vm.cards = stored.cards;
	vm.accepted = stored.accepted;
	*ret = vm;
	return 0;
}
