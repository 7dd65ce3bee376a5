/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a function is: a card, a bridge, a part of a card, and whether it keeps a VM from using the
 * IOMMU group it is in. Pure; any thread.
 */
#include <stdio.h>
#include <string.h>

#include "base/rows.h"
#include "host/inventory.h"

enum {
	VENDOR_AMD = 0x1002,
	CLASS_VGA = 0x0300,
	CLASS_3D = 0x0302,
	CLASS_DISPLAY = 0x0380,
	CLASS_ACCELERATOR = 0x1200,
	CLASS_USB = 0x0c03,
	CLASS_SERIAL_OTHER = 0x0c80,
	BASE_AUDIO = 0x04,
};

/*
 * Drivers that do no DMA of their own for the host (driver_managed_dma in the kernel), and the one
 * of mediated devices. pci-pf-stub is not among them.
 */
static const char *const harmless_drivers[] = { "nvidia-vgpu-vfio", "pci-stub", "pcieport" };

int class_filter_parse(const char *text, struct class_filter *filter)
{
	struct class_filter found = { 0 };
	uint16_t class;
	int n;

	while (*text) {
		if (found.n_extra == (int)ARRAY_SIZE(found.extra) ||
		    sscanf(text, "%4hx%n", &class, &n) != 1 || n != 4)
			return -1;
		found.extra[found.n_extra++] = class;
		text += n;
		text += strspn(text, " ");
		if (*text == ',')
			text += 1 + strspn(text + 1, " ");
		else if (*text)
			return -1;
	}
	*filter = found;
	return 0;
}

bool function_is_gpu(const struct function *f, const struct class_filter *filter)
{
	unsigned class = f->class >> 8;

	if (class == CLASS_VGA || class == CLASS_3D || class == CLASS_DISPLAY ||
	    (class == CLASS_ACCELERATOR && f->vendor == VENDOR_AMD))
		return true;
	for (int i = 0; filter && i < filter->n_extra; i++)
		if (filter->extra[i] == class)
			return true;
	return false;
}

enum group_role function_role(const struct function *f, const struct class_filter *filter)
{
	if (f->bridge)
		return ROLE_BRIDGE;
	if (function_is_gpu(f, filter))
		return ROLE_GPU;
	if (f->class >> 16 == BASE_AUDIO)
		return ROLE_AUDIO;
	if (f->class >> 8 == CLASS_USB)
		return ROLE_USB;
	return f->class >> 8 == CLASS_SERIAL_OTHER ? ROLE_UCSI : ROLE_OTHER;
}

static bool ends_in(const char *text, const char *end)
{
	size_t n = strlen(text), m = strlen(end);

	return n > m && !strcmp(text + n - m, end);
}

bool driver_is_vfio(const char *driver)
{
	return driver && (!strcmp(driver, "vfio-pci") || ends_in(driver, "-vfio-pci") ||
			  ends_in(driver, "_vfio_pci"));
}

static bool driver_unknown(const struct function *f)
{
	for (LIST_EACH(struct row_pair, unknown, &f->unknown))
		if (!strcmp(unknown->key, "driver"))
			return true;
	return false;
}

bool function_blocks(const struct function *f, const struct card *card)
{
	if (f->bridge)
		return false;
	if (card)
		for (LIST_EACH(struct function *, own, &card->functions))
			if (pci_address_equal((*own)->address, f->address))
				return false;
	if (!f->driver)
		return driver_unknown(f);
	if (driver_is_vfio(f->driver))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(harmless_drivers); i++)
		if (!strcmp(f->driver, harmless_drivers[i]))
			return false;
	return true;
}
