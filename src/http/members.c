/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See members.h. All state is this file's and under its lock; the look-up itself runs without it.
 */
#include "http/members.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>

#include "base/id.h"
#include "base/lock.h"

enum {
	KEPT = 64,
	WAITING = 64,
	KEEP_MS = 60 * 1000,
	GROUPS_MAX = 1024,
	RECORD_BYTES = 64 * 1024, /* of a group with many members */
	STACK_BYTES = 256 * 1024,
	STOP_MS = 200,
};

struct known {
	uid_t uid;
	bool member;
	uint64_t until; /* time_monotonic_ms(); 0: the place is free */
};

struct wanted {
	uid_t uid;
	uint64_t ticket;
};

static struct lock members_lock = LOCK_INIT;
static pthread_cond_t wake = PTHREAD_COND_INITIALIZER;
static struct known known[KEPT] GUARDED_BY(members_lock);
static struct wanted wanted[WAITING] GUARDED_BY(members_lock);
static size_t n_wanted GUARDED_BY(members_lock);
static bool stopping GUARDED_BY(members_lock), group_found GUARDED_BY(members_lock);
static gid_t group_id GUARDED_BY(members_lock);

static pthread_t thread;
static const char *group_name;
static void (*tell_ticket)(uint64_t ticket);

static bool find_group(gid_t *ret)
{
	CLEAN_FREE char *buf = malloc(RECORD_BYTES);
	struct group group, *found = NULL;

	if (!buf || getgrnam_r(group_name, &group, buf, RECORD_BYTES, &found) || !found)
		return false;
	*ret = found->gr_gid;
	return true;
}

/* The groups that the account would have if it logged in now (initgroups(3)). */
static bool look_up(uid_t uid, gid_t group)
{
	CLEAN_FREE char *buf = malloc(RECORD_BYTES);
	CLEAN_FREE gid_t *groups = calloc(GROUPS_MAX, sizeof(gid_t));
	struct passwd account, *found = NULL;
	int n = GROUPS_MAX;

	if (!buf || !groups || getpwuid_r(uid, &account, buf, RECORD_BYTES, &found) || !found)
		return false;
	if (getgrouplist(found->pw_name, found->pw_gid, groups, &n) < 0)
		n = GROUPS_MAX; /* more than fit: those that do are looked at */
	for (int i = 0; i < n; i++)
		if (groups[i] == group)
			return true;
	return false;
}

static void keep_locked(uid_t uid, bool member) REQUIRES(members_lock)
{
	struct known *place = &known[0];

	for (size_t i = 0; i < KEPT; i++) {
		if (known[i].until && known[i].uid == uid) {
			place = &known[i];
			break;
		}
		if (known[i].until < place->until)
			place = &known[i];
	}
	*place = (struct known){ uid, member, time_monotonic_ms() + KEEP_MS };
}

static void *run(void *unused)
{
	struct wanted now;
	gid_t group = 0;
	bool found, member;

	(void)unused;
	lock_take(&members_lock);
	while (!stopping) {
		if (!n_wanted) {
			lock_wait(&members_lock, &wake);
			continue;
		}
		now = wanted[0];
		memmove(wanted, wanted + 1, --n_wanted * sizeof(wanted[0]));
		lock_give(&members_lock);
		found = find_group(&group);
		member = found && look_up(now.uid, group);
		lock_take(&members_lock);
		group_found = found;
		group_id = group;
		keep_locked(now.uid, member);
		lock_give(&members_lock);
		tell_ticket(now.ticket);
		lock_take(&members_lock);
	}
	lock_give(&members_lock);
	return NULL;
}

int members_start(const char *group, void (*tell)(uint64_t ticket), struct error *err)
{
	pthread_attr_t attributes;
	gid_t id = 0;
	bool found;
	int r;

	group_name = group;
	tell_ticket = tell;
	found = find_group(&id);
	lock_take(&members_lock);
	stopping = false;
	group_found = found;
	group_id = id;
	lock_give(&members_lock);
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, STACK_BYTES);
	r = pthread_create(&thread, &attributes, run, NULL);
	pthread_attr_destroy(&attributes);
	if (r)
		return error_errno(err, ERROR_SYSTEM, r, "a thread cannot be started");
	pthread_setname_np(thread, "members");
	return 0;
}

void members_stop(void)
{
	lock_take(&members_lock);
	stopping = true;
	pthread_cond_signal(&wake);
	lock_give(&members_lock);
	thread_join_in_ms(thread, STOP_MS);
}

enum membership members_ask(uid_t uid)
{
	enum membership answer = MEMBER_UNKNOWN;
	uint64_t now = time_monotonic_ms();

	lock_take(&members_lock);
	for (size_t i = 0; i < KEPT; i++)
		if (known[i].uid == uid && known[i].until > now)
			answer = known[i].member ? MEMBER_YES : MEMBER_NO;
	lock_give(&members_lock);
	return answer;
}

bool members_look_up(uid_t uid, uint64_t ticket)
{
	bool taken = false;

	lock_take(&members_lock);
	if (n_wanted < WAITING) {
		wanted[n_wanted++] = (struct wanted){ uid, ticket };
		taken = true;
		pthread_cond_signal(&wake);
	}
	lock_give(&members_lock);
	return taken;
}

bool members_group(gid_t *ret)
{
	bool found;

	lock_take(&members_lock);
	found = group_found;
	*ret = group_id;
	lock_give(&members_lock);
	return found;
}
