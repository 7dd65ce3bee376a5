/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Option ROM images (PCI Firmware Specification: 55AA, "PCIR"). Checking is pure; reading a card's
 * own ROM wakes the card and needs root, so only horcrux-privd does it.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct rom_info {
	uint16_t vendor, device;	/* of the first image */
	uint32_t class;
	bool legacy, efi;		/* code types 0 and 3 are there */
	size_t bytes;			/* of all images, as they say themselves */
};

/* Walks the images. -1 with what is wrong (no signature, no PCIR, lengths that run past the end). */
int rom_check(const uint8_t *bytes, size_t n, struct rom_info *ret, struct error *err);
/* Is it a ROM for this device? The ids of one of its images must match (device list included). */
int rom_matches(const uint8_t *bytes, size_t n, uint16_t vendor, uint16_t device,
		struct error *err);
