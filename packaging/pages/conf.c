/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration's pages, from the table that reads it. */
#include <stdio.h>
#include <string.h>

#include "daemon/config.h"
#include "pages.h"

enum { COLUMNS = 78 };

/* Folded between words, each line behind a "# ". */
static void comment(const char *text)
{
	size_t column = 0, n;

	for (const char *c = text; *c; c += n) {
		c += strspn(c, " ");
		n = strcspn(c, " ");
		if (!column || column + 1 + n > COLUMNS)
			column = (size_t)printf("%s# ", column ? "\n" : "") - !!column;
		else
			column += (size_t)printf(" ");
		column += (size_t)printf("%.*s", (int)n, c);
	}
	putchar('\n');
}

void page_conf(void)
{
	comment("Horcrux: what the daemon reads when it starts; see horcrux.conf(5). Every key stands "
		"here with what holds without it. A line is \"name = value\"; a key that is unknown, or "
		"there twice, or a value that cannot be stops the start, with the number of its line.");
	for (const struct config_key *k = config_keys; k->name; k++) {
		putchar('\n');
		comment(k->help);
		printf("#%s =%s%s\n", k->name, k->initial ? " " : "", k->initial ?: "");
	}
}

static const char *kind(const struct config_key *k)
{
	switch (k->type) {
	case CONFIG_YES_NO:
		return "yes|no";
	case CONFIG_LEVEL:
		return "LEVEL";
	case CONFIG_CLASS_LIST:
		return "CLASS,...";
	case CONFIG_TEXT:
		break;
	}
	return "TEXT";
}

void page_conf_manual(void)
{
	char form[32], text[512];

	roff_head("horcrux.conf", 5, "configuration of the Horcrux daemon");
	roff_section("DESCRIPTION");
	roff("horcruxd(8) reads /etc/horcrux/horcrux.conf when it starts, or the file that HORCRUX_CONFIG "
	     "names. A line is empty, a comment (it begins with # or ;), or\n");
	fputs(".PP\n.RS\n\\fIname\\fR = \\fIvalue\\fR\n.RE\n.PP\n", stdout);
	roff("There are no sections. An unknown key, a key that is there twice, a value that cannot be and "
	     "a line of more than 190 bytes stop the start, and the log names the line. Each key is a flag "
	     "of the daemon too, with dashes for underscores; a flag goes before the file. After a change: "
	     "systemctl restart horcruxd. Running VMs and cards that were taken are not touched by "
	     "that.\n");
	roff_section("KEYS");
	for (const struct config_key *k = config_keys; k->name; k++) {
		snprintf(form, sizeof(form), " = %s", kind(k));
		snprintf(text, sizeof(text), "%s. %s%s%s", k->help, k->initial ? "By default: " : "",
			 k->initial ?: "", k->initial ? "" : "Not set by default.");
		roff_item(k->name, form, text);
	}
	roff_section("FILES");
	roff_item("/etc/horcrux/horcrux.conf", NULL, "The configuration of this host.");
	roff_section("\"SEE ALSO\"");
	roff("horcruxd(8), horcrux(1)\n");
}
