/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Holders of cards. See holders.h. First the device nodes of the functions are collected from
 * /sys/class, then one pass over /proc compares every open path with them.
 */
#include "host/holders.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "base/fdpath.h"
#include "host/modules.h"
#include "host/processes.h"
#include "host/sysfs.h"

enum {
	NODE_TEXT = 256,
	HOLDERS_MAX = 16384,
};

/* Classes whose entries are device nodes: entry <name> of the class is /dev/<prefix><name>. */
static const struct {
	const char *class, *prefix;
} node_classes[] = {
	{ "accel", "accel/" },	  { "drm", "dri/" },
	{ "drm_dp_aux_dev", "" }, { "graphics", "" }, /* fb0 */
	{ "i2c-dev", "" }, /* removing an adapter waits for who has it open */
	{ "sound", "snd/" },	  { "vfio-dev", "vfio/devices/" },
};

struct node {
	const char *name; /* behind "/dev/" */
	const struct function *f;
};

/* A function on driver nvidia: /dev/nvidia<minor> is its node. */
struct minor {
	const struct function *f;
	long minor; /* -1: cannot be told */
};

struct search {
	const struct host_root *root;
	const struct list *functions;
	struct arena *arena;
	struct list *holders;
	struct list nodes;    /* struct node */
	struct list minors;   /* struct minor; made when the first of these nodes is seen */
	struct list numbered; /* int64_t: pids that have such a node open, whosever it is */
	bool too_many;
};

static const struct function *find_function(const struct list *functions,
					    struct pci_address address)
{
	for (LIST_EACH(struct function *, f, functions))
		if (pci_address_equal((*f)->address, address))
			return *f;
	return NULL;
}

static int collect_class(struct search *search, const char *class, const char *prefix,
			 struct error *err)
{
	struct list entries;
	struct pci_address address;
	const struct function *f;
	int r = sysfs_class_list(search->root->fd, class, search->arena, &entries);

	if (r == -ENOENT || r == -ENOTDIR)
		return 0;
	if (r < 0)
		return error_errno(err, ERROR_SYSTEM, -r, "/sys/class/%s cannot be read", class);
	for (LIST_EACH(const struct sysfs_entry, entry, &entries)) {
		if (!entry->path || !sysfs_last_address(entry->path, &address))
			continue;
		f = find_function(search->functions, address);
		if (f)
			*list_add(search->arena, &search->nodes, struct node) = (struct node){
				arena_printf(search->arena, "%s%s", prefix, entry->name), f
			};
	}
	return 0;
}

static int collect_nodes(struct search *search, struct error *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(node_classes); i++)
		if (collect_class(search, node_classes[i].class, node_classes[i].prefix, err) < 0)
			return -1;
	return 0;
}

/* Once for each function, process and node: the records of one process (pid 0: the kernel) follow
 * each other. `node` is the kernel user's name for pid 0. */
static void add(struct search *search, const struct function *f, int64_t pid, const char *node)
{
	const struct holder *known = search->holders->items;

	for (size_t i = search->holders->n; i-- > 0 && known[i].pid == pid;)
		if (pci_address_equal(known[i].address, f->address) &&
		    !strcmp(known[i].node ?: known[i].name, node))
			return;
	if (search->holders->n >= HOLDERS_MAX) {
		search->too_many = true;
		return;
	}
	*list_add(search->arena, search->holders, struct holder) = (struct holder){
		.kind = pid ? "process" : "kernel",
		.pid = pid,
		.name = pid ? NULL : node,
		.node = pid ? arena_strdup(search->arena, node) : NULL,
		.address = f->address,
	};
}

static void add_named(struct search *search, int64_t pid, const char *node)
{
	char path[NODE_TEXT + 8];

	snprintf(path, sizeof(path), "/dev/%s", node);
	for (LIST_EACH(struct node, known, &search->nodes))
		if (!strcmp(known->name, node))
			add(search, known->f, pid, path);
}

