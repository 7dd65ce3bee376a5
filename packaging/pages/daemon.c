/* SPDX-License-Identifier: Apache-2.0 */
/* horcruxd(8): its flags are the configuration's keys. */
#include <stdio.h>

#include "daemon/config.h"
#include "pages.h"

static void flags(void)
{
	char name[32], text[512];
	char *c;

	roff_section("OPTIONS");
	roff_item("--dev", NULL,
		  "In the foreground, as any user, on any directory that stands for a host's / (with "
		  "--host-root), with a helper of its own beside it, its files in --state-dir. Loopback "
		  "callers of the same user are let in. No file in /etc is read.");
	roff_item("--help", NULL, "Print all flags.");
	roff_item("--version", NULL, "Print the version.");
	fputs(".PP\n", stdout);
	roff("Each key of horcrux.conf(5) is a flag too, which goes before the file:\n");
	for (const struct config_key *k = config_keys; k->name; k++) {
		snprintf(name, sizeof(name), "--%s=", k->name);
		for (c = name; *c; c++)
			if (*c == '_')
				*c = '-';
		snprintf(text, sizeof(text), "%s.%s%s%s", k->help, k->initial ? " By default: " : "",
			 k->initial ?: "", k->initial ? "." : "");
		roff_item(name, "VALUE", text);
	}
}

static const struct {
	const char *path, *what;
} files[] = {
	{ "/etc/horcrux/horcrux.conf", "The configuration, horcrux.conf(5)." },
	{ "/run/horcrux/", "What describes the kernel's state of this boot: which cards were taken, what "
			   "they were before, and changes under way. It outlives the daemon, not the boot." },
	{ "/run/horcrux/api.sock", "The API, for root and the members of group horcrux." },
	{ "/run/horcrux-privd.sock", "The helper's socket, for user horcruxd alone." },
	{ "/var/lib/horcrux/images/", "The libvirt pool horcrux: disks, ISOs, firmware variables." },
	{ "/var/lib/horcrux/private/", "What users asked for (VMs, cards' records), and changes under way "
				       "that outlive a boot." },
	{ "/var/lib/horcrux/roms/", "Option ROMs that a VM's spec may name; QEMU may read them." },
};

void page_daemon_manual(void)
{
	roff_head("horcruxd", 8, "the Horcrux daemon: graphics cards for virtual machines");
	roff_section("SYNOPSIS");
	fputs("\\fBhorcruxd\\fR [\\fIOPTIONS\\fR]\n.br\n"
	      "\\fBhorcruxd \\-\\-dev \\-\\-host\\-root=\\fIDIR\\fB \\-\\-state\\-dir=\\fIDIR\\fB "
	      "\\-\\-listen=127.0.0.1:\\fIPORT\\fR\n", stdout);
	roff_section("DESCRIPTION");
	roff("Looks at the host's graphics cards, plans what is asked for, does it step by step with a "
	     "proof after each, and serves the REST API on port 8006 of loopback and on a Unix socket. It "
	     "runs as user horcruxd, never as root, and has no capabilities: what needs root is asked of "
	     "horcrux-privd(8), VMs of libvirt.\n");
	fputs(".PP\n", stdout);
	roff("It may be killed, restarted or upgraded at any moment. Running VMs go on, and cards stay where "
	     "they are; a change that was under way is finished or taken back at the next start.\n");
	flags();
	roff_section("ENVIRONMENT");
	roff_item("HORCRUX_CONFIG", NULL, "A file to read instead of /etc/horcrux/horcrux.conf.");
	roff_section("SIGNALS");
	roff_item("SIGTERM, SIGINT", NULL, "End, within ten seconds. A change that is still under way then is "
					   "taken up at the next start.");
	roff_section("FILES");
	for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++)
		roff_item(files[i].path, NULL, files[i].what);
	roff_section("SECURITY");
	roff("Who may use the API equals root on this host, as with docker: group horcrux is for its "
	     "administrators. Over loopback TCP the daemon asks the kernel who owns the other end of the "
	     "connection; root in the host's network namespace (a container with the host's network) and "
	     "whoever forwards a port as a member are members. trust_loopback = no turns TCP without a "
	     "token off.\n");
	roff_section("\"SEE ALSO\"");
	roff("horcrux(1), horcrux.conf(5), horcrux-privd(8)\n");
}
