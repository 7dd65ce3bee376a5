/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The step kinds of whole cards: one write to the kernel each, by horcrux-privd, proven by reading
 * back under the host root. All are kernel steps: what they change dies with the boot.
 */
#pragma once

#include "gpu/guard.h"
#include "plan/journal.h"
#include "plan/privd_client.h"
#include "plan/step.h"

struct store;

/* What steps of this layer work with; every layer's services begin with it. */
struct gpu_services {
	struct privd *privd;
	const struct host_root *root;
	struct journal *journal;
	const char *node;		/* name of this host, for showing */
	const char *node_id;		/* under which its cards are stored, whatever its name is */
	struct store *store;		/* with the records of cards; NULL: none are kept */
	/*
	 * The running domains that have functions of this host: struct gpu_domain in the arena. As news
	 * of them was told, which never waits; `now`: as they are, which may. -1: not known now. NULL:
	 * nobody here knows of any.
	 */
	int (*domains)(struct gpu_services *services, struct arena *arena, bool now, struct list *domains);
	/*
	 * Was somebody seen who has it open, when that was last looked for? True where it is not known.
	 * Never waits. NULL: nobody looks.
	 */
	bool (*held)(struct gpu_services *services, const struct gpu_unit *unit);
	/* What VMs' specs name: struct gpu_assignment in the arena, as the store has it. NULL: nothing does. */
	int (*assignments)(struct store *store, struct arena *arena, struct list *list,
			   struct error *err);
};

/* Args of every kind about one function; each kind uses some of the fields. */
struct function_step {
	const char *address;
	const char *driver;	/* driver to bind to, or that it is unbound from */
	const char *value;	/* what is written */
	const char *was;	/* what stood there before */
};

/* Args of remember and forget: a row of the table taken. NULL and ROW_NULL as in function_settings. */
struct taken_step {
	const char *address;
	const char *driver, *override, *control;
	int64_t d3cold;
};

struct viable_step {
	int64_t group;
	struct list functions;	/* addresses: what of it has to be on a vfio driver */
};

struct module_step {
	const char *name;
};

extern const struct step_table gpu_steps;

/* The kinds, for planners. */
enum gpu_step {
	STEP_BIND,		/* driver: bind it there, exactly */
	STEP_D3COLD,		/* d3cold_allowed = value */
	STEP_FORGET,		/* drop its row of the table taken */
	STEP_GIVE_BACK,		/* bind to driver; where that is gone, or NULL, as the kernel matches */
	STEP_MODULE,		/* load a module */
	STEP_NVIDIA_LOCK,	/* take the nvidia driver's unbindLock */
	STEP_OVERRIDE,		/* driver_override = value; "" clears */
	STEP_POWER,		/* power/control = value */
	STEP_RELEASE_QUARANTINE, /* see that it answers, and drop the note that it did not */
	STEP_REMEMBER,		/* write down what it was, in the table taken */
	STEP_UNBIND,		/* from driver */
	STEP_VIABLE,		/* nothing is written: the group opens and says VIABLE */
};
const struct step_kind *gpu_step(enum gpu_step step);

/* A row of the table taken, from what the journal keeps; NULL when it is no such row. */
const struct function_settings *taken_load(json_t *value, struct arena *arena);
