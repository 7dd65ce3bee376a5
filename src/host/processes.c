/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pass over /proc. See processes.h; formats: Documentation/filesystems/proc.rst.
 *
 * The files of a process are those of its main thread. When that one has ended and others live on,
 * its directory is empty, and the threads are asked.
 */
#include "host/processes.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/kcmp.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/fdpath.h"
#include "base/id.h"

enum {
	PATH_TEXT = PATH_MAX,
	PROC_PATH = 96,
	PID_TEXT = 24,
	MAPS_BYTES = 16 * 1024, /* longer than any line */
	STAT_TEXT = 1024,
	STAT_FLAGS = 9, /* fields of /proc/<pid>/stat are counted from 1 */
	STAT_START_TIME = 22,
	STAT_AFTER_COMM = 3,
	CGROUP_TEXT = 8192,
	PF_KTHREAD = 0x00200000,      /* include/linux/sched.h */
	HOST_STAT_TEXT = 1024 * 1024, /* /proc/stat has a number for each interrupt */
};

/* What it means that something of a process could not be read. */
static bool is_gone(int r)
{
	return r == -ENOENT || r == -ESRCH || r == -ENOTDIR;
}

static int64_t pid_of(const char *name)
{
	char *end;
	long long pid;

	if (name[0] < '1' || name[0] > '9')
		return 0;
	errno = 0;
	pid = strtoll(name, &end, 10);
	return errno || *end ? 0 : pid;
}

/* Field `number` (from 3 on) of a stat line; comm may hold blanks and parentheses. */
static bool stat_field(const char *text, int number, unsigned long long *ret)
{
	const char *at = strrchr(text, ')');

	if (!at)
		return false;
	for (int i = STAT_AFTER_COMM; i <= number; i++) {
		at = strchr(at + 1, ' ');
		if (!at)
			return false;
	}
	return sscanf(at, " %llu", ret) == 1;
}

/*
 * A kernel thread has neither files nor memory of its own, and most entries of /proc are kernel
 * threads: one small file spares looking for them. No other test is as exact: a process whose main
 * thread has ended has no memory either. Where the flags are not told, it may be anything.
 */
static bool is_kernel_thread(int proc, const char *pid)
{
	char path[PROC_PATH], text[STAT_TEXT];
	unsigned long long flags, next;

	snprintf(path, sizeof(path), "%s/stat", pid);
	return fdpath_attribute(proc, path, text, sizeof(text)) > 0 &&
	       stat_field(text, STAT_FLAGS, &flags) &&
	       stat_field(text, STAT_FLAGS + 1, &next) && /* so the number was not cut off */
	       flags & PF_KTHREAD;
}

/* One pass, and the process that it is at. */
struct pass {
	const struct processes_visit *visit;
	int proc;	       /* /proc */
	int64_t pid, kthreadd; /* 0: the latter is not known */
	int links;	       /* of the process or thread */
	bool init;	       /* the first process was seen */
	int refused;	       /* -errno: it may not be seen */
};

static int visit_link(void *data, int dir, const struct dirent64 *entry)
{
	struct pass *pass = data;
	char target[PATH_TEXT];
	ssize_t n;

	n = fdpath_entry_link(dir, entry->d_name, target, sizeof(target));
	if (n < 0)
		return is_gone((int)n) || n == -EINVAL || n == -ENAMETOOLONG ? 0 : (int)n;
	if (!n)
		return 0;
	pass->visit->path(pass->visit->data, pass->pid, target);
	pass->links++;
	return 0;
}

/* The complete lines in buf; the bytes left over. */
static size_t visit_map_lines(char *buf, size_t n, char last[static PATH_TEXT], int64_t pid,
			      const struct processes_visit *visit)
{
	char *line = buf, *end, *path;

	for (; (end = memchr(line, '\n', n - (size_t)(line - buf))); line = end + 1) {
		*end = '\0';
		path = strchr(line, '/');
		/* a library has several lines in a row */
		if (!path || strlen(path) >= PATH_TEXT || !strcmp(path, last))
			continue;
		memcpy(last, path, strlen(path) + 1);
		visit->path(visit->data, pid, path);
	}
	n -= (size_t)(line - buf);
	memmove(buf, line, n);
	return n;
}

static int visit_maps(const struct pass *pass, const char *where)
{
	CLEAN_FD int fd = fdpath_open(pass->proc, where, O_RDONLY);
	char buf[MAPS_BYTES], last[PATH_TEXT] = "";
	size_t kept = 0;
	ssize_t n;

	if (fd < 0)
		return fd;
	for (;;) {
		n = read(fd, buf + kept, sizeof(buf) - kept);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : 0;
		kept = visit_map_lines(buf, kept + (size_t)n, last, pass->pid, pass->visit);
		if (kept == sizeof(buf))
			kept = 0; /* no line of the kernel's */
	}
}

