/* SPDX-License-Identifier: Apache-2.0 */
/* See bind.h for the order law. */
#include "gpu/bind.h"

#include <string.h>

#include "gpu/names.h"
#include "gpu/steps.h"
#include "privd/protocol.h"

static const char vfio[] = "vfio-pci";

struct change {
	struct plan *plan;
	const struct card_facts *facts;
	const struct gpu_unit *unit;
};

static const struct function_settings *now(const struct change *c, size_t i)
{
	return settings_find(c->facts->settings, c->unit->functions[i]->address);
}

static const struct function_settings *before(const struct change *c, size_t i)
{
	return settings_find(c->facts->taken, c->unit->functions[i]->address);
}

static const char *override_of(const struct function_settings *s)
{
	return s && s->override ? s->override : "";
}

static const char *control_of(const struct function_settings *s)
{
	return s ? s->control : NULL;
}

static void step(const struct change *c, enum gpu_step kind, size_t i, const char *driver,
		 const char *value, const char *was)
{
	const struct function_step args = { c->unit->functions[i]->text, driver, value, was };

	plan_step(c->plan, gpu_step(kind), &args);
}

/* Same value: nothing to write. */
static void set(const struct change *c, enum gpu_step kind, size_t i, const char *value,
		const char *was)
{
	if (strcmp(value, was))
		step(c, kind, i, NULL, value, was);
}

static void set_d3cold(const struct change *c, size_t i, int64_t value, int64_t was)
{
	if (value != ROW_NULL && was != ROW_NULL)
		set(c, STEP_D3COLD, i, value ? "1" : "0", was ? "1" : "0");
}

static void set_power(const struct change *c, size_t i, const char *value, const char *was)
{
	if (value && was)
		set(c, STEP_POWER, i, value, was);
}

static void remember(const struct change *c, size_t i, enum gpu_step kind,
		     const struct function_settings *s)
{
	const struct taken_step args = { c->unit->functions[i]->text, s->driver, override_of(s),
					 s->control, s->d3cold };

	plan_step(c->plan, gpu_step(kind), &args);
}

void unit_locks(struct plan *plan, const struct inventory *inv, const struct gpu_unit *unit)
{
	const struct function *pf;
	const struct card *card;

	plan_lock(plan, "card:%s", unit->slot);
	for (size_t i = 0; i < unit->n; i++) {
		if (unit->functions[i]->group != NO_GROUP)
			plan_lock(plan, "group:%d", unit->functions[i]->group);
		pf = unit->functions[i]->physfn ? inventory_function(inv, *unit->functions[i]->physfn) : NULL;
		card = pf ? inventory_card(inv, pf->address) : NULL;
		if (pf)
			plan_lock(plan, "card:%s", card ? card->text : pf->text);
	}
}

static bool on_vfio(const struct change *c, size_t i)
{
	return driver_is_vfio(c->unit->functions[i]->driver);
}

static int load_driver(const struct change *c, struct error *err)
{
	const struct module_step args = { vfio };

	if (c->facts->vfio_driver)
		return 0;
	if (!c->facts->modules) {
		error_set(err, ERROR_CONFLICT, "the vfio-pci driver is not loaded, and cannot be loaded here");
		return error_hint(err, "load the module: modprobe vfio-pci");
	}
	plan_step(c->plan, gpu_step(STEP_MODULE), &args);
	return 0;
}

/* What horcrux-privd could not write again would be lost; so it is not taken. */
static int can_be_put_back(const struct change *c, size_t i, struct error *err)
{
	const struct function *f = c->unit->functions[i];
	const char *override = override_of(now(c, i));

	if (f->driver && !privd_name_fits(f->driver)) {
		error_set(err, ERROR_CONFLICT,
			  "%s is on the driver \"%.60s\", and could not be given back to it: Horcrux "
			  "writes names of drivers of at most 31 letters, digits, - and _",
			  f->text, f->driver);
		return error_hint(err, "take it off that driver by hand first: "
				  "echo %s > /sys/bus/pci/devices/%s/driver/unbind",
				  f->text, f->text);
	}
	if (privd_name_fits(override))
		return 0;
	error_set(err, ERROR_CONFLICT,
		  "driver_override of %s says \"%.60s\", which could not be put back: Horcrux writes "
		  "names of drivers of at most 31 letters, digits, - and _",
		  f->text, override);
	return error_hint(err, "clear it first: echo > /sys/bus/pci/devices/%s/driver_override",
			  f->text);
}

