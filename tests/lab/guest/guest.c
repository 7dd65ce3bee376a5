// SPDX-License-Identifier: Apache-2.0
/*
 * The smallest guest that can tell what it owns: it lists its PCI functions over COM1 and then waits
 * for the ACPI power button. It talks to the hardware by port I/O alone, so the same file runs
 * from a BIOS boot sector (32 bits, start.S) and as an EFI program (64 bits, efi.c); those two give it
 * firmware[] and idle(). MODE says what it does after the list:
 *   LIST    waits for the power button and goes off
 *   OFF     goes off by itself
 *   REBOOT  resets the machine, once; then as LIST
 *   DEAF    waits, and ignores the power button
 *
 * One line a function:
 *   01:00.0 1002:5159 030000 bars=c0c000000c/8000000,c001/100,0/0,0/0,0/0 rom=1002:5159 sub=1af4:1100
 * bars: value / size (below 4 GiB), hexadecimal, 0/0 where there is none; a 64-bit one takes two
 * registers and is one entry. rom: the ids in a valid option ROM, or none. Single thread; no memory
 * but the stack.
 */
#include "guest.h"

enum { LIST, OFF, REBOOT, DEAF };

enum {
	COM1 = 0x3f8,
	PCI_COMMAND_REG = 0x04,
	PCI_BAR0 = 0x10,
	PCI_SUBSYSTEM = 0x2c,
	PCI_ROM_BAR = 0x30,
	/* q35: the LPC bridge says where the ACPI registers are */
	LPC_DEVICE = 31,
	LPC_PMBASE = 0x40,
	PM1_STATUS = 0,
	PM1_ENABLE = 2,
	PM1_CONTROL = 4,
	POWER_BUTTON = 0x100,
	SLEEP_NOW = 0x2000,
	/* a byte of the clock's memory that no firmware uses; it outlives a reset */
	CMOS_BOOTS = 0x50,
};

static inline void outb(u16 port, u8 value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static inline void outw(u16 port, u16 value)
{
	__asm__ volatile("outw %0, %1" : : "a"(value), "Nd"(port));
}

static inline void outl(u16 port, u32 value)
{
	__asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port));
}

