/* SPDX-License-Identifier: Apache-2.0 */
/* Tables by libsmartcols. See output.h. */
#include <libsmartcols.h>

#include "cli/output.h"

enum { COLUMNS_MAX = 12 };

struct table {
	struct libscols_table *scols;
	bool shown[COLUMNS_MAX];
	bool colors;
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

void table_print(struct table *table)
{
	scols_print_table(table->scols);
}
