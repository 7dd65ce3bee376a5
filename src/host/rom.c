/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Option ROMs. See rom.h. A ROM is a chain of images in units of 512 bytes; each begins with 55 AA
 * and points to a data structure "PCIR" that has its ids, length, code type and a last-image bit
 * (PCI Firmware Specification 3.0, 5.1). NVIDIA ends the standard chain early and lets images of
 * its own follow, told by "NPDE" after the PCIR; they are counted where they are whole.
 *
 * The bytes come from files of users: every offset is checked before it is read.
 */
#include "host/rom.h"

#include <stdbool.h>
#include <string.h>

enum {
	UNIT = 512,
	AT_PCIR = 0x18, /* in the image: where its PCIR is */
	HEADER_BYTES = 0x1a,
	AT_EFI_SIGNATURE = 0x04,
	EFI_SIGNATURE = 0x0ef1,
	PCIR_BYTES = 0x18,   /* up to revision 0 */
	PCIR_BYTES_3 = 0x1c, /* revision 3: with a device list */
	CODE_X86 = 0,
	CODE_EFI = 3,
	LAST = 0x80,
	SEARCH_BYTES = 64 * 1024, /* how far a vendor's header before the ROM may reach */
};

/* One image, checked: every field was inside the ROM. */
struct image {
	const uint8_t *at;
	size_t bytes;
	const uint8_t *pcir;
	uint16_t vendor, device;
	uint8_t type;
	bool last; /* of the standard chain */
	bool more; /* NVIDIA's own images follow */
};

static uint16_t u16(const uint8_t *p)
{
	return (uint16_t)(p[0] | p[1] << 8);
}

static bool standard_signature(const uint8_t *p)
{
	return p[0] == 0x55 && p[1] == 0xaa;
}

/* Is there a ROM further in? Dumps of vendors' flash tools have a header of their own before it. */
static size_t rom_inside(const uint8_t *bytes, size_t n)
{
	size_t pcir;

	for (size_t at = 1; at < SEARCH_BYTES && at + HEADER_BYTES <= n; at++) {
		if (!standard_signature(bytes + at))
			continue;
		pcir = u16(bytes + at + AT_PCIR);
		if (pcir >= HEADER_BYTES && pcir + 4 <= n - at &&
		    !memcmp(bytes + at + pcir, "PCIR", 4))
			return at;
	}
	return 0;
}

static int bad_signature(const uint8_t *bytes, size_t n, size_t at, struct error *err)
{
	size_t inside = at ? 0 : rom_inside(bytes, n);

	if (at)
		return error_set(err, ERROR_INVALID_VALUE,
				 "image at byte %zu of the ROM does not begin with 55 AA", at);
	error_set(err, ERROR_INVALID_VALUE, "this is no option ROM: it does not begin with 55 AA");
	if (inside)
		error_hint(err, "a ROM begins at byte %zu: cut off what is before it", inside);
	else
		error_hint(err, "dump the card's ROM again, while no driver is bound to it");
	return -1;
}

/* The image that begins at `at`; magic is what its data structure must be called. */
static int image_read(const uint8_t *bytes, size_t n, size_t at, const char *magic,
		      struct image *ret, struct error *err)
{
	const uint8_t *p = bytes + at, *pcir;
	size_t room = n - at, where, length;

	if (room < HEADER_BYTES)
		return error_set(err, ERROR_INVALID_VALUE,
				 "the ROM ends inside the image at byte %zu", at);
	where = u16(p + AT_PCIR);
	if (where < HEADER_BYTES || where + PCIR_BYTES > room || memcmp(p + where, magic, 4))
		return error_set(err, ERROR_INVALID_VALUE,
				 "image at byte %zu of the ROM has no %s data structure", at,
				 magic);
	pcir = p + where;
	length = (size_t)u16(pcir + 0x10) * UNIT;
	if (!length || length < where + PCIR_BYTES)
		return error_set(err, ERROR_INVALID_VALUE,
				 "image at byte %zu of the ROM says it is %zu bytes long", at,
				 length);
	if (length > room)
		return error_set(
			err, ERROR_INVALID_VALUE,
			"image at byte %zu of the ROM says it is %zu bytes long, but there "
			"are only %zu: the file is cut off",
			at, length, room);
	*ret = (struct image){
		.at = p,
		.bytes = length,
		.pcir = pcir,
		.vendor = u16(pcir + 0x04),
		.device = u16(pcir + 0x06),
		.type = pcir[0x14],
		.last = pcir[0x15] & LAST,
	};
	return 0;
}

