/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names from pci.ids, then from the supplement. The file is mapped, and only the places of vendors
 * and base classes are noted when it is opened; a device is searched in its vendor's block when it
 * is first asked for. What was found is kept, terminated, for as long as the object lives: the one
 * thing that changes, under its lock. Format of the file: see its own head, and pci.ids(5).
 */
#include "host/names.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/arena.h"
#include "base/fdpath.h"
#include "base/lock.h"
#include "host/names_supplement.h"

enum { BUCKETS = 256, FOUND_MAX = 16384, CLASSES = 256, FILE_MAX = 64 << 20 };

static const char *const places[] = { "/usr/share/misc/pci.ids", "/usr/share/hwdata/pci.ids" };

enum kind { KIND_VENDOR, KIND_DEVICE, KIND_SUBSYSTEM, KIND_CLASS };

struct found {
	struct found *next;
	uint64_t ids;
	enum kind kind;
	const char *name; /* NULL: nobody knows it */
};

/* Of all objects' `found`, and of their arenas after they are opened. */
static struct lock lock = LOCK_INIT;

/* Where a vendor's line begins. */
struct vendor_place {
	uint32_t vendor;
	uint32_t at;
};

struct names {
	int refs;	  /* atomic */
	const char *text; /* NULL: no file */
	bool mapped;	  /* else in the arena */
	size_t size;
	struct arena *arena;
	struct list vendors;	   /* struct vendor_place, in the order of the file */
	uint32_t classes[CLASSES]; /* where the base class' line begins, plus 1; 0: nowhere */
	struct found *found[BUCKETS] GUARDED_BY(lock);
	size_t n_found GUARDED_BY(lock);
};

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* `digits` hex digits at `at`; -1 when there are none such before `end`. */
static int64_t hex_at(const char *at, const char *end, int digits)
{
	int64_t value = 0;

	if (end - at < digits)
		return -1;
	for (int i = 0; i < digits; i++) {
		if (hex(at[i]) < 0)
			return -1;
		value = value << 4 | hex(at[i]);
	}
	return value;
}

static const char *line_end(const char *at, const char *end)
{
	const char *newline = memchr(at, '\n', (size_t)(end - at));

	return newline ? newline : end;
}

static void index_file(struct names *names)
{
	const char *end = names->text + names->size, *stop;
	int64_t id;

	for (const char *at = names->text; at < end; at = stop + 1) {
		stop = line_end(at, end);
		if (*at == '\t' || *at == '#')
			continue;
		if (stop - at > 4 && at[0] == 'C' && at[1] == ' ') {
			id = hex_at(at + 2, stop, 2);
			if (id >= 0)
				names->classes[id] = (uint32_t)(at - names->text) + 1;
		} else if ((id = hex_at(at, stop, 4)) >= 0) {
			*list_add(names->arena, &names->vendors, struct vendor_place) =
				(struct vendor_place){ (uint32_t)id, (uint32_t)(at - names->text) };
		}
	}
}

static bool map_file(struct names *names, const char *path)
{
	CLEAN_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	void *text;

	if (fd < 0 || fstat(fd, &st) || st.st_size <= 0 || st.st_size > FILE_MAX)
		return false;
	text = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (text == MAP_FAILED)
		return false;
	names->text = text;
	names->mapped = true;
	names->size = (size_t)st.st_size;
	index_file(names);
	return true;
}

struct names *names_open_file(const char *path)
{
	struct arena *arena = arena_new();
	struct names *names = arena_new_of(arena, struct names);

	names->refs = 1;
	names->arena = arena;
	if (path)
		map_file(names, path);
	return names;
}

/* Read, not mapped: a tree may go away under its user. */
static void read_own(struct names *names, const struct host_root *root)
{
	for (size_t i = 0; i < ARRAY_SIZE(places) && !names->text; i++)
		fdpath_read_all(root->fd, places[i] + 1, FILE_MAX, names->arena, &names->text);
	if (!names->text)
		return;
	names->size = strlen(names->text);
	index_file(names);
}

struct names *names_open(const struct host_root *root)
{
	struct names *names = names_open_file(NULL);

	if (!root->real)
		read_own(names, root);
	for (size_t i = 0; i < ARRAY_SIZE(places) && !names->text; i++)
		map_file(names, places[i]);
	return names;
}

struct names *names_ref(struct names *names)
{
	if (names)
		__atomic_add_fetch(&names->refs, 1, __ATOMIC_RELAXED);
	return names;
}

void names_unref(struct names *names)
{
	if (!names || __atomic_sub_fetch(&names->refs, 1, __ATOMIC_ACQ_REL))
		return;
	if (names->mapped)
		munmap((void *)(uintptr_t)names->text, names->size);
	arena_free(names->arena);
}

static const char *name_after(struct names *names, const char *at, const char *stop)
{
	while (at < stop && (*at == ' ' || *at == '\t'))
		at++;
	while (stop > at && (stop[-1] == ' ' || stop[-1] == '\r'))
		stop--;
	return arena_strndup(names->arena, at, (size_t)(stop - at));
}

