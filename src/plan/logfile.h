/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An append-only file of JSON records, one a line, each with its own checksum in front. An append
 * is on disk when it returns 0, and not in the file at all when it fails. A last line that is torn
 * is cut off at opening. Owned by one thread at a time.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <sys/types.h>

#include "base/error.h"

struct logfile {
	int dir, fd;		/* the directory is locked while open: one process at a time */
	off_t size;
	bool broken;		/* half a line stands at its end: nothing may follow it */
	char path[256];		/* for messages */
};

#define LOGFILE_CLOSED { .dir = -1, .fd = -1 }

/* What to do with a record. false: not kept (logfile_rewrite). The record is borrowed. */
typedef bool logfile_reader(void *data, json_t *record);

/* Open directory/journal, or make it, and hand every record to `reader`. 0, or ERROR_STORE. */
int logfile_open(struct logfile *file, const char *directory, logfile_reader *reader, void *data,
		 struct error *err);
void logfile_close(struct logfile *file);
/* Take the reference to record. */
int logfile_append(struct logfile *file, json_t *record, struct error *err);
/*
 * Put another file in its place, at once or not at all: the records in `first` (array, borrowed),
 * then those of now that `keep` keeps (NULL: none).
 */
int logfile_rewrite(struct logfile *file, json_t *first, logfile_reader *keep, void *data,
		    struct error *err);
