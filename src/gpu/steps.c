/* SPDX-License-Identifier: Apache-2.0 */
/* The table of step kinds of whole cards. See steps.h and plan/step.h. */
#include "gpu/steps.h"

#include <errno.h>
#include <string.h>

#include "base/fdpath.h"
#include "host/holders.h"

enum {
	DRIVER_NAME = 64,
	PATH_BYTES = 128,
	DRIVER_DEADLINE_MS = 40000,	/* more than privd gives its child */
	VIABLE_DEADLINE_MS = 3000,	/* udev makes the node a moment after the bind */
};

/* ---- what all share ---- */

static struct pci_address address_of(const struct function_step *s)
{
	struct pci_address address = { 0 };

	pci_address_parse(s->address, &address);	/* the row's check let nothing else through */
	return address;
}

static const char *device_file(const struct function_step *s, const char *file, char *path)
{
	snprintf(path, PATH_BYTES, "sys/bus/pci/devices/%s/%s", s->address, file);
	return path;
}

/* 1 with its name, 0 none bound, -errno. A link is read without taking the device's lock. */
static int bound_driver(const struct gpu_services *services, const struct function_step *s,
			char name[static DRIVER_NAME])
{
	char path[PATH_BYTES];
	ssize_t n = fdpath_link_name(services->root->fd, device_file(s, "driver", path), name,
				     DRIVER_NAME);

	if (n >= 0)
		return 1;
	name[0] = '\0';
	if (n != -ENOENT)
		return (int)n;
	return fdpath_exists(services->root->fd, device_file(s, "vendor", path)) == 1 ? 0 : -ENODEV;
}

static int cannot_read_driver(const struct function_step *s, int r, struct error *err)
{
	if (r == -ENODEV)
		return error_set(err, ERROR_GONE, "%s is not there any more", s->address);
	return error_errno(err, ERROR_PROOF_FAILED, -r, "the driver of %s cannot be read", s->address);
}

/*
 * What is gone has taken its settings along: there is nothing to put back, and what it was like before
 * does not matter to what comes in its place.
 */
static bool is_gone(const struct gpu_services *services, const struct function_step *s)
{
	char path[PATH_BYTES];

	return fdpath_exists(services->root->fd, device_file(s, "vendor", path)) == 0;
}

/* As the function, for ways back and their proofs. */
#define UNLESS_GONE(name, function)                                                      \
	static int name(void *services, const void *args, struct error *err)             \
	{                                                                                \
		int r = function(services, args, err);                                   \
                                                                                         \
		return r < 0 && is_gone(services, args) ? 0 : r;                         \
	}

/* driver NULL or "": none is wanted. */
static int prove_driver(const struct gpu_services *services, const struct function_step *s,
			const char *driver, struct error *err)
{
	char name[DRIVER_NAME];
	int r = bound_driver(services, s, name);

	if (r < 0)
		return cannot_read_driver(s, r, err);
	if (!strcmp(name, driver ? driver : ""))
		return 0;
	return error_set(err, ERROR_PROOF_FAILED, "%s is on %s, not on %s", s->address,
			 r ? name : "no driver", driver && *driver ? driver : "none");
}

/* Files that hold one word and are safe to read (they take no lock). */
static int prove_file(const struct gpu_services *services, const struct function_step *s,
		      const char *file, const char *value, struct error *err)
{
	char path[PATH_BYTES], text[64];
	ssize_t n = fdpath_read(services->root->fd, device_file(s, file, path), text, sizeof(text));

	if (n < 0)
		return error_errno(err, ERROR_PROOF_FAILED, (int)-n, "%s of %s cannot be read back", file,
				   s->address);
	if (!strcmp(text, value))
		return 0;
	return error_set(err, ERROR_PROOF_FAILED, "%s of %s reads %s, not %s", file, s->address, text,
			 value);
}

