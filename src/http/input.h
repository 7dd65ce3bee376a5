/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a request brings, read by its route's rows: the query's parameters and the JSON body.
 * Owned by one thread.
 */
#pragma once

#include "http/router.h"

struct input {
	struct arena *arena; /* NULL until something is kept in it */
	json_t *json;	     /* the body, from which the struct may borrow */
	void *query;	     /* the struct of route->query; NULL when it has none */
	void *body;	     /* the struct of route->body; NULL when it has none */
};

void input_finish(struct input *input);

/* Errors: those of rows_parse, without a pointer, since that is for the body. */
int input_query(const struct route *route, const struct target *target, struct input *input,
		struct error *err);
struct input_form {
	const char *type;     /* Content-Type; NULL: none */
	const char *encoding; /* Content-Encoding; NULL: none */
};

/*
 * No bytes count as an empty object, of whatever form. Else: media_type when the type is not
 * application/json or it is encoded, bad_json, and what rows_parse finds.
 */
int input_body(const struct route *route, const struct input_form *form, const char *bytes, size_t n,
	       struct input *input, struct error *err);
