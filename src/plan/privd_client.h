/* SPDX-License-Identifier: Apache-2.0 */
/*
 * horcruxd's end of the socket to horcrux-privd. Calls come from any task thread and block until
 * the reply, which comes within the operation's deadline (privd's table); many may be under way at
 * once. One thread of its own reads replies and late news and connects again when privd was
 * restarted.
 *
 * Errors of every call, each with a message for people, and a hint where there is something to do:
 *
 * - ERROR_HELPER: privd cannot be reached, or died with the call under way. Then nobody knows what
 *   happened, and privd_live() must be asked before that card is written to again.
 * - ERROR_STUCK: it did not come back in time, or an earlier operation on that address has not. Who
 *   does it lives on (privd_live), and its end is told to events.late.
 * - ERROR_CONFLICT: the kernel or the driver said no, or another change is under way.
 * - ERROR_READ_ONLY: this host root is no kernel's.
 * - ERROR_GONE: there is no such device (any more).
 * - ERROR_NO_ANSWER: its configuration space reads ff; nothing was written.
 * - ERROR_PROOF_FAILED: written, and reads back otherwise.
 * - ERROR_INVALID_VALUE, ERROR_TOO_MANY, ERROR_SYSTEM.
 */
#pragma once

#include <sys/types.h>

#include "base/address.h"
#include "base/arena.h"
#include "base/error.h"
#include "host/pci.h"
#include "plan/step.h"
#include "privd/protocol.h"

struct privd;

/* Called in the reading thread, no lock held; must not call back into privd, nor block long. */
struct privd_events {
	void *data;
	/* An operation that was past its deadline is over: reply->header.id, ->ended, ->address. */
	void (*late)(void *data, const struct privd_reply *reply);
	/* There is a connection, the first or one after it was lost. */
	void (*connected)(void *data);
	/* It was lost; there is none now. */
	void (*lost)(void *data);
};

/*
 * path: the listening socket (PRIVD_SOCKET), connected to again whenever it is lost; or NULL, and
 * connections are handed in with privd_attach(). events may be NULL. NULL with an error when there
 * is no memory or thread; that privd does not answer is no error here.
 */
struct privd *privd_new(const char *path, const struct privd_events *events, struct error *err);
/* Ends the thread; calls still under way answer ERROR_HELPER. No call may begin after. */
void privd_free(struct privd *privd);
DEFINE_CLEANUP(struct privd *, privd_free)

/*
 * A connected socket (of a socketpair whose other end a fresh privd has). Takes fd. The privd
 * before must have been reaped: what its children did is settled only then.
 */
void privd_attach(struct privd *privd, int fd);

/* Is there a connection now? For health; never blocks. */
bool privd_connected(struct privd *privd);

/* The number for a request's header.id that has never been used: for who wants to note it first. */
uint64_t privd_next_id(struct privd *privd);

/* A request with its header filled in (id 0: privd_call gives it one). Address may be NULL. */
struct privd_request privd_request_new(enum privd_op op, const struct pci_address *address);

/* A long answer: `length` bytes of the reply, in a sealed memfd from `at` on. fd -1: there is none. */
struct privd_data {
	int fd;
	off_t at;
};

/*
 * Ask and wait. 0: the status is PRIVD_OK. -1: err; *reply is filled in when there was one. data:
 * the long answer, whose fd is the caller's to close; NULL: it is not wanted.
 */
int privd_call(struct privd *privd, const struct privd_request *request, struct privd_reply *reply,
	       struct error *err);
int privd_call_data(struct privd *privd, const struct privd_request *request,
		    struct privd_reply *reply, struct privd_data *data, struct error *err);
/*
 * Ask for reads (n, at most PRIVD_CHAIN_MAX) with one message, and do not wait. Until privd_ahead_end()
 * the same requests by this thread, by whichever call below, are answered with what they read then. What
 * failed is asked for again when it is wanted, so nothing is told of failure here. One at a time for each
 * thread, which ends it before it ends itself, and before privd_free(). What is not wanted in the end is
 * not waited for; privd_ahead_wait() does.
 */
void privd_ahead(struct privd *privd, const struct privd_request *requests, size_t n);
void privd_ahead_wait(void);
void privd_ahead_end(void);
/*
 * Several requests (n, at most PRIVD_CHAIN_MAX; ids are given here) that the helper carries out in order,
 * as engine_config.chain says. What they read is not handed out.
 */
int privd_chain(struct privd *privd, const struct privd_request *requests, size_t n,
		const struct chain_watch *watch, size_t *done, size_t *begun, struct error *err);
/* The error for a reply whose status is not PRIVD_OK; -1. why: the text of PRIVD_UNREADABLE. */
int privd_error(const struct privd_request *request, const struct privd_reply *reply,
		const char *why, struct error *err);

int privd_ping(struct privd *privd, int64_t *pid, struct error *err);
/* What has not come back yet: struct privd_child in the arena. Their number, or -1. */
int privd_live(struct privd *privd, struct arena *arena, struct list *children, struct error *err);

