/* SPDX-License-Identifier: Apache-2.0 */
/* Option ROMs, made here byte for byte. */
#include "unit.h"

#include "host/rom.h"

enum { UNIT = 512, ROM_MAX = 64 * 1024, PCIR = 0x40, IMAGES_MAX = 4 };

/* One image as it is to be made; what is 0 is as it should be. */
struct image {
	uint16_t vendor, device;
	unsigned units;			/* of 512 bytes; 0: 2 */
	unsigned said_units;		/* what it says; 0: the truth */
	uint8_t type;
	bool last;
	unsigned revision;		/* of the PCIR; 3 has a device list */
	uint16_t devices[3];		/* its device list; 0: none */
	bool nvidia;			/* NPDE: more images follow */
	const char *magic;		/* instead of "PCIR" */
	uint16_t signature;		/* instead of aa55 */
	unsigned pcir_at;		/* what the header says; 0: the truth */
	bool no_efi_signature;
	bool no_length;
};

struct test_case {
	const char *name;
	struct image images[IMAGES_MAX];
	int n;
	int add;		/* bytes more (padding of ff) or less than the images */
	const char *problem;	/* part of the message; NULL: good */
	unsigned count;		/* images that count */
	bool legacy, efi;
};

#define GPU .vendor = 0x10de, .device = 0x1b80

static const struct test_case cases[] = {
	{ "one legacy image", { { GPU, .last = true } }, 1, .count = 1, .legacy = true },
	{ "one EFI image", { { GPU, .type = 3, .last = true } }, 1, .count = 1, .efi = true },
	{ "legacy and EFI", { { GPU, .units = 100 }, { GPU, .type = 3, .last = true } }, 2,
	  .count = 2, .legacy = true, .efi = true },
	{ "padding behind it", { { GPU, .last = true } }, 1, .add = 4096, .count = 1,
	  .legacy = true },
	{ "Open Firmware", { { GPU, .type = 1, .last = true } }, 1, .count = 1 },
	{ "NVIDIA's own images follow",
	  { { GPU }, { GPU, .type = 3, .last = true, .nvidia = true },
	    { GPU, .type = 0xe0, .magic = "NPDS", .signature = 0x4e56, .last = true } },
	  3, .count = 2, .legacy = true, .efi = true },
	{ "NVIDIA's own images are cut off: tolerated",
	  { { GPU, .last = true, .nvidia = true },
	    { GPU, .units = 8, .type = 0xe0, .magic = "NPDS", .signature = 0x4e56, .last = true } },
	  2, .add = -2048, .count = 1, .legacy = true },
	{ "empty", { { 0 } }, 0, .problem = "does not begin with 55 AA" },
	{ "one byte", { { 0 } }, 0, .add = 1, .problem = "does not begin with 55 AA" },
	{ "all ff", { { 0 } }, 0, .add = 65535, .problem = "does not begin with 55 AA" },
	{ "other signature", { { GPU, .signature = 0x55aa, .last = true } }, 1,
	  .problem = "does not begin with 55 AA" },
	{ "no PCIR", { { GPU, .magic = "PCIX", .last = true } }, 1, .problem = "no PCIR" },
	{ "PCIR pointer into the header", { { GPU, .pcir_at = 4, .last = true } }, 1,
	  .problem = "no PCIR" },
	{ "PCIR pointer past the end", { { GPU, .pcir_at = 0xfff0, .last = true } }, 1,
	  .problem = "no PCIR" },
	{ "PCIR that runs over the end", { { GPU, .pcir_at = 2 * UNIT - 8, .last = true } }, 1,
	  .problem = "no PCIR" },
	{ "no length", { { GPU, .no_length = true, .last = true } }, 1, .problem = "0 bytes long" },
	{ "longer than the file", { { GPU, .said_units = 3, .last = true } }, 1,
	  .problem = "the file is cut off" },
	{ "cut off", { { GPU, .units = 100, .last = true } }, 1, .add = -512,
	  .problem = "the file is cut off" },
	{ "cut off after the first image", { { GPU } }, 1, .problem = "no last image" },
	{ "rubbish where the second image should be", { { GPU } }, 1, .add = 512,
	  .problem = "image at byte 1024 of the ROM does not begin with 55 AA" },
	{ "less than a header where the second image should be", { { GPU } }, 1, .add = 1,
	  .problem = "does not begin with 55 AA" },
	{ "EFI without its signature", { { GPU, .type = 3, .no_efi_signature = true, .last = true } },
	  1, .problem = "is for UEFI, but is none" },
};

