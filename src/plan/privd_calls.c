/* SPDX-License-Identifier: Apache-2.0 */
/* The calls of privd_client.h by name: what goes into a request and what comes out of a long
 * answer. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-id128.h>

#include "host/critical.h"
#include "host/holders.h"
#include "plan/privd_client.h"

struct privd_request privd_request_new(enum privd_op op, const struct pci_address *address)
{
	struct privd_request request = {
		.header = { PRIVD_MAGIC, PRIVD_VERSION, (uint16_t)op, 0, sizeof(request), 0 },
	};

	if (address)
		request.address = privd_address_out(*address);
	return request;
}

struct privd_request privd_ask_override(struct pci_address address)
{
	return privd_request_new(PRIVD_READ_OVERRIDE, &address);
}

struct privd_request privd_ask_vfio(int group)
{
	struct privd_request request = privd_request_new(PRIVD_READ_VFIO, NULL);

	request.value = (uint64_t)group;
	return request;
}

struct privd_request privd_ask_iomem(void)
{
	return privd_request_new(PRIVD_READ_IOMEM, NULL);
}

static int put_name(struct privd_request *request, const char *name, struct error *err)
{
	if (!name)
		return 0;
	if (!privd_name_fits(name))
		return error_set(err, ERROR_INVALID_VALUE,
				 "\"%.60s\" is no name of a driver or type", name);
	snprintf(request->name, sizeof(request->name), "%s", name);
	return 0;
}

static int call_value(struct privd *privd, const struct privd_request *request, uint64_t *value,
		      struct error *err)
{
	struct privd_reply reply;

	if (privd_call(privd, request, &reply, err) < 0)
		return -1;
	if (value)
		*value = reply.value;
	return 0;
}

/* The commonest form: one function, and perhaps a name or a number. */
static int change(struct privd *privd, enum privd_op op, struct pci_address address,
		  const char *name, uint64_t number, uint64_t *value, struct error *err)
{
	struct privd_request request = privd_request_new(op, &address);

	request.value = number;
	if (put_name(&request, name, err) < 0)
		return -1;
	return call_value(privd, &request, value, err);
}

/*
 * The long answer as bytes in the arena, with a NUL behind them. *n is what privd said it is; the
 * memfd is sealed, but its size is checked all the same.
 */
static int long_answer(struct privd *privd, const struct privd_request *request,
		       struct arena *arena, char **bytes, size_t *n, struct error *err)
{
	struct privd_reply reply = { 0 };
	struct privd_data answer = { .fd = -1 };
	CLEAN_FD int data = -1;
	size_t done = 0;
	ssize_t r = 1;
	char *buf;

	if (privd_call_data(privd, request, &reply, &answer, err) < 0)
		return -1;
	data = answer.fd;
	if (reply.length > PRIVD_DATA_MAX || (reply.length && data < 0))
		return error_set(err, ERROR_HELPER,
				 "horcrux-privd gave an answer without its data");
	buf = arena_alloc(arena, (size_t)reply.length + 1, 1);
	while (done < reply.length && r > 0) {
		r = pread(data, buf + done, (size_t)reply.length - done, answer.at + (off_t)done);
		if (r > 0)
			done += (size_t)r;
	}
	if (done < reply.length)
		return error_errno(err, ERROR_HELPER, r < 0 ? errno : EIO,
				   "horcrux-privd's answer");
	*bytes = buf;
	*n = done;
	return 0;
}

/* The same as an array of structs of one size. */
static int long_list(struct privd *privd, const struct privd_request *request, size_t size,
		     struct arena *arena, struct list *list, struct error *err)
{
	char *bytes;
	size_t n;

	if (long_answer(privd, request, arena, &bytes, &n, err) < 0)
		return -1;
	if (n % size)
		return error_set(err, ERROR_HELPER, "horcrux-privd's answer is cut off");
	*list = (struct list){ .items = n ? bytes : NULL, .n = n / size, .room = n / size };
	return (int)list->n;
}

int privd_ping(struct privd *privd, int64_t *pid, struct error *err)
{
	struct privd_request request = privd_request_new(PRIVD_PING, NULL);
	uint64_t value;

	if (call_value(privd, &request, &value, err) < 0)
		return -1;
	if (pid)
		*pid = (int64_t)value;
	return 0;
}

