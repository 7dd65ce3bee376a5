/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Knobs: how the machine is made to misbehave.  Set before the start
 * (--knob=, `knob` lines) or by writing lines to .fake/knobs.
 */
#pragma once

#include "host.h"

enum knob_op { KNOB_WRITE, KNOB_READ, KNOB_OPEN };

/* One line; -EINVAL with a complaint. */
int knob_line(const char *line);

/*
 * What is to happen to this operation on `n`: -errno to fail with it, 1 to say
 * OK and do nothing, 0 to go on.  May block and sleep (the host's lock is let
 * go), so look again whether `n` is alive.
 */
int knob_apply(enum knob_op op, struct node *n, const char *buf, size_t len);
bool knob_hidden(const struct node *n);

/* The errno that a probe must fail with, or 0. */
int knob_probe(const struct function *f, const struct driver *d);

/* How many instances of a type may be left, at most. */
unsigned knob_shrink(const struct function *f, const char *type, unsigned available);
void knob_show(struct text *out);

/* "EIO" or "5" -> 5; 0 if it is none. */
int errno_by_name(const char *name);
const char *errno_name(int e);