static int file_holds(const struct gpu_services *services, const struct function_step *s,
		      const char *file)
{
	char path[PATH_BYTES], text[64];

	if (fdpath_read(services->root->fd, device_file(s, file, path), text, sizeof(text)) < 0)
		return is_gone(services, s) ? 0 : -1;
	return !strcmp(text, s->value);
}

static unsigned driver_deadline(const void *args UNUSED)
{
	return DRIVER_DEADLINE_MS;
}

static const char *subject(const void *args, struct arena *arena)
{
	return arena_strdup(arena, ((const struct function_step *)args)->address);
}

static void add_write(struct arena *arena, struct list *writes, const char *path, const char *value)
{
	struct step_write *write = list_add(arena, writes, struct step_write);

	write->path = path;
	write->value = value;
}

static void write_device_file(const struct function_step *s, const char *file, const char *value,
			      struct arena *arena, struct list *writes)
{
	add_write(arena, writes,
		  arena_printf(arena, "/sys/bus/pci/devices/%s/%s", s->address, file), value);
}

/* ---- bind, give-back ---- */

static int bind_apply(void *services, const void *args, struct error *err)
{
	const struct gpu_services *sv = services;
	const struct function_step *s = args;

	if (!prove_driver(sv, s, s->driver, NULL))
		return 0;
	return privd_bind(sv->privd, address_of(s), s->driver, err);
}

static int bind_prove(void *services, const void *args, struct error *err)
{
	return prove_driver(services, args, ((const struct function_step *)args)->driver, err);
}

static int unbind_again(void *services, const void *args, struct error *err)
{
	const struct gpu_services *sv = services;
	const struct function_step *s = args;
	char name[DRIVER_NAME];
	int r = bound_driver(sv, s, name);

	if (r < 0)
		return cannot_read_driver(s, r, err);
	return r ? privd_unbind(sv->privd, address_of(s), name, err) : 0;
}

UNLESS_GONE(bind_undo, unbind_again)

static int none_prove(void *services, const void *args, struct error *err)
{
	return prove_driver(services, args, NULL, err);
}

UNLESS_GONE(bind_prove_undone, none_prove)

/* As step_kind.holds, for what hangs on a driver's name: 1 or 0 when it can be read. */
static int told(int r, bool holds)
{
	return r >= 0 ? holds : r == -ENODEV ? 0 : -1;
}

static int bind_holds(void *services, const void *args)
{
	const struct function_step *s = args;
	char name[DRIVER_NAME];
	int r = bound_driver(services, s, name);

	return told(r, !strcmp(name, s->driver));
}

static const char *bind_text(const void *args, struct arena *arena)
{
	const struct function_step *s = args;

	return arena_printf(arena, "bind %s to %s", s->address, s->driver);
}

static void bind_writes(const void *args, struct arena *arena, struct list *writes)
{
	const struct function_step *s = args;

	add_write(arena, writes, arena_printf(arena, "/sys/bus/pci/drivers/%s/bind", s->driver),
		  s->address);
}

/* The driver may have been unloaded meanwhile: then the kernel's own match is the next best. */
static int give_back_apply(void *services, const void *args, struct error *err)
{
	const struct gpu_services *sv = services;
	const struct function_step *s = args;
	char path[PATH_BYTES];

	snprintf(path, sizeof(path), "sys/bus/pci/drivers/%.60s", s->driver ? s->driver : "");
	if (s->driver && fdpath_exists(sv->root->fd, path) == 1)
		return privd_bind(sv->privd, address_of(s), s->driver, err);
	return privd_probe(sv->privd, address_of(s), NULL, err);
}