int privd_live(struct privd *privd, struct arena *arena, struct list *children, struct error *err)
{
	struct privd_request request = privd_request_new(PRIVD_LIVE, NULL);

	return long_list(privd, &request, sizeof(struct privd_child), arena, children, err);
}

int privd_override(struct privd *privd, struct pci_address address, const char *driver,
		   struct error *err)
{
	return change(privd, PRIVD_OVERRIDE, address, driver, 0, NULL, err);
}

int privd_unbind(struct privd *privd, struct pci_address address, const char *driver,
		 struct error *err)
{
	return change(privd, PRIVD_UNBIND, address, driver, 0, NULL, err);
}

int privd_bind(struct privd *privd, struct pci_address address, const char *driver,
	       struct error *err)
{
	return change(privd, PRIVD_BIND, address, driver, 0, NULL, err);
}

int privd_probe(struct privd *privd, struct pci_address address, bool *bound, struct error *err)
{
	uint64_t value;

	if (change(privd, PRIVD_PROBE, address, NULL, 0, &value, err) < 0)
		return -1;
	if (bound)
		*bound = value;
	return 0;
}

int privd_vfs(struct privd *privd, struct pci_address address, unsigned vfs, unsigned *enabled,
	      struct error *err)
{
	uint64_t value;

	if (change(privd, PRIVD_VFS, address, NULL, vfs, &value, err) < 0)
		return -1;
	if (enabled)
		*enabled = (unsigned)value;
	return 0;
}

int privd_vf_autoprobe(struct privd *privd, struct pci_address address, bool on, struct error *err)
{
	return change(privd, PRIVD_VF_AUTOPROBE, address, NULL, on, NULL, err);
}

static int put_uuid(struct privd_request *request, const char *uuid, struct error *err)
{
	sd_id128_t id;

	if (sd_id128_from_string(uuid, &id) < 0)
		return error_set(err, ERROR_INVALID_VALUE, "\"%.60s\" is no UUID", uuid);
	memcpy(request->uuid, id.bytes, sizeof(request->uuid));
	return 0;
}

int privd_mdev_create(struct privd *privd, struct pci_address address, const char *type,
		      const char *uuid, struct error *err)
{
	struct privd_request request = privd_request_new(PRIVD_MDEV_CREATE, &address);

	if (put_name(&request, type, err) < 0 || put_uuid(&request, uuid, err) < 0)
		return -1;
	return call_value(privd, &request, NULL, err);
}

int privd_mdev_remove(struct privd *privd, struct pci_address address, const char *uuid,
		      struct error *err)
{
	struct privd_request request = privd_request_new(PRIVD_MDEV_REMOVE, &address);

	if (put_uuid(&request, uuid, err) < 0)
		return -1;
	return call_value(privd, &request, NULL, err);
}

int privd_vf_type(struct privd *privd, struct pci_address address, uint32_t type, struct error *err)
{
	return change(privd, PRIVD_VF_TYPE, address, NULL, type, NULL, err);
}

int privd_power(struct privd *privd, struct pci_address address, bool on, struct error *err)
{
	return change(privd, PRIVD_POWER, address, NULL, on, NULL, err);
}

int privd_d3cold(struct privd *privd, struct pci_address address, bool allowed, struct error *err)
{
	return change(privd, PRIVD_D3COLD, address, NULL, allowed, NULL, err);
}

int privd_reset(struct privd *privd, struct pci_address address, struct error *err)
{
	return change(privd, PRIVD_RESET, address, NULL, 0, NULL, err);
}

int privd_reset_method(struct privd *privd, struct pci_address address, const char *const *words,
		       size_t n, struct error *err)
{
	return change(privd, PRIVD_RESET_METHOD, address, NULL, privd_reset_pack(words, n), NULL,
		      err);
}

int privd_remove(struct privd *privd, struct pci_address address, struct error *err)
{
	return change(privd, PRIVD_REMOVE, address, NULL, 0, NULL, err);
}

