/* SPDX-License-Identifier: Apache-2.0 */
/* Processes of the story; see process.h.  Formats: fs/proc/array.c, base.c. */
#include "process.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct file {
	struct file *next;
	unsigned fd;
	char *path;
};

struct process {
	struct process *next;
	int pid;
	char *comm;
	char *cmdline;
	char *exe;
	char *cgroup;
	unsigned uid;
	unsigned start; /* in clock ticks after boot */
	char *maps;	/* paths, separated by commas */
	struct file *files;
	struct node *dir;
};

static struct process *processes;

static struct process *find(int pid)
{
	for (struct process *p = processes; p; p = p->next)
		if (p->pid == pid)
			return p;
	return NULL;
}

unsigned process_holds(const char *path)
{
	unsigned n = 0;

	for (struct process *p = processes; p; p = p->next)
		for (struct file *f = p->files; f; f = f->next)
			n += !strcmp(f->path, path);
	return n;
}

static bool is_node(const char *path, bool vfio)
{
	static const char dev[] = "/dev/", of_vfio[] = "/dev/vfio/";

	return !strncmp(path, dev, strlen(dev)) &&
	       !strncmp(path, of_vfio, strlen(of_vfio)) == vfio;
}

unsigned process_nodes(bool vfio)
{
	unsigned n = 0;

	for (struct process *p = processes; p; p = p->next) {
		for (struct file *f = p->files; f; f = f->next)
			n += is_node(f->path, vfio);
		for (const char *map = p->maps; map; map = strchr(map, ',')) {
			map += *map == ',';
			n += is_node(map, vfio);
		}
	}
	return n;
}

static int cmdline_show(void *owner, const struct attr *attr, struct text *out)
{
	const struct process *p = owner;

	(void)attr;
	for (const char *s = p->cmdline; *s; s++)
		text_add(out, *s == ' ' ? "" : s, 1);
	if (*p->cmdline)
		text_add(out, "", 1);
	return 0;
}

static int status_show(void *owner, const struct attr *attr, struct text *out)
{
	const struct process *p = owner;

	(void)attr;
	text_addf(out,
		  "Name:\t%s\nUmask:\t0022\nState:\tS (sleeping)\nTgid:\t%d\nNgid:\t0\n"
		  "Pid:\t%d\nPPid:\t1\nTracerPid:\t0\n",
		  p->comm, p->pid, p->pid);
	text_addf(out, "Uid:\t%u\t%u\t%u\t%u\nGid:\t%u\t%u\t%u\t%u\nFDSize:\t64\nThreads:\t1\n",
		  p->uid, p->uid, p->uid, p->uid, p->uid, p->uid, p->uid, p->uid);
	return 0;
}

/* Field 22 is the start time. */
static int stat_show(void *owner, const struct attr *attr, struct text *out)
{
	const struct process *p = owner;

	(void)attr;
	text_addf(out,
		  "%d (%s) S 1 %d %d 0 -1 4194560 100 0 0 0 1 1 0 0 20 0 1 0 %u 10000000 500 "
		  "18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n",
		  p->pid, p->comm, p->pid, p->pid, p->start);
	return 0;
}

static int maps_show(void *owner, const struct attr *attr, struct text *out)
{
	const struct process *p = owner;
	const char *at = p->maps;
	unsigned long start = 0x7f0000000000UL;
	char path[256];

	(void)attr;
	text_addf(out, "55d000000000-55d000010000 r-xp 00000000 fe:01 1000 %26s%s\n", "", p->exe);
	for (; at && text_next(&at, ",", path, sizeof(path)); start += 0x100000)
		text_addf(out, "%lx-%lx rw-s 00000000 00:06 500 %26s%s\n", start, start + 0x1000,
			  "", path);
	return 0;
}

static const struct attr process_attrs[] = {
	{ .name = "cmdline", .mode = 0444, .show = cmdline_show },
	{ .name = "maps", .mode = 0444, .show = maps_show },
	{ .name = "stat", .mode = 0444, .show = stat_show },
	{ .name = "status", .mode = 0444, .show = status_show },
};

static void link_file(struct process *p, const struct file *f)
{
	char name[16];

	snprintf(name, sizeof(name), "%u", f->fd);
	node_link(node_dir(p->dir, "fd"), name, f->path);
	node_text(node_dir(p->dir, "fdinfo"), name, 0400,
		  "pos:\t0\nflags:\t02100002\n"
		  "mnt_id:\t24\nino:\t%u\n",
		  500 + f->fd);
}