static int give_back_prove(void *services, const void *args, struct error *err)
{
	const struct gpu_services *sv = services;
	const struct function_step *s = args;
	char name[DRIVER_NAME], path[PATH_BYTES];
	int r = bound_driver(sv, s, name);

	if (r < 0)
		return cannot_read_driver(s, r, err);
	if (driver_is_vfio(name)) {
		error_set(err, ERROR_PROOF_FAILED, "%s went back to %s", s->address, name);
		return error_hint(err, "look for its ids in vfio-pci's `ids=` option (kernel command line, /etc/modprobe.d)");
	}
	snprintf(path, sizeof(path), "sys/bus/pci/drivers/%.60s", s->driver ? s->driver : "");
	if (!s->driver || !strcmp(name, s->driver) || fdpath_exists(sv->root->fd, path) == 0)
		return 0;
	return error_set(err, ERROR_PROOF_FAILED, "%s is on %s, not back on %s", s->address,
			 r ? name : "no driver", s->driver);
}

static int give_back_holds(void *services, const void *args)
{
	char name[DRIVER_NAME];
	int r = bound_driver(services, args, name);

	return told(r, r && !driver_is_vfio(name));
}

static const char *give_back_text(const void *args, struct arena *arena)
{
	const struct function_step *s = args;

	return s->driver ? arena_printf(arena, "give %s back to %s", s->address, s->driver) :
			   arena_printf(arena, "let the kernel find the driver of %s", s->address);
}

static void give_back_writes(const void *args, struct arena *arena, struct list *writes)
{
	const struct function_step *s = args;

	if (s->driver)
		bind_writes(args, arena, writes);
	else
		add_write(arena, writes, "/sys/bus/pci/drivers_probe", s->address);
}

/* ---- unbind ---- */

/* Holders were read before the plan; whoever came since is found here, straight before the write. */
static int not_held(const struct gpu_services *sv, const struct function_step *s, struct error *err)
{
	CLEANUP(arena_freep) struct arena *arena = arena_new();
	struct list addresses = { 0 }, holders = { 0 };

	*list_add(arena, &addresses, struct pci_address) = address_of(s);
	if (privd_holders(sv->privd, &addresses, arena, &holders, err) < 0)
		return error_wrap(err, "who has %s open cannot be told", s->address);
	for (LIST_EACH(const struct holder, h, &holders)) {
		if (holder_lets_go(h))
			continue;
		error_set(err, ERROR_CONFLICT, "%s (pid %lld) has opened %s meanwhile", h->name,
			  (long long)h->pid, s->address);
		return error_hint(err, "end it first: an unbind would wait for it, perhaps for ever");
	}
	return 0;
}

static int unbind_apply(void *services, const void *args, struct error *err)
{
	const struct gpu_services *sv = services;
	const struct function_step *s = args;
	char name[DRIVER_NAME];
	int r = bound_driver(sv, s, name);

	if (r < 0)
		return cannot_read_driver(s, r, err);
	if (!r)
		return 0;
	if (not_held(sv, s, err) < 0)
		return -1;
	return privd_unbind(sv->privd, address_of(s), name, err);
}

/*
 * driver_override keeps every other driver away (pci_match_device()), at this point also the one that it
 * came from; and vfio-pci knows no ids, so without it that one does not fit.
 */
static int bind_back(const struct gpu_services *sv, const struct function_step *s, struct error *err)
{
	CLEANUP(arena_freep) struct arena *arena = arena_new();
	const char *fits = driver_is_vfio(s->driver) ? s->driver : "", *text = NULL;
	int r;

	if (privd_read_override(sv->privd, address_of(s), arena, &text, err) < 0)
		return -1;
	if (!strcmp(text, fits) || !strcmp(text, s->driver))
		return privd_bind(sv->privd, address_of(s), s->driver, err);
	if (privd_override(sv->privd, address_of(s), fits, err) < 0)
		return -1;
	r = privd_bind(sv->privd, address_of(s), s->driver, err);
	if (privd_override(sv->privd, address_of(s), text, r < 0 ? NULL : err) < 0)
		return -1;
	return r;
}

/* A driver sets power/control when it takes a device, so what it was (`was`) is put back after that. */
static int bind_again(void *services, const void *args, struct error *err)
{
	const struct gpu_services *sv = services;
	const struct function_step *s = args;

	if (bind_prove(services, args, NULL) && bind_back(services, args, err) < 0)
		return -1;
	if (!s->was || !prove_file(sv, s, "power/control", s->was, NULL))
		return 0;
	return privd_power(sv->privd, address_of(s), !strcmp(s->was, "on"), err);
}

