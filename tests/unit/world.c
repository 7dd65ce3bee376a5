/* SPDX-License-Identifier: Apache-2.0 */
/* See world.h. */
#include "world.h"

#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/strbuf.h"
#include "privd/protocol.h"

struct world_args {
	int64_t cell, value, was;
};

#define ARG(field) offsetof(struct world_args, field)

static const struct row args_rows[] = {
	{ "cell", ROW_INT, ROW_REQUIRED, ARG(cell) },
	{ "value", ROW_INT, ROW_REQUIRED, ARG(value) },
	{ "was", ROW_INT, ROW_REQUIRED, ARG(was) },
	ROW_END,
};

struct world *world_new(void)
{
	struct world *world = mmap(NULL, sizeof(*world), PROT_READ | PROT_WRITE,
				   MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (world == MAP_FAILED)
		abort();
	return world;
}

void world_free(struct world *world)
{
	munmap(world, sizeof(*world));
}

static void note(struct world *world, enum world_act act, int64_t cell)
{
	int at = atomic_fetch_add(&world->n_log, 1);

	if (at >= WORLD_LOG)
		abort();
	atomic_store(&world->log[at], (int)act * WORLD_CELLS + (int)cell + 1);
}

static int logged_act(const struct world *world, int at)
{
	int entry = atomic_load(&world->log[at]);

	return entry ? (entry - 1) / WORLD_CELLS : -1;	/* counted, and not there yet */
}

char *world_log(struct world *world, int from)
{
	static const char *const words[] = {
		[DID_APPLY] = "apply", [DID_PROVE] = "prove", [DID_UNDO] = "undo",
		[DID_PROVE_UNDONE] = "unproved",
	};
	struct strbuf sb = STRBUF_INIT(1 << 20);
	int n = atomic_load(&world->n_log);

	for (int i = from; i < n; i++)
		strbuf_printf(&sb, "%s%s %d", i > from ? ", " : "", words[logged_act(world, i)],
			      (atomic_load(&world->log[i]) - 1) % WORLD_CELLS);
	return sb.text ? strbuf_take(&sb) : strdup("");
}

int world_logged(const struct world *world, enum world_act act)
{
	int n = atomic_load(&world->n_log), count = 0;

	for (int i = 0; i < n; i++)
		count += logged_act(world, i) == (int)act;
	return count;
}

/* ---- the kinds ---- */

static int told_to_fail(atomic_int *code, const char *what, struct error *err)
{
	int c = atomic_load(code);

	return c ? error_set(err, (enum error_code)c, "%s was told to fail", what) : 0;
}

/* Counts down; true while there was something left, or for ever below zero. */
static bool countdown(atomic_int *count)
{
	int left = atomic_load(count);

	if (left > 0)
		atomic_fetch_sub(count, 1);
	return left != 0;
}

static int cell_apply(void *services, const void *args, struct error *err)
{
	const struct world_args *a = args;
	struct world *world = services;
	struct world_cell *cell = &world->cell[a->cell];

	note(world, DID_APPLY, a->cell);
	while (atomic_load(&cell->hang))
		usleep(1000);
	if (told_to_fail(&cell->fail_apply, "apply", err) < 0)
		return -1;
	atomic_store(&cell->value, (int)-a->value - 1);	/* half of it */
	fault_inside();
	atomic_store(&cell->value, (int)a->value);
	return told_to_fail(&cell->fail_apply_done, "apply", err);
}

/* Where there is no way back a step is one write: it happened, or it did not. */
static int cell_apply_whole(void *services, const void *args, struct error *err)
{
	const struct world_args *a = args;
	struct world *world = services;
	struct world_cell *cell = &world->cell[a->cell];

	note(world, DID_APPLY, a->cell);
	while (atomic_load(&cell->hang))
		usleep(1000);
	if (told_to_fail(&cell->fail_apply, "apply", err) < 0)
		return -1;
	atomic_store(&cell->value, (int)a->value);
	fault_inside();
	return told_to_fail(&cell->fail_apply_done, "apply", err);
}

static int cell_prove(void *services, const void *args, struct error *err)
{
	const struct world_args *a = args;
	struct world *world = services;
	struct world_cell *cell = &world->cell[a->cell];

	note(world, DID_PROVE, a->cell);
	if (countdown(&cell->not_yet)) {
		error_set(err, ERROR_CONFLICT, "cell %d is not ready", (int)a->cell);
		return 1;
	}
	if (told_to_fail(&cell->fail_prove, "prove", err) < 0)
		return -1;
	if (atomic_load(&cell->value) == a->value)
		return 0;
	return error_set(err, ERROR_PROOF_FAILED, "cell %d is %d", (int)a->cell,
			 atomic_load(&cell->value));
}

/* Only asks, as an ACPI stop does: who is deaf does not hear it. */
static int press_apply(void *services, const void *args, struct error *err)
{
	const struct world_args *a = args;
	struct world *world = services;
	struct world_cell *cell = &world->cell[a->cell];

	note(world, DID_APPLY, a->cell);
	if (told_to_fail(&cell->fail_apply, "apply", err) < 0)
		return -1;
	if (!countdown(&cell->deaf))
		atomic_store(&cell->value, (int)a->value);
	return 0;
}

static int press_prove(void *services, const void *args, struct error *err)
{
	return cell_prove(services, args, err) ? 1 : 0;
}

static int cell_undo(void *services, const void *args, struct error *err)
{
	const struct world_args *a = args;
	struct world *world = services;
	struct world_cell *cell = &world->cell[a->cell];

	note(world, DID_UNDO, a->cell);
	if (told_to_fail(&cell->fail_undo, "undo", err) < 0)
		return -1;
	atomic_store(&cell->value, (int)-a->was - 1);
	fault_inside();
	atomic_store(&cell->value, (int)a->was);
	return 0;
}

static int cell_prove_undone(void *services, const void *args, struct error *err)
{
	const struct world_args *a = args;
	struct world *world = services;
	struct world_cell *cell = &world->cell[a->cell];

	note(world, DID_PROVE_UNDONE, a->cell);
	if (told_to_fail(&cell->fail_prove_undone, "prove_undone", err) < 0)
		return -1;
	if (atomic_load(&cell->value) == a->was)
		return 0;
	return error_set(err, ERROR_PROOF_FAILED, "cell %d is %d", (int)a->cell,
			 atomic_load(&cell->value));
}

static int cell_holds(void *services, const void *args)
{
	const struct world_args *a = args;
	struct world_cell *cell = &((struct world *)services)->cell[a->cell];

	if (countdown(&cell->unknown))
		return -1;
	return atomic_load(&cell->value) == a->value;
}

static struct world *the_world;	/* deadlines are asked without services */

static unsigned cell_deadline(const void *args)
{
	int ms = atomic_load(&the_world->cell[((const struct world_args *)args)->cell].deadline_ms);

	return ms ? (unsigned)ms : 5000;
}

static const char *cell_text(const void *args, struct arena *arena)
{
	const struct world_args *a = args;

	return arena_printf(arena, "make cell %d %d", (int)a->cell, (int)a->value);
}

static void cell_writes(const void *args, struct arena *arena, struct list *writes)
{
	const struct world_args *a = args;

	*list_add(arena, writes, struct step_write) =
		(struct step_write){ arena_printf(arena, "world/%d", (int)a->cell),
				     arena_printf(arena, "%d", (int)a->value) };
}

static const char *cell_subject(const void *args, struct arena *arena)
{
	return arena_printf(arena, "cell %d", (int)((const struct world_args *)args)->cell);
}

static bool cell_request(const void *args, struct privd_request *request)
{
	const struct world_args *a = args;

	*request = (struct privd_request){ .header.op = PRIVD_POWER, .address.bus = (uint8_t)a->cell,
					   .value = (uint64_t)a->value };
	return a->value < WORLD_ALONE;
}

static void cell_refused(void *services, const void *args, struct error *err)
{
	const struct world_args *a = args;
	struct world *world = services;

	error_add(err, "; it was refused");
	atomic_fetch_add(&world->cell[a->cell].refused, 1);
}

#define KIND(kind_name, is_lasting, do_it, proof, back, unproved, again)                           \
	{ .name = kind_name, .args = args_rows, .args_size = sizeof(struct world_args),            \
	  .lasting = is_lasting, .prove = proof, .undo = back, .prove_undone = unproved,           \
	  .apply = do_it, .holds = cell_holds, .again_ms = again,                                  \
	  .deadline_ms = cell_deadline,                                                            \
	  .text = cell_text, .writes = cell_writes, .subject = (is_lasting) ? NULL : cell_subject }
#define LINK(kind_name)                                                                            \
	{ .name = kind_name, .args = args_rows, .args_size = sizeof(struct world_args),            \
	  .request = cell_request, .refused = cell_refused, .apply = cell_apply,                   \
	  .prove = cell_prove, .undo = cell_undo, .prove_undone = cell_prove_undone,               \
	  .holds = cell_holds, .deadline_ms = cell_deadline, .text = cell_text,                    \
	  .writes = cell_writes, .subject = cell_subject }
#define KINDS(base, ...)                                                                           \
	KIND(base "-0", __VA_ARGS__), KIND(base "-1", __VA_ARGS__), KIND(base "-2", __VA_ARGS__),  \
	KIND(base "-3", __VA_ARGS__)

static const struct step_kind kinds[] = {
	KINDS("file", true, cell_apply, cell_prove, cell_undo, cell_prove_undone, 0),
	KINDS("final", false, cell_apply_whole, cell_prove, NULL, NULL, 0),
	KINDS("last", true, cell_apply_whole, cell_prove, NULL, NULL, 0),
	LINK("link-0"), LINK("link-1"), LINK("link-2"), LINK("link-3"),
	KINDS("press", false, press_apply, press_prove, NULL, NULL, WORLD_AGAIN_MS),
	KINDS("set", false, cell_apply, cell_prove, cell_undo, cell_prove_undone, 0),
};

const struct step_table world_steps = STEP_TABLE(kinds);

/* ---- the operation ---- */

struct world_request *world_request(const struct world_wish *wish, size_t n)
{
	struct world_request *request = calloc(1, sizeof(*request));

