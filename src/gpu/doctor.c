/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of checks. See doctor.h. A check is one function that fills in what it found; what it
 * says why and what to do by default stands in its row. "unknown" is never passed off as "ok".
 */
#include "gpu/doctor.h"

#include <string.h>

#include "base/strbuf.h"
#include "gpu/unit.h"

enum { TEXT_MAX = 1024, NAMED_MAX = 4 };

/* What a check looks at, and where it writes. */
struct visit {
	const struct doctor_facts *facts;
	const struct gpu_unit *unit; /* NULL: the host */
	struct arena *arena;
	struct wire_check *check;
};

#define text(v, ...) arena_printf((v)->arena, __VA_ARGS__)

static void found(const struct visit *v, enum wire_check_status status, const char *title,
		  const char *evidence)
{
	v->check->status = status;
	v->check->title = title;
	v->check->evidence = evidence;
}

static const struct iommu *iommu_of(const struct visit *v)
{
	return &v->facts->gpu.inventory->iommu;
}

/* The unit's first function: the GPU, where it is a card. */
static const struct function *gpu_of(const struct visit *v)
{
	return v->unit->functions[0];
}

/* "a, b, c and 4 more" */
static const char *join(const struct visit *v, const struct list *words)
{
	CLEAN_STRBUF struct strbuf sb = STRBUF_INIT(TEXT_MAX);
	size_t n = 0;

	for (LIST_EACH(const char *, word, words)) {
		if (n++ < NAMED_MAX)
			strbuf_printf(&sb, "%s%s", n > 1 ? ", " : "", *word);
	}
	if (n > NAMED_MAX)
		strbuf_printf(&sb, " and %zu more", n - NAMED_MAX);
	return arena_strdup(v->arena, strbuf_text(&sb));
}

static const char *reason_of(const struct list *unknown, const char *field)
{
	for (LIST_EACH(const struct row_pair, pair, unknown))
		if (!strcmp(pair->key, field))
			return pair->value;
	return NULL;
}

/* The host. */

static void check_cards(const struct visit *v)
{
	const struct list *cards = &v->facts->gpu.inventory->cards;

	if (cards->n)
		found(v, CHECK_OK, text(v, "%zu card%s", cards->n, cards->n == 1 ? "" : "s"),
		      "/sys/bus/pci/devices");
	else
		found(v, CHECK_FAIL, "no card was found", "/sys/bus/pci/devices has no GPU");
}

static void check_iommu(const struct visit *v)
{
	const struct iommu *iommu = iommu_of(v);

	if (iommu->enabled == FACT_YES)
		found(v, CHECK_OK, "the IOMMU is on", join(v, &iommu->evidence));
	else
		found(v, iommu->enabled == FACT_NO ? CHECK_FAIL : CHECK_UNKNOWN,
		      iommu->message ?: "it cannot be told whether the IOMMU is on",
		      join(v, &iommu->evidence));
	if (iommu->enabled != FACT_YES && iommu->problems.n)
		v->check->fix = *(const char **)iommu->problems.items;
}

static void check_interrupts(const struct visit *v)
{
	const struct iommu *iommu = iommu_of(v);

	if (iommu->interrupt_remapping == FACT_YES)
		found(v, CHECK_OK, "interrupts are remapped", "/proc/interrupts");
	else if (iommu->unsafe_interrupts == FACT_YES)
		found(v, CHECK_WARN, "interrupts are not remapped, and this host allows that",
		      "vfio_iommu_type1.allow_unsafe_interrupts is set");
	else if (iommu->interrupt_remapping == FACT_NO)
		found(v, CHECK_FAIL, "interrupts are not remapped", "/proc/interrupts");
	else
		found(v, CHECK_UNKNOWN, "it cannot be told whether interrupts are remapped",
		      reason_of(&iommu->unknown, "interrupt_remapping"));
}

