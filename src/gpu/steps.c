/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of step kinds of whole cards, what they share, and the kinds that write to nothing of a
 * function. See steps.h and plan/step.h.
 */
#include "gpu/steps.h"

#include <errno.h>
#include <string.h>

#include "base/fdpath.h"
#include "gpu/quarantine.h"
#include "gpu/steps_parts.h"

enum {
	DRIVER_DEADLINE_MS = 40000, /* more than privd gives its child */
	VIABLE_DEADLINE_MS = 3000,  /* udev makes the node a moment after the bind */
};

/* ---- what all share ---- */

struct pci_address step_address(const struct function_step *s)
{
	struct pci_address address = { 0 };

	pci_address_parse(s->address, &address); /* the row's check let nothing else through */
	return address;
}

const char *step_device_file(const struct function_step *s, const char *file,
			     char path[static PATH_BYTES])
{
	snprintf(path, PATH_BYTES, "sys/bus/pci/devices/%s/%s", s->address, file);
	return path;
}

int step_bound_driver(const struct gpu_services *services, const struct function_step *s,
		      char name[static DRIVER_NAME])
{
	char path[PATH_BYTES];
	ssize_t n = fdpath_link_name(services->root->fd, step_device_file(s, "driver", path), name,
				     DRIVER_NAME);

	if (n >= 0)
		return 1;
	name[0] = '\0';
	if (n != -ENOENT)
		return (int)n;
	return fdpath_exists(services->root->fd, step_device_file(s, "vendor", path)) == 1
		       ? 0
		       : -ENODEV;
}

int step_cannot_read(const struct function_step *s, int r, struct error *err)
{
	if (r == -ENODEV)
		return error_set(err, ERROR_GONE, "%s is not there any more", s->address);
	return error_errno(err, ERROR_PROOF_FAILED, -r, "the driver of %s cannot be read",
			   s->address);
}

bool step_is_gone(const struct gpu_services *services, const struct function_step *s)
{
	char path[PATH_BYTES];

	return fdpath_exists(services->root->fd, step_device_file(s, "vendor", path)) == 0;
}

int step_prove_driver(const struct gpu_services *services, const struct function_step *s,
		      const char *driver, struct error *err)
{
	char name[DRIVER_NAME];
	int r = step_bound_driver(services, s, name);

	if (r < 0)
		return step_cannot_read(s, r, err);
	if (!strcmp(name, driver ? driver : ""))
		return 0;
	return error_set(err, ERROR_PROOF_FAILED, "%s is on %s, not on %s", s->address,
			 r ? name : "no driver", driver && *driver ? driver : "none");
}

int step_prove_file(const struct gpu_services *services, const struct function_step *s,
		    const char *file, const char *value, struct error *err)
{
	char path[PATH_BYTES], text[64];
	ssize_t n = fdpath_read(services->root->fd, step_device_file(s, file, path), text,
				sizeof(text));

	if (n < 0)
		return error_errno(err, ERROR_PROOF_FAILED, (int)-n, "%s of %s cannot be read back",
				   file, s->address);
	if (!strcmp(text, value))
		return 0;
	return error_set(err, ERROR_PROOF_FAILED, "%s of %s reads %s, not %s", file, s->address,
			 text, value);
}

int step_file_holds(const struct gpu_services *services, const struct function_step *s,
		    const char *file)
{
	char path[PATH_BYTES], text[64];

	if (fdpath_read(services->root->fd, step_device_file(s, file, path), text, sizeof(text)) <
	    0)
		return step_is_gone(services, s) ? 0 : -1;
	return !strcmp(text, s->value);
}

bool step_request(const struct function_step *s, enum privd_op op, const char *name, uint64_t value,
		  struct privd_request *request)
{
	struct pci_address address = step_address(s);

	if (name && !privd_name_fits(name))
		return false;
	*request = privd_request_new(op, &address);
	request->value = value;
	snprintf(request->name, sizeof(request->name), "%s", name ?: "");
	return true;
}

static unsigned driver_deadline(const void *args UNUSED)
{
	return DRIVER_DEADLINE_MS;
}

