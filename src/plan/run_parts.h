/* SPDX-License-Identifier: Apache-2.0 */
/* What the files run*.c share; nobody else includes this. In the run's thread. */
#pragma once

#include "plan/run.h"

/* What a part of the way comes to: a verdict, or this: look where it goes on. */
enum { GO_ON = -1 };

/* Around every call into kinds, whose deadline is run->step_until. Leave false: it came back too late. */
void run_enter(struct run *run, const struct step_kind *const *kinds, size_t n, bool back);
bool run_leave(struct run *run);

/* Others are told that it is in step n. */
void run_tell(struct run *run, size_t n, bool back);
/* Step n failed, and why: that is run->error. */
void run_blame(struct run *run, size_t n, const struct error *why);
/* Whether it happened all the same has to be found out. */
bool run_needs_asking(const struct error *why);
/* The step it is in failed. applying: in apply, not in its proof. How it goes on. */
int run_step_failed(struct run *run, const struct error *why, bool applying);
/* There is no way back: the verdict, with what is not done said in run->error. */
int run_failed_for_good(struct run *run);

/* Do the step it is in and those that go with it; *next: how it goes on. False: it goes its own way. */
bool run_chain(struct run *run, int *next);
