/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host as this program reads it itself when no daemon is asked: the same inventory, the same
 * view and the same rows as the daemon's, so the same JSON. Main thread.
 */
#pragma once

#include "cli/cli.h"

struct local;

/* Reads the host whose / is `directory`. NULL with an error. */
struct local *local_new(const char *directory, struct error *err);
void local_free(struct local *local);

/*
 * What only root could have told: NULL when everything was read, else the reason (static or as
 * long as local).
 */
const char *local_hidden(const struct local *local);

/* Each a new reference, or NULL with an error (not_found). */
json_t *local_devices(struct local *local);
json_t *local_device(struct local *local, const char *address, struct error *err);
json_t *local_group(struct local *local, const char *address, struct error *err);
json_t *local_iommu(struct local *local);
