/* SPDX-License-Identifier: Apache-2.0 */
/* Field tables: every wrong input names its field; what was never set is null, never a zero. */
#include "unit.h"

#include "base/address.h"
#include "base/rows.h"
#include "wire/text.h"

struct part {
	const char *address;
	int64_t slot;
};

struct machine {
	const char *name;
	int64_t cpus;
	int running;
	int firmware;
	struct part *boot;
	struct list parts, tags, pins;
	struct list notes;
	json_t *extra;
};

static const char *const firmware_words[] = { "uefi", "bios", NULL };
static const struct row part_rows[] = {
	{ "address", ROW_STRING, ROW_REQUIRED, offsetof(struct part, address),
	  .check = pci_address_check },
	{ "slot", ROW_INT, 0, offsetof(struct part, slot), .min = 0, .max = 31 },
	ROW_END,
};

#define M(field) offsetof(struct machine, field)
static const struct row machine_rows[] = {
	{ "name", ROW_STRING, ROW_REQUIRED, M(name), .help = "1 to 8 bytes", .min = 1, .max = 8 },
	{ "cpus", ROW_INT, 0, M(cpus), .help = "1 to 512", .min = 1, .max = 512 },
	{ "running", ROW_BOOL, 0, M(running) },
	{ "firmware", ROW_WORD, 0, M(firmware), .words = firmware_words },
	{ "boot", ROW_OBJECT, 0, M(boot), .rows = part_rows, .size = sizeof(struct part) },
	{ "parts", ROW_OBJECTS, ROW_ONE_OR_MANY, M(parts), .rows = part_rows,
	  .size = sizeof(struct part), .max = 2 },
	{ "tags", ROW_STRINGS, ROW_OPTIONAL, M(tags), .max = 3 },
	{ "pins", ROW_INTS, ROW_OPTIONAL, M(pins) },
	{ "notes", ROW_MAP, ROW_OPTIONAL, M(notes) },
	{ "extra", ROW_JSON, ROW_OPTIONAL, M(extra) },
	ROW_END,
};

static int parse(const char *text, struct arena *arena, struct machine *m, struct error *err)
{
	json_t *json = rows_load(text, strlen(text), err);
	int r = json ? rows_parse(machine_rows, json, "", arena, m, err) : -1;

	json_decref(json);
	return r;
}

static void reads_every_kind(void **state UNUSED)
{
	CLEANUP(arena_freep) struct arena *arena = arena_new();
	struct machine m;
	struct error err;
	const struct part *parts;

	assert_int_equal(parse("{\"name\":\"vm\",\"cpus\":8,\"running\":true,\"firmware\":\"bios\","
			       "\"boot\":{\"address\":\"0000:01:00.0\"},"
			       "\"parts\":[{\"address\":\"0000:02:00.0\",\"slot\":3},"
			       "{\"address\":\"0000:03:00.0\"}],\"tags\":[\"a\",\"b\"],\"pins\":[1,2],"
			       "\"notes\":{\"k\":\"v\"}}",
			       arena, &m, &err), 0);
	assert_string_equal(m.name, "vm");
	assert_int_equal(m.cpus, 8);
	assert_int_equal(m.running, 1);
	assert_int_equal(m.firmware, 1);
	assert_string_equal(m.boot->address, "0000:01:00.0");
	assert_int_equal(m.boot->slot, ROW_NULL);
	parts = m.parts.items;
	assert_int_equal(m.parts.n, 2);
	assert_int_equal(parts[0].slot, 3);
	assert_int_equal(parts[1].slot, ROW_NULL);
	assert_string_equal(((char **)m.tags.items)[1], "b");
	assert_int_equal(((int64_t *)m.pins.items)[1], 2);
	assert_string_equal(((struct row_pair *)m.notes.items)[0].value, "v");
}

static void absent_and_null_are_null(void **state UNUSED)
{
	CLEANUP(arena_freep) struct arena *arena = arena_new();
	struct machine m;
	struct error err;
	json_t *out;
	char *text;

	assert_int_equal(parse("{\"name\":\"vm\",\"cpus\":null}", arena, &m, &err), 0);
	assert_int_equal(m.cpus, ROW_NULL);
	assert_int_equal(m.running, -1);
	assert_null(m.boot);
	assert_true(m.parts.null);
	out = rows_emit(machine_rows, &m);
	text = json_dumps(out, JSON_COMPACT);
	assert_string_equal(text, "{\"name\":\"vm\",\"cpus\":null,\"running\":null,\"firmware\":null,"
				  "\"boot\":null,\"parts\":null}");
	free(text);
	json_decref(out);
}

static void one_counts_as_a_list_of_one(void **state UNUSED)
{
	CLEANUP(arena_freep) struct arena *arena = arena_new();
	struct machine m;
	struct error err;

	assert_int_equal(parse("{\"name\":\"vm\",\"parts\":{\"address\":\"0000:01:00.0\"}}", arena, &m,
			       &err), 0);
	assert_int_equal(m.parts.n, 1);
}