static int bound_again(void *services, const void *args, struct error *err)
{
	const struct function_step *s = args;

	if (bind_prove(services, args, err) < 0)
		return -1;
	return s->was ? prove_file(services, s, "power/control", s->was, err) : 0;
}

UNLESS_GONE(unbind_undo, bind_again)
UNLESS_GONE(unbind_prove_undone, bound_again)

static int unbind_holds(void *services, const void *args)
{
	const struct function_step *s = args;
	char name[DRIVER_NAME];
	int r = bound_driver(services, s, name);

	return told(r, strcmp(name, s->driver) != 0);
}

static const char *unbind_text(const void *args, struct arena *arena)
{
	const struct function_step *s = args;

	return arena_printf(arena, "unbind %s from %s", s->address, s->driver);
}

static void unbind_writes(const void *args, struct arena *arena, struct list *writes)
{
	const struct function_step *s = args;

	add_write(arena, writes, arena_printf(arena, "/sys/bus/pci/drivers/%s/unbind", s->driver),
		  s->address);
}

/* ---- driver_override ---- */

static int override_set(const struct gpu_services *sv, const struct function_step *s,
			const char *value, struct error *err)
{
	return privd_override(sv->privd, address_of(s), value, err);
}

static int override_apply(void *services, const void *args, struct error *err)
{
	return override_set(services, args, ((const struct function_step *)args)->value, err);
}

static int override_restore(void *services, const void *args, struct error *err)
{
	return override_set(services, args, ((const struct function_step *)args)->was, err);
}

UNLESS_GONE(override_undo, override_restore)

static int override_is(const struct gpu_services *sv, const struct function_step *s,
		       const char *value, struct error *err)
{
	CLEANUP(arena_freep) struct arena *arena = arena_new();
	const char *text = NULL;

	if (privd_read_override(sv->privd, address_of(s), arena, &text, err) < 0)
		return -1;
	if (!strcmp(text, value))
		return 0;
	return error_set(err, ERROR_PROOF_FAILED, "driver_override of %s reads \"%s\", not \"%s\"",
			 s->address, text, value);
}

static int override_prove(void *services, const void *args, struct error *err)
{
	return override_is(services, args, ((const struct function_step *)args)->value, err);
}

static int override_was(void *services, const void *args, struct error *err)
{
	return override_is(services, args, ((const struct function_step *)args)->was, err);
}

UNLESS_GONE(override_prove_undone, override_was)

static int override_holds(void *services, const void *args)
{
	struct error err = { 0 };

	if (!override_prove(services, args, &err))
		return 1;
	return err.code == ERROR_PROOF_FAILED || is_gone(services, args) ? 0 : -1;
}

static const char *override_text(const void *args, struct arena *arena)
{
	const struct function_step *s = args;

	return *s->value ? arena_printf(arena, "let only %s take %s", s->value, s->address) :
			   arena_printf(arena, "let any driver take %s again", s->address);
}

static void override_writes(const void *args, struct arena *arena, struct list *writes)
{
	const struct function_step *s = args;

	write_device_file(s, "driver_override", *s->value ? s->value : "\n", arena, writes);
}

/* ---- power ---- */

static int power_set(const struct gpu_services *sv, const struct function_step *s,
		     const char *value, struct error *err)
{
	return privd_power(sv->privd, address_of(s), !strcmp(value, "on"), err);
}

static int power_apply(void *services, const void *args, struct error *err)
{
	return power_set(services, args, ((const struct function_step *)args)->value, err);
}

static int power_restore(void *services, const void *args, struct error *err)
{
	return power_set(services, args, ((const struct function_step *)args)->was, err);
}

UNLESS_GONE(power_undo, power_restore)

