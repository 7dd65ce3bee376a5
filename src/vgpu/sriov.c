/* SPDX-License-Identifier: Apache-2.0 */
/* See sriov.h for the order law. */
#include "vgpu/sriov.h"

#include <string.h>

#include "gpu/bind.h"
#include "gpu/names.h"
#include "gpu/steps.h"
#include "vgpu/steps.h"

const struct function *sriov_pf(const struct gpu_unit *unit, const struct function *f)
{
	const struct function *found = NULL;

	if (f->sriov)
		return f;
	for (size_t i = 0; i < unit->n; i++) {
		if (!unit->functions[i]->sriov)
			continue;
		if (found)
			return NULL;
		found = unit->functions[i];
	}
	return found;
}

/* ---- what makes VFs in a way of its own ---- */

static int nvidia_way(const struct function *pf, int64_t vfs, struct error *err)
{
	error_set(err, ERROR_CONFLICT,
		  "%s is on the nvidia driver, whose VFs are made by a script of NVIDIA's: all %lld or none",
		  pf->text, (long long)pf->sriov->total);
	return error_hint(err, "when nothing uses the GPU, and again after each boot: "
			       "/usr/lib/nvidia/sriov-manage %s %s",
			  vfs ? "-e" : "-d", pf->text);
}

static int gim_way(const struct function *pf, int64_t vfs, struct error *err)
{
	error_set(err, ERROR_CONFLICT,
		  "%s is on the gim driver, which makes VFs when it is loaded and not at another time", pf->text);
	return error_hint(err, "when no VM has a VF: echo options gim vf_num=%lld > /etc/modprobe.d/gim.conf; "
			       "modprobe -r gim; modprobe gim",
			  (long long)vfs);
}

static int old_gim_way(const struct function *pf, int64_t vfs, struct error *err)
{
	gim_way(pf, vfs, err);
	return error_hint(err, "when no VM has a VF: set vf_num=%lld in /etc/gim_config; modprobe -r gim; "
			       "modprobe gim",
			  (long long)vfs);
}

/* None of them has sriov_configure. GIM of the FirePro S7150 is another driver than that of the Instincts. */
static const struct {
	const char *driver;
	uint16_t device; /* 0: any */
	int (*way)(const struct function *pf, int64_t vfs, struct error *err);
} ways[] = {
	{ "gim", 0x6929, old_gim_way },
	{ "gim", 0, gim_way },
	{ "nvidia", 0, nvidia_way },
};

/* 1: it has none. */
static int own_way(const struct function *pf, int64_t vfs, struct error *err)
{
	for (size_t i = 0; pf->driver && i < ARRAY_SIZE(ways); i++)
		if (!strcmp(ways[i].driver, pf->driver) && (!ways[i].device || ways[i].device == pf->device))
			return ways[i].way(pf, vfs, err);
	return 1;
}

static int by_its_driver(const struct function *pf, int64_t vfs, struct error *err)
{
	int r = own_way(pf, vfs, err);

	if (r <= 0)
		return r;
	if (!pf->driver) {
		error_set(err, ERROR_CONFLICT, "%s has no driver, and VFs are made by a driver of the host",
			  pf->text);
		return error_hint(err, "load the driver of the card, with SR-IOV switched on");
	}
	if (driver_is_vfio(pf->driver)) {
		error_set(err, ERROR_CONFLICT, "%s is on %s, for a VM, and has no VFs there", pf->text,
			  pf->driver);
		return error_hint(err, "give it back to the host first: horcrux gpu unbind %s", pf->text);
	}
	return 0;
}

/* ---- planning ---- */

static int too_many(const struct function *pf, int64_t vfs, struct error *err)
{
	if (pf->sriov->total == ROW_NULL || vfs <= pf->sriov->total)
		return 0;
	error_set(err, ERROR_INVALID_VALUE, "%s can have %lld VFs at most, not %lld", pf->text,
		  (long long)pf->sriov->total, (long long)vfs);
	error_hint(err, "0 to %lld", (long long)pf->sriov->total);
	return error_pointer(err, "/vfs");
}

static void step(struct plan *plan, const struct function *pf, enum vgpu_step kind, int64_t n, int64_t was)
{
	const struct vfs_step args = { pf->text, n, was };

	plan_step(plan, vgpu_step(kind), &args);
}

/* What was noted of VFs that Horcrux took: whoever gets their addresses next is on another driver. */
static void forget(struct plan *plan, const struct sriov_facts *facts)
{
	for (LIST_EACH(const struct sriov_vf, vf, facts->vfs))
		for (LIST_EACH(const struct function_settings, s, vf->facts->taken)) {
			char text[PCI_ADDRESS_TEXT];
			const struct taken_step args = { pci_address_format(s->address, text), s->driver,
							 s->override, s->control, s->d3cold };

			plan_step(plan, gpu_step(STEP_FORGET), &args);
		}
}

/* VFs come back at the addresses they had, as far as there are so many. */
static void warn(struct plan *plan, const struct sriov_vf *vf)
{
	const struct list *assignments = vf->facts->gpu.assignments;

	for (LIST_EACH(const struct gpu_assignment, a, assignments ?: &(struct list){ 0 }))
		if (gpu_unit_has(vf->unit, a->address))
			plan_warn(plan, "VM %s is made with %s, which will not be there", a->vm,
				  vf->unit->slot);
}

static void change(struct plan *plan, const struct sriov_facts *facts, int64_t vfs)
{
	int64_t now = (int64_t)facts->pf->sriov->vfs.n, i = 0;
	bool probes = vfs && facts->autoprobe == 1;

	for (LIST_EACH(const struct sriov_vf, vf, facts->vfs)) {
		guard_unit(plan, vf->facts, vf->unit, GUARD_REMOVE, NULL);
		if (i++ >= vfs)
			warn(plan, vf);
	}
	if (probes)
		step(plan, facts->pf, VGPU_STEP_VF_AUTOPROBE, 0, 1);
	if (now)
		step(plan, facts->pf, VGPU_STEP_VFS, 0, now);
	forget(plan, facts);
	if (vfs)
		step(plan, facts->pf, VGPU_STEP_VFS, vfs, 0);
	if (probes)
		step(plan, facts->pf, VGPU_STEP_VF_AUTOPROBE, 1, 0);
}

int sriov_plan(struct plan *plan, const struct sriov_facts *facts, int64_t vfs, struct error *err)
{
	const struct function *pf = facts->pf;
	const struct want_vfs_step want = { facts->card->card_id, pf->text, vfs, facts->card->wanted_vfs };
	bool so = vfs == (int64_t)pf->sriov->vfs.n;

	plan_title(plan, "give %s (%s) %lld VFs", pf->text,
		   gpu_device_name(facts->card->gpu.inventory, pf, plan->arena), (long long)vfs);
	unit_locks(plan, facts->card->gpu.inventory, facts->unit);
	if (too_many(pf, vfs, err) < 0)
		return -1;
	if (!so) {
		guard_unit(plan, facts->card, facts->unit, GUARD_CUT, NULL);
		if (by_its_driver(pf, vfs, err) < 0)
			return -1;
		change(plan, facts, vfs);
	}
	/* what its driver makes in another way is not ours to make again */
	if (facts->card->card_id && own_way(pf, vfs, NULL) == 1 && want.n != want.was)
		plan_step(plan, vgpu_step(VGPU_STEP_WANT_VFS), &want);
	return 0;
}
