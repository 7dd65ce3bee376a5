/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which host this is, whatever it is called: an id drawn at the first start and kept in the private
 * folder. What is stored is stored under it; the name is for showing. Before threads.
 */
#pragma once

#include "base/error.h"
#include "base/id.h"

/* The id of this host, drawn and written down if there is none yet. 0, or -1 with store. */
int node_id(const char *folder, char id[static ID_TEXT], struct error *err);
