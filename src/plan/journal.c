/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See journal.h. Records:
 *   {"r":"boot","boot"}                                       RUN only, the first
 *   {"r":"task","task","boot","title","by","locks","steps"}    in each file that has steps of it
 *   {"r":"step","task","n","s"}                                s: word of enum step_status;
 *                                                             "to": all from n to that one
 *   {"r":"end","task"}                                         VAR first: an end in either file
 * counts
 *   {"r":"taken","key","value"}                                RUN only; value null: dropped
 *
 * Threading: whoever has the turn (journal_lock, `busy`) owns the struct and both files; the lock
 * itself is never held across input and output.
 */
#include "plan/journal.h"

#include <string.h>

#include "base/lock.h"
#include "plan/logfile.h"

enum { COMPACT_IDLE = 4096 };

enum place { RUN, VAR, PLACES };

struct journal {
	char boot[64];
	struct logfile file[PLACES];
	off_t compacted[PLACES];	/* size after the last compaction */
	json_t *owed[PLACES];		/* records that there was no room for: they come first */
	json_t *taken;			/* key -> value */
	json_t *live;			/* task id -> bits: 1 << place */
	json_t *found;			/* task id -> what the files say; array-like by "order" */
	struct arena *arena;		/* of found_list */
	struct list found_list;		/* struct journal_task */
};

static struct lock journal_lock = LOCK_INIT;
static pthread_cond_t journal_turn = PTHREAD_COND_INITIALIZER;
static bool busy GUARDED_BY(journal_lock);

static void take_turn(void)
{
	lock_take(&journal_lock);
	while (busy)
		lock_wait(&journal_lock, &journal_turn);
	busy = true;
	lock_give(&journal_lock);
}

static void give_turn(void)
{
	lock_take(&journal_lock);
	busy = false;
	pthread_cond_signal(&journal_turn);
	lock_give(&journal_lock);
}

static const char *const status_words[] = {
	[STEP_NONE] = "none", [STEP_INTENT] = "intent", [STEP_DONE] = "done",
	[STEP_UNDOING] = "undoing", [STEP_UNDONE] = "undone", NULL
};

static const char *member(json_t *record, const char *key)
{
	return json_string_value(json_object_get(record, key)) ?: "";
}

/* ---- opening ---- */

struct opening {
	struct journal *journal;
	enum place place;
	bool begun;		/* RUN has its first record */
	bool other_boot;	/* RUN is of an earlier boot: nothing in it is so any more */
};

/* {"task": header, "n": status word, …} of a task, made when it is not there. */
static json_t *found_entry(struct journal *j, const char *id)
{
	json_t *entry = json_object_get(j->found, id);

	if (entry)
		return entry;
	entry = json_pack("{s:{}}", "status");
	json_object_set_new(j->found, id, entry);
	return entry;
}

static void replay_step(struct opening *open, json_t *record)
{
	json_t *entry = found_entry(open->journal, member(record, "task"));
	json_int_t n = json_integer_value(json_object_get(record, "n"));
	json_int_t to = json_integer_value(json_object_get(record, "to"));	/* 0: n alone */
	char key[24];

	if (n < 0 || to >= PLAN_STEPS_MAX)
		return;
	do {
		snprintf(key, sizeof(key), "%lld", (long long)n);
		json_object_set(json_object_get(entry, "status"), key, json_object_get(record, "s"));
	} while (++n <= to);
}

static void replay_task(struct opening *open, json_t *record)
{
	struct journal *j = open->journal;
	json_t *entry = found_entry(j, member(record, "task"));
	json_int_t bits = json_integer_value(json_object_get(entry, "bits"));

	json_object_set(entry, "task", record);
	json_object_set_new(entry, "bits", json_integer(bits | 1 << open->place));
}

static void replay_taken(struct journal *j, json_t *record)
{
	json_t *value = json_object_get(record, "value");

	if (json_is_null(value))
		json_object_del(j->taken, member(record, "key"));
	else
		json_object_set(j->taken, member(record, "key"), value);
}

static void replay_end(struct opening *open, json_t *record)
{
	json_t *entry = found_entry(open->journal, member(record, "task"));
	json_int_t ends = json_integer_value(json_object_get(entry, "ends"));

	json_object_set_new(entry, "ends", json_integer(ends | 1 << open->place));
}

