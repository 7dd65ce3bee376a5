/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Specs of VMs: names that are chosen, what is refused with the field it is in, that normalising
 * twice is normalising once, and the record in the store, whole and damaged.
 */
#include "unit.h"

#include "vm/spec.h"

static struct arena *arena;

static int make_arena(void **state UNUSED)
{
	arena = arena_new();
	return 0;
}

static int drop_arena(void **state UNUSED)
{
	arena_free(arena);
	return 0;
}

/* The spec that this JSON says, as a request's. ' stands for ". */
static struct wire_vm_spec spec_of(const char *json)
{
	char *text = arena_strdup(arena, json);
	struct wire_vm_spec spec;
	struct error err = { 0 };
	json_t *parsed;

	for (char *c = text; *c; c++)
		*c = *c == '\'' ? '"' : *c;
	parsed = rows_load(text, strlen(text), &err);
	assert_non_null(parsed);
	if (rows_parse(wire_vm_spec_rows, parsed, "", arena, &spec, &err) < 0)
		fail_msg("%s: %s", err.pointer, err.message);
	json_decref(parsed);
	return spec;
}

static struct vm_record normal(const char *json)
{
	struct wire_vm_spec spec = spec_of(json);
	struct vm_record vm;
	struct error err = { 0 };

	if (vm_normalise(&spec, &(struct list){ 0 }, arena, &vm, &err) < 0)
		fail_msg("%s: %s", err.pointer, err.message);
	return vm;
}

static char *text_of(const struct wire_vm_spec *spec)
{
	json_t *json = rows_emit(wire_vm_spec_rows, spec);
	char *text = json_dumps(json, JSON_COMPACT), *ret = arena_strdup(arena, text);

	free(text);
	json_decref(json);
	return ret;
}

#define SMALL "'cpus':1,'memory':512"

static const char *id_from(const char *name, const struct list *taken)
{
	struct wire_vm_spec spec = spec_of("{" SMALL "}");
	struct vm_record vm;
	struct error err = { 0 };

	spec.name = name;
	assert_int_equal(vm_normalise(&spec, taken, arena, &vm, &err), 0);
	if (name)
		assert_string_equal(vm.spec.name, name);
	else
		assert_string_equal(vm.spec.name, vm.spec.id);
	assert_int_equal(wire_vm_id_check(vm.spec.id, &err), 0);
	return vm.spec.id;
}

static void test_ids_from_names(void **state UNUSED)
{
	static const struct {
		const char *name, *id;
	} rows[] = {
		{ "GPU workstation", "gpu-workstation" },
		{ "  a  b  ", "a-b" },
		{ "win11", "win11" },
		{ "---", "vm" },
		{ "显卡", "vm" },
		{ "Größe", "gr-e" },
		{ "../../etc", "etc" },
		{ NULL, "vm" },
		{ "a very long name that goes on and on and on and on",
		  "a-very-long-name-that-goes-on-and-on-and" },
	};
	struct list taken = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		assert_string_equal(id_from(rows[i].name, &taken), rows[i].id);
	list_add_string(arena, &taken, "win11");
	assert_string_equal(id_from("win11", &taken), "win11-2");
	list_add_string(arena, &taken, "win11-2");
	assert_string_equal(id_from("win11", &taken), "win11-3");
	assert_string_equal(id_from("win", &taken), "win");
}

static void test_defaults(void **state UNUSED)
{
	struct vm_record vm = normal("{'id':'a'," SMALL "}");
	const struct wire_network *nic = vm.spec.network.items;

	assert_string_equal(vm.spec.name, "a");
	assert_int_equal(vm.spec.os, OS_LINUX);
	assert_int_equal(vm.spec.firmware, FIRMWARE_UEFI);
	assert_int_equal(vm.spec.hide_hypervisor, HIDE_AUTO);
	assert_int_equal(vm.spec.autostart, 0);
	assert_int_equal(vm.spec.start, -1);
	assert_int_equal(vm.spec.disks.n, 0);
	assert_int_equal(vm.spec.network.n, 1);
	assert_int_equal(nic->kind, NETWORK_NAT);
	assert_false(vm.spec.cdrom.null);
	assert_int_equal(vm.mod, 0);
}

