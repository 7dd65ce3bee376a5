/* SPDX-License-Identifier: Apache-2.0 */
/* Parts of manual pages. See pages.h. */
#include <stdbool.h>
#include <stdio.h>

#include "pages.h"

void roff(const char *text)
{
	bool line_start = true;

	for (const char *c = text; *c; c++) {
		if (line_start && (*c == '.' || *c == '\''))
			fputs("\\&", stdout);
		line_start = *c == '\n';
		if (*c == '\\')
			fputs("\\e", stdout);
		else if (*c == '-')
			fputs("\\-", stdout);
		else
			putchar(*c);
	}
}

void roff_head(const char *title, int section, const char *what)
{
	fputs(".TH ", stdout);
	roff(title);
	printf(" %d \"\" \"Horcrux " HORCRUX_VERSION "\" \"%s\"\n", section,
	       section == 5 ? "File Formats" : "System Administration");
	roff_section("NAME");
	roff(title);
	fputs(" \\- ", stdout);
	roff(what);
	putchar('\n');
}

void roff_section(const char *name)
{
	printf(".SH %s\n", name);
}

void roff_item(const char *word, const char *more, const char *text)
{
	fputs(".TP\n\\fB", stdout);
	roff(word);
	fputs("\\fR", stdout);
	if (more) {
		fputs("\\fI", stdout);
		roff(more);
		fputs("\\fR", stdout);
	}
	putchar('\n');
	roff(text);
	putchar('\n');
}
