/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each guard is one function and one row: what it looks at, and for which purposes it counts. A
 * danger that could not be read is a refusal of its own (unknown_…), never passed over.
 */
#include "gpu/guard.h"

#include <string.h>

#include "gpu/names.h"

struct judged {
	struct plan *plan;
	const struct card_facts *facts;
	const struct gpu_unit *unit;
	enum guard_purpose purpose;
	const char *vm;
};

#define text(j, ...) arena_printf((j)->plan->arena, __VA_ARGS__)

static const struct inventory *inventory_of(const struct judged *j)
{
	return j->facts->gpu.inventory;
}

const struct function_settings *settings_find(const struct list *settings, struct pci_address address)
{
	if (!settings)
		return NULL;
	for (LIST_EACH(const struct function_settings, s, settings))
		if (pci_address_equal(s->address, address))
			return s;
	return NULL;
}

static void guard_bridge(const struct judged *j)
{
	for (size_t i = 0; i < j->unit->n; i++)
		if (j->unit->functions[i]->bridge)
			plan_refuse(j->plan, REFUSE_BRIDGE, j->unit->functions[i]->text,
				    "it is a bridge, and bridges cannot be given to a VM",
				    text(j, "class %06x", j->unit->functions[i]->class),
				    "name the card behind it");
}

static void refuse_iommu(const struct judged *j)
{
	const struct iommu *iommu = &inventory_of(j)->iommu;
	const char *first = iommu->problems.n ? ((const char **)iommu->problems.items)[0] : NULL;

	plan_refuse(j->plan, REFUSE_IOMMU_OFF, "host", "the IOMMU is off, so no device can be isolated",
		    iommu->message,
		    first ? first : "switch on VT-d or AMD-Vi in the firmware setup, then reboot");
}

static void guard_group(const struct judged *j)
{
	const struct function *f;

	if (inventory_of(j)->iommu.enabled == FACT_NO) {
		refuse_iommu(j);
		return;
	}
	for (size_t i = 0; i < j->unit->n; i++) {
		f = j->unit->functions[i];
		if (f->group == NO_GROUP)
			plan_refuse(j->plan, REFUSE_NO_GROUP, f->text,
				    "it is in no IOMMU group, so it cannot be isolated",
				    text(j, "/%s has no iommu_group link", f->sysfs),
				    "see `horcrux gpu iommu` for what the IOMMU of this host does");
		else if (f->group_is_noiommu)
			plan_refuse(j->plan, REFUSE_NO_GROUP, f->text,
				    "its group is VFIO's no-IOMMU mode: a VM could write anywhere in the host's memory",
				    text(j, "group %d is named vfio-noiommu", f->group),
				    "switch on a real IOMMU and switch off enable_unsafe_noiommu_mode");
	}
}

static void guard_interrupts(const struct judged *j)
{
	const struct iommu *iommu = &inventory_of(j)->iommu;

	if (iommu->interrupt_remapping == FACT_YES || iommu->unsafe_interrupts == FACT_YES)
		return;
	if (iommu->interrupt_remapping == FACT_NO)
		plan_refuse(j->plan, REFUSE_NO_INTERRUPT_REMAPPING, "host",
			    "interrupts are not remapped: VFIO will not open a device",
			    iommu->message,
			    "switch on interrupt remapping (x2APIC) in the firmware setup; or, where every VM is trusted, "
			    "set vfio_iommu_type1 allow_unsafe_interrupts=1");
	else
		plan_refuse_unknown(j->plan, "interrupt_remapping", "host",
				    "it cannot be told whether interrupts are remapped", iommu->message,
				    "accept it to try; without remapping the VM does not start");
}

static void guard_regions(const struct judged *j)
{
	const struct group *group;

	for (size_t i = 0; i < j->unit->n; i++) {
		group = inventory_group(inventory_of(j), j->unit->functions[i]->group);
		if (group && group->regions_unknown)
			plan_refuse_unknown(j->plan, "reserved_regions", j->unit->functions[i]->text,
					    "it cannot be told whether the firmware keeps memory mapped for it",
					    text(j, "/sys/kernel/iommu_groups/%d/reserved_regions cannot be read",
						 group->number),
					    "if it does, the kernel will refuse the VM's start");
		if (!group || !group->direct_regions)
			continue;
		plan_refuse(j->plan, REFUSE_RMRR, j->unit->functions[i]->text,
			    "the firmware keeps memory of its own mapped for it, and the kernel refuses to isolate such a device",
			    text(j, "/sys/kernel/iommu_groups/%d/reserved_regions has a \"direct\" region", group->number),
			    "look for a firmware update, or a firmware setting for this slot (RMRR, shared memory)");
	}
}