/* Whoever goes by the list says /parts/0; in the request there is no such place. */
static void pointers_lead_to_where_it_was_read(void **state UNUSED)
{
	static const struct {
		const char *bare, *pointer, *told;
	} rows[] = {
		{ "{}", "/parts/0/slot", "/parts/slot" },
		{ "{}", "/parts/0", "/parts" },
		{ "{}", "/parts/1", "/parts/1" },
		{ "{}", "/parts/01", "/parts/01" },
		{ "{}", "/partsy/0", "/partsy/0" },
		{ "{}", "/name", "/name" },
		{ "{}", "", "" },
		{ NULL, "/parts/0/slot", "/parts/0/slot" },
	};
	CLEANUP(arena_freep) struct arena *arena = arena_new();
	struct machine m;
	struct error err;
	json_t *json;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_int_equal(parse(rows[i].bare ? "{\"name\":\"vm\",\"parts\":{\"address\":"
						      "\"0000:01:00.0\"}}"
						    : "{\"name\":\"vm\",\"parts\":[{\"address\":"
						      "\"0000:01:00.0\"}]}",
				       arena, &m, &err),
				 0);
		json = rows_emit(machine_rows, &m); /* as it was read */
		assert_int_equal(json_is_object(json_object_get(json, "parts")),
				 rows[i].bare != NULL);
		json_decref(json);
		error_pointer(&err, "%s", rows[i].pointer);
		rows_pointer(machine_rows, &m, &err);
		assert_string_equal(err.pointer, rows[i].told);
	}
	rows_pointer(machine_rows, &m, NULL);
}

static void wrong_input_names_its_field(void **state UNUSED)
{
	static const struct {
		const char *text;
		enum error_code code;
		const char *pointer;
	} bad[] = {
		{ "{}", ERROR_MISSING_FIELD, "/name" },
		{ "{\"name\":null}", ERROR_MISSING_FIELD, "/name" },
		{ "{\"name\":7}", ERROR_WRONG_TYPE, "/name" },
		{ "{\"name\":\"\"}", ERROR_INVALID_VALUE, "/name" },
		{ "{\"name\":\"too-long-a-name\"}", ERROR_INVALID_VALUE, "/name" },
		{ "{\"name\":\"vm\",\"cpus\":0}", ERROR_INVALID_VALUE, "/cpus" },
		{ "{\"name\":\"vm\",\"cpus\":513}", ERROR_INVALID_VALUE, "/cpus" },
		{ "{\"name\":\"vm\",\"cpus\":1.0}", ERROR_WRONG_TYPE, "/cpus" },
		{ "{\"name\":\"vm\",\"cpus\":\"8\"}", ERROR_WRONG_TYPE, "/cpus" },
		{ "{\"name\":\"vm\",\"running\":1}", ERROR_WRONG_TYPE, "/running" },
		{ "{\"name\":\"vm\",\"firmware\":\"efi\"}", ERROR_INVALID_VALUE, "/firmware" },
		{ "{\"name\":\"vm\",\"boot\":[]}", ERROR_WRONG_TYPE, "/boot" },
		{ "{\"name\":\"vm\",\"boot\":{}}", ERROR_MISSING_FIELD, "/boot/address" },
		{ "{\"name\":\"vm\",\"parts\":[{\"address\":\"x\"}]}", ERROR_INVALID_VALUE,
		  "/parts/0/address" },
		{ "{\"name\":\"vm\",\"parts\":[{\"address\":\"0000:01:00.0\",\"slot\":32}]}",
		  ERROR_INVALID_VALUE, "/parts/0/slot" },
		{ "{\"name\":\"vm\",\"parts\":[1]}", ERROR_WRONG_TYPE, "/parts/0" },
		{ "{\"name\":\"vm\",\"tags\":[\"a\",\"b\",\"c\",\"d\"]}", ERROR_INVALID_VALUE, "/tags" },
		{ "{\"name\":\"vm\",\"tags\":[1]}", ERROR_WRONG_TYPE, "/tags/0" },
		{ "{\"name\":\"vm\",\"pins\":[\"1\"]}", ERROR_WRONG_TYPE, "/pins/0" },
		{ "{\"name\":\"vm\",\"notes\":{\"a\":1}}", ERROR_WRONG_TYPE, "/notes" },
		{ "{\"name\":\"vm\",\"nmae\":1}", ERROR_UNKNOWN_FIELD, "/nmae" },
		{ "{\"name\":\"vm\",\"boot\":{\"x\":1}}", ERROR_UNKNOWN_FIELD, "/boot/x" },
		{ "{\"name\":\"a\",\"name\":\"b\"}", ERROR_BAD_JSON, "" },
		{ "{\"name\":\"a\\u0000b\"}", ERROR_BAD_JSON, "" },
		{ "{\"name\":\"\xff\"}", ERROR_BAD_JSON, "" },
		{ "{\"name\":", ERROR_BAD_JSON, "" },
		{ "", ERROR_BAD_JSON, "" },
		{ "[]", ERROR_WRONG_TYPE, "" },
	};
	CLEANUP(arena_freep) struct arena *arena = arena_new();
	struct machine m;
	struct error err;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(parse(bad[i].text, arena, &m, &err), -1);
		if (err.code != bad[i].code || strcmp(err.pointer, bad[i].pointer))
			fail_msg("%s: %s at %s: %s", bad[i].text, error_code_name(err.code), err.pointer,
				 err.message);
	}
}

