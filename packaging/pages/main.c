/* SPDX-License-Identifier: Apache-2.0 */
/* Prints the page that is named. See pages.h. */
#include "pages.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

static const struct {
	const char *name;
	void (*print)(void);
} pages[] = {
	/* keep sorted */
	{ "STATES.md", page_states },
	{ "horcrux-privd.8", page_helper_manual },
	{ "horcrux.conf", page_conf },
	{ "horcrux.conf.5", page_conf_manual },
	{ "horcruxd.8", page_daemon_manual },
};

int main(int argc, char **argv)
{
	for (size_t i = 0; argc == 2 && i < ARRAY_SIZE(pages); i++) {
		if (strcmp(pages[i].name, argv[1]))
			continue;
		pages[i].print();
		return fflush(stdout) || ferror(stdout) ? EXIT_FAILURE : EXIT_SUCCESS;
	}
	fputs("usage: pages NAME; there are:", stderr);
	for (size_t i = 0; i < ARRAY_SIZE(pages); i++)
		fprintf(stderr, " %s", pages[i].name);
	fputc('\n', stderr);
	return EXIT_FAILURE;
}
