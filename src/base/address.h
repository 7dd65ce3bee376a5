/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A PCI address, dddd:bb:dd.f. The domain has four to eight hexadecimal digits (VMD and arm64
 * have domains of their own); everything is lower case. Pure, any thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct pci_address {
	uint32_t domain;
	uint8_t bus;
	uint8_t device;		/* 0..31 */
	uint8_t function;	/* 0..7 */
};

enum { PCI_ADDRESS_TEXT = 20 };	/* room for the text and its NUL */

/* Exactly [0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]; no more, no less. False: out untouched. */
bool pci_address_parse(const char *text, struct pci_address *out);
/* Writes the text into buf and returns buf. */
char *pci_address_format(struct pci_address address, char buf[static PCI_ADDRESS_TEXT]);
/* <0, 0, >0 by domain, bus, device, function. */
int pci_address_compare(struct pci_address a, struct pci_address b);
bool pci_address_equal(struct pci_address a, struct pci_address b);
/* Same domain, bus and device (the functions of one slot). */
bool pci_address_same_slot(struct pci_address a, struct pci_address b);
/* A row check (rows.h): refuses what is not an address, with a hint that shows one. */
int pci_address_check(const char *text, struct error *err);
