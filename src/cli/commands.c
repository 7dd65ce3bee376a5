/* SPDX-License-Identifier: Apache-2.0 */
/* The table. See commands.h. */
#include "cli/commands.h"

#include <stdlib.h>
#include <string.h>

#include "base/address.h"
#include "wire/vm.h"

#define OPTION(field) offsetof(struct options, field)

const char *const output_words[] = { "table", "json", NULL };
const char *const scope_words[] = { "card", "function", NULL };

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

/* ---- of changes. Each list: keep sorted ---- */

#define ACCEPT                                                                                     \
	{                                                                                          \
		"accept", 0, FLAG_TEXT, "CODE,...", OPTION(accept),                                \
			"Pass over refusals with these codes, where they can be passed over."      \
	}
#define NO_WAIT                                                                                    \
	{                                                                                          \
		"no-wait", 0, FLAG_SWITCH, NULL, OPTION(no_wait),                                  \
			"Print the task that does it, and do not wait for its end."                \
	}
#define PLAN                                                                                       \
	{                                                                                          \
		"plan", 0, FLAG_SWITCH, NULL, OPTION(plan),                                        \
			"Say what would be done, and do nothing."                                  \
	}
#define WITHIN                                                                                     \
	{                                                                                          \
		"within", 0, FLAG_NUMBER, "SECONDS", OPTION(within_s),                             \
			"How long the guest may take to power off; 120 unless said otherwise.",    \
			.min = 1, .max = 3600                                                      \
	}

static const struct flag bind_flags[] = {
	ACCEPT,
	NO_WAIT,
	PLAN,
	{ "scope", 0, FLAG_WORD, "WHAT", OPTION(scope),
	  "What to take: card, all its functions, or function, the one named alone.",
	  .words = scope_words },
	FLAG_LAST,
};
static const struct flag accept_flags[] = { ACCEPT, NO_WAIT, PLAN, FLAG_LAST };
static const struct flag unbind_flags[] = {
	ACCEPT,
	{ "all", 0, FLAG_SWITCH, NULL, OPTION(all),
	  "Instead of an address: every card that Horcrux took and no VM uses." },
	NO_WAIT,
	PLAN,
	FLAG_LAST,
};
static const struct flag change_flags[] = { NO_WAIT, PLAN, FLAG_LAST };
static const struct flag plan_flags[] = { PLAN, FLAG_LAST };
static const struct flag stop_flags[] = { NO_WAIT, PLAN, WITHIN, FLAG_LAST };
static const struct flag restart_flags[] = { ACCEPT, NO_WAIT, PLAN, WITHIN, FLAG_LAST };
static const struct flag delete_flags[] = {
	{ "delete-disks", 0, FLAG_SWITCH, NULL, OPTION(delete_disks),
	  "Delete its disks too, for ever; otherwise they are kept." },
	NO_WAIT,
	PLAN,
	FLAG_LAST,
};
static const struct flag create_flags[] = {
	ACCEPT,
	{ "autostart", 0, FLAG_SWITCH, NULL, OPTION(autostart), "Start it with the host." },
	{ "cdrom", 0, FLAG_TEXTS, "NAME", OPTION(cdroms),
	  "An ISO image in the pool horcrux; may be given several times." },
	{ "cpus", 0, FLAG_NUMBER, "N", OPTION(cpus), "Virtual CPUs.", .min = 1, .max = 512 },
	{ "disk", 0, FLAG_TEXTS, "GIB|VOLUME", OPTION(disks),
	  "A new disk of so many GiB, or a volume of the pool horcrux; may be given several "
	  "times." },
	{ "file", 'f', FLAG_FILE, "FILE", OPTION(file),
	  "Read the VM as JSON, as the API takes it; - is standard input. Options go before it." },
	{ "firmware", 0, FLAG_WORD, "WHAT", OPTION(firmware),
	  "uefi, unless said otherwise, or bios.", .words = wire_firmware_words },
	{ "gpu", 0, FLAG_TEXTS, "ADDRESS[,rom=NAME][,primary][,function]", OPTION(cards),
	  "A card, by the address of any of its functions: with another option ROM, as the "
	  "guest's only display, that function alone. May be given several times." },
	{ "id", 0, FLAG_TEXT, "ID", OPTION(id), "Its id; made from the name unless given.",
	  .check = wire_vm_id_check },
	{ "memory", 0, FLAG_NUMBER, "MIB", OPTION(memory), "Memory in MiB.", .min = 32,
	  .max = 16777216 },
	{ "name", 0, FLAG_TEXT, "NAME", OPTION(name), "Its name, for people." },
	{ "network", 0, FLAG_WORD, "KIND", OPTION(network),
	  "nat, libvirt's default network, unless said otherwise; or none.",
	  .words = wire_network_kind_words },
	NO_WAIT,
	{ "os", 0, FLAG_WORD, "SYSTEM", OPTION(os),
	  "linux, unless said otherwise, windows or other.", .words = wire_os_words },
	PLAN,
	{ "start", 0, FLAG_SWITCH, NULL, OPTION(start), "Start it at once." },
	FLAG_LAST,
};

