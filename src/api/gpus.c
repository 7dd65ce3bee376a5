/* SPDX-License-Identifier: Apache-2.0 */
/* GETs of cards, shared cards, IOMMU and doctor, and the scan. All answer from cards.h. HTTP threads;
 * nothing blocks. */
#include "api/api.h"
#include "api/cards.h"
#include "api/change.h"
#include "api/handlers.h"
#include "http/pending.h"
#include "http/request.h"

enum { REFRESH_MS = 5000 };

static int not_ready(struct error *err)
{
	error_set(err, ERROR_UNREACHABLE, "the cards were not read yet");
	return error_hint(err, "try again in a second");
}

/*
 * False: the request waits until the facts are fresh, and the handler is called again. After that
 * it answers with what there is.
 */
static bool fresh(struct request *rq)
{
	const struct api *api = rq->context;
	struct error err;
	uint64_t ticket;

	if (api->look() || rq->resumed)
		return true;
	ticket = request_defer(rq, REFRESH_MS, &err);
	if (!ticket)
		return true;
	api->refresh(ticket);
	return false;
}

/* 1: *cards are fresh, a new reference. 0: the request waits, see fresh(). -1: there are none yet. */
static int fresh_cards(struct request *rq, struct cards **cards, struct error *err)
{
	if (!fresh(rq))
		return 0;
	*cards = cards_acquire();
	return *cards ? 1 : not_ready(err);
}

int gpus_list(struct request *rq, struct reply *reply, struct error *err)
{
	CLEANUP(cards_releasep) struct cards *cards = NULL;
	int ready = fresh_cards(rq, &cards, err);

	if (ready <= 0)
		return ready;
	*reply = reply_resource(cards_list(cards, rq->query));
	return 0;
}

/* Reading changes nothing of the host: its plan has no steps. */
int gpus_scan(struct request *rq, struct reply *reply, struct error *err)
{
	CLEANUP(plan_freep) struct plan *plan = plan_new();
	const struct api *api = rq->context;
	uint64_t ticket;
	int r;

	plan_title(plan, "read all devices anew");
	r = change_planned(rq, plan, reply, err);
	if (r)
		return r < 0 ? -1 : 0;
	ticket = request_defer(rq, 0, err);
	if (!ticket)
		return -1;
	api->scan(ticket);
	return 0;
}

void api_scanned(uint64_t ticket, const struct error *err)
{
	CLEANUP(cards_releasep) struct cards *cards = cards_acquire();
	struct reply reply;
	struct error none;

	if (!err && !cards) {
		not_ready(&none);
		err = &none;
	}
	reply = err ? reply_problem(err, NULL, NULL) : reply_resource(cards_list(cards, NULL));
	pending_answer(ticket, &reply);
}

/* The reply for the ":pci" of the path. */
static struct card_reply *find(const struct request *rq, const struct cards *cards,
			       struct error *err)
{
	const struct function *f;
	struct card_reply *r;

	if (gpu_find(cards->inventory, rq->params[0], &f, err) < 0)
		return NULL;
	r = cards_find(cards, f->address);
	if (!r)
		error_set(err, ERROR_NOT_FOUND, "%s is no function of a card", f->text);
	return r;
}

int gpus_show(struct request *rq, struct reply *reply, struct error *err)
{
	CLEANUP(cards_releasep) struct cards *cards = NULL;
	int ready = fresh_cards(rq, &cards, err);
	struct card_reply *r;

	if (ready <= 0)
		return ready;
	r = find(rq, cards, err);
	if (!r)
		return -1;
	*reply = reply_resource(cards_device(cards, r));
	return 0;
}

int gpus_group(struct request *rq, struct reply *reply, struct error *err)
{
	CLEANUP(cards_releasep) struct cards *cards = NULL;
	int ready = fresh_cards(rq, &cards, err);
	struct card_reply *r;

	if (ready <= 0)
		return ready;
	r = find(rq, cards, err);
	if (!r)
		return -1;
	*reply = reply_resource(cards_group(cards, r));
	return 0;
}

int gpus_iommu(struct request *rq, struct reply *reply, struct error *err)
{
	CLEANUP(cards_releasep) struct cards *cards = cards_acquire();

	(void)rq;
	if (!cards)
		return not_ready(err);
	*reply = reply_resource(cards_iommu(cards));
	return 0;
}

static int shared(struct request *rq, enum cards_shared which, struct reply *reply, struct error *err)
{
	CLEANUP(cards_releasep) struct cards *cards = NULL;
	int ready = fresh_cards(rq, &cards, err);

	if (ready <= 0)
		return ready;
	*reply = reply_resource(cards_shared(cards, which));
	return 0;
}

int vgpus_list(struct request *rq, struct reply *reply, struct error *err)
{
	return shared(rq, CARDS_SHARED, reply, err);
}

int vgpus_instances(struct request *rq, struct reply *reply, struct error *err)
{
	return shared(rq, CARDS_INSTANCES, reply, err);
}

/* The card that is meant by an address, which may be that of a VF of it. */
static int shared_device(const struct inventory *inv, const char *text, const struct function **ret,
			 struct error *err)
{
	const struct function *f = NULL;

	if (gpu_find(inv, text, &f, err) < 0)
		return -1;
	*ret = f->physfn ? inventory_function(inv, *f->physfn) : f;
	if (*ret && vgpu_is_device(inv, *ret))
		return 0;
	error_set(err, ERROR_NOT_FOUND, "%s cannot be shared: its driver offers no vGPUs and no VFs", f->text);
	return error_hint(err, "GET /api/vgpu/devices lists the cards that can");
}

int vgpus_profiles(struct request *rq, struct reply *reply, struct error *err)
{
	const struct wire_profile_query *query = rq->query;
	CLEANUP(cards_releasep) struct cards *cards = NULL;
	const struct function *device = NULL;
	int ready;

	if (!query->device && query->fits != 1)
		return shared(rq, CARDS_PROFILES, reply, err);
	ready = fresh_cards(rq, &cards, err);
	if (ready <= 0)
		return ready;
	if (query->device && shared_device(cards->inventory, query->device, &device, err) < 0)
		return -1;
	*reply = reply_resource(cards_profiles(cards, device ? device->text : NULL, query->fits == 1));
	return 0;
}

int gpus_doctor(struct request *rq, struct reply *reply, struct error *err)
{
	const struct wire_doctor_query *query = rq->query;
	CLEANUP(arena_freep) struct arena *arena = arena_new();
	CLEANUP(cards_releasep) struct cards *cards = NULL;
	const struct function *device = NULL;
	int ready = fresh_cards(rq, &cards, err);
	struct wire_doctor doctor;

	if (ready <= 0)
		return ready;
	if (query->device && gpu_find(cards->inventory, query->device, &device, err) < 0)
		return -1;
	gpu_doctor(&cards->facts, device, arena, &doctor);
	*reply = reply_resource(body_rows(wire_doctor_rows, &doctor));
	return 0;
}
