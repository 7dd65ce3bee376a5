/* SPDX-License-Identifier: Apache-2.0 */
/* A chain of blocks that only grows, each twice the one before: small objects stay small. See arena.h. */
#include "base/arena.h"

#include <stdint.h>
#include <string.h>

enum { FIRST_BYTES = 1024 - 64, LAST_BYTES = 64 * 1024 - 64, ALIGN = 16 };

struct block {
	struct block *next;
	size_t size;
	size_t used;
	_Alignas(ALIGN) char bytes[];
};

struct arena {
	struct block *blocks;
	size_t used;
};

static void *must(void *p)
{
	if (!p)
		abort();
	return p;
}

struct arena *arena_new(void)
{
	return must(calloc(1, sizeof(struct arena)));
}

void arena_free(struct arena *arena)
{
	struct block *next;

	if (!arena)
		return;
	for (struct block *b = arena->blocks; b; b = next) {
		next = b->next;
		free(b);
	}
	free(arena);
}

static struct block *block_for(struct arena *arena, size_t bytes)
{
	struct block *b = arena->blocks;
	size_t size = b ? b->size * 2 : FIRST_BYTES;

	if (b && b->size - b->used >= bytes)
		return b;
	if (size > LAST_BYTES)
		size = LAST_BYTES;
	if (size < bytes)
		size = bytes;
	b = must(malloc(sizeof(*b) + size));
	b->size = size;
	b->used = 0;
	b->next = arena->blocks;
	arena->blocks = b;
	return b;
}

void *arena_alloc(struct arena *arena, size_t n, size_t size)
{
	struct block *b;
	size_t bytes;
	void *p;

	if (__builtin_mul_overflow(n, size, &bytes) || bytes > SIZE_MAX / 2)
		abort();
	bytes = (bytes + ALIGN - 1) / ALIGN * ALIGN;
	if (!bytes)
		bytes = ALIGN;
	b = block_for(arena, bytes);
	p = b->bytes + b->used;
	b->used += bytes;
	arena->used += bytes;
	return memset(p, 0, bytes);
}

char *arena_strndup(struct arena *arena, const char *s, size_t n)
{
	char *copy = arena_alloc(arena, n + 1, 1);

	memcpy(copy, s, n);
	return copy;
}

char *arena_strdup(struct arena *arena, const char *s)
{
	return s ? arena_strndup(arena, s, strlen(s)) : NULL;
}

char *arena_printf(struct arena *arena, const char *fmt, ...)
{
	va_list args, again;
	char *text;
	int n;

	va_start(args, fmt);
	va_copy(again, args);
	n = vsnprintf(NULL, 0, fmt, args);
	va_end(args);
	if (n < 0)
		abort();
	text = arena_alloc(arena, (size_t)n + 1, 1);
	vsnprintf(text, (size_t)n + 1, fmt, again);
	va_end(again);
	return text;
}

size_t arena_used(const struct arena *arena)
{
	return arena->used;
}

void *list_append(struct arena *arena, struct list *list, size_t item_size)
{
	char *items = list->items;

	if (list->n == list->room) {
		list->room = list->room ? list->room * 2 : 4;
		items = arena_alloc(arena, list->room, item_size);
		if (list->n)
			memcpy(items, list->items, list->n * item_size);
		list->items = items;
	}
	list->null = false;
	return items + item_size * list->n++;
}

void list_add_string(struct arena *arena, struct list *list, const char *s)
{
	*list_add(arena, list, const char *) = s;
}
