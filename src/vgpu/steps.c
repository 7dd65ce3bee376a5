/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See steps.h and plan/step.h. How many VFs there are is counted by the links to them: reading sriov_numvfs
 * takes the device's lock, and behind an unbind that hangs it would hang too (drivers/pci/iov.c).
 */
#include "vgpu/steps.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>

#include "base/fdpath.h"
#include "gpu/record.h"
#include "gpu/steps.h"

enum { PATH_BYTES = 128, VFS_DEADLINE_MS = 130000 }; /* undoing is two writes of a minute each at most */

static const char *file_of(const char *address, const char *file, char path[static PATH_BYTES])
{
	snprintf(path, PATH_BYTES, "sys/bus/pci/devices/%s/%s", address, file);
	return path;
}

static struct pci_address address_of(const struct vfs_step *s)
{
	struct pci_address address = { 0 };

	pci_address_parse(s->address, &address); /* the row's check let nothing else through */
	return address;
}

static bool is_gone(const struct gpu_services *sv, const struct vfs_step *s)
{
	char path[PATH_BYTES];

	return fdpath_exists(sv->root->fd, file_of(s->address, "vendor", path)) == 0;
}

/* ---- vfs ---- */

static int count_one(void *n, int dir UNUSED, const struct dirent64 *entry)
{
	*(int64_t *)n += !strncmp(entry->d_name, "virtfn", strlen("virtfn"));
	return 0;
}

/* How many VFs it has, or -1. */
static int64_t count(const struct gpu_services *sv, const struct vfs_step *s, struct error *err)
{
	char path[PATH_BYTES];
	int64_t n = 0;
	int r = fdpath_each(sv->root->fd, file_of(s->address, "", path), count_one, &n);

	if (r == -ENOENT)
		return error_set(err, ERROR_GONE, "%s is not there any more", s->address);
	return r < 0 ? error_errno(err, ERROR_PROOF_FAILED, -r, "the VFs of %s cannot be counted", s->address)
		     : n;
}

static int vfs_apply(void *services, const void *args, struct error *err)
{
	const struct gpu_services *sv = services;
	const struct vfs_step *s = args;

	return privd_vfs(sv->privd, address_of(s), (unsigned)s->n, NULL, err);
}

static int proven(const struct gpu_services *sv, const struct vfs_step *s, int64_t n, struct error *err)
{
	int64_t now = count(sv, s, err);

	if (now < 0)
		return -1;
	if (now == n)
		return 0;
	error_set(err, ERROR_PROOF_FAILED, "%s has %lld VFs, not %lld", s->address, (long long)now,
		  (long long)n);
	return now < n ? error_hint(err, "its driver makes no more than that: ask for %lld", (long long)now) : -1;
}

static int vfs_prove(void *services, const void *args, struct error *err)
{
	return proven(services, args, ((const struct vfs_step *)args)->n, err);
}

/* The kernel changes no number but to and from none (sriov_numvfs_store: EBUSY). */
static int vfs_undo(void *services, const void *args, struct error *err)
{
	const struct gpu_services *sv = services;
	const struct vfs_step *s = args;
	int64_t now;

	if (is_gone(sv, s))
		return 0;
	now = count(sv, s, err);
	if (now < 0 || now == s->was)
		return now < 0 ? -1 : 0;
	if (now && privd_vfs(sv->privd, address_of(s), 0, NULL, err) < 0)
		return -1;
	return s->was ? privd_vfs(sv->privd, address_of(s), (unsigned)s->was, NULL, err) : 0;
}

static int vfs_prove_undone(void *services, const void *args, struct error *err)
{
	const struct vfs_step *s = args;

	return is_gone(services, s) ? 0 : proven(services, s, s->was, err);
}

static int vfs_holds(void *services, const void *args)
{
	const struct vfs_step *s = args;
	int64_t now = count(services, s, NULL);

	return now < 0 ? (is_gone(services, s) ? 0 : -1) : now == s->n;
}