static void guard_shares(const struct judged *j)
{
	const struct function *f, *vf;
	const struct pci_address *a;

	for (size_t i = 0; i < j->unit->n; i++) {
		f = j->unit->functions[i];
		if (f->mdevs.n)
			plan_refuse(j->plan, REFUSE_MDEV_LIVE, f->text, "it carries vGPU instances",
				    text(j, "%zu instances, the first %s", f->mdevs.n,
					 ((const struct mdev *)f->mdevs.items)->uuid),
				    "stop the VMs that use them and remove the instances first");
		if (!f->sriov || !f->sriov->vfs.n)
			continue;
		plan_refuse(j->plan, REFUSE_PF_HAS_VFS, f->text, "it has virtual functions",
			    text(j, "%zu VFs under /%s", f->sriov->vfs.n, f->sysfs),
			    text(j, "take them away first: horcrux gpu sriov %s 0; the kernel refuses to give a "
				    "PF away that has VFs", f->text));
		a = f->sriov->vfs.items;
		for (size_t k = 0; k < f->sriov->vfs.n; k++) {
			vf = inventory_function(inventory_of(j), a[k]);
			if (vf && vf->mdevs.n)
				plan_refuse(j->plan, REFUSE_MDEV_LIVE, vf->text, "it carries a vGPU instance",
					    ((const struct mdev *)vf->mdevs.items)->uuid,
					    "stop the VM that uses it and remove the instance first");
		}
	}
}

static void guard_domain(const struct judged *j)
{
	const struct gpu_domain *domain = gpu_unit_domain(&j->facts->gpu, j->unit);

	if (!domain)
		return;
	if (domain->vm && j->facts->claimed_by && !strcmp(domain->vm, j->facts->claimed_by))
		return;	/* who has it is told once, by its claim */
	if (domain->vm)
		plan_refuse(j->plan, REFUSE_HELD, text(j, "vm %s", domain->vm),
			    text(j, "VM %s runs with it", domain->vm), NULL,
			    text(j, "stop VM %s first", domain->vm));
	else
		plan_refuse(j->plan, REFUSE_HELD, text(j, "domain %s", domain->name),
			    text(j, "the domain %s, which Horcrux did not make, runs with it", domain->name),
			    text(j, "virsh dumpxml %s has it as a hostdev", domain->name),
			    text(j, "shut that domain down first: virsh shutdown %s", domain->name));
}

static void guard_held(const struct judged *j)
{
	guard_domain(j);
	if (!j->facts->gpu.holders) {
		plan_refuse_unknown(j->plan, "holders", j->unit->slot,
				    "it cannot be told who has it open", j->facts->gpu.holders_unknown,
				    "taking a card that is open can hang for ever; see that horcrux-privd runs");
		return;
	}
	for (LIST_EACH(const struct holder, h, j->facts->gpu.holders)) {
		if (!gpu_unit_has(j->unit, h->address) || holder_lets_go(h) ||
		    gpu_unit_domain_is(&j->facts->gpu, j->unit, h))
			continue;
		if (!strcmp(h->kind, "kernel"))
			plan_refuse(j->plan, REFUSE_HELD, text(j, "%s", h->name),
				    text(j, "the kernel's %s uses it", h->name),
				    h->node ? h->node : text(j, "%s is on the display of %s", h->name,
							     j->unit->slot),
				    "stop what uses the display, or unload the module");
		else
			plan_refuse(j->plan, REFUSE_HELD, text(j, "pid %lld", (long long)h->pid),
				    text(j, "%s (pid %lld) has it open", h->name, (long long)h->pid),
				    h->node,
				    h->unit ? text(j, "stop it: systemctl stop %s", h->unit) :
					      "end that program first");
	}
}

