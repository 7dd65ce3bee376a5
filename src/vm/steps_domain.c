/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Steps about what libvirt runs: domains, which are transient, and networks. All of it dies with
 * the boot. See steps.h and plan/step.h.
 */
#include "vm/domain_xml.h"
#include "vm/lifecycle.h"
#include "vm/steps.h"

enum {
	/* Each a little more than libvirt.h waits itself. */
	DOMAIN_DEADLINE_MS = 620000,
	DESTROY_DEADLINE_MS = 140000,
	NETWORK_DEADLINE_MS = 140000,
	/*
	 * A press is heard only by a guest whose system runs: before that has enabled the button's event,
	 * QEMU drops it (hw/acpi/core.c, acpi_pm1_evt_power_down), and nothing tells. So it is pressed again
	 * until the guest is off. Who is going off already is not disturbed: logind and acpid take a further
	 * press for the same request. Ten seconds are long beside the time in which a guest that heard it
	 * goes off if it has little to do, and short beside the boot of one that could not.
	 */
	PRESS_AGAIN_MS = 10000,
	XML_MAX = 256 << 10,
};

/* ---- domain ---- */

#define DOMAIN(field) offsetof(struct domain_step, field)

static const struct row domain_rows[] = {
	{ "vm", ROW_STRING, ROW_REQUIRED, DOMAIN(vm) },
	{ "xml", ROW_STRING, ROW_REQUIRED, DOMAIN(xml), .max = XML_MAX },
	{ "pool", ROW_STRING, 0, DOMAIN(pool) },
	{ "nvram", ROW_STRING, 0, DOMAIN(nvram) },
	ROW_END,
};

static int domain_apply(void *services, const void *args, struct error *err)
{
	const struct vm_services *sv = services;
	const struct domain_step *s = args;
	int r = virt_active(sv->virt, s->vm, NULL, err);

	if (r)
		return r < 0 ? -1 : 0;
	r = virt_create(sv->virt, s->xml, err);
	fault_inside();
	return r;
}

static int domain_prove(void *services, const void *args, struct error *err)
{
	const struct vm_services *sv = services;
	const struct domain_step *s = args;
	int r = virt_active(sv->virt, s->vm, NULL, err);

	if (r)
		return r < 0 ? -1 : 0;
	error_set(err, ERROR_PROOF_FAILED, "VM %s started and ended again at once", s->vm);
	return error_hint(err, "QEMU's own words are in /var/log/libvirt/qemu/%s.log", s->vm);
}

/* 1 the variables that its start made are there, 0 they are not (or were there before), -1. */
static int made_nvram(const struct vm_services *sv, const struct domain_step *s, struct error *err)
{
	CLEANUP(arena_freep) struct arena *arena = arena_new();
	struct error why = { 0 };
	int r = s->nvram ? virt_volume(sv->virt, s->pool, s->nvram, arena, NULL, NULL, NULL, &why) : 0;

	if (r < 0 && why.code == ERROR_NOT_FOUND)	/* no pool, no volume */
		return 0;
	if (r < 0 && err)
		*err = why;
	return r;
}

static int domain_undo(void *services, const void *args, struct error *err)
{
	const struct vm_services *sv = services;
	const struct domain_step *s = args;
	int r = virt_destroy(sv->virt, s->vm, err);

	if (r >= 0)
		r = made_nvram(sv, s, err);
	return r <= 0 ? r : virt_volume_delete(sv->virt, s->pool, s->nvram, err);
}

static int still_runs(const struct vm_services *sv, const char *vm, struct error *err)
{
	int r = virt_active(sv->virt, vm, NULL, err);

	return r <= 0 ? r : error_set(err, ERROR_PROOF_FAILED, "VM %s still runs", vm);
}

/*
 * What comes back after this unbinds its cards: a QEMU that dies may need a while to let go of them,
 * and one that libvirt started only after it was asked too long ago has them though no domain is
 * there (yet). Each card by itself, so that one which is gone does not hide the others.
 */
static int cards_let_go(const struct vm_services *sv, const struct domain_step *s,
			struct error *err)
{
	CLEANUP(arena_freep) struct arena *arena = arena_new();
	struct list functions = { 0 }, one;
	char text[PCI_ADDRESS_TEXT];
	struct error why = { 0 };
	int r;

	domain_xml_hostdevs(s->xml, arena, &functions);
	for (LIST_EACH(const struct pci_address, address, &functions)) {
		one = (struct list){ 0 };
		*list_add(arena, &one, struct pci_address) = *address;
		pci_address_format(*address, text);
		r = vm_let_go(sv, s->vm, text, &one, &why);
		if (!r || (r < 0 && why.code == ERROR_GONE))
			continue;
		if (err)
			*err = why;
		return r;
	}
	return 0;
}

static int domain_prove_undone(void *services, const void *args, struct error *err)
{
	const struct domain_step *s = args;
	int r = still_runs(services, s->vm, err);

	if (!r)
		r = cards_let_go(services, s, err);
	if (r)
		return r;
	r = made_nvram(services, s, err);
	return r <= 0 ? r
		      : error_set(err, ERROR_PROOF_FAILED, "the firmware's variables, %s, are still there",
				  s->nvram);
}

static int domain_holds(void *services, const void *args)
{
	const struct vm_services *sv = services;

	return virt_active(sv->virt, ((const struct domain_step *)args)->vm, NULL, NULL);
}

static unsigned domain_deadline(const void *args UNUSED)
{
	return DOMAIN_DEADLINE_MS;
}

