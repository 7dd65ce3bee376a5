/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this program takes from the daemon's configuration when it reads a host itself: which other
 * classes count as cards there. The rest of the file is the daemon's to judge. One thread.
 */
#pragma once

#include "base/error.h"
#include "host/pci.h"

/*
 * From HORCRUX_CONFIG; else, for the host itself (`real`), from /etc/horcrux/horcrux.conf, as the daemon
 * does (with another host root it reads none). Without a file nothing is set. 0; *hidden is the path
 * (static) when it is there and this user may not read it, else NULL. -1: usage.
 */
int config_classes(bool real, struct class_filter *ret, const char **hidden, struct error *err);
