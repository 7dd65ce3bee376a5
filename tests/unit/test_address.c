/* SPDX-License-Identifier: Apache-2.0 */
/* PCI addresses: what is one, what is none. */
#include "unit.h"

#include "base/address.h"

static void reads_addresses(void **state UNUSED)
{
	static const struct {
		const char *text;
		struct pci_address address;
	} good[] = {
		{ "0000:01:00.0", { 0, 1, 0, 0 } },	   { "0000:ff:1f.7", { 0, 0xff, 31, 7 } },
		{ "10000:01:02.3", { 0x10000, 1, 2, 3 } }, { "ffffffff:00:00.0", { 0xffffffff, 0, 0, 0 } },
		{ "0009:01:00.0", { 9, 1, 0, 0 } },
	};
	struct pci_address a;
	char text[PCI_ADDRESS_TEXT];

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		assert_true(pci_address_parse(good[i].text, &a));
		assert_true(pci_address_equal(a, good[i].address));
		assert_string_equal(pci_address_format(a, text), good[i].text);
	}
}

static void refuses_others(void **state UNUSED)
{
	static const char *const bad[] = {
		"",		 "01:00.0",	  "0000:01:00",	  "0000:01:00.8",  "0000:01:20.0",
		"0000:01:00.0 ", " 0000:01:00.0", "0000:1:00.0",  "000:01:00.0",   "0000:01:00.00",
		"0000:0G:00.0",	 "0000:01:00.0\n", "0000:AB:00.0", "000000000:01:00.0", "0000-01-00.0",
		"../0000:01:00.0",
	};
	struct pci_address a = { 7, 7, 7, 7 };
	struct error err;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_false(pci_address_parse(bad[i], &a));
		assert_int_equal(a.domain, 7);
		assert_int_equal(pci_address_check(bad[i], &err), -1);
		assert_int_equal(err.code, ERROR_INVALID_VALUE);
		assert_non_null(strstr(err.hint, "0000:01:00.0"));
	}
}

static void orders(void **state UNUSED)
{
	static const char *const sorted[] = { "0000:00:1f.7", "0000:01:00.0", "0000:01:00.1",
					      "0000:01:01.0", "0001:00:00.0", "10000:00:00.0" };
	struct pci_address a, b;

	for (size_t i = 0; i + 1 < ARRAY_SIZE(sorted); i++) {
		pci_address_parse(sorted[i], &a);
		pci_address_parse(sorted[i + 1], &b);
		assert_true(pci_address_compare(a, b) < 0);
		assert_true(pci_address_compare(b, a) > 0);
		assert_int_equal(pci_address_compare(a, a), 0);
	}
	pci_address_parse("0000:01:00.0", &a);
	pci_address_parse("0000:01:00.1", &b);
	assert_true(pci_address_same_slot(a, b));
	pci_address_parse("0001:01:00.1", &b);
	assert_false(pci_address_same_slot(a, b));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_addresses),
		cmocka_unit_test(refuses_others),
		cmocka_unit_test(orders),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
