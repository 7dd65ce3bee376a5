/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Structs as the JSON text that goes over the wire, without a tree of it between: byte for byte what
 * json_dumps(JSON_COMPACT) says of what rows_emit() makes, at a tenth of its work. Pure; any thread.
 */
#pragma once

#include "base/rows.h"
#include "base/strbuf.h"

/* One struct, and a list of them, added to `out`. */
void text_write(const struct row *rows, const void *object, struct strbuf *out);
void text_write_list(const struct row *rows, size_t size, const struct list *list, struct strbuf *out);
/* One alone, malloc'd; never NULL: without memory the process ends. */
char *text_of_rows(const struct row *rows, const void *object);
