/* SPDX-License-Identifier: Apache-2.0 */
/* See protocol.h. What can be checked without the machine is here; the rest is in ops.c. */
#include "privd/protocol.h"

#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"

enum field {
	ADDRESS = 1, /* must be set */
	NAME = 2,    /* must be set */
	NAME_MAYBE = 4,
	VALUE = 8,
	UUID = 16,
	CLASSES = 32,
	ADDRESSES = 64, /* at least one */
	ADDRESSES_MAYBE = 128,
	PAGES = 256,  /* size_kib and node */
	WRITES = 512, /* no field: the operation changes something */
	NEVER = 1024, /* nobody may ask for it */
	ALONE = 2048, /* in no chain */
	ENDS = 4096,  /* a chain, when it is not so */
};

static const struct {
	const char *name;
	unsigned fields;
} ops[PRIVD_OPS] = {
	[PRIVD_NONE] = { "none", NEVER },
	[PRIVD_PING] = { "ping", ALONE },
	[PRIVD_LIVE] = { "live", ALONE },
	[PRIVD_LATE] = { "late", NEVER },
	[PRIVD_CHAIN] = { "chain", NEVER },
	[PRIVD_OVERRIDE] = { "override", ADDRESS | NAME_MAYBE | WRITES },
	[PRIVD_UNBIND] = { "unbind", ADDRESS | NAME_MAYBE | VALUE | WRITES },
	[PRIVD_BIND] = { "bind", ADDRESS | NAME | WRITES },
	[PRIVD_PROBE] = { "probe", ADDRESS | WRITES },
	[PRIVD_VFS] = { "vfs", ADDRESS | VALUE | WRITES },
	[PRIVD_VF_AUTOPROBE] = { "vf_autoprobe", ADDRESS | VALUE | WRITES },
	[PRIVD_MDEV_CREATE] = { "mdev_create", ADDRESS | NAME | UUID | WRITES },
	[PRIVD_MDEV_REMOVE] = { "mdev_remove", ADDRESS | UUID | WRITES },
	[PRIVD_VF_TYPE] = { "vf_type", ADDRESS | VALUE | WRITES },
	[PRIVD_POWER] = { "power", ADDRESS | VALUE | WRITES },
	[PRIVD_D3COLD] = { "d3cold", ADDRESS | VALUE | WRITES },
	[PRIVD_RESET] = { "reset", ADDRESS | WRITES },
	[PRIVD_RESET_METHOD] = { "reset_method", ADDRESS | VALUE | WRITES },
	[PRIVD_REMOVE] = { "remove", ADDRESS | WRITES },
	[PRIVD_RESCAN] = { "rescan", ADDRESS | WRITES },
	[PRIVD_UNBIND_LOCK] = { "unbind_lock", ADDRESS | VALUE | WRITES },
	[PRIVD_RESCAN_ALL] = { "rescan_all", WRITES },
	[PRIVD_MODULE] = { "module", NAME | WRITES | ALONE },
	[PRIVD_HUGEPAGES] = { "hugepages", VALUE | PAGES | WRITES },
	[PRIVD_READ_OVERRIDE] = { "read_override", ADDRESS },
	[PRIVD_READ_CONFIG] = { "read_config", ADDRESS | VALUE },
	[PRIVD_READ_ROM] = { "read_rom", ADDRESS },
	[PRIVD_READ_VFIO] = { "read_vfio", VALUE },
	[PRIVD_READ_TYPES] = { "read_types", ADDRESS | VALUE },
	[PRIVD_READ_IOMEM] = { "read_iomem", 0 },
	[PRIVD_READ_HOLDERS] = { "read_holders", ADDRESSES },
	[PRIVD_READ_CRITICAL] = { "read_critical", CLASSES | ADDRESSES_MAYBE },
	[PRIVD_READ_VF_TYPES] = { "read_vf_types", ADDRESSES },
	[PRIVD_READ_LOCK] = { "read_lock", ADDRESS },
	[PRIVD_VIABLE] = { "viable", VALUE | ADDRESSES | ENDS },
};

static const char *const statuses[PRIVD_STATUSES] = {
	[PRIVD_OK] = "ok",
	[PRIVD_FAILED] = "failed",
	[PRIVD_STUCK] = "stuck",
	[PRIVD_BUSY] = "busy",
	[PRIVD_READ_ONLY] = "read_only",
	[PRIVD_NO_DEVICE] = "no_device",
	[PRIVD_BRIDGE] = "bridge",
	[PRIVD_NO_DRIVER] = "no_driver",
	[PRIVD_RANGE] = "range",
	[PRIVD_MISMATCH] = "mismatch",
	[PRIVD_NOT_HERE] = "not_here",
	[PRIVD_TOO_MANY] = "too_many",
	[PRIVD_DIED] = "died",
	[PRIVD_UNREADABLE] = "unreadable",
	[PRIVD_NO_ANSWER] = "no_answer",
	[PRIVD_HELD] = "held",
};