/* Changes. 0, or -1. Unless said otherwise, that the world is so now is for the caller to prove. */

/* driver NULL or "": clear. Read back. */
int privd_override(struct privd *privd, struct pci_address address, const char *driver,
		   struct error *err);
/* driver NULL: whichever it is on. On none, or on another than that: ERROR_CONFLICT. */
int privd_unbind(struct privd *privd, struct pci_address address, const char *driver,
		 struct error *err);
int privd_bind(struct privd *privd, struct pci_address address, const char *driver,
	       struct error *err);
/* Let the kernel choose. *bound (may be NULL): some driver took it. */
int privd_probe(struct privd *privd, struct pci_address address, bool *bound, struct error *err);
/* *enabled (may be NULL): how many there are then, which may be fewer. */
int privd_vfs(struct privd *privd, struct pci_address address, unsigned vfs, unsigned *enabled,
	      struct error *err);
int privd_vf_autoprobe(struct privd *privd, struct pci_address address, bool on, struct error *err);
/* uuid as text. */
int privd_mdev_create(struct privd *privd, struct pci_address address, const char *type,
		      const char *uuid, struct error *err);
int privd_mdev_remove(struct privd *privd, struct pci_address address, const char *uuid,
		      struct error *err);
/* 0: none. Read back. */
int privd_vf_type(struct privd *privd, struct pci_address address, uint32_t type,
		  struct error *err);
/* power/control "on" (stays awake) or "auto". Read back. */
int privd_power(struct privd *privd, struct pci_address address, bool on, struct error *err);
int privd_d3cold(struct privd *privd, struct pci_address address, bool allowed, struct error *err);
int privd_reset(struct privd *privd, struct pci_address address, struct error *err);
/* words: as in reset_method, `n` of them; 0: the default. */
int privd_reset_method(struct privd *privd, struct pci_address address, const char *const *words,
		       size_t n, struct error *err);
int privd_remove(struct privd *privd, struct pci_address address, struct error *err);
/* address NULL: all buses; else the bus that it, a bridge perhaps, is on, and what is below. */
int privd_rescan(struct privd *privd, const struct pci_address *address, struct error *err);
/* NVIDIA's lock against new users, to be had only while there are none (else ERROR_CONFLICT). */
int privd_unbind_lock(struct privd *privd, struct pci_address address, bool take,
		      struct error *err);
/* Is it taken? */
int privd_read_lock(struct privd *privd, struct pci_address address, bool *taken,
		    struct error *err);
int privd_module(struct privd *privd, const char *name, struct error *err);
/* node -1: the whole host. *got (may be NULL): how many there are then, which may be fewer. */
int privd_hugepages(struct privd *privd, uint32_t size_kib, int node, uint64_t pages, uint64_t *got,
		    struct error *err);

/* Reads. Everything in the arena. */

/* *ret "" when unset. */
int privd_read_override(struct privd *privd, struct pci_address address, struct arena *arena,
			const char **ret, struct error *err);
/* size 64, 256 or 4096. Wakes the device. *n: what there was. */
int privd_read_config(struct privd *privd, struct pci_address address, size_t size,
		      struct arena *arena, const uint8_t **bytes, size_t *n, struct error *err);
int privd_read_rom(struct privd *privd, struct pci_address address, struct arena *arena,
		   const uint8_t **bytes, size_t *n, struct error *err);
/* *flags: PRIVD_GROUP_*. */
int privd_vfio_status(struct privd *privd, int group, unsigned *flags, struct error *err);
/* PRIVD_VIABLE; at most PRIVD_ADDRESSES, of struct pci_address. */
struct privd_request privd_ask_viable(int group, const struct list *addresses);
/* The requests of privd_carried, privd_read_override, privd_vfio_status, privd_iomem: for privd_ahead(). */
struct privd_request privd_ask_carried(const struct list *addresses);
struct privd_request privd_ask_override(struct pci_address address);
struct privd_request privd_ask_vfio(int group);
struct privd_request privd_ask_iomem(void);
/* struct privd_type; value: enum privd_types. */
int privd_types(struct privd *privd, struct pci_address address, enum privd_types value,
		struct arena *arena, struct list *types, struct error *err);
/* struct privd_vf_type of each of these (struct pci_address). */
int privd_vf_types(struct privd *privd, const struct list *addresses, struct arena *arena,
		   struct list *types, struct error *err);
int privd_iomem(struct privd *privd, struct arena *arena, const char **text, struct error *err);
/* addresses: struct pci_address, any number. holders: struct holder (host/holders.h). */
int privd_holders(struct privd *privd, const struct list *addresses, struct arena *arena,
		  struct list *holders, struct error *err);
/* As critical_find() and critical_carried() of host/critical.h. critical: struct critical;
 * addresses: struct pci_address, any number. */
int privd_carried(struct privd *privd, const struct list *addresses, struct arena *arena,
		  struct list *critical, struct error *err);
int privd_critical(struct privd *privd, const struct class_filter *filter, struct arena *arena,
		   struct list *critical, struct error *err);
