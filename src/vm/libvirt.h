/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connection to libvirt: opened in the background and again whenever it is lost (back-off, at
 * most 5 s), with keepalive. One event thread for the process, for ever. Calls come from task
 * threads, block until libvirt answered or their deadline passed, and then abandon the connection
 * and answer ERROR_LIBVIRT with what to do, so a hanging libvirtd costs a thread, never the daemon.
 * A call made while the first connection (or the first try after a loss) is still being opened
 * waits for it. What runs is asked of libvirt and copied nowhere, but for a list of running domains
 * that events keep fresh (and a look now and then, for what libvirt does not tell), so that reading VMs
 * asks nothing.
 *
 * Errors of every call: ERROR_LIBVIRT (no connection, or no answer in time), ERROR_LIBVIRT_FAILED
 * (libvirt answers, and it or QEMU could not do it), ERROR_STORE (no room for it), ERROR_NOT_FOUND,
 * ERROR_EXISTS, ERROR_CONFLICT (busy, or in a state that does not allow it), ERROR_INTERNAL
 * (libvirt finds our XML wrong); libvirt's words in one line, and a hint. Out-parameters are
 * untouched on failure. Every function but virt_free(): any thread, but not the event callbacks'
 * thread.
 */
#pragma once

#include "base/arena.h"
#include "base/error.h"
#include "host/pci.h"

struct virt;

enum virt_state { VIRT_OFF, VIRT_RUNNING, VIRT_PAUSED, VIRT_SHUTTING_DOWN, VIRT_CRASHED };

struct virt_domain {
	const char *name;
	const char *uuid;
	enum virt_state state;
	const char *vm;	      /* the VM's id, equal to name; NULL: it is somebody else's */
	struct list hostdevs; /* struct pci_address that it has */
	unsigned cpus;	      /* that it runs with; 0: not known */
	uint64_t memory_mib;
	/* RFC 3339; NULL: not known (not ours, and started before anybody looked). */
	const char *started_at;
};

/*
 * News, from a thread of this file's own. The receiver hands them on (a queue) and returns: it
 * calls nothing here but virt_domains(), which already shows what is told.
 */
struct virt_events {
	void *data;
	/*
	 * A domain started, stopped, paused, resumed, crashed or rebooted (state RUNNING, gone
	 * false); libvirt lost its monitor. gone: this run of it is over, and state says how (OFF
	 * or CRASHED); one that was started again at once is told as gone and then as running. A
	 * domain of ours is named as its VM, so a gone name may always be looked up as a VM id;
	 * that is also how an end is told which was over before anybody could read whose domain it
	 * was.
	 */
	void (*domain)(void *data, const char *name, enum virt_state state, bool gone);
	/* There is a connection (anew), or news were missed: everything may have changed meanwhile. */
	void (*connected)(void *data);
};

/*
 * uri NULL: no libvirt at all (every call answers ERROR_LIBVIRT). events NULL: nobody listens.
 * Never fails for a silent libvirtd, and does not wait for it; NULL when no thread can be started.
 * virt_free: no call may be under way in other threads. Waits for no libvirtd; no news after it.
 */
struct virt *virt_new(const char *uri, const struct virt_events *events, struct error *err);
void virt_free(struct virt *virt);
DEFINE_CLEANUP(struct virt *, virt_free)
/* Was there a URI? False: no connection will ever be. */
bool virt_configured(const struct virt *virt);
/* True: there is a connection. Else err says why not, and what to do. Never waits. */
bool virt_connected(struct virt *virt, struct error *err);

/*
 * All active domains as news has them, sorted by name: struct virt_domain in the arena. Never
 * waits. -1 while there is no connection: what runs is then unknown.
 */
int virt_domains(struct virt *virt, struct arena *arena, struct list *domains, struct error *err);
/* The same as libvirt has them now: for who would refuse something because of one. Asks libvirt. */
int virt_domains_now(struct virt *virt, struct arena *arena, struct list *domains, struct error *err);

/*
 * Domains of ours, by VM id. Somebody else's domain that has the name counts as not there, so that
 * it can neither be stopped nor taken for a VM (to create one beside it is ERROR_EXISTS).
 */
/* Start a transient domain, checked by libvirt's schema; when it started goes into its mark. */
int virt_create(struct virt *virt, const char *xml, struct error *err);
/* The ACPI button. not_found. */
int virt_shutdown(struct virt *virt, const char *name, struct error *err);
/* The ACPI button, then a reset in place of the end. not_found. */
int virt_reboot(struct virt *virt, const char *name, struct error *err);
/* Gone already: 0. */
int virt_destroy(struct virt *virt, const char *name, struct error *err);
/* 1 it is active (state, NULL: not wanted), 0 it is not, -1 cannot be told. Asks libvirt. */
int virt_active(struct virt *virt, const char *name, enum virt_state *state, struct error *err);
/* The live XML in the arena. not_found when it is not active. */
int virt_domain_xml(struct virt *virt, const char *name, struct arena *arena, const char **xml,
		    struct error *err);

struct virt_host {
	uint64_t libvirt, qemu;	  /* as libvirt numbers them: 9007000. Asked once per connection */
	bool kvm;		  /* domain type kvm is there. Asked once per connection */
	uint64_t memory_free_mib; /* free, or in caches that give way. Asked each time */
	uint64_t memory_mib;	  /* all there is. Asked each time */
	unsigned cpus;		  /* asked each time */
};
int virt_host(struct virt *virt, struct virt_host *ret, struct error *err);

/*
 * Storage: directory pools and volumes by name. Each call may be done again.
 * A pool that is not there is an answer for virt_pool_state() and virt_pool_unmake(), else
 * not_found.
 */
/* path (in the arena) NULL when it is not defined. Every out-parameter may be NULL. */
int virt_pool_state(struct virt *virt, const char *pool, bool *defined, bool *active,
		    struct arena *arena, const char **path, struct error *err);
/*
 * Define what is not defined, make the directory (0711), start it, and have libvirt start it at
 * boot. conflict when the pool is there with another path.
 */
int virt_pool_make(struct virt *virt, const char *pool, const char *path, struct error *err);
/* Stop and undefine it; the directory and what is in it stay. */
int virt_pool_unmake(struct virt *virt, const char *pool, struct error *err);
/*
 * 1 there (path, format in the arena, capacity in bytes; each may be NULL), 0 not, -1. The pool is
 * refreshed before a volume counts as not there.
 */
int virt_volume(struct virt *virt, const char *pool, const char *name, struct arena *arena,
		const char **path, const char **format, uint64_t *bytes, struct error *err);
/* format: qcow2 or raw, sparse. exists when there is such a volume or file. */
int virt_volume_make(struct virt *virt, const char *pool, const char *name, uint64_t bytes,
		     const char *format, struct error *err);
/* After a refresh, so also what libvirt or somebody else put there. Not there: 0. */
int virt_volume_delete(struct virt *virt, const char *pool, const char *name, struct error *err);
/* Bytes that are free in the pool's file system. */
int virt_pool_space(struct virt *virt, const char *pool, uint64_t *bytes, struct error *err);

/*
 * Networks by name. Not defined: an answer for virt_network_state() and virt_network_stop(), else
 * not_found. Already so: 0.
 */
int virt_network_state(struct virt *virt, const char *network, bool *defined, bool *active,
		       struct error *err);
int virt_network_start(struct virt *virt, const char *network, struct error *err);
int virt_network_stop(struct virt *virt, const char *network, struct error *err);
