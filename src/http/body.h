/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes of a reply with their media type and ETag. Immutable and counted: one body serves many
 * requests at once, from any thread.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/rows.h"
#include "base/strbuf.h"

enum { ETAG_TEXT = 20 };

struct body {
	int refs; /* atomic */
	size_t n;
	const char *type;     /* static */
	char etag[ETAG_TEXT]; /* with its quotes */
	char bytes[];
};

extern const char TYPE_JSON[], TYPE_PROBLEM[], TYPE_TEXT[];

/* A copy of the bytes. Without memory the process ends, as with an arena. */
struct body *body_new(const char *type, const char *bytes, size_t n);
/* The text and a newline at its end. Takes the text. */
struct body *body_text(const char *type, struct strbuf *text);
/* A struct, and a list of them, as JSON like that of body_json(); without a tree of it between. */
struct body *body_rows(const struct row *rows, const void *object);
struct body *body_rows_list(const struct row *rows, size_t size, const struct list *list);
/* The JSON as compact text with a newline at its end. Takes the reference to json. */
struct body *body_json(const char *type, json_t *json);
/* "[", the bodies without their newlines, with commas between, "]", newline. Borrows the parts. */
struct body *body_join(const struct body *const *parts, size_t n);

struct body *body_ref(struct body *body);
void body_unref(struct body *body);
DEFINE_CLEANUP(struct body *, body_unref)

/*
 * Does the value of If-None-Match (RFC 9110, 13.1.2) name this body: "*", or a list of tags with or
 * without W/. Pure.
 */
bool body_matches(const struct body *body, const char *if_none_match);
