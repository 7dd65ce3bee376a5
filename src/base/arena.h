/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An arena: memory that is given out piece by piece and freed all at once. What a parsed request
 * or an inventory holds lives in one, so there is one owner and one free.
 * Owned by one thread while it grows; readable from any once nothing is added any more.
 * Running out of memory ends the process: there is no caller who could do better.
 */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"

struct arena;

struct arena *arena_new(void);
void arena_free(struct arena *arena);
DEFINE_CLEANUP(struct arena *, arena_free)

/* Zeroed memory, aligned for any type; n * size is checked for overflow. Lives as long as arena. */
void *arena_alloc(struct arena *arena, size_t n, size_t size);
#define arena_new_of(arena, type) ((type *)arena_alloc((arena), 1, sizeof(type)))
#define arena_array(arena, n, type) ((type *)arena_alloc((arena), (n), sizeof(type)))

/* A copy of s; NULL stays NULL. */
char *arena_strdup(struct arena *arena, const char *s);
char *arena_strndup(struct arena *arena, const char *s, size_t n);
char *arena_printf(struct arena *arena, const char *fmt, ...) PRINTF(2, 3);

/* Bytes given out so far. */
size_t arena_used(const struct arena *arena);

/*
 * A list in an arena, by doubling: items is an array of n elements of item_size bytes.
 * Zeroed is the empty list. null tells an unknown list from an empty one (see rows.h).
 */
struct list {
	void *items;
	size_t n;
	size_t room;
	bool null;
	bool bare; /* its one element was read from a bare object (ROW_ONE_OR_MANY) */
};

/* Room for one more element at the end, zeroed; its address (valid until the next append). */
void *list_append(struct arena *arena, struct list *list, size_t item_size);
#define list_add(arena, list, type) ((type *)list_append((arena), (list), sizeof(type)))
/* Append a string (the pointer, not a copy) to a list of strings. */
void list_add_string(struct arena *arena, struct list *list, const char *s);
/* for (LIST_EACH(struct x, it, &list)) */
#define LIST_EACH(type, it, list)                                                                  \
	type *it = (type *)(list)->items;                                                          \
	it && it < (type *)(list)->items + (list)->n;                                              \
	it++
