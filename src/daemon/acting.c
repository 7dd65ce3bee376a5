/* SPDX-License-Identifier: Apache-2.0 */
/* See acting.h. */
#include "daemon/acting.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <systemd/sd-id128.h>

#include "base/log.h"
#include "daemon/book.h"
#include "daemon/facts.h"
#include "daemon/node.h"
#include "gpu/change.h"
#include "gpu/record.h"
#include "vm/facts.h"
#include "vgpu/steps.h"
#include "vm/steps.h"

struct acting {
	struct vm_services services; /* first: the engine hands its address to steps */
	struct acting_options options;
	struct store *store;
	struct journal *journal;
	struct engine *engine;
	sd_event_source *on_engine;
	struct step_table tables[6]; /* of the engine */
	char node_id[ID_TEXT];
};

static int live_children(void *services, struct arena *arena, struct list *children,
			 struct error *err)
{
	struct gpu_services *sv = &((struct acting *)services)->services.gpu;
	struct list live = { 0 };
	struct live_child *child;
	char address[PCI_ADDRESS_TEXT];

	if (privd_live(sv->privd, arena, &live, err) < 0)
		return -1;
	for (LIST_EACH(const struct privd_child, c, &live)) {
		if (!c->write)
			continue;
		child = list_add(arena, children, struct live_child);
		pci_address_format(privd_address_in(c->address), address);
		*child = (struct live_child){ arena_strdup(arena, address), c->pid,
					      privd_op_name(c->op) };
	}
	return 0;
}

static int chain(void *services, const struct privd_request *requests, size_t n,
		 const struct chain_watch *watch, size_t *done, size_t *begun, struct error *err)
{
	return privd_chain(((struct acting *)services)->services.gpu.privd, requests, n, watch, done, begun,
			   err);
}

static void refresh(void *services, const struct list *locks)
{
	((struct acting *)services)->options.refresh(locks);
}

static void changed(void *services, struct task *task)
{
	((struct acting *)services)->options.changed(task);
}

static int on_engine(sd_event_source *source, int fd, uint32_t events, void *acting)
{
	(void)source, (void)fd, (void)events;
	engine_dispatch(((struct acting *)acting)->engine);
	return 0;
}

static int make_directory(const char *path, mode_t mode, struct error *err)
{
	if (!mkdir(path, mode) || errno == EEXIST)
		return 0;
	return error_errno(err, ERROR_STORE, errno, "%s cannot be made", path);
}

static int open_journal(struct acting *a, struct error *err)
{
	char boot[SD_ID128_STRING_MAX];
	sd_id128_t id;

	if (sd_id128_get_boot(&id) < 0)
		return error_set(err, ERROR_SYSTEM, "the boot's id cannot be read");
	if (make_directory(a->options.run_dir, 0755, err) < 0 ||
	    make_directory(a->options.var_dir, 0700, err) < 0)
		return -1;
	a->journal = journal_open(a->options.run_dir, a->options.var_dir,
				  sd_id128_to_string(id, boot), err);
	return a->journal ? 0 : -1;
}

static int open_store(struct acting *a, struct error *err)
{
	char path[600];

	snprintf(path, sizeof(path), "%s/store.sqlite", a->options.var_dir);
	a->store = store_open(&store_sqlite, path, STORE_DEADLINE_MS, err);
	if (!a->store || node_id(a->options.var_dir, a->node_id, err) < 0)
		return -1;
	return records_adopt(a->store, a->node_id, a->options.node, err);
}

static int start_engine(struct acting *a, sd_event *event, struct error *err)
{
	const struct step_table tables[] = { gpu_steps, vgpu_steps, vm_card_steps, vm_domain_steps,
					     vm_record_steps, vm_storage_steps };
	const struct engine_config config = {
		.tables = a->tables,
		.n_tables = ARRAY_SIZE(tables),
		.services = a,
		.journal = a->journal,
		.live_children = live_children,
		.chain = chain,
		.refresh = refresh,
		.changed = changed,
	};
	int r;

	static_assert(sizeof(tables) == sizeof(a->tables), "every table has its place");
	memcpy(a->tables, tables, sizeof(tables));
	a->engine = engine_start(&config, err);
	if (!a->engine)
		return -1;
	r = sd_event_add_io(event, &a->on_engine, engine_fd(a->engine), EPOLLIN, on_engine, a);
	return r < 0 ? error_errno(err, ERROR_SYSTEM, -r, "the engine cannot be watched") : 0;
}

/* Once, before threads: a daemon that is to be killed says so first. */
static int arm_fault(struct error *err)
{
	const char *text = NULL;
	int r = fault_load("horcruxd", &text, err);

	if (r > 0)
		log_warning("HORCRUX_FAULT=%s: this daemon will kill itself", text);
	return r < 0 ? -1 : 0;
}

