/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Uevents: one datagram each, in the bytes of the kernel's netlink messages,
 * to a unix socket.  Guarded by the host's lock; a thread of its own sends what
 * the socket would not take at once.
 */
#pragma once

#include "host.h"

/* Where to; -ENAMETOOLONG for a path that no socket can have. */
int uevent_start(const char *path);

/* `env` is lines "KEY=value\n", as the file `uevent` shows them. */
void uevent_send(const char *action, struct node *dir, const char *subsystem, const char *env);
void uevent_mute(bool mute);

/* "sent N", "dropped N", ...: the text of .fake/uevents */
void uevent_report(struct text *out);