static void put16(uint8_t *p, unsigned value)
{
	p[0] = (uint8_t)value;
	p[1] = (uint8_t)(value >> 8);
}

/* Bytes of the image. */
static size_t make_image(uint8_t *p, const struct image *image)
{
	unsigned units = image->units ?: 2, length = image->revision >= 2 ? 0x1c : 0x18;
	uint8_t *pcir = p + PCIR;

	memset(p, 0, units * UNIT);
	put16(p, image->signature ?: 0xaa55);
	p[2] = (uint8_t)units;
	put16(p + 0x18, image->pcir_at ?: PCIR);
	if (image->type == 3 && !image->no_efi_signature)
		put16(p + 4, 0x0ef1);
	memcpy(pcir, image->magic ?: "PCIR", 4);
	put16(pcir + 4, image->vendor);
	put16(pcir + 6, image->device);
	put16(pcir + 10, length);
	pcir[12] = (uint8_t)image->revision;
	pcir[15] = 0x03;
	put16(pcir + 16, image->no_length ? 0 : image->said_units ?: units);
	pcir[20] = image->type;
	pcir[21] = image->last ? 0x80 : 0;
	if (image->devices[0]) {
		put16(pcir + 8, 0x60);
		for (size_t i = 0; i < ARRAY_SIZE(image->devices); i++)
			put16(pcir + 0x60 + 2 * i, image->devices[i]);
	}
	if (image->nvidia) {
		memcpy(pcir + 0x20, "NPDE", 4);
		put16(pcir + 0x28, units);
	}
	return units * UNIT;
}

/* The bytes, exactly as many as there are, so that the sanitizer sees the end. */
static uint8_t *make_rom(const struct image *images, int n, int add, size_t *bytes)
{
	static uint8_t buf[ROM_MAX * 2];
	uint8_t *rom;
	size_t at = 0;

	for (int i = 0; i < n; i++)
		at += make_image(buf + at, &images[i]);
	for (int i = 0; i < add; i++)
		buf[at + (size_t)i] = 0xff;
	*bytes = at + (size_t)add;
	rom = malloc(*bytes ?: 1);
	assert_non_null(rom);
	memcpy(rom, buf, *bytes);
	return rom;
}

static void test_check(void **state)
{
	struct rom_info info;
	struct error err;
	size_t n;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct test_case *c = &cases[i];
		CLEAN_FREE uint8_t *rom = make_rom(c->images, c->n, c->add, &n);
		int r = rom_check(rom, n, &info, &err);

		if (c->problem) {
			if (!r || !strstr(err.message, c->problem))
				fail_msg("%s: %s", c->name, r ? err.message : "taken");
			assert_int_equal(err.code, ERROR_INVALID_VALUE);
			continue;
		}
		if (r)
			fail_msg("%s: %s", c->name, err.message);
		if (info.images != c->count || info.legacy != c->legacy || info.efi != c->efi)
			fail_msg("%s: %u images, legacy %d, efi %d", c->name, info.images,
				 info.legacy, info.efi);
		assert_int_equal(info.vendor, 0x10de);
		assert_int_equal(info.device, 0x1b80);
		assert_int_equal(info.class, 0x030000);
	}
}

static void test_bytes(void **state)
{
	static const struct image nvidia[] = {
		{ GPU, .last = true, .nvidia = true },
		{ GPU, .units = 4, .type = 0xe0, .magic = "NPDS", .signature = 0x4e56, .last = true },
	};
	struct rom_info info;
	struct error err;
	size_t n;
	CLEAN_FREE uint8_t *rom = make_rom(nvidia, 2, 100, &n);
	CLEAN_FREE uint8_t *cut = make_rom(nvidia, 2, -UNIT, &n);

	(void)state;
	assert_int_equal(rom_check(rom, 6 * UNIT + 100, &info, &err), 0);
	assert_int_equal(info.bytes, 6 * UNIT);
	assert_int_equal(rom_check(cut, n, &info, &err), 0);
	assert_int_equal(info.bytes, 2 * UNIT);
}

