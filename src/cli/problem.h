/* SPDX-License-Identifier: Apache-2.0 */
/* Telling people why it was not done. Main thread. */
#pragma once

#include "cli/cli.h"

/*
 * Prints the failure on stderr: what, where, what to do; every refusal with its reason, evidence
 * and fix, and what could be accepted. Returns the exit code that it means.
 */
enum exit_code problem_report(const struct cli *cli, const struct failure *why);
