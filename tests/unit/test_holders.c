/* SPDX-License-Identifier: Apache-2.0 */
/* Who has a card open, by described hosts. */
#include "unit.h"

#include "described.h"
#include "host/holders.h"
#include "host/processes.h"

struct test_case {
	const char *name;
	const char *host;
	const char *expected;	/* "ADDRESS KIND PID NAME NODE UNIT\n"…; - for none */
};

#define GPU "pci0000:00/0000:00:01.0/0000:01:00.0"
#define AUDIO "pci0000:00/0000:00:01.0/0000:01:00.1"
#define BMC "pci0000:00/0000:00:07.0/0000:07:00.0"
#define NODES                                                                                      \
	"link sys/class/drm/card0 ../../devices/" GPU "/drm/card0\n"                               \
	"link sys/class/drm/card0-DP-1 ../../devices/" GPU "/drm/card0/card0-DP-1\n"               \
	"link sys/class/drm/renderD128 ../../devices/" GPU "/drm/renderD128\n"                     \
	"link sys/class/drm/card1 ../../devices/" BMC "/drm/card1\n"                               \
	"link sys/class/sound/controlC0 ../../devices/" AUDIO "/sound/card0/controlC0\n"           \
	"link sys/class/sound/pcmC0D3p ../../devices/" AUDIO "/sound/card0/pcmC0D3p\n"             \
	"link sys/class/i2c-dev/i2c-4 ../../devices/" GPU "/i2c-4/i2c-dev/i2c-4\n"                 \
	"link sys/class/graphics/fb0 ../../devices/" GPU "/graphics/fb0\n"                         \
	"link sys/class/graphics/fb1 ../../devices/" BMC "/graphics/fb1\n"                         \
	"file proc/stat btime 1700000000\n"
#define XORG "process 900 Xorg\nfile proc/900/cgroup 0::/system.slice/lightdm.service\n"
#define FBCON                                                                                      \
	"file sys/class/vtconsole/vtcon1/name (M) frame buffer device\n"                           \
	"file sys/class/vtconsole/vtcon1/bind 1\n"
/* On another driver, so that nvidia's nodes hold nothing. */
#define OTHER_DRIVER                                                                               \
	"link sys/devices/" GPU "/driver ../../../../bus/pci/drivers/amdgpu\n"

/* The BMC's VGA is one of theirs too. */
#define GPUS "proc/driver/nvidia/gpus/"
#define BOTH_NVIDIA                                                                                \
	"link sys/devices/" BMC "/driver ../../../../bus/pci/drivers/nvidia\n"                     \
	"file " GPUS "0000:01:00.0/information Device Minor: 0\n"                                  \
	"file " GPUS "0000:07:00.0/information Device Minor: 1\n"

