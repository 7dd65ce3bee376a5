/* SPDX-License-Identifier: Apache-2.0 */
/* libvirt's networks: there or not, started or not. run_* are in calls' threads. */
#include "vm/libvirt_parts.h"

/* 1, 0 there is none, -1. */
static int find(struct call *call, virConnectPtr conn, virNetworkPtr *ret)
{
	*ret = virNetworkLookupByName(conn, call->name);
	if (*ret)
		return 1;
	return virt_error_is(VIR_ERR_NO_NETWORK) ? 0 : virt_failed(&call->err, call->what);
}

static int run_state(struct call *call, virConnectPtr conn)
{
	CLEANUP(cleanup_network) virNetworkPtr network = NULL;
	int active, r = find(call, conn, &network);

	if (r <= 0)
		return r;
	active = virNetworkIsActive(network);
	call->defined = true;
	call->active = active == 1;
	return active < 0 ? virt_failed(&call->err, call->what) : 0;
}

/* Somebody else may do the same meanwhile: what counts is how it then stands. */
static int run_start(struct call *call, virConnectPtr conn)
{
	CLEANUP(cleanup_network) virNetworkPtr network = virNetworkLookupByName(conn, call->name);
	int r;

	if (!network)
		return virt_failed(&call->err, call->what);
	if (virNetworkIsActive(network) == 1 || virNetworkCreate(network) == 0)
		return 0;
	r = virt_failed(&call->err, call->what);
	return virNetworkIsActive(network) == 1 ? 0 : r;
}

static int run_stop(struct call *call, virConnectPtr conn)
{
	CLEANUP(cleanup_network) virNetworkPtr network = NULL;
	int r = find(call, conn, &network);

	if (r <= 0)
		return r;
	if (virNetworkIsActive(network) == 0 || virNetworkDestroy(network) == 0)
		return 0;
	r = virt_failed(&call->err, call->what);
	return virNetworkIsActive(network) == 0 ? 0 : r;
}

static struct call *of_network(enum call_limit limit, const char *what,
			       int (*run)(struct call *call, virConnectPtr conn), const char *name)
{
	struct call *call = call_new(limit, what, run);

	call->name = arena_strdup(call->arena, name);
	return call;
}

int virt_network_state(struct virt *virt, const char *network, bool *defined, bool *active,
		       struct error *err)
{
	CLEAN_CALL struct call *call = of_network(CALL_ASK, "asking for the network", run_state,
						  network);

	if (virt_do(virt, call, err) < 0)
		return -1;
	if (defined)
		*defined = call->defined;
	if (active)
		*active = call->active;
	return 0;
}

int virt_network_start(struct virt *virt, const char *network, struct error *err)
{
	CLEAN_CALL struct call *call = of_network(CALL_CHANGE, "starting the network", run_start,
						  network);

	return virt_do(virt, call, err);
}

int virt_network_stop(struct virt *virt, const char *network, struct error *err)
{
	CLEAN_CALL struct call *call = of_network(CALL_CHANGE, "stopping the network", run_stop,
						  network);

	return virt_do(virt, call, err);
}
