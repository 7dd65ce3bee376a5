/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading what runs: all active domains, or one of them again. In calls' threads (run_*); the rest
 * is pure. A domain may end between any two questions: it is then simply not there.
 */
#include <string.h>

#include "vm/domain_xml.h"
#include "vm/libvirt_parts.h"

enum virt_state state_of(int libvirt_state)
{
	switch (libvirt_state) {
	case VIR_DOMAIN_PAUSED:
	case VIR_DOMAIN_PMSUSPENDED:
		return VIRT_PAUSED;
	case VIR_DOMAIN_SHUTDOWN:
		return VIRT_SHUTTING_DOWN;
	case VIR_DOMAIN_SHUTOFF:
		return VIRT_OFF;
	case VIR_DOMAIN_CRASHED:
		return VIRT_CRASHED;
	default:
		return VIRT_RUNNING;
	}
}

void domain_copy(struct arena *arena, struct list *list, const struct virt_domain *domain)
{
	struct virt_domain *copy = list_add(arena, list, struct virt_domain);

	copy->name = arena_strdup(arena, domain->name);
	copy->uuid = arena_strdup(arena, domain->uuid);
	copy->state = domain->state;
	copy->vm = arena_strdup(arena, domain->vm);
	copy->started_at = arena_strdup(arena, domain->started_at);
	copy->cpus = domain->cpus;
	copy->memory_mib = domain->memory_mib;
	for (LIST_EACH(const struct pci_address, address, &domain->hostdevs))
		*list_add(arena, &copy->hostdevs, struct pci_address) = *address;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct virt_domain *)a)->name, ((const struct virt_domain *)b)->name);
}

void domains_sort(struct list *domains)
{
	if (domains->n)
		qsort(domains->items, domains->n, sizeof(struct virt_domain), by_name);
}

/* A mark that names another VM than the domain's name was copied by hand: it is not ours. */
static void read_xml(const char *xml, struct arena *arena, struct virt_domain *domain)
{
	struct domain_mark mark = domain_xml_mark(xml, arena);

	if (mark.vm && !strcmp(mark.vm, domain->name)) {
		domain->vm = mark.vm;
		domain->started_at = mark.started_at;
	}
	domain_xml_hostdevs(xml, arena, &domain->hostdevs);
}

/*
 * Its QEMU is being started. When that fails, the last that is told may be that its monitor was lost,
 * while it is there still (src/qemu/qemu_process.c, qemuProcessHandleMonitorError).
 */
static bool is_starting(virDomainPtr dom)
{
	int state, reason;

	return !virDomainGetState(dom, &state, &reason, 0) && state == VIR_DOMAIN_PAUSED &&
	       reason == VIR_DOMAIN_PAUSED_STARTING_UP;
}

/* Add it to the list, unless it is over. -1 with the error. */
static int look(struct call *call, virDomainPtr dom)
{
	char uuid[VIR_UUID_STRING_BUFLEN];
	struct virt_domain domain = { .name = virDomainGetName(dom), .uuid = uuid };
	CLEAN_FREE char *xml = NULL;
	virDomainInfo info;
	int r;

	r = virDomainGetInfo(dom, &info);
	if (!r && state_of(info.state) == VIRT_OFF)
		return 0;
	if (!r)
		r = virDomainGetUUIDString(dom, uuid);
	if (!r && !(xml = virDomainGetXMLDesc(dom, 0)))
		r = -1;
	if (r < 0)
		return virt_error_is(VIR_ERR_NO_DOMAIN) ? 0 : virt_failed(&call->err, call->what);
	domain.state = state_of(info.state);
	call->starting |= info.state == VIR_DOMAIN_PAUSED && is_starting(dom);
	domain.cpus = info.nrVirtCpu;
	domain.memory_mib = info.maxMem / 1024;
	read_xml(xml, call->arena, &domain);
	domain_copy(call->arena, &call->domains, &domain);
	return 0;
}

int run_list(struct call *call, virConnectPtr conn)
{
	virDomainPtr *domains = NULL;
	int n = virConnectListAllDomains(conn, &domains, VIR_CONNECT_LIST_DOMAINS_ACTIVE), r = 0;

	if (n < 0)
		return virt_failed(&call->err, call->what);
	for (int i = 0; i < n; i++) {
		if (!r)
			r = look(call, domains[i]);
		virDomainFree(domains[i]);
	}
	free(domains);
	domains_sort(&call->domains);
	return r;
}

int run_look(struct call *call, virConnectPtr conn)
{
	CLEANUP(cleanup_domain) virDomainPtr dom = virDomainLookupByUUID(conn, call->uuid);

	if (!dom)
		return virt_error_is(VIR_ERR_NO_DOMAIN) ? 0 : virt_failed(&call->err, call->what);
	return look(call, dom);
}