/* Is that the group of an mdev of this function? */
static bool mdev_in(const struct function *f, unsigned long group)
{
	for (LIST_EACH(const struct mdev, mdev, &f->mdevs))
		if (mdev->group >= 0 && (unsigned long)mdev->group == group)
			return true;
	return false;
}

/* vfio/<group>, vfio/noiommu-<group>: whoever has the group has all that is in it; whoever has that of
 * an mdev has its parent. */
static void add_group(struct search *search, int64_t pid, const char *node)
{
	static const char noiommu[] = "noiommu-";
	const char *digits = node + strlen("vfio/");
	bool none = !strncmp(digits, noiommu, strlen(noiommu));
	char path[NODE_TEXT + 8], *end;
	unsigned long number;

	digits += none ? strlen(noiommu) : 0;
	if (!isdigit((unsigned char)*digits))
		return;
	number = strtoul(digits, &end, 10);
	if (*end || number > INT32_MAX)
		return;
	snprintf(path, sizeof(path), "/dev/%s", node);
	for (LIST_EACH(struct function *, f, search->functions))
		if (((*f)->group == (int)number && (*f)->group_is_noiommu == none && !(*f)->bridge) ||
		    (!none && mdev_in(*f, number)))
			add(search, *f, pid, path);
}

/* Has it nodes of its own? VFs have none. */
static bool on_nvidia(const struct function *f)
{
	return f->driver && !strcmp(f->driver, "nvidia") && !f->physfn;
}

/* "Device Minor: \t 0" (open-gpu-kernel-modules, kernel-open/nvidia/nv-procfs.c). */
static long read_minor(const struct search *search, const struct function *f)
{
	static const char key[] = "Device Minor:";
	char path[SYSFS_PATH], text[1024], *line, *end;
	long minor;

	snprintf(path, sizeof(path), "proc/driver/nvidia/gpus/%s/information", f->text);
	if (fdpath_read(search->root->fd, path, text, sizeof(text)) < 0)
		return -1;
	line = strstr(text, key);
	if (!line)
		return -1;
	line += strlen(key);
	minor = (long)strtoul(line, &end, 10);
	return end != line && minor >= 0 && (*end == '\n' || !*end) ? minor : -1;
}

static void find_minors(struct search *search)
{
	struct minor *m;

	if (search->minors.n)
		return;
	for (LIST_EACH(struct function *, f, search->functions)) {
		if (!on_nvidia(*f))
			continue;
		m = list_add(search->arena, &search->minors, struct minor);
		*m = (struct minor){ *f, read_minor(search, *f) };
	}
}

/* nvidia0: the card with that minor; where it cannot be told which that is, each of the driver. */
static void add_numbered(struct search *search, int64_t pid, const char *path, long number)
{
	const int64_t *pids = search->numbered.items;

	if (!search->numbered.n || pids[search->numbered.n - 1] != pid)
		*list_add(search->arena, &search->numbered, int64_t) = pid;
	find_minors(search);
	for (LIST_EACH(const struct minor, m, &search->minors))
		if (m->minor < 0 || m->minor == number)
			add(search, m->f, pid, path);
}