static bool replay_record(void *data, json_t *record)
{
	struct opening *open = data;
	struct journal *j = open->journal;
	const char *r = member(record, "r");

	if (!strcmp(r, "boot"))
		open->begun = !(open->other_boot = strcmp(member(record, "boot"), j->boot) != 0);
	if (open->other_boot)
		return true;
	if (!strcmp(r, "taken"))
		replay_taken(j, record);
	else if (!strcmp(r, "task"))
		replay_task(open, record);
	else if (!strcmp(r, "step"))
		replay_step(open, record);
	else if (!strcmp(r, "end"))
		replay_end(open, record);
	return true;
}

static int read_status(json_t *entry, size_t n)
{
	char key[24];
	int status;

	snprintf(key, sizeof(key), "%zu", n);
	status = word_find(status_words, member(json_object_get(entry, "status"), key));
	return status < 0 ? STEP_NONE : status;
}

static void list_found(struct journal *j, const char *id, json_t *entry)
{
	json_t *header = json_object_get(entry, "task"), *lock;
	struct journal_task *task = list_add(j->arena, &j->found_list, struct journal_task);
	size_t i;

	*task = (struct journal_task){
		.id = id,
		.title = member(header, "title"),
		.requested_by = json_string_value(json_object_get(header, "by")),
		.rebooted = strcmp(member(header, "boot"), j->boot) != 0,
		.steps = json_object_get(header, "steps"),
		.n = json_array_size(json_object_get(header, "steps")),
	};
	task->status = arena_array(j->arena, task->n + 1, enum step_status);
	for (i = 0; i < task->n; i++)
		task->status[i] = (enum step_status)read_status(entry, i);
	json_array_foreach(json_object_get(header, "locks"), i, lock)
		if (json_is_string(lock))
			list_add_string(j->arena, &task->locks, json_string_value(lock));
}

/* ---- compaction ---- */

struct compaction {
	struct journal *journal;
	enum place place;
};

static bool keep_live(void *data, json_t *record)
{
	struct compaction *c = data;
	const char *task = json_string_value(json_object_get(record, "task"));
	json_int_t bits = task ? json_integer_value(json_object_get(c->journal->live, task)) : 0;

	return bits & 1 << c->place;
}

static bool any_live(struct journal *j, enum place place)
{
	const char *id;
	json_t *bits;

	json_object_foreach(j->live, id, bits)
		if (json_integer_value(bits) & 1 << place)
			return true;
	return false;
}

static int compact(struct journal *j, enum place place, struct error *err)
{
	struct compaction c = { j, place };
	json_t *first = json_array(), *value;
	const char *key;
	int r;

	if (place == RUN) {
		json_array_append_new(first, json_pack("{s:s, s:s}", "r", "boot", "boot", j->boot));
		json_object_foreach(j->taken, key, value)
			json_array_append_new(first, json_pack("{s:s, s:s, s:O}", "r", "taken",
							       "key", key, "value", value));
	}
	/* of what is over nothing is read again to throw it away */
	r = logfile_rewrite(&j->file[place], first, any_live(j, place) ? keep_live : NULL, &c, err);
	json_decref(first);
	j->compacted[place] = j->file[place].size;
	return r;
}

/* A file that cannot be made smaller is no failure of who asked: it is tried at the next end. */
static void compact_if_large(struct journal *j, enum place place)
{
	off_t size = j->file[place].size, floor = 2 * j->compacted[place];

	if (size <= floor)
		return;
	if (size > JOURNAL_COMPACT || (size > COMPACT_IDLE && !any_live(j, place)))
		compact(j, place, NULL);
}

/* ---- appending ---- */

/*
 * Ends, what was undone and what is not taken any more stand whether they could be written down or
 * not (a full disk). Until they are, nothing else is: so no newer task begins in a world about which a restart would still
 * believe the older one. What is owed is bounded by what runs meanwhile.
 */
static int pay(struct journal *j, enum place place, struct error *err)
{
	while (json_array_size(j->owed[place])) {
		if (logfile_append(&j->file[place],
				   json_incref(json_array_get(j->owed[place], 0)), err) < 0)
			return -1;
		json_array_remove(j->owed[place], 0);
	}
	return 0;
}

/* Borrows the record, as append_or_owe() does. */
static int append(struct journal *j, enum place place, json_t *record, struct error *err)
{
	return pay(j, place, err) < 0
		       ? -1
		       : logfile_append(&j->file[place], json_incref(record), err);
}

