/* SPDX-License-Identifier: Apache-2.0 */
/* The tree as a FUSE file system. */
#pragma once

/* Mounts and serves until SIGTERM, SIGINT, an unmount or the end of standard
 * input (if asked for); says "ready" on standard output.  The exit status. */
int ops_serve(const char *mountpoint, int allow_other, int watch_stdin);
