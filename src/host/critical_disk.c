/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Disks: every block device below a function, and what is built on it, up to what is mounted,
 * swapped to, used by the kernel or open in a process. See critical.h; who uses what is
 * critical_uses.c's.
 *
 * A disk with nothing found on it is free only when everything could be read: each thing that could
 * not is a doubt, and each doubt is a fact unknown_carries of every such disk.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/strbuf.h"
#include "host/critical_parts.h"
#include "host/processes.h"
#include "host/sysfs.h"

enum { CLASS_STORAGE = 0x01, TEXT = 512, CHAIN_BYTES = 256 };

struct disk_search {
	struct critical_search *search;
	struct block_map map;
	struct list doubts; /* struct critical_doubt */
	struct list open;   /* struct unexplained */
	unsigned stamp;	    /* of the walk under way */
};

/* A disk that nothing was found on. */
struct unexplained {
	const struct function *f;
	struct block *disk;
};

/* A way up from a disk; on the stack of walk(). */
struct chain {
	struct block *block;
	const struct chain *below; /* NULL: the disk */
	bool partition;		   /* of the one below, not a holder */
	bool multipath;		   /* there may be other ways to it than this function */
};

/* "nvme0n1p1 > md127 > dm-0" */
static void add_chain(struct strbuf *sb, const struct chain *chain)
{
	if (chain->below) {
		add_chain(sb, chain->below);
		strbuf_add(sb, " > ");
	}
	strbuf_add(sb, chain->block->name);
}

static void add_fact(struct disk_search *s, const struct function *f, const struct chain *chain,
		     const char *why, const char *where)
{
	CLEAN_STRBUF struct strbuf way = STRBUF_INIT(CHAIN_BYTES);
	char text[TEXT], evidence[TEXT];

	add_chain(&way, chain);
	snprintf(text, sizeof(text), "%s%s", why,
		 chain->multipath ? ", behind multipath: other ways to it are not looked for" : "");
	if (chain->below)
		snprintf(evidence, sizeof(evidence), "%s; %s", where, strbuf_text(&way));
	else
		snprintf(evidence, sizeof(evidence), "%s", where);
	critical_add(s->search, f, chain->multipath ? "unknown_carries" : "critical", text,
		     evidence);
}

/* The uses of one device as facts; false when it has none. */
static bool add_uses(struct disk_search *s, const struct function *f, const struct chain *chain)
{
	const struct block *block = chain->block;
	bool found = false;
	char why[TEXT];

	for (enum block_use kind = 0; kind < BLOCK_USES; kind++) {
		if (!block->use[kind].n)
			continue;
		/* the kernel's own listing says less than the table of mounts */
		if (kind == USE_KERNEL && found)
			continue;
		found = true;
		if (kind == USE_OPEN)
			snprintf(why, sizeof(why), "%s is open in %s", block->node,
				 block->use[kind].what);
		else if (kind == USE_MOUNTED && block->use[kind].n > 1)
			snprintf(why, sizeof(why), "carries %s and %u more mounts on %s",
				 block->use[kind].what, block->use[kind].n - 1, block->node);
		else
			snprintf(why, sizeof(why), "carries %s on %s", block->use[kind].what,
				 block->node);
		add_fact(s, f, chain, why, block->use[kind].where);
	}
	return found;
}

/* True when anything is found on the device or above it. */
static bool walk(struct disk_search *s, const struct function *f, const struct chain *below,
		 struct block *block, bool partition)
{
	struct chain chain = { block, below, partition, below && below->multipath };
	char why[TEXT];

	if (block->stamp == s->stamp)
		return block->found;
	block->stamp = s->stamp;
	block->found = false;
	chain.multipath |= block->dm_uuid && !strncmp(block->dm_uuid, "mpath-", 6);
	block->found = add_uses(s, f, &chain);
	for (LIST_EACH(struct block_above, above, &block->above))
		if (walk(s, f, &chain, above->block, above->partition))
			block->found = true;
	if (!block->found && below && !partition) {
		snprintf(why, sizeof(why), "is part of %s, which is active", block->node);
		add_fact(s, f, &chain, why, "/sys/class/block");
		block->found = true;
	}
	return block->found;
}

