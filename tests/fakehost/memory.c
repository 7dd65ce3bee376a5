/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory and huge pages: /proc/meminfo, /sys/kernel/mm/hugepages and the same
 * per node.  A write to nr_hugepages gets what there is room for, and says OK.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu.h"
#include "host.h"
#include "memory.h"

#define SIZES 2
#define NODES 64

struct pool {
	unsigned long kb;
	unsigned long nr[NODES];
	unsigned long max;  /* of one node; 0: what the memory allows */
	unsigned long used; /* not free, on node 0 */
};

/* What a file speaks of: one pool on one node (-1: all). */
struct view {
	struct pool *pool;
	int node;
};

static unsigned long memory_mib = 16384, used_mib = 2048;
static struct pool pools[SIZES] = { { .kb = 2048 }, { .kb = 1048576 } };

/* `memory MIB [used=MIB] [huge2m=N] [huge1g=N] [huge2m_max=N] [huge1g_max=N]` */
int memory_line(struct line *l)
{
	const char *mib = line_word(l);
	unsigned nr[2] = { 0 }, max[2] = { 0 }, used = 2048, busy[2] = { 0 };
	int r;

	if (!mib || text_number(mib, 1UL << 32, &memory_mib))
		return host_complain("memory wants a number of MiB");
	r = line_number(l, "used", 1U << 31, &used);
	r = r ? r : line_number(l, "huge2m", 1U << 31, &nr[0]);
	r = r ? r : line_number(l, "huge1g", 1U << 31, &nr[1]);
	r = r ? r : line_number(l, "huge2m_max", 1U << 31, &max[0]);
	r = r ? r : line_number(l, "huge1g_max", 1U << 31, &max[1]);
	r = r ? r : line_number(l, "huge2m_used", 1U << 31, &busy[0]);
	r = r ? r : line_number(l, "huge1g_used", 1U << 31, &busy[1]);
	used_mib = used;
	for (int i = 0; i < SIZES; i++) {
		for (unsigned n = 0; n < cpu_nodes(); n++)
			pools[i].nr[n] = nr[i] / cpu_nodes();
		pools[i].nr[0] += nr[i] % cpu_nodes();
		pools[i].max = max[i];
		pools[i].used = busy[i];
	}
	return r;
}

static unsigned long count(const struct view *v)
{
	unsigned long n = 0;

	for (unsigned i = 0; i < cpu_nodes(); i++)
		if (v->node < 0 || v->node == (int)i)
			n += v->pool->nr[i];
	return n;
}

static unsigned long node_huge_mib(unsigned node)
{
	unsigned long mib = 0;

	for (int i = 0; i < SIZES; i++)
		mib += pools[i].nr[node] * (pools[i].kb / 1024);
	return mib;
}

/* How many pages of this pool the node could hold. */
static unsigned long room(const struct pool *p, unsigned node)
{
	unsigned long mib = (memory_mib - used_mib) / cpu_nodes(), size = p->kb / 1024, pages;
	unsigned long others = node_huge_mib(node) - p->nr[node] * size;

	pages = mib > others ? (mib - others) / size : 0;
	return p->max && pages > p->max ? p->max : pages;
}

static unsigned long least(unsigned long a, unsigned long b)
{
	return a < b ? a : b;
}

static void set_count(const struct view *v, unsigned long wanted)
{
	unsigned nodes = v->node < 0 ? cpu_nodes() : 1, first = v->node < 0 ? 0 : (unsigned)v->node;

	for (unsigned i = 0; i < nodes; i++) {
		unsigned node = first + i;
		unsigned long share = wanted / (nodes - i);

		if (!node && share < v->pool->used)
			share = v->pool->used;
		v->pool->nr[node] = least(share, room(v->pool, node));
		wanted -= least(wanted, v->pool->nr[node]);
	}
}

static int nr_show(void *owner, const struct attr *attr, struct text *out)
{
	(void)attr;
	text_addf(out, "%lu\n", count(owner));
	return 0;
}

