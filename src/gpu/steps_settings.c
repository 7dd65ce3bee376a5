/* SPDX-License-Identifier: Apache-2.0 */
/* Steps that set one file of a function: driver_override, power/control, d3cold_allowed. */
#include <string.h>

#include "gpu/steps_parts.h"

/* ---- driver_override ---- */

static int override_set(const struct gpu_services *sv, const struct function_step *s,
			const char *value, struct error *err)
{
	return privd_override(sv->privd, step_address(s), value, err);
}

int step_override_apply(void *services, const void *args, struct error *err)
{
	return override_set(services, args, ((const struct function_step *)args)->value, err);
}

static int override_restore(void *services, const void *args, struct error *err)
{
	return override_set(services, args, ((const struct function_step *)args)->was, err);
}

bool step_override_request(const void *args, struct privd_request *request)
{
	const struct function_step *s = args;

	return step_request(s, PRIVD_OVERRIDE, s->value, 0, request);
}

UNLESS_GONE(step_override_undo, override_restore)

static int override_is(const struct gpu_services *sv, const struct function_step *s,
		       const char *value, struct error *err)
{
	CLEANUP(arena_freep) struct arena *arena = arena_new();
	const char *text = NULL;

	if (privd_read_override(sv->privd, step_address(s), arena, &text, err) < 0)
		return -1;
	if (!strcmp(text, value))
		return 0;
	return error_set(err, ERROR_PROOF_FAILED, "driver_override of %s reads \"%s\", not \"%s\"",
			 s->address, text, value);
}

int step_override_prove(void *services, const void *args, struct error *err)
{
	return override_is(services, args, ((const struct function_step *)args)->value, err);
}

static int override_was(void *services, const void *args, struct error *err)
{
	return override_is(services, args, ((const struct function_step *)args)->was, err);
}

UNLESS_GONE(step_override_prove_undone, override_was)

int step_override_holds(void *services, const void *args)
{
	struct error err = { 0 };

	if (!step_override_prove(services, args, &err))
		return 1;
	return err.code == ERROR_PROOF_FAILED || step_is_gone(services, args) ? 0 : -1;
}

const char *step_override_text(const void *args, struct arena *arena)
{
	const struct function_step *s = args;

	return *s->value ? arena_printf(arena, "let only %s take %s", s->value, s->address)
			 : arena_printf(arena, "let any driver take %s again", s->address);
}

void step_override_writes(const void *args, struct arena *arena, struct list *writes)
{
	const struct function_step *s = args;

	step_add_device_write(s, "driver_override", *s->value ? s->value : "\n", arena, writes);
}

/* ---- power ---- */

static int power_set(const struct gpu_services *sv, const struct function_step *s,
		     const char *value, struct error *err)
{
	return privd_power(sv->privd, step_address(s), !strcmp(value, "on"), err);
}

int step_power_apply(void *services, const void *args, struct error *err)
{
	return power_set(services, args, ((const struct function_step *)args)->value, err);
}

static int power_restore(void *services, const void *args, struct error *err)
{
	return power_set(services, args, ((const struct function_step *)args)->was, err);
}

bool step_power_request(const void *args, struct privd_request *request)
{
	const struct function_step *s = args;

	return step_request(s, PRIVD_POWER, NULL, !strcmp(s->value, "on"), request);
}

UNLESS_GONE(step_power_undo, power_restore)

int step_power_prove(void *services, const void *args, struct error *err)
{
	return step_prove_file(services, args, "power/control",
			       ((const struct function_step *)args)->value, err);
}

static int power_was(void *services, const void *args, struct error *err)
{
	return step_prove_file(services, args, "power/control",
			       ((const struct function_step *)args)->was, err);
}

UNLESS_GONE(step_power_prove_undone, power_was)

int step_power_holds(void *services, const void *args)
{
	return step_file_holds(services, args, "power/control");
}

const char *step_power_text(const void *args, struct arena *arena)
{
	const struct function_step *s = args;

	return arena_printf(arena,
			    strcmp(s->value, "on") ? "let %s sleep when idle" : "keep %s awake",
			    s->address);
}

void step_power_writes(const void *args, struct arena *arena, struct list *writes)
{
	step_add_device_write(args, "power/control", ((const struct function_step *)args)->value,
			      arena, writes);
}

static int d3cold_set(const struct gpu_services *sv, const struct function_step *s,
		      const char *value, struct error *err)
{
	return privd_d3cold(sv->privd, step_address(s), *value == '1', err);
}

int step_d3cold_apply(void *services, const void *args, struct error *err)
{
	return d3cold_set(services, args, ((const struct function_step *)args)->value, err);
}

static int d3cold_restore(void *services, const void *args, struct error *err)
{
	return d3cold_set(services, args, ((const struct function_step *)args)->was, err);
}

bool step_d3cold_request(const void *args, struct privd_request *request)
{
	const struct function_step *s = args;

	return step_request(s, PRIVD_D3COLD, NULL, *s->value == '1', request);
}

UNLESS_GONE(step_d3cold_undo, d3cold_restore)

int step_d3cold_prove(void *services, const void *args, struct error *err)
{
	return step_prove_file(services, args, "d3cold_allowed",
			       ((const struct function_step *)args)->value, err);
}

static int d3cold_was(void *services, const void *args, struct error *err)
{
	return step_prove_file(services, args, "d3cold_allowed",
			       ((const struct function_step *)args)->was, err);
}

UNLESS_GONE(step_d3cold_prove_undone, d3cold_was)

int step_d3cold_holds(void *services, const void *args)
{
	return step_file_holds(services, args, "d3cold_allowed");
}

const char *step_d3cold_text(const void *args, struct arena *arena)
{
	const struct function_step *s = args;

	return arena_printf(arena,
			    *s->value == '1' ? "allow D3cold for %s" : "keep %s out of D3cold",
			    s->address);
}

void step_d3cold_writes(const void *args, struct arena *arena, struct list *writes)
{
	step_add_device_write(args, "d3cold_allowed", ((const struct function_step *)args)->value,
			      arena, writes);
}
