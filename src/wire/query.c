/* SPDX-License-Identifier: Apache-2.0 */
/* The rows of query.h. */
#include "wire/query.h"

#include "base/address.h"
#include "wire/device.h"

#define DEVICE_QUERY(field) offsetof(struct wire_device_query, field)

const struct row wire_device_query_rows[] = {
	{ "driver", ROW_STRING, 0, DEVICE_QUERY(driver),
	  .help = "bound to this driver; none: to no driver" },
	{ "vendor", ROW_STRING, 0, DEVICE_QUERY(vendor),
	  .help = "vendor id (10de), or the beginning of the vendor's name in any case (nvidia)" },
	{ "state", ROW_WORD, 0, DEVICE_QUERY(state), .words = wire_card_state_words,
	  .help = "state of the card" },
	{ "node", ROW_STRING, 0, DEVICE_QUERY(node), .help = "on this node" },
	ROW_END,
};

const struct row wire_doctor_query_rows[] = {
	{ "device", ROW_STRING, 0, offsetof(struct wire_doctor_query, device), .check = pci_address_check,
	  .help = "address of any function of a card: the checks of that card alone, and the host's" },
	ROW_END,
};
