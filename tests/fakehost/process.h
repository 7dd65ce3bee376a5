/* SPDX-License-Identifier: Apache-2.0 */
/* Processes of the story: /proc/PID with its open files. */
#pragma once

#include "host.h"
#include "line.h"

/* `process PID COMM [fd=PATH,...] [maps=PATH,...] [cmdline=] [uid=] ...` */
int process_line(struct line *l);
int process_open(int pid, const char *path);
int process_close(int pid, const char *path);
int process_kill(int pid);

/* How many open files of living processes are this path. */
unsigned process_holds(const char *path);
/* How many device nodes living processes have open or mapped: those of VFIO, or all others. */
unsigned process_nodes(bool vfio);
void process_make(void);
