/* SPDX-License-Identifier: Apache-2.0 */
/* horcrux-privd(8): what it does is the protocol's closed list. */
#include <stdio.h>

#include "pages.h"
#include "privd/protocol.h"

static void operations(bool writes)
{
	const char *between = "";

	for (unsigned op = PRIVD_OVERRIDE; op < PRIVD_OPS; op++) {
		if (privd_op_writes(op) != writes)
			continue;
		fputs(between, stdout);
		roff(privd_op_name(op));
		between = ", ";
	}
	puts(".");
}

void page_helper_manual(void)
{
	roff_head("horcrux-privd", 8, "the part of Horcrux that runs as root");
	roff_section("SYNOPSIS");
	fputs("\\fBhorcrux\\-privd\\fR [\\fB\\-\\-host\\-root=\\fIDIR\\fR] "
	      "[\\fB\\-\\-state\\-dir=\\fIDIR\\fR] [\\fB\\-\\-socket\\-fd=\\fIN\\fR] "
	      "[\\fB\\-\\-peer\\-uid=\\fIUID\\fR]\n", stdout);
	roff_section("DESCRIPTION");
	roff("Does for horcruxd(8) what needs root: a closed list of operations on PCI devices, each checked "
	     "again, each in a child process with a deadline, none on a bridge. It takes requests from user "
	     "horcruxd alone, over a Unix socket, reads no configuration and uses no network. systemd starts "
	     "it when it is needed.\n");
	fputs(".PP\n", stdout);
	roff("A write to the kernel can sleep for ever and cannot be interrupted. Then the child is left "
	     "behind, the card is told as stuck, and the helper goes on; it may be killed or upgraded "
	     "meanwhile, and finds the child again.\n");
	roff_section("OPERATIONS");
	fputs(".TP\nThat change something\n", stdout);
	operations(true);
	fputs(".TP\nThat read what others may not, or what can block\n", stdout);
	operations(false);
	fputs(".TP\nModules that may be loaded\n", stdout);
	for (const char *const *m = privd_modules; *m; m++) {
		fputs(m == privd_modules ? "" : ", ", stdout);
		roff(*m);
	}
	puts(".");
	roff_section("OPTIONS");
	roff_item("--host-root=", "DIR", "The directory that stands for /. Its sys must be a kernel's (or a "
					 "FUSE file system): nothing is written elsewhere.");
	roff_item("--peer-uid=", "UID", "Who may connect; by default the owner of the socket.");
	roff_item("--socket-fd=", "N", "The socket, where it does not come from systemd.");
	roff_item("--state-dir=", "DIR", "Keep what runs in DIR/run instead of /run/horcrux-privd.");
	roff_item("--version", NULL, "Print the version.");
	roff_section("FILES");
	roff_item("/run/horcrux-privd.sock", NULL, "The socket.");
	roff_item("/run/horcrux-privd/", NULL, "What runs now, so that the next helper knows of it.");
	roff_section("\"SEE ALSO\"");
	roff("horcruxd(8), horcrux(1)\n");
}
