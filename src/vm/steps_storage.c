/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Steps about libvirt's pool of ours and its volumes. They last. See steps.h and plan/step.h.
 *
 * Never delete what was not made here: a volume counts as made by a step only while it has exactly
 * the size and format of the step, so one that somebody else put under the name meanwhile is left
 * alone.
 */
#include <string.h>

#include "vm/lifecycle.h"
#include "vm/steps.h"

enum { STORAGE_DEADLINE_MS = 140000 }; /* a little more than libvirt.h waits itself */

static unsigned deadline(const void *args UNUSED)
{
	return STORAGE_DEADLINE_MS;
}

/* ---- pool ---- */

#define POOL(field) offsetof(struct pool_step, field)

static const struct row pool_rows[] = {
	{ "pool", ROW_STRING, ROW_REQUIRED, POOL(pool) },
	{ "path", ROW_STRING, ROW_REQUIRED, POOL(path), .max = 4096 },
	{ "was_defined", ROW_BOOL, ROW_REQUIRED, POOL(was_defined) },
	ROW_END,
};

static int pool_apply(void *services, const void *args, struct error *err)
{
	const struct vm_services *sv = services;
	const struct pool_step *s = args;
	int r = virt_pool_make(sv->virt, s->pool, s->path, err);

	fault_inside();
	return r;
}

static int pool_undo(void *services, const void *args, struct error *err)
{
	const struct vm_services *sv = services;
	const struct pool_step *s = args;

	return s->was_defined ? 0 : virt_pool_unmake(sv->virt, s->pool, err);
}

static int pool_prove(void *services, const void *args, struct error *err)
{
	const struct vm_services *sv = services;
	const struct pool_step *s = args;
	bool active = false;

	if (virt_pool_state(sv->virt, s->pool, NULL, &active, NULL, NULL, err) < 0)
		return -1;
	return active ? 0
		      : error_set(err, ERROR_PROOF_FAILED, "the pool %s is not active", s->pool);
}

static int pool_prove_undone(void *services, const void *args, struct error *err)
{
	const struct vm_services *sv = services;
	const struct pool_step *s = args;
	bool defined = false;

	if (s->was_defined)
		return 0;
	if (virt_pool_state(sv->virt, s->pool, &defined, NULL, NULL, NULL, err) < 0)
		return -1;
	return defined ? error_set(err, ERROR_PROOF_FAILED, "the pool %s is still there", s->pool)
		       : 0;
}

static int pool_holds(void *services, const void *args)
{
	struct error err = { 0 };

	if (!pool_prove(services, args, &err))
		return 1;
	return err.code == ERROR_PROOF_FAILED ? 0 : -1;
}

static const char *pool_text(const void *args, struct arena *arena)
{
	const struct pool_step *s = args;

	return arena_printf(arena, "%s the pool %s at %s", s->was_defined ? "start" : "make",
			    s->pool, s->path);
}

/* ---- volumes ---- */

#define VOLUME(field) offsetof(struct volume_step, field)

static const struct row volume_rows[] = {
	{ "pool", ROW_STRING, ROW_REQUIRED, VOLUME(pool) },
	{ "name", ROW_STRING, ROW_REQUIRED, VOLUME(name) },
	{ "bytes", ROW_INT, 0, VOLUME(bytes) },
	{ "format", ROW_STRING, 0, VOLUME(format) },
	ROW_END,
};

/* As virt_volume(); in a pool that is not there, there is no volume either. */
static int find(const struct vm_services *sv, const struct volume_step *s, struct arena *arena,
		const char **format, uint64_t *bytes, struct error *err)
{
	struct error why = { 0 };
	int r = virt_volume(sv->virt, s->pool, s->name, arena, NULL, format, bytes, &why);

	if (r < 0 && why.code == ERROR_NOT_FOUND)
		return 0;
	if (r < 0 && err)
		*err = why;
	return r;
}