/* nvidia-modeset, nvidia-uvm, nvidiactl: every card of that driver. */
static void add_nvidia(struct search *search, int64_t pid, const char *node)
{
	static const char *const names[] = { "ctl", "-modeset", "-uvm", "-uvm-tools" };
	const char *rest = node + strlen("nvidia");
	char path[NODE_TEXT + 8];
	bool known = false;

	snprintf(path, sizeof(path), "/dev/%s", node);
	if (isdigit((unsigned char)*rest) && !rest[strspn(rest, "0123456789")]) {
		add_numbered(search, pid, path, (long)strtoul(rest, NULL, 10));
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		known |= !strcmp(rest, names[i]);
	if (!known)
		return;
	for (LIST_EACH(struct function *, f, search->functions))
		if (on_nvidia(*f))
			add(search, *f, pid, path);
}

/*
 * Who has nodes of single cards open uses these, and what all cards share (nvidia-uvm) for these:
 * the driver opens a card's own node for whatever uses it. So the others are not held by it.
 */
static bool holds_another(const struct search *search, const struct holder *holder)
{
	const struct holder *all = search->holders->items;
	bool numbered = false;

	if (!holder->node || strncmp(holder->node, "/dev/nvidia-", 12))
		return false;
	for (LIST_EACH(const int64_t, pid, &search->numbered))
		numbered |= *pid == holder->pid;
	for (size_t i = 0; i < search->holders->n && numbered; i++)
		if (all[i].pid == holder->pid &&
		    pci_address_equal(all[i].address, holder->address) && all[i].node &&
		    !strncmp(all[i].node, "/dev/nvidia", 11) &&
		    isdigit((unsigned char)all[i].node[11]))
			return false;
	return numbered;
}

static void drop_those_of_others(struct search *search)
{
	struct holder *holders = search->holders->items;
	struct list kept = { 0 };

	if (!search->numbered.n)
		return;
	for (size_t i = 0; i < search->holders->n; i++)
		if (!holds_another(search, &holders[i]))
			*list_add(search->arena, &kept, struct holder) = holders[i];
	*search->holders = kept;
}

/* A BAR opened or mapped through sysfs: /sys/devices/…/0000:01:00.0/resource0, resource0_wc. */
static void add_bar(struct search *search, int64_t pid, const char *path)
{
	static const char name[] = "/resource";
	const char *last = strrchr(path, '/');
	struct pci_address address;
	const struct function *f;
	char short_path[NODE_TEXT];

	if (strncmp(last, name, strlen(name)) || !isdigit((unsigned char)last[strlen(name)]) ||
	    !sysfs_last_address(path, &address))
		return;
	f = find_function(search->functions, address);
	if (!f)
		return;
	snprintf(short_path, sizeof(short_path), "/sys/bus/pci/devices/%s%s", f->text, last);
	add(search, f, pid, short_path);
}

static void on_path(void *data, int64_t pid, const char *path)
{
	struct search *search = data;
	char node[NODE_TEXT];

	if (!strncmp(path, "/sys/", 5))
		add_bar(search, pid, path);
	if (!processes_dev_node(path, node, sizeof(node)))
		return;
	if (!strncmp(node, "nvidia", 6))
		add_nvidia(search, pid, node);
	else if (!strncmp(node, "vfio/", 5) && strncmp(node, "vfio/devices/", 13))
		add_group(search, pid, node);
	else
		add_named(search, pid, node);
}

/* Say who the processes are; those that ended since are no holders any more. */
static void describe(struct search *search)
{
	struct holder *holders = search->holders->items;
	struct process_info info = { 0 };
	int64_t described = 0;
	bool alive = false;
	size_t kept = 0;

	for (size_t i = 0; i < search->holders->n; i++) {
		if (holders[i].pid != described)
			alive = processes_describe(search->root, holders[i].pid, search->arena,
						   &info);
		described = holders[i].pid;
		if (!alive)
			continue;
		holders[kept] = holders[i];
		holders[kept].name = info.name;
		holders[kept].since = info.since;
		holders[kept++].unit = info.unit;
	}
	search->holders->n = kept;
}

/* True when a vtconsole of framebuffers is bound: then fbcon draws on one. */
static bool fbcon_bound(const struct search *search)
{
	CLEANUP(arena_freep) struct arena *arena = arena_new();
	char path[SYSFS_PATH], text[NODE_TEXT];
	struct list names;

	if (fdpath_list(search->root->fd, "sys/class/vtconsole", arena, &names) < 0)
		return false;
	for (LIST_EACH(const char *, name, &names)) {
		snprintf(path, sizeof(path), "sys/class/vtconsole/%s/name", *name);
		if (fdpath_attribute(search->root->fd, path, text, sizeof(text)) < 0 ||
		    !strstr(text, "frame buffer"))
			continue;
		snprintf(path, sizeof(path), "sys/class/vtconsole/%s/bind", *name);
		if (fdpath_attribute(search->root->fd, path, text, sizeof(text)) > 0 && text[0] == '1')
			return true;
	}
	return false;
}

/*
 * fbcon draws on fb0, or on the framebuffer of the firmware's display when there is one
 * (drivers/video/fbdev/core/fbcon.c, fbcon_select_primary): others it leaves alone.
 */
static bool may_draw_on(const struct node *node)
{
	return !strcmp(node->name, "fb0") || (!strncmp(node->name, "fb", 2) && node->f->boot_vga == 1);
}

static void add_fbcon(struct search *search)
{
	int bound = -1;	/* not looked at yet */

	for (LIST_EACH(struct node, node, &search->nodes)) {
		if (!may_draw_on(node))
			continue;
		if (bound < 0)
			bound = fbcon_bound(search);
		if (bound)
			add(search, node->f, 0, "fbcon");
	}
}

/* With modeset=1 nvidia-drm keeps each card that it made a DRM device for in use. */
static int add_nvidia_drm(struct search *search, struct error *err)
{
	static const char parameter[] = "sys/module/nvidia_drm/parameters/modeset";
	char text[NODE_TEXT];
	ssize_t n;

	if (fdpath_exists(search->root->fd, "sys/module/nvidia_drm") == 0)
		return 0;
	n = fdpath_read(search->root->fd, parameter, text, sizeof(text));
	if (n < 0) {
		error_errno(err, ERROR_SYSTEM, (int)-n,
			    "whether nvidia-drm holds its cards cannot be told: /%s", parameter);
		return error_hint(err, "only root can read it");
	}
	if (text[0] != 'Y' && text[0] != '1')
		return 0;
	for (LIST_EACH(struct node, node, &search->nodes))
		if (!strncmp(node->name, "dri/card", 8) && node->f->driver &&
		    !strcmp(node->f->driver, "nvidia"))
			add(search, node->f, 0, "nvidia-drm");
	return 0;
}

static int compare(const void *a, const void *b)
{
	const struct holder *x = a, *y = b;
	int order = pci_address_compare(x->address, y->address);

	if (!order)
		order = (x->pid > y->pid) - (x->pid < y->pid);
	if (!order)
		order = strcmp(x->node ?: x->name, y->node ?: y->name);
	return order;
}

int holders_find(const struct host_root *root, const struct list *functions, struct arena *arena,
		 struct list *holders, struct error *err)
{
	struct list found = { 0 };
	struct search search = {
		.root = root, .functions = functions, .arena = arena, .holders = &found
	};
	struct processes_visit visit = { .maps = true, .path = on_path, .data = &search };

	if (collect_nodes(&search, err) || processes_visit(root, &visit, err))
		return -1;
	if (search.too_many)
		return error_set(err, ERROR_SYSTEM, "more than %d open files hold these cards",
				 HOLDERS_MAX);
	drop_those_of_others(&search);
	describe(&search);
	add_fbcon(&search);
	if (add_nvidia_drm(&search, err))
		return -1;
	if (found.n)
		qsort(found.items, found.n, sizeof(struct holder), compare);
	*holders = found;
	return (int)found.n;
}

int holders_console(const struct host_root *root, const struct list *functions, struct arena *arena,
		    struct list *holders, struct error *err)
{
	struct list found = { 0 };
	struct search search = {
		.root = root, .functions = functions, .arena = arena, .holders = &found
	};

	if (collect_class(&search, "graphics", "", err) < 0)
		return -1;
	add_fbcon(&search);
	*holders = found;
	return (int)found.n;
}

/* Does the path go on behind the address with the class, or not at all (plain trees)? */
static bool is_own_node(const char *path, struct pci_address address, const char *class)
{
	char text[PCI_ADDRESS_TEXT];
	const char *rest = path, *at;
	size_t n = strlen(class);

	for (at = path; (at = strstr(at, pci_address_format(address, text))); rest = at)
		at += strlen(text);
	return !*rest || (!strncmp(rest + 1, class, n) && (!rest[1 + n] || rest[1 + n] == '/'));
}

/* Is a node of that class, below that function, counted where it is asked for? */
static bool is_counted(const struct host_root *root, const char *class,
		       const struct sysfs_entry *entry, struct pci_address address)
{
	char path[SYSFS_PATH];

	if (!strcmp(class, "drm_dp_aux_dev"))
		return true;
	if (!strcmp(class, "i2c-dev"))
		return module_unused(root, "sys/module/i2c_dev");
	if (strcmp(class, "vfio-dev"))
		return is_own_node(entry->path, address, class);
	return (size_t)snprintf(path, sizeof(path), "%s/dev", entry->path) < sizeof(path) &&
	       fdpath_exists(root->fd, path) == 0;
}

static bool class_counted(const struct host_root *root, const char *class,
			  struct pci_address address)
{
	CLEANUP(arena_freep) struct arena *arena = arena_new();
	struct pci_address of;
	struct list entries;
	int r = sysfs_class_list(root->fd, class, arena, &entries);

	if (r < 0)
		return r == -ENOENT || r == -ENOTDIR;
	for (LIST_EACH(const struct sysfs_entry, entry, &entries)) {
		if (!entry->path || !sysfs_last_address(entry->path, &of) ||
		    !pci_address_equal(of, address))
			continue;
		if (!is_counted(root, class, entry, address))
			return false;
	}
	return true;
}

/*
 * What a function's directory has below it without a device of another driver: what the core, classes and
 * GPU drivers put there. "*": whatever follows. Clients of an i2c adapter go with it, whoever has them.
 */
static const char *const own_directories[] = {
	"accel",   "drm",  "drm_dp_aux_dev", "fw_version", "gpu_od", "graphics", "hdaudio*", "hwmon",	 "i2c-*",
	"ip_discovery", "link", "leds",	     "msi_irqs",   "power",  "ras",	 "sound",    "vfio-dev", "wakeup",
};

static bool is_own_directory(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(own_directories); i++)
		if (!fnmatch(own_directories[i], name, 0))
			return true;
	return false;
}

