/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every part of the command line shares: the options as given, the terminal, the memory of
 * this one run, and how a command fails. One thread; everything lives until the program ends.
 */
#pragma once

#include <jansson.h>

#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"

/* Exit codes, as the manual states them. */
enum exit_code { EXIT_OK, EXIT_FAILED, EXIT_USAGE, EXIT_REFUSED, EXIT_UNREACHABLE };

enum output_form { OUTPUT_TABLE, OUTPUT_JSON };

/* Filled by the flags tables in commands.c. */
struct options {
	const char *socket;    /* NULL: the default one */
	const char *host_root; /* NULL: ask the daemon */
	int output;	       /* enum output_form */
	int64_t timeout_s;     /* how long an answer may take */
	bool help;
	bool version;
	const char *generate;

	/* Of changes. */
	const char *accept; /* codes with commas between */
	bool plan;
	bool no_wait;
	int scope;	  /* index of scope_words */
	bool all;	  /* every card that Horcrux took, instead of an address */
	int64_t within_s; /* 0: the daemon's default */
	bool delete_disks;

	const char *device; /* of the doctor and of profiles: a card's address */
	bool fits;	    /* only profiles of which one more fits */

	/* Of a new VM; a word that was not given is -1, a number 0. */
	const char *file;
	const char *id, *name;
	int64_t cpus, memory;
	struct list disks, cdroms, cards; /* strings */
	int firmware, os, network;
	bool autostart, start;
};

struct terminal {
	bool tty;
	bool colors;
	bool utf8;
	int width; /* columns; 0: as wide as it gets */
};

struct client;
struct local;

struct cli {
	struct options options;
	struct terminal out;
	struct arena *arena;
	const struct command *command;
	bool noted;	       /* that we read the host ourselves was said */
	bool printed;	       /* something stands on stdout already */
	struct client *client; /* made when first asked */
	struct local *local;   /* the host as this program read it itself; made when first asked */
};

/* Why a command failed: an error of our own, or what the daemon said. */
struct failure {
	struct error error;
	json_t *problem; /* an object of application/problem+json, or NULL */
};
