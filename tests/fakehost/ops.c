/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tree as a FUSE file system, by the low-level interface.
 *
 * Hardly anything is cached: looks are answered by what is there now.  A read makes
 * the text at offset 0 and goes on in it, a write is handed over whole, as
 * kernfs does.  A write that waits keeps its thread; there are enough of them.
 *
 * FUSE lets one write at a time into an inode, sysfs does not: a stuck unbind
 * must not hold up the same driver's other devices.  So every look-up of a
 * file that can be written gives a fresh inode.
 */
#define FUSE_USE_VERSION 312
#include "ops.h"

#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "control.h"
#include "host.h"
#include "iommu.h"
#include "knobs.h"
#include "log.h"

#define THREADS_MAX 1000
#define FOR_EVER 1e6 /* seconds */

struct inode {
	struct node *node;
	uint64_t lookups;
	bool shared; /* node->inode points here */
};

struct handle {
	struct node *node;
	struct text text;
	bool made;
	bool writes;
	char *path; /* for the log: the node may have gone by then */
};

static struct fuse_session *session;
static bool watch;

/* ---- inodes ---- */

static struct node *node_of(fuse_ino_t ino)
{
	return ino == FUSE_ROOT_ID ? node_root() : ((struct inode *)(uintptr_t)ino)->node;
}

static struct inode *inode_get(struct node *n)
{
	bool shared = n->kind != NODE_FILE || !(n->mode & 0222);
	struct inode *i = shared ? n->inode : NULL;

	if (!i) {
		i = must_alloc(sizeof(*i));
		i->node = node_get(n);
		i->shared = shared;
		if (shared)
			n->inode = i;
	}
	i->lookups++;
	return i;
}

static void inode_put(fuse_ino_t ino, uint64_t lookups)
{
	struct inode *i = (struct inode *)(uintptr_t)ino;

	if (ino == FUSE_ROOT_ID)
		return;
	i->lookups -= lookups;
	if (i->lookups)
		return;
	if (i->shared)
		i->node->inode = NULL;
	node_put(i->node);
	free(i);
}

static void fill_stat(const struct node *n, struct stat *st)
{
	static const mode_t kinds[] = { S_IFDIR, S_IFREG, S_IFLNK };

	*st = (struct stat){ .st_ino = n->ino,
			     .st_mode = kinds[n->kind] | n->mode,
			     .st_nlink = 1 + (n->kind == NODE_DIR),
			     .st_uid = getuid(),
			     .st_gid = getgid(),
			     .st_blksize = 4096 };
	st->st_size = n->kind == NODE_LINK ? (off_t)n->text.len : (off_t)n->size;
	for (const struct node *c = n->children; c; c = c->next)
		st->st_nlink += c->kind == NODE_DIR;
	clock_gettime(CLOCK_REALTIME, &st->st_mtim);
}

/* The directories that every path goes through.  Nothing else is cached: it may go at any time. */
static void mark_what_stays(void)
{
	static const char *const paths[] = {
		"dev", "proc", "sys", "sys/bus", "sys/bus/pci", "sys/bus/pci/devices",
		"sys/bus/pci/drivers", "sys/class", "sys/devices", "sys/kernel",
	};
	struct node *n;

	for (size_t i = 0; i < sizeof(paths) / sizeof(*paths); i++)
		if ((n = node_find(paths[i])))
			n->stays = true;
	n = node_find("sys/devices");
	for (n = n ? n->children : NULL; n; n = n->next)
		n->stays = !strncmp(n->name, "pci", 3); /* host bridges */
}

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param e = { 0 };
	struct node *n;

	host_lock();
	n = node_child(node_of(parent), name);
	if (n && knob_hidden(n))
		n = NULL;
	if (n) {
		fill_stat(n, &e.attr);
		e.ino = (uintptr_t)inode_get(n);
		e.entry_timeout = e.attr_timeout = n->stays ? FOR_EVER : 0;
	}
	host_unlock();
	if (!n)
		fuse_reply_err(req, ENOENT);
	else
		fuse_reply_entry(req, &e);
}

static void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t lookups)
{
	host_lock();
	inode_put(ino, lookups);
	host_unlock();
	fuse_reply_none(req);
}

static void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct stat st;

	(void)fi;
	host_lock();
	fill_stat(node_of(ino), &st);
	host_unlock();
	fuse_reply_attr(req, &st, 0);
}

/*
 * Modes count; owners and times do not.  The shell's `>` sets the size to 0
 * first: sysfs says yes and does nothing.
 */
static void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
		       struct fuse_file_info *fi)
{
	struct stat st;

	(void)fi;
	host_lock();
	if (to_set & FUSE_SET_ATTR_MODE)
		node_of(ino)->mode = attr->st_mode & 07777;
	fill_stat(node_of(ino), &st);
	host_unlock();
	fuse_reply_attr(req, &st, 0);
}

