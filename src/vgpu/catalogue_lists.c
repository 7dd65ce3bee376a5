/* SPDX-License-Identifier: Apache-2.0 */
/* The lists that go across the cards of a catalogue; see catalogue.h. */
#include <string.h>

#include "vgpu/catalogue.h"

static struct wire_profile *find_profile(const struct list *profiles, const struct wire_profile *like)
{
	for (LIST_EACH(struct wire_profile, it, profiles))
		if (!strcmp(it->id, like->id) && !strcmp(it->vgpu_type ?: "", like->vgpu_type ?: ""))
			return it;
	return NULL;
}

/* A list of its own, so that adding to it does not reach into what it came from. */
static struct list copied(const struct list *list, struct arena *arena)
{
	struct list copy = { 0 };

	for (LIST_EACH(const char *, it, list))
		list_add_string(arena, &copy, *it);
	return copy;
}

static void merge(struct wire_profile *into, const struct wire_profile *from, struct arena *arena)
{
	for (LIST_EACH(const char *, device, &from->devices))
		list_add_string(arena, &into->devices, *device);
	if (from->available == ROW_NULL && into->available != ROW_NULL) {
		into->available = ROW_NULL;
		into->unknown = from->unknown;
	} else if (into->available != ROW_NULL) {
		into->available += from->available;
	}
	into->fits = into->fits == 1 || from->fits == 1	 ? 1 :
		     into->fits < 0 || from->fits < 0 ? -1 :
							0;
	into->why = into->fits ? NULL : into->why;
}

void vgpu_profiles(const struct list *shared, const char *device, bool fits, struct arena *arena,
		   struct list *out)
{
	struct wire_profile *known;

	*out = (struct list){ 0 };
	for (LIST_EACH(const struct wire_shared, card, shared)) {
		if (device && strcmp(card->pci_id, device))
			continue;
		for (LIST_EACH(const struct wire_profile, p, &card->available_profiles)) {
			if (fits && p->fits != 1)
				continue;
			known = find_profile(out, p);
			if (known) {
				merge(known, p, arena);
				continue;
			}
			known = list_add(arena, out, struct wire_profile);
			*known = *p;
			known->devices = copied(&p->devices, arena);
		}
	}
}

void vgpu_instances(const struct list *shared, struct arena *arena, struct list *out)
{
	*out = (struct list){ 0 };
	for (LIST_EACH(const struct wire_shared, card, shared))
		for (LIST_EACH(const struct wire_instance, instance, &card->instances))
			*list_add(arena, out, struct wire_instance) = *instance;
}