/* Made from the id alone: the same on any host and day, and another for another id. */
static void test_names_are_derived(void **state UNUSED)
{
	struct vm_record a = normal("{'id':'vm-100','disk_size':1," SMALL "}");
	struct vm_record b = normal(
		"{'id':'vm-100','network':[{'kind':'nat'},{'kind':'nat'}]," SMALL "}");
	struct vm_record c = normal("{'id':'vm-101'," SMALL "}");
	const struct wire_network *na = a.spec.network.items, *nb = b.spec.network.items,
				  *nc = c.spec.network.items;
	const struct wire_disk *disk = a.spec.disks.items;

	assert_string_equal(a.uuid, "259e6198-c878-88db-9fdb-b0fe352a8e59");
	assert_string_equal(a.uuid, b.uuid);
	assert_string_not_equal(a.uuid, c.uuid);
	assert_string_equal(na->mac, "52:54:00:47:00:b1");
	assert_string_equal(na->mac, nb[0].mac);
	assert_string_not_equal(nb[0].mac, nb[1].mac);
	assert_string_not_equal(na->mac, nc->mac);
	assert_string_equal(disk->volume, "vm-100.qcow2");
	assert_int_equal(disk->size, 1);
	assert_int_equal(a.spec.disk_size, ROW_NULL);
	assert_string_equal(vm_disk_volume(&a, 0, arena), "vm-100.qcow2");
	assert_string_equal(vm_disk_volume(&a, 3, arena), "vm-100.3.qcow2");
	assert_string_equal(vm_nvram_volume(&a, arena), "vm-100.nvram");
}

static void test_cards(void **state UNUSED)
{
	struct vm_record vm = normal("{'id':'a','gpu_passthrough':[{'pci_address':'00000:41:00.0'},"
				     "{'pci_address':'0000:01:00.0','multifunction':false,"
				     "'primary_gpu':true,'rom_file':'a.rom'}]," SMALL "}");
	const struct wire_passthrough *card = vm.spec.gpu_passthrough.items;

	assert_int_equal(vm.spec.gpu_passthrough.n, 2);
	assert_string_equal(card[0].pci_address, "0000:41:00.0");
	assert_int_equal(card[0].multifunction, 1);
	assert_int_equal(card[0].primary_gpu, 0);
	assert_null(card[0].rom_file);
	assert_int_equal(card[1].multifunction, 0);
	assert_int_equal(card[1].primary_gpu, 1);
	assert_string_equal(card[1].rom_file, "a.rom");
}

