/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host as this program reads it itself when no daemon is asked: the same inventory, the same
 * view and the same rows as the daemon's, so the same JSON. Main thread.
 */
#pragma once

#include "cli/cli.h"

struct local;

/*
 * Opens and lists the host whose / is `directory`; what counts as a card there is said by the
 * configuration that a daemon on it would read (config.h). NULL with an error.
 */
struct local *local_new(const char *directory, struct error *err);
/* The configuration that counts, if it could not be read; NULL: there is none, or it was read. */
const char *local_config_hidden(const struct local *local);
void local_free(struct local *local);

/*
 * Why who uses the cards, or what the host needs, could not be read so far; NULL: nothing that was
 * asked was hidden. Lives as long as local.
 */
const char *local_hidden(const struct local *local);

/*
 * Each a new reference, or NULL with an error (not_found). Only what an answer needs is read: the
 * whole of the host takes longer than a list does. whole: false leaves out what the host needs the
 * cards for.
 */
json_t *local_devices(struct local *local, bool whole);
json_t *local_device(struct local *local, const char *address, struct error *err);
json_t *local_group(struct local *local, const char *address, struct error *err);
json_t *local_iommu(struct local *local);
json_t *local_doctor(struct local *local, const char *address, struct error *err);
