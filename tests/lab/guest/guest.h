// SPDX-License-Identifier: Apache-2.0
/* What the guest asks of the way it was started: start.S and bios.c, or efi.c. */
#pragma once

typedef unsigned int u32;
typedef unsigned short u16;
typedef unsigned char u8;

extern const char firmware[];

/* Sleeps for at most a tenth of a second without using the processor. */
void idle(void);

/* Never returns. */
void guest_main(void);