static const char *subject(const void *args, struct arena *arena)
{
	return arena_strdup(arena, ((const struct function_step *)args)->address);
}

void step_add_write(struct arena *arena, struct list *writes, const char *path, const char *value)
{
	struct step_write *write = list_add(arena, writes, struct step_write);

	write->path = path;
	write->value = value;
}

void step_add_device_write(const struct function_step *s, const char *file, const char *value,
			   struct arena *arena, struct list *writes)
{
	step_add_write(arena, writes,
		       arena_printf(arena, "/sys/bus/pci/devices/%s/%s", s->address, file), value);
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
	int r = journal_taken_put(sv->journal, ((const struct taken_step *)args)->address, value,
				  err);

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
	return remembered(services, args)
		       ? 0
		       : error_set(err, ERROR_PROOF_FAILED, "what %s was is not written down",
				   ((const struct taken_step *)args)->address);
}

static int forget_prove(void *services, const void *args, struct error *err)
{
	return forgotten(services, args)
		       ? 0
		       : error_set(err, ERROR_PROOF_FAILED, "what %s was is still written down",
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

	snprintf(path, sizeof(path), "sys/bus/pci/drivers/%.60s",
		 ((const struct module_step *)args)->name);
	return fdpath_exists(sv->root->fd, path);
}

static int module_prove(void *services, const void *args, struct error *err)
{
	return module_holds(services, args) == 1
		       ? 0
		       : error_set(err, ERROR_PROOF_FAILED,
				   "module %s was loaded, but its driver is not there",
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

static int still_on_vfio(const struct gpu_services *sv, const struct viable_step *s,
			 struct error *err)
{
	char name[DRIVER_NAME];
	struct function_step f;
	int r;

	for (LIST_EACH(const char *, address, &s->functions)) {
		f = (struct function_step){ .address = *address };
		r = step_bound_driver(sv, &f, name);
		if (r < 0)
			return step_cannot_read(&f, r, err);
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
		return why.code == ERROR_CONFLICT ? 1 : -1; /* no file yet: udev is slower */
	}
	if (flags & (PRIVD_GROUP_VIABLE | PRIVD_GROUP_HELD))
		return 0;
	error_set(err, ERROR_PROOF_FAILED,
		  "IOMMU group %d opens, but the kernel says it is not viable", (int)s->group);
	error_hint(err, "something else in the group is used by the host: see `horcrux gpu group`");
	return -1;
}

static bool viable_request(const void *args, struct privd_request *request)
{
	const struct viable_step *s = args;
	struct list addresses = { 0 };
	CLEANUP(arena_freep) struct arena *arena = arena_new();

	if (s->functions.n > PRIVD_ADDRESSES)
		return false;
	for (LIST_EACH(const char *, address, &s->functions))
		pci_address_parse(*address, list_add(arena, &addresses, struct pci_address));
	*request = privd_ask_viable((int)s->group, &addresses);
	return addresses.n;
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
	{ "group", ROW_INT, ROW_REQUIRED, offsetof(struct viable_step, group), .min = 0,
	  .max = 1 << 20 },
	{ "functions", ROW_STRINGS, 0, offsetof(struct viable_step, functions) },
	ROW_END,
};
static const struct row module_rows[] = {
	{ "name", ROW_STRING, ROW_REQUIRED, offsetof(struct module_step, name), .min = 1,
	  .max = 31 },
	ROW_END,
};

static const struct row quarantine_rows[] = {
	{ "card", ROW_STRING, ROW_REQUIRED, offsetof(struct quarantine_step, card) },
	{ "addresses", ROW_STRINGS, 0, offsetof(struct quarantine_step, addresses) },
	ROW_END,
};

#define OF_FUNCTION                                                                                \
	.args = function_rows, .args_size = sizeof(struct function_step), .subject = subject
#define OF_TAKEN .args = taken_rows, .args_size = sizeof(struct taken_step)

/* Sorted by name. */
static const struct step_kind kinds[] = {
	[STEP_BIND] = { "bind", OF_FUNCTION, .request = step_bind_request, .refused = step_refused,
			.apply = step_bind_apply, .prove = step_bind_prove,
			.undo = step_bind_undo, .prove_undone = step_bind_prove_undone,
			.holds = step_bind_holds, .deadline_ms = driver_deadline,
			.text = step_bind_text, .writes = step_bind_writes },
	[STEP_D3COLD] = { "d3cold", OF_FUNCTION, .request = step_d3cold_request,
			.apply = step_d3cold_apply,
			  .prove = step_d3cold_prove, .undo = step_d3cold_undo,
			  .prove_undone = step_d3cold_prove_undone, .holds = step_d3cold_holds,
			  .text = step_d3cold_text, .writes = step_d3cold_writes },
	[STEP_FORGET] = { "forget", OF_TAKEN, .apply = forget_apply, .prove = forget_prove,
			  .undo = remember_apply, .prove_undone = remember_prove,
			  .holds = forgotten, .text = forget_text },
	[STEP_GIVE_BACK] = { "give-back", OF_FUNCTION, .request = step_give_back_request, .refused = step_refused,
			.apply = step_give_back_apply,
			     .prove = step_give_back_prove, .undo = step_bind_undo,
			     .prove_undone = step_bind_prove_undone, .holds = step_give_back_holds,
			     .deadline_ms = driver_deadline, .text = step_give_back_text,
			     .writes = step_give_back_writes },
	[STEP_MODULE] = { "module", .args = module_rows, .args_size = sizeof(struct module_step),
			  .apply = module_apply, .prove = module_prove, .undo = nothing,
			  .prove_undone = nothing, .holds = module_holds,
			  .deadline_ms = driver_deadline, .text = module_text },
	[STEP_NVIDIA_LOCK] = { "nvidia-lock", OF_FUNCTION, .apply = step_lock_apply,
			       .prove = step_lock_prove, .undo = step_lock_undo,
			       .prove_undone = step_lock_prove_undone, .holds = step_lock_holds,
			       .text = step_lock_text, .writes = step_lock_writes },
	[STEP_OVERRIDE] = { "override", OF_FUNCTION, .request = step_override_request,
			.apply = step_override_apply,
			    .prove = step_override_prove, .undo = step_override_undo,
			    .prove_undone = step_override_prove_undone,
			    .holds = step_override_holds, .text = step_override_text,
			    .writes = step_override_writes },
	[STEP_POWER] = { "power", OF_FUNCTION, .request = step_power_request,
			.apply = step_power_apply, .prove = step_power_prove,
			 .undo = step_power_undo, .prove_undone = step_power_prove_undone,
			 .holds = step_power_holds, .text = step_power_text,
			 .writes = step_power_writes },
	[STEP_RELEASE_QUARANTINE] = { "release-quarantine", .args = quarantine_rows,
				      .args_size = sizeof(struct quarantine_step), .lasting = true,
				      .apply = step_unquarantine_apply,
				      .prove = step_unquarantine_prove,
				      .holds = step_unquarantine_holds,
				      .text = step_unquarantine_text },
	[STEP_REMEMBER] = { "remember", OF_TAKEN, .apply = remember_apply, .prove = remember_prove,
			    .undo = forget_apply, .prove_undone = forget_prove, .holds = remembered,
			    .text = remember_text },
	[STEP_UNBIND] = { "unbind", OF_FUNCTION, .request = step_unbind_request, .refused = step_refused,
			.apply = step_unbind_apply,
			  .prove = step_unbind_prove, .undo = step_unbind_undo,
			  .prove_undone = step_unbind_prove_undone, .holds = step_unbind_holds,
			  .deadline_ms = driver_deadline, .text = step_unbind_text,
			  .writes = step_unbind_writes },
	[STEP_VIABLE] = { "viable", .args = viable_rows, .args_size = sizeof(struct viable_step),
			  .request = viable_request, .apply = nothing, .prove = viable_prove, .undo = nothing,
			  .prove_undone = nothing, .holds = viable_holds,
			  .deadline_ms = viable_deadline, .text = viable_text },
};

const struct step_table gpu_steps = STEP_TABLE(kinds);

const struct step_kind *gpu_step(enum gpu_step step)
{
	return &kinds[step];
}
