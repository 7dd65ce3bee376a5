/* SPDX-License-Identifier: Apache-2.0 */
/* Processors and NUMA nodes: /proc/cpuinfo, /sys/devices/system; see cpu.h. */
#include "cpu.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host.h"

static struct {
	const char *vendor; /* intel, amd, arm */
	char *model;
	unsigned count, threads, nodes;
	bool novirt;
} cpu = { .vendor = "intel", .count = 8, .threads = 1, .nodes = 1 };

int cpu_line(struct line *l)
{
	static const char *const vendors[] = { "intel", "amd", "arm" };
	const char *vendor, *model = line_key(l, "model");
	int r;

	cpu.novirt = line_flag(l, "novirt");
	r = line_number(l, "count", 512, &cpu.count);
	if (!r)
		r = line_number(l, "threads", 2, &cpu.threads);
	if (!r)
		r = line_number(l, "nodes", 64, &cpu.nodes);
	if (r)
		return r;
	if (!cpu.count || !cpu.threads || !cpu.nodes || cpu.count % (cpu.threads * cpu.nodes))
		return host_complain("count must be a multiple of threads times nodes");
	vendor = line_word(l);
	cpu.model = model ? text_dup(model) : NULL;
	for (int i = 0; vendor && i < 3; i++) {
		if (strcmp(vendor, vendors[i]))
			continue;
		cpu.vendor = vendors[i];
		return 0;
	}
	return host_complain("a cpu is intel, amd or arm");
}

unsigned cpu_nodes(void)
{
	return cpu.nodes;
}

static unsigned cores(void)
{
	return cpu.count / cpu.threads;
}

/* Linux counts all first threads, then all second ones. */
static unsigned node_of(unsigned i)
{
	return i % cores() / (cores() / cpu.nodes);
}

static bool is_in(unsigned i, int node)
{
	return node < 0 || node_of(i) == (unsigned)node;
}

void cpu_mask(int node, struct text *out)
{
	for (unsigned digit = (cpu.count + 3) / 4; digit--;) {
		unsigned v = 0;

		for (unsigned bit = 0; bit < 4; bit++)
			if (digit * 4 + bit < cpu.count && is_in(digit * 4 + bit, node))
				v |= 1U << bit;
		text_addf(out, "%x%s", v, digit && digit % 8 == 0 ? "," : "");
	}
	text_puts(out, "\n");
}

void cpu_list(int node, struct text *out)
{
	const char *comma = "";

	for (unsigned i = 0; i < cpu.count; i++) {
		unsigned last = i;

		if (!is_in(i, node))
			continue;
		while (last + 1 < cpu.count && is_in(last + 1, node))
			last++;
		text_addf(out, last > i ? "%s%u-%u" : "%s%u", comma, i, last);
		comma = ",";
		i = last;
	}
	text_puts(out, "\n");
}

static void add_cpuinfo(struct text *t, unsigned i)
{
	bool intel = !strcmp(cpu.vendor, "intel");
	const char *virt = cpu.novirt ? "" : intel ? " vmx" : " svm";

	if (!strcmp(cpu.vendor, "arm")) {
		text_addf(t,
			  "processor\t: %u\nBogoMIPS\t: 108.00\nFeatures\t: fp asimd evtstrm "
			  "aes\nCPU implementer\t: 0x41\nCPU architecture: 8\nCPU part\t: "
			  "0xd0b\n\n",
			  i);
		return;
	}
	text_addf(t,
		  "processor\t: %u\nvendor_id\t: %s\nmodel name\t: %s\nphysical id\t: %u\n"
		  "siblings\t: %u\ncore id\t\t: %u\ncpu cores\t: %u\nflags\t\t: fpu vme de pse tsc "
		  "msr pae%s ht syscall nx pdpe1gb lm constant_tsc\naddress sizes\t: 46 bits "
		  "physical, 48 bits virtual\n\n",
		  i, intel ? "GenuineIntel" : "AuthenticAMD",
		  cpu.model ? cpu.model
		  : intel   ? "Intel(R) Xeon(R) CPU"
			    : "AMD EPYC Processor",
		  node_of(i), cpu.count / cpu.nodes, i % cores(), cores() / cpu.nodes, virt);
}

