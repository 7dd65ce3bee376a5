/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where answers come from: the daemon, or this program's own reading when there is none. A command
 * asks here and does not care. Main thread.
 */
#pragma once

#include "cli/client.h"

enum question { ASK_DEVICES, ASK_DEVICE, ASK_GROUP, ASK_IOMMU, ASK_DOCTOR };

/*
 * A question that can be answered without a daemon too. With --socket or HORCRUX_SOCKET it is the
 * daemon there or nobody; with --host-root never a daemon. When this program reads the host itself
 * it says so once, on stderr. address: for ASK_DEVICE and ASK_GROUP, and, or NULL, for ASK_DOCTOR;
 * checked already.
 */
int source_ask(struct cli *cli, enum question question, const char *address, struct answer *ret,
	       struct failure *why);

/* Calls that only the daemon can answer; usage error with --host-root. */
int source_send(struct cli *cli, const struct call *call, struct answer *ret, struct failure *why);
int source_call(struct cli *cli, const char *method, const char *path, struct answer *ret,
		struct failure *why);

/* Is a daemon to be asked at all, and does one listen? */
bool source_has_daemon(const struct cli *cli);
/* The socket that is meant. */
const char *source_socket(const struct cli *cli);
