/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The driver core (drivers/base/bus.c, dd.c) and the parts of the PCI core
 * that decide who gets a device: match, probe, detach, add, remove, rescan.
 * All functions want the host's lock; those that say so may let go of it.
 */
#pragma once

#include "host.h"

/* device_lock(); lets go of the host's lock while somebody has the device. */
void device_lock(struct function *f);
void device_unlock(struct function *f);

bool driver_matches(const struct driver *d, const struct function *f);

/* Probes with the device locked: 0 or the driver's errno. */
int driver_probe(struct driver *d, struct function *f);

/* Tries all drivers, in order; true if one took it.  Device locked. */
bool device_attach(struct function *f);

/* Takes the driver off; may block for ever.  Device locked. */
void device_detach(struct function *f);

/* Like a write to bind, unbind, drivers_probe; they lock the device. */
int core_bind(struct driver *d, struct function *f);
int core_unbind(struct driver *d, struct function *f);

/* The device appears: nodes and uevent; then it is offered to the drivers. */
void core_add(struct function *f);
void core_offer(struct function *f);

/* pci_stop_and_remove_bus_device(), with all below it. */
void core_remove(struct function *f);
void core_rescan(void);
void bus_lock(void);
void bus_unlock(void);

/* The device is pulled out: it goes although it may be in use. */
void core_lose(struct function *f);

int core_override_store(struct function *f, const char *buf, size_t len);

/* /sys/bus/pci itself. */
void core_make_bus(void);