static int nr_store(void *owner, const struct attr *attr, const char *buf, size_t len)
{
	char *s = text_written(buf, len);
	unsigned long v;
	int r = text_number(s, ~0UL, &v);

	(void)attr;
	free(s);
	if (r)
		return r;
	set_count(owner, v);
	return 0;
}

static int free_show(void *owner, const struct attr *attr, struct text *out)
{
	const struct view *v = owner;
	unsigned long used = v->node > 0 ? 0 : v->pool->used, n = count(v);

	(void)attr;
	text_addf(out, "%lu\n", n > used ? n - used : 0);
	return 0;
}

static int zero_show(void *owner, const struct attr *attr, struct text *out)
{
	(void)owner;
	(void)attr;
	text_puts(out, "0\n");
	return 0;
}

static const struct attr pool_attrs[] = {
	{ .name = "nr_hugepages", .mode = 0644, .show = nr_show, .store = nr_store },
	{ .name = "free_hugepages", .mode = 0444, .show = free_show },
	{ .name = "surplus_hugepages", .mode = 0444, .show = zero_show },
	{ .name = "resv_hugepages", .mode = 0444, .show = zero_show },
};

static void make_pool(struct node *dir, struct pool *p, int node)
{
	struct view *v = must_alloc(sizeof(*v));
	char name[32];

	*v = (struct view){ p, node };
	snprintf(name, sizeof(name), "hugepages-%lukB", p->kb);
	dir = node_dir(dir, name);
	node_files(dir, pool_attrs, node < 0 ? 4 : 3, v);
}

static void add_meminfo(struct text *out, const char *prefix, int node)
{
	unsigned long share = node < 0 ? 1 : cpu_nodes(), huge = 0, n;
	unsigned long total = memory_mib / share * 1024, used = used_mib / share * 1024;
	struct view v = { &pools[0], node };

	for (unsigned i = 0; i < cpu_nodes(); i++)
		if (node < 0 || node == (int)i)
			huge += node_huge_mib(i) * 1024;
	n = total > used + huge ? total - used - huge : 0;
	text_addf(out, "%sMemTotal:       %8lu kB\n%sMemFree:        %8lu kB\n", prefix, total,
		  prefix, n);
	if (node < 0)
		text_addf(out, "MemAvailable:   %8lu kB\n", n);
	n = count(&v);
	text_addf(out, "%sHugePages_Total:   %5lu\n%sHugePages_Free:    %5lu\n", prefix, n, prefix,
		  n > v.pool->used ? n - v.pool->used : 0);
	if (node < 0)
		text_puts(out, "HugePages_Rsvd:        0\nHugePages_Surp:        0\n"
			       "Hugepagesize:       2048 kB\n");
}

static int meminfo_show(void *owner, const struct attr *attr, struct text *out)
{
	char prefix[32] = "";

	(void)owner;
	if (attr->arg >= 0)
		snprintf(prefix, sizeof(prefix), "Node %ld ", attr->arg);
	add_meminfo(out, prefix, (int)attr->arg);
	return 0;
}

static struct attr *meminfo_attr(int node)
{
	struct attr *a = must_alloc(sizeof(*a));

	*a = (struct attr){ .name = "meminfo", .mode = 0444, .show = meminfo_show, .arg = node };
	return a;
}

void memory_make(void)
{
	char name[16];

	node_file(node_dir(NULL, "proc"), meminfo_attr(-1), NULL);
	for (int i = 0; i < SIZES; i++)
		make_pool(node_dir(NULL, "sys/kernel/mm/hugepages"), &pools[i], -1);
	for (unsigned n = 0; n < cpu_nodes(); n++) {
		struct node *dir;

		snprintf(name, sizeof(name), "node%u", n);
		dir = node_dir(node_dir(NULL, "sys/devices/system/node"), name);
		node_file(dir, meminfo_attr((int)n), NULL);
		for (int i = 0; i < SIZES; i++)
			make_pool(node_dir(dir, "hugepages"), &pools[i], (int)n);
	}
}
