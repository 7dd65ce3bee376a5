/* SPDX-License-Identifier: Apache-2.0 */
/* One message over a SOCK_SEQPACKET socket, to the daemon or to a child. Any thread. */
#pragma once

#include <stddef.h>

/*
 * Sends the bytes as one message, and a copy of the descriptor with them (-1: none), which stays the
 * caller's. Never waits. 0, or -errno: -EAGAIN when the other end does not take its messages.
 */
int message_send(int socket, const void *bytes, size_t n, int fd);