static void test_header_before(void **state)
{
	static const struct image image = { GPU, .last = true };
	struct rom_info info;
	struct error err;
	size_t n;
	CLEAN_FREE uint8_t *rom = make_rom(&image, 1, 0, &n);
	CLEAN_FREE uint8_t *dump = calloc(1, n + 0x600);

	(void)state;
	assert_non_null(dump);
	memcpy(dump + 0x600, rom, n);
	assert_int_equal(rom_check(dump, n + 0x600, &info, &err), -1);
	assert_non_null(strstr(err.hint, "a ROM begins at byte 1536"));
}

static const struct {
	const char *name;
	struct image images[2];
	int n;
	uint16_t vendor, device;
	bool matches;
} matches[] = {
	{ "the first image's", { { GPU, .last = true } }, 1, 0x10de, 0x1b80, true },
	{ "another device", { { GPU, .last = true } }, 1, 0x10de, 0x1b81, false },
	{ "another vendor", { { GPU, .last = true } }, 1, 0x1002, 0x1b80, false },
	{ "the second image's", { { GPU }, { .vendor = 0x10de, .device = 0x1b81, .last = true } }, 2,
	  0x10de, 0x1b81, true },
	{ "in the device list",
	  { { GPU, .revision = 3, .devices = { 0x1b81, 0x1b82 }, .last = true } }, 1, 0x10de, 0x1b82,
	  true },
	{ "behind the end of the device list",
	  { { GPU, .revision = 3, .devices = { 0x1b81, 0, 0x1b82 }, .last = true } }, 1, 0x10de,
	  0x1b82, false },
	{ "no device list in revision 0",
	  { { GPU, .revision = 0, .devices = { 0x1b81 }, .last = true } }, 1, 0x10de, 0x1b81, false },
	{ "no device list before revision 3",
	  { { GPU, .revision = 2, .devices = { 0x1b81 }, .last = true } }, 1, 0x10de, 0x1b81, false },
	{ "device list, of another vendor",
	  { { GPU, .revision = 3, .devices = { 0x1b81 }, .last = true } }, 1, 0x1002, 0x1b81, false },
	{ "no ROM", { { GPU, .magic = "XXXX", .last = true } }, 1, 0x10de, 0x1b80, false },
};

static void test_matches(void **state)
{
	struct error err;
	size_t n;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(matches); i++) {
		CLEAN_FREE uint8_t *rom = make_rom(matches[i].images, matches[i].n, 0, &n);
		int r = rom_matches(rom, n, matches[i].vendor, matches[i].device, &err);

		if (!r != matches[i].matches)
			fail_msg("%s: %s", matches[i].name, r ? err.message : "matches");
	}
}

/* A device list that nothing ends must not be read past its image. */
static void test_endless_device_list(void **state)
{
	static const struct image image = { GPU, .revision = 3, .last = true };
	struct error err;
	size_t n;
	CLEAN_FREE uint8_t *rom = make_rom(&image, 1, 0, &n);

	(void)state;
	memset(rom + PCIR + 0x1c, 0x11, n - PCIR - 0x1c);
	put16(rom + PCIR + 8, 0x1d);
	assert_int_equal(rom_matches(rom, n, 0x10de, 0x2222, &err), -1);
	put16(rom + PCIR + 8, 0xffff);
	assert_int_equal(rom_matches(rom, n, 0x10de, 0x2222, &err), -1);
	assert_non_null(strstr(err.message, "the ROM is for 10de:1b80, the card is 10de:2222"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_check),		 cmocka_unit_test(test_bytes),
		cmocka_unit_test(test_header_before),	 cmocka_unit_test(test_matches),
		cmocka_unit_test(test_endless_device_list),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
