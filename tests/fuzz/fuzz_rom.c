/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as an option ROM. What is taken must be whole, and must be for the device it names. */
#include <stdlib.h>

#include "fuzz.h"
#include "host/rom.h"

enum { DEVICES = 8 };

static void must(bool holds)
{
	if (!holds)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	struct rom_info info = { 0 };
	struct error err;

	if (rom_check(bytes, n, &info, &err)) {
		must(err.code == ERROR_INVALID_VALUE && err.message[0]);
		must(!info.images && rom_matches(bytes, n, 0x10de, 0x1b80, &err) < 0);
		return 0;
	}
	must(info.images && info.bytes <= n && info.bytes >= (size_t)info.images * 512);
	must(info.class <= 0xffffff);
	must(!rom_matches(bytes, n, info.vendor, info.device, &err));
	for (uint16_t i = 1; i < DEVICES; i++)
		rom_matches(bytes, n, info.vendor, (uint16_t)(info.device + i), &err);
	return 0;
}
