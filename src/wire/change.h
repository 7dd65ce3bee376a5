/* SPDX-License-Identifier: Apache-2.0 */
/* The rows of requests that change cards, and of the queries that every change takes. */
#pragma once

#include "base/rows.h"

/* ?dry_run=true on every change. */
struct wire_change_query {
	int dry_run;
};

enum wire_bind_scope { SCOPE_CARD, SCOPE_FUNCTION };

/* POST …/bind-vfio. */
struct wire_bind {
	int scope;		/* enum wire_bind_scope */
	struct list accept;	/* strings: codes of refusals */
};

/* POST …/unbind-vfio. */
struct wire_accept {
	struct list accept;
};

/* PUT …/sriov. */
struct wire_sriov_change {
	int64_t vfs;
	struct list accept;
};

/* GET /api/tasks. */
struct wire_task_query {
	int state;		/* enum task_state */
};

extern const struct row wire_change_query_rows[];
extern const struct row wire_bind_rows[];
extern const struct row wire_accept_rows[];
extern const struct row wire_sriov_change_rows[];
extern const struct row wire_task_query_rows[];