static void test_refused(void **state UNUSED)
{
	static const struct {
		const char *json, *pointer;
	} rows[] = {
		{ "{'disk_size':1,'disks':[{'size':1}]," SMALL "}", "/disk_size" },
		{ "{'disks':[{}]," SMALL "}", "/disks/0" },
		{ "{'disks':[{'size':1},{'size':2,'volume':'x'}]," SMALL "}", "/disks/1" },
		{ "{'disks':[{'volume':'x'},{'volume':'x'}]," SMALL "}", "/disks/1/volume" },
		{ "{'id':'a','disks':[{'volume':'a.1.qcow2'},{'size':1}]," SMALL "}",
		  "/disks/1/volume" },
		{ "{'gpu_passthrough':[{'pci_address':'0000:01:00.0'},{'pci_address':'0000:02:00.0'"
		  "},"
		  "{'pci_address':'0000:01:00.0'}]," SMALL "}",
		  "/gpu_passthrough/2/pci_address" },
		{ "{'gpu_passthrough':[{'pci_address':'0000:01:00.0','primary_gpu':true},"
		  "{'pci_address':'0000:02:00.0','primary_gpu':true}]," SMALL "}",
		  "/gpu_passthrough/1/primary_gpu" },
		{ "{'network':[{'kind':'nat','mac':'52:54:00:12:34'}]," SMALL "}",
		  "/network/0/mac" },
		{ "{'network':[{'kind':'nat','mac':'52-54-00-12-34-56'}]," SMALL "}",
		  "/network/0/mac" },
		{ "{'network':[{'kind':'nat','mac':'53:54:00:12:34:56'}]," SMALL "}",
		  "/network/0/mac" },
		{ "{'network':[{'kind':'nat','mac':'52:54:00:12:34:567'}]," SMALL "}",
		  "/network/0/mac" },
		{ "{'network':[{'kind':'nat'},{'kind':'none'}]," SMALL "}", "/network/1" },
		{ "{'network':[{'kind':'none'},{'kind':'none'}]," SMALL "}", "/network/0" },
		{ "{'network':[{'kind':'none','mac':'52:54:00:12:34:56'}]," SMALL "}",
		  "/network/0/mac" },
		{ "{'network':[{'kind':'nat','mac':'52:54:00:12:34:AB'},{'kind':'nat'},"
		  "{'kind':'nat','mac':'52:54:00:12:34:ab'}]," SMALL "}",
		  "/network/2/mac" },
		{ "{'disks':[{'volume':'x'}],'cdrom':['y','x']," SMALL "}", "/cdrom/1" },
		{ "{'id':'a','disk_size':1,'boot':{'kernel':'a.qcow2'}," SMALL "}", "/boot/kernel" },
		{ "{'disks':[{'volume':'x'}],'boot':{'kernel':'k','initrd':'x'}," SMALL "}",
		  "/boot/initrd" },
	};
	struct wire_vm_spec spec;
	struct vm_record vm = { .uuid = "untouched" };
	struct error err;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		spec = spec_of(rows[i].json);
		err = (struct error){ 0 };
		assert_int_equal(vm_normalise(&spec, &(struct list){ 0 }, arena, &vm, &err), -1);
		assert_int_equal(err.code, ERROR_INVALID_VALUE);
		assert_string_equal(err.pointer, rows[i].pointer);
		assert_string_not_equal(err.hint, "");
		assert_string_equal(vm.uuid, "untouched");
	}
}

static const char *const wholes[] = {
	"{'id':'a'," SMALL "}",
	"{'name':'GPU workstation','start':true,'autostart':true,'disk_size':20," SMALL "}",
	"{'id':'b','disks':[{'size':1},{'volume':'old.raw'},{'size':3}],'cdrom':['a.iso']," SMALL
	"}",
	"{'id':'c','network':[{'kind':'nat'},{'kind':'nat','mac':'52:54:00:AA:00:01'}]," SMALL "}",
	"{'id':'f','network':{'kind':'none'}," SMALL "}",
	"{'id':'d','network':[],'os':'windows','firmware':'bios','hide_hypervisor':'on'," SMALL "}",
	"{'id':'e','boot':{'kernel':'k','cmdline':'a "
	"b'},'gpu_passthrough':{'pci_address':'0000:01:00.0',"
	"'rom_file':'x.rom','primary_gpu':true}," SMALL "}",
};

static void test_idempotent(void **state UNUSED)
{
	struct error err = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(wholes); i++) {
		struct vm_record once = normal(wholes[i]), twice;
		struct list taken = { 0 };

		list_add_string(arena, &taken, once.spec.id);
		assert_int_equal(vm_normalise(&once.spec, &taken, arena, &twice, &err), 0);
		assert_string_equal(text_of(&once.spec), text_of(&twice.spec));
		assert_string_equal(once.uuid, twice.uuid);
		/* and through JSON, as a user may send back what he was shown */
		twice = normal(text_of(&once.spec));
		assert_string_equal(text_of(&once.spec), text_of(&twice.spec));
	}
}