int privd_rescan(struct privd *privd, const struct pci_address *address, struct error *err)
{
	struct privd_request request = privd_request_new(address ? PRIVD_RESCAN : PRIVD_RESCAN_ALL,
							 address);

	return call_value(privd, &request, NULL, err);
}

int privd_unbind_lock(struct privd *privd, struct pci_address address, bool take, struct error *err)
{
	return change(privd, PRIVD_UNBIND_LOCK, address, NULL, take, NULL, err);
}

int privd_read_lock(struct privd *privd, struct pci_address address, bool *taken, struct error *err)
{
	struct privd_request request = privd_request_new(PRIVD_READ_LOCK, &address);
	uint64_t value;

	if (call_value(privd, &request, &value, err) < 0)
		return -1;
	*taken = value;
	return 0;
}

int privd_module(struct privd *privd, const char *name, struct error *err)
{
	struct privd_request request = privd_request_new(PRIVD_MODULE, NULL);

	if (put_name(&request, name, err) < 0)
		return -1;
	return call_value(privd, &request, NULL, err);
}

int privd_hugepages(struct privd *privd, uint32_t size_kib, int node, uint64_t pages, uint64_t *got,
		    struct error *err)
{
	struct privd_request request = privd_request_new(PRIVD_HUGEPAGES, NULL);

	request.value = pages;
	request.size_kib = size_kib;
	request.node = node;
	return call_value(privd, &request, got, err);
}

int privd_read_override(struct privd *privd, struct pci_address address, struct arena *arena,
			const char **ret, struct error *err)
{
	struct privd_request request = privd_ask_override(address);
	char *text;
	size_t n;

	if (long_answer(privd, &request, arena, &text, &n, err) < 0)
		return -1;
	*ret = text;
	return 0;
}

static int raw(struct privd *privd, const struct privd_request *request, struct arena *arena,
	       const uint8_t **bytes, size_t *n, struct error *err)
{
	char *answer;

	if (long_answer(privd, request, arena, &answer, n, err) < 0)
		return -1;
	*bytes = (const uint8_t *)answer;
	return 0;
}

int privd_read_config(struct privd *privd, struct pci_address address, size_t size,
		      struct arena *arena, const uint8_t **bytes, size_t *n, struct error *err)
{
	struct privd_request request = privd_request_new(PRIVD_READ_CONFIG, &address);

	request.value = size;
	return raw(privd, &request, arena, bytes, n, err);
}

int privd_read_rom(struct privd *privd, struct pci_address address, struct arena *arena,
		   const uint8_t **bytes, size_t *n, struct error *err)
{
	struct privd_request request = privd_request_new(PRIVD_READ_ROM, &address);

	return raw(privd, &request, arena, bytes, n, err);
}

int privd_vfio_status(struct privd *privd, int group, unsigned *flags, struct error *err)
{
	struct privd_request request = privd_ask_vfio(group);
	uint64_t value;

	if (group < 0)
		return error_set(err, ERROR_INVALID_VALUE, "%d is no IOMMU group", group);
	if (call_value(privd, &request, &value, err) < 0)
		return -1;
	*flags = (unsigned)value;
	return 0;
}

int privd_types(struct privd *privd, struct pci_address address, enum privd_types value,
		struct arena *arena, struct list *types, struct error *err)
{
	struct privd_request request = privd_request_new(PRIVD_READ_TYPES, &address);

	request.value = value;
	return long_list(privd, &request, sizeof(struct privd_type), arena, types, err);
}

int privd_iomem(struct privd *privd, struct arena *arena, const char **text, struct error *err)
{
	struct privd_request request = privd_ask_iomem();
	char *answer;
	size_t n;

	if (long_answer(privd, &request, arena, &answer, &n, err) < 0)
		return -1;
	*text = answer;
	return 0;
}

/* A text of a fixed field; NULL when it is empty. */
#define FIELD(arena, field)                                                                        \
	((field)[0] ? arena_strndup((arena), (field), strnlen((field), sizeof(field))) : NULL)

/* About the addresses from the i-th on, as many as one request holds. */
static struct privd_request request_about(enum privd_op op, const struct list *addresses, size_t i)
{
	const struct pci_address *all = addresses->items;
	struct privd_request request = privd_request_new(op, NULL);

