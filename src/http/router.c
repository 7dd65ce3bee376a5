/* SPDX-License-Identifier: Apache-2.0 */
/* See router.h. */
#include "http/router.h"

#include <string.h>

/* Does `path` fit? Fills params. rank gets a bit for each literal segment, the first the highest.
 */
static bool fits(const char *path, const struct target *target, const char **params, unsigned *rank)
{
	size_t n_params = 0, n;

	*rank = 0;
	for (size_t i = 0; i < target->n_segments; i++) {
		if (*path++ != '/')
			return false;
		n = strcspn(path, "/");
		*rank <<= 1;
		if (*path == ':') {
			if (n_params == ROUTE_PARAMS)
				return false;
			params[n_params++] = target->segments[i];
		} else {
			if (strncmp(path, target->segments[i], n) || target->segments[i][n])
				return false;
			*rank |= 1;
		}
		path += n;
	}
	return !*path;
}

/* The path that fits best; rows of one path stand together, so its first row is enough. */
static const struct route *find_path(const struct route *routes, size_t n,
				     const struct target *target, struct match *out)
{
	const char *params[ROUTE_PARAMS] = { 0 };
	const struct route *best = NULL;
	unsigned rank, best_rank = 0;

	for (const struct route *r = routes; r < routes + n; r++) {
		if (best && !strcmp(r->path, best->path))
			continue;
		if (!fits(r->path, target, params, &rank) || (best && rank <= best_rank))
			continue;
		best = r;
		best_rank = rank;
		memcpy(out->params, params, sizeof(params));
	}
	return best;
}

static void allow(struct match *out, const char *method)
{
	size_t n = strlen(out->allow);

	snprintf(out->allow + n, sizeof(out->allow) - n, "%s%s", n ? ", " : "", method);
	if (!strcmp(method, "GET"))
		allow(out, "HEAD");
}

int router_find(const struct route *routes, size_t n, const char *method,
		const struct target *target, struct match *out, struct error *err)
{
	const char *wanted = strcmp(method, "HEAD") ? method : "GET";
	const struct route *first;

	*out = (struct match){ 0 };
	first = find_path(routes, n, target, out);
	if (!first) {
		error_set(err, ERROR_NOT_FOUND, "there is nothing at this address");
		return error_hint(err, "GET /api/openapi.json lists every address");
	}
	for (const struct route *r = first; r < routes + n && !strcmp(r->path, first->path); r++) {
		allow(out, r->method);
		if (!strcmp(r->method, wanted))
			out->route = r;
	}
	if (out->route)
		return 0;
	error_set(err, ERROR_METHOD_NOT_ALLOWED, "%.20s does not apply to this address", method);
	return error_hint(err, "it takes %s", out->allow);
}
