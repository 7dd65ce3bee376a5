/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VMs as replies: what GETs of them answer, made whenever something about them changed. Immutable
 * and counted; one thread publishes, any takes the current ones.
 */
#pragma once

#include "http/body.h"
#include "wire/vm.h"

struct vm_reply {
	const char *id;
	int state; /* enum wire_vm_state */
	struct body *body;
};

struct vm_replies {
	int refs; /* atomic */
	struct arena *arena;
	struct error why; /* code ERROR_NONE: they are known */
	const char *node;
	struct list replies; /* struct vm_reply, by id */
	struct body *list;
};

/* views: struct wire_vm, sorted by id. */
void vm_replies_publish(const char *node, const struct list *views);
/* They cannot be told now. */
void vm_replies_unknown(const struct error *why);
/* Forget them (end of the process). */
void vm_replies_forget(void);

/* The current ones with a reference of one's own; NULL before the first. */
struct vm_replies *vm_replies_acquire(void);
void vm_replies_release(struct vm_replies *replies);
DEFINE_CLEANUP(struct vm_replies *, vm_replies_release)

/* NULL: there is no VM of that id. */
const struct vm_reply *vm_replies_find(const struct vm_replies *replies, const char *id);
/* The list, or the part of it that the query names; a new reference. */
struct body *vm_replies_list(const struct vm_replies *replies, const struct wire_vm_query *query);
