/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one reader of uevents, for two sources: the kernel's netlink group, and, when the host root
 * is not "/", a datagram socket in the state directory to which a fake kernel sends the same bytes.
 * Owned by the main thread.
 */
#pragma once

#include "host/inventory.h"

/* Opens the source. socket_path NULL: netlink. Returns a non-blocking descriptor, or -1. */
int uevent_open(const char *socket_path, struct error *err);

/*
 * Reads all that is there and adds what the inventory must read again to `changes` (PCI functions,
 * the parents of mdev, vfio-dev and drm devices); changes->arena is made when it is NULL and needed.
 * An overrun (ENOBUFS) sets changes->all. Netlink messages that the kernel did not send (pid other
 * than 0) are dropped. Returns the number of messages.
 */
int uevent_drain(int fd, struct inventory_changes *changes, struct error *err);
