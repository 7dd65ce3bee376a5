/* SPDX-License-Identifier: Apache-2.0 */
/*
 * In --dev: the horcrux-privd that lies beside this program, started over a socketpair with the
 * same host root and state directory, and again when it ends. Main thread.
 */
#pragma once

#include <systemd/sd-event.h>

#include "plan/privd_client.h"

struct helper;

/* host_root and state_dir are borrowed. */
int helper_start(sd_event *event, struct privd *privd, const char *host_root, const char *state_dir,
		 struct helper **ret, struct error *err);
/* Ends it, and waits a little for it. Takes NULL. */
void helper_stop(struct helper *helper);
