/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the fields of a device are said to people, shared by the gpu commands. Everything returned is
 * safe to print and lives in the run's arena. Main thread.
 */
#pragma once

#include "cli/output.h"

/* "-" where the field is null, "?" where it is null because it could not be told. */
const char *gpu_word(const struct cli *cli, const json_t *object, const char *key);
/* "Xorg (812), vm-100": who holds it, kernel users too; "-" nobody, "?" not told. */
const char *gpu_users(const struct cli *cli, const json_t *device);
enum color gpu_state_color(const char *state);
/* What a state means, a few words; "" for one that is not known here. */
const char *gpu_state_means(const char *state);
/* Strings of an array with ", " between them; NULL when there are none. */
const char *gpu_joined(const struct cli *cli, const json_t *array);
