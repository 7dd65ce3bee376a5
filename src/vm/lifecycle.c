/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The operations: each looks at what its planner needs, and no more, and hands it over. What the
 * look read lives until the planner is done; the plan copies what it keeps. Task threads. See
 * lifecycle.h.
 */
#include "vm/lifecycle.h"

#include <string.h>

#include "vm/create.h"
#include "vm/end.h"
#include "vm/facts.h"
#include "vm/start.h"
#include "vm/view.h"
#include "wire/text.h"

struct vm_request {
	struct arena *arena;
	const char *id; /* create: once it is chosen */
	int64_t timeout_s;
	bool delete_disks;
	bool found; /* kill: the VM was there when that was asked for */
	struct wire_vm_spec spec; /* of create */
	struct wire_vm_change change;
};

/* ---- requests ---- */

static struct vm_request *new_request(const char *id)
{
	struct arena *arena = arena_new();
	struct vm_request *request = arena_new_of(arena, struct vm_request);

	request->arena = arena;
	request->id = arena_strdup(arena, id);
	request->timeout_s = ROW_NULL;
	return request;
}

static void free_request(void *request)
{
	arena_free(((struct vm_request *)request)->arena);
}

void *vm_request_new(const char *id, int64_t timeout_s)
{
	struct vm_request *request = new_request(id);

	request->timeout_s = timeout_s;
	return request;
}

/* Copied whole by way of its rows. */
void *vm_create_new(const struct wire_vm_spec *spec)
{
	struct vm_request *request = new_request(spec->id);
	json_t *json = rows_emit(wire_vm_spec_rows, spec);

	if (rows_parse(wire_vm_spec_rows, json, "", request->arena, &request->spec, NULL) < 0)
		abort(); /* it passed these rows before */
	json_decref(json);
	return request;
}

void *vm_change_new(const char *id, const struct wire_vm_change *change)
{
	struct vm_request *request = new_request(id);

	request->change = *change;
	request->change.name = arena_strdup(request->arena, change->name);
	return request;
}

void *vm_delete_new(const char *id, bool delete_disks)
{
	struct vm_request *request = new_request(id);

	request->delete_disks = delete_disks;
	return request;
}

static enum vm_look_depth depth_of(bool locked)
{
	return locked ? LOOK_FRESH : LOOK_CACHED;
}

/* ---- create ---- */

static bool wants_storage(const struct wire_vm_spec *spec)
{
	return spec->disks.n || spec->cdrom.n || spec->boot;
}

static int look_for_start(struct vm_services *services, struct vm_facts *facts, bool locked,
			  struct error *err)
{
	if (vm_look_storage(services, facts, err) < 0 ||
	    vm_look_network(services, facts, err) < 0 || vm_look_host(services, facts, err) < 0)
		return -1;
	return vm_look_cards(services, facts, depth_of(locked), err);
}

/* Ids that are not to be chosen: those there are, and whose first disk would be another VM's. */
static void list_taken(const struct list *vms, struct arena *arena, struct list *taken)
{
	static const char end[] = ".qcow2";
	size_t n;

	for (LIST_EACH(const struct vm_record, vm, vms)) {
		list_add_string(arena, taken, vm->spec.id);
		for (LIST_EACH(const struct wire_disk, disk, &vm->spec.disks)) {
			n = disk->volume ? strlen(disk->volume) : 0;
			if (n >= sizeof(end) && !strcmp(disk->volume + n - strlen(end), end))
				list_add_string(arena, taken,
						arena_strndup(arena, disk->volume, n - strlen(end)));
		}
	}
}

/* The spec made whole, with an id that nobody has unless it was asked for. */
static int normalise(struct vm_services *services, struct vm_request *request,
		     struct vm_facts *facts, struct error *err)
{
	struct list vms = { 0 }, taken = { 0 };

	if (vm_list(services->gpu.store, facts->arena, &vms, err) < 0)
		return -1;
	list_taken(&vms, facts->arena, &taken);
	if (vm_normalise(&request->spec, &taken, facts->arena, &facts->vm, err) < 0)
		return -1;
	request->id = arena_strdup(request->arena, facts->vm.spec.id);
	for (LIST_EACH(const struct vm_record, vm, &vms)) {
		if (!strcmp(vm->spec.id, request->id))
			facts->stored = vm->spec.id;
		else
			*list_add(facts->arena, &facts->others, struct vm_record) = *vm;
	}
	return 0;
}

static int look_and_plan(struct vm_request *request, struct vm_services *services, bool start,
			 bool locked, struct plan *plan, struct error *err)
{
	CLEAN_FACTS struct vm_facts facts;
	int r;

	vm_facts_init(&facts, services);
	if (normalise(services, request, &facts, err) < 0)
		return -1;
	if (start) {
		r = vm_look_domain(services, &facts, err);
		if (!r)
			r = look_for_start(services, &facts, locked, err);
	} else {
		r = vm_look_cards(services, &facts, LOOK_KNOWN, err);
		if (!r && wants_storage(&facts.vm.spec))
			r = vm_look_storage(services, &facts, err);
	}
	if (r < 0)
		return -1;
	return vm_create_plan(plan, &facts, start, request->spec.disk_size != ROW_NULL, err);
}

