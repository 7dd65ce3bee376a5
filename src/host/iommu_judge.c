/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The verdict on the IOMMU: firmware table, units that the kernel drives, groups that functions are
 * in. What decides is the groups: they are what VFIO uses. The other findings say why there are
 * none. The command line only explains; distributions differ in what is on without a word there.
 * Pure.
 */
#include <stdlib.h>
#include <string.h>

#include "base/rows.h"
#include "base/strbuf.h"
#include "host/iommu.h"
#include "host/pci.h"

enum { LIST_TEXT_MAX = 2048 };

/* Beginnings of words of the command line that bear on passthrough. */
static const char *const words_that_matter[] = {
	"amd_iommu=",	       "amd_iommu_intr=", "default_hugepagesz=",
	"hugepages=",	       "hugepagesz=",	  "i915.enable_gvt=",
	"initcall_blacklist=", "intel_iommu=",	  "intremap=",
	"iommu.passthrough=",  "iommu.strict=",	  "iommu=",
	"isolcpus=",	       "nomodeset",	  "pci=",
	"pcie_acs_override=",  "vfio-pci.",	  "vfio.",
	"vfio_iommu_type1.",   "vfio_pci.",	  "video=",
};

/* Words that turn an IOMMU off. */
static const char *const off_words[] = { "amd_iommu=off", "intel_iommu=off", "iommu=off" };

static const struct {
	const char *prefix, *kind;
} unit_kinds[] = {
	{ "dmar", "intel" }, { "ivhd", "amd" }, { "smmu", "smmu" }, { "virtio", "virtio" }
};

struct verdict {
	const struct iommu_facts *facts;
	struct arena *arena;
	struct iommu *out;
	size_t functions; /* all PCI functions */
	size_t in_groups; /* those in a real group */
	size_t in_noiommu;
	size_t group_unknown; /* those whose link could not be read */
	int64_t pci_groups;
};

#define FIND(v, list, ...)                                                                         \
	list_add_string((v)->arena, &(v)->out->list, arena_printf((v)->arena, __VA_ARGS__))

static void unknown(struct verdict *v, const char *field, const char *reason)
{
	*list_add(v->arena, &v->out->unknown, struct row_pair) = (struct row_pair){ field, reason };
}

/* "a, b, c" in the arena. */
static const char *joined(struct arena *arena, const struct list *strings)
{
	CLEAN_STRBUF struct strbuf sb = STRBUF_INIT(LIST_TEXT_MAX);

	for (LIST_EACH(const char *, s, strings))
		strbuf_printf(&sb, "%s%s", sb.len ? ", " : "", *s);
	return arena_strdup(arena, strbuf_text(&sb));
}

static bool has(const struct list *strings, const char *word)
{
	for (LIST_EACH(const char *, s, strings))
		if (!strcmp(*s, word))
			return true;
	return false;
}

/* The first of the words that has this beginning, or NULL. */
static const char *with_prefix(const struct list *strings, const char *prefix)
{
	for (LIST_EACH(const char *, s, strings))
		if (!strncmp(*s, prefix, strlen(prefix)))
			return *s;
	return NULL;
}

static int compare_ints(const void *a, const void *b)
{
	return (*(const int *)a > *(const int *)b) - (*(const int *)a < *(const int *)b);
}

static void count(struct verdict *v, const struct list *functions)
{
	int *numbers = arena_array(v->arena, functions->n, int);

	v->functions = functions->n;
	for (LIST_EACH(struct function *, it, functions)) {
		const struct function *f = *it;

		if (f->group_is_noiommu)
			v->in_noiommu++;
		else if (f->group != NO_GROUP)
			numbers[v->in_groups++] = f->group;
		for (LIST_EACH(struct row_pair, pair, &f->unknown))
			v->group_unknown += !strcmp(pair->key, "iommu_group");
	}
	qsort(numbers, v->in_groups, sizeof(int), compare_ints);
	for (size_t i = 0; i < v->in_groups; i++)
		v->pci_groups += !i || numbers[i] != numbers[i - 1];
}

