/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Processes of this machine (its own /proc, whatever the host root is), told apart by pid and start
 * time: a pid alone may have been given to somebody else meanwhile. Any thread.
 */
#pragma once

#include <stdint.h>
#include <sys/types.h>

/* Clock ticks since boot (proc(5), stat, field 22); 0 when it ended, reaped or not. */
uint64_t process_start_time(pid_t pid);

/* A pidfd of exactly that process, or -ESRCH when it is gone. Readable once it ends. */
int process_open(pid_t pid, uint64_t start_time);