static void make(struct process *p)
{
	char pid[16];

	snprintf(pid, sizeof(pid), "%d", p->pid);
	p->dir = node_dir(node_dir(NULL, "proc"), pid);
	node_files(p->dir, process_attrs, sizeof(process_attrs) / sizeof(*process_attrs), p);
	node_text(p->dir, "comm", 0644, "%s\n", p->comm);
	node_text(p->dir, "cgroup", 0444, "0::%s\n", p->cgroup);
	node_link(p->dir, "exe", p->exe);
	node_dir(p->dir, "fd");
	node_dir(p->dir, "fdinfo");
	node_text(node_dir(node_dir(p->dir, "task"), pid), "comm", 0644, "%s\n", p->comm);
	for (struct file *f = p->files; f; f = f->next)
		link_file(p, f);
}

static void add_file(struct process *p, const char *path)
{
	struct file *f = must_alloc(sizeof(*f)), **end = &p->files;

	f->path = text_dup(path);
	while (*end) {
		f->fd = (*end)->fd + 1;
		end = &(*end)->next;
	}
	*end = f;
	if (p->dir)
		link_file(p, f);
}

static char *given(struct line *l, const char *key, const char *otherwise)
{
	const char *s = line_key(l, key);

	return text_dup(s ? s : otherwise);
}

static int process_new(struct line *l, int pid, const char *comm)
{
	struct process *p = must_alloc(sizeof(*p)), **end = &processes;
	const char *fds = line_key(l, "fd");
	char path[256];
	int r;

	p->pid = pid;
	p->comm = text_format("%.15s", comm);
	p->start = (unsigned)pid * 10;
	p->cmdline = given(l, "cmdline", comm);
	p->exe = text_format("/usr/bin/%s", comm);
	p->cgroup = given(l, "cgroup", "/system.slice");
	p->maps = given(l, "maps", "");
	r = line_number(l, "uid", 65535, &p->uid);
	if (!r)
		r = line_number(l, "start", 0xffffffff, &p->start);
	add_file(p, "/dev/null");
	add_file(p, "/dev/null");
	add_file(p, "socket:[20001]");
	while (fds && text_next(&fds, ",", path, sizeof(path)))
		add_file(p, path);
	while (*end)
		end = &(*end)->next;
	*end = p;
	if (!r && host.built)
		make(p);
	return r;
}

int process_line(struct line *l)
{
	const char *number = line_word(l), *comm = line_word(l);
	unsigned long pid;

	if (!number || !comm || text_number(number, 4194304, &pid) || !pid)
		return host_complain("a process is PID COMM [fd=PATH,...]");
	if (find((int)pid))
		return host_complain("process %lu is there already", pid);
	return process_new(l, (int)pid, comm);
}

int process_open(int pid, const char *path)
{
	struct process *p = find(pid);

	if (!p)
		return host_complain("there is no process %d", pid);
	add_file(p, path);
	return 0;
}

static void free_file(struct file *f)
{
	free(f->path);
	free(f);
}

int process_close(int pid, const char *path)
{
	struct process *p = find(pid);
	char fd[32];

	for (struct file **at = p ? &p->files : NULL; at && *at; at = &(*at)->next) {
		struct file *f = *at;

		if (strcmp(f->path, path))
			continue;
		snprintf(fd, sizeof(fd), "fd/%u", f->fd);
		node_remove(node_child(node_dir(p->dir, "fd"), fd + 3));
		node_remove(node_child(node_dir(p->dir, "fdinfo"), fd + 3));
		*at = f->next;
		free_file(f);
		host_wake();
		return 0;
	}
	return host_complain("process %d does not have %s open", pid, path);
}

int process_kill(int pid)
{
	for (struct process **at = &processes; *at; at = &(*at)->next) {
		struct process *p = *at;

		if (p->pid != pid)
			continue;
		*at = p->next;
		node_remove(p->dir);
		p->dir = NULL;
		while (p->files) {
			struct file *f = p->files;

			p->files = f->next;
			free_file(f);
		}
		host_wake();
		return 0;
	}
	return host_complain("there is no process %d", pid);
}

void process_make(void)
{
	struct node *proc = node_dir(NULL, "proc");

	if (!find(1)) {
		struct line none = { 0 };

		process_new(&none, 1, "systemd");
	}
	for (struct process *p = processes; p; p = p->next)
		if (!p->dir)
			make(p);
	node_link(proc, "self", "1");
	node_link(proc, "thread-self", "1/task/1");
	node_link(proc, "mounts", "self/mounts");
	node_link(proc, "net", "self/net");
}
