/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One error object. A function that can fail returns 0 (or a useful number >= 0) or a negative
 * value, and takes `struct error *err` last. The error is set once, where the cause is known; on
 * the way up it may be wrapped with what was being done; it is reported once, at the top.
 *
 * An error owns nothing: it lives on the stack of whoever asks and is copied by assignment.
 * Every function accepts err == NULL (the caller does not want to know why).
 */
#pragma once

#include <stdarg.h>
#include <stdbool.h>

#include "base/cleanup.h"

/* What went wrong. Each has a row in error.c: the name on the wire, the HTTP status, a title. */
enum error_code {
	ERROR_NONE,
	ERROR_BAD_JSON,		/* body is no JSON, or no UTF-8, or has a key twice */
	ERROR_BAD_REQUEST,	/* the request itself is malformed */
	ERROR_UNAUTHORIZED,
	ERROR_FORBIDDEN,
	ERROR_NOT_FOUND,
	ERROR_METHOD_NOT_ALLOWED,
	ERROR_CONFLICT,		/* right now it cannot be done, something else is in the way */
	ERROR_REFUSED,		/* a planner refused; the refusals say why */
	ERROR_EXISTS,
	ERROR_PLAN_CHANGED,	/* If-Plan names another plan */
	ERROR_PRECONDITION,	/* If-Match */
	ERROR_TOO_LARGE,
	ERROR_URI_TOO_LONG,
	ERROR_MEDIA_TYPE,
	ERROR_UNKNOWN_FIELD,
	ERROR_MISSING_FIELD,
	ERROR_WRONG_TYPE,
	ERROR_INVALID_VALUE,
	ERROR_TOO_MANY,		/* a limit of ours is reached */
	ERROR_STUCK,		/* the kernel did not come back in time */
	ERROR_PROOF_FAILED,	/* done, but reading back shows otherwise */
	ERROR_CANCELLED,
	ERROR_NO_ANSWER,	/* the card's configuration space reads ff: it is quarantined */
	ERROR_GONE,		/* the device or domain vanished meanwhile */
	ERROR_HELPER,		/* horcrux-privd cannot be reached */
	ERROR_LIBVIRT,		/* libvirt cannot be reached */
	ERROR_LIBVIRT_FAILED,	/* libvirt answers, and it or QEMU could not do it */
	ERROR_STORE,		/* our own files: disk full, database locked */
	ERROR_READ_ONLY,	/* this host root cannot be written to */
	ERROR_UNREACHABLE,	/* (CLI) the daemon does not answer */
	ERROR_USAGE,		/* (CLI, configuration) wrong words */
	ERROR_SYSTEM,		/* a system call failed where it must not */
	ERROR_INTERNAL,
	ERROR_CODES
};

struct error {
	enum error_code code;
	char message[512];	/* what, where, why: one sentence, no trailing dot */
	char hint[384];		/* what to do; empty when there is nothing to say */
	char pointer[192];	/* RFC 6901, into the request; empty when it does not apply */
};

/* Each of these returns -1, so that a failing branch is one line. */
int error_set(struct error *err, enum error_code code, const char *fmt, ...) PRINTF(3, 4);
/* As error_set, with ": <text of errno_value>" after the message. Takes +errno. */
int error_errno(struct error *err, enum error_code code, int errno_value, const char *fmt, ...)
	PRINTF(4, 5);
/* Put "<what was being done>: " before the message. */
int error_wrap(struct error *err, const char *fmt, ...) PRINTF(2, 3);
/* Put text after the message, where there is one and room for all of it. */
void error_add(struct error *err, const char *text);
int error_hint(struct error *err, const char *fmt, ...) PRINTF(2, 3);
int error_pointer(struct error *err, const char *fmt, ...) PRINTF(2, 3);

/* From the table in error.c. Static strings. error_code_find gives ERROR_CODES when unknown. */
const char *error_code_name(enum error_code code);
const char *error_code_title(enum error_code code);
int error_code_status(enum error_code code);
enum error_code error_code_find(const char *name);