static void test_record(void **state UNUSED)
{
	struct error err = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(wholes); i++) {
		struct vm_record vm = normal(wholes[i]), back;
		CLEAN_FREE char *text = NULL;

		vm.created_at = "2026-01-31T12:00:00.000Z";
		list_add_string(arena, &vm.cards, i % 2 ? "card-1" : "");
		list_add_string(arena, &vm.accepted, "no_reset");
		text = vm_record_print(&vm);
		assert_non_null(text);
		assert_null(strstr(text, "\"start\""));
		assert_int_equal(vm_record_parse(text, 7, arena, &back, &err), 0);
		assert_int_equal(back.mod, 7);
		assert_string_equal(back.uuid, vm.uuid);
		assert_string_equal(back.created_at, vm.created_at);
		assert_string_equal(text_of(&back.spec), text_of(&vm.spec));
		assert_int_equal(back.accepted.n, 1);
		assert_string_equal(*(const char **)back.accepted.items, "no_reset");
		assert_null(vm_card_meant(&back, 1));
		if (i % 2)
			assert_string_equal(vm_card_meant(&back, 0), "card-1");
		else
			assert_null(vm_card_meant(&back, 0)); /* not known */
	}
}

/* As it was before cards were noted. */
static void test_old_record(void **state UNUSED)
{
	static const char old[] = "{\"uuid\":\"259e6198-c878-88db-9fdb-b0fe352a8e59\",\"spec\":{\"id\":"
				  "\"a\",\"name\":\"a\",\"cpus\":1,\"memory\":64}}";
	struct vm_record vm;
	struct error err;

	assert_int_equal(vm_record_parse(old, 1, arena, &vm, &err), 0);
	assert_null(vm_card_meant(&vm, 0));
	assert_int_equal(vm.accepted.n, 0);
}

/* A file of ours that is bad is never the fault of the request that made us read it. */
static void test_damaged_record(void **state UNUSED)
{
	struct vm_record vm = normal("{'id':'a'," SMALL "}"), back = { .uuid = "untouched" };
	CLEAN_FREE char *whole = vm_record_print(&vm);
	static const char *const rows[] = {
		"",
		"{}",
		"[]",
		"null",
		"{\"uuid\":\"short\",\"spec\":{}}",
		"{\"uuid\":\"259e6198-c878-88db-9fdb-b0fe352a8e59\"}",
		"{\"uuid\":\"259e6198-c878-88db-9fdb-b0fe352a8e59\",\"spec\":{}}",
		"{\"uuid\":\"259e6198-c878-88db-9fdb-b0fe352a8e59\",\"spec\":7}",
		"{\"uuid\":\"259e6198-c878-88db-9fdb-b0fe352a8e59\",\"spec\":{\"cpus\":1,"
		"\"memory\":64}}",
		"{\"uuid\":\"259e6198-c878-88db-9fdb-b0fe352a8e59\",\"spec\":{\"cpus\":1,"
		"\"memory\":64,"
		"\"id\":\"../x\",\"name\":\"x\"}}",
	};
	struct error err;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		err = (struct error){ 0 };
		assert_int_equal(vm_record_parse(rows[i], 1, arena, &back, &err), -1);
		assert_int_equal(err.code, ERROR_STORE);
		assert_string_equal(err.pointer, "");
		assert_string_equal(back.uuid, "untouched");
	}
	for (size_t n = 0; n < strlen(whole); n++) { /* torn at any byte */
		char *torn = arena_strndup(arena, whole, n);

		assert_int_equal(vm_record_parse(torn, 1, arena, &back, &err), -1);
		assert_int_equal(err.code, ERROR_STORE);
	}
	assert_int_equal(vm_record_parse("{", 1, arena, &back, NULL), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_ids_from_names, make_arena, drop_arena),
		cmocka_unit_test_setup_teardown(test_defaults, make_arena, drop_arena),
		cmocka_unit_test_setup_teardown(test_names_are_derived, make_arena, drop_arena),
		cmocka_unit_test_setup_teardown(test_cards, make_arena, drop_arena),
		cmocka_unit_test_setup_teardown(test_refused, make_arena, drop_arena),
		cmocka_unit_test_setup_teardown(test_idempotent, make_arena, drop_arena),
		cmocka_unit_test_setup_teardown(test_record, make_arena, drop_arena),
		cmocka_unit_test_setup_teardown(test_old_record, make_arena, drop_arena),
		cmocka_unit_test_setup_teardown(test_damaged_record, make_arena, drop_arena),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