static int plan_create(struct vm_request *request, struct vm_services *services, bool start,
		       bool locked, struct plan *plan, struct error *err)
{
	int r = look_and_plan(request, services, start, locked, plan, err);

	if (r < 0)
		rows_pointer(wire_vm_spec_rows, &request->spec, err);
	return r;
}

static int plan_create_only(void *request, void *services, bool locked, struct plan *plan,
			    struct error *err)
{
	return plan_create(request, services, false, locked, plan, err);
}

static int plan_create_and_start(void *request, void *services, bool locked, struct plan *plan,
				 struct error *err)
{
	return plan_create(request, services, true, locked, plan, err);
}

/* ---- change ---- */

/* Whether it runs matters for a warning only, so libvirt need not answer. */
static bool runs(struct vm_services *services, const char *id, struct arena *arena)
{
	struct list domains = { 0 };

	if (virt_domains(services->virt, arena, &domains, NULL) < 0)
		return false;
	for (LIST_EACH(const struct virt_domain, domain, &domains))
		if (domain->vm && !strcmp(domain->vm, id))
			return true;
	return false;
}

static int plan_change(void *data, void *services, bool locked UNUSED, struct plan *plan,
		       struct error *err)
{
	CLEAN_FACTS struct vm_facts facts;
	struct vm_request *request = data;

	vm_facts_init(&facts, services);
	if (vm_look_record(services, request->id, &facts, err) < 0)
		return -1;
	return vm_change_plan(plan, &facts, &request->change,
			      runs(services, request->id, facts.arena), err);
}

/* ---- start and end ---- */

static int look(struct vm_services *services, const char *id, struct vm_facts *facts,
		struct error *err)
{
	vm_facts_init(facts, services);
	if (vm_look_record(services, id, facts, err) < 0)
		return -1;
	return vm_look_domain(services, facts, err);
}

static int plan_start(void *data, void *services, bool locked, struct plan *plan, struct error *err)
{
	CLEAN_FACTS struct vm_facts facts;
	struct vm_request *request = data;

	if (look(services, request->id, &facts, err) < 0)
		return -1;
	if (!facts.active && look_for_start(services, &facts, locked, err) < 0)
		return -1;
	return vm_start_plan(plan, &facts, err);
}

/*
 * That a VM can be ended must not hang on its cards: where they cannot be looked at (no helper),
 * they are given back later, by whoever looks after ended VMs.
 */
static int look_at_end(struct vm_services *services, const char *id, bool locked,
		       struct vm_facts *facts, struct plan *plan, struct error *err)
{
	struct error why = { 0 };

	if (look(services, id, facts, err) < 0)
		return -1;
	if (!vm_look_claims(services, facts, depth_of(locked), &why))
		return 0;
	if (facts->active) {
		vm_forget_claims(facts);
		plan_warn(plan, "its cards are given back later: %s", why.message);
		return 0;
	}
	*err = why;
	return -1;
}

static int plan_stop(void *data, void *services, bool locked, struct plan *plan, struct error *err)
{
	CLEAN_FACTS struct vm_facts facts;
	struct vm_request *request = data;

	if (look_at_end(services, request->id, locked, &facts, plan, err) < 0)
		return -1;
	return vm_stop_plan(plan, &facts, request->timeout_s, err);
}

/* What a kill cancels may be what makes the VM: of that nothing is left, and so no VM to show. */
static int plan_kill(void *data, void *services, bool locked, struct plan *plan, struct error *err)
{
	CLEAN_FACTS struct vm_facts facts;
	struct vm_request *request = data;
	struct error why = { 0 };

	if (look_at_end(services, request->id, locked, &facts, plan, &why) < 0) {
		*err = why;
		if (request->found && why.code == ERROR_NOT_FOUND)
			error_set(err, ERROR_GONE,
				  "VM %.70s is not there any more: what made it or deleted it came first",
				  request->id);
		return -1;
	}
	request->found = true;
	return vm_kill_plan(plan, &facts, err);
}

static int plan_restart(void *data, void *services, bool locked, struct plan *plan,
			struct error *err)
{
	CLEAN_FACTS struct vm_facts facts;
	struct vm_request *request = data;

	if (look(services, request->id, &facts, err) < 0 ||
	    vm_look_running(services, &facts, err) < 0 ||
	    vm_look_claims(services, &facts, LOOK_FIND, err) < 0 ||
	    look_for_start(services, &facts, locked, err) < 0)
		return -1;
	return vm_restart_plan(plan, &facts, request->timeout_s, err);
}