static const struct test_case cases[] = {
	{ "nobody", NODES XORG "open 900 3 /dev/null\nopen 900 4 socket:[5]\n", "" },
	{ "DRM nodes", NODES XORG "open 900 3 /dev/dri/card0\nopen 900 4 /dev/dri/renderD128\n",
	  "0000:01:00.0 process 900 Xorg /dev/dri/card0 lightdm.service\n"
	  "0000:01:00.0 process 900 Xorg /dev/dri/renderD128 lightdm.service\n" },
	{ "a node open several times is one", NODES XORG
	  "open 900 3 /dev/dri/card0\nopen 900 4 /dev/dri/card0\nopen 900 5 /dev/dri/card1\n",
	  "0000:01:00.0 process 900 Xorg /dev/dri/card0 lightdm.service\n"
	  "0000:07:00.0 process 900 Xorg /dev/dri/card1 lightdm.service\n" },
	{ "sound, in a user's manager",
	  NODES "process 901 pipewire\nopen 901 9 /dev/snd/controlC0\nopen 901 10 /dev/snd/pcmC0D3p\n"
	  "open 901 11 /dev/snd/seq\n"
	  "file proc/901/cgroup 0::/user.slice/user-1000.slice/user@1000.service/session.slice/pipewire.service\n",
	  "0000:01:00.1 process 901 pipewire /dev/snd/controlC0 -\n"
	  "0000:01:00.1 process 901 pipewire /dev/snd/pcmC0D3p -\n" },
	{ "i2c and framebuffer", NODES XORG "open 900 3 /dev/i2c-4\nopen 900 4 /dev/fb0\n",
	  "0000:01:00.0 process 900 Xorg /dev/fb0 lightdm.service\n"
	  "0000:01:00.0 process 900 Xorg /dev/i2c-4 lightdm.service\n" },
	{ "in a container",
	  NODES "process 902 glxgears\nopen 902 3 /srv/c1/dev/dri/renderD128\n"
	  "file proc/902/cgroup 0::/machine.slice/libpod-ab.scope/container\n",
	  "0000:01:00.0 process 902 glxgears /dev/dri/renderD128 libpod-ab.scope\n" },
	{ "mapped, and closed since",
	  NODES XORG "file proc/900/maps 7f00-7f01 rw-s 00000000 00:06 12 /dev/dri/renderD128\n",
	  "0000:01:00.0 process 900 Xorg /dev/dri/renderD128 lightdm.service\n" },
	{ "open and mapped is one",
	  NODES XORG "open 900 3 /dev/dri/card0\n"
	  "file proc/900/maps 7f00-7f01 rw-s 00000000 00:06 12 /dev/dri/card0\n",
	  "0000:01:00.0 process 900 Xorg /dev/dri/card0 lightdm.service\n" },
	{ "nvidia's nodes hold every card of its driver",
	  NODES XORG "open 900 3 /dev/nvidia0\nopen 900 4 /dev/nvidia-modeset\n"
	  "open 900 5 /dev/nvidia-uvm\nopen 900 6 /dev/nvidiactl\nopen 900 7 /dev/nvidia-caps\n",
	  "0000:01:00.0 process 900 Xorg /dev/nvidia-modeset lightdm.service\n"
	  "0000:01:00.0 process 900 Xorg /dev/nvidia-uvm lightdm.service\n"
	  "0000:01:00.0 process 900 Xorg /dev/nvidia0 lightdm.service\n"
	  "0000:01:00.0 process 900 Xorg /dev/nvidiactl lightdm.service\n" },
	{ "nvidia's nodes, and which card is which", NODES BOTH_NVIDIA XORG "open 900 3 /dev/nvidia1\n",
	  "0000:07:00.0 process 900 Xorg /dev/nvidia1 lightdm.service\n" },
	{ "nvidia's shared nodes are for the cards that are open",
	  NODES BOTH_NVIDIA XORG "open 900 3 /dev/nvidia-uvm\nopen 900 4 /dev/nvidia1\n"
	  "open 900 5 /dev/nvidiactl\n",
	  "0000:01:00.0 process 900 Xorg /dev/nvidiactl lightdm.service\n"
	  "0000:07:00.0 process 900 Xorg /dev/nvidia-uvm lightdm.service\n"
	  "0000:07:00.0 process 900 Xorg /dev/nvidia1 lightdm.service\n"
	  "0000:07:00.0 process 900 Xorg /dev/nvidiactl lightdm.service\n" },
	{ "nvidia's shared nodes alone are for all", NODES BOTH_NVIDIA XORG "open 900 3 /dev/nvidia-uvm\n",
	  "0000:01:00.0 process 900 Xorg /dev/nvidia-uvm lightdm.service\n"
	  "0000:07:00.0 process 900 Xorg /dev/nvidia-uvm lightdm.service\n" },
	{ "nvidia's nodes of cards that nobody asks about",
	  NODES BOTH_NVIDIA XORG "open 900 3 /dev/nvidia-uvm\nopen 900 4 /dev/nvidia7\n", "" },
	{ "nvidia does not say which card is which",
	  NODES BOTH_NVIDIA "file " GPUS "0000:07:00.0/information Device Minor: none\n" XORG
	  "open 900 3 /dev/nvidia0\n",
	  "0000:01:00.0 process 900 Xorg /dev/nvidia0 lightdm.service\n"
	  "0000:07:00.0 process 900 Xorg /dev/nvidia0 lightdm.service\n" },
	{ "nvidia's nodes, cards of other drivers", NODES OTHER_DRIVER XORG "open 900 3 /dev/nvidia0\n",
	  "" },
	{ "nvidia's nodes are not those of a VF",
	  NODES "link sys/devices/" GPU "/physfn ../0000:07:00.0\n" XORG "open 900 3 /dev/nvidia0\n", "" },
	{ "vfio by group: all that is in it",
	  NODES "process 950 qemu-system-x86\nopen 950 30 /dev/vfio/10\nopen 950 31 /dev/vfio/vfio\n"
	  "file proc/950/cgroup 0::/machine.slice/machine-qemu\\x2d1\\x2da.scope/libvirt/emulator\n",
	  "0000:01:00.0 process 950 qemu-system-x86 /dev/vfio/10 machine-qemu\\x2d1\\x2da.scope\n"
	  "0000:01:00.1 process 950 qemu-system-x86 /dev/vfio/10 machine-qemu\\x2d1\\x2da.scope\n" },
	{ "another group, and one whose number only begins so",
	  NODES "process 950 qemu\nopen 950 30 /dev/vfio/1\nopen 950 31 /dev/vfio/100\n"
	  "open 950 33 /dev/vfio/10x\n"
	  "open 950 32 /dev/vfio/noiommu-10\n", "" },
	{ "vfio by device",
	  NODES "link sys/class/vfio-dev/vfio3 ../../devices/" GPU "/vfio-dev/vfio3\n"
	  "process 950 qemu\nopen 950 30 /dev/vfio/devices/vfio3\n",
	  "0000:01:00.0 process 950 qemu /dev/vfio/devices/vfio3 -\n" },
	{ "a BAR mapped through sysfs",
	  NODES "process 960 dpdk\nopen 960 3 /sys/devices/" GPU "/resource\n"
	  "file proc/960/maps 7f00-7f01 rw-s 0 00:16 9 /sys/devices/" GPU "/resource0_wc\n",
	  "0000:01:00.0 process 960 dpdk /sys/bus/pci/devices/0000:01:00.0/resource0_wc -\n" },
	{ "fbcon on fb0", NODES FBCON, "0000:01:00.0 kernel 0 fbcon - -\n" },
	{ "fbcon on the firmware's display too",
	  NODES FBCON "file sys/devices/" BMC "/boot_vga 1\n",
	  "0000:01:00.0 kernel 0 fbcon - -\n0000:07:00.0 kernel 0 fbcon - -\n" },
	{ "fbcon is off", NODES "file sys/class/vtconsole/vtcon1/name (M) frame buffer device\n"
	  "file sys/class/vtconsole/vtcon1/bind 0\n"
	  "file sys/class/vtconsole/vtcon0/name (S) VGA+\nfile sys/class/vtconsole/vtcon0/bind 1\n", "" },
	{ "nvidia-drm with modeset", NODES "file sys/module/nvidia_drm/parameters/modeset Y\n",
	  "0000:01:00.0 kernel 0 nvidia-drm - -\n" },
	{ "nvidia-drm without", NODES "file sys/module/nvidia_drm/parameters/modeset N\n", "" },
	{ "nvidia-drm, card on another driver",
	  NODES OTHER_DRIVER "file sys/module/nvidia_drm/parameters/modeset Y\n", "" },
	{ "the main thread has ended, another has the card",
	  NODES "process 970 game\nlink proc/970/task/971/fd/3 /dev/dri/card0\n",
	  "0000:01:00.0 process 970 game /dev/dri/card0 -\n" },
	{ "the unit on a host with old cgroups",
	  NODES "process 903 Xorg\nopen 903 3 /dev/dri/card0\n"
	  "file proc/903/cgroup 1:name=systemd:/system.slice/gdm.service\n",
	  "0000:01:00.0 process 903 Xorg /dev/dri/card0 gdm.service\n" },
	{ "a kernel thread is told by its flags",
	  NODES "file proc/990/stat 990 (vhost-(9)) S 2 0 0 0 -1 2129984 0 0\n"
	  "open 990 3 /dev/dri/card0\nfile proc/990/maps 7f00-7f01 rw-s 0 00:06 12 /dev/dri/card0\n"
	  "link proc/990/task/991/fd/3 /dev/dri/card0\n", "" },
	{ "flags that are cut off tell nothing",
	  NODES "file proc/990/stat 990 (x) S 2 0 0 0 -1 2129984\nopen 990 3 /dev/dri/card0\n",
	  "0000:01:00.0 process 990 x /dev/dri/card0 -\n" },
	{ "flags of another process",
	  NODES "file proc/990/stat 990 (x) 1 0 0 0) S 2 0 0 0 -1 4194560 0 0\nopen 990 3 /dev/dri/card0\n",
	  "0000:01:00.0 process 990 x) 1 0 0 0 /dev/dri/card0 -\n" },
	{ "a process of which only the files are there",
	  NODES "open 980 3 /dev/dri/card0\n", "0000:01:00.0 process 980 ? /dev/dri/card0 -\n" },
};

