/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which accounts are members of the administrators' group. Asking the name services can take long
 * (a directory on the network), so a thread of its own asks, and what it heard is kept for a
 * minute. One such table in a process. Any thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

/*
 * Start the thread for a group, by name (a static string). `tell` is called on it with the ticket
 * of a look-up that is done.
 */
int members_start(const char *group, void (*tell)(uint64_t ticket), struct error *err);
/* Ends the thread; one that hangs in the name services is left behind after 200 ms. */
void members_stop(void);

enum membership { MEMBER_NO, MEMBER_YES, MEMBER_UNKNOWN };

/* What is known now; unknown also when it was heard more than a minute ago. Never blocks. */
enum membership members_ask(uid_t uid);
/* Have it looked up, then told(ticket). False: too many are waiting. */
bool members_look_up(uid_t uid, uint64_t ticket);
/* The group's number, if it was found so far. */
bool members_group(gid_t *ret);