/* libvirt's list, as cards are looked at: only what has functions of this host matters. */
static int list_domains(struct virt *virt, struct arena *arena, bool now, struct list *domains)
{
	struct list running = { 0 };

	if (!virt || (now ? virt_domains_now : virt_domains)(virt, arena, &running, NULL) < 0)
		return -1;
	for (LIST_EACH(const struct virt_domain, domain, &running))
		if (domain->hostdevs.n)
			*list_add(arena, domains, struct gpu_domain) = (struct gpu_domain){
				domain->name, domain->vm, domain->started_at, domain->hostdevs
			};
	return 0;
}

static bool held(struct gpu_services *services, const struct gpu_unit *unit)
{
	CLEANUP(facts_releasep) struct facts *facts = facts_acquire();

	(void)services;
	for (LIST_EACH(const struct holder, h, &facts->holders))
		if (gpu_unit_has(unit, h->address) && !holder_lets_go(h))
			return true;
	return facts->holders.null;
}

static int domains_of(struct gpu_services *services, struct arena *arena, bool now, struct list *domains)
{
	return list_domains(((struct vm_services *)services)->virt, arena, now, domains);
}

/* Mostly nothing was written since they were read last. */
static int assignments(struct store *store, struct arena *arena, struct list *list, struct error *err)
{
	int r = book_assignments(arena, list);

	return r < 0 ? vm_assignments(store, arena, list, err) : r;
}

static int open_libvirt(struct acting *a, struct error *err)
{
	const struct acting_options *o = &a->options;

	a->services = (struct vm_services){ .gpu = { .privd = o->privd,
						     .root = o->root,
						     .journal = a->journal,
						     .node = o->node,
						     .node_id = a->node_id,
						     .store = a->store,
						     .domains = domains_of,
						     .held = held,
						     .assignments = assignments },
					    .pool = "horcrux",
					    .pool_path = o->pool_path,
					    .network = "default",
					    .rom_folders = o->rom_folders };
	a->services.virt = virt_new(o->libvirt, o->libvirt ? o->events : NULL, err);
	return a->services.virt ? 0 : -1;
}

int acting_start(sd_event *event, const struct acting_options *options, struct acting **ret,
		 struct error *err)
{
	struct acting *a = calloc(1, sizeof(*a));

	if (!a)
		return error_set(err, ERROR_SYSTEM, "no memory");
	a->options = *options;
	if (arm_fault(err) < 0 || open_journal(a, err) < 0 || open_store(a, err) < 0)
		goto failed;
	if (open_libvirt(a, err) < 0 || start_engine(a, event, err) < 0)
		goto failed;
	*ret = a;
	return 0;
failed:
	acting_stop(a, 0);
	return -1;
}

struct engine *acting_engine(struct acting *acting)
{
	return acting->engine;
}

struct store *acting_store(struct acting *acting)
{
	return acting->store;
}

struct vm_services *acting_services(struct acting *a)
{
	return &a->services;
}

int acting_domains(struct acting *a, struct arena *arena, struct list *domains)
{
	return a ? list_domains(a->services.virt, arena, false, domains) : -1;
}

void acting_stuck(struct acting *a, const struct inventory *inv, struct arena *arena,
		  struct list *cards)
{
	struct row_pair *pair;
	const char *why;
	char name[64];

	for (LIST_EACH(const struct card, card, &inv->cards)) {
		snprintf(name, sizeof(name), "card:%s", card->text);
		if (!a || !engine_stuck(a->engine, name, arena, &why))
			continue;
		pair = list_add(arena, cards, struct row_pair);
		*pair = (struct row_pair){ card->text, why };
	}
}

/* Of VMs, who has a card and whether it is on its way is told by its claim. */
void acting_changing(struct acting *a, const struct inventory *inv, struct arena *arena,
		     struct list *cards)
{
	const struct operation *operation;
	char name[64];
	bool back;
	int state;

	for (LIST_EACH(const struct card, card, &inv->cards)) {
		snprintf(name, sizeof(name), "card:%s", card->text);
		if (!a || !engine_changing(a->engine, name, &operation, &back))
			continue;
		if (operation != &gpu_bind_operation && operation != &gpu_release_operation)
			continue;
		state = (operation == &gpu_bind_operation) == !back ? CARD_PREPARING : CARD_RELEASING;
		*list_add(arena, cards, struct gpu_changing) =
			(struct gpu_changing){ card->text, state };
	}
}

bool acting_stop(struct acting *a, unsigned ms)
{
	if (!a)
		return true;
	sd_event_source_disable_unref(a->on_engine);
	if (a->engine && engine_stop(a->engine, ms) < 0)
		return false;
	virt_free(a->services.virt);
	journal_close(a->journal);
	store_close(a->store);
	free(a);
	return true;
}
