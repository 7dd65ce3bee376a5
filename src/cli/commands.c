/* SPDX-License-Identifier: Apache-2.0 */
/* The table. See commands.h. */
#include "cli/commands.h"

#include <string.h>

#include "base/address.h"

#define OPTION(field) offsetof(struct options, field)

const char *const output_words[] = { "table", "json", NULL };

/* keep sorted */
const struct flag common_flags[] = {
	{ "generate", 0, FLAG_TEXT, "WHAT", OPTION(generate) },
	{ "help", 'h', FLAG_SWITCH, NULL, OPTION(help), "Say how it is used, and do nothing." },
	{ "host-root", 0, FLAG_DIRECTORY, "DIR", OPTION(host_root),
	  "Read the host whose / is DIR, without a daemon." },
	{ "output", 'o', FLAG_WORD, "FORM", OPTION(output),
	  "How to print: table, for people, or json, the answer of the API as it came.",
	  .words = output_words },
	{ "socket", 0, FLAG_TEXT, "PATH", OPTION(socket),
	  "Talk to the daemon on this Unix socket, and to none else." },
	{ "timeout", 0, FLAG_NUMBER, "SECONDS", OPTION(timeout_s),
	  "Give up when the daemon does not answer for so long; 30 unless said otherwise.",
	  .min = 1, .max = 3600 },
	{ "version", 0, FLAG_SWITCH, NULL, OPTION(version), "Print the version of this program." },
	FLAG_LAST,
};

/* keep sorted by noun and verb */
const struct command commands[] = {
	{ "gpu", "group", "ADDRESS", 1, pci_address_check, NULL,
	  "show what shares a card's IOMMU group",
	  "Lists every function in the IOMMU group of the card with the given address: what it is, "
	  "which driver has it, whether that keeps a VM from using the group, and what of the host "
	  "lives on it. Then says what blocks the group and what can be done.",
	  cmd_gpu_group },
	{ "gpu", "iommu", NULL, 0, NULL, NULL, "say whether the IOMMU is ready",
	  "Gives the verdict on the IOMMU with the evidence for it, what is wrong, and what to do. "
	  "Without an IOMMU no card can be given to a VM; without interrupt remapping no VM with a "
	  "card starts.",
	  cmd_gpu_iommu },
	{ "gpu", "list", NULL, 0, NULL, NULL, "list the graphics cards",
	  "Lists every function of GPU class, virtual functions too: address, name, ids, driver, "
	  "IOMMU group, state of the card, and who uses it. A \"?\" is what could not be told; "
	  "gpu show says why.",
	  cmd_gpu_list },
	{ "gpu", "scan", NULL, 0, NULL, NULL, "have the daemon read all cards anew",
	  "Asks the daemon to read every card again, and lists them. It follows the kernel's "
	  "events "
	  "by itself; this is for what sends none.",
	  cmd_gpu_scan },
	{ "gpu", "show", "ADDRESS", 1, pci_address_check, NULL, "show everything about a card",
	  "Shows what is known of the card with the given address, which may be that of any of its "
	  "functions; and for each thing that could not be told, why.",
	  cmd_gpu_show },
	{ "version", NULL, NULL, 0, NULL, NULL, "print the versions of program and daemon",
	  "Prints the version of this program and, when it answers, of the daemon. With "
	  "--output=json "
	  "it is the daemon's answer alone; --version prints the version of this program alone.",
	  cmd_version },
	{ NULL },
};

const struct command *command_find(const char *noun, const char *verb)
{
	for (const struct command *c = commands; c->noun; c++)
		if (!strcmp(c->noun, noun) && (verb ? c->verb && !strcmp(c->verb, verb) : !c->verb))
			return c;
	return NULL;
}

bool command_noun(const char *noun)
{
	for (const struct command *c = commands; c->noun; c++)
		if (!strcmp(c->noun, noun))
			return true;
	return false;
}
