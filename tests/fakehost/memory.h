/* SPDX-License-Identifier: Apache-2.0 */
/* Memory and huge pages. */
#pragma once

#include "line.h"

int memory_line(struct line *l);
void memory_make(void);