static unsigned vfs_deadline(const void *args UNUSED)
{
	return VFS_DEADLINE_MS;
}

static const char *vfs_text(const void *args, struct arena *arena)
{
	const struct vfs_step *s = args;

	return s->n ? arena_printf(arena, "make %lld VFs of %s", (long long)s->n, s->address)
		    : arena_printf(arena, "take the %lld VFs of %s away", (long long)s->was, s->address);
}

static void add_write(const struct vfs_step *s, const char *file, struct arena *arena, struct list *writes)
{
	*list_add(arena, writes, struct step_write) =
		(struct step_write){ arena_printf(arena, "/sys/bus/pci/devices/%s/%s", s->address, file),
				     arena_printf(arena, "%lld", (long long)s->n) };
}

static void vfs_writes(const void *args, struct arena *arena, struct list *writes)
{
	add_write(args, "sriov_numvfs", arena, writes);
}

/* ---- vf-autoprobe ---- */

static int autoprobe_set(const struct gpu_services *sv, const struct vfs_step *s, int64_t n, struct error *err)
{
	return privd_vf_autoprobe(sv->privd, address_of(s), n == 1, err);
}

static int autoprobe_apply(void *services, const void *args, struct error *err)
{
	return autoprobe_set(services, args, ((const struct vfs_step *)args)->n, err);
}

static int autoprobe_is(const struct gpu_services *sv, const struct vfs_step *s, int64_t n, struct error *err)
{
	char path[PATH_BYTES];
	uint64_t now;
	int r = fdpath_read_u64(sv->root->fd, file_of(s->address, "sriov_drivers_autoprobe", path), &now);

	if (r < 0)
		return error_errno(err, ERROR_PROOF_FAILED, -r,
				   "sriov_drivers_autoprobe of %s cannot be read back", s->address);
	if (now == (uint64_t)n)
		return 0;
	return error_set(err, ERROR_PROOF_FAILED, "sriov_drivers_autoprobe of %s reads %llu, not %lld",
			 s->address, (unsigned long long)now, (long long)n);
}

static int autoprobe_prove(void *services, const void *args, struct error *err)
{
	return autoprobe_is(services, args, ((const struct vfs_step *)args)->n, err);
}

static int autoprobe_undo(void *services, const void *args, struct error *err)
{
	const struct vfs_step *s = args;

	return is_gone(services, s) ? 0 : autoprobe_set(services, s, s->was, err);
}

static int autoprobe_prove_undone(void *services, const void *args, struct error *err)
{
	const struct vfs_step *s = args;

	return is_gone(services, s) ? 0 : autoprobe_is(services, s, s->was, err);
}

static int autoprobe_holds(void *services, const void *args)
{
	char path[PATH_BYTES];
	const struct gpu_services *sv = services;
	const struct vfs_step *s = args;
	uint64_t now;

	if (fdpath_read_u64(sv->root->fd, file_of(s->address, "sriov_drivers_autoprobe", path), &now) < 0)
		return is_gone(sv, s) ? 0 : -1;
	return now == (uint64_t)s->n;
}

static const char *autoprobe_text(const void *args, struct arena *arena)
{
	const struct vfs_step *s = args;

	return arena_printf(arena, s->n ? "let drivers of the host take VFs of %s again"
					: "keep drivers of the host off new VFs of %s",
			    s->address);
}

static void autoprobe_writes(const void *args, struct arena *arena, struct list *writes)
{
	add_write(args, "sriov_drivers_autoprobe", arena, writes);
}

/* ---- want-vfs ---- */

static int want_set(const struct gpu_services *sv, const struct want_vfs_step *s, int64_t n,
		    struct error *err)
{
	int r = card_want_vfs(sv->store, sv->node_id, s->card, n, err);

	fault_inside();
	return r;
}

static int want_apply(void *services, const void *args, struct error *err)
{
	return want_set(services, args, ((const struct want_vfs_step *)args)->n, err);
}

