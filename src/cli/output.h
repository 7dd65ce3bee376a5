/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Printing for people. Everything that came from the kernel, from a device or from the daemon goes
 * through text_safe() first: no byte of theirs reaches a terminal as a control. Main thread.
 */
#pragma once

#include <jansson.h>

#include "cli/cli.h"

/* What stdout is. Colours only on a terminal, and never with NO_COLOR or TERM=dumb. */
void terminal_look(struct terminal *out);

/*
 * s with every control character, broken UTF-8 and direction override made a "?" (and, where the
 * locale is not UTF-8, all that is not ASCII). In the arena; NULL stays NULL.
 */
const char *text_safe(const struct cli *cli, const char *s);

/* The string at a key of an object, safe to print; NULL when it is not there or no string. */
const char *json_text(const struct cli *cli, const json_t *object, const char *key);
/* The same for an integer. */
int64_t json_number(const json_t *object, const char *key, int64_t otherwise);
/* Why a field is null: the reason in the object's `unknown`, safe to print; NULL: it has none. */
const char *json_reason(const struct cli *cli, const json_t *object, const char *key);

/* A line, an empty line before it unless it is the first of this run. */
void print_title(struct cli *cli, const char *fmt, ...) PRINTF(2, 3);
/* "  label          value", the value folded at the terminal's width. value is safe already. */
void print_field(const struct cli *cli, const char *label, const char *value);
/* The same of the string at a key of an object; nothing where there is none. */
void print_text(const struct cli *cli, const json_t *object, const char *label, const char *key);
/* "  - text", folded. */
void print_item(const struct cli *cli, const char *text);
/* Text folded at the width, each line after `indent` spaces. */
void print_folded(const struct cli *cli, FILE *to, int indent, const char *text);
/* The same where the first line's `indent` columns are printed already. */
void print_folded_after(const struct cli *cli, FILE *to, int indent, const char *text);

/*
 * The body of an answer for --output=json: as it came; on a terminal, with what is not ASCII
 * escaped, since it may hold controls.
 */
void print_json(const struct cli *cli, const char *bytes, size_t n);

/* Text of several lines, each made safe. */
void print_lines(const struct cli *cli, const char *text);

enum color { COLOR_NONE, COLOR_GOOD, COLOR_BUSY, COLOR_WARN, COLOR_BAD };

struct column {
	const char *name;
	double share;	/* of the width: 0.0 … 1.0; 0: as wide as it must be */
	bool cut;	/* may be cut when the terminal is narrow */
	int from_width; /* left out on a terminal narrower than this */
};

/* A table under construction; see table.c. */
struct table;

struct table *table_new(const struct cli *cli, const struct column *columns, size_t n);
void table_free(struct table *table);
DEFINE_CLEANUP(struct table *, table_free)
/* One row of n cells, safe already; the cell `colored` is shown in that colour. */
void table_row(struct table *table, const char *const *cells, size_t colored, enum color color);
void table_print(struct table *table);