/*
 * The line with `digits` digits of id, `tabs` deep, in the block after the line at *at; *at is its
 * place then. A line less deep ends the block.
 */
static const char *find_below(struct names *names, const char **at, int tabs, int64_t id,
			      int digits)
{
	const char *end = names->text + names->size, *line = line_end(*at, end) + 1, *stop;

	for (; line < end; line = stop + 1) {
		int depth = 0;

		stop = line_end(line, end);
		if (line == stop || *line == '#')
			continue;
		while (line + depth < stop && line[depth] == '\t')
			depth++;
		if (depth < tabs)
			return NULL;
		if (depth == tabs && hex_at(line + depth, stop, digits) == id) {
			*at = line;
			return name_after(names, line + depth + digits, stop);
		}
	}
	return NULL;
}

/* A subsystem's line has two ids: "\t\t10de 157e  name". */
static const char *find_subsystem(struct names *names, const char *at, uint16_t vendor,
				  uint16_t device)
{
	const char *end = names->text + names->size, *line = line_end(at, end) + 1, *stop;

	for (; line < end; line = stop + 1) {
		stop = line_end(line, end);
		if (line == stop || *line == '#')
			continue;
		if (strncmp(line, "\t\t", 2))
			return NULL;
		if (hex_at(line + 2, stop, 4) == vendor && hex_at(line + 7, stop, 4) == device)
			return name_after(names, line + 11, stop);
	}
	return NULL;
}

static const char *vendor_line(const struct names *names, uint16_t vendor)
{
	for (LIST_EACH(struct vendor_place, place, &names->vendors))
		if (place->vendor == vendor)
			return names->text + place->at;
	return NULL;
}

static const char *search_vendor(struct names *names, uint64_t ids)
{
	const char *at = vendor_line(names, (uint16_t)ids);

	return at ? name_after(names, at + 4, line_end(at, names->text + names->size)) : NULL;
}

static const char *search_device(struct names *names, uint64_t ids)
{
	uint16_t vendor = (uint16_t)(ids >> 16), device = (uint16_t)ids;
	const char *at = vendor_line(names, vendor), *name = NULL;

	if (at)
		name = find_below(names, &at, 1, device, 4);
	return name ? name : names_supplement(vendor, device);
}

static const char *search_subsystem(struct names *names, uint64_t ids)
{
	const char *at = vendor_line(names, (uint16_t)(ids >> 48));

	if (!at || !find_below(names, &at, 1, (uint16_t)(ids >> 32), 4))
		return NULL;
	return find_subsystem(names, at, (uint16_t)(ids >> 16), (uint16_t)ids);
}

static const char *search_class(struct names *names, uint64_t ids)
{
	uint32_t place = names->classes[ids >> 16 & 0xff];
	const char *at, *name;

	if (!place)
		return NULL;
	at = names->text + place - 1;
	name = name_after(names, at + 4, line_end(at, names->text + names->size));
	at = find_below(names, &at, 1, ids >> 8 & 0xff, 2);
	return at ? at : name;
}

static const char *(*const searches[])(struct names *names, uint64_t ids) = {
	[KIND_VENDOR] = search_vendor,
	[KIND_DEVICE] = search_device,
	[KIND_SUBSYSTEM] = search_subsystem,
	[KIND_CLASS] = search_class,
};

static const char *look_up(struct names *names, enum kind kind, uint64_t ids)
{
	size_t bucket = (size_t)((ids ^ ids >> 16 ^ ids >> 32) * 31 + kind) % BUCKETS;
	const char *name = NULL;
	struct found *found;

	lock_take(&lock);
	for (found = names->found[bucket]; found; found = found->next)
		if (found->ids == ids && found->kind == kind)
			break;
	if (!found && names->n_found < FOUND_MAX) {
		found = arena_new_of(names->arena, struct found);
		*found = (struct found){ names->found[bucket], ids, kind,
					 searches[kind](names, ids) };
		names->found[bucket] = found;
		names->n_found++;
	}
	if (found)
		name = found->name;
	lock_give(&lock);
	return name;
}

const char *names_vendor(struct names *names, uint16_t vendor)
{
	return look_up(names, KIND_VENDOR, vendor);
}

const char *names_device(struct names *names, uint16_t vendor, uint16_t device)
{
	return look_up(names, KIND_DEVICE, (uint64_t)vendor << 16 | device);
}

const char *names_subsystem(struct names *names, uint16_t vendor, uint16_t device,
			    uint16_t subsystem_vendor, uint16_t subsystem_device)
{
	return look_up(names, KIND_SUBSYSTEM,
		       (uint64_t)vendor << 48 | (uint64_t)device << 32 |
			       (uint64_t)subsystem_vendor << 16 | subsystem_device);
}

const char *names_class(struct names *names, uint32_t class)
{
	return look_up(names, KIND_CLASS, class & 0xffff00);
}