static inline u8 inb(u16 port)
{
	u8 value;

	__asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static inline u16 inw(u16 port)
{
	u16 value;

	__asm__ volatile("inw %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static inline u32 inl(u16 port)
{
	u32 value;

	__asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static void put_char(char c)
{
	while (!(inb(COM1 + 5) & 0x20))
		;
	outb(COM1, (u8)c);
}

static void put(const char *text)
{
	while (*text)
		put_char(*text++);
}

/* At least `digits` hexadecimal digits. */
static void put_hex(u32 value, int digits)
{
	int n = 8;

	while (n > digits && !(value >> (4 * (n - 1))))
		n--;
	while (n--)
		put_char("0123456789abcdef"[(value >> (4 * n)) & 15]);
}

static u32 config_address(u32 where, u32 reg)
{
	return 0x80000000u | where | (reg & 0xfc);
}

static u32 config_read(u32 where, u32 reg)
{
	outl(0xcf8, config_address(where, reg));
	return inl(0xcfc);
}

static void config_write(u32 where, u32 reg, u32 value)
{
	outl(0xcf8, config_address(where, reg));
	outl(0xcfc, value);
}

/* Size of one BAR: what stays 0 when all ones are written. Decoding is off meanwhile. */
static u32 bar_size(u32 where, u32 reg, u32 value)
{
	u32 mask;

	config_write(where, reg, 0xffffffff);
	mask = config_read(where, reg);
	config_write(where, reg, value);
	mask &= value & 1 ? 0xfffffffc : 0xfffffff0;
	return mask ? (~mask + 1) & (value & 1 ? 0xffff : 0xffffffff) : 0;
}

static void put_bars(u32 where, int count)
{
	u32 command = config_read(where, PCI_COMMAND_REG);

	config_write(where, PCI_COMMAND_REG, command & 0xfff8);
	put(" bars=");
	for (int i = 0; i < count; i++) {
		u32 reg = PCI_BAR0 + 4 * (u32)i;
		u32 value = config_read(where, reg);

		if (i)
			put(",");
		if ((value & 7) == 4 && i + 1 < count) {
			put_hex(config_read(where, reg + 4), 1);
			put_hex(value, 8);
			i++;
		} else {
			put_hex(value, 1);
		}
		put("/");
		put_hex(bar_size(where, reg, value), 1);
	}
	config_write(where, PCI_COMMAND_REG, command & 0xffff);
}

/* The ids in the option ROM that the firmware gave an address, as the card itself would be asked. */
static void put_rom(u32 where)
{
	u32 rom = config_read(where, PCI_ROM_BAR), command = config_read(where, PCI_COMMAND_REG);
	volatile u8 *image = (volatile u8 *)(unsigned long)(rom & 0xfffff800);
	u32 pcir;

	put(" rom=");
	if (!(rom & 0xfffff800) || (rom & 0xfffff800) == 0xfffff800) {
		put("none");
		return;
	}
	config_write(where, PCI_COMMAND_REG, (command & 0xffff) | 2);
	config_write(where, PCI_ROM_BAR, rom | 1);
	pcir = image[0x18] | (u32)image[0x19] << 8;
	if (image[0] != 0x55 || image[1] != 0xaa || pcir > 0xffe0 || image[pcir] != 'P' ||
	    image[pcir + 1] != 'C' || image[pcir + 2] != 'I' || image[pcir + 3] != 'R') {
		put("none");
	} else {
		put_hex(image[pcir + 4] | (u32)image[pcir + 5] << 8, 4);
		put(":");
		put_hex(image[pcir + 6] | (u32)image[pcir + 7] << 8, 4);
	}
	config_write(where, PCI_ROM_BAR, rom);
	config_write(where, PCI_COMMAND_REG, command & 0xffff);
}

static void put_function(u32 bus, u32 dev, u32 fn)
{
	u32 where = bus << 16 | dev << 11 | fn << 8;
	u32 ids = config_read(where, 0), type = config_read(where, 0xc) >> 16 & 0x7f;

	put_hex(bus, 2);
	put(":");
	put_hex(dev, 2);
	put(".");
	put_hex(fn, 1);
	put(" ");
	put_hex(ids & 0xffff, 4);
	put(":");
	put_hex(ids >> 16, 4);
	put(" ");
	put_hex(config_read(where, 8) >> 8, 6);
	if (type == 0) {
		u32 sub = config_read(where, PCI_SUBSYSTEM);

		put_bars(where, 6);
		put_rom(where);
		put(" sub=");
		put_hex(sub & 0xffff, 4);
		put(":");
		put_hex(sub >> 16, 4);
	}
	put("\r\n");
}

static void list_functions(void)
{
	for (u32 bus = 0; bus < 256; bus++) {
		for (u32 dev = 0; dev < 32; dev++) {
			u32 slot = bus << 16 | dev << 11;

			if ((config_read(slot, 0) & 0xffff) == 0xffff)
				continue;
			put_function(bus, dev, 0);
			if (!(config_read(slot, 0xc) >> 16 & 0x80))
				continue;
			for (u32 fn = 1; fn < 8; fn++)
				if ((config_read(slot | fn << 8, 0) & 0xffff) != 0xffff)
					put_function(bus, dev, fn);
		}
	}
}

static u8 count_boot(void)
{
	u8 boots;

	outb(0x70, CMOS_BOOTS);
	boots = (u8)(inb(0x71) + 1);
	outb(0x70, CMOS_BOOTS);
	outb(0x71, boots);
	return boots;
}

void guest_main(void)
{
	u8 boots = count_boot();
	u16 pm = config_read(LPC_DEVICE << 11, LPC_PMBASE) & 0xff80;

	if (!pm)
		pm = 0x600;
	put("\r\nGUEST-START ");
	put(firmware);
	put(" boot ");
	put_hex(boots, 1);
	put("\r\n");
	list_functions();
	put("GUEST-DONE\r\n");

	if (MODE == REBOOT && boots == 1) {
		put("GUEST-REBOOT\r\n");
		outb(0xcf9, 0x02);
		outb(0xcf9, 0x06);
	}
	if (MODE != DEAF)
		outw(pm + PM1_ENABLE, POWER_BUTTON);
	while (MODE != OFF && !(MODE != DEAF && inw(pm + PM1_STATUS) & POWER_BUTTON))
		idle();
	outw(pm + PM1_STATUS, POWER_BUTTON);
	put("GUEST-OFF\r\n");
	outw(pm + PM1_CONTROL, SLEEP_NOW);
	for (;;)
		idle();
}