	if (!request)
		abort();
	memcpy(request->wish, wish, n * sizeof(*wish));
	request->n = n;
	return request;
}

static void refuse(struct plan *plan, const struct world_request *r)
{
	for (size_t i = 0; i < ARRAY_SIZE(r->refuse); i++) {
		enum refusal_code code = r->refuse[i] ? refusal_find(r->refuse[i]) : REFUSAL_CODES;

		if (code == REFUSE_UNKNOWN)
			plan_refuse_unknown(plan, r->refuse[i] + strlen("unknown_"), "cell", "why",
					    NULL, NULL);
		else if (code != REFUSAL_CODES)
			plan_refuse(plan, code, "cell", "why", "evidence", "fix");
	}
}

static int make_so(void *request, void *services, bool locked, struct plan *plan, struct error *err)
{
	struct world_request *r = request;
	struct world *world = services;
	struct world_args args;

	if (r->plans)
		atomic_fetch_add(r->plans, 1);
	if (r->fail_plan)
		return error_set(err, (enum error_code)r->fail_plan,
				 "the planner was told to fail");
	plan_title(plan, "make %zu cells so", r->n);
	for (size_t i = 0; i < ARRAY_SIZE(r->locks) && r->locks[i]; i++)
		plan_lock(plan, "%s", r->locks[i]);
	if (locked && r->more_locks)
		plan_lock(plan, "more:%d", r->more_locks--);
	if (!locked || !r->refuse_first)
		refuse(plan, r);
	for (size_t i = 0; i < r->n; i++) {
		if (!r->no_cell_lock)
			plan_lock(plan, "cell:%d", r->wish[i].cell);
		args = (struct world_args){ r->wish[i].cell, r->wish[i].value,
					    atomic_load(&world->cell[r->wish[i].cell].value) };
		if (args.value != args.was)
			plan_step(plan, step_find(&world_steps, 1, r->wish[i].kind), &args);
	}
	return !locked && r->conflict_first ? error_set(err, ERROR_CONFLICT, "not now") : 0;
}

static char *cells(void *request, void *services, struct error *err)
{
	struct world *world = services;
	int code = atomic_load(&world->fail_result);
	json_t *values;
	char *text;

	(void)request;
	if (code) {
		error_set(err, (enum error_code)code, "the cells cannot be seen");
		return NULL;
	}
	values = json_array();
	for (size_t i = 0; i < WORLD_CELLS; i++)
		json_array_append_new(values, json_integer(atomic_load(&world->cell[i].value)));
	values = json_pack("{s:o}", "cells", values);
	text = json_dumps(values, JSON_COMPACT);
	json_decref(values);
	return text;
}

static void request_free(void *request)
{
	struct world_request *r = request;

	if (r->freed)
		atomic_fetch_add(r->freed, 1);
	free(r);
}

static int known_locks(void *request, void *services, struct plan *plan)
{
	const struct world_request *r = request;

	(void)services;
	for (size_t i = 0; i < r->n; i++)
		plan_lock(plan, "cell:%d", r->wish[i].cell);
	return 0;
}

const struct operation world_operation = {
	.name = "make-so", .plan = make_so, .result = cells, .free = request_free
};

const struct operation world_known = {
	.name = "make-so", .locks = known_locks,
	.plan = make_so, .result = cells, .free = request_free
};
const struct operation world_urgent = { .name = "make-so-now",
					.urgent = true,
					.plan = make_so,
					.result = cells,
					.free = request_free };

const struct operation world_yielding = { .name = "make-so-unless-urgent",
					  .yields = "cell:",
					  .plan = make_so,
					  .result = cells,
					  .free = request_free };

/* ---- the engine around it ---- */

static int live_children(void *services, struct arena *arena, struct list *children,
			 struct error *err)
{
	struct world *world = services;
	int cell = atomic_load(&world->live_cell);