static void op_readlink(fuse_req_t req, fuse_ino_t ino)
{
	struct node *n;
	char *target = NULL;

	host_lock();
	n = node_of(ino);
	if (n->kind == NODE_LINK) {
		target = text_dup(n->text.data);
		n->reads++;
	}
	host_unlock();
	if (target)
		fuse_reply_readlink(req, target);
	else
		fuse_reply_err(req, EINVAL);
	free(target);
}

/*
 * From a copy: as soon as the kernel has the bytes the caller can close the
 * file, and another thread frees its text while this one still is in writev().
 */
static void reply_bytes(fuse_req_t req, const struct text *t, size_t at, size_t len)
{
	char *copy = must_alloc(len + 1);

	if (len)
		memcpy(copy, t->data + at, len);
	fuse_reply_buf(req, copy, len);
	free(copy);
}

/* ---- directories: listed when they are opened ---- */

static void add_entry(fuse_req_t req, struct text *t, const char *name, const struct node *n)
{
	size_t size = fuse_add_direntry(req, NULL, 0, name, NULL, 0);
	char *space = must_alloc(size);
	struct stat st;

	fill_stat(n, &st);
	fuse_add_direntry(req, space, size, name, &st, (off_t)(t->len + size));
	text_add(t, space, size);
	free(space);
}

static void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct handle *h = must_alloc(sizeof(*h));
	struct node *n;

	host_lock();
	n = node_of(ino);
	h->node = node_get(n);
	n->opens++;
	add_entry(req, &h->text, ".", n);
	add_entry(req, &h->text, "..", n->parent ? n->parent : n);
	for (const struct node *c = n->children; c; c = c->next)
		if (!knob_hidden(c))
			add_entry(req, &h->text, c->name, c);
	host_unlock();
	fi->fh = (uintptr_t)h;
	fuse_reply_open(req, fi);
}

/* Entries are not cut: a reply ends before the first that does not fit. */
static size_t whole_entries(const char *at, size_t left, size_t room)
{
	size_t taken = 0;

	while (taken < left) {
		/* struct fuse_dirent: ino, off, namelen, type, name */
		unsigned namelen;
		size_t size;

		memcpy(&namelen, at + taken + 16, sizeof(namelen));
		size = (24 + namelen + 7) & ~(size_t)7;
		if (taken + size > room)
			break;
		taken += size;
	}
	return taken;
}

static void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
		       struct fuse_file_info *fi)
{
	const struct handle *h = (struct handle *)(uintptr_t)fi->fh;
	size_t at = (size_t)offset;

	(void)ino;
	if (at >= h->text.len)
		reply_bytes(req, &h->text, 0, 0);
	else
		reply_bytes(req, &h->text, at,
			    whole_entries(h->text.data + at, h->text.len - at, size));
}

/* ---- files ---- */

static void handle_free(struct handle *h)
{
	host_lock();
	if (h->writes)
		group_close(h->node);
	node_put(h->node);
	host_unlock();
	text_free(&h->text);
	free(h->path);
	free(h);
}

static void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	handle_free((struct handle *)(uintptr_t)fi->fh);
	fuse_reply_err(req, 0);
}

/* kernfs_fop_open(): the mode bits count for root too. */
static int check_mode(const struct node *n, int flags)
{
	int how = flags & O_ACCMODE;

	if (n->dead)
		return -ENODEV;
	if (how != O_RDONLY && !(n->mode & 0222))
		return -EACCES;
	if (how != O_WRONLY && !(n->mode & 0444))
		return -EACCES;
	return 0;
}

static int open_node(struct node *n, int flags, struct handle **ret)
{
	bool writes = (flags & O_ACCMODE) != O_RDONLY;
	int r = check_mode(n, flags);

	if (!r && !control_owns(n))
		r = knob_apply(KNOB_OPEN, n, "", 0);
	if (r >= 0 && n->dead)
		r = -ENODEV;
	if (r >= 0 && writes)
		r = group_open(n);
	if (r < 0)
		return r;
	*ret = must_alloc(sizeof(**ret));
	(*ret)->node = node_get(n);
	(*ret)->writes = writes;
	(*ret)->path = writes ? log_path(n) : NULL;
	n->opens += !control_owns(n);
	return 0;
}

static void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct handle *h = NULL;
	int r;

	host_lock();
	r = open_node(node_of(ino), fi->flags, &h);
	host_unlock();
	fi->fh = (uintptr_t)h;
	fi->direct_io = 1;
	if (r)
		fuse_reply_err(req, -r);
	else if (fuse_reply_open(req, fi))
		handle_free(h); /* the caller has gone */
}

