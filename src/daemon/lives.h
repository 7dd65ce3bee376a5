/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looking after VMs: a thread that shows them (api/vm_replies.h), has the cards of those that ended
 * given back, whoever ended them and whenever, also while no daemon ran, and starts those that are
 * to start with the host. One such thread in a process.
 *
 * Nothing is ended because of a claim alone: the task that it hands in asks libvirt again when it
 * has the VM's lock. What fails is tried again, ever more slowly.
 */
#pragma once

#include "plan/task.h"
#include "vm/lifecycle.h"

struct lives_options {
	struct engine *engine;
	struct vm_services *services;
	bool libvirt;	     /* there is one to be asked at all */
	const char *run_dir; /* where it is noted that VMs were started with this boot */
	void (*news)(void);	/* something is to be told of cards: any thread, never blocks */
	bool (*ready)(void); /* are the cards ready to be given away? Any thread, never blocks */
};

/* options is copied; what it points to lives longer. */
int lives_start(const struct lives_options *options, struct error *err);
/* False: it hangs in libvirt or the store, and was left behind. Hands no more in when it returns.
 */
bool lives_stop(void);

/* News of libvirt, for virt_new(). May be told before lives_start(). */
extern const struct virt_events lives_events;
/* Something about VMs changed. Any thread; never blocks. */
void lives_poke(void);
/* The same if a VM is what the task is about. */
void lives_task_changed(struct task *task);
/* A task changed what these locks name: show it, and wait for that, for a while. Task threads. */
void lives_refresh(const struct list *locks);
/* Why the cards of this VM are not back after its end, in the arena; NULL: nothing failed. The same. */
const char *lives_held_back(const char *vm, struct arena *arena);
/* Is this VM being started now? Any thread; never blocks. */
bool lives_starting(const char *vm);
/* Time passes: has the connection to libvirt come or gone? Main thread. */
void lives_tick(void);
