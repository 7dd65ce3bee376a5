/* SPDX-License-Identifier: Apache-2.0 */
/* See hand.h. */
#include "hand.h"

#include <stdlib.h>
#include <string.h>

struct hand_host *hand_new(void)
{
	struct arena *arena = arena_new();
	struct hand_host *host = arena_new_of(arena, struct hand_host);

	host->arena = arena;
	host->inv.arena = arena;
	host->inv.card_of = host->card_of;
	host->inv.names = names_open_file(NULL);
	host->inv.iommu = (struct iommu){ .enabled = FACT_YES, .message = "on",
					  .interrupt_remapping = FACT_YES, .acs_override = FACT_NO,
					  .unsafe_interrupts = FACT_NO };
	host->facts = (struct card_facts){
		.gpu = { .inventory = &host->inv, .holders = &host->holders,
			 .critical = &host->critical, .node = "testhost" },
		.framebuffers = &host->framebuffers, .settings = &host->settings,
		.taken = &host->taken, .vfio_driver = true,
	};
	return host;
}

void hand_free(struct hand_host *host)
{
	names_unref(host->inv.names);
	arena_free(host->arena);
}

struct pci_address hand_at(const char *text)
{
	struct pci_address a = { 0 };

	if (!pci_address_parse(text, &a))
		abort();
	return a;
}

struct function *hand_function(struct hand_host *host, const char *address, uint32_t class,
			       const char *driver, int group, int card)
{
	struct function *f = arena_new_of(host->arena, struct function);
	struct function_settings *s;

	f->address = hand_at(address);
	pci_address_format(f->address, f->text);
	f->sysfs = arena_printf(host->arena, "sys/devices/%s", address);
	f->vendor = 0xfff0;
	f->device = 0x1b80;
	f->class = class;
	f->driver = driver;
	f->group = group;
	f->numa_node = NUMA_UNKNOWN;
	f->boot_vga = -1;
	f->link_width = f->max_link_width = ROW_NULL;
	f->aer_correctable = f->aer_fatal = ROW_NULL;
	f->path_key = "00:01.0/00.0";
	list_add_string(host->arena, &f->reset_methods, "flr");
	host->card_of[host->inv.functions.n] = card;
	*list_add(host->arena, &host->inv.functions, struct function *) = f;
	s = list_add(host->arena, &host->settings, struct function_settings);
	*s = (struct function_settings){ f->address, driver, "", "auto", 1 };
	return f;
}

void hand_card(struct hand_host *host, struct function *first, struct function *second)
{
	struct card *card = list_add(host->arena, &host->inv.cards, struct card);

	card->slot = first->address;
	memcpy(card->text, first->text, sizeof(card->text));
	*list_add(host->arena, &card->functions, struct function *) = first;
	if (second)
		*list_add(host->arena, &card->functions, struct function *) = second;
}

struct group *hand_group(struct hand_host *host, int number)
{
	struct group *group = list_add(host->arena, &host->inv.groups, struct group);

	group->number = number;
	for (LIST_EACH(struct function *, f, &host->inv.functions))
		if ((*f)->group == number)
			*list_add(host->arena, &group->functions, struct function *) = *f;
	return group;
}

struct function *hand_pair(struct hand_host *host, const char *gpu, const char *audio)
{
	struct function *f = hand_function(host, "0000:01:00.0", 0x030000, gpu, 1, 0);

	hand_card(host, f, hand_function(host, "0000:01:00.1", 0x040300, audio, 1, 0));
	hand_group(host, 1);
	return f;
}

void hand_holder(struct hand_host *host, int64_t pid, const char *address)
{
	struct holder *h = list_add(host->arena, &host->holders, struct holder);

	*h = (struct holder){ .kind = pid ? "process" : "kernel", .pid = pid,
			      .name = pid ? "Xorg" : "fbcon", .node = pid ? "/dev/dri/card0" : NULL,
			      .address = hand_at(address) };
}

void hand_critical(struct hand_host *host, const char *address, const char *code)
{
	struct critical *c = list_add(host->arena, &host->critical, struct critical);

	*c = (struct critical){ hand_at(address), code, "the host needs it", "seen there" };
}
