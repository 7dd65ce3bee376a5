// SPDX-License-Identifier: Apache-2.0
/*
 * The guest on a BIOS: 32 bits, no paging. The timer's interrupt (18 a second) is the only one let in;
 * it is what idle() waits for.
 */
#include "guest.h"

const char firmware[] = "bios";

struct gate {
	u16 low, selector, type, high;
} __attribute__((packed));

static struct gate gates[256];

void interrupt(void);
void bios_main(void);

static void outb(u16 port, u8 value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

void idle(void)
{
	__asm__ volatile("sti; hlt; cli");
}

void bios_main(void)
{
	struct {
		u16 limit;
		u32 base;
	} __attribute__((packed)) idtr = { sizeof(gates) - 1, (u32)gates };
	u32 handler = (u32)interrupt;

	for (int i = 0; i < 256; i++)
		gates[i] = (struct gate){ handler & 0xffff, 8, 0x8e00, (u16)(handler >> 16) };
	__asm__ volatile("lidt %0" : : "m"(idtr));
	/* the first controller's interrupts at 0x20, all but the timer masked */
	outb(0x20, 0x11);
	outb(0x21, 0x20);
	outb(0x21, 0x04);
	outb(0x21, 0x01);
	outb(0x21, 0xfe);
	outb(0xa1, 0xff);
	outb(0x43, 0x34);
	outb(0x40, 0);
	outb(0x40, 0);
	guest_main();
}