static const char *domain_text(const void *args, struct arena *arena)
{
	return arena_printf(arena, "start the domain %s", ((const struct domain_step *)args)->vm);
}

/* ---- shutdown, destroy ---- */

#define END(field) offsetof(struct end_step, field)

static const struct row end_rows[] = {
	{ "vm", ROW_STRING, ROW_REQUIRED, END(vm) },
	{ "timeout_s", ROW_INT, 0, END(timeout_s), .min = 1, .max = 3600 },
	ROW_END,
};

static int shutdown_apply(void *services, const void *args, struct error *err)
{
	const struct vm_services *sv = services;
	int r = virt_shutdown(sv->virt, ((const struct end_step *)args)->vm, err);

	fault_inside();
	return r < 0 && err && err->code == ERROR_NOT_FOUND ? 0 : r; /* it is off already */
}

/* While libvirt cannot be asked, nothing is known: that is no reason to give up before the time is
 * over. */
static int shutdown_prove(void *services, const void *args, struct error *err)
{
	const struct vm_services *sv = services;
	const struct end_step *s = args;
	int r = virt_active(sv->virt, s->vm, NULL, err);

	if (r <= 0)
		return r < 0 ? 1 : 0;
	error_set(err, ERROR_CONFLICT,
		  "the guest of VM %s did not power off within %lld s, and runs on", s->vm,
		  (long long)s->timeout_s);
	error_hint(err, "ask again with a longer timeout_s, or end it at once: horcrux vm kill %s",
		   s->vm);
	return 1;
}

static int destroy_apply(void *services, const void *args, struct error *err)
{
	const struct vm_services *sv = services;
	int r = virt_destroy(sv->virt, ((const struct end_step *)args)->vm, err);

	fault_inside();
	return r;
}

static int destroy_prove(void *services, const void *args, struct error *err)
{
	return still_runs(services, ((const struct end_step *)args)->vm, err);
}

static int ended(void *services, const void *args)
{
	const struct vm_services *sv = services;
	int r = virt_active(sv->virt, ((const struct end_step *)args)->vm, NULL, NULL);

	return r < 0 ? -1 : !r;
}

static unsigned shutdown_deadline(const void *args)
{
	return (unsigned)((const struct end_step *)args)->timeout_s * 1000;
}

static unsigned destroy_deadline(const void *args UNUSED)
{
	return DESTROY_DEADLINE_MS;
}

static const char *shutdown_text(const void *args, struct arena *arena)
{
	const struct end_step *s = args;

	return arena_printf(
		arena, "press the power button of VM %s and wait for its guest, at most %lld s",
		s->vm, (long long)s->timeout_s);
}

static const char *destroy_text(const void *args, struct arena *arena)
{
	return arena_printf(arena, "end VM %s at once", ((const struct end_step *)args)->vm);
}

/* ---- network ---- */

static const struct row network_rows[] = {
	{ "network", ROW_STRING, ROW_REQUIRED, offsetof(struct network_step, network) },
	ROW_END,
};

static int network_apply(void *services, const void *args, struct error *err)
{
	const struct vm_services *sv = services;
	int r = virt_network_start(sv->virt, ((const struct network_step *)args)->network, err);

	fault_inside();
	return r;
}

static int network_prove(void *services, const void *args, struct error *err)
{
	const struct vm_services *sv = services;
	const struct network_step *s = args;
	bool defined = false, active = false;

	if (virt_network_state(sv->virt, s->network, &defined, &active, err) < 0)
		return -1;
	return active ? 0
		      : error_set(err, ERROR_PROOF_FAILED, "the network %s is not active",
				  s->network);
}

static int network_holds(void *services, const void *args)
{
	struct error err = { 0 };

	if (!network_prove(services, args, &err))
		return 1;
	return err.code == ERROR_PROOF_FAILED ? 0 : -1;
}

/* Others may use it by now, and a network that runs harms nobody: so it stays. */
static int stays(void *services UNUSED, const void *args UNUSED, struct error *err UNUSED)
{
	return 0;
}

static unsigned network_deadline(const void *args UNUSED)
{
	return NETWORK_DEADLINE_MS;
}

static const char *network_text(const void *args, struct arena *arena)
{
	return arena_printf(arena, "start the network %s",
			    ((const struct network_step *)args)->network);
}

#define OF_END .args = end_rows, .args_size = sizeof(struct end_step)

static const struct step_kind kinds[] = {
	/* keep sorted by name */
	{ "destroy", OF_END, .apply = destroy_apply, .prove = destroy_prove, .holds = ended,
	  .deadline_ms = destroy_deadline, .text = destroy_text },
	{ "domain", .args = domain_rows, .args_size = sizeof(struct domain_step),
	  .apply = domain_apply, .prove = domain_prove, .undo = domain_undo,
	  .prove_undone = domain_prove_undone, .holds = domain_holds,
	  .deadline_ms = domain_deadline, .text = domain_text },
	{ "network", .args = network_rows, .args_size = sizeof(struct network_step),
	  .apply = network_apply, .prove = network_prove, .undo = stays, .prove_undone = stays,
	  .holds = network_holds, .deadline_ms = network_deadline, .text = network_text },
	{ "shutdown", OF_END, .apply = shutdown_apply, .prove = shutdown_prove, .holds = ended,
	  .again_ms = PRESS_AGAIN_MS, .deadline_ms = shutdown_deadline, .text = shutdown_text },
};

const struct step_table vm_domain_steps = STEP_TABLE(kinds);