/* 1 it is there as the step wants it, 0 it is not (or another is), -1. */
static int is_ours(const struct vm_services *sv, const struct volume_step *s, struct error *err)
{
	CLEANUP(arena_freep) struct arena *arena = arena_new();
	const char *format = NULL;
	uint64_t bytes = 0;
	int r = find(sv, s, arena, &format, &bytes, err);

	return r <= 0 ? r : bytes == (uint64_t)s->bytes && format && !strcmp(format, s->format);
}

static int volume_apply(void *services, const void *args, struct error *err)
{
	const struct vm_services *sv = services;
	const struct volume_step *s = args;
	int r = virt_volume_make(sv->virt, s->pool, s->name, (uint64_t)s->bytes, s->format, err);

	fault_inside();
	return r;
}

static int volume_prove(void *services, const void *args, struct error *err)
{
	const struct volume_step *s = args;
	int r = is_ours(services, s, err);

	return r ? (r < 0 ? -1 : 0)
		 : error_set(err, ERROR_PROOF_FAILED,
			     "the volume %s is not there as it was asked for", s->name);
}

static int volume_undo(void *services, const void *args, struct error *err)
{
	const struct vm_services *sv = services;
	const struct volume_step *s = args;
	int r = is_ours(sv, s, err);

	return r <= 0 ? r : virt_volume_delete(sv->virt, s->pool, s->name, err);
}

static int volume_prove_undone(void *services, const void *args, struct error *err)
{
	const struct volume_step *s = args;
	int r = is_ours(services, s, err);

	return r <= 0 ? r
		      : error_set(err, ERROR_PROOF_FAILED, "the volume %s is still there", s->name);
}

static int volume_holds(void *services, const void *args)
{
	return is_ours(services, args, NULL);
}

static const char *volume_text(const void *args, struct arena *arena)
{
	const struct volume_step *s = args;

	return arena_printf(arena, "make the volume %s of %lld GiB", s->name,
			    (long long)(s->bytes >> 30));
}

static int delete_apply(void *services, const void *args, struct error *err)
{
	const struct vm_services *sv = services;
	const struct volume_step *s = args;
	int r = virt_volume_delete(sv->virt, s->pool, s->name, err);

	fault_inside();
	return r;
}

static int delete_prove(void *services, const void *args, struct error *err)
{
	const struct vm_services *sv = services;
	const struct volume_step *s = args;
	int r = find(sv, s, NULL, NULL, NULL, err);

	return r <= 0 ? r
		      : error_set(err, ERROR_PROOF_FAILED, "the volume %s is still there", s->name);
}

static int delete_holds(void *services, const void *args)
{
	struct error err = { 0 };

	if (!delete_prove(services, args, &err))
		return 1;
	return err.code == ERROR_PROOF_FAILED ? 0 : -1;
}

static const char *delete_text(const void *args, struct arena *arena)
{
	return arena_printf(arena, "delete the volume %s",
			    ((const struct volume_step *)args)->name);
}

static const char *nvram_text(const void *args, struct arena *arena)
{
	return arena_printf(arena, "delete the firmware's variables, %s",
			    ((const struct volume_step *)args)->name);
}

#define OF_VOLUME                                                                                  \
	.args = volume_rows, .args_size = sizeof(struct volume_step), .lasting = true,             \
	.deadline_ms = deadline

static const struct step_kind kinds[] = {
	/* keep sorted by name */
	{ "nvram-delete", OF_VOLUME, .apply = delete_apply, .prove = delete_prove,
	  .holds = delete_holds, .text = nvram_text },
	{ "pool", .args = pool_rows, .args_size = sizeof(struct pool_step), .lasting = true,
	  .apply = pool_apply, .prove = pool_prove, .undo = pool_undo,
	  .prove_undone = pool_prove_undone, .holds = pool_holds, .deadline_ms = deadline,
	  .text = pool_text },
	{ "volume", OF_VOLUME, .apply = volume_apply, .prove = volume_prove, .undo = volume_undo,
	  .prove_undone = volume_prove_undone, .holds = volume_holds, .text = volume_text },
	{ "volume-delete", OF_VOLUME, .apply = delete_apply, .prove = delete_prove,
	  .holds = delete_holds, .text = delete_text },
};

const struct step_table vm_storage_steps = STEP_TABLE(kinds);
