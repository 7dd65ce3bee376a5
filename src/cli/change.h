/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asking the daemon for a change, and following the task that it becomes. Main thread.
 */
#pragma once

#include "cli/source.h"

struct change {
	const char *method;
	const char *path;  /* made of words that were checked */
	const char *query; /* "delete_disks=true"; NULL: none */
	json_t *body;	   /* an object, borrowed; NULL: none */
};

enum changed {
	CHANGE_FAILED = -1, /* `why` says so */
	CHANGE_DONE, /* *ret is the resource (a new reference; NULL: there is none to show) */
	CHANGE_TOLD, /* a plan or a task that goes on was printed: nothing more to say */
};

/*
 * By the options: --plan prints what would be done; --no-wait prints the task that was begun; else
 * it is waited for, with its progress on stderr. --accept goes into the body.
 */
enum changed change_run(struct cli *cli, const struct change *change, json_t **ret,
			struct failure *why);

/* Until the task is over: its progress on stderr. *ret: the task as it ended, a new reference. */
int task_follow(struct cli *cli, const char *id, json_t **ret, struct failure *why);
/* How it ended: 0 it succeeded, or -1 with why not. */
int task_verdict(json_t *task, struct failure *why);
/* "start VM vm-100: running, step 3 of 13". */
void task_print_line(struct cli *cli, const json_t *task);

/* Prints the resource as it came with --output=json; else what the function prints. */
void print_resource(struct cli *cli, const json_t *resource,
		    void (*print)(struct cli *cli, const json_t *resource));
