/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is done to domains of ours, and what the host can. run_* are in calls' threads.
 *
 * A domain is found by its name and believed to be ours by its mark alone: somebody else's of the
 * same name is as if it were not there.
 */
#include <string.h>

#include "vm/domain_xml.h"
#include "vm/libvirt_parts.h"

/*
 * 1 it is active and ours (*ret is the caller's to free; XML in call->answer), 0 it is not, -1 with
 * call->err.
 */
static int find(struct call *call, virConnectPtr conn, virDomainPtr *ret)
{
	CLEANUP(cleanup_domain) virDomainPtr dom = virDomainLookupByName(conn, call->name);
	CLEAN_FREE char *xml = NULL;
	struct domain_mark mark;
	int active;

	if (!dom)
		return virt_error_is(VIR_ERR_NO_DOMAIN) ? 0 : virt_failed(&call->err, call->what);
	active = virDomainIsActive(dom);
	if (active == 1)
		xml = virDomainGetXMLDesc(dom, 0);
	if (active < 0 || (active && !xml))
		return virt_error_is(VIR_ERR_NO_DOMAIN) ? 0 : virt_failed(&call->err, call->what);
	if (!active)
		return 0;
	mark = domain_xml_mark(xml, call->arena);
	if (!mark.vm || strcmp(mark.vm, call->name))
		return 0;
	call->answer = arena_strdup(call->arena, xml);
	*ret = TAKE_PTR(dom);
	return 1;
}

static int not_running(struct call *call)
{
	error_set(&call->err, ERROR_NOT_FOUND, "%s is not running", call->name);
	return error_hint(&call->err, "start it first");
}

static int run_create(struct call *call, virConnectPtr conn)
{
	CLEANUP(cleanup_domain) virDomainPtr dom = NULL;
	char now[TIME_TEXT];

	dom = virDomainCreateXML(conn, domain_xml_started(call->text, time_now(now), call->arena),
				 VIR_DOMAIN_START_VALIDATE);
	return dom ? 0 : virt_failed(&call->err, call->what);
}

/* No guest agent is configured, so without flags this is the ACPI button. */
static int run_shutdown(struct call *call, virConnectPtr conn)
{
	CLEANUP(cleanup_domain) virDomainPtr dom = NULL;
	int r = find(call, conn, &dom);

	if (r <= 0)
		return r < 0 ? r : not_running(call);
	return virDomainShutdownFlags(dom, 0) < 0 ? virt_failed(&call->err, call->what) : 0;
}

static int run_reboot(struct call *call, virConnectPtr conn)
{
	CLEANUP(cleanup_domain) virDomainPtr dom = NULL;
	int r = find(call, conn, &dom);

	if (r <= 0)
		return r < 0 ? r : not_running(call);
	return virDomainReboot(dom, 0) < 0 ? virt_failed(&call->err, call->what) : 0;
}

/* It may end by itself meanwhile: then it is no longer there, or no longer running. */
static int run_destroy(struct call *call, virConnectPtr conn)
{
	CLEANUP(cleanup_domain) virDomainPtr dom = NULL;
	int r = find(call, conn, &dom);

	if (r <= 0)
		return r;
	if (!virDomainDestroy(dom) || virt_error_is(VIR_ERR_NO_DOMAIN))
		return 0;
	r = virt_failed(&call->err, call->what);
	return virDomainIsActive(dom) == 0 ? 0 : r;
}

static int run_active(struct call *call, virConnectPtr conn)
{
	CLEANUP(cleanup_domain) virDomainPtr dom = NULL;
	int state = VIR_DOMAIN_NOSTATE, r = find(call, conn, &dom);

	if (r <= 0)
		return r;
	if (virDomainGetState(dom, &state, NULL, 0) < 0)
		return virt_error_is(VIR_ERR_NO_DOMAIN) ? 0 : virt_failed(&call->err, call->what);
	call->state = state_of(state);
	call->active = call->state != VIRT_OFF;
	return 0;
}

static int run_xml(struct call *call, virConnectPtr conn)
{
	CLEANUP(cleanup_domain) virDomainPtr dom = NULL;
	int r = find(call, conn, &dom);

	return r == 0 ? not_running(call) : r < 0 ? -1 : 0;
}

/* ---- */

int virt_create(struct virt *virt, const char *xml, struct error *err)
{
	CLEAN_CALL struct call *call = call_new(CALL_START, "starting the domain", run_create);

	call->text = arena_strdup(call->arena, xml);
	return virt_do(virt, call, err);
}

static struct call *named(enum call_limit limit, const char *what,
			  int (*run)(struct call *call, virConnectPtr conn), const char *name)
{
	struct call *call = call_new(limit, what, run);

	call->name = arena_strdup(call->arena, name);
	return call;
}

int virt_shutdown(struct virt *virt, const char *name, struct error *err)
{
	CLEAN_CALL struct call *call = named(CALL_ASK, "pressing the guest's power button",
					     run_shutdown, name);

	return virt_do(virt, call, err);
}