static int want_undo(void *services, const void *args, struct error *err)
{
	return want_set(services, args, ((const struct want_vfs_step *)args)->was, err);
}

static int want_is(const struct gpu_services *sv, const struct want_vfs_step *s, int64_t n,
		   struct error *err)
{
	int64_t now;

	if (card_wanted_vfs(sv->store, sv->node_id, s->card, &now, err) < 0)
		return -1;
	return now == n ? 0
			: error_set(err, ERROR_PROOF_FAILED, "the record of %s is not as it was written",
				    s->address);
}

static int want_prove(void *services, const void *args, struct error *err)
{
	return want_is(services, args, ((const struct want_vfs_step *)args)->n, err);
}

static int want_prove_undone(void *services, const void *args, struct error *err)
{
	return want_is(services, args, ((const struct want_vfs_step *)args)->was, err);
}

static int want_holds(void *services, const void *args)
{
	struct error why = { 0 };

	if (!want_prove(services, args, &why))
		return 1;
	return why.code == ERROR_PROOF_FAILED ? 0 : -1;
}

static const char *want_text(const void *args, struct arena *arena)
{
	const struct want_vfs_step *s = args;

	return arena_printf(arena, "write down that %s is to have %lld VFs after a boot too", s->address,
			    (long long)s->n);
}

/* ---- the table ---- */

#define VFS(field)  offsetof(struct vfs_step, field)
#define WANT(field) offsetof(struct want_vfs_step, field)

static const struct row vfs_rows[] = {
	{ "address", ROW_STRING, ROW_REQUIRED, VFS(address), .check = pci_address_check },
	{ "n", ROW_INT, ROW_REQUIRED, VFS(n), .min = 0, .max = UINT16_MAX },
	{ "was", ROW_INT, ROW_REQUIRED, VFS(was), .min = 0, .max = UINT16_MAX },
	ROW_END,
};
static const struct row want_rows[] = {
	{ "card", ROW_STRING, ROW_REQUIRED, WANT(card) },
	{ "address", ROW_STRING, ROW_REQUIRED, WANT(address) },
	{ "n", ROW_INT, 0, WANT(n), .min = 0, .max = UINT16_MAX },
	{ "was", ROW_INT, 0, WANT(was), .min = 0, .max = UINT16_MAX },
	ROW_END,
};

static const char *subject(const void *args, struct arena *arena)
{
	return arena_strdup(arena, ((const struct vfs_step *)args)->address);
}

#define OF_PF .args = vfs_rows, .args_size = sizeof(struct vfs_step), .subject = subject

/* Sorted by name. */
static const struct step_kind kinds[] = {
	[VGPU_STEP_VF_AUTOPROBE] = { "vf-autoprobe", OF_PF, .apply = autoprobe_apply,
				     .prove = autoprobe_prove, .undo = autoprobe_undo,
				     .prove_undone = autoprobe_prove_undone, .holds = autoprobe_holds,
				     .text = autoprobe_text, .writes = autoprobe_writes },
	[VGPU_STEP_VFS] = { "vfs", OF_PF, .apply = vfs_apply, .prove = vfs_prove, .undo = vfs_undo,
			    .prove_undone = vfs_prove_undone, .holds = vfs_holds,
			    .deadline_ms = vfs_deadline, .text = vfs_text, .writes = vfs_writes },
	[VGPU_STEP_WANT_VFS] = { "want-vfs", .args = want_rows,
				 .args_size = sizeof(struct want_vfs_step), .lasting = true,
				 .apply = want_apply, .prove = want_prove, .undo = want_undo,
				 .prove_undone = want_prove_undone, .holds = want_holds,
				 .text = want_text },
};

const struct step_table vgpu_steps = STEP_TABLE(kinds);

const struct step_kind *vgpu_step(enum vgpu_step step)
{
	return &kinds[step];
}
