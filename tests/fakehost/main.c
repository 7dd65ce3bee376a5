/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fakehost: a directory that stands for a host's /, made from a description of
 * a machine, that behaves like the kernel's driver core.  See README.md.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "control.h"
#include "host.h"
#include "knobs.h"
#include "ops.h"
#include "parse.h"
#include "tree.h"
#include "uevent.h"

static const char usage[] = "usage: fakehost [OPTIONS] MACHINE MOUNTPOINT\n"
			    "       fakehost --tree DIR MACHINE\n"
			    "\n"
			    "  --uevents=PATH   send uevents to this unix datagram socket\n"
			    "  --knob=LINE      turn a knob before the start (may be repeated)\n"
			    "  --allow-other    let other users into the mount\n"
			    "  --watch-stdin    end when standard input ends\n"
			    "  --tree=DIR       write a plain directory instead\n"
			    "\n"
			    "MACHINE is a file, or - for standard input.\n";

static const struct option options[] = {
	{ "allow-other", no_argument, NULL, 'a' },
	{ "help", no_argument, NULL, 'h' },
	{ "knob", required_argument, NULL, 'k' },
	{ "tree", required_argument, NULL, 't' },
	{ "uevents", required_argument, NULL, 'u' },
	{ "watch-stdin", no_argument, NULL, 'w' },
	{ NULL, 0, NULL, 0 },
};

struct settings {
	const char *tree;
	const char *uevents;
	const char *machine;
	const char *mountpoint;
	const char *knobs[64];
	int knob_count;
	int allow_other;
	int watch;
};

static int complain(void)
{
	fprintf(stderr, "fakehost: %s\n", host.error);
	return 1;
}

static int parse_options(int argc, char **argv, struct settings *s)
{
	int c;

	while ((c = getopt_long(argc, argv, "h", options, NULL)) >= 0) {
		if (c == 'a')
			s->allow_other = 1;
		else if (c == 'k' && s->knob_count < 64)
			s->knobs[s->knob_count++] = optarg;
		else if (c == 't')
			s->tree = optarg;
		else if (c == 'u')
			s->uevents = optarg;
		else if (c == 'w')
			s->watch = 1;
		else
			return -1;
	}
	if (argc - optind != (s->tree ? 1 : 2))
		return -1;
	s->machine = argv[optind];
	s->mountpoint = argv[optind + 1];
	return 0;
}

static int build(const struct settings *s)
{
	if (parse_file(s->machine) || parse_build())
		return complain();
	host.where = NULL;
	for (int i = 0; i < s->knob_count; i++)
		if (knob_line(s->knobs[i]))
			return complain();
	return 0;
}

int main(int argc, char **argv)
{
	struct settings s = { 0 };

	if (parse_options(argc, argv, &s)) {
		fputs(usage, stderr);
		return 2;
	}
	if (!s.tree)
		host.boot = (unsigned)time(NULL) ^ (unsigned)getpid() << 16;
	if (build(&s))
		return 1;
	if (s.tree)
		return tree_write(s.tree) ? 1 : 0;
	if (s.uevents && uevent_start(s.uevents)) {
		fprintf(stderr, "fakehost: %s is no path for a socket\n", s.uevents);
		return 1;
	}
	control_make();
	return ops_serve(s.mountpoint, s.allow_other, s.watch);
}
