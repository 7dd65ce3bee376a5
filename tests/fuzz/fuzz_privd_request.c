/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a message to privd, a request or a chain of them. What is taken must hold what the
 * operations rely on: names that are one path segment, addresses that are addresses, lists within
 * their bounds, and in a chain an id of its own for each.
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

static void check_chain(const struct privd_chain *chain, size_t n)
{
	static struct privd_chain again;

	must(chain->n >= 1 && chain->n <= PRIVD_CHAIN_MAX && n == privd_chain_size(chain->n));
	for (uint32_t i = 0; i < chain->n; i++) {
		check_taken(&chain->request[i]);
		must(privd_op_chains(chain->request[i].header.op));
		for (uint32_t k = 0; k < i; k++)
			must(chain->request[i].header.id != chain->request[k].header.id);
	}
	must(!privd_message_check(chain, n, &again) && !memcmp(chain, &again, n));
}

static void check_message(const uint8_t *bytes, size_t n)
{
	static struct privd_chain chain;

	if (privd_message_check(bytes, n, &chain))
		return;
	must(!memcmp(bytes, &chain.header, sizeof(chain.header)));
	if (chain.header.op == PRIVD_CHAIN) {
		check_chain(&chain, n);
		return;
	}
	must(chain.n == 1 && n == sizeof(chain.request[0]));
	must(!memcmp(bytes, &chain.request[0], n));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	struct privd_request r, again;

	check_message(bytes, n);
	if (privd_request_check(bytes, n, &r))
		return 0;
	check_taken(&r);
	must(!privd_request_check(&r, sizeof(r), &again) && !memcmp(&r, &again, sizeof(r)));
	return 0;
}
