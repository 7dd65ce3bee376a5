/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is on file about a running operation, in RUN/privd-children/: made by privd before it forks,
 * filled in by the child before it does anything, and again with what came out; emptied by privd
 * once the end was told, and removed with the child. So whoever kills privd, and whenever, the next
 * one finds each child that may still write to the machine.
 *
 * A child that has not yet filled in its record dies with privd (PR_SET_PDEATHSIG), and the next
 * privd waits until its predecessor is altogether gone: a record that is empty then belongs to
 * nobody.
 */
#pragma once

#include <sys/types.h>

#include "privd/protocol.h"

struct record {
	uint32_t magic;
	uint32_t size;
	uint8_t boot[16]; /* pids and ticks mean nothing in another boot */
	struct privd_child child;
	/* Filled in at the end. */
	uint32_t done;
	uint16_t status; /* enum privd_status */
	uint16_t zero;
	int32_t error;
	uint32_t zero2;
	uint64_t value;
	uint64_t length;
};

enum { RECORD_NAME = 32 };

/* A fresh empty record in `directory`. Its descriptor, and its name; or -errno. */
int record_create(int directory, char name[static RECORD_NAME]);
/* The calling process, which is record->child, takes the record: 0, or -errno. */
int record_begin(int fd, struct record *record);
/* What came out. */
int record_end(int fd, const struct record *record);
/* It was told: the record is empty again, for the next operation of the same child. 0, or -errno. */
int record_clear(int fd);
/* False when it is empty, of another boot, or no record. */
bool record_read(int fd, struct record *record);