static void refuse_critical(const struct judged *j, const char *address, const struct critical *c)
{
	static const struct {
		const char *code;
		enum refusal_code refusal;
		const char *fix;
	} rows[] = {
		{ "console_card", REFUSE_CONSOLE_CARD,
		  "the host's screen goes dark; make sure that you reach it another way, then accept console_card" },
		{ "critical", REFUSE_CRITICAL, "move what it carries elsewhere first" },
		{ "only_card", REFUSE_ONLY_CARD,
		  "the host has no display without it; make sure that you reach it another way, then accept only_card" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		if (strcmp(rows[i].code, c->code))
			continue;
		plan_refuse(j->plan, rows[i].refusal, address, c->why, c->evidence, rows[i].fix);
		return;
	}
	plan_refuse_unknown(j->plan, "carries", address, c->why, c->evidence,
			    "make sure that the host does not need it, then accept unknown_carries");
}

static void guard_critical(const struct judged *j)
{
	char address[PCI_ADDRESS_TEXT];

	if (!j->facts->gpu.critical) {
		plan_refuse_unknown(j->plan, "carries", j->unit->slot,
				    "it cannot be told whether the host needs it",
				    j->facts->gpu.critical_unknown, "see that horcrux-privd runs");
		return;
	}
	for (LIST_EACH(const struct critical, c, j->facts->gpu.critical))
		if (gpu_unit_has(j->unit, c->address))
			refuse_critical(j, pci_address_format(c->address, address), c);
}

bool guard_wants_framebuffers(const struct function *f)
{
	return f->class >> 16 == 0x03 && f->class >> 8 != 0x0300;
}

static void guard_framebuffer(const struct judged *j)
{
	const struct function *f;

	for (size_t i = 0; i < j->unit->n; i++) {
		f = j->unit->functions[i];
		if (!guard_wants_framebuffers(f))
			continue;
		if (!j->facts->framebuffers) {
			plan_refuse_unknown(j->plan, "boot_framebuffer", f->text,
					    "it cannot be told whether the firmware's screen lies in its memory",
					    j->facts->framebuffers_unknown, "see that horcrux-privd runs");
			continue;
		}
		for (LIST_EACH(const struct boot_framebuffer, fb, j->facts->framebuffers))
			if (pci_address_equal(fb->address, f->address))
				plan_refuse(j->plan, REFUSE_BOOT_FRAMEBUFFER, f->text,
					    "the firmware's screen lies in its memory, so a VM could not get it",
					    text(j, "/proc/iomem has %s in BAR %d", fb->name, fb->bar),
					    "boot with initcall_blacklist=sysfb_init on the kernel command line");
	}
}

static void guard_owner(const struct judged *j)
{
	if (j->facts->claimed_by && (!j->vm || strcmp(j->vm, j->facts->claimed_by)))
		plan_refuse(j->plan, REFUSE_CLAIMED, j->unit->slot,
			    text(j, "VM %s has it", j->facts->claimed_by), NULL,
			    text(j, "stop VM %s first", j->facts->claimed_by));
}

static void guard_health(const struct judged *j)
{
	if (j->facts->stuck_why)
		plan_refuse(j->plan, REFUSE_STUCK, j->unit->slot,
			    "an earlier change of it has not come back from the kernel",
			    j->facts->stuck_why, "end what holds the card; if nothing does, reboot the host");
	if (j->facts->quarantined_why)
		plan_refuse(j->plan, REFUSE_QUARANTINED, j->unit->slot,
			    "it does not answer any more", j->facts->quarantined_why,
			    text(j, "power-cycle the host, then release it from quarantine: POST "
				    "/api/gpu/devices/%s/release-quarantine", j->unit->slot));
}

/* The same slot may hold another card now, and the same card may sit in another slot. */
static void guard_identity(const struct judged *j)
{
	const struct function *f = j->unit->functions[0];

	if (j->facts->meant)
		plan_refuse_unknown(j->plan, "identity", j->unit->slot,
				    text(j, "it is another card than the one that VM %s was made with", j->vm),
				    text(j, "%s is %04x:%04x %s now; meant is %s", j->unit->slot, f->vendor,
					 f->device, gpu_device_name(inventory_of(j), f, j->plan->arena),
					 j->facts->meant),
				    "make the VM anew with the card's address as it is now; or accept "
				    "unknown_identity to give it this card from now on");
	if (j->facts->moved_from)
		plan_refuse_unknown(j->plan, "identity", j->unit->slot,
				    "a card of these ids was at another place before: it moved, or it is another one",
				    text(j, "its path was %s", j->facts->moved_from),
				    "make sure that it is the card you mean, then accept unknown_identity");
}

/* The card's first function is what a VM resets; its other functions go along. */
static void guard_reset(const struct judged *j)
{
	const struct function *f = j->unit->functions[0];

	if (f->reset_methods.null)
		plan_refuse_unknown(j->plan, "reset", f->text, "it cannot be told how it can be reset",
				    text(j, "/%s/reset_method cannot be read", f->sysfs),
				    "a card that is not reset may fail at its second start; accept unknown_reset to try");
	else if (!f->reset_methods.n)
		plan_refuse(j->plan, REFUSE_NO_RESET, f->text, "the kernel knows no way to reset it",
			    text(j, "/%s has no reset method", f->sysfs),
			    "it may fail at its second start until the host is rebooted; accept no_reset to take it");
}

static const char *carried_by(const struct judged *j, struct pci_address address)
{
	if (!j->facts->gpu.critical)
		return NULL;
	for (LIST_EACH(const struct critical, c, j->facts->gpu.critical))
		if (pci_address_equal(c->address, address))
			return c->why;
	return NULL;
}

/* A VM may have several cards of one group: then they do not stand in each other's way. */
static bool goes_along(const struct judged *j, struct pci_address address)
{
	if (!j->facts->beside)
		return false;
	for (LIST_EACH(const struct pci_address, other, j->facts->beside))
		if (pci_address_equal(*other, address))
			return true;
	return false;
}

/* The one that blocks is of the very card of which only a function is wanted. */
static bool is_of_its_card(const struct judged *j, struct pci_address address)
{
	const struct card *card = inventory_card(inventory_of(j), j->unit->functions[0]->address);

	return card && card == inventory_card(inventory_of(j), address);
}

static const char *way_round(const struct judged *j, struct pci_address address)
{
	if (!is_of_its_card(j, address))
		return "put the card into another slot, or give up that device as well; "
		       "a VM cannot have the card while the host uses it";
	return j->purpose == GUARD_START
		       ? "it is a function of the same card: give the VM all of it, multifunction: true"
		       : "it is a function of the same card: take all of it, scope: \"card\"";
}

static void guard_neighbours(const struct judged *j)
{
	struct list blockers = { 0 };
	const struct function *f;
	struct pci_address address;
	const char *carries;

	gpu_unit_viable(inventory_of(j), j->unit, j->plan->arena, &blockers);
	for (LIST_EACH(const char *, it, &blockers)) {
		f = pci_address_parse(*it, &address) ? inventory_function(inventory_of(j), address) : NULL;
		if (!f || goes_along(j, address))
			continue;
		carries = carried_by(j, address);
		plan_refuse(j->plan, REFUSE_GROUP_BLOCKED, f->text,
			    text(j, "%s shares IOMMU group %d with it and is used by the host%s%s",
				 gpu_device_name(inventory_of(j), f, j->plan->arena), f->group,
				 carries ? ": " : "", carries ? carries : ""),
			    text(j, "driver %s", f->driver ? f->driver : "unknown"),
			    way_round(j, address));
	}
}

static void guard_settings(const struct judged *j)
{
	const struct function_settings *s;

	for (size_t i = 0; i < j->unit->n; i++) {
		s = settings_find(j->facts->settings, j->unit->functions[i]->address);
		if (!s || !s->override)
			plan_refuse_unknown(j->plan, "override", j->unit->functions[i]->text,
					    "its driver_override cannot be read, so it could not be restored", NULL,
					    "see that horcrux-privd runs");
	}
}

#define FOR(purpose) (1u << GUARD_##purpose)

static const struct {
	unsigned purposes;
	void (*judge)(const struct judged *j);
} guards[] = {
	{ FOR(BIND) | FOR(START), guard_bridge },
	{ FOR(BIND) | FOR(START), guard_group },
	{ FOR(START), guard_interrupts },
	{ FOR(BIND) | FOR(START), guard_regions },
	{ FOR(BIND) | FOR(START) | FOR(REMOVE), guard_shares },
	{ FOR(BIND) | FOR(START) | FOR(RELEASE) | FOR(REMOVE), guard_held },
	{ FOR(BIND) | FOR(START) | FOR(REMOVE), guard_critical },
	{ FOR(BIND) | FOR(START), guard_framebuffer },
	{ FOR(BIND) | FOR(START) | FOR(RELEASE) | FOR(CUT) | FOR(REMOVE), guard_owner },
	{ FOR(BIND) | FOR(START) | FOR(RELEASE) | FOR(CUT) | FOR(REMOVE), guard_health },
	{ FOR(START), guard_identity },
	{ FOR(BIND) | FOR(START), guard_reset },
	{ FOR(BIND) | FOR(START), guard_neighbours },
	{ FOR(BIND) | FOR(START), guard_settings },
};

void guard_unit(struct plan *plan, const struct card_facts *facts, const struct gpu_unit *unit,
		enum guard_purpose purpose, const char *vm)
{
	const struct judged j = { plan, facts, unit, purpose, vm };

	for (size_t i = 0; i < ARRAY_SIZE(guards); i++)
		if (guards[i].purposes & (1u << purpose))
			guards[i].judge(&j);
}
