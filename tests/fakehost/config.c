/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a function's hardware shows: configuration space, option ROM, and where
 * its BARs lie.  Addresses are given out from two windows, one below 4 GiB and
 * one far above, in the order of the description: the same machine has always
 * the same addresses.
 */
#include <errno.h>
#include <string.h>

#include "pci.h"

#define MEM32	       0x00040200U
#define MEM64_PREFETCH 0x0014220cU
#define MEM64	       0x00140204U

static uint64_t next32 = 0x80000000ULL;
static uint64_t next64 = 0x4000000000ULL;

static uint64_t place(uint64_t *next, uint64_t size)
{
	uint64_t align = size < 4096 ? 4096 : size;
	uint64_t start = (*next + align - 1) & ~(align - 1);

	*next = start + align;
	return start;
}

static void place_bar(struct bar *b)
{
	if (b->size && !b->start)
		b->start = place(b->flags & 0x00100000U ? &next64 : &next32, b->size);
}

void pci_place_bars(struct function *f)
{
	for (int i = 0; i < BAR_VF; i++)
		place_bar(&f->bars[i]);
	for (int i = 0; i < 6 && f->sriov; i++) {
		struct bar *b = &f->bars[BAR_VF + i];

		*b = f->sriov->bars[i];
		b->size *= f->sriov->total;
		place_bar(b);
	}
}

void pci_place_vf_bars(struct function *vf)
{
	const struct function *pf = vf->physfn;

	for (int i = 0; i < 6; i++) {
		vf->bars[i] = pf->sriov->bars[i];
		if (vf->bars[i].size)
			vf->bars[i].start = pf->bars[BAR_VF + i].start +
					    vf->index * vf->bars[i].size;
	}
}

static void put16(unsigned char *at, unsigned v)
{
	at[0] = v & 0xff;
	at[1] = v >> 8 & 0xff;
}

static void put_bars(const struct function *f, unsigned char *c)
{
	for (int i = 0; i < 6 && !f->physfn; i++) {
		uint64_t v = f->bars[i].start;

		if (!f->bars[i].size)
			continue;
		put16(c + 0x10 + 4 * i, (unsigned)(v & 0xffff) | (f->bars[i].flags & 0xe));
		put16(c + 0x12 + 4 * i, (unsigned)(v >> 16 & 0xffff));
		if (f->bars[i].flags & 0x4 && i < 5) {
			put16(c + 0x14 + 4 * i, (unsigned)(v >> 32 & 0xffff));
			put16(c + 0x16 + 4 * i, (unsigned)(v >> 48));
		}
	}
}

static bool has_siblings(const struct function *f)
{
	for (const struct function *s = host.functions; s; s = s->next)
		if (s != f && s->present && !s->physfn && s->domain == f->domain &&
		    s->bus == f->bus && s->slot == f->slot)
			return true;
	return false;
}

static void put_header(const struct function *f, unsigned char *c)
{
	put16(c, f->physfn ? 0xffff : f->vendor);
	put16(c + 2, f->physfn ? 0xffff : f->device);
	put16(c + 4, f->enabled ? 0x0406 : 0x0000);
	put16(c + 6, 0x0010);
	c[8] = f->revision & 0xff;
	c[9] = f->class & 0xff;
	put16(c + 10, f->class >> 8);
	c[14] = (unsigned char)((pci_is_bridge(f) ? 1 : 0) | (has_siblings(f) ? 0x80 : 0));
	if (pci_is_bridge(f)) {
		c[0x18] = f->bus & 0xff;
		c[0x19] = f->secondary & 0xff;
		c[0x1a] = f->subordinate & 0xff;
	} else {
		put_bars(f, c);
		put16(c + 0x2c, f->sub_vendor);
		put16(c + 0x2e, f->sub_device);
	}
	c[0x34] = 0x40;
}

/* Power management, then PCI Express: all that anybody looks for. */
static void put_capabilities(const struct function *f, unsigned char *c)
{
	c[0x40] = 0x01;
	c[0x41] = f->speed ? 0x60 : 0;
	put16(c + 0x42, 0x0003 | (f->wakes ? 0xc800 : 0));
	if (!strncmp(f->power_state, "D3", 2))
		c[0x44] = 3;
	if (!f->speed)
		return;
	c[0x60] = 0x10;
	put16(c + 0x62, 2 | (pci_is_bridge(f) ? (f->under ? 0x50 : 0x40) : 0));
	if (f->reset_can && strstr(f->reset_can, "flr"))
		c[0x67] = 0x10;
}

int config_show(void *owner, const struct attr *attr, struct text *out)
{
	struct function *f = owner;
	unsigned char c[4096] = { 0 };
	size_t size = f->speed ? 4096 : 256;

	(void)attr;
	pci_wake(f);
	put_header(f, c);
	put_capabilities(f, c);
	if (f->ff)
		memset(c, 0xff, sizeof(c));
	text_add(out, c, size);
	return 0;
}

int config_store(void *owner, const struct attr *attr, const char *buf, size_t len)
{
	(void)attr;
	(void)buf;
	(void)len;
	pci_wake(owner);
	return 0;
}

/* ---- option ROM ---- */

#define ROM_SIZE 4096U

static void put_rom(const struct function *f, unsigned char *rom)
{
	unsigned char sum = 0;
	bool bad_id = !strcmp(f->rom, "badid");

	put16(rom, 0xaa55);
	rom[2] = strcmp(f->rom, "badlen") ? ROM_SIZE / 512 : 0;
	put16(rom + 0x18, 0x1c);
	memcpy(rom + 0x1c, "PCIR", 4);
	put16(rom + 0x20, bad_id ? 0x1af4 : f->vendor);
	put16(rom + 0x22, bad_id ? 0x1050 : f->device);
	put16(rom + 0x26, 0x18);
	rom[0x29] = f->class & 0xff;
	put16(rom + 0x2a, f->class >> 8);
	put16(rom + 0x2c, strcmp(f->rom, "badlen") ? ROM_SIZE / 512 : 0xffff);
	rom[0x31] = 0x80;
	for (unsigned i = 0; i < ROM_SIZE; i++)
		sum = (unsigned char)(sum + rom[i]);
	rom[ROM_SIZE - 1] = (unsigned char)-sum;
	if (!strcmp(f->rom, "badsig"))
		put16(rom, 0);
}

/* pci_read_rom(): EINVAL unless enabled, EIO if there is nothing in it */
int rom_show(void *owner, const struct attr *attr, struct text *out)
{
	struct function *f = owner;
	unsigned char rom[ROM_SIZE] = { 0 };

	(void)attr;
	if (!f->rom_enabled)
		return -EINVAL;
	pci_wake(f);
	if (!f->rom || f->ff)
		return -EIO;
	put_rom(f, rom);
	text_add(out, rom, sizeof(rom));
	return 0;
}

/* pci_write_rom(): all but "0\n" enables */
int rom_store(void *owner, const struct attr *attr, const char *buf, size_t len)
{
	struct function *f = owner;

	(void)attr;
	f->rom_enabled = !(len <= 2 && buf[0] == '0');
	return 0;
}

/* Flags that the kernel prints for a BAR of this kind. */
unsigned bar_flags(bool mem64, bool prefetch)
{
	if (!mem64)
		return MEM32;
	return prefetch ? MEM64_PREFETCH : MEM64;
}
