/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading what libvirt says of domains, ours and others': the mark, the functions that they have.
 * What is written is in tests/golden/domain.
 */
#include "unit.h"

#include "vm/domain_xml.h"

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

#define SOURCE(bus, function)                                                                      \
	"<source><address domain='0x0000' bus='" bus "' slot='0x00' function='" function           \
	"'/></source>"

static void test_memory_of_what_runs(void **state UNUSED)
{
	assert_int_equal(domain_xml_memory_mib("<domain><memory unit='KiB'>1048576</memory></domain>"),
			 1024);
	assert_int_equal(domain_xml_memory_mib("<domain><memory>2048</memory></domain>"), 2);
	assert_int_equal(domain_xml_memory_mib("<domain><memory unit='MiB'>64</memory></domain>"), 64);
	assert_int_equal(domain_xml_memory_mib("<domain><memory unit='GiB'>64</memory></domain>"), 0);
	assert_int_equal(domain_xml_memory_mib("<domain/>"), 0);
	assert_int_equal(domain_xml_memory_mib("no XML"), 0);
}

static void test_hostdevs(void **state UNUSED)
{
	/* Four kinds that have a function of the host, and all that looks like one and is none. */
	static const char xml[] =
		"<domain><devices>"
		"<hostdev mode='subsystem' type='pci' managed='yes'>" SOURCE(
			"0x01",
			"0x0") "<address type='pci' domain='0x0000' bus='0x09' slot='0x00' "
			       "function='0x7'/></hostdev>"
			       "<hostdev mode='subsystem' type='pci'><driver name='vfio'/>" SOURCE(
				       "0x01",
				       "0x1") "</hostdev>"
					      "<interface type='hostdev'>" SOURCE(
						      "0x3b",
						      "0x2") "</interface>"
							     "<interface "
							     "type='hostdev'><source><address "
							     "type='pci' domain='0x10000' "
							     "bus='0xe1' "
							     "slot='0x1f' "
							     "function='0x5'/></source></interface>"
							     "<disk type='nvme' "
							     "device='disk'><source type='pci' "
							     "managed='yes' namespace='1'>"
							     "<address domain='0x0000' bus='0x65' "
							     "slot='0x00' "
							     "function='0x0'/></source></disk>"
							     "<hostdev mode='subsystem' "
							     "type='usb'><source><vendor "
							     "id='0x1234'/></source></hostdev>"
							     "<hostdev mode='subsystem' "
							     "type='mdev'><source><address "
							     "uuid='x'/></source></hostdev>"
							     "<hostdev mode='subsystem' "
							     "type='pci'/>"
							     "<hostdev mode='subsystem' "
							     "type='pci'>" SOURCE(
								     "0x100",
								     "0x0") "</hostdev>"
									    "<hostdev "
									    "mode='subsystem' "
									    "type='pci'>" SOURCE(
										    "0x01",
										    "0x8") "</"
											   "hostdev"
											   ">"
											   "<hostde"
											   "v "
											   "mode='"
											   "subsyst"
											   "em' "
											   "type='"
											   "pci'"
											   ">" SOURCE(
												   "0x01",
												   "0x0z") "</hostdev>"
													   "<hostdev mode='subsystem' type='pci'>" SOURCE(
														   "",
														   "0x0") "</hostdev>"
															  "<interface type='network'>" SOURCE(
																  "0x77",
																  "0x0") "</interface>"
																	 "<disk type='file'>" SOURCE(
																		 "0x78",
																		 "0x0") "</disk>"
																			"</devices></domain>";
	static const struct pci_address expected[] = { { 0, 0x01, 0, 0 },
						       { 0, 0x01, 0, 1 },
						       { 0, 0x3b, 0, 2 },
						       { 0x10000, 0xe1, 0x1f, 5 },
						       { 0, 0x65, 0, 0 } };
	struct list found = { 0 };
	const struct pci_address *is;

	assert_int_equal(domain_xml_hostdevs(xml, arena, &found), ARRAY_SIZE(expected));
	is = found.items;
	for (size_t i = 0; i < ARRAY_SIZE(expected); i++)
		assert_true(pci_address_equal(is[i], expected[i]));
}

static void test_no_hostdevs(void **state UNUSED)
{
	static const char *const rows[] = { "",
					    "no XML",
					    "<domain",
					    "<domain/>",
					    "<domain><devices/></domain>",
					    "<x><hostdev type='pci'>" SOURCE(
						    "0x01", "0x0") "</hostdev></x>" };
	struct list found = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		assert_int_equal(domain_xml_hostdevs(rows[i], arena, &found), 0);
}

#define MARK(inside) "<domain><metadata>" inside "</metadata></domain>"
#define OURS	     "<h:vm xmlns:h='urn:horcrux:vm:1' id='vm-1' started='2026-01-31T12:00:00.000Z'/>"

static void test_mark(void **state UNUSED)
{
	struct domain_mark mark = domain_xml_mark(
		MARK("<vm id='other'/><vm xmlns='urn:someone:else' id='other'/>" OURS), arena);

	assert_string_equal(mark.vm, "vm-1");
	assert_string_equal(mark.started_at, "2026-01-31T12:00:00.000Z");
	mark = domain_xml_mark(MARK("<vm xmlns='urn:horcrux:vm:1' id='a&amp;b'/>"), arena);
	assert_string_equal(mark.vm, "a&b");
	assert_null(mark.started_at);
}

static void test_no_mark(void **state UNUSED)
{
	static const char *const rows[] = {
		"",
		"no XML",
		"<domain/>",
		MARK(""),
		MARK("<vm id='x'/>"),
		MARK("<h:vm xmlns:h='urn:horcrux:vm:2' id='x'/>"),
		MARK("<h:other xmlns:h='urn:horcrux:vm:1' id='x'/>"),
		MARK("<h:vm xmlns:h='urn:horcrux:vm:1'/>"),
		"<domain><name>x</name>" OURS "</domain>",
		"<!DOCTYPE d [<!ENTITY e SYSTEM 'file:///etc/passwd'>]>" MARK(
			"<h:vm xmlns:h='urn:horcrux:vm:2' id='&e;'/>"),
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_null(domain_xml_mark(rows[i], arena).vm);
		assert_null(domain_xml_mark(rows[i], arena).started_at);
	}
}

static void test_started(void **state UNUSED)
{
	static const char *const unmarked[] = { "no XML", MARK(""), "<domain/>" };
	const char *once = domain_xml_started(MARK("<h:vm xmlns:h='urn:horcrux:vm:1' id='é'/>"),
					      "now", arena);
	const char *twice = domain_xml_started(once, "later", arena);

	assert_string_equal(domain_xml_mark(once, arena).started_at, "now");
	assert_string_equal(domain_xml_mark(once, arena).vm, "é");
	assert_string_equal(domain_xml_mark(twice, arena).started_at, "later");
	assert_int_equal(strlen(twice), strlen(once) + 2);
	for (size_t i = 0; i < ARRAY_SIZE(unmarked); i++)
		assert_ptr_equal(domain_xml_started(unmarked[i], "now", arena), unmarked[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_hostdevs, make_arena, drop_arena),
		cmocka_unit_test_setup_teardown(test_no_hostdevs, make_arena, drop_arena),
		cmocka_unit_test_setup_teardown(test_mark, make_arena, drop_arena),
		cmocka_unit_test_setup_teardown(test_no_mark, make_arena, drop_arena),
		cmocka_unit_test_setup_teardown(test_started, make_arena, drop_arena),
		cmocka_unit_test_setup_teardown(test_memory_of_what_runs, make_arena, drop_arena),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
