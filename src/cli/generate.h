/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The manual page, the bash completion, and what the completion asks for at run time, made from the
 * tables (`horcrux --generate=WHAT`). Main thread.
 */
#pragma once

#include "cli/cli.h"

/* man, completion or addresses, on stdout; -1 usage for anything else. */
int generate(struct cli *cli, const char *what, struct failure *why);