static void check_acs_override(const struct visit *v)
{
	const struct iommu *iommu = iommu_of(v);

	if (iommu->acs_override == FACT_YES)
		found(v, CHECK_WARN, "isolation is claimed by a kernel patch, not by the hardware",
		      "pcie_acs_override= is on the kernel command line");
	else if (iommu->acs_override == FACT_NO)
		found(v, CHECK_OK, "groups are as the hardware isolates", "/proc/cmdline");
	else
		found(v, CHECK_UNKNOWN, "it cannot be told whether isolation is real",
		      reason_of(&iommu->unknown, "acs_override"));
}

static void check_vfio_pci(const struct visit *v)
{
	static const char *const titles[] = { "this kernel has no vfio-pci", "vfio-pci is there" };
	enum fact fact = v->facts->vfio_pci;

	if (fact == FACT_UNKNOWN)
		found(v, CHECK_UNKNOWN, "it cannot be told whether this kernel has vfio-pci",
		      v->facts->vfio_pci_evidence);
	else
		found(v, fact == FACT_YES ? CHECK_OK : CHECK_FAIL, titles[fact == FACT_YES],
		      v->facts->vfio_pci_evidence);
}

/* A card. */

static void check_group(const struct visit *v)
{
	struct list blockers = { 0 };
	const struct function *f;

	for (size_t i = 0; i < v->unit->n; i++) {
		f = v->unit->functions[i];
		if (f->group != NO_GROUP && !f->group_is_noiommu)
			continue;
		found(v, CHECK_FAIL,
		      f->group == NO_GROUP ? "it is in no IOMMU group"
					   : "its group is VFIO's no-IOMMU mode",
		      text(v, "/%s/iommu_group", f->sysfs));
		v->check->fix = "see the check of the IOMMU";
		return;
	}
	/* what the firmware keeps is check_regions' */
	gpu_unit_viable(v->facts->gpu.inventory, v->unit, v->arena, &blockers);
	if (blockers.n)
		found(v, CHECK_FAIL,
		      text(v, "others share its IOMMU group: %s", join(v, &blockers)),
		      text(v, "/sys/kernel/iommu_groups/%d/devices", gpu_of(v)->group));
	else
		found(v, CHECK_OK, "nothing in its IOMMU group stands in the way",
		      text(v, "/sys/kernel/iommu_groups/%d/devices", gpu_of(v)->group));
}

static void check_regions(const struct visit *v)
{
	const struct group *group;
	bool unknown = false;

	for (size_t i = 0; i < v->unit->n; i++) {
		group = inventory_group(v->facts->gpu.inventory, v->unit->functions[i]->group);
		if (group && group->direct_regions) {
			found(v, CHECK_FAIL, "the firmware keeps memory mapped for it",
			      text(v, "/sys/kernel/iommu_groups/%d/reserved_regions: direct",
				   group->number));
			return;
		}
		unknown |= !group || group->regions_unknown;
	}
	if (unknown)
		found(v, CHECK_UNKNOWN, "it cannot be told what memory the firmware keeps for it",
		      "reserved_regions of its group cannot be read");
	else
		found(v, CHECK_OK, "the firmware keeps no memory for it",
		      text(v, "/sys/kernel/iommu_groups/%d/reserved_regions", gpu_of(v)->group));
}

/* The facts of the unit with this code; NULL: none. */
static const struct critical *critical_of(const struct visit *v, const char *code)
{
	for (LIST_EACH(const struct critical, c, v->facts->gpu.critical))
		if (!strcmp(c->code, code) && gpu_unit_has(v->unit, c->address))
			return c;
	return NULL;
}

/* One fact by its code, or that there is none. */
static void check_code(const struct visit *v, const char *code, enum wire_check_status status,
		       const char *none)
{
	const struct critical *c;

	if (!v->facts->gpu.critical) {
		found(v, CHECK_UNKNOWN, "it cannot be told what the host needs it for",
		      v->facts->gpu.critical_unknown);
		return;
	}
	c = critical_of(v, code);
	found(v, c ? status : CHECK_OK, c ? c->why : none, c ? c->evidence : NULL);
}

static void check_critical(const struct visit *v)
{
	const struct critical *c;

	check_code(v, "critical", CHECK_FAIL, "nothing of the host lives on it");
	if (v->check->status != CHECK_OK)
		return;
	c = critical_of(v, "unknown_carries");
	if (c)
		found(v, CHECK_UNKNOWN, c->why, c->evidence);
}