/* Bits are places. VAR first: see "end" at the top. */
static int append_or_owe(struct journal *j, json_int_t bits, json_t *record, struct error *err)
{
	static const enum place order[] = { VAR, RUN };
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(order); i++) {
		if (!(bits & 1 << order[i]) || append(j, order[i], record, r < 0 ? NULL : err) >= 0)
			continue;
		json_array_append(j->owed[order[i]], record);
		r = -1;
	}
	return r;
}

/* An end says all: what else is owed of the task is not needed any more. */
static void owe_no_more(struct journal *j, const char *task)
{
	json_t *record;
	size_t i;

	for (enum place place = RUN; place < PLACES; place++)
		for (i = json_array_size(j->owed[place]); i-- > 0;) {
			record = json_array_get(j->owed[place], i);
			if (!strcmp(member(record, "task"), task))
				json_array_remove(j->owed[place], i);
		}
}

static int append_all(struct journal *j, json_int_t bits, json_t *record, struct error *err)
{
	int r = 0;

	if (bits & 1 << VAR)
		r = append(j, VAR, record, err);
	if (!r && (bits & 1 << RUN))
		r = append(j, RUN, record, err);
	json_decref(record);
	return r;
}

/* ---- opening, continued ---- */

static int append_end(struct journal *j, json_int_t bits, const char *task, struct error *err)
{
	return append_all(j, bits, json_pack("{s:s, s:s}", "r", "end", "task", task), err);
}

/*
 * What either file calls ended is ended: then the other has to say so too, or it would be found
 * once the first is compacted. The rest is found.
 */
static int settle_found(struct journal *j, struct error *err)
{
	json_int_t bits, ends;
	const char *id;
	json_t *entry;
	int r = 0;

	json_object_foreach(j->found, id, entry) {
		bits = json_integer_value(json_object_get(entry, "bits"));
		ends = json_integer_value(json_object_get(entry, "ends"));
		if (ends && (bits & ~ends) && !r)
			r = append_end(j, bits & ~ends, id, err);
		if (ends || !bits)
			continue;
		json_object_set(j->live, id, json_object_get(entry, "bits"));
		list_found(j, id, entry);
	}
	return r;
}

static int open_files(struct journal *j, const char *run_dir, const char *var_dir,
		      struct error *err)
{
	struct opening var = { .journal = j, .place = VAR };
	struct opening run = { .journal = j, .place = RUN };

	if (logfile_open(&j->file[VAR], var_dir, replay_record, &var, err) < 0 ||
	    logfile_open(&j->file[RUN], run_dir, replay_record, &run, err) < 0)
		return -1;
	if (settle_found(j, err) < 0 || (!run.begun && compact(j, RUN, err) < 0))
		return -1;
	compact_if_large(j, RUN);
	compact_if_large(j, VAR);
	return 0;
}

struct journal *journal_open(const char *run_dir, const char *var_dir, const char *boot,
			     struct error *err)
{
	struct journal *j = calloc(1, sizeof(*j));

	if (!j)
		abort();
	snprintf(j->boot, sizeof(j->boot), "%s", boot);
	j->file[RUN] = j->file[VAR] = (struct logfile)LOGFILE_CLOSED;
	j->owed[RUN] = json_array();
	j->owed[VAR] = json_array();
	j->taken = json_object();
	j->live = json_object();
	j->found = json_object();
	j->arena = arena_new();
	if (!open_files(j, run_dir, var_dir, err))
		return j;
	journal_close(j);
	return NULL;
}

void journal_close(struct journal *j)
{
	if (!j)
		return;
	for (enum place place = RUN; place < PLACES; place++) {
		pay(j, place, NULL);
		logfile_close(&j->file[place]);
		json_decref(j->owed[place]);
	}
	json_decref(j->taken);
	json_decref(j->live);
	json_decref(j->found);
	arena_free(j->arena);
	free(j);
}

const struct list *journal_found(struct journal *j)
{
	return &j->found_list;
}

void journal_forget_found(struct journal *j)
{
	take_turn();
	json_object_clear(j->found);
	arena_free(j->arena);
	j->arena = arena_new();
	j->found_list = (struct list){ 0 };
	give_turn();
}

/* ---- writing ---- */

static json_t *task_record(struct journal *j, const char *task, const char *by,
			   const struct plan *plan)
{
	json_t *locks = json_array(), *steps = json_array();
	const char **names = plan->locks.items;

	for (size_t i = 0; i < plan->locks.n; i++)
		json_array_append_new(locks, json_string(names[i]));
	for (LIST_EACH(struct plan_step, step, &plan->steps))
		json_array_append_new(steps, json_pack("{s:s, s:O}", "kind", step->kind->name,
						       "args", step->json));
	return json_pack("{s:s, s:s, s:s, s:s, s:s?, s:o, s:o}", "r", "task", "task", task, "boot",
			 j->boot, "title", plan->title, "by", by, "locks", locks, "steps", steps);
}

