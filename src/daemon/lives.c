/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See lives.h. What is shared is this file's and under its lock; libvirt, the store and the engine
 * are asked without it, by the thread alone, but for callbacks of tasks, which only note how they
 * ended.
 */
#include "daemon/lives.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/health.h"
#include "api/vm_replies.h"
#include "base/id.h"
#include "base/lock.h"
#include "base/log.h"
#include "daemon/autostart.h"
#include "daemon/kvm.h"
#include "daemon/wanted.h"
#include "gpu/record.h"
#include "vm/facts.h"
#include "vm/view.h"

enum {
	STACK_BYTES = 512 * 1024,
	STOP_MS = 1000,
	REFRESH_MS = 2000, /* how long a task waits for its news to be shown */
	AGREE_MS = 500,	   /* how long libvirt's news may be behind libvirt */
	STORE_RETRY_MS = 5000,
	MADE_MS = 500,
	RELEASE_FIRST_MS = 1000,  /* a release that failed is tried again after this, … */
	RELEASE_MOST_MS = 300000, /* … and ever more slowly */
	RELEASE_WAIT_MS = 3600 * 1000,
	NEWS_MAX = 256,
	LIVES_MAX = 4096,
	NAME_BYTES = 128,
};

/* What is remembered of a VM beside its record: only of those about which there is something. */
struct life {
	char vm[NAME_BYTES];
	bool crashed;	/* its last run */
	bool releasing; /* a task gives its cards back */
	bool claimed;	/* seen in this round */
	uint64_t retry; /* monotonic ms: not before */
	unsigned pause;
	char why[256]; /* the last release failed; empty: it did not */
};

static struct lock lives_lock = LOCK_INIT;
static pthread_cond_t wake = PTHREAD_COND_INITIALIZER, shown = PTHREAD_COND_INITIALIZER;
static bool poked GUARDED_BY(lives_lock), stopping GUARDED_BY(lives_lock),
	running GUARDED_BY(lives_lock), cards_awaited GUARDED_BY(lives_lock),
	cards_made GUARDED_BY(lives_lock);
/* Rounds, for lives_refresh(). */
static uint64_t wanted GUARDED_BY(lives_lock), done GUARDED_BY(lives_lock);
/* VMs whose waiting proofs are to be asked again. */
static char news[NEWS_MAX][NAME_BYTES] GUARDED_BY(lives_lock);
static size_t n_news GUARDED_BY(lives_lock);
static bool all_news GUARDED_BY(lives_lock), connected_anew GUARDED_BY(lives_lock);
static struct life *lives GUARDED_BY(lives_lock);
static size_t n_lives GUARDED_BY(lives_lock);
static int connected GUARDED_BY(lives_lock) = -1; /* as it was last shown */

/*
 * Written by lives_start() before `running` is, and never again. The engine runs tasks earlier than
 * that: they look here only after they saw `running`.
 */
static struct lives_options o;
/* Of the thread alone. */
static pthread_t thread;
static bool autostarted;

/* ---- what is remembered ---- */

static struct life *find(const char *vm) REQUIRES(lives_lock)
{
	for (size_t i = 0; i < n_lives; i++)
		if (!strcmp(lives[i].vm, vm))
			return &lives[i];
	return NULL;
}

/* NULL: there are too many; then nothing is remembered of it. */
static struct life *remember(const char *vm) REQUIRES(lives_lock)
{
	struct life *life = find(vm), *more;

	if (life || n_lives == LIVES_MAX || strlen(vm) >= NAME_BYTES)
		return life;
	more = realloc(lives, (n_lives + 1) * sizeof(*lives));
	if (!more)
		abort();
	lives = more;
	life = &lives[n_lives++];
	*life = (struct life){ 0 };
	snprintf(life->vm, sizeof(life->vm), "%s", vm);
	return life;
}

static void forget_idle(void) REQUIRES(lives_lock)
{
	size_t kept = 0;

	for (size_t i = 0; i < n_lives; i++)
		if (lives[i].crashed || lives[i].releasing || lives[i].claimed)
			lives[kept++] = lives[i];
	n_lives = kept;
}

/* ---- news ---- */

static void poke_locked(void) REQUIRES(lives_lock)
{
	poked = true;
	pthread_cond_signal(&wake);
}

void lives_poke(void)
{
	lock_take(&lives_lock);
	poke_locked();
	lock_give(&lives_lock);
}

static void on_domain(void *data, const char *name, enum virt_state state, bool gone)
{
	struct life *life;

	(void)data;
	lock_take(&lives_lock);
	if (stopping) {
		lock_give(&lives_lock);
		return;
	}
	if (n_news < NEWS_MAX)
		snprintf(news[n_news++], NAME_BYTES, "%s", name);
	else
		all_news = true;
	life = gone && state == VIRT_CRASHED ? remember(name) : find(name);
	if (life)
		life->crashed = gone && state == VIRT_CRASHED;
	poke_locked();
	lock_give(&lives_lock);
}