static void check_console(const struct visit *v)
{
	check_code(v, "console_card", CHECK_WARN, "the host's console is not on it");
}

static void check_only_card(const struct visit *v)
{
	check_code(v, "only_card", CHECK_WARN, "it is not the only card of the host");
}

static const struct boot_framebuffer *framebuffer_of(const struct visit *v)
{
	for (LIST_EACH(const struct boot_framebuffer, fb, v->facts->framebuffers))
		if (gpu_unit_has(v->unit, fb->address))
			return fb;
	return NULL;
}

/* vfio-pci evicts it from VGA controllers (class 0300), and from nothing else. */
static void check_framebuffer(const struct visit *v)
{
	bool evicted = gpu_of(v)->class >> 8 == 0x0300;
	const struct boot_framebuffer *fb;

	if (!v->facts->framebuffers) {
		found(v, evicted ? CHECK_OK : CHECK_UNKNOWN,
		      evicted ? "vfio-pci would evict the firmware's screen from it"
			      : "it cannot be told whether the firmware's screen lies in its "
				"memory",
		      v->facts->framebuffers_unknown);
		return;
	}
	fb = framebuffer_of(v);
	if (!fb)
		found(v, CHECK_OK, "the firmware's screen does not lie in its memory",
		      "/proc/iomem");
	else
		found(v, evicted ? CHECK_OK : CHECK_FAIL,
		      evicted ? "the firmware's screen lies in its memory; vfio-pci evicts it"
			      : "the firmware's screen lies in its memory",
		      text(v, "/proc/iomem has %s in it", fb->name));
}

static const char *holder_text(const struct visit *v, const struct holder *h)
{
	if (!h->node)
		return text(v, "the kernel's %s", h->name);
	return text(v, "%s (pid %lld%s%s) has %s", h->name, (long long)h->pid, h->unit ? ", " : "",
		    h->unit ?: "", h->node);
}

static void check_holders(const struct visit *v)
{
	struct list names = { 0 };
	bool vm = true;

	if (!v->facts->gpu.holders) {
		found(v, CHECK_UNKNOWN, "it cannot be told who has it open",
		      v->facts->gpu.holders_unknown);
		return;
	}
	for (LIST_EACH(const struct holder, h, v->facts->gpu.holders)) {
		if (!gpu_unit_has(v->unit, h->address) || holder_lets_go(h))
			continue;
		list_add_string(v->arena, &names, holder_text(v, h));
		vm &= h->node && !strncmp(h->node, "/dev/vfio/", 10);
	}
	if (!names.n)
		found(v, CHECK_OK, "nobody has it open", "/proc");
	else if (vm)
		found(v, CHECK_OK, "a VM uses it", join(v, &names));
	else
		found(v, CHECK_WARN, "it is open", join(v, &names));
}

static void check_nvidia(const struct visit *v)
{
	const char *driver = gpu_of(v)->driver;

	if (driver && !strcmp(driver, "nvidia"))
		found(v, CHECK_WARN, "NVIDIA's driver has it, whose unbind waits for every user",
		      text(v, "/%s/driver is nvidia", gpu_of(v)->sysfs));
	else
		found(v, CHECK_OK,
		      driver ? text(v, "its driver is %s", driver) : "it has no driver",
		      text(v, "/%s/driver", gpu_of(v)->sysfs));
}

static void check_functions(const struct visit *v)
{
	int state = gpu_unit_state(&v->facts->gpu, v->unit);

	if (state == CARD_MIXED)
		found(v, CHECK_WARN, "only some of its functions are on vfio-pci",
		      "the driver links of its functions differ");
	else
		found(v, CHECK_OK,
		      v->unit->n == 1 ? "it has one function"
				      : text(v, "%zu functions, which go together", v->unit->n),
		      NULL);
}

