/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ssh sessions into this host that live now, by their sockets: established, at port 22, a port
 * of sshd's configuration, or one on which an sshd process listens (seeing that takes root). Any
 * thread.
 */
#pragma once

#include "host/routes.h"

/*
 * Peers of the sessions, struct ip_address, without loopback and without the host itself. 0; or -1
 * with an error when they cannot be told.
 */
int ssh_peers(const struct host_root *root, struct arena *arena, struct list *peers,
	      struct error *err);
