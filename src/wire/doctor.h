/* SPDX-License-Identifier: Apache-2.0 */
/* The rows of the doctor's report, `GET /api/doctor`. Structs hold borrowed pointers. */
#pragma once

#include "base/rows.h"

enum wire_check_status { CHECK_OK, CHECK_WARN, CHECK_FAIL, CHECK_UNKNOWN };

struct wire_check {
	const char *id;	      /* what is checked, a word that never changes: "iommu" */
	const char *subject;  /* "host", or the address of a card */
	int status;	      /* enum wire_check_status */
	const char *title;    /* what was found, one line */
	const char *evidence; /* where it was seen; NULL: nothing to show */
	const char *why;      /* why it matters */
	const char *fix;      /* what to do; NULL: nothing */
	int reboot_needed;    /* the fix takes a reboot */
};

struct wire_doctor {
	int verdict;	    /* enum wire_check_status */
	struct list checks; /* struct wire_check */
};

extern const struct row wire_doctor_rows[];
extern const char *const wire_check_status_words[];
