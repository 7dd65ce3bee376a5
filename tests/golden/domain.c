/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Domains: each domain/NAME.json (a spec as a user sends it, and the facts of a machine) gives
 * domain/NAME.xml byte for byte, which libvirt's own schema accepts; or the error in
 * domain/NAME.err. With GOLDEN_WRITE=1 the expected files are written instead (look at the
 * difference, then commit it). The schema is part of libvirt's client library's packages.
 */
#include "../unit/unit.h"

#include <dirent.h>
#include <libxml/relaxng.h>

#include "base/address.h"
#include "base/strbuf.h"
#include "vm/domain_xml.h"

#define SCHEMA "/usr/share/libvirt/schemas/domain.rng"

enum { CASES = 64, FILE_BYTES = 65536 };

static char folder[512];
static xmlRelaxNGPtr schema;

/* ---- a case, by rows ---- */

struct case_card {
	struct list functions;
	const char *rom_path;
	int primary;
	int hide;
};

struct case_facts {
	int kvm;
	struct list cards; /* struct case_card */
	struct list disks; /* struct domain_disk */
	struct list cdrom_paths;
	const char *kernel_path, *initrd_path, *nvram_path;
};

struct golden {
	const char *why;
	json_t *spec;
	struct list taken;
	struct case_facts *facts;
};

#define AT(type, field) offsetof(struct type, field)

static const struct row card_rows[] = {
	{ "functions", ROW_STRINGS, ROW_REQUIRED, AT(case_card, functions),
	  .check = pci_address_check },
	{ "rom_path", ROW_STRING, 0, AT(case_card, rom_path) },
	{ "primary", ROW_BOOL, 0, AT(case_card, primary) },
	{ "hide", ROW_BOOL, 0, AT(case_card, hide) },
	ROW_END,
};

static const struct row disk_rows[] = {
	{ "path", ROW_STRING, ROW_REQUIRED, AT(domain_disk, path) },
	{ "format", ROW_STRING, ROW_REQUIRED, AT(domain_disk, format) },
	ROW_END,
};

static const struct row facts_rows[] = {
	{ "kvm", ROW_BOOL, ROW_REQUIRED, AT(case_facts, kvm) },
	{ "cards", ROW_OBJECTS, 0, AT(case_facts, cards), .rows = card_rows,
	  .size = sizeof(struct case_card) },
	{ "disks", ROW_OBJECTS, 0, AT(case_facts, disks), .rows = disk_rows,
	  .size = sizeof(struct domain_disk) },
	{ "cdrom_paths", ROW_STRINGS, 0, AT(case_facts, cdrom_paths) },
	{ "kernel_path", ROW_STRING, 0, AT(case_facts, kernel_path) },
	{ "initrd_path", ROW_STRING, 0, AT(case_facts, initrd_path) },
	{ "nvram_path", ROW_STRING, 0, AT(case_facts, nvram_path) },
	ROW_END,
};

static const struct row golden_rows[] = {
	{ "why", ROW_STRING, ROW_REQUIRED, AT(golden, why) },
	{ "spec", ROW_JSON, ROW_REQUIRED, AT(golden, spec) },
	{ "taken", ROW_STRINGS, 0, AT(golden, taken) },
	{ "facts", ROW_OBJECT, 0, AT(golden, facts), .rows = facts_rows,
	  .size = sizeof(struct case_facts) },
	ROW_END,
};

static struct domain_facts facts_of(const struct case_facts *c, struct arena *arena)
{
	struct domain_facts facts = { .network = "default" };
	struct domain_card *card;

	if (!c)
		return facts;
	facts.kvm = c->kvm == 1;
	facts.disks = c->disks;
	facts.cdrom_paths = c->cdrom_paths;
	facts.kernel_path = c->kernel_path;
	facts.initrd_path = c->initrd_path;
	facts.nvram_path = c->nvram_path;
	for (LIST_EACH(const struct case_card, it, &c->cards)) {
		card = list_add(arena, &facts.cards, struct domain_card);
		card->rom_path = it->rom_path;
		card->primary = it->primary == 1;
		card->hide = it->hide == 1;
		for (LIST_EACH(const char *, text, &it->functions))
			assert_true(pci_address_parse(
				*text, list_add(arena, &card->functions, struct pci_address)));
	}
	return facts;
}

/* ---- files ---- */

static char *path_of(const char *name, const char *ending, struct arena *arena)
{
	return arena_printf(arena, "%s/%s.%s", folder, name, ending);
}

/* NULL: there is no such file. */
static char *read_text(const char *path, struct arena *arena)
{
	CLEAN_FILE FILE *file = fopen(path, "re");
	char *text = arena_alloc(arena, 1, FILE_BYTES);
	size_t n;

	if (!file)
		return NULL;
	n = fread(text, 1, FILE_BYTES - 1, file);
	assert_true(n < FILE_BYTES - 1);
	text[n] = '\0';
	return text;
}

static void write_text(const char *path, const char *text)
{
	CLEAN_FILE FILE *file = fopen(path, "we");

	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
}

/* ---- one case ---- */