/*
 * vfio-pci, what it needs, and its variants (drivers/vfio/pci/); kvmgt is GVT-g's.
 */
const char *const privd_modules[] = {
	"hisi-acc-vfio-pci", "kvmgt",		"mlx5-vfio-pci", "nvgrace-gpu-vfio-pci",
	"pds-vfio-pci",	     "qat_vfio_pci",	"vfio",		 "vfio-pci",
	"vfio_iommu_type1",  "virtio-vfio-pci", "xe-vfio-pci",	 NULL,
};

/* drivers/pci/pci.c pci_reset_fn_methods[]; a word's number is its place here, from 1. */
static const char *const reset_words[] = { "device_specific", "acpi", "flr", "af_flr", "pm", "bus",
					   "cxl_bus" };

struct pci_address privd_address_in(struct privd_address a)
{
	return (struct pci_address){ a.domain, a.bus, a.device, a.function };
}

struct privd_address privd_address_out(struct pci_address a)
{
	return (struct privd_address){ a.domain, a.bus, a.device, a.function, 1 };
}

const char *privd_op_name(unsigned op)
{
	return op < PRIVD_OPS ? ops[op].name : ops[PRIVD_NONE].name;
}

enum privd_op privd_op_find(const char *name)
{
	for (size_t i = 0; i < PRIVD_OPS; i++)
		if (!strcmp(ops[i].name, name))
			return (enum privd_op)i;
	return PRIVD_NONE;
}

bool privd_op_writes(unsigned op)
{
	return op < PRIVD_OPS && ops[op].fields & WRITES;
}

bool privd_op_ends(unsigned op)
{
	return op < PRIVD_OPS && ops[op].fields & (WRITES | ENDS);
}

bool privd_op_chains(unsigned op)
{
	return op < PRIVD_OPS && !(ops[op].fields & (NEVER | ALONE));
}

const char *privd_status_name(unsigned status)
{
	return status < PRIVD_STATUSES ? statuses[status] : "unknown";
}

static bool all_zero(const void *bytes, size_t n)
{
	const unsigned char *b = bytes;

	for (size_t i = 0; i < n; i++)
		if (b[i])
			return false;
	return true;
}

static bool address_ok(const struct privd_address *a)
{
	return a->set == 1 && a->device < 32 && a->function < 8;
}

static bool name_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '_' || c == '-';
}

/* No dot and no slash can be in it, so it is one path segment and never "..". */
bool privd_name_fits(const char *text)
{
	size_t n = 0;

	while (name_char(text[n]))
		n++;
	return n < PRIVD_NAME && !text[n];
}

static bool name_ok(const char name[PRIVD_NAME])
{
	size_t n = 0;

	while (n < PRIVD_NAME && name_char(name[n]))
		n++;
	return n < PRIVD_NAME && all_zero(name + n, PRIVD_NAME - n);
}

static const char *header_check(const struct privd_header *h, size_t n)
{
	if (h->magic != PRIVD_MAGIC)
		return "this is no request";
	if (h->version != PRIVD_VERSION)
		return "another version of the protocol";
	if (h->size != n || h->zero)
		return "a header that does not fit its message";
	if (!h->id)
		return "no request id";
	if (h->op >= PRIVD_OPS || ops[h->op].fields & NEVER)
		return "no such operation";
	return NULL;
}

static const char *scalars_check(const struct privd_request *r, unsigned fields)
{
	if (fields & ADDRESS ? !address_ok(&r->address)
			     : !all_zero(&r->address, sizeof(r->address)))
		return "a bad address";
	if (r->value && !(fields & VALUE))
		return "a value that is not asked for";
	if ((r->size_kib || r->node) && !(fields & PAGES))
		return "a page size or node that is not asked for";
	if (!name_ok(r->name))
		return "a bad name";
	if (fields & NAME ? !r->name[0] : r->name[0] && !(fields & NAME_MAYBE))
		return "a name where there must be none, or none where there must be one";
	if (!!(fields & UUID) == all_zero(r->uuid, sizeof(r->uuid)))
		return "a UUID where there must be none, or none where there must be one";
	return NULL;
}

