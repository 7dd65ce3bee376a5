/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cards as replies: what GETs of them answer, made once for each new inventory or new facts
 * about it, when it is first asked for: most of what is published nobody looks at before it is old.
 * Immutable and counted; the main thread publishes, any thread takes the current one.
 */
#pragma once

#include "gpu/doctor.h"
#include "http/body.h"
#include "vgpu/catalogue.h"
#include "wire/query.h"

/* A function of a card: its device, and its group as whoever wants its card sees it. */
struct card_reply {
	const struct function *function;
	bool listed; /* of GPU class: in the list of devices */
	struct body *device, *group; /* atomic; NULL: nobody asked yet */
};

/* The lists of shared cards. */
enum cards_shared { CARDS_SHARED, CARDS_PROFILES, CARDS_INSTANCES, CARDS_LISTS };

struct cards {
	int refs;		     /* atomic */
	struct arena *arena;	     /* owns replies and the strings in them */
	struct inventory *inventory; /* one reference */
	const char *node;
	struct list replies; /* struct card_reply, by address */
	struct body *list, *iommu; /* atomic; NULL: nobody asked yet */
	struct body *shared[CARDS_LISTS]; /* the same */
	const struct list *offers; /* struct vgpu_offer *; NULL: unknown */
	struct doctor_facts facts; /* that they are made from; what they borrow is kept: */
	void *keep;
	void (*release)(void *keep);
};

/*
 * Publish what the replies are made from. The inventory of the facts must be the one that is published;
 * what is unknown in facts is unknown in the replies. offers: as vgpu_catalogue() takes them. What
 * both borrow, `keep` keeps: it is released, on any thread, when the last reference to the cards
 * goes. Main thread.
 */
void cards_publish(const struct doctor_facts *facts, const struct list *offers, void *keep,
		   void (*release)(void *keep));
/* The current ones with a reference of one's own; NULL before the first. */
struct cards *cards_acquire(void);
void cards_release(struct cards *cards);
DEFINE_CLEANUP(struct cards *, cards_release)
/* Forget them (end of the process; tests). */
void cards_forget(void);

/* NULL: no function of a card has this address. */
struct card_reply *cards_find(const struct cards *cards, struct pci_address address);
/* The replies; each a new reference. Any thread. */
struct body *cards_device(const struct cards *cards, struct card_reply *reply);
struct body *cards_group(const struct cards *cards, struct card_reply *reply);
struct body *cards_iommu(struct cards *cards);
struct body *cards_shared(struct cards *cards, enum cards_shared which);
/* The profiles that the query names; device: address of a card, as text, or NULL. */
struct body *cards_profiles(const struct cards *cards, const char *device, bool fits);
/* The list, or (query not NULL) the part of it that the query names. */
struct body *cards_list(struct cards *cards, const struct wire_device_query *query);
