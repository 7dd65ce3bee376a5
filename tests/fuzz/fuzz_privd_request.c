/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a request to privd. What is taken must hold what the operations rely on: names that
 * are one path segment, addresses that are addresses, lists within their bounds.
 */
#include <stdlib.h>
#include <string.h>

#include "base/address.h"
#include "fuzz.h"
#include "privd/protocol.h"

static void must(bool holds)
{
	if (!holds)
		abort();
}

static void check_address(const struct privd_address *a)
{
	struct pci_address address = { a->domain, a->bus, a->device, a->function }, again;
	char text[PCI_ADDRESS_TEXT];

	must(a->set == 1);
	must(pci_address_parse(pci_address_format(address, text), &again));
	must(pci_address_equal(address, again));
}

static void check_taken(const struct privd_request *r)
{
	char words[128];

	must(strcmp(privd_op_name(r->header.op), "none") &&
	     strcmp(privd_op_name(r->header.op), "late"));
	must(memchr(r->name, '\0', sizeof(r->name)) != NULL);
	must(!strpbrk(r->name, "/. \n"));
	must(r->n_addresses <= PRIVD_ADDRESSES && r->n_classes <= PRIVD_CLASSES);
	if (r->address.set)
		check_address(&r->address);
	for (uint32_t i = 0; i < r->n_addresses; i++)
		check_address(&r->addresses[i]);
	if (privd_reset_unpack(r->value, words, sizeof(words)))
		must(strlen(words) < sizeof(words) && words[0]);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	struct privd_request r, again;

	if (privd_request_check(bytes, n, &r))
		return 0;
	check_taken(&r);
	must(!privd_request_check(&r, sizeof(r), &again) && !memcmp(&r, &again, sizeof(r)));
	return 0;
}
