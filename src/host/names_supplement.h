/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GPUs newer than the pci.ids file of early 2023. Names as in later issues of that file. Pure.
 */
#pragma once

#include <stdint.h>

struct supplement {
	uint16_t vendor, device;
	const char *name;
};

/* Sorted by vendor, then device. */
extern const struct supplement supplement[];
extern const int supplement_entries;

/* A static string; NULL when it is not in the table. */
const char *names_supplement(uint16_t vendor, uint16_t device);
