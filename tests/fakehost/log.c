/* SPDX-License-Identifier: Apache-2.0 */
/* Logs of writes and reads; see log.h. */
#include "log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "knobs.h"
#include "pci.h"

#define PENDING 1

struct entry {
	char *path;
	char *value; /* escaped */
	int result;  /* 0, -errno, or PENDING */
};

static struct entry *entries;
static size_t count, first; /* entries keep their numbers when the log is cleared */
static struct text notes;

char *log_path(const struct node *n)
{
	char *alias = pci_alias(n);

	return alias ? alias : node_path(n);
}

static char *escape(const char *buf, size_t len)
{
	struct text t = { 0 };

	text_puts(&t, "");
	for (size_t i = 0; i < len && i < 256; i++) {
		unsigned char c = (unsigned char)buf[i];

		if (c == '\n')
			text_puts(&t, "\\n");
		else if (c == '\\')
			text_puts(&t, "\\\\");
		else if (c < 32 || c > 126)
			text_addf(&t, "\\x%02x", c);
		else
			text_add(&t, &buf[i], 1);
	}
	return t.data;
}

size_t log_write(const char *path, const char *buf, size_t len)
{
	struct entry *e;

	entries = must_grow(entries, count + 1, sizeof(*entries));
	e = &entries[count];
	*e = (struct entry){ text_dup(path), escape(buf, len), PENDING };
	return count++;
}

void log_result(size_t entry, int result)
{
	entries[entry].result = result;
}

void log_note(const char *what, const char *path)
{
	text_addf(&notes, "%s\t%s\n", what, path);
}

void log_show_writes(struct text *out)
{
	for (size_t i = first; i < count; i++) {
		const struct entry *e = &entries[i];
		const char *result = e->result == PENDING ? "pending"
				     : e->result	  ? errno_name(-e->result)
							  : "OK";

		text_addf(out, "%zu\t%s\t%s\t%s\n", i - first + 1, e->path, e->value, result);
	}
}

/* Numbers stay: a write that is still pending knows its entry by it. */
void log_clear_writes(void)
{
	for (; first < count; first++) {
		free(entries[first].path);
		free(entries[first].value);
		entries[first].path = entries[first].value = NULL;
	}
}

static void show_below(struct node *n, struct text *out)
{
	for (struct node *c = n->children; c; c = c->next) {
		if (c->opens || c->reads) {
			char *path = log_path(c);

			text_addf(out, "%lu\t%lu\t%s\n", c->opens, c->reads, path);
			free(path);
		}
		show_below(c, out);
	}
}

void log_show_reads(struct text *out)
{
	show_below(node_root(), out);
	if (notes.data)
		text_add(out, notes.data, notes.len);
}

static void clear_below(struct node *n)
{
	for (struct node *c = n->children; c; c = c->next) {
		c->opens = c->reads = 0;
		clear_below(c);
	}
}

void log_clear_reads(void)
{
	clear_below(node_root());
	text_clear(&notes);
}
