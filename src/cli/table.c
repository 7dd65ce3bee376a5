/* SPDX-License-Identifier: Apache-2.0 */
/* Tables by libsmartcols. See output.h. */
#include <libsmartcols.h>
#include <string.h>
#include <wchar.h>

#include "cli/output.h"

enum { COLUMNS_MAX = 12 };

struct table {
	struct libscols_table *scols;
	bool shown[COLUMNS_MAX];
	bool colors;
	bool fitted; /* to a terminal: cells may have to be cut */
	const char *sign; /* of a cell that was cut; one column wide */
	size_t n;
};

static const char *const color_names[] = {
	[COLOR_GOOD] = "green",
	[COLOR_BUSY] = "cyan",
	[COLOR_WARN] = "yellow",
	[COLOR_BAD] = "red",
};

static void *must(void *p)
{
	if (!p)
		abort();
	return p;
}

static void add_column(struct table *table, const struct column *column)
{
	int flags = column->cut ? SCOLS_FL_TRUNC : 0;

	must(scols_table_new_column(table->scols, column->name, column->share, flags));
}

struct table *table_new(const struct cli *cli, const struct column *columns, size_t n)
{
	struct table *table = must(calloc(1, sizeof(*table)));

	table->scols = must(scols_new_table());
	table->n = n < COLUMNS_MAX ? n : COLUMNS_MAX;
	table->colors = cli->out.colors;
	table->fitted = cli->out.tty;
	table->sign = cli->out.utf8 ? "…" : "+";
	scols_table_enable_colors(table->scols, cli->out.colors);
	scols_table_set_termforce(table->scols,
				  cli->out.tty ? SCOLS_TERMFORCE_ALWAYS : SCOLS_TERMFORCE_NEVER);
	if (cli->out.tty)
		scols_table_set_termwidth(table->scols, (size_t)cli->out.width);
	for (size_t i = 0; i < table->n; i++) {
		table->shown[i] = !cli->out.width || cli->out.width >= columns[i].from_width;
		if (table->shown[i])
			add_column(table, &columns[i]);
	}
	return table;
}

void table_free(struct table *table)
{
	if (!table)
		return;
	scols_unref_table(table->scols);
	free(table);
}

void table_row(struct table *table, const char *const *cells, size_t colored, enum color color)
{
	struct libscols_line *line = must(scols_table_new_line(table->scols, NULL));
	size_t at = 0;

	for (size_t i = 0; i < table->n; i++) {
		if (!table->shown[i])
			continue;
		if (scols_line_set_data(line, at, cells[i]) < 0)
			abort();
		if (table->colors && i == colored && color)
			scols_cell_set_color(scols_line_get_cell(line, at), color_names[color]);
		at++;
	}
}

/* Bytes of text that fit into so many columns; all of them where it fits. */
static size_t bytes_that_fit(const char *text, size_t room)
{
	mbstate_t state = { 0 };
	size_t columns = 0, at = 0, n;
	wchar_t c = L'?';
	int width;

	for (; text[at]; at += n) {
		n = mbrtowc(&c, text + at, MB_CUR_MAX, &state);
		if (n > MB_CUR_MAX)	/* no character of this locale */
			return strlen(text);
		width = wcwidth(c);
		columns += width > 0 ? (size_t)width : 0;
		if (columns > room)
			break;
	}
	return at;
}

static void sign_cut(const struct table *table, struct libscols_cell *cell, size_t room)
{
	const char *text = scols_cell_get_data(cell);
	CLEAN_FREE char *cut = NULL;

	if (!text || !room || !text[bytes_that_fit(text, room)])
		return;
	if (asprintf(&cut, "%.*s%s", (int)bytes_that_fit(text, room - 1), text, table->sign) < 0 ||
	    scols_cell_set_data(cell, cut) < 0)
		abort();
}

/*
 * libsmartcols cuts a cell without a sign of it. How wide columns become it knows when it has printed:
 * so it prints once for nobody, and what it would cut is cut here.
 */
static void sign_what_is_cut(const struct table *table)
{
	size_t columns = scols_table_get_ncols(table->scols);
	size_t lines = scols_table_get_nlines(table->scols), room;
	CLEAN_FREE char *text = NULL;

	if (scols_print_table_to_string(table->scols, &text) < 0)
		return;
	for (size_t i = 0; i < columns; i++) {
		room = scols_column_get_width(scols_table_get_column(table->scols, i));
		for (size_t n = 0; n < lines; n++)
			sign_cut(table, scols_line_get_cell(scols_table_get_line(table->scols, n), i),
				 room);
	}
}

void table_print(struct table *table)
{
	if (table->fitted)
		sign_what_is_cut(table);
	scols_print_table(table->scols);
}
