/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Steps that change the driver of a function, and the lock that nvidia's wants first. Unbinding is
 * what can sleep for ever, so whichever way it is asked for, forward or back, who holds the card is
 * looked up straight before it.
 */
#include <errno.h>
#include <string.h>

#include "base/fdpath.h"
#include "gpu/quarantine.h"
#include "gpu/steps_parts.h"
#include "host/holders.h"

/* ---- what any unbind wants first ---- */

/*
 * Holders were read before the plan; whoever came since is found here, straight before the write. Where
 * the kernel counts nobody at all there is nobody to be found.
 */
static int not_held(const struct gpu_services *sv, const struct function_step *s,
		    const char *driver, struct error *err)
{
	CLEANUP(arena_freep) struct arena *arena = arena_new();
	struct list addresses = { 0 }, holders = { 0 };

	if (holders_ruled_out(sv->root, step_address(s), driver))
		return 0;
	*list_add(arena, &addresses, struct pci_address) = step_address(s);
	if (privd_holders(sv->privd, &addresses, arena, &holders, err) < 0)
		return error_wrap(err, "who has %s open cannot be told", s->address);
	for (LIST_EACH(const struct holder, h, &holders)) {
		if (holder_lets_go(h))
			continue;
		error_set(err, ERROR_CONFLICT, "%s (pid %lld) has opened %s meanwhile", h->name,
			  (long long)h->pid, s->address);
		return error_hint(err,
				  "end it first: an unbind would wait for it, perhaps for ever");
	}
	return 0;
}

/*
 * The one way from a driver (`name`) to none. nvidia's remove() waits for its users, perhaps for
 * ever; only while its lock reads 1 has it none, so without that it is never tried. take: nobody
 * took the lock yet; if the unbind then fails it is given back.
 */
static int unbind(void *services, const struct function_step *s, const char *name, bool take,
		  struct error *err)
{
	const struct gpu_services *sv = services;
	const bool locks = !strcmp(name, "nvidia");
	struct error why = { 0 };
	int r = not_held(sv, s, name, &why);

	take = take && locks && !r;
	if (take)
		r = step_lock_apply(services, s, &why);
	if (!r && locks)
		r = step_lock_prove(services, s, &why);
	if (!r)
		r = privd_unbind(sv->privd, step_address(s), name, &why);
	/* of what did not come back nobody knows what it still does */
	if (r && take && why.code != ERROR_STUCK && why.code != ERROR_HELPER)
		step_lock_undo(services, s, NULL);
	if (r)
		quarantine_note(sv, s->address, &why);
	if (r && err)
		*err = why;
	return r;
}

/* ---- bind, give-back ---- */

void step_refused(void *services, const void *args, struct error *err)
{
	quarantine_note(services, ((const struct function_step *)args)->address, err);
}

static int bind_to(const struct gpu_services *sv, const struct function_step *s, struct error *err)
{
	if (!privd_bind(sv->privd, step_address(s), s->driver, err))
		return 0;
	return quarantine_note(sv, s->address, err);	/* if it does not answer */
}

int step_bind_apply(void *services, const void *args, struct error *err)
{
	const struct gpu_services *sv = services;
	const struct function_step *s = args;

	if (!step_prove_driver(sv, s, s->driver, NULL))
		return 0;
	return bind_to(sv, s, err);
}

int step_bind_prove(void *services, const void *args, struct error *err)
{
	return step_prove_driver(services, args, ((const struct function_step *)args)->driver, err);
}

bool step_bind_request(const void *args, struct privd_request *request)
{
	const struct function_step *s = args;

	return step_request(s, PRIVD_BIND, s->driver, 0, request);
}

/*
 * May the step have put it on that driver? Else it was never begun: it is where a step before it, which
 * was not begun either, was to take it from.
 */
static bool put_there(const struct function_step *s, const char *driver)
{
	return driver_is_vfio(s->driver) ? !strcmp(driver, s->driver) : !driver_is_vfio(driver);
}

static int unbind_again(void *services, const void *args, struct error *err)
{
	const struct gpu_services *sv = services;
	const struct function_step *s = args;
	char name[DRIVER_NAME];
	int r = step_bound_driver(sv, s, name);

	if (r < 0)
		return step_cannot_read(s, r, err);
	return r && put_there(s, name) ? unbind(services, s, name, true, err) : 0;
}

static int unbound_again(void *services, const void *args, struct error *err)
{
	const struct function_step *s = args;
	char name[DRIVER_NAME];
	int r = step_bound_driver(services, s, name);

	if (r < 0)
		return step_cannot_read(s, r, err);
	if (!r || !put_there(s, name))
		return 0;
	return error_set(err, ERROR_PROOF_FAILED, "%s is on %s, not on none", s->address, name);
}

UNLESS_GONE(step_bind_undo, unbind_again)
UNLESS_GONE(step_bind_prove_undone, unbound_again)

