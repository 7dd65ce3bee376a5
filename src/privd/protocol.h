/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What horcruxd and horcrux-privd say to each other, over a SOCK_SEQPACKET socket: one datagram is
 * one message, a request or a reply, each a struct of fixed size in the machine's own byte order
 * (both ends are built together; `version` catches an upgrade in between).
 *
 * - Addresses are numbers. The only strings are names that are no numbers (a driver, a module, an
 *   mdev type), checked by privd_request_check() and again against the machine by privd.
 * - Every field that an operation does not use is zero. A message that breaks this page ends its
 *   connection; one that merely cannot be done is answered with a status.
 * - Every request gets one reply, within the operation's deadline. Replies come in any order and
 *   carry the request's id. An operation that was past its deadline ends with a message nobody
 * asked for: PRIVD_LATE, with the same id, on every connection there is then.
 * - Long answers (`length` > 0) come as a sealed memfd beside the reply: text, raw bytes, or an
 * array of one of the structs below.
 * - A chain is several requests in one message. They are carried out one after the other by one child,
 * and answered together when the last is over. The first change that is not done and proven ends the
 * chain: what follows it is not begun. What only reads ends nothing by failing.
 *
 * Pure; any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/address.h"

#define PRIVD_SOCKET "/run/horcrux-privd.sock"

enum {
	PRIVD_MAGIC = 0x48585031, /* "HXP1" */
	PRIVD_VERSION = 4,
	PRIVD_NAME = 32,	       /* a name with its NUL */
	PRIVD_ADDRESSES = 64,	       /* functions in one request */
	PRIVD_CLASSES = 16,	       /* extra classes that count as cards */
	PRIVD_CHILDREN = 128,	       /* operations alive at once, stuck ones too */
	PRIVD_DEADLINE_MAX_MS = 60000, /* no operation's deadline is later */
	PRIVD_DATA_MAX = 64 << 20, /* bytes of a long answer (the largest option ROM is 16 MiB) */
	PRIVD_CHAIN_MAX = 32,	   /* requests in one chain */
};

/* The closed list. Rows in protocol.c (what a request may carry) and ops.c (what is done). */
enum privd_op {
	PRIVD_NONE,
	PRIVD_PING, /* -> value: privd's pid */
	PRIVD_LIVE, /* -> struct privd_child: operations still under way */
	PRIVD_LATE, /* never asked: operation `ended` of request `id` is over now */
	PRIVD_CHAIN, /* struct privd_chain; answered with struct privd_chain_reply */

	/* Changes to one function: `address`. */
	PRIVD_OVERRIDE, /* name (empty: clear) into driver_override, read back */
	/* from driver `name`, or from whichever it is on; asked with value 1: only where the kernel
	 * counts nobody who has it open, else PRIVD_HELD; -> value 1: link is gone */
	PRIVD_UNBIND,
	PRIVD_BIND,	/* to driver `name`; value 1: the driver link is right */
	PRIVD_PROBE,	/* drivers_probe; value 1: some driver took it */
	PRIVD_VFS,	/* value into sriov_numvfs; -> value: VFs there are then */
	PRIVD_VF_AUTOPROBE, /* value 0 or 1 */
	PRIVD_MDEV_CREATE,  /* type `name`, `uuid` */
	PRIVD_MDEV_REMOVE,  /* `uuid`, which must be below `address` */
	PRIVD_VF_TYPE,	    /* value into nvidia/current_vgpu_type, read back; 0: none */
	PRIVD_POWER,	    /* power/control: value 1 on, 0 auto; read back */
	PRIVD_D3COLD,	    /* d3cold_allowed: value 0 or 1; read back */
	PRIVD_RESET,	    /* the kernel's own choice of method */
	PRIVD_RESET_METHOD, /* value: privd_reset_pack(); 0 is "default" */
	PRIVD_REMOVE,	    /* the device leaves the bus */
	PRIVD_RESCAN,	    /* the bus of `address`, which may be a bridge */
	PRIVD_UNBIND_LOCK,  /* nvidia: value 1 take, 0 give back; -> value: as read back */

	/* Changes to the host. */
	PRIVD_RESCAN_ALL,
	PRIVD_MODULE,	 /* load `name`, one of privd_modules; only where the host root is "/" */
	PRIVD_HUGEPAGES, /* value pages of size_kib on node (-1: all); -> value: as read back */

