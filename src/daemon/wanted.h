/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is wanted of cards and dies with the boot: their VFs. When the daemon starts it is made again, before
 * VMs are started with the host, by the operations that make it at any other time. Of the thread that
 * looks after VMs.
 */
#pragma once

#include "plan/task.h"

/*
 * To be called again and again, about once a second, when cards can be worked with. False while something is
 * under way or is to be tried again (a driver may still be coming up); true when all is as it is
 * wanted, or after a minute: what could not be made is then in the log. Never waits.
 */
bool wanted_made(struct engine *engine);
/* At the end. */
void wanted_forget(void);