static void on_connected(void *data)
{
	(void)data;
	lock_take(&lives_lock);
	all_news = connected_anew = true;
	poke_locked();
	lock_give(&lives_lock);
}

const struct virt_events lives_events = { NULL, on_domain, on_connected };

void lives_task_changed(struct task *task)
{
	const struct operation *operation = task_operation(task);
	static const struct operation *const ours[] = {
		&vm_create_operation, &vm_create_and_start_operation,
		&vm_change_operation, &vm_delete_operation,
		&vm_start_operation,  &vm_stop_operation,
		&vm_kill_operation,   &vm_restart_operation,
		&vm_ended_operation,
	};

	for (size_t i = 0; i < ARRAY_SIZE(ours); i++)
		if (operation == ours[i])
			lives_poke();
}

void lives_tick(void)
{
	int now = o.libvirt ? virt_connected(o.services->virt, NULL) : -1;

	lock_take(&lives_lock);
	if (running && ((o.libvirt && now != connected) || cards_awaited))
		poke_locked();
	lock_give(&lives_lock);
}

/* ---- showing ---- */

static enum vm_doing doing(const char *vm)
{
	CLEANUP(task_unrefp) struct task *task = NULL;
	const struct operation *operation;
	char name[PLAN_LOCK_TEXT];

	snprintf(name, sizeof(name), "vm:%s", vm);
	task = task_under(o.engine, name);
	operation = task ? task_operation(task) : NULL;
	if (operation == &vm_start_operation || operation == &vm_create_and_start_operation ||
	    operation == &vm_restart_operation)
		return VM_DOES_START; /* which shows as long as there is no domain */
	if (operation == &vm_stop_operation || operation == &vm_kill_operation)
		return VM_DOES_STOP;
	return VM_DOES_NOTHING;
}

static bool is_up(void)
{
	bool up;

	lock_take(&lives_lock);
	up = running && !stopping;
	lock_give(&lives_lock);
	return up;
}

bool lives_starting(const char *vm)
{
	return is_up() && doing(vm) == VM_DOES_START;
}

const char *lives_held_back(const char *vm, struct arena *arena)
{
	const struct life *life;
	const char *why = NULL;

	lock_take(&lives_lock);
	life = find(vm);
	if (life && life->why[0])
		why = arena_strdup(arena, life->why);
	lock_give(&lives_lock);
	return why;
}

static void show_one(struct vm_view_facts *facts, const struct vm_record *vm, struct arena *arena,
		     struct wire_vm *out)
{
	const struct life *life;

	facts->doing = doing(vm->spec.id);
	facts->no_kvm = kvm_known() == 0;
	lock_take(&lives_lock);
	life = find(vm->spec.id);
	facts->crashed = life && life->crashed;
	facts->held_back = life && life->why[0] ? arena_strdup(arena, life->why) : NULL;
	lock_give(&lives_lock);
	vm_view(facts, vm, arena, out);
}

static void show_health(bool up, const struct error *why)
{
	if (!o.libvirt)
		health_set(HEALTH_LIBVIRT, PART_OFF, "no libvirt is configured: VMs cannot run");
	else if (up)
		health_set(HEALTH_LIBVIRT, PART_OK, NULL);
	else
		health_set(HEALTH_LIBVIRT, PART_FAILED, "%s", why->message);
	lock_take(&lives_lock);
	connected = up;
	lock_give(&lives_lock);
}

/* What one round reads. */
struct round {
	struct arena *arena;
	struct list vms, domains; /* struct vm_record, struct virt_domain */
	bool up;		  /* domains are known */
	struct error why;
};

static int look(struct round *round)
{
	struct error err = { 0 };

	round->up = virt_domains(o.services->virt, round->arena, &round->domains, &round->why) >= 0;
	show_health(round->up, &round->why);
	if (vm_list(o.services->gpu.store, round->arena, &round->vms, &err) >= 0)
		return 0;
	vm_replies_unknown(&err);
	return -1;
}

static void show(struct round *round)
{
	CLEANUP(inventory_releasep) struct inventory *inv = inventory_acquire();
	struct vm_view_facts facts = { .node = o.services->gpu.node,
				       .inventory = inv,
				       .domains = round->up ? &round->domains : NULL,
				       .domains_unknown = round->why.message };
	struct list views = { 0 };

	for (LIST_EACH(const struct vm_record, vm, &round->vms))
		show_one(&facts, vm, round->arena, list_add(round->arena, &views, struct wire_vm));
	vm_replies_publish(o.services->gpu.node, &views);
}

/* ---- releases ---- */