int virt_reboot(struct virt *virt, const char *name, struct error *err)
{
	CLEAN_CALL struct call *call = named(CALL_ASK, "restarting the guest", run_reboot, name);

	return virt_do(virt, call, err);
}

int virt_destroy(struct virt *virt, const char *name, struct error *err)
{
	CLEAN_CALL struct call *call = named(CALL_CHANGE, "ending the domain", run_destroy, name);

	return virt_do(virt, call, err);
}

int virt_active(struct virt *virt, const char *name, enum virt_state *state, struct error *err)
{
	CLEAN_CALL struct call *call = named(CALL_ASK, "asking whether the domain runs", run_active,
					     name);

	if (virt_do(virt, call, err) < 0)
		return -1;
	if (call->active && state)
		*state = call->state;
	return call->active;
}

int virt_domains_now(struct virt *virt, struct arena *arena, struct list *domains, struct error *err)
{
	CLEAN_CALL struct call *call = call_new(CALL_ASK, "listing what runs", run_list);

	if (virt_do(virt, call, err) < 0)
		return -1;
	for (LIST_EACH(const struct virt_domain, domain, &call->domains))
		domain_copy(arena, domains, domain);
	return 0;
}

int virt_domain_xml(struct virt *virt, const char *name, struct arena *arena, const char **xml,
		    struct error *err)
{
	CLEAN_CALL struct call *call = named(CALL_ASK, "reading the domain's XML", run_xml, name);

	if (virt_do(virt, call, err) < 0)
		return -1;
	*xml = arena_strdup(arena, call->answer);
	return 0;
}

/* ---- the host ---- */

/* libvirt refuses the question when the type is not there; any other error is no answer. */
static int ask_kvm(struct call *call, virConnectPtr conn)
{
	CLEAN_FREE char *xml = virConnectGetDomainCapabilities(conn, NULL, "x86_64", "q35", "kvm",
							       0);

	call->host.kvm = xml != NULL;
	if (xml || virt_error_is(VIR_ERR_INVALID_ARG) ||
	    virt_error_is(VIR_ERR_CONFIG_UNSUPPORTED) || virt_error_is(VIR_ERR_NO_SUPPORT))
		return 0;
	return virt_failed(&call->err, call->what);
}

static int ask_versions(struct call *call, virConnectPtr conn)
{
	unsigned long libvirt = 0, qemu = 0;

	if (virConnectGetLibVersion(conn, &libvirt) < 0 || virConnectGetVersion(conn, &qemu) < 0)
		return virt_failed(&call->err, call->what);
	call->host.libvirt = libvirt;
	call->host.qemu = qemu;
	return 0;
}

/* In KiB: what is free, and the caches that give way. 0: this driver does not tell. */
static uint64_t memory_available(virConnectPtr conn)
{
	static const char *const wanted[] = { VIR_NODE_MEMORY_STATS_FREE,
					      VIR_NODE_MEMORY_STATS_BUFFERS,
					      VIR_NODE_MEMORY_STATS_CACHED };
	virNodeMemoryStats stats[16];
	int n = 0;
	uint64_t sum = 0;

	/* It wants the very number that it has (src/util/virhostmem.c, virHostMemGetStatsLinux). */
	if (virNodeGetMemoryStats(conn, VIR_NODE_MEMORY_STATS_ALL_CELLS, NULL, &n, 0) < 0 ||
	    n > (int)ARRAY_SIZE(stats) ||
	    virNodeGetMemoryStats(conn, VIR_NODE_MEMORY_STATS_ALL_CELLS, stats, &n, 0) < 0)
		return virNodeGetFreeMemory(conn) / 1024;
	for (int i = 0; i < n; i++)
		for (size_t w = 0; w < ARRAY_SIZE(wanted); w++)
			if (!strcmp(stats[i].field, wanted[w]))
				sum += stats[i].value;
	return sum;
}

/* Versions and KVM are asked once per connection: the first answer may take QEMU to be run. */
static int run_host(struct call *call, virConnectPtr conn)
{
	bool known = link_host(call->link, &call->host);
	virNodeInfo info;

	if (!known && (ask_versions(call, conn) < 0 || ask_kvm(call, conn) < 0))
		return -1;
	if (!known)
		link_keep_host(call->link, &call->host);
	if (virNodeGetInfo(conn, &info) < 0)
		return virt_failed(&call->err, call->what);
	call->host.cpus = info.cpus;
	call->host.memory_mib = info.memory / 1024;
	call->host.memory_free_mib = memory_available(conn) / 1024;
	return 0;
}

int virt_host(struct virt *virt, struct virt_host *ret, struct error *err)
{
	CLEAN_CALL struct call *call = call_new(CALL_PROBE, "asking what the host can", run_host);

	if (virt_do(virt, call, err) < 0)
		return -1;
	*ret = call->host;
	return 0;
}
