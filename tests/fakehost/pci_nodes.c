/* SPDX-License-Identifier: Apache-2.0 */
/* Where a PCI function stands in the tree, and the links to it; see pci.h. */
#include "pci.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "iommu.h"
#include "sriov.h"

bool pci_is_bridge(const struct function *f)
{
	return f->class >> 8 == CLASS_BRIDGE;
}

bool pci_is_gpu(const struct function *f)
{
	return f->class >> 16 == 0x03 || (f->class >> 16 == 0x12 && f->vendor == 0x1002);
}

struct function *pci_supplier(const struct function *f)
{
	for (struct function *s = host.functions; s; s = s->next)
		if (s->domain == f->domain && s->bus == f->bus && s->slot == f->slot && !s->fn &&
		    s != f)
			return s;
	return NULL;
}

/* quirk_gpu_hda(), quirk_gpu_usb(), quirk_gpu_usb_typec_ucsi() */
static bool is_consumer(const struct function *f)
{
	const struct function *s = pci_supplier(f);
	unsigned class = f->class >> 8;

	if (!s || s->class >> 16 != 0x03 || f->physfn)
		return false;
	if (class == 0x0403)
		return f->vendor == 0x10de || f->vendor == 0x1002 || f->vendor == 0x1022;
	if (class == 0x0c03)
		return f->vendor == 0x10de || f->vendor == 0x1002;
	return class == 0x0c80 && f->vendor == 0x10de;
}

static void add_texts(struct function *f)
{
	static const char *const aer[] = { "correctable", "fatal", "nonfatal" };
	static const char *const total[] = { "COR", "FATAL", "NONFATAL" };
	char name[32];

	node_text(f->dir, "ari_enabled", 0444, "%d\n", f->sriov || f->physfn);
	node_text(f->dir, "broken_parity_status", 0644, "0\n");
	node_text(f->dir, "consistent_dma_mask_bits", 0444, "%d\n", f->driver ? 47 : 32);
	node_text(f->dir, "dma_mask_bits", 0444, "%d\n", f->driver ? 47 : 32);
	node_text(f->dir, "msi_bus", 0644, "1\n");
	for (int i = 0; i < 3 && f->speed && !f->physfn; i++) {
		snprintf(name, sizeof(name), "aer_dev_%s", aer[i]);
		node_text(f->dir, name, 0444, "%s 0\nTOTAL_ERR_%s 0\n",
			  i ? "DLP 0\nTLP" : "RxErr 0\nBadTLP 0\nBadDLLP", total[i]);
	}
	for (int i = 0; i < 6; i++) {
		if (!f->bars[i].size)
			continue;
		snprintf(name, sizeof(name), "resource%d", i);
		node_text(f->dir, name, 0600, "%s", "")->size = f->bars[i].size;
	}
	for (unsigned i = 0; i < f->irqs; i++) {
		snprintf(name, sizeof(name), "%u", 120 + f->bus * 4 + f->slot + i);
		node_text(node_dir(f->dir, "msi_irqs"), name, 0444, "msix\n");
	}
}

static struct node *parent_dir(const struct function *f)
{
	char name[24];

	if (f->under)
		return f->under->dir;
	snprintf(name, sizeof(name), "pci%04x:%02x", f->domain, f->bus);
	return node_dir(node_dir(NULL, "sys/devices"), name);
}

static void add_device_link(struct function *supplier, struct function *consumer)
{
	char *name = text_format("pci:%s--pci:%s", supplier->name, consumer->name);
	struct node *dir = node_dir(node_dir(NULL, "sys/devices/virtual/devlink"), name);
	char to_consumer[40], to_supplier[40];

	free(name);
	node_text(dir, "auto_remove_on", 0444, "never\n");
	node_text(dir, "runtime_pm", 0444, "1\n");
	node_text(dir, "status", 0444, "not tracked\n");
	node_text(dir, "sync_state_only", 0444, "0\n");
	node_link_to(dir, "consumer", consumer->dir);
	node_link_to(dir, "supplier", supplier->dir);
	snprintf(to_consumer, sizeof(to_consumer), "consumer:pci:%s", consumer->name);
	snprintf(to_supplier, sizeof(to_supplier), "supplier:pci:%s", supplier->name);
	bunch_add(&consumer->links, dir);
	bunch_add(&supplier->links, dir);
	bunch_add(&consumer->links, node_link_to(supplier->dir, to_consumer, dir));
	bunch_add(&supplier->links, node_link_to(consumer->dir, to_supplier, dir));
}

static void add_device_links(struct function *f)
{
	if (is_consumer(f) && pci_supplier(f)->present && pci_supplier(f)->dir)
		add_device_link(pci_supplier(f), f);
	for (struct function *c = host.functions; c && !f->fn; c = c->next)
		if (c != f && c->present && c->dir && is_consumer(c) && pci_supplier(c) == f)
			add_device_link(f, c);
}

static void add_pci_bus(struct function *f)
{
	char name[16];

	snprintf(name, sizeof(name), "%04x:%02x", f->domain, f->secondary);
	node_dir(node_dir(f->dir, "pci_bus"), name);
}

void pci_add_nodes(struct function *f)
{
	struct node *bus = node_dir(NULL, "sys/bus/pci");

	f->dir = node_dir(parent_dir(f), f->name);
	pci_add_files(f);
	add_texts(f);
	if (pci_is_bridge(f))
		add_pci_bus(f);
	sriov_add_nodes(f);
	node_link_to(f->dir, "subsystem", bus);
	bunch_add(&f->links, node_link_to(node_dir(bus, "devices"), f->name, f->dir));
	iommu_add_links(f);
	add_device_links(f);
}

void pci_remove_nodes(struct function *f)
{
	bunch_remove(&f->bound);
	bunch_remove(&f->links);
	node_remove(f->dir);
	f->dir = NULL;
}

char *pci_alias(const struct node *n)
{
	struct text rest = { 0 };
	char *alias = NULL;

	for (const struct node *at = n; at->parent; at = at->parent) {
		struct function *f = host_function(at->name);

		if (f && f->dir == at) {
			alias = text_format("/sys/bus/pci/devices/%s%s", f->name,
					    rest.data ? rest.data : "");
			break;
		}
		char *longer = text_format("/%s%s", at->name, rest.data ? rest.data : "");
		text_clear(&rest);
		text_puts(&rest, longer);
		free(longer);
	}
	text_free(&rest);
	return alias;
}