#define COUNT(driver, n) "file sys/bus/pci/drivers/" driver "/module/refcnt " n "\n"
#define I2C_DEV(n) "file sys/module/i2c_dev/refcnt " n "\n"
#define VFIO_NODE "link sys/class/vfio-dev/vfio3 ../../devices/" AUDIO "/vfio-dev/vfio3\n"

/* Is the kernel's count of a module's users the whole answer? Of the GPU, or of its audio. */
static const struct {
	const char *name, *host;
	uint8_t function;
	const char *driver;
	bool expected;
} counted[] = {
	{ "nobody", NODES COUNT("amdgpu", "0") I2C_DEV("0"), 0, "amdgpu", true },
	{ "somebody", NODES COUNT("amdgpu", "1") I2C_DEV("0"), 0, "amdgpu", false },
	{ "built in", NODES I2C_DEV("0"), 0, "amdgpu", false },
	{ "somebody has an i2c adapter, whosever", NODES COUNT("amdgpu", "0") I2C_DEV("1"), 0, "amdgpu",
	  false },
	{ "i2c-dev is built in", NODES COUNT("amdgpu", "0"), 0, "amdgpu", false },
	{ "of others i2c-dev is not asked", NODES COUNT("snd_hda_intel", "0"), 1, "snd_hda_intel", true },
	{ "an AUX channel is not waited for",
	  NODES COUNT("amdgpu", "0") I2C_DEV("0") "link sys/class/drm_dp_aux_dev/drm_dp_aux0 ../../devices/" GPU
	  "/drm/card0/card0-DP-1/drm_dp_aux0\n", 0, "amdgpu", true },
	{ "the card is virtio's", COUNT("virtio-pci", "0") "file sys/devices/" GPU "/virtio0/uevent -\n"
	  "link sys/class/drm/card0 ../../devices/" GPU "/virtio0/drm/card0\n", 0, "virtio-pci", false },
	{ "sound on USB", COUNT("xhci_hcd", "0") "file sys/devices/" AUDIO "/usb1/uevent -\n" "link sys/class/sound/controlC1 ../../devices/" AUDIO
	  "/usb1/1-2/1-2:1.0/sound/card1/controlC1\n", 1, "xhci_hcd", false },
	{ "a class that only begins so", COUNT("amdgpu", "0") "file sys/devices/" GPU "/drmx/uevent -\n"
	  "link sys/class/drm/card0 ../../devices/" GPU "/drmx/drm/card0\n", 0, "amdgpu", false },
	{ "another device below it, of which nobody has a node",
	  NODES COUNT("amdgpu", "0") I2C_DEV("0") "file sys/devices/" GPU "/amdgpu.auxiliary/uevent -\n", 0,
	  "amdgpu", true },
	{ "its own nodes alone, and those of others besides",
	  NODES COUNT("amdgpu", "0") "file sys/devices/" GPU "/drm/card0/dev 226:0\n"
	  "file sys/devices/" GPU "/i2c-3/name x\n" I2C_DEV("0"), 0, "amdgpu", true },
	{ "VFIO by groups", COUNT("vfio-pci", "0") VFIO_NODE "file sys/devices/" AUDIO "/vfio-dev/vfio3/uevent -\n",
	  1, "vfio-pci", true },
	{ "VFIO with nodes", COUNT("vfio-pci", "0") VFIO_NODE
	  "file sys/devices/" AUDIO "/vfio-dev/vfio3/dev 510:3\n", 1, "vfio-pci", false },
};