static void check_shares(const struct visit *v)
{
	const struct function *f, *vf;
	size_t vfs = 0, instances = 0;

	for (size_t i = 0; i < v->unit->n; i++) {
		f = v->unit->functions[i];
		instances += f->mdevs.n;
		if (!f->sriov)
			continue;
		vfs += f->sriov->vfs.n;
		for (LIST_EACH(const struct pci_address, at, &f->sriov->vfs)) {
			vf = inventory_function(v->facts->gpu.inventory, *at);
			instances += vf ? vf->mdevs.n : 0;
		}
	}
	if (vfs || instances)
		found(v, CHECK_WARN,
		      text(v, "it is shared: %zu VFs, %zu vGPU instances", vfs, instances),
		      text(v, "/%s", gpu_of(v)->sysfs));
	else
		found(v, CHECK_OK, "it carries no VFs and no vGPU instances", NULL);
}

static void check_reset(const struct visit *v)
{
	const struct function *f = gpu_of(v);

	if (f->reset_methods.null)
		found(v, CHECK_UNKNOWN, "it cannot be told how it can be reset",
		      reason_of(&f->unknown, "reset_methods"));
	else if (!f->reset_methods.n)
		found(v, CHECK_WARN, "the kernel knows no way to reset it",
		      text(v, "/%s/reset_method is empty", f->sysfs));
	else
		found(v, CHECK_OK, text(v, "it can be reset: %s", join(v, &f->reset_methods)),
		      text(v, "/%s/reset_method", f->sysfs));
}

/* Reading it would wake the card: only whether there is one is known here. */
static void check_rom(const struct visit *v)
{
	const struct function *f = gpu_of(v);

	if (f->has_rom || f->class >> 8 != 0x0300)
		found(v, CHECK_OK, f->has_rom ? "it has an option ROM" : "it needs no option ROM",
		      text(v, "/%s/rom", f->sysfs));
	else
		found(v, CHECK_WARN, "it shows no option ROM",
		      text(v, "/%s/rom is not there", f->sysfs));
}

static void check_power(const struct visit *v)
{
	const struct function *f = gpu_of(v);

	if (f->in_d3cold)
		found(v, CHECK_WARN, "it sleeps, so not everything about it was read",
		      text(v, "/%s/power_state is %s", f->sysfs, f->power_state ?: "unknown"));
	else if (!f->power_state)
		found(v, CHECK_UNKNOWN, "it cannot be told whether it sleeps",
		      reason_of(&f->unknown, "power_state"));
	else
		found(v, CHECK_OK, text(v, "it is in %s", f->power_state),
		      text(v, "/%s/power_state", f->sysfs));
}

static void check_errors(const struct visit *v)
{
	const struct function *f = gpu_of(v);

	if (f->aer_fatal != ROW_NULL && f->aer_fatal > 0)
		found(v, CHECK_WARN, text(v, "%lld fatal PCIe errors", (long long)f->aer_fatal),
		      text(v, "/%s/aer_dev_fatal", f->sysfs));
	else
		found(v, CHECK_OK,
		      f->aer_fatal == ROW_NULL ? "its PCIe errors are not counted"
					       : "no fatal PCIe errors",
		      NULL);
}

struct check_row {
	const char *id;
	bool reboot; /* the fix takes one */
	const char *why;
	const char *fix;
	void (*visit)(const struct visit *v);
};

static const struct check_row host_checks[] = {
	{ "cards", false, "only what the PCI bus shows can be given to a VM",
	  "look for it with lspci; where it is of another class, configure that class",
	  check_cards },
	{ "iommu", true, "without an IOMMU a VM with a card could write anywhere in memory",
	  "switch on VT-d or AMD-Vi in the firmware setup, and in the kernel", check_iommu },
	{ "interrupt_remapping", true, "without it VFIO does not open a device",
	  "switch on interrupt remapping (x2APIC) in the firmware setup", check_interrupts },
	{ "acs_override", true, "devices that share a group can reach each other's memory",
	  "take pcie_acs_override= off the kernel command line where VMs are not trusted",
	  check_acs_override },
	{ "vfio_pci", false, "vfio-pci is the driver that hands a card to a VM",
	  "install the kernel's modules, or a kernel with CONFIG_VFIO_PCI", check_vfio_pci },
};