static int power_prove(void *services, const void *args, struct error *err)
{
	return prove_file(services, args, "power/control",
			  ((const struct function_step *)args)->value, err);
}

static int power_was(void *services, const void *args, struct error *err)
{
	return prove_file(services, args, "power/control", ((const struct function_step *)args)->was,
			  err);
}

UNLESS_GONE(power_prove_undone, power_was)

static int power_holds(void *services, const void *args)
{
	return file_holds(services, args, "power/control");
}

static const char *power_text(const void *args, struct arena *arena)
{
	const struct function_step *s = args;

	return arena_printf(arena, strcmp(s->value, "on") ? "let %s sleep when idle" : "keep %s awake",
			    s->address);
}

static void power_writes(const void *args, struct arena *arena, struct list *writes)
{
	write_device_file(args, "power/control", ((const struct function_step *)args)->value, arena,
			  writes);
}

static int d3cold_set(const struct gpu_services *sv, const struct function_step *s,
		      const char *value, struct error *err)
{
	return privd_d3cold(sv->privd, address_of(s), *value == '1', err);
}

static int d3cold_apply(void *services, const void *args, struct error *err)
{
	return d3cold_set(services, args, ((const struct function_step *)args)->value, err);
}

static int d3cold_restore(void *services, const void *args, struct error *err)
{
	return d3cold_set(services, args, ((const struct function_step *)args)->was, err);
}

UNLESS_GONE(d3cold_undo, d3cold_restore)

static int d3cold_prove(void *services, const void *args, struct error *err)
{
	return prove_file(services, args, "d3cold_allowed", ((const struct function_step *)args)->value,
			  err);
}

static int d3cold_was(void *services, const void *args, struct error *err)
{
	return prove_file(services, args, "d3cold_allowed", ((const struct function_step *)args)->was,
			  err);
}

UNLESS_GONE(d3cold_prove_undone, d3cold_was)

static int d3cold_holds(void *services, const void *args)
{
	return file_holds(services, args, "d3cold_allowed");
}

static const char *d3cold_text(const void *args, struct arena *arena)
{
	const struct function_step *s = args;

	return arena_printf(arena, *s->value == '1' ? "allow D3cold for %s" : "keep %s out of D3cold",
			    s->address);
}

static void d3cold_writes(const void *args, struct arena *arena, struct list *writes)
{
	write_device_file(args, "d3cold_allowed", ((const struct function_step *)args)->value, arena,
			  writes);
}

/* ---- nvidia's unbindLock (open-gpu-kernel-modules, kernel-open/nvidia/nv-procfs.c) ---- */

static int lock_apply(void *services, const void *args, struct error *err)
{
	const struct gpu_services *sv = services;
	const struct function_step *s = args;

	if (!privd_unbind_lock(sv->privd, address_of(s), true, err))
		return 0;
	if (err && err->code == ERROR_CONFLICT)
		error_hint(err, "something still uses the card: look for nvidia-persistenced, dcgm, a display "
				"manager or containers, and stop them");
	return -1;
}

/* It goes with the driver, and a driver that comes back has none. Looking runs no code of the driver. */
static bool lock_gone(const struct gpu_services *sv, const struct function_step *s)
{
	char path[PATH_BYTES];

	snprintf(path, sizeof(path), "proc/driver/nvidia/gpus/%s/unbindLock", s->address);
	return fdpath_exists(sv->root->fd, path) == 0;
}

static int lock_prove(void *services, const void *args, struct error *err)
{
	const struct gpu_services *sv = services;
	const struct function_step *s = args;
	bool taken = false;

	if (privd_read_lock(sv->privd, address_of(s), &taken, err) < 0)
		return -1;
	return taken ? 0 : error_set(err, ERROR_PROOF_FAILED, "the unbind lock of %s is not taken", s->address);
}