static int visit_directory(void *vfio, int dir UNUSED, const struct dirent64 *entry)
{
	if (entry->d_type != DT_DIR && entry->d_type != DT_UNKNOWN)
		return 0;
	*(bool *)vfio |= !strcmp(entry->d_name, "vfio-dev");
	return !is_own_directory(entry->d_name);
}

/* All nodes below it are its driver's, as far as that is to be asked of each class. */
static bool owns_its_nodes(const struct host_root *root, struct pci_address address, bool *vfio)
{
	char path[SYSFS_PATH], text[PCI_ADDRESS_TEXT];

	*vfio = false;
	snprintf(path, sizeof(path), "sys/bus/pci/devices/%s", pci_address_format(address, text));
	return !fdpath_each(root->fd, path, visit_directory, vfio);
}

bool holders_ruled_out(const struct host_root *root, struct pci_address address,
		       const char *driver)
{
	char module[SYSFS_PATH];
	bool vfio;

	snprintf(module, sizeof(module), "sys/bus/pci/drivers/%.60s/module", driver);
	if (!module_unused(root, module))
		return false;
	if (owns_its_nodes(root, address, &vfio))
		return class_counted(root, "i2c-dev", address) &&
		       (!vfio || class_counted(root, "vfio-dev", address));
	for (size_t i = 0; i < ARRAY_SIZE(node_classes); i++)
		if (!class_counted(root, node_classes[i].class, address))
			return false;
	return true;
}

bool holder_lets_go(const struct holder *holder)
{
	if (!holder->node)
		return !strcmp(holder->name, "fbcon");
	return !strcmp(holder->node, "/dev/nvidiactl");
}
