/* SPDX-License-Identifier: Apache-2.0 */
/* See listing.h. */
#include "cli/listing.h"

#include "cli/source.h"

int listing_print(struct cli *cli, const struct listing *listing, struct failure *why)
{
	CLEAN_ANSWER struct answer answer = { 0 };
	CLEANUP(table_freep) struct table *table = NULL;
	size_t i;
	json_t *object;

	if (source_call(cli, "GET", listing->path, &answer, why) < 0)
		return -1;
	if (cli->options.output == OUTPUT_JSON) {
		print_json(cli, answer.bytes, answer.n);
		return 0;
	}
	if (!json_array_size(answer.json)) {
		fprintf(stderr, "horcrux: %s\n", listing->none);
		return 0;
	}
	table = table_new(cli, listing->columns, listing->n_columns);
	json_array_foreach (answer.json, i, object)
		listing->add(cli, table, object);
	table_print(table);
	return 0;
}