/* 1 it is, 0 it is not, -1 with an error. */
static int lock_taken(const struct gpu_services *sv, const struct function_step *s, struct error *err)
{
	bool taken = false;

	if (lock_gone(sv, s))
		return 0;
	return privd_read_lock(sv->privd, address_of(s), &taken, err) < 0 ? -1 : taken;
}

static int lock_undo(void *services, const void *args, struct error *err)
{
	const struct gpu_services *sv = services;
	const struct function_step *s = args;

	return lock_gone(sv, s) ? 0 : privd_unbind_lock(sv->privd, address_of(s), false, err);
}

static int lock_prove_undone(void *services, const void *args, struct error *err)
{
	const struct function_step *s = args;
	int r = lock_taken(services, s, err);

	return r <= 0 ? r : error_set(err, ERROR_PROOF_FAILED, "the unbind lock of %s is still taken", s->address);
}

static int lock_holds(void *services, const void *args)
{
	return lock_taken(services, args, NULL);
}

static const char *lock_text(const void *args, struct arena *arena)
{
	return arena_printf(arena, "take the nvidia driver's unbind lock of %s",
			    ((const struct function_step *)args)->address);
}

static void lock_writes(const void *args, struct arena *arena, struct list *writes)
{
	add_write(arena, writes,
		  arena_printf(arena, "/proc/driver/nvidia/gpus/%s/unbindLock",
			       ((const struct function_step *)args)->address),
		  "1");
}

/* ---- the table taken ---- */

static const struct row taken_rows[] = {
	{ "address", ROW_STRING, ROW_REQUIRED, offsetof(struct taken_step, address),
	  .check = pci_address_check },
	{ "driver", ROW_STRING, 0, offsetof(struct taken_step, driver) },
	{ "override", ROW_STRING, 0, offsetof(struct taken_step, override) },
	{ "control", ROW_STRING, 0, offsetof(struct taken_step, control) },
	{ "d3cold", ROW_INT, 0, offsetof(struct taken_step, d3cold) },
	ROW_END,
};

const struct function_settings *taken_load(json_t *value, struct arena *arena)
{
	struct function_settings *s = arena_new_of(arena, struct function_settings);
	struct taken_step row;

	if (rows_parse(taken_rows, value, "", arena, &row, NULL) < 0 ||
	    !pci_address_parse(row.address, &s->address))
		return NULL;
	s->driver = row.driver;
	s->override = row.override ? row.override : "";
	s->control = row.control;
	s->d3cold = row.d3cold;
	return s;
}

static int remember_apply(void *services, const void *args, struct error *err)
{
	const struct gpu_services *sv = services;
	json_t *value = rows_emit(taken_rows, args);
	int r = journal_taken_put(sv->journal, ((const struct taken_step *)args)->address, value, err);

	fault_inside();
	json_decref(value);
	return r;
}

static int forget_apply(void *services, const void *args, struct error *err)
{
	const struct gpu_services *sv = services;
	int r = journal_taken_drop(sv->journal, ((const struct taken_step *)args)->address, err);

	fault_inside();
	return r;
}

static int remembered(void *services, const void *args)
{
	const struct gpu_services *sv = services;
	json_t *value = journal_taken_get(sv->journal, ((const struct taken_step *)args)->address);

	json_decref(value);
	return value != NULL;
}

static int forgotten(void *services, const void *args)
{
	return !remembered(services, args);
}

static int remember_prove(void *services, const void *args, struct error *err)
{
	return remembered(services, args) ? 0 :
		error_set(err, ERROR_PROOF_FAILED, "what %s was is not written down",
			  ((const struct taken_step *)args)->address);
}

static int forget_prove(void *services, const void *args, struct error *err)
{
	return forgotten(services, args) ? 0 :
		error_set(err, ERROR_PROOF_FAILED, "what %s was is still written down",
			  ((const struct taken_step *)args)->address);
}

static const char *remember_text(const void *args, struct arena *arena)
{
	const struct taken_step *s = args;

	return arena_printf(arena, "write down that %s was on %s", s->address,
			    s->driver ? s->driver : "no driver");
}