static void read_cmdline(struct verdict *v)
{
	char *copy = arena_strdup(v->arena, v->facts->cmdline), *word;

	if (!copy) {
		unknown(v, "cmdline", "/proc/cmdline cannot be read");
		return;
	}
	while ((word = strsep(&copy, " \t\n")))
		for (size_t i = 0; *word && i < ARRAY_SIZE(words_that_matter); i++)
			if (!strncmp(word, words_that_matter[i], strlen(words_that_matter[i]))) {
				list_add_string(v->arena, &v->out->cmdline, word);
				break;
			}
}

static const char *kind_of_unit(const char *unit)
{
	struct pci_address address;

	for (size_t i = 0; i < ARRAY_SIZE(unit_kinds); i++)
		if (!strncmp(unit, unit_kinds[i].prefix, strlen(unit_kinds[i].prefix)))
			return unit_kinds[i].kind;
	/* virtio-iommu goes by the address of its PCI function */
	return pci_address_parse(unit, &address) ? "virtio" : NULL;
}

static void find_kind(struct verdict *v)
{
	const struct iommu_facts *facts = v->facts;

	for (LIST_EACH(const char *, unit, &facts->units))
		if (!v->out->kind)
			v->out->kind = kind_of_unit(*unit);
	if (v->out->kind || v->out->enabled == FACT_NO)
		return;
	if (has(&facts->tables, "DMAR"))
		v->out->kind = "intel";
	else if (has(&facts->tables, "IVRS"))
		v->out->kind = "amd";
	else
		unknown(v, "kind", "neither a unit nor a firmware table says whose it is");
}

static void tell_evidence(struct verdict *v)
{
	const struct iommu_facts *facts = v->facts;

	if (facts->cpu)
		FIND(v, evidence, "/proc/cpuinfo: the processor has %s (%s)", facts->cpu,
		     strcmp(facts->cpu, "vmx") ? "AMD" : "Intel");
	if (facts->tables.null)
		FIND(v, evidence,
		     "/sys/firmware/acpi/tables cannot be read: unknown whether the "
		     "firmware describes an IOMMU");
	else if (facts->tables.n)
		FIND(v, evidence, "/sys/firmware/acpi/tables: the firmware describes an IOMMU (%s)",
		     joined(v->arena, &facts->tables));
	else
		FIND(v, evidence, "/sys/firmware/acpi/tables: no DMAR, IVRS, IORT or VIOT table");
	if (facts->units.null)
		FIND(v, evidence, "/sys/class/iommu cannot be read: unknown which units run");
	else
		FIND(v, evidence, "/sys/class/iommu: %s",
		     facts->units.n ? joined(v->arena, &facts->units) : "no unit runs");
	FIND(v, evidence, "/sys/bus/pci/devices: %zu of %zu PCI functions are in an IOMMU group",
	     v->in_groups, v->functions);
	if (v->in_noiommu)
		FIND(v, evidence,
		     "%zu PCI functions are in groups of vfio-noiommu, which isolate "
		     "nothing",
		     v->in_noiommu);
}

/* Why it is off, as far as the findings tell; with what to do. */
static const char *explain_off(struct verdict *v)
{
	const struct iommu_facts *facts = v->facts;

	for (size_t i = 0; i < ARRAY_SIZE(off_words); i++)
		if (has(&v->out->cmdline, off_words[i]) && !facts->units.n) {
			FIND(v, problems, "The kernel command line says %s: remove it and reboot",
			     off_words[i]);
			return arena_printf(v->arena,
					    "IOMMU is not enabled: the kernel command "
					    "line turns it off (%s)",
					    off_words[i]);
		}
	if (facts->units.n) {
		FIND(v, problems,
		     "An IOMMU runs, but no PCI function is in a group: look for what "
		     "the kernel says at boot about DMAR, AMD-Vi or SMMU");
		return "IOMMU is not enabled for devices: units run, but no PCI function is in a "
		       "group";
	}
	if (facts->tables.n) {
		FIND(v, problems,
		     "The firmware describes an IOMMU that the kernel does not use: %s "
		     "and reboot",
		     has(&facts->tables, "DMAR")
			     ? "add intel_iommu=on to the kernel command line"
			     : "look for iommu options on the kernel command line, remove them");
		return "IOMMU is not enabled: the firmware offers it, the kernel has it off";
	}
	FIND(v, problems, "Enable VT-d or AMD-Vi (IOMMU) in the firmware setup and reboot");
	if (facts->tables.null)
		return "IOMMU is not enabled: no PCI function is in an IOMMU group";
	return "IOMMU is not enabled: the firmware describes none (it is off there, or the machine "
	       "has none)";
}