static bool runs(const struct round *round, const char *vm)
{
	for (LIST_EACH(const struct virt_domain, domain, &round->domains))
		if (domain->vm && !strcmp(domain->vm, vm))
			return true;
	return false;
}

static void note_end(struct life *life, const struct error *why)
{
	life->releasing = false;
	if (!why) {
		life->why[0] = '\0';
		life->pause = 0;
		return;
	}
	snprintf(life->why, sizeof(life->why), "%.250s", why->message);
	life->pause = life->pause ? life->pause * 2 : RELEASE_FIRST_MS;
	if (life->pause > RELEASE_MOST_MS)
		life->pause = RELEASE_MOST_MS;
	life->retry = time_monotonic_ms() + life->pause;
}

/* Any thread; data is the VM's id, freed here. */
static void on_released(void *data, struct task *task, bool reached)
{
	struct task_outcome outcome;
	struct life *life;
	bool bad;

	task_outcome(task, &outcome);
	if (!reached && !outcome.error.code)
		error_set(&outcome.error, ERROR_STUCK, "it takes too long");
	bad = outcome.error.code != ERROR_NONE;
	if (bad)
		log_warning("VM %s has ended, and its cards do not come back: %s", (char *)data,
			    outcome.error.message);
	lock_take(&lives_lock);
	life = find(data);
	if (life)
		note_end(life, bad ? &outcome.error : NULL);
	poke_locked();
	lock_give(&lives_lock);
	o.news();
	task_outcome_finish(&outcome);
	free(data);
}

static void hand_in(const char *vm)
{
	const struct task_options options = { .requested_by = "horcruxd: the VM ended" };
	CLEANUP(task_unrefp) struct task *task = NULL;
	char *name = strdup(vm);
	struct life *life;
	struct error err;

	if (!name)
		abort();
	task = task_submit(o.engine, &vm_ended_operation, vm_request_new(vm, ROW_NULL), &options,
			   &err);
	if (task && !task_wait(task, TASK_ENDED, RELEASE_WAIT_MS, on_released, name, &err))
		return;
	free(name);
	lock_take(&lives_lock);
	life = find(vm);
	if (life)
		note_end(life, &err);
	lock_give(&lives_lock);
}

/* Under way is whatever has the VM's lock: it comes by here again when that is over. */
static bool under_way(const char *vm)
{
	CLEANUP(task_unrefp) struct task *task = NULL;
	char name[PLAN_LOCK_TEXT];

	snprintf(name, sizeof(name), "vm:%s", vm);
	task = task_under(o.engine, name);
	return task != NULL;
}

/* Is it time? Then it is noted as begun. */
static bool begin_release(const char *vm)
{
	struct life *life;
	bool begin;

	lock_take(&lives_lock);
	life = remember(vm);
	begin = life && !life->releasing && time_monotonic_ms() >= life->retry && !stopping;
	if (life)
		life->claimed = true;
	if (begin)
		life->releasing = true;
	lock_give(&lives_lock);
	return begin;
}

/* Claims of VMs that do not run. */
static int release(struct round *round)
{
	struct list records = { 0 };
	struct error err = { 0 };

	lock_take(&lives_lock);
	for (size_t i = 0; i < n_lives; i++)
		lives[i].claimed = false;
	lock_give(&lives_lock);
	if (!round->up)
		return 0; /* there will be news when it is */
	if (records_load(o.services->gpu.store, o.services->gpu.node_id, round->arena, &records,
			 &err) < 0)
		return -1;
	for (LIST_EACH(const struct card_record, record, &records))
		if (record->owner && !runs(round, record->owner) && !under_way(record->owner) &&
		    begin_release(record->owner))
			hand_in(record->owner);
	lock_take(&lives_lock);
	forget_idle();
	lock_give(&lives_lock);
	return 0;
}

/* When its cards can be given away, and there are those that are to be made first. */
static void start_with_host(struct round *round)
{
	bool ready, made;

	if (autostarted)
		return;
	ready = o.ready();
	made = ready && wanted_made(o.engine);
	lock_take(&lives_lock);
	cards_awaited = !ready;
	cards_made = ready && !made;
	lock_give(&lives_lock);
	autostarted = made && round->up;
	if (!autostarted)
		return;
	autostart(o.engine, o.run_dir, &round->vms, &round->domains);
}

/* ---- the thread ---- */

static void tell_proofs(void)
{
	char(*names)[NAME_BYTES] = calloc(NEWS_MAX, NAME_BYTES);
	char text[NAME_BYTES + 8];
	bool all, anew;
	size_t n;

	if (!names)
		abort();
	lock_take(&lives_lock);
	n = n_news;
	all = all_news;
	memcpy(names, news, n * NAME_BYTES);
	n_news = 0;
	anew = connected_anew;
	all_news = connected_anew = false;
	lock_give(&lives_lock);
	for (size_t i = 0; i < n && !all; i++) {
		snprintf(text, sizeof(text), "vm:%s", names[i]);
		engine_poke(o.engine, text);
	}
	if (all)
		engine_poke(o.engine, NULL);
	free(names);
	if (anew)
		kvm_ask(o.services->virt, lives_poke);
}