static int all_can_be_put_back(const struct change *c, struct error *err)
{
	for (size_t i = 0; i < c->unit->n; i++)
		if (!on_vfio(c, i) && can_be_put_back(c, i, err) < 0)
			return -1;
	return 0;
}

static void prepare(const struct change *c)
{
	const struct function_settings *s;

	for (size_t i = 0; i < c->unit->n; i++) {
		s = now(c, i);
		if (!on_vfio(c, i) && !before(c, i) && s)
			remember(c, i, STEP_REMEMBER, s);
	}
	for (size_t i = 0; i < c->unit->n; i++) {
		s = now(c, i);
		if (!s || on_vfio(c, i))
			continue;
		set_power(c, i, "on", s->control);
		set_d3cold(c, i, 0, s->d3cold);
	}
}

static void let_go(const struct change *c, size_t i)
{
	const struct function *f = c->unit->functions[i];

	if (on_vfio(c, i))
		return;
	if (!f->driver) {
		set(c, STEP_OVERRIDE, i, vfio, override_of(now(c, i)));
		return;
	}
	/* also where it says so already: going back passes through other values (steps.c, bind_back) */
	step(c, STEP_OVERRIDE, i, NULL, vfio, override_of(now(c, i)));
	if (!strcmp(f->driver, "nvidia"))
		step(c, STEP_NVIDIA_LOCK, i, f->driver, "1", "0");
	step(c, STEP_UNBIND, i, f->driver, NULL, control_of(now(c, i)));
}

/* For each group once; with it, that all of the card is there still when the last of it is done. */
static void prove_groups(const struct change *c)
{
	struct viable_step args;
	int group;

	for (size_t i = 0; i < c->unit->n; i++) {
		group = c->unit->functions[i]->group;
		args = (struct viable_step){ .group = group };
		for (size_t k = 0; k < c->unit->n; k++)
			if (c->unit->functions[k]->group == group && k < i)
				args.group = NO_GROUP;
			else if (c->unit->functions[k]->group == group)
				list_add_string(c->plan->arena, &args.functions, c->unit->functions[k]->text);
		if (args.group != NO_GROUP)
			plan_step(c->plan, gpu_step(STEP_VIABLE), &args);
	}
}

/*
 * vfio-pci allows runtime suspend when it takes a device, whatever was set before
 * (drivers/vfio/pci/vfio_pci_core.c, vfio_pci_core_register_device), so it is pinned once more.
 */
static void pin(const struct change *c)
{
	for (size_t i = 0; i < c->unit->n; i++)
		if (!on_vfio(c, i) && now(c, i) && now(c, i)->control)
			step(c, STEP_POWER, i, NULL, "on", "auto");
}

/* From the last function to the first, and back: the order law. */
static void take(const struct change *c)
{
	prepare(c);
	for (size_t i = c->unit->n; i-- > 0;)
		let_go(c, i);
	for (size_t i = 0; i < c->unit->n; i++)
		if (!on_vfio(c, i))
			step(c, STEP_BIND, i, vfio, NULL, NULL);
	pin(c);
}

static void title(const struct change *c, const char *fmt_before, const char *fmt_after)
{
	plan_title(c->plan, "%s %s (%s)%s", fmt_before, c->unit->slot,
		   gpu_device_name(c->facts->gpu.inventory, c->unit->functions[0], c->plan->arena),
		   fmt_after);
}

int bind_plan(struct plan *plan, const struct card_facts *facts, const struct gpu_unit *unit,
	      struct error *err)
{
	const struct change c = { plan, facts, unit };

	title(&c, "bind", " to vfio-pci");
	unit_locks(plan, facts->gpu.inventory, unit);
	if (gpu_unit_on_vfio(c.unit))
		return 0;	/* as wanted, whoever uses it */
	guard_unit(plan, facts, unit, GUARD_BIND, NULL);
	if (all_can_be_put_back(&c, err) < 0 || load_driver(&c, err) < 0)
		return -1;
	take(&c);
	if (!plan_refuses(plan, "group_blocked"))
		prove_groups(&c);	/* if that is accepted, a VM cannot start yet, and need not */
	return 0;
}

int bind_start_plan(struct plan *plan, const struct bind_card *cards, size_t n, const char *vm,
		    struct error *err)
{
	bool bound = true;