static void make_topology(unsigned i)
{
	struct node *dir;
	char name[16];

	snprintf(name, sizeof(name), "cpu%u", i);
	dir = node_dir(node_dir(node_dir(NULL, "sys/devices/system/cpu"), name), "topology");
	node_text(dir, "core_id", 0444, "%u\n", i % cores() % (cores() / cpu.nodes));
	node_text(dir, "physical_package_id", 0444, "%u\n", node_of(i));
	if (cpu.threads > 1)
		node_text(dir, "thread_siblings_list", 0444, "%u,%u\n", i % cores(),
			  i % cores() + cores());
	else
		node_text(dir, "thread_siblings_list", 0444, "%u\n", i);
}

static void make_node(unsigned i)
{
	struct text list = { 0 }, mask = { 0 }, distance = { 0 };
	struct node *dir;
	char name[16];

	snprintf(name, sizeof(name), "node%u", i);
	dir = node_dir(node_dir(NULL, "sys/devices/system/node"), name);
	cpu_list((int)i, &list);
	cpu_mask((int)i, &mask);
	for (unsigned j = 0; j < cpu.nodes; j++)
		text_addf(&distance, "%s%d", j ? " " : "", i == j ? 10 : 21);
	node_text(dir, "cpulist", 0444, "%s", list.data);
	node_text(dir, "cpumap", 0444, "%s", mask.data);
	node_text(dir, "distance", 0444, "%s\n", distance.data);
	text_free(&list);
	text_free(&mask);
	text_free(&distance);
}

static void make_ranges(void)
{
	struct node *cpus = node_dir(NULL, "sys/devices/system/cpu");
	struct node *nodes = node_dir(NULL, "sys/devices/system/node");
	struct text all = { 0 };

	cpu_list(-1, &all);
	node_text(cpus, "online", 0444, "%s", all.data);
	node_text(cpus, "possible", 0444, "%s", all.data);
	node_text(cpus, "present", 0444, "%s", all.data);
	node_text(cpus, "isolated", 0444, "\n");
	text_free(&all);
	node_text(nodes, "online", 0444, cpu.nodes > 1 ? "0-%u\n" : "%u\n", cpu.nodes - 1);
	node_text(nodes, "possible", 0444, cpu.nodes > 1 ? "0-%u\n" : "%u\n", cpu.nodes - 1);
}

static void make_kernel(const char *cmdline)
{
	struct node *proc = node_dir(NULL, "proc"), *sys = node_dir(proc, "sys/kernel");
	unsigned hash = 5381;

	for (const char *s = host.name; *s; s++)
		hash = hash * 33 + (unsigned char)*s;
	node_text(proc, "cmdline", 0444, "%s\n", cmdline);
	node_text(proc, "version", 0444,
		  "Linux version %s (debian-kernel@lists.debian.org) "
		  "(gcc) #1 SMP PREEMPT_DYNAMIC\n",
		  host.kernel);
	node_text(proc, "uptime", 0444, "86400.00 600000.00\n");
	node_text(proc, "stat", 0444, "cpu  1 0 1 1 0 0 0 0 0 0\nbtime 1700000000\n");
	node_text(sys, "osrelease", 0444, "%s\n", host.kernel);
	node_text(sys, "hostname", 0644, "%s\n", host.name);
	node_text(sys, "ostype", 0444, "Linux\n");
	node_text(sys, "tainted", 0644, "0\n");
	node_text(node_dir(sys, "random"), "boot_id", 0444, "%08x-0000-4000-8000-%012x\n", hash,
		  host.boot);
	node_text(node_dir(NULL, "etc"), "hostname", 0644, "%s\n", host.name);
	node_text(node_dir(NULL, "etc"), "machine-id", 0444, "%08x%024x\n", hash, hash);
}

void cpu_make(const char *cmdline)
{
	struct text info = { 0 };

	for (unsigned i = 0; i < cpu.count; i++) {
		add_cpuinfo(&info, i);
		make_topology(i);
	}
	node_text(node_dir(NULL, "proc"), "cpuinfo", 0444, "%s", info.data);
	text_free(&info);
	for (unsigned i = 0; i < cpu.nodes; i++)
		make_node(i);
	make_ranges();
	make_kernel(cmdline);
}
