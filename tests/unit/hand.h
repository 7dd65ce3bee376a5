/* SPDX-License-Identifier: Apache-2.0 */
/* Hosts made by hand, in memory: inventories with the facts that guards, planners and views go by. */
#pragma once

#include "gpu/guard.h"

enum { HAND_FUNCTIONS = 16 };

struct hand_host {
	struct arena *arena;
	struct inventory inv;
	int card_of[HAND_FUNCTIONS];
	struct list holders, critical, framebuffers, settings, taken;
	struct card_facts facts;
};

/* An empty host with a real IOMMU, everything readable, vfio-pci there. Free with hand_free(). */
struct hand_host *hand_new(void);
void hand_free(struct hand_host *host);

struct pci_address hand_at(const char *text);
/* Functions come in order of address; card: index of the card it is of, or -1. Its settings are
 * {override "", control "auto", d3cold_allowed 1}; its reset methods "flr". */
struct function *hand_function(struct hand_host *host, const char *address, uint32_t class,
			       const char *driver, int group, int card);
void hand_card(struct hand_host *host, struct function *first, struct function *second);
/* Call when the functions are there. */
struct group *hand_group(struct hand_host *host, int number);
/* A GPU with its audio function, on the given drivers, alone in group 1: 0000:01:00.0 and .1. */
struct function *hand_pair(struct hand_host *host, const char *gpu, const char *audio);
/* pid 0: the kernel's "fbcon"; else process "Xorg". */
void hand_holder(struct hand_host *host, int64_t pid, const char *address);
void hand_critical(struct hand_host *host, const char *address, const char *code);