/* What the case gives: the XML and its warnings, or, with *failed, the error. */
static const char *outcome(const struct golden *g, struct arena *arena, bool *failed)
{
	CLEAN_STRBUF struct strbuf out = STRBUF_INIT(FILE_BYTES);
	struct domain_facts facts = facts_of(g->facts, arena);
	struct error err = { 0 };
	struct list warnings = { 0 };
	struct wire_vm_spec spec;
	struct vm_record vm;
	const char *xml = NULL;

	if (rows_parse(wire_vm_spec_rows, g->spec, "", arena, &spec, &err) == 0 &&
	    vm_normalise(&spec, &g->taken, arena, &vm, &err) == 0)
		xml = domain_xml(&vm, &facts, arena, &warnings, &err);
	*failed = !xml;
	if (xml)
		strbuf_add(&out, xml);
	else
		strbuf_printf(&out, "%s\n%s\n%s\n%s\n", error_code_name(err.code), err.pointer,
			      err.message, err.hint);
	for (LIST_EACH(const char *, warning, &warnings))
		strbuf_printf(&out, "<!-- %s -->\n", *warning);
	return arena_strdup(arena, strbuf_text(&out));
}

static void complain(void *name, const char *fmt, ...) PRINTF(2, 3);
static void complain(void *name, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	fprintf(stderr, "%s: ", (const char *)name);
	vfprintf(stderr, fmt, args);
	va_end(args);
}

static void assert_valid(const char *name, const char *xml)
{
	xmlDocPtr doc = xmlReadMemory(xml, (int)strlen(xml), NULL, NULL, XML_PARSE_NONET);
	xmlRelaxNGValidCtxtPtr valid = xmlRelaxNGNewValidCtxt(schema);
	char who[128];
	int r;

	assert_non_null(doc);
	snprintf(who, sizeof(who), "%s", name);
	xmlRelaxNGSetValidErrors(valid, complain, complain, who);
	r = xmlRelaxNGValidateDoc(valid, doc);
	xmlRelaxNGFreeValidCtxt(valid);
	xmlFreeDoc(doc);
	assert_int_equal(r, 0);
}

static void compare(const char *name, const char *is, bool failed, struct arena *arena)
{
	const char *path = path_of(name, failed ? "err" : "xml", arena);
	const char *other = path_of(name, failed ? "xml" : "err", arena);
	const char *expected;

	if (getenv("GOLDEN_WRITE")) {
		write_text(path, is);
		unlink(other);
		return;
	}
	expected = read_text(path, arena);
	if (!expected)
		fail_msg("%s is not there (GOLDEN_WRITE=1 writes it); the outcome is:\n%s", path,
			 is);
	assert_string_equal(is, expected);
	assert_int_not_equal(access(other, F_OK), 0);
}

static void test_case(void **state)
{
	const char *name = *state, *is;
	struct arena *arena = arena_new();
	struct error err = { 0 };
	struct golden g;
	bool failed;
	char *text = read_text(path_of(name, "json", arena), arena);
	json_t *json = rows_load(text, strlen(text), &err);

	if (!json || rows_parse(golden_rows, json, "", arena, &g, &err) < 0)
		fail_msg("%s.json: %s %s", name, err.pointer, err.message);
	is = outcome(&g, arena, &failed);
	compare(name, is, failed, arena);
	if (!failed)
		assert_valid(name, is);
	json_decref(json);
	arena_free(arena);
}

static void say_nothing(void *unused UNUSED, const char *fmt UNUSED, ...)
{
}

/* The check itself: what the schema must not accept, it does not. */
static void test_schema_refuses(void **state UNUSED)
{
	xmlDocPtr doc = xmlReadDoc((const xmlChar *)"<domain type='kvm'><nonsense/></domain>", NULL,
				   NULL, 0);
	xmlRelaxNGValidCtxtPtr valid = xmlRelaxNGNewValidCtxt(schema);

	xmlRelaxNGSetValidErrors(valid, say_nothing, say_nothing, NULL);
	assert_int_not_equal(xmlRelaxNGValidateDoc(valid, doc), 0);
	xmlRelaxNGFreeValidCtxt(valid);
	xmlFreeDoc(doc);
}

static int load_schema(void **state UNUSED)
{
	xmlRelaxNGParserCtxtPtr parser = xmlRelaxNGNewParserCtxt(SCHEMA);

	schema = xmlRelaxNGParse(parser);
	xmlRelaxNGFreeParserCtxt(parser);
	if (!schema)
		fprintf(stderr, "%s cannot be read: it comes with libvirt0 or libvirt-common\n",
			SCHEMA);
	return schema ? 0 : -1;
}

static int drop_schema(void **state UNUSED)
{
	xmlRelaxNGFree(schema);
	xmlCleanupParser();
	return 0;
}

static int is_case(const struct dirent *entry)
{
	const char *dot = strrchr(entry->d_name, '.');

	return dot && !strcmp(dot, ".json");
}

int main(void)
{
	static struct CMUnitTest tests[CASES + 1];
	const char *root = getenv("SOURCE_ROOT");
	struct dirent **entries = NULL;
	int n, r;

	snprintf(folder, sizeof(folder), "%s/tests/golden/domain", root ? root : ".");
	n = scandir(folder, &entries, is_case, alphasort);
	if (n < 1 || n > CASES) {
		fprintf(stderr, "%s: %d cases, 1 to %d are wanted\n", folder, n, CASES);
		return 1;
	}
	for (int i = 0; i < n; i++) {
		*strrchr(entries[i]->d_name, '.') = '\0';
		tests[i] = (struct CMUnitTest){ entries[i]->d_name, test_case, NULL, NULL,
						entries[i]->d_name };
	}
	tests[n] = (struct CMUnitTest)cmocka_unit_test(test_schema_refuses);
	r = _cmocka_run_group_tests("domain", tests, (size_t)n + 1, load_schema, drop_schema);
	for (int i = 0; i < n; i++)
		free(entries[i]);
	free(entries);
	return r;
}