static bool is_below(const struct block *block, const struct function *f)
{
	for (LIST_EACH(const char *, path, &block->paths))
		if (sysfs_below(*path, f->text))
			return true;
	return false;
}

static void walk_function(struct disk_search *s, const struct function *f)
{
	s->stamp++;
	for (LIST_EACH(struct block *, disk, &s->map.blocks)) {
		if ((*disk)->partition || (*disk)->hidden || !is_below(*disk, f))
			continue;
		if (!walk(s, f, NULL, *disk, false) && !(*disk)->empty)
			*list_add(s->search->arena, &s->open,
				  struct unexplained) = (struct unexplained){ f, *disk };
	}
}

static void on_path(void *data, int64_t pid, const char *path)
{
	struct disk_search *s = data;
	struct arena *arena = s->search->arena;
	struct process_info info;
	struct block *block;
	char node[TEXT];

	if (!processes_dev_node(path, node, sizeof(node)))
		return;
	block = block_by_node(&s->map, node);
	if (block && !block->use[USE_OPEN].n &&
	    processes_describe(s->search->root, pid, arena, &info))
		block_use(block, USE_OPEN,
			  arena_printf(arena, "process %lld (%s)", (long long)pid, info.name),
			  arena_printf(arena, "/proc/%lld/fd", (long long)pid), true);
}

/* Who has disks open is asked only where something hangs on it: that takes root, and time. */
static void look_at_processes(struct disk_search *s)
{
	struct processes_visit visit = { .path = on_path, .data = s };
	struct error err;

	if (processes_visit(s->search->root, &visit, &err))
		critical_doubt(s->search, &s->doubts, err.message,
			       "whether a process has it open cannot be told");
}

static bool in_bcache(const struct block *disk)
{
	if (disk->bcache)
		return true;
	for (LIST_EACH(struct block_above, above, &disk->above))
		if (above->partition && above->block->bcache)
			return true;
	return false;
}

static void add_doubts(struct disk_search *s, const struct unexplained *open)
{
	char why[TEXT], evidence[TEXT];

	if (in_bcache(open->disk)) {
		snprintf(why, sizeof(why), "%s is part of a bcache, which is not followed",
			 open->disk->node);
		snprintf(evidence, sizeof(evidence), "/sys/class/block/%s/…/bcache",
			 open->disk->name);
		critical_add(s->search, open->f, "unknown_carries", why, evidence);
	}
	for (LIST_EACH(struct critical_doubt, doubt, &s->doubts)) {
		snprintf(why, sizeof(why), "%s may be in use: %s", open->disk->node, doubt->why);
		critical_add(s->search, open->f, "unknown_carries", why, doubt->evidence);
	}
}

static void resolve_unexplained(struct disk_search *s)
{
	if (!s->open.n)
		return;
	look_at_processes(s);
	for (LIST_EACH(struct unexplained, open, &s->open)) {
		s->stamp++;
		if (!walk(s, open->f, NULL, open->disk, false))
			add_doubts(s, open);
	}
}

/* No list of disks at all: what has a driver and is storage may have some. */
static int unlisted(struct critical_search *search, int r, struct error *err)
{
	if (!critical_unreadable(r))
		return error_errno(err, ERROR_SYSTEM, -r, "/sys/class/block cannot be read");
	for (LIST_EACH(struct function *, f, &search->inv->functions))
		if (critical_concerns(search, *f) && (*f)->driver && (*f)->class >> 16 == CLASS_STORAGE)
			critical_add(search, *f, "unknown_carries",
				     "its disks cannot be listed, so what is on them is not known",
				     r == -ENOENT ? "there is no /sys/class/block"
						  : "/sys/class/block cannot be read");
	return 0;
}

int critical_disks(struct critical_search *search, struct error *err)
{
	struct disk_search s = { .search = search };
	int r = block_map_read(search->root, search->arena, &s.map);

	if (r < 0)
		return unlisted(search, r, err);
	r = critical_uses(search, &s.map, &s.doubts);
	if (r < 0)
		return error_errno(err, ERROR_SYSTEM, -r, "what is mounted cannot be read");
	for (LIST_EACH(struct function *, f, &search->inv->functions))
		if (critical_concerns(search, *f))
			walk_function(&s, *f);
	resolve_unexplained(&s);
	return 0;
}