	for (; i < addresses->n && request.n_addresses < PRIVD_ADDRESSES; i++)
		request.addresses[request.n_addresses++] = privd_address_out(all[i]);
	return request;
}

struct privd_request privd_ask_carried(const struct list *addresses)
{
	return request_about(PRIVD_READ_CRITICAL, addresses, 0);
}

struct privd_request privd_ask_viable(int group, const struct list *addresses)
{
	struct privd_request request = request_about(PRIVD_VIABLE, addresses, 0);

	request.value = (uint64_t)group;
	return request;
}

static int holders_of(struct privd *privd, const struct privd_request *request, struct arena *arena,
		      struct list *holders, struct error *err)
{
	struct list answer = { 0 };

	if (long_list(privd, request, sizeof(struct privd_holder), arena, &answer, err) < 0)
		return -1;
	for (LIST_EACH(struct privd_holder, h, &answer))
		*list_add(arena, holders, struct holder) = (struct holder){
			.kind = FIELD(arena, h->kind),
			.pid = h->pid,
			.name = FIELD(arena, h->name),
			.node = FIELD(arena, h->node),
			.since = FIELD(arena, h->since),
			.unit = FIELD(arena, h->unit),
			.address = privd_address_in(h->address),
		};
	return 0;
}

int privd_holders(struct privd *privd, const struct list *addresses, struct arena *arena,
		  struct list *holders, struct error *err)
{
	struct privd_request request;
	struct list found = { 0 };

	for (size_t i = 0; i < addresses->n; i += request.n_addresses) {
		request = request_about(PRIVD_READ_HOLDERS, addresses, i);
		if (holders_of(privd, &request, arena, &found, err) < 0)
			return -1;
	}
	*holders = found;
	return (int)found.n;
}

int privd_vf_types(struct privd *privd, const struct list *addresses, struct arena *arena,
		   struct list *types, struct error *err)
{
	struct privd_request request;
	struct list part;

	*types = (struct list){ 0 };
	for (size_t i = 0; i < addresses->n; i += request.n_addresses) {
		request = request_about(PRIVD_READ_VF_TYPES, addresses, i);
		part = (struct list){ 0 };
		if (long_list(privd, &request, sizeof(struct privd_vf_type), arena, &part, err) < 0)
			return -1;
		for (LIST_EACH(struct privd_vf_type, vf, &part))
			*list_add(arena, types, struct privd_vf_type) = *vf;
	}
	return 0;
}

static int critical_of(struct privd *privd, const struct privd_request *request,
		       struct arena *arena, struct list *critical, struct error *err)
{
	struct list answer = { 0 };

	if (long_list(privd, request, sizeof(struct privd_critical), arena, &answer, err) < 0)
		return -1;
	for (LIST_EACH(struct privd_critical, c, &answer))
		*list_add(arena, critical, struct critical) = (struct critical){
			.address = privd_address_in(c->address),
			.code = FIELD(arena, c->code),
			.why = FIELD(arena, c->why),
			.evidence = FIELD(arena, c->evidence),
		};
	return 0;
}

int privd_critical(struct privd *privd, const struct class_filter *filter, struct arena *arena,
		   struct list *critical, struct error *err)
{
	struct privd_request request = privd_request_new(PRIVD_READ_CRITICAL, NULL);
	struct list found = { 0 };

	for (int i = 0; filter && i < filter->n_extra; i++)
		request.classes[request.n_classes++] = filter->extra[i];
	if (critical_of(privd, &request, arena, &found, err) < 0)
		return -1;
	*critical = found;
	return (int)found.n;
}

int privd_carried(struct privd *privd, const struct list *addresses, struct arena *arena,
		  struct list *critical, struct error *err)
{
	struct privd_request request;
	struct list found = { 0 };

	for (size_t i = 0; i < addresses->n; i += request.n_addresses) {
		request = request_about(PRIVD_READ_CRITICAL, addresses, i);
		if (critical_of(privd, &request, arena, &found, err) < 0)
			return -1;
	}
	*critical = found;
	return (int)found.n;
}
