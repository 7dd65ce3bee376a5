/* SPDX-License-Identifier: Apache-2.0 */
/* See change.h. */
#include "vgpu/change.h"

#include <string.h>

#include "base/fdpath.h"
#include "gpu/change.h"
#include "gpu/look.h"
#include "vgpu/sriov.h"

struct sriov_request {
	char address[PCI_ADDRESS_TEXT];
	int64_t vfs; /* ROW_NULL: as its record says */
};

/* What the look read lives as long as the look; the plan copies what it keeps. */
struct sriov_look {
	struct card_look card;
	struct card_look *vfs; /* n_vfs of them, in the arena of the card's look */
	size_t n_vfs;
};

static void finish(struct sriov_look *look)
{
	for (size_t i = 0; i < look->n_vfs; i++)
		card_look_finish(&look->vfs[i]);
	card_look_finish(&look->card);
}

#define CLEAN_SRIOV_LOOK __attribute__((cleanup(finish)))

void *sriov_change_new(const char *address, int64_t vfs)
{
	struct sriov_request *request = calloc(1, sizeof(*request));

	if (!request)
		abort();
	snprintf(request->address, sizeof(request->address), "%s", address);
	request->vfs = vfs;
	return request;
}

static int no_pf(const struct card_look *look, struct error *err)
{
	const struct function *f = look->function;
	char pf[PCI_ADDRESS_TEXT];

	if (f->physfn) {
		pci_address_format(*f->physfn, pf);
		error_set(err, ERROR_CONFLICT, "%s is a VF itself, of %s", f->text, pf);
		return error_hint(err, "name its PF: %s", pf);
	}
	error_set(err, ERROR_CONFLICT, "%s cannot have VFs: it has no SR-IOV", f->text);
	return error_hint(err, "where the hardware has it, it is switched on in the firmware's settings (SR-IOV)");
}

static int autoprobe(const struct gpu_services *services, const struct function *pf)
{
	char path[128];
	uint64_t value;

	snprintf(path, sizeof(path), "sys/bus/pci/devices/%s/sriov_drivers_autoprobe", pf->text);
	return fdpath_read_u64(services->root->fd, path, &value) < 0 ? -1 : value != 0;
}

/* Each as a card of its own: who has it, what the host has on it. */
static int look_at_vfs(struct gpu_services *services, const struct function *pf, bool locked,
		       struct sriov_look *look, struct list *vfs, struct error *err)
{
	struct arena *arena = look->card.arena;
	char text[PCI_ADDRESS_TEXT];
	struct card_look *vf;

	look->vfs = arena_array(arena, pf->sriov->vfs.n, struct card_look);
	for (LIST_EACH(const struct pci_address, address, &pf->sriov->vfs)) {
		vf = &look->vfs[look->n_vfs];
		if (card_look(services, pci_address_format(*address, text), false, locked, vf, err) < 0)
			return error_wrap(err, "the VF %s cannot be looked at", text);
		look->n_vfs++;
		*list_add(arena, vfs, struct sriov_vf) = (struct sriov_vf){ &vf->facts, &vf->unit };
	}
	return 0;
}

/* Its record is where it is kept how many are wanted. */
static int look_at_pf(struct gpu_services *services, const struct sriov_request *r, bool locked,
		      struct card_look *look, struct error *err)
{
	if (card_look(services, r->address, false, locked, look, err) < 0)
		return -1;
	if (look->facts.card_id || !services->store)
		return 0;
	if (!card_await_record(services, look)) {
		error_set(err, ERROR_CONFLICT, "%s has no record yet, so how many VFs it is to have cannot be kept",
			  look->unit.slot);
		return error_hint(err, "try again in a moment");
	}
	card_look_finish(look);
	return card_look(services, r->address, false, locked, look, err);
}

/* ROW_NULL: nothing is to be done. */
static int64_t vfs_of(const struct sriov_request *r, const struct sriov_facts *facts)
{
	if (r->vfs != ROW_NULL)
		return r->vfs;
	return facts->pf->sriov->vfs.n ? ROW_NULL : facts->card->wanted_vfs;
}

static int plan_sriov(void *request, void *services, bool locked, struct plan *plan, struct error *err)
{
	const struct sriov_request *r = request;
	CLEAN_SRIOV_LOOK struct sriov_look look = { 0 };
	struct list vfs = { 0 };
	struct sriov_facts facts;
	int64_t n;

	if (look_at_pf(services, r, locked, &look.card, err) < 0)
		return -1;
	facts = (struct sriov_facts){ .card = &look.card.facts,
				      .unit = &look.card.unit,
				      .pf = sriov_pf(&look.card.unit, look.card.function),
				      .vfs = &vfs };
	if (!facts.pf)
		return no_pf(&look.card, err);
	facts.autoprobe = autoprobe(services, facts.pf);
	n = vfs_of(r, &facts);
	if (n == ROW_NULL)
		return 0;
	if (n != (int64_t)facts.pf->sriov->vfs.n &&
	    look_at_vfs(services, facts.pf, locked, &look, &vfs, err) < 0)
		return -1;
	return sriov_plan(plan, &facts, n, err);
}

static char *device(void *request, void *services, struct error *err)
{
	return gpu_device_text(services, ((const struct sriov_request *)request)->address, false, true, err);
}

const struct operation sriov_operation = {
	.name = "sriov",
	.plan = plan_sriov,
	.result = device,
	.free = free,
};