static void test_counted(void **state)
{
	struct pci_address address = { .bus = 1 };
	struct described host;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(counted); i++) {
		described_make(&host, counted[i].host);
		address.function = counted[i].function;
		if (holders_ruled_out(&host.tree.root, address, counted[i].driver) !=
		    counted[i].expected)
			fail_msg("%s: not %s", counted[i].name,
				 counted[i].expected ? "ruled out" : "left open");
		described_remove(&host);
	}
}

static char *text_of(const struct list *holders, char *text, size_t size)
{
	size_t at = 0;

	text[0] = '\0';
	for (LIST_EACH(struct holder, h, holders))
		at += (size_t)snprintf(text + at, size - at, "%s %s %lld %s %s %s\n",
				       pci_address_format(h->address, (char[PCI_ADDRESS_TEXT]){ 0 }),
				       h->kind, (long long)h->pid, h->name, h->node ?: "-",
				       h->unit ?: "-");
	return text;
}

static void test_cases(void **state)
{
	struct described host;
	struct list holders;
	struct error err;
	char text[4096];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		described_make(&host, cases[i].host);
		if (holders_find(&host.tree.root, &host.inv->functions, host.arena, &holders, &err) < 0)
			fail_msg("%s: %s", cases[i].name, err.message);
		if (strcmp(text_of(&holders, text, sizeof(text)), cases[i].expected))
			fail_msg("%s: expected\n%s\nfound\n%s", cases[i].name, cases[i].expected,
				 text);
		described_remove(&host);
	}
}