int step_unbind_prove(void *services, const void *args, struct error *err)
{
	return step_prove_driver(services, args, NULL, err);
}

/* As step_kind.holds, for what hangs on a driver's name: 1 or 0 when it can be read. */
static int told(int r, bool holds)
{
	return r >= 0 ? holds : r == -ENODEV ? 0 : -1;
}

int step_bind_holds(void *services, const void *args)
{
	const struct function_step *s = args;
	char name[DRIVER_NAME];
	int r = step_bound_driver(services, s, name);

	return told(r, !strcmp(name, s->driver));
}

const char *step_bind_text(const void *args, struct arena *arena)
{
	const struct function_step *s = args;

	return arena_printf(arena, "bind %s to %s", s->address, s->driver);
}

void step_bind_writes(const void *args, struct arena *arena, struct list *writes)
{
	const struct function_step *s = args;

	step_add_write(arena, writes,
		       arena_printf(arena, "/sys/bus/pci/drivers/%s/bind", s->driver), s->address);
}

/* Where its driver is not told, the kernel is to choose: whether it did well is for the proof to say. */
bool step_give_back_request(const void *args, struct privd_request *request)
{
	const struct function_step *s = args;

	return s->driver && step_request(s, PRIVD_BIND, s->driver, 0, request);
}

/* The driver may have been unloaded meanwhile: then the kernel's own match is the next best. */
int step_give_back_apply(void *services, const void *args, struct error *err)
{
	const struct gpu_services *sv = services;
	const struct function_step *s = args;
	char path[PATH_BYTES];

	snprintf(path, sizeof(path), "sys/bus/pci/drivers/%.60s", s->driver ? s->driver : "");
	if (s->driver && fdpath_exists(sv->root->fd, path) == 1)
		return bind_to(sv, s, err);
	if (!privd_probe(sv->privd, step_address(s), NULL, err))
		return 0;
	return quarantine_note(sv, s->address, err);
}

int step_give_back_prove(void *services, const void *args, struct error *err)
{
	const struct gpu_services *sv = services;
	const struct function_step *s = args;
	char name[DRIVER_NAME], path[PATH_BYTES];
	int r = step_bound_driver(sv, s, name);

	if (r < 0)
		return step_cannot_read(s, r, err);
	if (driver_is_vfio(name)) {
		error_set(err, ERROR_PROOF_FAILED, "%s went back to %s", s->address, name);
		return error_hint(err, "look for its ids in vfio-pci's `ids=` option (kernel "
				       "command line, /etc/modprobe.d)");
	}
	snprintf(path, sizeof(path), "sys/bus/pci/drivers/%.60s", s->driver ? s->driver : "");
	if (!s->driver || !strcmp(name, s->driver) || fdpath_exists(sv->root->fd, path) == 0)
		return 0;
	return error_set(err, ERROR_PROOF_FAILED, "%s is on %s, not back on %s", s->address,
			 r ? name : "no driver", s->driver);
}

int step_give_back_holds(void *services, const void *args)
{
	char name[DRIVER_NAME];
	int r = step_bound_driver(services, args, name);

	return told(r, r && !driver_is_vfio(name));
}

const char *step_give_back_text(const void *args, struct arena *arena)
{
	const struct function_step *s = args;

	return s->driver ? arena_printf(arena, "give %s back to %s", s->address, s->driver)
			 : arena_printf(arena, "let the kernel find the driver of %s", s->address);
}

void step_give_back_writes(const void *args, struct arena *arena, struct list *writes)
{
	const struct function_step *s = args;

	if (s->driver)
		step_bind_writes(args, arena, writes);
	else
		step_add_write(arena, writes, "/sys/bus/pci/drivers_probe", s->address);
}

/* ---- unbind ---- */

/* Where the kernel counts nobody; who it is else has to be looked for, and nvidia's lock to be read. */
bool step_unbind_request(const void *args, struct privd_request *request)
{
	const struct function_step *s = args;

	return strcmp(s->driver, "nvidia") && step_request(s, PRIVD_UNBIND, s->driver, 1, request);
}

int step_unbind_apply(void *services, const void *args, struct error *err)
{
	const struct gpu_services *sv = services;
	const struct function_step *s = args;
	char name[DRIVER_NAME];
	int r = step_bound_driver(sv, s, name);

	if (r < 0)
		return step_cannot_read(s, r, err);
	return r ? unbind(services, s, name, false, err) : 0;
}

/*
 * driver_override keeps every other driver away (pci_match_device()), at this point also the one
 * that it came from; and vfio-pci knows no ids, so without it that one does not fit.
 */
static int bind_back(const struct gpu_services *sv, const struct function_step *s,
		     struct error *err)
{
	CLEANUP(arena_freep) struct arena *arena = arena_new();
	const char *fits = driver_is_vfio(s->driver) ? s->driver : "", *text = NULL;
	int r;