static const char *forget_text(const void *args, struct arena *arena)
{
	return arena_printf(arena, "drop the note of what %s was",
			    ((const struct taken_step *)args)->address);
}

/* ---- module, viable ---- */

static int module_apply(void *services, const void *args, struct error *err)
{
	const struct gpu_services *sv = services;

	return privd_module(sv->privd, ((const struct module_step *)args)->name, err);
}

static int module_holds(void *services, const void *args)
{
	const struct gpu_services *sv = services;
	char path[PATH_BYTES];

	snprintf(path, sizeof(path), "sys/bus/pci/drivers/%.60s", ((const struct module_step *)args)->name);
	return fdpath_exists(sv->root->fd, path);
}

static int module_prove(void *services, const void *args, struct error *err)
{
	return module_holds(services, args) == 1 ? 0 :
		error_set(err, ERROR_PROOF_FAILED, "module %s was loaded, but its driver is not there",
			  ((const struct module_step *)args)->name);
}

/* A loaded module harms nothing: going back leaves it. */
static int nothing(void *services UNUSED, const void *args UNUSED, struct error *err UNUSED)
{
	return 0;
}

static const char *module_text(const void *args, struct arena *arena)
{
	return arena_printf(arena, "load the module %s", ((const struct module_step *)args)->name);
}

static int still_on_vfio(const struct gpu_services *sv, const struct viable_step *s, struct error *err)
{
	char name[DRIVER_NAME];
	struct function_step f;
	int r;

	for (LIST_EACH(const char *, address, &s->functions)) {
		f = (struct function_step){ .address = *address };
		r = bound_driver(sv, &f, name);
		if (r < 0)
			return cannot_read_driver(&f, r, err);
		if (!driver_is_vfio(name))
			return error_set(err, ERROR_PROOF_FAILED, "%s is on %s by now", *address,
					 r ? name : "no driver");
	}
	return 0;
}

static int viable_prove(void *services, const void *args, struct error *err)
{
	const struct gpu_services *sv = services;
	const struct viable_step *s = args;
	struct error why = { 0 };
	unsigned flags = 0;

	fault_inside();
	if (still_on_vfio(sv, s, err) < 0)
		return -1;
	if (privd_vfio_status(sv->privd, (int)s->group, &flags, &why) < 0) {
		if (err)
			*err = why;
		return why.code == ERROR_CONFLICT ? 1 : -1;	/* no file yet: udev is slower */
	}
	if (flags & (PRIVD_GROUP_VIABLE | PRIVD_GROUP_HELD))
		return 0;
	error_set(err, ERROR_PROOF_FAILED, "IOMMU group %d opens, but the kernel says it is not viable",
		  (int)s->group);
	error_hint(err, "something else in the group is used by the host: see `horcrux gpu group`");
	return -1;
}

static int viable_holds(void *services, const void *args)
{
	/* nothing was written, so what cannot be told stands in nobody's way */
	return !viable_prove(services, args, NULL);
}

static unsigned viable_deadline(const void *args UNUSED)
{
	return VIABLE_DEADLINE_MS;
}

static const char *viable_text(const void *args, struct arena *arena)
{
	return arena_printf(arena, "see that VFIO accepts IOMMU group %lld",
			    (long long)((const struct viable_step *)args)->group);
}

/* ---- the table ---- */

static const struct row function_rows[] = {
	{ "address", ROW_STRING, ROW_REQUIRED, offsetof(struct function_step, address),
	  .check = pci_address_check },
	{ "driver", ROW_STRING, 0, offsetof(struct function_step, driver) },
	{ "value", ROW_STRING, 0, offsetof(struct function_step, value) },
	{ "was", ROW_STRING, 0, offsetof(struct function_step, was) },
	ROW_END,
};
static const struct row viable_rows[] = {
	{ "group", ROW_INT, ROW_REQUIRED, offsetof(struct viable_step, group), .min = 0, .max = 1 << 20 },
	{ "functions", ROW_STRINGS, 0, offsetof(struct viable_step, functions) },
	ROW_END,
};
static const struct row module_rows[] = {
	{ "name", ROW_STRING, ROW_REQUIRED, offsetof(struct module_step, name), .min = 1, .max = 31 },
	ROW_END,
};