static void deep_nesting_is_refused(void **state UNUSED)
{
	char text[200];
	struct error err;

	memset(text, '[', 100);
	memset(text + 100, ']', 100);
	assert_null(rows_load(text, 200, &err));
	assert_int_equal(err.code, ERROR_BAD_JSON);
	assert_non_null(strstr(err.message, "nested"));
}

static void bad_bytes_do_not_break_answers(void **state UNUSED)
{
	struct machine m;
	json_t *out;

	rows_clear(machine_rows, &m);
	m.name = "a\xff" "b";
	out = rows_emit(machine_rows, &m);
	assert_string_equal(json_string_value(json_object_get(out, "name")), "a?b");
	json_decref(out);
}

/* Written at once, it is byte for byte what the tree of it says. */
static void text_is_what_the_tree_says(void **state UNUSED)
{
	static const char *const inputs[] = {
		"{\"name\":\"vm\"}",
		"{\"name\":\"a\\\"b\\\\\",\"cpus\":512,\"running\":false,\"firmware\":\"uefi\"}",
		"{\"name\":\"\\t\\n\\u001f/\",\"running\":true,\"firmware\":\"bios\"}",
		"{\"name\":\"\\u00e4\\u20ac\",\"tags\":[\"\\ud83d\\ude00\",\"\\u007f\",\"\"]}",
		"{\"name\":\"vm\",\"boot\":{\"address\":\"0000:01:00.0\",\"slot\":31}}",
		"{\"name\":\"vm\",\"parts\":{\"address\":\"0000:01:00.0\"}}",
		"{\"name\":\"vm\",\"parts\":[{\"address\":\"0000:01:00.0\"},{\"address\":\"0000:02:00.0\"}]}",
		"{\"name\":\"vm\",\"parts\":[],\"tags\":[],\"pins\":[],\"notes\":{}}",
		"{\"name\":\"vm\",\"pins\":[0,-1,9223372036854775807,-9223372036854775807]}",
		"{\"name\":\"vm\",\"notes\":{\"k\":\"v\",\"\\u00e4\":\"w\"},\"extra\":{\"a\":[1.5,null]}}",
		"{\"name\":\"vm\",\"notes\":{\"k\":\"v\",\"l\":\"w\"},\"extra\":\"x\"}",
	};
	CLEANUP(arena_freep) struct arena *arena = arena_new();
	static struct row_pair twice[] = { { "k", "v" }, { "l", NULL }, { "k", "w\xff" } };
	struct machine m;
	struct error err;
	json_t *json, *tree;
	char *text, *wanted;

	for (size_t i = 0; i <= ARRAY_SIZE(inputs); i++) {
		json = rows_load(inputs[i % ARRAY_SIZE(inputs)], strlen(inputs[i % ARRAY_SIZE(inputs)]), &err);
		assert_non_null(json);
		assert_int_equal(rows_parse(machine_rows, json, "", arena, &m, &err), 0);
		if (i == ARRAY_SIZE(inputs)) {	/* what no request can say */
			m.name = "a\xff\x7f" "b";
			m.notes = (struct list){ .items = twice, .n = 3 };
		}
		tree = rows_emit(machine_rows, &m);
		wanted = json_dumps(tree, JSON_COMPACT);
		text = text_of_rows(machine_rows, &m);
		assert_string_equal(text, wanted);
		free(text);
		free(wanted);
		json_decref(tree);
		json_decref(json);
	}
}

static void schema_tells_the_limits(void **state UNUSED)
{
	json_t *schema = rows_schema(machine_rows, true);
	json_t *fields = json_object_get(schema, "properties");
	json_t *cpus = json_object_get(fields, "cpus");

	assert_int_equal(json_object_size(fields), 10);
	assert_int_equal(json_integer_value(json_object_get(cpus, "maximum")), 512);
	assert_string_equal(json_string_value(json_array_get(json_object_get(schema, "required"), 0)),
			    "name");
	assert_true(json_is_false(json_object_get(schema, "additionalProperties")));
	assert_non_null(json_object_get(json_object_get(fields, "parts"), "oneOf"));
	json_decref(schema);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_every_kind),
		cmocka_unit_test(absent_and_null_are_null),
		cmocka_unit_test(one_counts_as_a_list_of_one),
		cmocka_unit_test(pointers_lead_to_where_it_was_read),
		cmocka_unit_test(wrong_input_names_its_field),
		cmocka_unit_test(deep_nesting_is_refused),
		cmocka_unit_test(bad_bytes_do_not_break_answers),
		cmocka_unit_test(text_is_what_the_tree_says),
		cmocka_unit_test(schema_tells_the_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