/* Only the functions asked for; and when each process began. */
static void test_some_functions(void **state)
{
	struct described host;
	struct list holders, some = { 0 };
	const struct holder *h;
	struct error err;

	(void)state;
	described_make(&host, NODES XORG "open 900 3 /dev/dri/card0\nopen 900 4 /dev/dri/card1\n");
	*list_add(host.arena, &some, struct function *) =
		inventory_function(host.inv, (struct pci_address){ .bus = 7 });
	assert_int_equal(holders_find(&host.tree.root, &some, host.arena, &holders, &err), 1);
	h = holders.items;
	assert_string_equal(h->node, "/dev/dri/card1");
	/* 12345 ticks of 10 ms after the boot */
	assert_string_equal(h->since, "2023-11-14T22:15:23Z");
	described_remove(&host);
}

/* As somebody who may not see what a process has open: nothing is known, never "none". */
static int find_unprivileged(struct described *host, struct list *holders, struct error *err)
{
	bool root = !geteuid();
	int r;

	assert_int_equal(chmod(host->tree.path, 0755), 0);
	if (root)
		assert_int_equal(seteuid(65534), 0);
	r = holders_find(&host->tree.root, &host->inv->functions, host->arena, holders, err);
	if (root)
		assert_int_equal(seteuid(0), 0);
	return r;
}

static void test_not_seen(void **state)
{
	static const char *const closed[] = { "proc/900/fd", "proc/900/maps" };
	struct described host;
	struct list holders;
	struct error err;
	char path[256];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(closed); i++) {
		described_make(&host, NODES XORG "open 900 3 /dev/dri/card0\nfile proc/900/maps x\n");
		snprintf(path, sizeof(path), "%s/%s", host.tree.path, closed[i]);
		assert_int_equal(find_unprivileged(&host, &holders, &err), 1);
		assert_int_equal(chmod(path, 0), 0);
		assert_int_equal(find_unprivileged(&host, &holders, &err), -1);
		assert_int_equal(err.code, ERROR_SYSTEM);
		assert_non_null(strstr(err.message, "process 900 (Xorg)"));
		assert_non_null(strstr(err.hint, "root"));
		assert_int_equal(chmod(path, 0700), 0);
		described_remove(&host);
	}
}

static void test_not_told(void **state)
{
	static const struct {
		const char *host, *problem;
	} hosts[] = {
		{ NODES "drop proc\n", "/proc cannot be read" },
		{ NODES "dir sys/module/nvidia_drm\n", "nvidia-drm" },
	};
	struct described host;
	struct list holders;
	struct error err;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(hosts); i++) {
		described_make(&host, hosts[i].host);
		assert_int_equal(holders_find(&host.tree.root, &host.inv->functions, host.arena,
					      &holders, &err), -1);
		assert_non_null(strstr(err.message, hosts[i].problem));
		described_remove(&host);
	}
}