	/* Reads that need root, run vendor code, or can block. */
	PRIVD_READ_OVERRIDE, /* -> text, empty when unset */
	PRIVD_READ_CONFIG,   /* value 64, 256 or 4096 bytes -> raw; wakes the device */
	PRIVD_READ_ROM,	     /* -> raw; wakes the device */
	PRIVD_READ_VFIO,     /* value: group -> value: PRIVD_GROUP_* */
	/* value: PRIVD_TYPES_* -> struct privd_type: what the card can be cut into now */
	PRIVD_READ_TYPES,
	PRIVD_READ_IOMEM,    /* -> text of /proc/iomem */
	PRIVD_READ_HOLDERS,  /* addresses -> struct privd_holder */
	/* classes, for all functions; addresses: what these carry, displays apart, which need no
	 * root -> struct privd_critical */
	PRIVD_READ_CRITICAL,
	/* addresses: VFs with types of the vendor's -> struct privd_vf_type */
	PRIVD_READ_VF_TYPES,
	PRIVD_READ_LOCK, /* nvidia's unbindLock -> value: 0 or 1 */
	/* value: group, which VFIO accepts and nobody has; addresses, all on vfio. Else PRIVD_MISMATCH,
	 * which ends a chain as a change that failed does. */
	PRIVD_VIABLE,
	PRIVD_OPS
};

enum privd_status {
	PRIVD_OK,
	PRIVD_FAILED,	 /* the kernel said `error` */
	PRIVD_STUCK,	 /* past its deadline, or an earlier one on this address still is */
	PRIVD_BUSY,	 /* another change of this address is under way */
	PRIVD_READ_ONLY, /* ROOT/sys (or ROOT/proc) is no kernel's: nothing is ever written there */
	PRIVD_NO_DEVICE,
	PRIVD_BRIDGE,
	PRIVD_NO_DRIVER, /* no such driver, module, mdev type */
	PRIVD_RANGE,	 /* a number is outside what the operation takes */
	PRIVD_MISMATCH,	 /* written, and reads back otherwise */
	PRIVD_NOT_HERE,	 /* only where the host root is "/" */
	PRIVD_TOO_MANY,
	PRIVD_DIED,	  /* the child was killed: what it did is not known */
	PRIVD_UNREADABLE, /* holders, critical: not all could be read, so nothing is told */
	PRIVD_NO_ANSWER,  /* its configuration space reads ff: no driver may have it */
	PRIVD_HELD,	  /* somebody may have it open: who that is was not looked for */
	PRIVD_STATUSES
};

/* Flags of PRIVD_READ_VFIO. None of them: the group is there and not viable. */
enum privd_group {
	PRIVD_GROUP_VIABLE = 1,	   /* VFIO_GROUP_FLAGS_VIABLE */
	PRIVD_GROUP_CONTAINER = 2, /* VFIO_GROUP_FLAGS_CONTAINER_SET */
	PRIVD_GROUP_HELD = 4,	   /* open fails with EBUSY: somebody has it */
};

struct privd_header {
	uint32_t magic;
	uint16_t version;
	uint16_t op;   /* enum privd_op */
	uint64_t id;   /* chosen by the asker; not 0 */
	uint32_t size; /* of the whole message */
	uint32_t zero;
};

struct privd_address {
	uint32_t domain;
	uint8_t bus, device, function;
	uint8_t set; /* 1 in an address that is used, all 0 otherwise */
};

struct privd_request {
	struct privd_header header;
	struct privd_address address;
	uint64_t value;
	uint32_t size_kib;
	int32_t node;
	char name[PRIVD_NAME]; /* [A-Za-z0-9_-], zero from its end to the end of the field */
	uint8_t uuid[16];
	uint16_t classes[PRIVD_CLASSES];
	uint32_t n_classes;
	uint32_t n_addresses;
	struct privd_address addresses[PRIVD_ADDRESSES];
};

struct privd_reply {
	struct privd_header header;
	struct privd_address address;
	uint16_t status; /* enum privd_status */
	uint16_t ended;	 /* PRIVD_LATE: the operation; else 0 */
	int32_t error;	 /* +errno; 0 where there is none */
	uint64_t value;
	uint64_t length; /* bytes in the memfd beside this reply; 0: there is none */
	uint32_t pid;	 /* STUCK, BUSY, LATE: the child; else 0 */
	uint32_t zero;
};

/* `header.size` counts only the requests that there are; each has an id of its own. */
struct privd_chain {
	struct privd_header header;
	uint32_t n;
	uint32_t zero;
	struct privd_request request[PRIVD_CHAIN_MAX];
};

/*
 * Those that were begun, in order; the last of them may not have come back (PRIVD_STUCK). Their long
 * answers lie one behind the other in one memfd. Where none was begun: why, by the one that cannot be.
 */
