/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The part of the daemon that acts: the journal, the engine and what its steps work with. Main
 * thread, but for what the engine calls from its own threads.
 */
#pragma once

#include <systemd/sd-event.h>

#include "vm/lifecycle.h"

struct acting;

struct acting_options {
	struct privd *privd;
	const struct host_root *root;
	const char *node;
	const char *run_dir; /* dies with the boot */
	const char *var_dir; /* lasting; 0700 */
	const char *libvirt; /* URI; NULL: none */
	const struct virt_events *events;
	const char *pool_path; /* where the pool of disks is made */
	const char *const *rom_folders;
	/* Read anew what these locks name, and publish it; called from tasks' threads, which may
	 * wait. */
	void (*refresh)(const struct list *locks);
	/* Called from any thread, must not block. */
	void (*changed)(struct task *task);
};

/* Opens the journal, takes over what it finds unfinished, and starts the engine. options is copied.
 */
int acting_start(sd_event *event, const struct acting_options *options, struct acting **ret,
		 struct error *err);
struct engine *acting_engine(struct acting *acting);
struct store *acting_store(struct acting *acting);
struct vm_services *acting_services(struct acting *acting);
/* As keeper_options.domains wants them. Takes NULL. */
int acting_domains(struct acting *acting, struct arena *arena, struct list *domains);
/* The cards under which something is stuck, as keeper_options.stuck wants it. Takes NULL. */
void acting_stuck(struct acting *acting, const struct inventory *inv, struct arena *arena,
		  struct list *cards);
/* The cards that are being taken or given back, as keeper_options.changing wants it. Takes NULL. */
void acting_changing(struct acting *acting, const struct inventory *inv, struct arena *arena,
		     struct list *cards);
/* False: something hangs in a task, and the engine was left behind: end the process. Takes NULL. */
bool acting_stop(struct acting *acting, unsigned ms);
