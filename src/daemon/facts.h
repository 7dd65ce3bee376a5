/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must be asked of the helper again and again: who holds the cards, what the host lives on,
 * what lies in their memory, and what their drivers cut them into. Opening a device sends no uevent,
 * so a thread of its own asks every five seconds while somebody looks at the cards, and not otherwise. One such thread in a process.
 */
#pragma once

#include <stdint.h>

#include "gpu/doctor.h"
#include "plan/privd_client.h"
#include "vgpu/offer.h"

/* What was heard. Immutable and counted. */
struct facts {
	int refs; /* atomic */
	struct arena *arena;
	struct list holders, critical; /* struct holder, struct critical; null: unknown */
	const char *holders_unknown;   /* why */
	const char *critical_unknown;
	struct list framebuffers; /* struct boot_framebuffer; null: unknown */
	const char *framebuffers_unknown;
	struct list offers;	   /* struct vgpu_offer *, a reference each; null: unknown */
	struct list offered;	   /* of them: struct gpu_offered */
	const char *offers_unknown;
	enum fact vfio_pci;	/* host/modules.h */
	const char *vfio_pci_evidence;
};

/*
 * Start the thread. news: called on any thread when there are new facts, or a request has begun to
 * wait for some; must not block. The class filter is copied;
 * the root lives until facts_stop().
 */
int facts_start(struct privd *privd, const struct host_root *root,
		const struct class_filter *filter, void (*news)(void), struct error *err);
/* False: it hangs in a call to the helper and was left behind, so the helper must not be freed. */
bool facts_stop(void);

/* Somebody looks. True: what is known is fresh. Any thread; never blocks. */
bool facts_look(void);
/* The request (pending.h) waits for fresh facts; no longer, where they are. Any thread; never blocks. */
void facts_refresh(uint64_t ticket);
/* Ask soon, whether somebody looks or not: something changed. A burst of these is one. Any thread. */
void facts_poke(void);
/* The helper is there (again): what was heard so far is no news any more. Any thread. */
void facts_connected(void);

/* The newest, a reference of one's own; never NULL. Any thread. */
struct facts *facts_acquire(void);
void facts_release(struct facts *facts);
DEFINE_CLEANUP(struct facts *, facts_release)
/* Resume the requests that wait. Main thread, after it published what is newest. */
void facts_published(void);
/* Do requests wait? */
bool facts_waiting(void);
/*
 * They have waited long enough. True: what is newest is too old to be shown, so it was made unknown
 * and is to be published; false: it will do.
 */
bool facts_give_up(void);
/* Is the helper, though connected, silent since? */
bool facts_silent(void);
/* As parts of doctor_facts (borrowed from facts). */
void facts_view(const struct facts *facts, struct doctor_facts *out);
