/* SPDX-License-Identifier: Apache-2.0 */
/* See address.h. */
#include "base/address.h"

#include <stdio.h>
#include <string.h>

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

/* Reads min..max hex digits at *text and moves past them; false when there are not so many. */
static bool hex_field(const char **text, int min, int max, uint32_t *value)
{
	uint32_t v = 0;
	int n = 0;

	for (; n < max && hex_digit(**text) >= 0; n++, (*text)++)
		v = v << 4 | (uint32_t)hex_digit(**text);
	*value = v;
	return n >= min;
}

static bool character(const char **text, char c)
{
	if (**text != c)
		return false;
	(*text)++;
	return true;
}

bool pci_address_parse(const char *text, struct pci_address *out)
{
	uint32_t domain, bus, device, function;

	if (!hex_field(&text, 4, 8, &domain) || !character(&text, ':') ||
	    !hex_field(&text, 2, 2, &bus) || !character(&text, ':') ||
	    !hex_field(&text, 2, 2, &device) || !character(&text, '.') ||
	    !hex_field(&text, 1, 1, &function) || *text || device > 31 || function > 7)
		return false;
	*out = (struct pci_address){ domain, (uint8_t)bus, (uint8_t)device, (uint8_t)function };
	return true;
}

char *pci_address_format(struct pci_address a, char buf[static PCI_ADDRESS_TEXT])
{
	snprintf(buf, PCI_ADDRESS_TEXT, "%04x:%02x:%02x.%x", (unsigned)a.domain, a.bus, a.device & 31u,
		 a.function & 7u);
	return buf;
}

int pci_address_compare(struct pci_address a, struct pci_address b)
{
	if (a.domain != b.domain)
		return a.domain < b.domain ? -1 : 1;
	return ((int)a.bus << 8 | a.device << 3 | a.function) -
	       ((int)b.bus << 8 | b.device << 3 | b.function);
}

bool pci_address_equal(struct pci_address a, struct pci_address b)
{
	return pci_address_compare(a, b) == 0;
}

bool pci_address_same_slot(struct pci_address a, struct pci_address b)
{
	return a.domain == b.domain && a.bus == b.bus && a.device == b.device;
}

int pci_address_check(const char *text, struct error *err)
{
	struct pci_address unused;

	if (pci_address_parse(text, &unused))
		return 0;
	error_set(err, ERROR_INVALID_VALUE, "\"%.40s\" is not a PCI address", text);
	return error_hint(err, "write it in full and in lower case, as in 0000:01:00.0; "
			       "`horcrux gpu list` shows them");
}
