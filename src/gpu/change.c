/* SPDX-License-Identifier: Apache-2.0 */
/* See change.h. */
#include "gpu/change.h"

#include <string.h>

#include "gpu/bind.h"
#include "gpu/look.h"
#include "gpu/quarantine.h"
#include "wire/text.h"

struct change_request {
	char address[PCI_ADDRESS_TEXT];
	bool function_only;
	bool changes; /* there was something to do when it was planned */
};

void *gpu_change_new(const char *address, bool function_only)
{
	struct change_request *request = calloc(1, sizeof(*request));

	if (!request)
		abort();
	snprintf(request->address, sizeof(request->address), "%s", address);
	request->function_only = function_only;
	return request;
}

typedef int unit_planner(struct plan *plan, const struct card_facts *facts, const struct gpu_unit *unit,
		    struct error *err);

/* What the look read lives as long as the look; the plan copies what it keeps. */
static int plan_change(struct change_request *request, void *services, bool locked,
		       struct plan *plan, unit_planner *planner,
		       struct error *err)
{
	CLEAN_LOOK struct card_look look = { 0 };

	if (card_look(services, request->address, request->function_only, locked, &look, err) < 0)
		return -1;
	if (planner(plan, &look.facts, &look.unit, err) < 0)
		return -1;
	request->changes = plan->steps.n;
	return 0;
}

static int locks(void *request, void *services, struct plan *plan)
{
	const struct change_request *r = request;
	CLEAN_LOOK struct card_look look = { 0 };

	if (card_find(services, r->address, r->function_only, &look, NULL) < 0)
		return -1;
	unit_locks(plan, look.inventory, &look.unit);
	return 0;
}

static int plan_bind(void *request, void *services, bool locked, struct plan *plan, struct error *err)
{
	return plan_change(request, services, locked, plan, bind_plan, err);
}

static int plan_release(void *request, void *services, bool locked, struct plan *plan,
			struct error *err)
{
	return plan_change(request, services, locked, plan, release_plan, err);
}

static int plan_unquarantine(void *request, void *services, bool locked, struct plan *plan,
			     struct error *err)
{
	return plan_change(request, services, locked, plan, unquarantine_plan, err);
}

char *gpu_device_text(struct gpu_services *services, const char *address, bool function_only, bool fresh,
		      struct error *err)
{
	CLEAN_LOOK struct card_look look = { 0 };
	struct error why = { 0 };
	struct wire_device view;

	/* it is done; so who cannot be asked any more is no reason to call it undone, and no card is */
	if (card_look_shown(services, address, function_only, fresh, &look, &why) < 0) {
		if (why.code == ERROR_NOT_FOUND) {
			*err = why;
			return NULL;
		}
		if (card_find(services, address, function_only, &look, err) < 0)
			return NULL;
		look.facts.gpu.holders_unknown = look.facts.gpu.critical_unknown =
			look.facts.gpu.records_unknown = why.message;
	}
	gpu_view_device(&look.facts.gpu, look.function, look.arena, &view);
	return text_of_rows(wire_device_rows, &view);
}

static char *device(void *request, void *services, struct error *err)
{
	const struct change_request *r = request;

	return gpu_device_text(services, r->address, r->function_only, !r->changes, err);
}

const struct operation gpu_bind_operation = {
	.name = "bind",
	.locks = locks,
	.plan = plan_bind,
	.result = device,
	.free = free,
};

const struct operation gpu_release_operation = {
	.name = "release",
	.locks = locks,
	.plan = plan_release,
	.result = device,
	.free = free,
};

const struct operation gpu_unquarantine_operation = {
	.name = "release-quarantine",
	.plan = plan_unquarantine,
	.result = device,
	.free = free,
};
