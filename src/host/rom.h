/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Option ROM images (PCI Firmware Specification 3.0: 55AA, "PCIR"; UEFI 2.x: EFI images; NVIDIA's
 * images after the standard ones are tolerated). Checking is pure; reading a card's own ROM wakes
 * the card and needs root, so only horcrux-privd does it.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct rom_info {
	uint16_t vendor, device; /* of the first image */
	uint32_t class;
	bool legacy, efi; /* code types 0 and 3 are there */
	unsigned images;
	size_t bytes; /* of all images, as they say themselves */
};

/*
 * Walks the images. -1 (invalid_value) with what is wrong: no signature, no PCIR, an image without
 * length, lengths that run past the end, no last image. *ret untouched then. What follows the last
 * image (padding) is not looked at.
 */
int rom_check(const uint8_t *bytes, size_t n, struct rom_info *ret, struct error *err);
/*
 * Is it a ROM for this device? 0 when the ids of one of its images match (device list included); -1
 * (invalid_value) with whose it is, or with what rom_check says.
 */
int rom_matches(const uint8_t *bytes, size_t n, uint16_t vendor, uint16_t device,
		struct error *err);
