/* SPDX-License-Identifier: Apache-2.0 */
/* See body.h. */
#include "http/body.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "wire/text.h"

enum { TEXT_BYTES = 64 << 20 };

const char TYPE_JSON[] = "application/json";
const char TYPE_PROBLEM[] = "application/problem+json";
const char TYPE_TEXT[] = "text/plain; charset=utf-8";

static void *must(void *p)
{
	if (!p)
		abort();
	return p;
}

/* FNV-1a, 64 bits: an ETag tells versions apart, it keeps no secret. */
static uint64_t hash_of(const char *bytes, size_t n)
{
	uint64_t hash = 0xcbf29ce484222325;

	for (size_t i = 0; i < n; i++)
		hash = (hash ^ (unsigned char)bytes[i]) * 0x100000001b3;
	return hash;
}

static struct body *finish(struct body *body)
{
	snprintf(body->etag, sizeof(body->etag), "\"%016llx\"",
		 (unsigned long long)hash_of(body->bytes, body->n));
	return body;
}

static struct body *allocate(const char *type, size_t n)
{
	struct body *body = must(malloc(sizeof(*body) + n + 1));

	*body = (struct body){ .refs = 1, .n = n, .type = type };
	body->bytes[n] = '\0';
	return body;
}

struct body *body_new(const char *type, const char *bytes, size_t n)
{
	struct body *body = allocate(type, n);

	if (n)
		memcpy(body->bytes, bytes, n);
	return finish(body);
}

struct body *body_json(const char *type, json_t *json)
{
	size_t n = json_dumpb(json, NULL, 0, JSON_COMPACT);
	struct body *body = allocate(type, n + 1);

	json_dumpb(json, body->bytes, n, JSON_COMPACT);
	body->bytes[n] = '\n';
	json_decref(json);
	return finish(body);
}

struct body *body_text(const char *type, struct strbuf *text)
{
	struct body *body = allocate(type, text->len + 1);

	if (text->failed)
		abort();
	memcpy(body->bytes, strbuf_text(text), text->len);
	body->bytes[text->len] = '\n';
	strbuf_finish(text);
	return finish(body);
}

struct body *body_rows(const struct row *rows, const void *object)
{
	struct strbuf text = STRBUF_INIT(TEXT_BYTES);

	text_write(rows, object, &text);
	return body_text(TYPE_JSON, &text);
}

struct body *body_rows_list(const struct row *rows, size_t size, const struct list *list)
{
	struct strbuf text = STRBUF_INIT(TEXT_BYTES);

	text_write_list(rows, size, list, &text);
	return body_text(TYPE_JSON, &text);
}

static size_t without_newline(const struct body *body)
{
	return body->n && body->bytes[body->n - 1] == '\n' ? body->n - 1 : body->n;
}

struct body *body_join(const struct body *const *parts, size_t n)
{
	size_t bytes = sizeof("[]\n") - 1 + (n ? n - 1 : 0);
	struct body *body;
	char *to;

	for (size_t i = 0; i < n; i++)
		bytes += without_newline(parts[i]);
	body = allocate(TYPE_JSON, bytes);
	to = body->bytes;
	*to++ = '[';
	for (size_t i = 0; i < n; i++) {
		if (i)
			*to++ = ',';
		memcpy(to, parts[i]->bytes, without_newline(parts[i]));
		to += without_newline(parts[i]);
	}
	memcpy(to, "]\n", 2);
	return finish(body);
}

struct body *body_ref(struct body *body)
{
	__atomic_add_fetch(&body->refs, 1, __ATOMIC_RELAXED);
	return body;
}

void body_unref(struct body *body)
{
	if (body && !__atomic_sub_fetch(&body->refs, 1, __ATOMIC_ACQ_REL))
		free(body);
}

bool body_matches(const struct body *body, const char *if_none_match)
{
	const char *at = if_none_match;
	size_t n = strlen(body->etag);

	while (*at) {
		at += strspn(at, " \t,");
		if (*at == '*')
			return true;
		if (!strncmp(at, "W/", 2))
			at += 2;
		if (!strncmp(at, body->etag, n) && strchr(" \t,", at[n]))
			return true; /* the NUL counts as one of them */
		at += strcspn(at, ",");
	}
	return false;
}