int journal_begin(struct journal *j, const char *task, const char *requested_by,
		  const struct plan *plan, struct error *err)
{
	json_int_t bits = 0;
	int r;

	for (LIST_EACH(struct plan_step, step, &plan->steps))
		bits |= 1 << (step->kind->lasting ? VAR : RUN);
	if (!bits)
		return 0;
	take_turn();
	r = append_all(j, bits, task_record(j, task, requested_by, plan), err);
	if (!r)
		json_object_set_new(j->live, task, json_integer(bits));
	give_turn();
	return r;
}

int journal_step(struct journal *j, const char *task, size_t n, const struct plan_step *step,
		 enum step_status status, struct error *err)
{
	json_t *record = json_pack("{s:s, s:s, s:I, s:s}", "r", "step", "task", task, "n",
				   (json_int_t)n, "s", status_words[status]);
	json_int_t bits = 1 << (step->kind->lasting ? VAR : RUN);
	int r;

	take_turn();
	if (!step->kind->undo)	/* both files have to know that there is no way back */
		bits = json_integer_value(json_object_get(j->live, task));
	if (status == STEP_UNDONE) {
		r = append_or_owe(j, bits, record, err);
		json_decref(record);
	} else {
		r = append_all(j, bits, record, err);
	}
	give_turn();
	return r;
}

int journal_steps(struct journal *j, const char *task, size_t n, size_t count,
		  enum step_status status, struct error *err)
{
	json_t *record = json_pack("{s:s, s:s, s:I, s:I, s:s}", "r", "step", "task", task, "n",
				   (json_int_t)n, "to", (json_int_t)(n + count - 1), "s",
				   status_words[status]);
	int r;

	take_turn();
	r = append_all(j, 1 << RUN, record, err);
	give_turn();
	return r;
}

int journal_end(struct journal *j, const char *task, struct error *err)
{
	json_t *record = json_pack("{s:s, s:s}", "r", "end", "task", task);
	int r;

	take_turn();
	owe_no_more(j, task);
	r = append_or_owe(j, json_integer_value(json_object_get(j->live, task)), record, err);
	json_decref(record);
	json_object_del(j->live, task);
	compact_if_large(j, RUN);
	compact_if_large(j, VAR);
	give_turn();
	return r;
}

/* ---- taken ---- */

static int put_taken(struct journal *j, const char *key, json_t *value, struct error *err)
{
	json_t *record = json_pack("{s:s, s:s, s:O}", "r", "taken", "key", key, "value", value);
	int r;

	if (!record)
		return error_set(err, ERROR_INTERNAL,
				 "what was taken cannot be kept: its key is no UTF-8");
	if (!json_object_get(j->taken, key) && json_object_size(j->taken) >= JOURNAL_TAKEN_MAX) {
		json_decref(record);
		return error_set(err, ERROR_TOO_MANY, "more than %d things are taken",
				 JOURNAL_TAKEN_MAX);
	}
	r = append(j, RUN, record, err);
	json_decref(record);
	if (!r) {
		json_object_set_new(j->taken, key, json_deep_copy(value));
		compact_if_large(j, RUN);
	}
	return r;
}

int journal_taken_put(struct journal *j, const char *key, json_t *value, struct error *err)
{
	int r;

	take_turn();
	r = put_taken(j, key, value, err);
	give_turn();
	return r;
}

int journal_taken_drop(struct journal *j, const char *key, struct error *err UNUSED)
{
	json_t *record = json_pack("{s:s, s:s, s:n}", "r", "taken", "key", key, "value");

	take_turn();
	if (record && json_object_get(j->taken, key)) {
		append_or_owe(j, 1 << RUN, record, NULL);
		json_object_del(j->taken, key);
		compact_if_large(j, RUN);
	}
	give_turn();
	json_decref(record);
	return 0;
}

json_t *journal_taken_get(struct journal *j, const char *key)
{
	json_t *value;

	take_turn();
	value = json_deep_copy(json_object_get(j->taken, key));
	give_turn();
	return value;
}

json_t *journal_taken_all(struct journal *j)
{
	json_t *all;

	take_turn();
	all = json_deep_copy(j->taken);
	give_turn();
	return all;
}
