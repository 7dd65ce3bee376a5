/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the handlers are given (server_options.context), and the table of routes. Handlers run on
 * HTTP threads and never block: what they answer is made beforehand (cards.h), or another thread
 * is asked through these hooks and answers by ticket (pending.h). The hooks must not block either.
 */
#pragma once

#include "http/router.h"

struct engine;

struct api {
	const char *node; /* name of this host */
	struct engine *engine; /* plan/task.h; NULL: not started yet */
	/* Read the whole inventory anew, publish it, then api_scanned(ticket). */
	void (*scan)(uint64_t ticket);
	/*
	 * Somebody looks at the cards, so what must be asked again and again (who holds them) is to
	 * be kept fresh for a while. Is it fresh now?
	 */
	bool (*look)(void);
	/* pending_resume(ticket) once it is fresh, or soon if it cannot be had. */
	void (*refresh)(uint64_t ticket);
	/* pending_resume(ticket) once the parts that can be asked how they are were, or soon. */
	void (*check)(uint64_t ticket);
};

extern const struct route api_routes[];
extern const size_t api_routes_n;

/* Answers a scan with the list as it is now; or, if err is not NULL, with what made it fail. */
void api_scanned(uint64_t ticket, const struct error *err);