static const char *lists_check(const struct privd_request *r, unsigned fields)
{
	if (r->n_classes > PRIVD_CLASSES || r->n_addresses > PRIVD_ADDRESSES)
		return "a list that is too long";
	if ((r->n_classes && !(fields & CLASSES)) ||
	    (r->n_addresses ? !(fields & (ADDRESSES | ADDRESSES_MAYBE)) : fields & ADDRESSES))
		return "a list where there must be none, or none where there must be one";
	if (!all_zero(r->classes + r->n_classes,
		      (PRIVD_CLASSES - r->n_classes) * sizeof(r->classes[0])) ||
	    !all_zero(r->addresses + r->n_addresses,
		      (PRIVD_ADDRESSES - r->n_addresses) * sizeof(r->addresses[0])))
		return "something behind the end of a list";
	for (uint32_t i = 0; i < r->n_addresses; i++)
		if (!address_ok(&r->addresses[i]))
			return "a bad address in the list";
	return NULL;
}

const char *privd_request_check(const void *bytes, size_t n, struct privd_request *out)
{
	struct privd_request r;
	const char *wrong;

	if (n != sizeof(r))
		return "a message of the wrong size";
	memcpy(&r, bytes, sizeof(r));
	wrong = header_check(&r.header, n);
	if (!wrong)
		wrong = scalars_check(&r, ops[r.header.op].fields);
	if (!wrong)
		wrong = lists_check(&r, ops[r.header.op].fields);
	if (!wrong)
		*out = r;
	return wrong;
}

size_t privd_chain_size(size_t n)
{
	return offsetof(struct privd_chain, request) + n * sizeof(struct privd_request);
}

size_t privd_chain_reply_size(size_t n)
{
	return offsetof(struct privd_chain_reply, reply) + n * sizeof(struct privd_reply);
}

/* How far it is is told by ids. */
static bool ids_differ(const struct privd_chain *chain)
{
	for (uint32_t i = 0; i < chain->n; i++)
		for (uint32_t k = 0; k < i; k++)
			if (chain->request[i].header.id == chain->request[k].header.id)
				return false;
	return true;
}

static const char *chain_check(const void *bytes, size_t n, struct privd_chain *out)
{
	const char *wrong = NULL;
	const struct privd_chain *chain = out;

	if (n > sizeof(*out) || n < privd_chain_size(1))
		return "a message of the wrong size";
	memcpy(out, bytes, n);
	if (chain->header.magic != PRIVD_MAGIC || chain->header.version != PRIVD_VERSION)
		return "another version of the protocol";
	if (chain->header.size != n || chain->header.zero || chain->zero || !chain->header.id ||
	    !chain->n || chain->n > PRIVD_CHAIN_MAX || privd_chain_size(chain->n) != n)
		return "a header that does not fit its chain";
	for (uint32_t i = 0; i < chain->n && !wrong; i++) {
		wrong = privd_request_check(&chain->request[i], sizeof(chain->request[i]),
					    &out->request[i]);
		if (!wrong && !privd_op_chains(chain->request[i].header.op))
			wrong = "an operation that stands in no chain";
	}
	return wrong || ids_differ(chain) ? wrong : "two requests of one id";
}

const char *privd_message_check(const void *bytes, size_t n, struct privd_chain *out)
{
	struct privd_header header = { 0 };
	const char *wrong;

	if (n >= sizeof(header))
		memcpy(&header, bytes, sizeof(header));
	if (header.op == PRIVD_CHAIN)
		return chain_check(bytes, n, out);
	wrong = privd_request_check(bytes, n, &out->request[0]);
	out->header = header;
	out->n = 1;
	out->zero = 0;
	return wrong;
}

static uint64_t reset_number(const char *word)
{
	for (size_t i = 0; i < ARRAY_SIZE(reset_words); i++)
		if (!strcmp(word, reset_words[i]))
			return i + 1;
	return 0;
}

uint64_t privd_reset_pack(const char *const *words, size_t n)
{
	uint64_t packed = 0;

	if (n > ARRAY_SIZE(reset_words))
		return UINT64_MAX;
	for (size_t i = 0; i < n; i++) {
		uint64_t number = reset_number(words[i]);

		if (!number)
			return UINT64_MAX;
		packed |= number << (4 * i);
	}
	return packed;
}

bool privd_reset_unpack(uint64_t packed, char *buf, size_t size)
{
	size_t len = 0;
	int n;

	if (!packed)
		return (size_t)snprintf(buf, size, "default") < size;
	for (; packed; packed >>= 4) {
		if (!(packed & 15) || (packed & 15) > ARRAY_SIZE(reset_words))
			return false;
		n = snprintf(buf + len, size - len, "%s%s", len ? " " : "",
			     reset_words[(packed & 15) - 1]);
		if (n < 0 || (size_t)n >= size - len)
			return false;
		len += (size_t)n;
	}
	return true;
}