static const struct check_row card_checks[] = {
	{ "group", false, "a VM gets a whole IOMMU group or nothing of it",
	  "put the card into another slot, or give up what shares its group", check_group },
	{ "reserved_regions", true, "the kernel refuses to isolate a device with such regions",
	  "look for a firmware update, or a firmware setting for this slot", check_regions },
	{ "critical", false, "taking it away would take the host down",
	  "move what it carries elsewhere first", check_critical },
	{ "console", false, "the host's screen goes dark when the card is taken",
	  "make sure that you reach the host another way, then accept console_card",
	  check_console },
	{ "only_card", false, "the host has no display without it",
	  "make sure that you reach the host another way, then accept only_card", check_only_card },
	{ "boot_framebuffer", true, "what the firmware's screen occupies cannot be given to a VM",
	  "boot with initcall_blacklist=sysfb_init on the kernel command line", check_framebuffer },
	{ "holders", false, "taking a card that is open can hang for ever",
	  "end what has it open first", check_holders },
	{ "driver", false, "a driver that is asked to let go while in use may never come back",
	  "stop nvidia-persistenced, DCGM and the display before the card is bound", check_nvidia },
	{ "functions", false, "all functions of a card belong into the same hands",
	  "bind the card again, or release it", check_functions },
	{ "shared", false, "a card that is shared cannot be given away whole",
	  "stop the VMs that use its parts and remove these first", check_shares },
	{ "reset", false, "a card that is not reset may fail at its second start",
	  "accept no_reset to take it; if it fails then, only a reboot brings it back",
	  check_reset },
	{ "rom", false, "as a VM's only display a card needs its option ROM",
	  "give the VM a rom_file that was read from this very card", check_rom },
	{ "power", false, "a card that sleeps is not woken to be looked at",
	  "nothing: it wakes when it is used", check_power },
	{ "errors", false, "fatal errors tell of a bad seat, riser or card",
	  "reseat the card; check riser and power", check_errors },
};

/* The worse of two, in this order. */
static int worse(int a, int b)
{
	static const int rank[] = {
		[CHECK_OK] = 0, [CHECK_WARN] = 1, [CHECK_UNKNOWN] = 2, [CHECK_FAIL] = 3
	};

	return rank[a] >= rank[b] ? a : b;
}

/* Runs the checks of a table; the worst of them. */
static int run(const struct doctor_facts *facts, const struct gpu_unit *unit,
	       const struct check_row *rows, size_t n, struct arena *arena, struct wire_doctor *out)
{
	int worst = CHECK_OK;

	for (size_t i = 0; i < n; i++) {
		struct wire_check check = { .id = rows[i].id,
					    .subject = unit ? unit->slot : "host",
					    .why = rows[i].why };
		const struct visit v = { facts, unit, arena, &check };

		rows[i].visit(&v);
		if (check.status == CHECK_OK)
			check.fix = NULL;
		else if (!check.fix)
			check.fix = rows[i].fix;
		check.reboot_needed = check.status != CHECK_OK && rows[i].reboot;
		*list_add(arena, &out->checks, struct wire_check) = check;
		worst = worse(worst, check.status);
	}
	return worst;
}

static int run_card(const struct doctor_facts *facts, const struct function *f, struct arena *arena,
		    struct wire_doctor *out)
{
	struct gpu_unit unit;

	gpu_unit_of(facts->gpu.inventory, f, &unit);
	return run(facts, &unit, card_checks, ARRAY_SIZE(card_checks), arena, out);
}

void gpu_doctor(const struct doctor_facts *facts, const struct function *device,
		struct arena *arena, struct wire_doctor *out)
{
	int best = -1, card;

	*out = (struct wire_doctor){ 0 };
	out->verdict = run(facts, NULL, host_checks, ARRAY_SIZE(host_checks), arena, out);
	if (device) {
		out->verdict = worse(out->verdict, run_card(facts, device, arena, out));
		return;
	}
	for (LIST_EACH(const struct card, it, &facts->gpu.inventory->cards)) {
		const struct function *f = *(struct function *const *)it->functions.items;

		if (f->physfn)
			continue;
		card = run_card(facts, f, arena, out);
		best = best < 0 || worse(best, card) == best ? card : best;
	}
	if (best >= 0)
		out->verdict = worse(out->verdict, best);
}