/* `of` is "<pid>" or "<pid>/task/<tid>". 0 or -errno; pass->links is how many files it has open. */
static int visit_one(struct pass *pass, const char *of)
{
	char where[PROC_PATH];
	int r, maps = 0;

	pass->links = 0;
	snprintf(where, sizeof(where), "%s/fd", of);
	r = fdpath_each(pass->proc, where, visit_link, pass);
	if (r < 0 && !is_gone(r))
		return r;
	if (pass->visit->maps) {
		snprintf(where, sizeof(where), "%s/maps", of);
		maps = visit_maps(pass, where);
	}
	return maps < 0 && !is_gone(maps) ? maps : r;
}

static int visit_thread(void *data, int dir UNUSED, const struct dirent64 *entry)
{
	const char *tid = entry->d_name;
	struct pass *pass = data;
	char of[PROC_PATH];
	int r;

	if (!pid_of(tid) || pid_of(tid) == pass->pid)
		return 0;
	snprintf(of, sizeof(of), "%lld/task/%lld", (long long)pass->pid, (long long)pid_of(tid));
	r = visit_one(pass, of);
	return is_gone(r) ? 0 : r;
}

static int visit_user(struct pass *pass, const char *name)
{
	char where[PROC_PATH];
	int r = visit_one(pass, name);

	if (!is_gone(r) && (r < 0 || pass->links))
		return r;
	snprintf(where, sizeof(where), "%s/task", name);
	r = fdpath_each(pass->proc, where, visit_thread, pass);
	return is_gone(r) ? 0 : r;
}

/*
 * Kernel threads share the (empty) table of files of the one that starts them all; what is not
 * theirs never does, since execve(2) gives a table of one's own. So that one is looked at as
 * processes are, and who shares its table is done with it: one call, and no text to be made.
 */
static bool is_done_with_kthreadd(const struct pass *pass, const char *name)
{
	long r = -1;

	if (pass->kthreadd == pass->pid)
		return false;
	if (pass->kthreadd)
		r = syscall(SYS_kcmp, (pid_t)pass->kthreadd, (pid_t)pass->pid, KCMP_FILES, 0, 0);
	return r < 0 ? is_kernel_thread(pass->proc, name) : !r;
}

/* Only where pids of this /proc are those of our own system calls, and are not of a container. */
static int64_t find_kthreadd(const struct host_root *root)
{
	char self[PID_TEXT];

	if (!root->real || fdpath_readlink(root->fd, "proc/self", self, sizeof(self)) < 0 ||
	    pid_of(self) != getpid())
		return 0;
	return is_kernel_thread(root->fd, "proc/2") ? 2 : 0;
}

static int visit_process(void *data, int proc, const struct dirent64 *entry)
{
	const char *name = entry->d_name;
	struct pass *pass = data;

	pass->proc = proc;
	pass->pid = pid_of(name);
	pass->init |= pass->pid == 1;
	if (pass->pid && !is_done_with_kthreadd(pass, name))
		pass->refused = visit_user(pass, name);
	return pass->refused;
}

static int refuse(const struct host_root *root, int64_t pid, int r, struct error *err)
{
	CLEANUP(arena_freep) struct arena *arena = arena_new();
	struct process_info info = { .name = "?" };

	processes_describe(root, pid, arena, &info);
	error_errno(err, ERROR_SYSTEM, -r, "what process %lld (%s) has open cannot be seen",
		    (long long)pid, info.name);
	return error_hint(err, "only root sees the open files of all processes");
}

int processes_visit(const struct host_root *root, const struct processes_visit *visit,
		    struct error *err)
{
	struct pass pass = { .visit = visit, .kthreadd = find_kthreadd(root) };
	int r = fdpath_each(root->fd, "proc", visit_process, &pass);

	if (pass.refused)
		return refuse(root, pass.pid, pass.refused, err);
	if (r < 0)
		return error_errno(err, ERROR_SYSTEM, -r, "/proc cannot be read");
	/* hidepid= hides others' processes altogether, the first among them */
	if (root->real && !pass.init) {
		error_set(err, ERROR_SYSTEM, "/proc does not show all processes");
		return error_hint(err, "/proc is mounted with hidepid; only root sees all then");
	}
	return 0;
}

/* From clock ticks after boot. */
static const char *start_time(const struct host_root *root, unsigned long long ticks,
			      struct arena *arena)
{
	CLEANUP(arena_freep) struct arena *scratch = arena_new();
	const char *text, *line;
	unsigned long long btime;
	char buf[TIME_TEXT];
	time_t when;
	struct tm tm;