#define OF_FUNCTION .args = function_rows, .args_size = sizeof(struct function_step), .subject = subject
#define OF_TAKEN .args = taken_rows, .args_size = sizeof(struct taken_step)

/* Sorted by name. */
static const struct step_kind kinds[] = {
	[STEP_BIND] = { "bind", OF_FUNCTION, .apply = bind_apply, .prove = bind_prove, .undo = bind_undo,
			.prove_undone = bind_prove_undone, .holds = bind_holds, .deadline_ms = driver_deadline,
			.text = bind_text, .writes = bind_writes },
	[STEP_D3COLD] = { "d3cold", OF_FUNCTION, .apply = d3cold_apply, .prove = d3cold_prove,
			  .undo = d3cold_undo, .prove_undone = d3cold_prove_undone,
			  .holds = d3cold_holds, .text = d3cold_text, .writes = d3cold_writes },
	[STEP_FORGET] = { "forget", OF_TAKEN, .apply = forget_apply, .prove = forget_prove,
			  .undo = remember_apply, .prove_undone = remember_prove, .holds = forgotten,
			  .text = forget_text },
	[STEP_GIVE_BACK] = { "give-back", OF_FUNCTION, .apply = give_back_apply,
			     .prove = give_back_prove, .undo = bind_undo,
			     .prove_undone = bind_prove_undone,
			     .holds = give_back_holds, .deadline_ms = driver_deadline,
			     .text = give_back_text, .writes = give_back_writes },
	[STEP_MODULE] = { "module", .args = module_rows, .args_size = sizeof(struct module_step),
			  .apply = module_apply, .prove = module_prove, .undo = nothing,
			  .prove_undone = nothing, .holds = module_holds,
			  .deadline_ms = driver_deadline, .text = module_text },
	[STEP_NVIDIA_LOCK] = { "nvidia-lock", OF_FUNCTION, .apply = lock_apply, .prove = lock_prove,
			       .undo = lock_undo, .prove_undone = lock_prove_undone,
			       .holds = lock_holds,
			       .text = lock_text, .writes = lock_writes },
	[STEP_OVERRIDE] = { "override", OF_FUNCTION, .apply = override_apply, .prove = override_prove,
			    .undo = override_undo, .prove_undone = override_prove_undone,
			    .holds = override_holds, .text = override_text,
			    .writes = override_writes },
	[STEP_POWER] = { "power", OF_FUNCTION, .apply = power_apply, .prove = power_prove,
			 .undo = power_undo, .prove_undone = power_prove_undone, .holds = power_holds,
			 .text = power_text, .writes = power_writes },
	[STEP_REMEMBER] = { "remember", OF_TAKEN, .apply = remember_apply, .prove = remember_prove,
			    .undo = forget_apply, .prove_undone = forget_prove, .holds = remembered,
			    .text = remember_text },
	[STEP_UNBIND] = { "unbind", OF_FUNCTION, .apply = unbind_apply, .prove = none_prove,
			  .undo = unbind_undo, .prove_undone = unbind_prove_undone, .holds = unbind_holds,
			  .deadline_ms = driver_deadline, .text = unbind_text,
			  .writes = unbind_writes },
	[STEP_VIABLE] = { "viable", .args = viable_rows, .args_size = sizeof(struct viable_step),
			  .apply = nothing, .prove = viable_prove, .undo = nothing,
			  .prove_undone = nothing, .holds = viable_holds,
			  .deadline_ms = viable_deadline, .text = viable_text },
};

const struct step_table gpu_steps = STEP_TABLE(kinds);

const struct step_kind *gpu_step(enum gpu_step step)
{
	return &kinds[step];
}
