/* SPDX-License-Identifier: Apache-2.0 */
/* Things that happen to the machine: lines of .fake/event. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control.h"
#include "core.h"
#include "driver.h"
#include "line.h"
#include "net.h"
#include "nvidia.h"
#include "parse.h"
#include "pci.h"
#include "process.h"
#include "storage.h"
#include "uevent.h"

static struct function *function_of(struct line *l)
{
	const char *address = line_word(l);
	struct function *f = address ? host_function(address) : NULL;

	if (!f)
		host_complain("there is no function '%s'", address ? address : "");
	return f;
}

static int pid_of(struct line *l)
{
	const char *s = line_word(l);
	unsigned long pid = 0;

	if (!s || text_number(s, 4194304, &pid))
		host_complain("'%s' is no process id", s ? s : "");
	return (int)pid;
}

/* `open PID PATH`: a GPU whose unbindLock is taken lets nobody in. */
static int event_open(struct line *l)
{
	int pid = pid_of(l);
	const char *path = line_word(l);
	struct function *f = path ? nvidia_by_path(path) : NULL;

	if (!pid || !path)
		return host_complain("open wants PID PATH");
	if (f && f->unbind_lock)
		return -EPERM;
	return process_open(pid, path);
}

static int event_close(struct line *l)
{
	int pid = pid_of(l);
	const char *path = line_word(l);

	return pid && path ? process_close(pid, path) : host_complain("close wants PID PATH");
}

static int event_kill(struct line *l)
{
	int pid = pid_of(l);

	return pid ? process_kill(pid) : -EINVAL;
}

/* `bind ADDR DRIVER`: a foreign hand, with an override as driverctl does it */
static int event_bind(struct line *l)
{
	struct function *f = function_of(l);
	const char *name = line_word(l);
	struct driver *d = name ? host_driver(name) : NULL;
	int r;

	if (!f || !d)
		return host_complain("bind wants ADDR DRIVER");
	if (!driver_matches(d, f)) {
		r = core_override_store(f, name, strlen(name));
		if (r)
			return r;
	}
	if (f->driver)
		core_unbind(f->driver, f);
	return core_bind(d, f);
}

static int event_unbind(struct line *l)
{
	struct function *f = function_of(l);

	return !f ? -EINVAL : f->driver ? core_unbind(f->driver, f) : -ENODEV;
}

static int event_remove(struct line *l)
{
	struct function *f = function_of(l);

	if (!f)
		return -EINVAL;
	core_lose(f);
	return 0;
}

/* `add ADDR`: what was removed or lost is plugged in again, then found */
static int event_add(struct line *l)
{
	struct function *f = function_of(l);

	if (!f)
		return -EINVAL;
	f->gone = false;
	bus_lock();
	core_rescan();
	bus_unlock();
	return 0;
}

static int event_change(struct line *l)
{
	struct function *f = function_of(l);

	if (!f || !f->present)
		return -EINVAL;
	pci_uevent(f, "change");
	return 0;
}

/* `users ADDR N`: users in the kernel, without a process */
static int event_users(struct line *l)
{
	struct function *f = function_of(l);
	const char *s = line_word(l);
	unsigned long n;

	if (!f || !s || text_number(s, 64, &n))
		return host_complain("users wants ADDR N");
	f->kernel_users = (unsigned)n;
	host_wake();
	return 0;
}

static int event_module(struct line *l)
{
	bool load = line_flag(l, "load"), unload = line_flag(l, "unload");
	const char *name = line_word(l);
	struct driver *d = name ? host_driver(name) : NULL;

	if (!d || load == unload)
		return host_complain("module wants load or unload, and a driver of the machine");
	if (load)
		driver_load(d, true);
	else
		driver_unload(d);
	return 0;
}

/* `domain NAME pid=N card=ADDR,ADDR`: a guest that somebody else runs */
static int event_domain(struct line *l)
{
	const char *name = line_word(l), *pid = line_key(l, "pid"), *cards = line_key(l, "card");
	struct text t = { 0 };
	char address[24];
	int r;

	if (!name || !pid || !cards)
		return host_complain("domain wants NAME pid=N card=ADDR,...");
	text_addf(&t,
		  "process %s qemu-system-x86 uid=64055 cgroup=/machine.slice/machine-qemu-1-%s"
		  ".scope cmdline=\"/usr/bin/qemu-system-x86_64 -name guest=%s,debug-threads=on\" "
		  "fd=/dev/vfio/vfio,anon_inode:kvm-vm",
		  pid, name, name);
	while (text_next(&cards, ",", address, sizeof(address))) {
		struct function *f = host_function(address);
		char path[32];

		if (!f || !f->group) {
			text_free(&t);
			return host_complain("%s is in no group", address);
		}
		snprintf(path, sizeof(path), "/dev/vfio/%d", f->group->number);
		if (!strstr(t.data, path))
			text_addf(&t, ",%s", path);
		text_puts(&t, ",anon_inode:[vfio-device]");
	}
	r = parse_line(t.data);
	text_free(&t);
	return r;
}

/* `set PATH TEXT`: the text of a file that is only a text */
static int event_set(struct line *l)
{
	const char *path = line_word(l), *text = line_word(l);
	struct node *n = path ? node_find(path) : NULL;

	if (!n || n->kind != NODE_FILE || n->attr || !text)
		return host_complain("set wants PATH TEXT, of a plain file");
	node_set_text(n, text);
	text_puts(&n->text, "\n");
	return 0;
}

static int event_forget(struct line *l)
{
	const char *what = line_word(l), *which = line_word(l);

	if (what && which && (!strcmp(what, "mount") || !strcmp(what, "swap")))
		return storage_forget(what, which);
	if (what && which && (!strcmp(what, "route") || !strcmp(what, "tcp")))
		return net_forget(what, which);
	return host_complain("forget wants mount, swap, route or tcp, and which");
}

/* keep sorted */
static const struct {
	const char *word;
	int (*act)(struct line *l);
} events[] = {
	{ "add", event_add },	    { "bind", event_bind },	{ "change", event_change },
	{ "close", event_close },   { "domain", event_domain }, { "forget", event_forget },
	{ "kill", event_kill },	    { "module", event_module }, { "open", event_open },
	{ "remove", event_remove }, { "set", event_set },	{ "unbind", event_unbind },
	{ "users", event_users },
};

int event_line(const char *s)
{
	struct line l;
	const char *word;
	int r = line_split(s, &l);

	if (r)
		return r;
	word = line_word(&l);
	for (size_t i = 0; word && i < sizeof(events) / sizeof(*events); i++) {
		if (strcmp(events[i].word, word))
			continue;
		r = events[i].act(&l);
		r = r ? r : line_end(&l);
		line_free(&l);
		return r;
	}
	line_free(&l);
	return word ? parse_line(s) : 0;
}
