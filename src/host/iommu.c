/* SPDX-License-Identifier: Apache-2.0 */
/* What the files say about the IOMMU. The verdict on it is iommu_judge.c's. See iommu.h. */
#include "host/iommu.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/fdpath.h"
#include "base/rows.h"
#include "host/reader.h"

enum {
	CMDLINE_MAX = 16 * 1024,
	CPUINFO_BYTES = 16 * 1024,     /* the first processor tells */
	INTERRUPTS_BYTES = 512 * 1024, /* IO-APIC lines come first; one line is 11 bytes per CPU */
	SHORT_TEXT = 64,
	PATH_TEXT = 320,
	ECAP_INTERRUPT_REMAPPING = 1 << 3, /* VT-d specification, Extended Capability Register */
};

static const char groups_path[] = "sys/kernel/iommu_groups";
static const char *const tables[] = { "DMAR", "IORT", "IVRS", "VIOT" };

static void read_tables(int root, struct iommu_facts *facts)
{
	struct list names = { 0 };
	int r = fdpath_list(root, "sys/firmware/acpi/tables", facts->arena, &names);

	facts->opens++;
	facts->tables.null = r < 0;
	for (LIST_EACH(const char *, name, &names))
		for (size_t i = 0; i < ARRAY_SIZE(tables); i++)
			if (!strcmp(*name, tables[i]))
				list_add_string(facts->arena, &facts->tables, tables[i]);
}

/* Intel shows its registers; the others do not. */
static void read_remapping_hardware(int root, struct iommu_facts *facts)
{
	char path[PATH_TEXT];
	uint64_t ecap;

	facts->remapping_hardware = FACT_UNKNOWN;
	for (LIST_EACH(const char *, unit, &facts->units)) {
		if (strncmp(*unit, "dmar", 4))
			continue;
		snprintf(path, sizeof(path), "sys/class/iommu/%s/intel-iommu/ecap", *unit);
		facts->opens++;
		if (fdpath_read_hex(root, path, &ecap) < 0)
			continue;
		if (ecap & ECAP_INTERRUPT_REMAPPING)
			facts->remapping_hardware = FACT_YES;
		else if (facts->remapping_hardware == FACT_UNKNOWN)
			facts->remapping_hardware = FACT_NO;
	}
}

static void read_units(int root, struct iommu_facts *facts)
{
	int r = fdpath_list(root, "sys/class/iommu", facts->arena, &facts->units);

	facts->opens++;
	facts->units.null = r < 0;
	read_remapping_hardware(root, facts);
}

/* The first `size` bytes of a file of /proc as text; NULL when there are none. */
static char *head_of(int root, const char *path, size_t size, struct iommu_facts *facts)
{
	char *text = malloc(size + 1);
	ssize_t n;

	if (!text)
		abort();
	n = fdpath_pread(root, path, text, size, 0);
	facts->opens++;
	if (n <= 0) {
		free(text);
		return NULL;
	}
	text[n] = '\0';
	return text;
}

static bool has_word(const char *text, const char *word)
{
	size_t n = strlen(word);

	for (const char *at = text; (at = strstr(at, word)); at += n)
		if ((at == text || strchr(" \t\n:", at[-1])) && (!at[n] || strchr(" \t\n", at[n])))
			return true;
	return false;
}

static void read_cpu(int root, struct iommu_facts *facts)
{
	CLEAN_FREE char *text = head_of(root, "proc/cpuinfo", CPUINFO_BYTES, facts);

	if (text && has_word(text, "vmx"))
		facts->cpu = "vmx";
	else if (text && has_word(text, "svm"))
		facts->cpu = "svm";
}

/*
 * A remapped interrupt's chip is named IR-PCI-MSI, IR-IO-APIC and so on (arch/x86, drivers/iommu);
 * on arm64 the ITS isolates MSIs. Names without the prefix say that there is no remapping.
 */
static void read_chips(int root, struct iommu_facts *facts)
{
	static const char *const remapped[] = { " IR-IO-APIC", " IR-PCI-MSI", " ITS-MSI",
						" ITS-PCI-MSI" };
	static const char *const plain[] = { " IO-APIC", " PCI-MSI" };
	CLEAN_FREE char *text = head_of(root, "proc/interrupts", INTERRUPTS_BYTES, facts);

	facts->remapped_chips = FACT_UNKNOWN;
	for (size_t i = 0; text && i < ARRAY_SIZE(plain); i++)
		if (strstr(text, plain[i]))
			facts->remapped_chips = FACT_NO;
	for (size_t i = 0; text && i < ARRAY_SIZE(remapped); i++)
		if (strstr(text, remapped[i]))
			facts->remapped_chips = FACT_YES;
}

enum fact iommu_read_unsafe_interrupts(const struct host_root *root)
{
	static const char path[] = "sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts";
	char text[SHORT_TEXT];

	if (fdpath_attribute(root->fd, path, text, sizeof(text)) != 1)
		return FACT_UNKNOWN;
	return *text == 'Y' || *text == '1' ? FACT_YES : FACT_NO;
}

static bool has_pci_function(const struct list *functions, long group)
{
	for (LIST_EACH(struct function *, f, functions))
		if ((*f)->group == group)
			return true;
	return false;
}

/* VFIO's own groups (no IOMMU, or emulated: mdevs) are not evidence of an IOMMU. */
static void read_other_groups(int root, const struct list *functions, struct iommu_facts *facts)
{
	char path[PATH_TEXT], name[SHORT_TEXT];
	struct list numbers = { 0 };
	long number;
	ssize_t n;

	facts->other_groups = ROW_NULL;
	facts->opens++;
	if (fdpath_list(root, groups_path, facts->arena, &numbers) < 0)
		return;
	facts->other_groups = 0;
	for (LIST_EACH(const char *, text, &numbers)) {
		if (!whole_number(*text, INT32_MAX, &number) || has_pci_function(functions, number))
			continue;
		snprintf(path, sizeof(path), "%s/%s/name", groups_path, *text);
		facts->opens++;
		n = fdpath_attribute(root, path, name, sizeof(name));
		if (n < 0 || strcmp(name, "vfio-noiommu"))
			facts->other_groups++;
	}
}

struct iommu_facts *iommu_facts_read(const struct host_root *root, const struct list *functions)
{
	struct arena *arena = arena_new();
	struct iommu_facts *facts = arena_new_of(arena, struct iommu_facts);

	facts->refs = 1;
	facts->arena = arena;
	read_tables(root->fd, facts);
	read_units(root->fd, facts);
	read_other_groups(root->fd, functions, facts);
	read_cpu(root->fd, facts);
	read_chips(root->fd, facts);
	fdpath_read_all(root->fd, "proc/cmdline", CMDLINE_MAX, arena, &facts->cmdline);
	facts->opens++;
	return facts;
}

struct iommu_facts *iommu_facts_ref(struct iommu_facts *facts)
{
	if (facts)
		__atomic_add_fetch(&facts->refs, 1, __ATOMIC_RELAXED);
	return facts;
}

void iommu_facts_unref(struct iommu_facts *facts)
{
	if (facts && !__atomic_sub_fetch(&facts->refs, 1, __ATOMIC_ACQ_REL))
		arena_free(facts->arena);
}

void iommu_read(const struct host_root *root, const struct list *functions, struct arena *arena,
		struct iommu *out)
{
	CLEANUP(iommu_facts_unrefp)
	struct iommu_facts *facts = iommu_facts_read(root, functions);

	iommu_judge(facts, iommu_read_unsafe_interrupts(root), functions, arena, out);
}
