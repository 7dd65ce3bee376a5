/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptions of machines; the format is in README.md. */
#pragma once

#include "line.h"

/* Reads all lines of a file ("-": standard input); -EINVAL with a complaint. */
int parse_file(const char *path);

/* One line, before the tree is built or after (where the word allows it). */
int parse_line(const char *s);

/* Makes the tree from what was read. */
int parse_build(void);

int pci_line(struct line *l);
int sriov_line(struct line *l);
void pci_build(void);