	plan->vm_start = true;
	for (size_t i = 0; i < n; i++) {
		const struct change c = { plan, cards[i].facts, cards[i].unit };

		unit_locks(plan, c.facts->gpu.inventory, c.unit);
		guard_unit(plan, c.facts, c.unit, GUARD_START, vm);
		if (all_can_be_put_back(&c, err) < 0)
			return -1;
		if (bound && !gpu_unit_on_vfio(c.unit)) {
			bound = false;
			if (load_driver(&c, err) < 0)
				return -1;
		}
	}
	for (size_t i = 0; i < n; i++)
		take(&(const struct change){ plan, cards[i].facts, cards[i].unit });
	for (size_t i = 0; i < n; i++)
		prove_groups(&(const struct change){ plan, cards[i].facts, cards[i].unit });
	return 0;
}

/* Ours to give back: it is on vfio, or we took it and it is nowhere. */
static bool to_give_back(const struct change *c, size_t i)
{
	return on_vfio(c, i) || (before(c, i) && !c->unit->functions[i]->driver);
}

static bool any_to_give_back(const struct change *c)
{
	for (size_t i = 0; i < c->unit->n; i++)
		if (to_give_back(c, i) || before(c, i))
			return true;
	return false;
}

/* What was never taken by us has no notes: then nothing was set, and the kernel's match decides. */
static void take_back(const struct change *c, size_t i)
{
	const struct function_settings *was = before(c, i);

	if (!to_give_back(c, i) || (was && !was->driver))
		return;	/* it had no driver before */
	step(c, STEP_GIVE_BACK, i, was ? was->driver : NULL, NULL, NULL);
}

/*
 * What its driver_override is while it goes back. One that names another driver than it was on (set
 * since, for the next boot or by mistake) would keep its own away, so that comes after.
 */
static const char *override_to_go(const struct change *c, size_t i)
{
	const struct function_settings *was = before(c, i);

	return was && was->driver && strcmp(override_of(was), was->driver) ? "" : override_of(was);
}

/* An unfinished change may have left it set on a function that is back on its driver. */
static bool is_home(const struct change *c, size_t i)
{
	const struct function_settings *was = before(c, i);
	const char *driver = c->unit->functions[i]->driver;

	return was && was->driver && driver && !strcmp(driver, was->driver);
}

static void restore_override(const struct change *c, size_t i)
{
	if (!now(c, i))
		return;
	if (to_give_back(c, i))
		set(c, STEP_OVERRIDE, i, override_of(before(c, i)), override_to_go(c, i));
	else if (is_home(c, i))
		set(c, STEP_OVERRIDE, i, override_of(before(c, i)), override_of(now(c, i)));
}

static void restore(const struct change *c, size_t i)
{
	const struct function_settings *was = before(c, i), *s = now(c, i);

	if (!was || !s)
		return;
	set_d3cold(c, i, was->d3cold, s->d3cold);
	/* Drivers set it when they come and go: what stands there by then cannot be planned with. */
	if (was->control)
		step(c, STEP_POWER, i, NULL, was->control, "on");
}

int release_plan(struct plan *plan, const struct card_facts *facts, const struct gpu_unit *unit,
		 struct error *err UNUSED)
{
	const struct change c = { plan, facts, unit };

	title(&c, "give", " back to the host");
	unit_locks(plan, facts->gpu.inventory, unit);
	if (!any_to_give_back(&c))
		return 0;
	guard_unit(plan, facts, unit, GUARD_RELEASE, NULL);
	for (size_t i = unit->n; i-- > 0;)
		if (on_vfio(&c, i))
			step(&c, STEP_UNBIND, i, unit->functions[i]->driver, NULL,
			     control_of(now(&c, i)));
	for (size_t i = unit->n; i-- > 0;)
		if (to_give_back(&c, i) && now(&c, i))
			set(&c, STEP_OVERRIDE, i, override_to_go(&c, i), override_of(now(&c, i)));
	for (size_t i = 0; i < unit->n; i++)
		take_back(&c, i);
	for (size_t i = 0; i < unit->n; i++)
		restore_override(&c, i);
	for (size_t i = unit->n; i-- > 0;)
		restore(&c, i);
	for (size_t i = unit->n; i-- > 0;)
		if (before(&c, i))
			remember(&c, i, STEP_FORGET, before(&c, i));
	return 0;
}
