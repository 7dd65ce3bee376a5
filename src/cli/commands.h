/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one table of commands. It is what runs, what help prints, and what the manual page and the
 * completion are made from, so that none of them can know a command that the others do not.
 */
#pragma once

#include "cli/cli.h"

enum flag_kind {
	FLAG_END,
	FLAG_SWITCH,
	FLAG_TEXT,
	FLAG_TEXTS, /* may be given several times */
	FLAG_NUMBER,
	FLAG_WORD,
	FLAG_DIRECTORY,
	FLAG_FILE,
};

struct flag {
	const char *name; /* without the dashes */
	char letter;	  /* 0: it has none */
	enum flag_kind kind;
	const char *value;	  /* what its value is called in help; NULL for a switch */
	size_t offset;		  /* in struct options */
	const char *help;	  /* NULL: not shown */
	const char *const *words; /* WORD */
	int64_t min, max;	  /* NUMBER */
	int (*check)(const char *text, struct error *err); /* TEXT; NULL: any */
};

#define FLAG_LAST                                                                                  \
	{                                                                                          \
		.kind = FLAG_END                                                                   \
	}

enum { COMMAND_WORDS_MAX = 4 };

struct command {
	const char *noun;
	const char *verb; /* NULL: the noun alone is the command */
	const char *args; /* as help shows them; NULL: it takes none */
	int n_args;	  /* exactly so many */
	/* Checks the first argument before anything is asked; NULL: any text. */
	int (*check)(const char *text, struct error *err);
	const struct flag *flags; /* beside those of every command; NULL: none */
	const char *summary;	  /* one line */
	const char *help;	  /* whole sentences for help and the manual */
	int (*run)(struct cli *cli, char *const *words, struct failure *why);
	int (*check_second)(const char *text, struct error *err);
};

/* Sorted by noun and verb; ends with a row without a noun. */
extern const struct command commands[];
/* Flags of every command; ends with FLAG_LAST. */
extern const struct flag common_flags[];

extern const char *const output_words[];
extern const char *const scope_words[];

/* By its words; verb NULL finds a command of one word. NULL: there is none. */
const struct command *command_find(const char *noun, const char *verb);
/* Is it the first word of any command? */
bool command_noun(const char *noun);

/* The commands, each in a file named after it or its noun. 0, or -1 with `why`. */
int cmd_doctor(struct cli *cli, char *const *words, struct failure *why);
int cmd_gpu_bind(struct cli *cli, char *const *words, struct failure *why);
int cmd_gpu_group(struct cli *cli, char *const *words, struct failure *why);
int cmd_gpu_iommu(struct cli *cli, char *const *words, struct failure *why);
int cmd_gpu_list(struct cli *cli, char *const *words, struct failure *why);
int cmd_gpu_scan(struct cli *cli, char *const *words, struct failure *why);
int cmd_gpu_show(struct cli *cli, char *const *words, struct failure *why);
int cmd_gpu_sriov(struct cli *cli, char *const *words, struct failure *why);
int cmd_gpu_unbind(struct cli *cli, char *const *words, struct failure *why);
int cmd_task_cancel(struct cli *cli, char *const *words, struct failure *why);
int cmd_task_list(struct cli *cli, char *const *words, struct failure *why);
int cmd_task_show(struct cli *cli, char *const *words, struct failure *why);
int cmd_task_watch(struct cli *cli, char *const *words, struct failure *why);
int cmd_version(struct cli *cli, char *const *words, struct failure *why);
int cmd_vgpu_instances(struct cli *cli, char *const *words, struct failure *why);
int cmd_vgpu_list(struct cli *cli, char *const *words, struct failure *why);
int cmd_vgpu_profiles(struct cli *cli, char *const *words, struct failure *why);
int cmd_vm_create(struct cli *cli, char *const *words, struct failure *why);
int cmd_vm_delete(struct cli *cli, char *const *words, struct failure *why);
int cmd_vm_kill(struct cli *cli, char *const *words, struct failure *why);
int cmd_vm_list(struct cli *cli, char *const *words, struct failure *why);
int cmd_vm_restart(struct cli *cli, char *const *words, struct failure *why);
int cmd_vm_show(struct cli *cli, char *const *words, struct failure *why);
int cmd_vm_start(struct cli *cli, char *const *words, struct failure *why);
int cmd_vm_stop(struct cli *cli, char *const *words, struct failure *why);
int cmd_vm_xml(struct cli *cli, char *const *words, struct failure *why);