static void judge_enabled(struct verdict *v)
{
	struct iommu *out = v->out;

	if (v->in_groups) {
		out->enabled = FACT_YES;
		out->message = "IOMMU is enabled and ready for GPU passthrough";
	} else if (v->group_unknown ||
		   (!v->functions && (v->facts->units.null || v->facts->units.n))) {
		out->enabled = FACT_UNKNOWN;
		out->message = "Whether the IOMMU is enabled cannot be told";
		unknown(v, "enabled",
			v->functions ? "the groups of PCI functions cannot be read"
				     : "there is no PCI function to judge it by");
	} else {
		out->enabled = FACT_NO;
		out->message = explain_off(v);
	}
	if (v->in_groups || v->functions || v->facts->other_groups != ROW_NULL) {
		out->groups = v->pci_groups;
		if (v->facts->other_groups != ROW_NULL)
			out->groups += v->facts->other_groups;
		return;
	}
	out->groups = ROW_NULL;
	unknown(v, "groups", "/sys/kernel/iommu_groups cannot be read");
}

static void judge_interrupts(struct verdict *v)
{
	struct iommu *out = v->out;
	enum fact chips = v->facts->remapped_chips;

	out->interrupt_remapping = chips;
	if (chips == FACT_YES)
		FIND(v, evidence, "/proc/interrupts: interrupts are remapped");
	else if (chips == FACT_NO)
		FIND(v, evidence, "/proc/interrupts: no interrupt is remapped");
	if (v->facts->remapping_hardware == FACT_NO) {
		FIND(v, evidence, "/sys/class/iommu: no unit can remap interrupts");
		if (chips == FACT_UNKNOWN)
			out->interrupt_remapping = FACT_NO;
	}
	if (out->interrupt_remapping == FACT_UNKNOWN)
		unknown(v, "interrupt_remapping",
			"/proc/interrupts cannot be read, or does not tell");
	if (out->interrupt_remapping != FACT_NO || out->enabled != FACT_YES)
		return;
	out->message = "IOMMU is enabled, but interrupts are not remapped: VMs with a card cannot "
		       "start";
	FIND(v, problems, "Interrupts are not remapped: %s",
	     with_prefix(&out->cmdline, "intremap=off")
		     ? "remove intremap=off from the kernel command line and reboot"
		     : "enable interrupt remapping (with x2APIC) in the firmware setup");
}

static void judge_isolation(struct verdict *v)
{
	struct iommu *out = v->out;
	const char *acs = with_prefix(&out->cmdline, "pcie_acs_override=");

	out->acs_override = !v->facts->cmdline ? FACT_UNKNOWN : acs ? FACT_YES : FACT_NO;
	if (!v->facts->cmdline)
		unknown(v, "acs_override", "/proc/cmdline cannot be read");
	if (acs)
		FIND(v, problems,
		     "%s: groups are split that the hardware does not isolate; a VM "
		     "can reach memory of other devices",
		     acs);
	if (out->unsafe_interrupts == FACT_UNKNOWN)
		unknown(v, "unsafe_interrupts",
			"module vfio_iommu_type1 is not loaded, or its "
			"parameter cannot be read");
	if (out->unsafe_interrupts == FACT_YES)
		FIND(v, problems,
		     "allow_unsafe_interrupts is set: a VM with a card can send any "
		     "interrupt to the host");
	if (has(&out->cmdline, "amd_iommu=on"))
		FIND(v, problems,
		     "amd_iommu=on is no option of the kernel: it does nothing (AMD's "
		     "IOMMU is on by itself)");
}

void iommu_judge(const struct iommu_facts *facts, enum fact unsafe_interrupts,
		 const struct list *functions, struct arena *arena, struct iommu *out)
{
	struct verdict v = { .facts = facts, .arena = arena, .out = out };

	*out = (struct iommu){ .unsafe_interrupts = unsafe_interrupts };
	count(&v, functions);
	read_cmdline(&v);
	tell_evidence(&v);
	judge_enabled(&v);
	find_kind(&v);
	judge_interrupts(&v);
	judge_isolation(&v);
}