static int make_text(struct handle *h)
{
	int r = 0;

	if (!control_owns(h->node)) {
		h->node->reads++;
		r = knob_apply(KNOB_READ, h->node, "", 0);
	}
	if (r < 0)
		return r;
	text_clear(&h->text);
	r = node_show(h->node, &h->text);
	h->made = !r;
	return r;
}

static void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
		    struct fuse_file_info *fi)
{
	struct handle *h = (struct handle *)(uintptr_t)fi->fh;
	size_t at = (size_t)offset, left;
	int r = 0;

	(void)ino;
	host_lock();
	if (!at || !h->made)
		r = make_text(h);
	host_unlock();
	left = at < h->text.len ? h->text.len - at : 0;
	if (r)
		fuse_reply_err(req, -r);
	else
		reply_bytes(req, &h->text, at, left < size ? left : size);
}

static int store(struct handle *h, const char *buf, size_t size)
{
	struct node *n = h->node;
	size_t entry;
	int r;

	if (control_owns(n))
		return node_store(n, buf, size);
	entry = log_write(h->path, buf, size);
	r = knob_apply(KNOB_WRITE, n, buf, size);
	if (!r)
		r = node_store(n, buf, size);
	r = r > 0 ? 0 : r;
	log_result(entry, r);
	return r;
}

static void op_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t offset,
		     struct fuse_file_info *fi)
{
	struct handle *h = (struct handle *)(uintptr_t)fi->fh;
	int r;

	(void)ino;
	(void)offset;
	host_lock();
	r = store(h, buf, size);
	host_unlock();
	if (r)
		fuse_reply_err(req, -r);
	else
		fuse_reply_write(req, size);
}

/* ---- what sysfs has not ---- */

static void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
		      struct fuse_file_info *fi)
{
	(void)parent;
	(void)name;
	(void)mode;
	(void)fi;
	fuse_reply_err(req, EACCES);
}

static void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	(void)parent;
	(void)name;
	(void)mode;
	fuse_reply_err(req, EPERM);
}

static void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	(void)parent;
	(void)name;
	fuse_reply_err(req, EPERM);
}

static const struct fuse_lowlevel_ops operations = {
	.lookup = op_lookup,
	.forget = op_forget,
	.getattr = op_getattr,
	.setattr = op_setattr,
	.readlink = op_readlink,
	.mkdir = op_mkdir,
	.unlink = op_unlink,
	.rmdir = op_unlink,
	.open = op_open,
	.read = op_read,
	.write = op_write,
	.release = op_release,
	.opendir = op_opendir,
	.readdir = op_readdir,
	.releasedir = op_release,
	.create = op_create,
};

/* ---- life ---- */

/*
 * Waits for the end.  Threads may sleep in writes that never end, so there is
 * no orderly way out: the mount goes, then we do, and writers get ENOTCONN.
 */
static void *wait_for_end(void *signals)
{
	struct pollfd p[2] = { { .events = POLLIN }, { .fd = watch ? 0 : -1, .events = POLLIN } };
	char c;

	p[0].fd = signalfd(-1, signals, SFD_CLOEXEC);
	while (poll(p, 2, -1) >= 0 || errno == EINTR) {
		if (p[0].revents)
			break;
		if (p[1].revents && read(0, &c, 1) <= 0)
			break;
	}
	fuse_session_unmount(session);
	_exit(0);
}

static int start_waiter(sigset_t *signals)
{
	pthread_t thread;

	sigemptyset(signals);
	sigaddset(signals, SIGTERM);
	sigaddset(signals, SIGINT);
	sigaddset(signals, SIGHUP);
	pthread_sigmask(SIG_BLOCK, signals, NULL);
	return pthread_create(&thread, NULL, wait_for_end, signals);
}

static void loop(void)
{
	struct fuse_loop_config *config = fuse_loop_cfg_create();

	fuse_loop_cfg_set_max_threads(config, THREADS_MAX);
	fuse_session_loop_mt(session, config);
	fuse_loop_cfg_destroy(config);
}

int ops_serve(const char *mountpoint, int allow_other, int watch_stdin)
{
	char name[] = "fakehost", option[] = "-ofsname=fakehost", others[] = "-oallow_other";
	char *argv[] = { name, option, others, NULL };
	struct fuse_args args = FUSE_ARGS_INIT(allow_other ? 3 : 2, argv);
	static sigset_t signals;

	watch = watch_stdin;
	mark_what_stays();
	session = fuse_session_new(&args, &operations, sizeof(operations), NULL);
	if (!session || fuse_session_mount(session, mountpoint)) {
		fprintf(stderr, "fakehost: %s cannot be mounted\n", mountpoint);
		return 1;
	}
	if (start_waiter(&signals)) {
		fuse_session_unmount(session);
		return 1;
	}
	puts("ready");
	fflush(stdout);
	loop();
	_exit(0);
}