static const struct flag doctor_flags[] = {
	{ "device", 0, FLAG_TEXT, "ADDRESS", OPTION(device),
	  "Check this card alone, and the host.", .check = pci_address_check },
	FLAG_LAST,
};

static const struct flag profile_flags[] = {
	{ "device", 0, FLAG_TEXT, "ADDRESS", OPTION(device), "Of this card alone.",
	  .check = pci_address_check },
	{ "fits", 0, FLAG_SWITCH, NULL, OPTION(fits), "Only those of which one more fits now." },
	FLAG_LAST,
};

/* It will stand in a path. */
static int task_id_check(const char *text, struct error *err)
{
	if (*text && strlen(text) < 64 &&
	    !text[strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-")])
		return 0;
	return error_set(err, ERROR_INVALID_VALUE, "\"%.70s\" is no id of a task", text);
}

static int vfs_check(const char *text, struct error *err)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	if (*text >= '0' && *text <= '9' && !*end && n <= UINT16_MAX)
		return 0;
	return error_set(err, ERROR_INVALID_VALUE, "\"%.20s\" is no number of VFs: 0 to 65535", text);
}

/* keep sorted by noun and verb */
const struct command commands[] = {
	{ "doctor", NULL, NULL, 0, NULL, doctor_flags,
	  "check that the host can give its cards to VMs",
	  "Checks the host and every card: what is well, what is not, why that matters, and what to "
	  "do. Changes nothing and wakes no card. The exit status is 1 when something stands in the "
	  "way of every card.",
	  cmd_doctor },
	{ "gpu", "bind", "ADDRESS", 1, pci_address_check, bind_flags,
	  "take a card from the host, for VMs",
	  "Takes the card with the given address, all its functions, from its host drivers to "
	  "vfio-pci, and proves that a VM could use it. Starting a VM does the same by itself.",
	  cmd_gpu_bind },
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
	{ "gpu", "sriov", "ADDRESS VFS", 2, pci_address_check, accept_flags,
	  "cut a card into virtual functions",
	  "Gives the card with the given address so many virtual functions (SR-IOV), 0 for none, and "
	  "keeps it so: they are made again after a boot, before VMs are started with the host. "
	  "Refused while one of those there are is in use. Where the card's driver makes them in a "
	  "way of its own, that is told.",
	  cmd_gpu_sriov, .check_second = vfs_check },
	{ "gpu", "unbind", "ADDRESS|--all", 1, pci_address_check, unbind_flags,
	  "give a card back to the host",
	  "Gives the card with the given address back to the drivers that it was taken from. With "
	  "--all every card that Horcrux took; those that a VM uses stay with it, and are named.",
	  cmd_gpu_unbind },
	{ "task", "cancel", "TASK", 1, task_id_check, plan_flags, "end a task; what it did is undone",
	  "Ends the task before its next step, and has undone what it did. Past a point of no "
	  "return it cannot be ended.",
	  cmd_task_cancel },
	{ "task", "list", NULL, 0, NULL, NULL, "list what is being done, and was",
	  "Lists the tasks that are under way and those that are over, the oldest first. The last "
	  "1000 are kept, for at most a week.",
	  cmd_task_list },
	{ "task", "show", "TASK", 1, task_id_check, NULL, "show how a task stands",
	  "Shows what the task does or did, how far it got, and what went wrong.", cmd_task_show },
	{ "task", "watch", "TASK", 1, task_id_check, NULL, "follow a task to its end",
	  "Prints the steps of the task as they are done, until it is over. The exit status says "
	  "how it ended.",
	  cmd_task_watch },
	{ "version", NULL, NULL, 0, NULL, NULL, "print the versions of program and daemon",
	  "Prints the version of this program and, when it answers, of the daemon. With "
	  "--output=json "
	  "it is the daemon's answer alone; --version prints the version of this program alone.",
	  cmd_version },
	{ "vgpu", "instances", NULL, 0, NULL, NULL, "list the vGPUs there are",
	  "Lists every vGPU on every card: its profile, where it is, and whether somebody uses it.",
	  cmd_vgpu_instances },
	{ "vgpu", "list", NULL, 0, NULL, NULL, "list the cards that can be shared",
	  "Lists the cards that can be given to several VMs at once, the kernel interface under each, how "
	  "many vGPUs or VFs it carries, and how many more it can take at the most.",
	  cmd_vgpu_list },
	{ "vgpu", "profiles", NULL, 0, NULL, profile_flags, "list what cards can be cut into",
	  "Lists the profiles that the drivers offer now, how many more of each fit, and why no more fit "
	  "of those that are out. Nothing is built in: what is on a card changes what fits beside it.",
	  cmd_vgpu_profiles },
	{ "vm", "create", NULL, 0, NULL, create_flags, "make a VM",
	  "Makes a VM of what the options say, or of a file in the API's own words, and starts it "
	  "if "
	  "that is asked for. cpus and memory are needed; a VM or disk that exists is never "
	  "overwritten.",
	  cmd_vm_create },
	{ "vm", "delete", "VM", 1, wire_vm_id_check, delete_flags, "forget a VM that does not run",
	  "Forgets the VM and its firmware's variables. Its disks are kept unless asked otherwise.",
	  cmd_vm_delete },
	{ "vm", "kill", "VM", 1, wire_vm_id_check, change_flags, "end a VM at once",
	  "Ends the VM as pulling the plug does, and gives its cards back.", cmd_vm_kill },
	{ "vm", "list", NULL, 0, NULL, NULL, "list the VMs",
	  "Lists every VM with its state and the cards that it names.", cmd_vm_list },
	{ "vm", "restart", "VM", 1, wire_vm_id_check, restart_flags, "stop a VM and start it again",
	  "Presses the VM's power button, waits for its guest, and starts it again. It keeps its "
	  "cards meanwhile. A VM that does not run is started.",
	  cmd_vm_restart },
	{ "vm", "show", "VM", 1, wire_vm_id_check, NULL, "show everything about a VM",
	  "Shows what was asked for with the VM, how it stands, and what is to be known of it.",
	  cmd_vm_show },
	{ "vm", "start", "VM", 1, wire_vm_id_check, accept_flags, "start a VM",
	  "Takes the VM's cards from the host if they are not taken yet, and starts it.",
	  cmd_vm_start },
	{ "vm", "stop", "VM", 1, wire_vm_id_check, stop_flags, "have a VM's guest power off",
	  "Presses the VM's power button until its guest is off (one that still boots does not hear "
	  "it), and gives its cards back as they were. A guest that does not heed the button runs on.",
	  cmd_vm_stop },
	{ "vm", "xml", "VM", 1, wire_vm_id_check, NULL, "print the domain that libvirt gets",
	  "Prints the domain's XML as libvirt gets it when the VM is started next.", cmd_vm_xml },
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
