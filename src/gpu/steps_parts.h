/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of the step kinds of whole cards, for steps*.c only: what they share, and the
 * functions that the table in steps.c is made of. In task threads.
 */
#pragma once

#include "gpu/steps.h"

enum { DRIVER_NAME = 64, PATH_BYTES = 128 };

struct pci_address step_address(const struct function_step *s);
/* Path of a file of the function below the host root; returns path. */
const char *step_device_file(const struct function_step *s, const char *file,
			     char path[static PATH_BYTES]);

/* 1 with its name, 0 none bound ("" then), -errno: -ENODEV when the function is gone. Takes no
 * lock. */
int step_bound_driver(const struct gpu_services *services, const struct function_step *s,
		      char name[static DRIVER_NAME]);
/* The error for a -errno of it; -1. */
int step_cannot_read(const struct function_step *s, int r, struct error *err);
/* driver NULL or "": none is wanted. 0 it is so, -1. */
int step_prove_driver(const struct gpu_services *services, const struct function_step *s,
		      const char *driver, struct error *err);

/* Files that hold one word and are safe to read (they take no lock). 0 it is so, -1. */
int step_prove_file(const struct gpu_services *services, const struct function_step *s,
		    const char *file, const char *value, struct error *err);
/* As step_kind.holds: does it say s->value? */
int step_file_holds(const struct gpu_services *services, const struct function_step *s,
		    const char *file);

/*
 * What is gone has taken its settings along: there is nothing to put back, and what it was like
 * before does not matter to what comes in its place.
 */
bool step_is_gone(const struct gpu_services *services, const struct function_step *s);

/* As the function, for ways back and their proofs. */
#define UNLESS_GONE(name, function)                                                                \
	int name(void *services, const void *args, struct error *err)                              \
	{                                                                                          \
		int r = function(services, args, err);                                             \
                                                                                                   \
		return r < 0 && step_is_gone(services, args) ? 0 : r;                              \
	}

/* That request for the function of the step, as step_kind.request; name may be NULL. */
bool step_request(const struct function_step *s, enum privd_op op, const char *name, uint64_t value,
		  struct privd_request *request);

void step_add_write(struct arena *arena, struct list *writes, const char *path, const char *value);
void step_add_device_write(const struct function_step *s, const char *file, const char *value,
			   struct arena *arena, struct list *writes);

/* As the members of struct step_kind. */
typedef int step_act(void *services, const void *args, struct error *err);
typedef int step_test(void *services, const void *args);
typedef const char *step_words(const void *args, struct arena *arena);
typedef bool step_asks(const void *args, struct privd_request *request);
typedef void step_lists(const void *args, struct arena *arena, struct list *writes);

step_act step_bind_apply, step_bind_prove, step_bind_undo, step_bind_prove_undone,
	step_give_back_apply, step_give_back_prove, step_unbind_apply, step_unbind_undo,
	step_unbind_prove_undone, step_unbind_prove, step_lock_apply, step_lock_prove,
	step_lock_undo, step_lock_prove_undone, step_override_apply, step_override_prove,
	step_override_undo, step_override_prove_undone, step_power_apply, step_power_prove,
	step_power_undo, step_power_prove_undone, step_d3cold_apply, step_d3cold_prove,
	step_d3cold_undo, step_d3cold_prove_undone;
step_test step_bind_holds, step_give_back_holds, step_unbind_holds, step_lock_holds,
	step_override_holds, step_power_holds, step_d3cold_holds;
step_words step_bind_text, step_give_back_text, step_unbind_text, step_lock_text,
	step_override_text, step_power_text, step_d3cold_text;
/* step_kind.refused of what changes a driver: a card that does not answer goes into quarantine. */
void step_refused(void *services, const void *args, struct error *err);
step_asks step_bind_request, step_give_back_request, step_unbind_request, step_override_request,
	step_power_request, step_d3cold_request;
step_lists step_bind_writes, step_give_back_writes, step_unbind_writes, step_lock_writes,
	step_override_writes, step_power_writes, step_d3cold_writes;