static void test_lets_go(void **state)
{
	static const struct {
		struct holder holder;
		bool goes;
	} holders[] = {
		{ { .kind = "kernel", .name = "fbcon" }, true },
		{ { .kind = "kernel", .name = "nvidia-drm" }, false },
		{ { .kind = "process", .pid = 1, .name = "fbcon", .node = "/dev/dri/card0" }, false },
		{ { .kind = "process", .pid = 1, .name = "x", .node = "/dev/nvidiactl" }, true },
		{ { .kind = "process", .pid = 1, .name = "x", .node = "/dev/nvidia0" }, false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(holders); i++)
		assert_int_equal(holder_lets_go(&holders[i].holder), holders[i].goes);
}

static void test_paths(void **state)
{
	static const struct {
		const char *path, *node;
	} paths[] = {
		{ "/dev/dri/card0", "dri/card0" },
		{ "/dev/dri/card0 (deleted)", "dri/card0" },
		{ "/var/c/dev/nvidia0 (deleted)", "nvidia0" },
		{ "/home/dev/dev/x", "x" },
		{ "/dev/ (deleted)", NULL },
		{ "/dev/", NULL },
		{ "/devices/x", NULL },
		{ "socket:[12]", NULL },
		{ "pipe:/dev/x", NULL },
		{ "", NULL },
	};
	char node[32];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		bool is = processes_dev_node(paths[i].path, node, sizeof(node));

		if (is != !!paths[i].node || (is && strcmp(node, paths[i].node)))
			fail_msg("%s: %s", paths[i].path, is ? node : "none");
	}
	assert_false(processes_dev_node("/dev/a-name-that-is-longer-than-the-buffer", node,
					sizeof(node)));
}

struct seen {
	const char *path;
	int times;
};

static void on_path(void *data, int64_t pid, const char *path)
{
	struct seen *seen = data;

	seen->times += pid == getpid() && !strcmp(path, seen->path);
}

/* This machine itself: everything is told, or that it cannot be. */
static void test_this_machine(void **state)
{
	struct seen seen = { .path = "/dev/null" };
	struct processes_visit visit = { .path = on_path, .data = &seen };
	struct host_root root;
	struct error err;
	CLEAN_FD int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(host_root_open(&root, "/", &err), 0);
	if (processes_visit(&root, &visit, &err)) {
		assert_non_null(strstr(err.message, "cannot be seen"));
		assert_non_null(strstr(err.hint, "root"));
	} else {
		assert_true(seen.times > 0);
	}
	host_root_close(&root);
}

static void copy_real(struct tree *tree, const char *name)
{
	static char text[1024 * 1024];
	char path[64];
	CLEAN_FD int fd = -1;
	ssize_t n, at = 0;

	snprintf(path, sizeof(path), "/proc/self/%s", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	while ((n = read(fd, text + at, sizeof(text) - 1 - (size_t)at)) > 0)
		at += n;
	assert_true(at > 0);
	text[at] = '\0';
	snprintf(path, sizeof(path), "proc/%d/%s", getpid(), name);
	tree_file(tree, path, text);
}

/* The texts of this kernel: what this very process has mapped, and who it is. */
static void test_real_texts(void **state)
{
	static const char *const names[] = { "maps", "stat", "comm", "cgroup" };
	char exe[4096];
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	struct seen seen = { .path = exe };
	struct processes_visit visit = { .maps = true, .path = on_path, .data = &seen };
	struct process_info info;
	struct described host;
	struct error err;

	(void)state;
	assert_true(n > 0);
	exe[n] = '\0';
	described_make(&host, "file proc/stat btime 1700000000\n");
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		copy_real(&host.tree, names[i]);
	assert_int_equal(processes_visit(&host.tree.root, &visit, &err), 0);
	assert_int_equal(seen.times, 1);
	assert_true(processes_describe(&host.tree.root, getpid(), host.arena, &info));
	assert_string_equal(info.name, "test_holders");
	assert_int_equal(strncmp(info.since, "2023-11-", 8), 0);
	assert_false(processes_describe(&host.tree.root, INT64_MAX, host.arena, &info));
	described_remove(&host);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases),	 cmocka_unit_test(test_some_functions),
		cmocka_unit_test(test_counted),
		cmocka_unit_test(test_not_seen), cmocka_unit_test(test_not_told),
		cmocka_unit_test(test_lets_go),	 cmocka_unit_test(test_paths),
		cmocka_unit_test(test_this_machine), cmocka_unit_test(test_real_texts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