struct privd_chain_reply {
	struct privd_header header;
	uint32_t n;
	uint32_t zero;
	struct privd_reply reply[PRIVD_CHAIN_MAX];
};

/* One operation still under way. The same child is told by pid and start time together. */
struct privd_child {
	uint64_t id;
	uint64_t start_time; /* clock ticks since boot, /proc/<pid>/stat field 22 */
	int64_t since_ms;    /* CLOCK_REALTIME */
	struct privd_address address;
	uint32_t pid;
	uint16_t op;
	uint8_t stuck; /* past its deadline, or left by a privd that is no more */
	uint8_t write; /* it changes something */
};

struct privd_holder {
	int64_t pid; /* 0: the kernel */
	struct privd_address address;
	char kind[16], name[64], node[64], since[32], unit[128]; /* empty: not known */
};

struct privd_critical {
	struct privd_address address;
	char code[24], why[232], evidence[232];
};

/* How much of the types is read: each is three files. */
enum privd_types { PRIVD_TYPES_WHOLE, PRIVD_TYPES_COUNTS /* without name and description */ };

/* What a VF is set to. */
struct privd_vf_type {
	struct privd_address address;
	uint64_t type;	/* 0: none */
	int32_t error;	/* errno of its reading; then type says nothing */
	uint8_t zero[4];
};

struct privd_type {
	int64_t available; /* instances still to be had; -1: not told */
	char id[64];	   /* mdev directory, or the number as text */
	char name[64];
	char description[512];
	uint8_t vendor_vf; /* 1: from nvidia/creatable_vgpu_types, 0: an mdev type */
	uint8_t zero[7];
};

_Static_assert(sizeof(struct privd_header) == 24, "no padding");
_Static_assert(sizeof(struct privd_address) == 8, "no padding");
_Static_assert(sizeof(struct privd_request) == 648, "no padding");
_Static_assert(sizeof(struct privd_reply) == 64, "no padding");
_Static_assert(sizeof(struct privd_chain) == 32 + PRIVD_CHAIN_MAX * 648, "no padding");
_Static_assert(sizeof(struct privd_chain_reply) == 32 + PRIVD_CHAIN_MAX * 64, "no padding");
_Static_assert(sizeof(struct privd_child) == 40, "no padding");
_Static_assert(sizeof(struct privd_holder) == 320, "no padding");
_Static_assert(sizeof(struct privd_critical) == 496, "no padding");
_Static_assert(sizeof(struct privd_type) == 656, "no padding");
_Static_assert(sizeof(struct privd_vf_type) == 24, "no padding");

struct pci_address privd_address_in(struct privd_address address);
/* One that is set. */
struct privd_address privd_address_out(struct pci_address address);

/* "unbind", "read_rom": for logs, faults and messages; "none" for what is no operation. */
const char *privd_op_name(unsigned op);
/* May this text stand in a request's `name`? What may not cannot be written, so not put back. */
bool privd_name_fits(const char *text);
/* PRIVD_NONE when there is none of that name. */
enum privd_op privd_op_find(const char *name);
bool privd_op_writes(unsigned op);
/* "ok", "read_only". */
const char *privd_status_name(unsigned status);

/*
 * Is it a well-formed request? Checks everything that can be told without the machine: size, magic,
 * version, operation, fields that must and must not be set, bytes of names. NULL when it is; else a
 * static string saying what is wrong. *out is filled only then.
 */
const char *privd_request_check(const void *bytes, size_t n, struct privd_request *out);
/*
 * The same for whatever a daemon may send: a chain, or a request alone, which comes out as a chain of
 * one under its own header (its operation, not PRIVD_CHAIN).
 */
const char *privd_message_check(const void *bytes, size_t n, struct privd_chain *out);
/* Bytes of a chain, or of its reply, of n. */
size_t privd_chain_size(size_t n);
size_t privd_chain_reply_size(size_t n);
/* Does a chain go on only if that was done? */
bool privd_op_ends(unsigned op);
/* May it stand in a chain? What is answered without a child may not, nor what its child must not outlive. */
bool privd_op_chains(unsigned op);

/* The modules that may be loaded, NULL-terminated, sorted. */
extern const char *const privd_modules[];

/*
 * Words of reset_method in one number: up to seven, the first in the low nibble. 0 is "default".
 * UINT64_MAX, which privd refuses, when one of them is no such word.
 */
uint64_t privd_reset_pack(const char *const *words, size_t n);
/* Writes the words into buf; false when the number is not one of privd_reset_pack's. */
bool privd_reset_unpack(uint64_t packed, char *buf, size_t size);
