/* SPDX-License-Identifier: Apache-2.0 */
/* What the nvidia driver adds: /dev/nvidiaN, /proc/driver/nvidia, unbindLock. */
#pragma once

#include "host.h"

void nvidia_bound(struct function *f);
void nvidia_unbound(struct function *f);

/* Its usage count: open /dev/nvidiaN, and users in the kernel. */
unsigned nvidia_users(const struct function *f);

/* The function whose /dev node this is, or NULL. */
struct function *nvidia_by_path(const char *path);
