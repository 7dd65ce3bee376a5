/* SPDX-License-Identifier: Apache-2.0 */
/* What libFuzzer calls, and what replay.c calls with inputs that are kept. */
#pragma once

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);