/* A claim may outlive its VM's record only if somebody wrote into the store by hand. */
static int plan_ended(void *data, void *services, bool locked, struct plan *plan, struct error *err)
{
	CLEAN_FACTS struct vm_facts facts;
	struct vm_request *request = data;
	struct error why = { 0 };

	vm_facts_init(&facts, services);
	if (vm_look_record(services, request->id, &facts, &why) < 0 &&
	    why.code != ERROR_NOT_FOUND) {
		*err = why;
		return -1;
	}
	facts.vm.spec.id = request->id;
	if (vm_look_domain(services, &facts, err) < 0 ||
	    vm_look_claims(services, &facts, depth_of(locked), err) < 0)
		return -1;
	return vm_ended_plan(plan, &facts, err);
}

/* What can be made without libvirt can be removed without: nothing of ours runs there. */
static int look_at_rest(struct vm_services *services, const char *id, struct vm_facts *facts,
			struct error *err)
{
	if (virt_configured(services->virt))
		return look(services, id, facts, err) < 0 ? -1
							   : vm_look_storage(services, facts, err);
	vm_facts_init(facts, services);
	if (vm_look_record(services, id, facts, err) < 0)
		return -1;
	return vm_look_files(services, facts, err);
}

static int plan_delete(void *data, void *services, bool locked, struct plan *plan,
		       struct error *err)
{
	CLEAN_FACTS struct vm_facts facts;
	struct vm_request *request = data;

	if (look_at_rest(services, request->id, &facts, err) < 0 ||
	    vm_look_claims(services, &facts, depth_of(locked), err) < 0)
		return -1;
	return vm_delete_plan(plan, &facts, request->delete_disks, err);
}

static int plan_xml(void *data, void *services, bool locked UNUSED, struct plan *plan,
		    struct error *err)
{
	CLEAN_FACTS struct vm_facts facts;
	struct vm_request *request = data;

	vm_facts_init(&facts, services);
	if (vm_look_record(services, request->id, &facts, err) < 0 ||
	    vm_look_storage(services, &facts, err) < 0 || vm_look_host(services, &facts, err) < 0 ||
	    vm_look_cards(services, &facts, LOOK_FIND, err) < 0)
		return -1;
	return vm_xml_plan(plan, &facts, err);
}

/* ---- results ---- */

/* As it is now, not as news has it: news may be a moment behind what was just done. */
static void ask_domain(struct vm_services *services, struct vm_facts *facts, struct list *domains,
		       struct vm_view_facts *view)
{
	const char *id = facts->vm.spec.id;
	struct virt_domain *domain;
	struct error why = { 0 };
	enum virt_state state = VIRT_OFF;
	int r = virt_active(services->virt, id, &state, &why);

	view->domains_unknown = arena_strdup(facts->arena, why.message);
	if (r < 0)
		return;
	view->domains = domains;
	if (!r)
		return;
	virt_domains(services->virt, facts->arena, domains, NULL);
	for (LIST_EACH(struct virt_domain, it, domains))
		if (it->vm && !strcmp(it->vm, id))
			return;
	domain = list_add(facts->arena, domains, struct virt_domain);
	*domain = (struct virt_domain){ .name = id, .vm = id, .state = state };
}

static char *result(void *data, void *services, struct error *err)
{
	CLEANUP(inventory_releasep) struct inventory *inv = inventory_acquire();
	CLEAN_FACTS struct vm_facts facts;
	struct vm_services *sv = services;
	struct vm_request *request = data;
	struct vm_view_facts view = { .node = sv->gpu.node, .inventory = inv };
	struct list domains = { 0 };
	struct virt_host host;
	struct wire_vm vm;

	vm_facts_init(&facts, sv);
	if (vm_look_record(sv, request->id, &facts, err) < 0)
		return NULL;
	ask_domain(sv, &facts, &domains, &view);
	view.no_kvm = view.domains && virt_host(sv->virt, &host, NULL) == 0 && !host.kvm;
	vm_view(&view, &facts.vm, facts.arena, &vm);
	return text_of_rows(wire_vm_rows, &vm);
}

#define OPERATION(what, planner, ...)                                                              \
	{                                                                                          \
		.name = (what), .plan = (planner), .free = free_request, __VA_ARGS__               \
	}

const struct operation vm_create_operation = OPERATION("create", plan_create_only,
						       .result = result);
const struct operation vm_create_and_start_operation = OPERATION(
	"create-and-start", plan_create_and_start, .yields = "vm:", .result = result);
const struct operation vm_change_operation = OPERATION("change", plan_change, .result = result);
const struct operation vm_delete_operation = OPERATION("delete", plan_delete);
const struct operation vm_start_operation = OPERATION("start", plan_start, .yields = "vm:",
						      .result = result);
const struct operation vm_stop_operation = OPERATION("stop", plan_stop, .result = result);
const struct operation vm_kill_operation = OPERATION("kill", plan_kill, .urgent = true,
						     .result = result);
const struct operation vm_restart_operation = OPERATION("restart", plan_restart, .result = result);
const struct operation vm_ended_operation = OPERATION("ended", plan_ended);
const struct operation vm_xml_operation = OPERATION("xml", plan_xml);
