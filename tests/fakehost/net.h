/* SPDX-License-Identifier: Apache-2.0 */
/* Network interfaces and the tables in /proc/net. */
#pragma once

#include "line.h"

int net_line(struct line *l);
int net_address_line(struct line *l);
int net_route_line(struct line *l);
int net_tcp_line(struct line *l);

/* A route (by interface) or a connection (by remote address) ends. */
int net_forget(const char *what, const char *which);
void net_make(void);