/* When the next release is due, or what is being made for VMs is to be looked at; UINT64_MAX: none. */
static uint64_t next_retry(void) REQUIRES(lives_lock)
{
	uint64_t next = cards_made ? time_monotonic_ms() + MADE_MS : UINT64_MAX;

	for (size_t i = 0; i < n_lives; i++)
		if (lives[i].claimed && !lives[i].releasing && lives[i].retry < next)
			next = lives[i].retry;
	return next;
}

/* Until poked, or it is time; the number of the round that begins, 0 to end. */
static uint64_t wait_for_work(bool failed)
{
	struct timespec until;
	uint64_t retry, now, round;
	int r = 0;

	lock_take(&lives_lock);
	retry = next_retry();
	now = time_monotonic_ms();
	if (failed && (retry == UINT64_MAX || retry > now + STORE_RETRY_MS))
		retry = now + STORE_RETRY_MS;
	until = time_in_ms(retry == UINT64_MAX || retry <= now ? 0 : retry - now);
	while (!poked && !stopping && !r) {
		if (retry == UINT64_MAX)
			lock_wait(&lives_lock, &wake);
		else
			r = lock_wait_until(&lives_lock, &wake, &until);
	}
	poked = false;
	round = stopping ? 0 : wanted + 1;
	lock_give(&lives_lock);
	return round;
}

static void show_done(uint64_t round)
{
	lock_take(&lives_lock);
	done = round;
	pthread_cond_broadcast(&shown);
	lock_give(&lives_lock);
}

static void *look_for_ever(void *unused)
{
	bool failed = false;
	uint64_t n;

	(void)unused;
	while ((n = wait_for_work(failed)) != 0) {
		struct round round = { .arena = arena_new() };

		tell_proofs();
		failed = look(&round) < 0;
		if (!failed)
			show(&round);
		show_done(n - 1);
		if (!failed) {
			failed = release(&round) < 0;
			start_with_host(&round);
		}
		arena_free(round.arena);
	}
	wanted_forget();
	return NULL;
}

int lives_start(const struct lives_options *options, struct error *err)
{
	pthread_attr_t attr;
	int r;

	lock_take(&lives_lock);
	o = *options;
	poked = running = true;
	lock_give(&lives_lock);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	r = pthread_create(&thread, &attr, look_for_ever, NULL);
	pthread_attr_destroy(&attr);
	return r ? error_errno(err, ERROR_SYSTEM, r, "no thread to look after VMs") : 0;
}

bool lives_stop(void)
{
	lock_take(&lives_lock);
	stopping = true;
	pthread_cond_signal(&wake);
	pthread_cond_broadcast(&shown);
	lock_give(&lives_lock);
	if (!thread_join_in_ms(thread, STOP_MS) || !kvm_stop(STOP_MS))
		return false;
	vm_replies_forget();
	lock_take(&lives_lock); /* tasks end, and say so here, until the engine is stopped */
	free(TAKE_PTR(lives));
	n_lives = 0;
	lock_give(&lives_lock);
	return true;
}

/* ---- tasks wait here for what they did to be seen ---- */

static bool news_agree(const char *vm)
{
	CLEANUP(arena_freep) struct arena *arena = arena_new();
	struct round round = { .arena = arena };
	int active = virt_active(o.services->virt, vm, NULL, NULL);

	if (active < 0 || virt_domains(o.services->virt, arena, &round.domains, NULL) < 0)
		return true; /* nothing to agree with */
	return runs(&round, vm) == active;
}

static void wait_for_news(const char *vm)
{
	const struct timespec pause = { .tv_nsec = 10 * 1000000L };
	uint64_t until = time_monotonic_ms() + AGREE_MS;

	while (!news_agree(vm) && time_monotonic_ms() < until)
		nanosleep(&pause, NULL);
}

void lives_refresh(const struct list *locks)
{
	struct timespec until = time_in_ms(REFRESH_MS);
	bool any = false;
	uint64_t mine;
	int r = 0;

	if (!is_up())
		return;
	for (LIST_EACH(const char *, name, locks)) {
		if (strncmp(*name, "vm:", 3))
			continue;
		any = true;
		if (o.libvirt)
			wait_for_news(*name + 3);
	}
	if (!any)
		return;
	lock_take(&lives_lock);
	mine = ++wanted;
	poke_locked();
	while (running && !stopping && done < mine && !r)
		r = lock_wait_until(&lives_lock, &shown, &until);
	lock_give(&lives_lock);
}