	if (countdown(&world->helper_down))
		return error_set(err, ERROR_HELPER, "the helper does not answer");
	if (cell)
		*list_add(arena, children, struct live_child) = (struct live_child){
			arena_printf(arena, "cell %d", cell - 1), 4711, "write"
		};
	return 0;
}

void (*world_chain_ends)(void);

/* One request of a chain, as the helper's child does it. 0, -1, or 1: it goes its own way. */
static int link_apply(struct world *world, const struct privd_request *request, struct error *err)
{
	struct world_cell *cell = &world->cell[request->address.bus];

	if (countdown(&cell->own_way))
		return 1;
	note(world, DID_APPLY, request->address.bus);
	while (atomic_load(&cell->hang))
		usleep(1000);
	if (told_to_fail(&cell->fail_apply, "apply", err) < 0)
		return -1;
	atomic_store(&cell->value, -(int)request->value - 1);
	fault_inside();
	if (atomic_load(&world->strike_cell) == request->address.bus + 1)
		raise(SIGKILL);
	atomic_store(&cell->value, (int)request->value);
	return told_to_fail(&cell->fail_apply_done, "apply", err);
}

static int chain(void *services, const struct privd_request *requests, size_t n,
		 const struct chain_watch *watch, size_t *done, size_t *begun, struct error *err)
{
	struct world *world = services;
	int r = 0;

	atomic_fetch_add(&world->chains, 1);
	for (*done = 0; !r && *done < n; *done += !r) {
		watch->at(watch->data, *done);
		r = link_apply(world, &requests[*done], err);
	}
	*begun = *done + (r < 0);
	if (r < 0 && atomic_load(&world->lost))
		*begun = n;
	if (world_chain_ends)
		world_chain_ends();
	return r;
}

void world_config(struct world *world, struct journal *journal, struct engine_config *config)
{
	the_world = world;
	*config = (struct engine_config){
		.tables = &world_steps,
		.n_tables = 1,
		.services = world,
		.journal = journal,
		.live_children = live_children,
		.chain = chain,
		.helper_ms = 1000,
	};
}

bool world_pump(struct engine *engine, atomic_int *flag, unsigned ms)
{
	struct pollfd fd = { .fd = engine_fd(engine), .events = POLLIN };
	uint64_t until = time_monotonic_ms() + ms;

	while (!atomic_load(flag) && time_monotonic_ms() < until)
		if (poll(&fd, 1, 1) > 0)
			engine_dispatch(engine);
	return atomic_load(flag);
}

static void set_flag(void *data, struct task *task, bool reached)
{
	(void)task;
	atomic_store((atomic_int *)data, reached ? 1 : -1);
}

void world_await(struct engine *engine, struct task *task, struct task_outcome *outcome)
{
	atomic_int *flag = calloc(1, sizeof(*flag));

	if (!flag || task_wait(task, TASK_ENDED, 20000, set_flag, flag, NULL) < 0 ||
	    !world_pump(engine, flag, 25000) || atomic_load(flag) < 0) {
		fprintf(stderr, "task %s did not end\n", task_id(task));
		abort();
	}
	free(flag);
	task_outcome(task, outcome);
}

struct task *world_do(struct engine *engine, const struct operation *operation, void *request,
		      const struct task_options *options, struct task_outcome *outcome)
{
	static const struct task_options none = { 0 };
	struct error err = { 0 };
	struct task *task = task_submit(engine, operation, request, options ? options : &none,
					&err);

	if (!task) {
		fprintf(stderr, "not taken: %s\n", err.message);
		abort();
	}
	world_await(engine, task, outcome);
	return task;
}
