/* SPDX-License-Identifier: Apache-2.0 */
/* The control directory .fake/ of the mount. */
#pragma once

#include "host.h"

void control_make(void);

/* Is this node one of the control files?  They are not logged and have no knobs. */
bool control_owns(const struct node *n);

/* One line of .fake/event. */
int event_line(const char *s);