	if (privd_read_override(sv->privd, step_address(s), arena, &text, err) < 0)
		return -1;
	if (!strcmp(text, fits) || !strcmp(text, s->driver))
		return bind_to(sv, s, err);
	if (privd_override(sv->privd, step_address(s), fits, err) < 0)
		return -1;
	r = bind_to(sv, s, err);
	if (privd_override(sv->privd, step_address(s), text, r < 0 ? NULL : err) < 0)
		return -1;
	return r;
}

/* A driver sets power/control when it takes a device, so what it was (`was`) is put back after
 * that. */
static int bind_again(void *services, const void *args, struct error *err)
{
	const struct gpu_services *sv = services;
	const struct function_step *s = args;

	if (step_bind_prove(services, args, NULL) && bind_back(services, args, err) < 0)
		return -1;
	if (!s->was || !step_prove_file(sv, s, "power/control", s->was, NULL))
		return 0;
	return privd_power(sv->privd, step_address(s), !strcmp(s->was, "on"), err);
}

static int bound_again(void *services, const void *args, struct error *err)
{
	const struct function_step *s = args;

	if (step_bind_prove(services, args, err) < 0)
		return -1;
	return s->was ? step_prove_file(services, s, "power/control", s->was, err) : 0;
}

UNLESS_GONE(step_unbind_undo, bind_again)
UNLESS_GONE(step_unbind_prove_undone, bound_again)

int step_unbind_holds(void *services, const void *args)
{
	const struct function_step *s = args;
	char name[DRIVER_NAME];
	int r = step_bound_driver(services, s, name);

	return told(r, strcmp(name, s->driver) != 0);
}

const char *step_unbind_text(const void *args, struct arena *arena)
{
	const struct function_step *s = args;

	return arena_printf(arena, "unbind %s from %s", s->address, s->driver);
}

void step_unbind_writes(const void *args, struct arena *arena, struct list *writes)
{
	const struct function_step *s = args;

	step_add_write(arena, writes,
		       arena_printf(arena, "/sys/bus/pci/drivers/%s/unbind", s->driver),
		       s->address);
}

/* ---- nvidia's unbindLock (open-gpu-kernel-modules, kernel-open/nvidia/nv-procfs.c) ---- */

int step_lock_apply(void *services, const void *args, struct error *err)
{
	const struct gpu_services *sv = services;
	const struct function_step *s = args;

	if (!privd_unbind_lock(sv->privd, step_address(s), true, err))
		return 0;
	if (err && err->code == ERROR_CONFLICT)
		error_hint(err, "something still uses the card: look for nvidia-persistenced, "
				"dcgm, a display "
				"manager or containers, and stop them");
	return -1;
}

/* It goes with the driver, and a driver that comes back has none. Looking runs no code of the
 * driver. */
static bool lock_gone(const struct gpu_services *sv, const struct function_step *s)
{
	char path[PATH_BYTES];

	snprintf(path, sizeof(path), "proc/driver/nvidia/gpus/%s/unbindLock", s->address);
	return fdpath_exists(sv->root->fd, path) == 0;
}

int step_lock_prove(void *services, const void *args, struct error *err)
{
	const struct gpu_services *sv = services;
	const struct function_step *s = args;
	bool taken = false;

	if (privd_read_lock(sv->privd, step_address(s), &taken, err) < 0)
		return -1;
	return taken ? 0
		     : error_set(err, ERROR_PROOF_FAILED, "the unbind lock of %s is not taken",
				 s->address);
}

/* 1 it is, 0 it is not, -1 with an error. */
static int lock_taken(const struct gpu_services *sv, const struct function_step *s,
		      struct error *err)
{
	bool taken = false;

	if (lock_gone(sv, s))
		return 0;
	return privd_read_lock(sv->privd, step_address(s), &taken, err) < 0 ? -1 : taken;
}

int step_lock_undo(void *services, const void *args, struct error *err)
{
	const struct gpu_services *sv = services;
	const struct function_step *s = args;

	return lock_gone(sv, s) ? 0 : privd_unbind_lock(sv->privd, step_address(s), false, err);
}

int step_lock_prove_undone(void *services, const void *args, struct error *err)
{
	const struct function_step *s = args;
	int r = lock_taken(services, s, err);

	return r <= 0 ? r
		      : error_set(err, ERROR_PROOF_FAILED, "the unbind lock of %s is still taken",
				  s->address);
}

int step_lock_holds(void *services, const void *args)
{
	return lock_taken(services, args, NULL);
}

const char *step_lock_text(const void *args, struct arena *arena)
{
	return arena_printf(arena, "take the nvidia driver's unbind lock of %s",
			    ((const struct function_step *)args)->address);
}

void step_lock_writes(const void *args, struct arena *arena, struct list *writes)
{
	step_add_write(arena, writes,
		       arena_printf(arena, "/proc/driver/nvidia/gpus/%s/unbindLock",
				    ((const struct function_step *)args)->address),
		       "1");
}