/* NVIDIA's extension, behind the PCIR on the next 16 bytes: its own length and last-image bit. */
static bool nvidia_more(const struct image *image)
{
	size_t where = (size_t)(image->pcir - image->at) + u16(image->pcir + 0x0a);
	const uint8_t *npde;

	where = (where + 15) & ~(size_t)15;
	if (where + 0x0c > image->bytes)
		return false;
	npde = image->at + where;
	return !memcmp(npde, "NPDE", 4) && !(npde[0x0a] & LAST);
}

static int standard_image(const uint8_t *bytes, size_t n, size_t at, struct image *ret,
			  struct error *err)
{
	if (n - at < 2 || !standard_signature(bytes + at))
		return bad_signature(bytes, n, at, err);
	if (image_read(bytes, n, at, "PCIR", ret, err))
		return -1;
	if (ret->type == CODE_EFI && (u16(ret->at + AT_EFI_SIGNATURE) != EFI_SIGNATURE ||
				      u16(ret->at + AT_EFI_SIGNATURE + 2)))
		return error_set(err, ERROR_INVALID_VALUE,
				 "image at byte %zu of the ROM says it is for UEFI, but is none",
				 at);
	ret->more = ret->last && nvidia_more(ret);
	return 0;
}

/* The bytes of NVIDIA's own images from `at` on; those that are whole, no error if they are not. */
static size_t nvidia_bytes(const uint8_t *bytes, size_t n, size_t at)
{
	struct image image = { .more = true };
	size_t from = at;

	while (image.more && n - at >= HEADER_BYTES) {
		if (standard_signature(bytes + at)) {
			if (image_read(bytes, n, at, "PCIR", &image, NULL))
				break;
		} else if (image_read(bytes, n, at, "NPDS", &image, NULL)) {
			break;
		}
		image.more = !image.last || nvidia_more(&image);
		at += image.bytes;
	}
	return at - from;
}

int rom_check(const uint8_t *bytes, size_t n, struct rom_info *ret, struct error *err)
{
	struct rom_info info = { 0 };
	struct image image = { 0 };
	const uint8_t *p;

	while (!image.last) {
		if (info.images && info.bytes == n)
			return error_set(err, ERROR_INVALID_VALUE,
					 "the ROM has no last image: the file is cut off");
		if (standard_image(bytes, n, info.bytes, &image, err))
			return -1;
		if (!info.images++) {
			p = image.pcir + 0x0d;
			info.vendor = image.vendor;
			info.device = image.device;
			info.class = (uint32_t)(p[0] | p[1] << 8 | p[2] << 16);
		}
		info.legacy |= image.type == CODE_X86;
		info.efi |= image.type == CODE_EFI;
		info.bytes += image.bytes;
	}
	if (image.more)
		info.bytes += nvidia_bytes(bytes, n, info.bytes);
	*ret = info;
	return 0;
}

/* Revision 3 of the PCIR points to more device ids that the image serves, ended by 0. */
static bool in_device_list(const struct image *image, uint16_t device)
{
	size_t pcir = (size_t)(image->pcir - image->at);
	size_t at = u16(image->pcir + 0x08);

	if (image->pcir[0x0c] < 3 || u16(image->pcir + 0x0a) < PCIR_BYTES_3 || !at)
		return false;
	for (at += pcir; at + 2 <= image->bytes && u16(image->at + at); at += 2)
		if (u16(image->at + at) == device)
			return true;
	return false;
}

int rom_matches(const uint8_t *bytes, size_t n, uint16_t vendor, uint16_t device, struct error *err)
{
	struct rom_info info;
	struct image image;

	if (rom_check(bytes, n, &info, err))
		return -1;
	for (size_t at = 0, i = 0; i < info.images; i++, at += image.bytes) {
		if (standard_image(bytes, n, at, &image, err))
			return -1;
		if (image.vendor == vendor &&
		    (image.device == device || in_device_list(&image, device)))
			return 0;
	}
	error_set(err, ERROR_INVALID_VALUE, "the ROM is for %04x:%04x, the card is %04x:%04x",
		  info.vendor, info.device, vendor, device);
	return error_hint(err, "use a ROM that was read from this very card");
}
