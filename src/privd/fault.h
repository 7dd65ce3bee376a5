/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Faults for the crash tests: HORCRUX_FAULT=kill:privd:OP:before|inside|after, read from the
 * environment only, once. `before`: privd kills itself when the request is there and nothing was
 * done. `inside`: the child that is about to write kills privd, lets a moment go by, and writes.
 * `after`: privd kills itself when the child has ended and nobody was told.
 *
 * `hold:privd:OP:inside` kills nobody: the child waits two seconds straight before its write, so that
 * others can be killed meanwhile.
 *
 * It strikes once per run directory (the file `privd-fault` there says that it did), so that a
 * privd that is started again with the same environment works. Owned by privd's one thread.
 */
#pragma once

#include "privd/protocol.h"

enum fault_when { FAULT_NOWHERE, FAULT_BEFORE, FAULT_INSIDE, FAULT_AFTER };

/* Reads the environment, and logs what is armed; -1 when it is for privd and makes no sense. */
int fault_init(int run_directory);

/* Kills this process if that is what was asked for. */
void fault_strike(enum privd_op op, enum fault_when when);

/* Before a fork: true when the child shall strike inside (and it is noted that it did). */
bool fault_take_inside(enum privd_op op);
/* In that child, straight before its write: kills the parent, or holds. */
void fault_strike_inside(void);
