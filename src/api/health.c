/* SPDX-License-Identifier: Apache-2.0 */
/* See health.h. The parts' states are this file's and under its lock. */
#include "api/health.h"

#include <string.h>

#include "api/api.h"
#include "api/handlers.h"
#include "base/id.h"
#include "base/lock.h"
#include "http/pending.h"
#include "http/request.h"

enum { CHECK_MS = 3000 };

static const char *const names[HEALTH_PARTS] = {
	[HEALTH_HELPER] = "helper",
	[HEALTH_INVENTORY] = "inventory",
	[HEALTH_LIBVIRT] = "libvirt",
	[HEALTH_STORE] = "store",
};

struct part {
	bool told; /* parts that nobody spoke of are not shown */
	enum wire_part_state state;
	char detail[200];
	char since[TIME_TEXT];
};

static struct lock health_lock = LOCK_INIT;
static struct part parts[HEALTH_PARTS] GUARDED_BY(health_lock);

void health_set(enum health_part part, enum wire_part_state state, const char *fmt, ...)
{
	char detail[sizeof(parts[0].detail)] = "";
	char now[TIME_TEXT];
	va_list args;

	if (fmt) {
		va_start(args, fmt);
		vsnprintf(detail, sizeof(detail), fmt, args);
		va_end(args);
	}
	time_now(now);
	lock_take(&health_lock);
	if (!parts[part].told || parts[part].state != state)
		memcpy(parts[part].since, now, sizeof(now));
	parts[part].told = true;
	parts[part].state = state;
	memcpy(parts[part].detail, detail, sizeof(detail));
	lock_give(&health_lock);
}

static struct body *emit(const struct part *now)
{
	CLEANUP(arena_freep) struct arena *arena = arena_new();
	struct wire_status status = { .live = 1, .ready = 1 };
	struct wire_part *to;

	for (int i = 0; i < HEALTH_PARTS; i++) {
		if (!now[i].told)
			continue;
		to = list_add(arena, &status.parts, struct wire_part);
		*to = (struct wire_part){ names[i], (int)now[i].state,
					  now[i].detail[0] ? now[i].detail : NULL, now[i].since };
		if (now[i].state == PART_STARTING || now[i].state == PART_FAILED)
			status.ready = 0;
	}
	return body_rows(wire_status_rows, &status);
}

/* News come by themselves, but from what is silent, and from what nobody used. */
static bool checked(struct request *rq)
{
	const struct api *api = rq->context;
	uint64_t ticket = rq->resumed || !api->check ? 0 : request_defer(rq, CHECK_MS, NULL);

	if (ticket)
		api->check(ticket);
	return !ticket;
}

int health_show(struct request *rq, struct reply *reply, struct error *err)
{
	struct part now[HEALTH_PARTS];

	(void)err;
	if (!checked(rq))
		return 0;
	lock_take(&health_lock);
	memcpy(now, parts, sizeof(now));
	lock_give(&health_lock);
	*reply = reply_resource(emit(now));
	return 0;
}

int version_show(struct request *rq, struct reply *reply, struct error *err)
{
	const struct api *api = rq->context;
	const struct wire_version version = { HORCRUX_VERSION, api->node };

	(void)err;
	*reply = reply_resource(body_rows(wire_version_rows, &version));
	return 0;
}