	if (fdpath_read_all(root->fd, "proc/stat", HOST_STAT_TEXT, scratch, &text) < 0)
		return NULL;
	line = strncmp(text, "btime ", 6) ? strstr(text, "\nbtime ") : text;
	if (!line || sscanf(line, " btime %llu", &btime) != 1)
		return NULL;
	when = (time_t)(btime + ticks / (unsigned long long)sysconf(_SC_CLK_TCK));
	if (!gmtime_r(&when, &tm) || !strftime(buf, sizeof(buf), "%Y-%m-%dT%H:%M:%SZ", &tm))
		return NULL;
	return arena_strdup(arena, buf);
}

static bool is_unit(const char *part, size_t n)
{
	static const char *const endings[] = { ".service", ".scope", ".socket", ".mount", ".swap" };

	for (size_t i = 0; i < ARRAY_SIZE(endings); i++) {
		size_t len = strlen(endings[i]);

		if (n > len && !memcmp(part + n - len, endings[i], len))
			return true;
	}
	return false;
}

/*
 * The last part of a cgroup's path that is a unit; below it are the unit's own groups. Below
 * user@1000.service they are units of that user's manager: none that systemctl would stop.
 */
static const char *unit_of_path(const char *path, struct arena *arena)
{
	const char *unit = NULL;
	size_t n, len = 0;

	for (; *path && *path != '\n'; path += n + (path[n] == '/')) {
		n = strcspn(path, "/\n");
		if (!strncmp(path, "user@", 5) && is_unit(path, n))
			return NULL;
		if (is_unit(path, n)) {
			unit = path;
			len = n;
		}
	}
	return unit ? arena_strndup(arena, unit, len) : NULL;
}

/* cgroup v2's line is "0::/path"; beside v1 hierarchies systemd has one of its own. */
static const char *unit_of(const struct host_root *root, int64_t pid, struct arena *arena)
{
	char where[PROC_PATH], text[CGROUP_TEXT];
	const char *line = text, *path, *unit;

	snprintf(where, sizeof(where), "proc/%lld/cgroup", (long long)pid);
	if (fdpath_read(root->fd, where, text, sizeof(text)) < 0)
		return NULL;
	for (; *line; line = strchrnul(line, '\n'), line += *line == '\n') {
		path = strchr(line, ':');
		if (!path || (strncmp(line, "0::", 3) && strncmp(path, ":name=systemd:", 14)))
			continue;
		unit = unit_of_path(path + 1, arena);
		if (unit)
			return unit;
	}
	return NULL;
}

static const char *comm_of(const char *stat, struct arena *arena)
{
	const char *open = strchr(stat, '('), *close = strrchr(stat, ')');

	if (!open || !close || close <= open)
		return NULL;
	return arena_strndup(arena, open + 1, (size_t)(close - open - 1));
}

bool processes_describe(const struct host_root *root, int64_t pid, struct arena *arena,
			struct process_info *ret)
{
	char where[PROC_PATH], text[STAT_TEXT];
	struct process_info info = { 0 };
	unsigned long long ticks;

	snprintf(where, sizeof(where), "proc/%lld", (long long)pid);
	if (fdpath_exists(root->fd, where) == 0)
		return false;
	snprintf(where, sizeof(where), "proc/%lld/stat", (long long)pid);
	if (fdpath_read(root->fd, where, text, sizeof(text)) < 0)
		text[0] = '\0';
	info.name = comm_of(text, arena) ?: "?";
	if (stat_field(text, STAT_START_TIME, &ticks))
		info.since = start_time(root, ticks, arena);
	info.unit = unit_of(root, pid, arena);
	*ret = info;
	return true;
}

bool processes_name(const struct host_root *root, int64_t pid, char *buf, size_t size)
{
	char where[PROC_PATH];

	snprintf(where, sizeof(where), "proc/%lld/comm", (long long)pid);
	return fdpath_read(root->fd, where, buf, size) > 0;
}

bool processes_dev_node(const char *path, char *buf, size_t size)
{
	static const char deleted[] = " (deleted)";
	const char *node = NULL;
	size_t n;

	for (const char *at = path; (at = strstr(at, "/dev/")); at++)
		node = at + strlen("/dev/");
	if (!node || path[0] != '/')
		return false;
	n = strlen(node);
	if (n >= strlen(deleted) && !strcmp(node + n - strlen(deleted), deleted))
		n -= strlen(deleted);
	if (!n || n >= size)
		return false;
	memcpy(buf, node, n);
	buf[n] = '\0';
	return true;
}
