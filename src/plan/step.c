/* SPDX-License-Identifier: Apache-2.0 */
/* Step kinds: finding and checking them. Pure; any thread. See step.h. */
#include "plan/step.h"

#include <string.h>

enum { DEADLINE_DEFAULT_MS = 30000 };

const struct step_kind *step_find(const struct step_table *tables, size_t n, const char *name)
{
	for (size_t t = 0; t < n; t++)
		for (size_t k = 0; k < tables[t].n; k++)
			if (!strcmp(tables[t].kinds[k].name, name))
				return &tables[t].kinds[k];
	return NULL;
}

static const char *kind_fault(const struct step_kind *kind)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789-";

	if (!kind->name[0] || strspn(kind->name, letters) != strlen(kind->name))
		return "its name is not [a-z0-9-]+";
	if (!kind->args || !kind->args_size)
		return "it has no args";
	if (!kind->apply || !kind->prove || !kind->holds)
		return "apply, prove or holds is missing";
	if (!kind->undo != !kind->prove_undone)
		return "undo and prove_undone go together";
	if (kind->request && (!kind->undo || kind->lasting))
		return "what goes to the helper with others can be undone, and dies with the boot";
	return NULL;
}

int step_tables_check(const struct step_table *tables, size_t n, struct error *err)
{
	const struct step_kind *kind;
	const char *fault;

	for (size_t t = 0; t < n; t++) {
		for (size_t k = 0; k < tables[t].n; k++) {
			kind = &tables[t].kinds[k];
			fault = kind_fault(kind);
			if (!fault && k && strcmp(kind[-1].name, kind->name) >= 0)
				fault = "its table is not sorted";
			if (!fault && step_find(tables, n, kind->name) != kind)
				fault = "the name is taken twice";
			if (fault)
				return error_set(err, ERROR_INTERNAL, "step kind \"%s\": %s",
						 kind->name, fault);
		}
	}
	return 0;
}

unsigned step_deadline(const struct step_kind *kind, const void *args)
{
	return kind->deadline_ms ? kind->deadline_ms(args) : DEADLINE_DEFAULT_MS;
}

const char *step_text(const struct step_kind *kind, const void *args, struct arena *arena)
{
	return kind->text ? kind->text(args, arena) : kind->name;
}
