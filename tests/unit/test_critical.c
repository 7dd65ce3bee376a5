/* SPDX-License-Identifier: Apache-2.0 */
/* What the host lives on, by described hosts: disks, console, only card. NICs: test_critical_net. */
#include "unit.h"

#include "described.h"
#include "host/critical.h"

struct test_case {
	const char *name;
	const char *host;
	const char *expected;	/* described_expect() */
};

/* A process that may be seen, so that a disk nobody has open is free. */
#define NOBODY "process 2 kthreadd\nopen 1 0 /dev/null\n"
#define NVME                                                                                       \
	"disk nvme0n1 0000:03:00.0 259:0\npart nvme0n1p1 nvme0n1 259:1\n"                          \
	"part nvme0n1p2 nvme0n1 259:2\n"
#define NVME_2                                                                                     \
	"disk nvme1n1 0000:04:00.0 259:4\npart nvme1n1p1 nvme1n1 259:5\n"                          \
	"part nvme1n1p2 nvme1n1 259:6\n"

static const struct test_case disks[] = {
	{ "nothing on it", NVME NOBODY, "" },
	{ "mounted partition",
	  NVME NVME_2 NOBODY "mount 259:2 / ext4 /dev/nvme0n1p2\nmount 0:22 /run tmpfs tmpfs\n"
	  "file sys/fs/ext4/nvme0n1p2/errors_count 0\n",
	  "0000:03:00.0 critical carries / (ext4) on /dev/nvme0n1p2\n" },
	{ "each partition tells",
	  NVME NOBODY "mount 259:2 / ext4 /dev/nvme0n1p2\nmount 259:1 /boot/efi vfat /dev/nvme0n1p1\n",
	  "0000:03:00.0 critical carries / (ext4) on /dev/nvme0n1p2\n"
	  "0000:03:00.0 critical carries /boot/efi (vfat) on /dev/nvme0n1p1\n" },
	{ "many mounts of one device: the shortest is told",
	  NVME NOBODY "mount 259:1 /var/lib/kubelet/pods/x xfs /dev/nvme0n1p1\n"
	  "mount 259:1 /var xfs /dev/nvme0n1p1\nmount 259:1 /var/lib/y xfs /dev/nvme0n1p1\n",
	  "0000:03:00.0 critical carries /var (xfs) and 2 more mounts on /dev/nvme0n1p1\n" },
	{ "mount point with a blank", NVME NOBODY "mount 259:1 /my\\040disk ext4 /dev/nvme0n1p1\n",
	  "0000:03:00.0 critical carries /my disk (ext4)\n" },
	{ "whole disk, by USB",
	  NOBODY "disk sdb 0000:00:14.0 8:16\nmount 8:16 /media/stick vfat /dev/sdb\n",
	  "0000:00:14.0 critical carries /media/stick (vfat) on /dev/sdb\n" },
	{ "LVM on md on two partitions",
	  NVME NVME_2 NOBODY "virt md127 9:127\non md127 nvme0n1p2\non md127 nvme1n1p2\n"
	  "virt dm-0 253:0\ndm dm-0 vg-root LVM-x\non dm-0 md127\n"
	  "mount 253:0 / ext4 /dev/mapper/vg-root\n",
	  "0000:03:00.0 critical carries / (ext4) on /dev/mapper/vg-root\n"
	  "0000:04:00.0 critical carries / (ext4) on /dev/mapper/vg-root\n" },
	{ "a partition of an md array",
	  NVME NOBODY "virt md0 9:0\non md0 nvme0n1p1\npart md0p1 md0 259:9\n"
	  "mount 259:9 /srv xfs /dev/md0p1\n",
	  "0000:03:00.0 critical carries /srv (xfs) on /dev/md0p1\n" },
	{ "swap on dm-crypt",
	  NVME NOBODY "virt dm-1 253:1\ndm dm-1 cryptswap CRYPT-PLAIN-cryptswap\n"
	  "on dm-1 nvme0n1p2\nswap /dev/dm-1\n",
	  "0000:03:00.0 critical carries swap on /dev/mapper/cryptswap\n" },
	{ "swap in a file is its file system's", NVME NOBODY "swap /swapfile\n", "" },
	{ "a volume that nothing has mounted",
	  NVME NOBODY "virt dm-3 253:3\ndm dm-3 vg-data LVM-y\non dm-3 nvme0n1p2\n",
	  "0000:03:00.0 critical is part of /dev/mapper/vg-data, which is active" },
	{ "only the upper device tells of the pair",
	  NVME NOBODY "virt dm-3 253:3\ndm dm-3 vg-data LVM-y\non dm-3 nvme0n1p2\n"
	  "drop sys/devices/pci0000:00/0000:00:03.0/0000:03:00.0/host0/block/nvme0n1/nvme0n1p2/holders\n",
	  "0000:03:00.0 critical is part of /dev/mapper/vg-data" },
	{ "only the lower device tells of the pair",
	  NVME NOBODY "virt dm-3 253:3\ndm dm-3 vg-data LVM-y\non dm-3 nvme0n1p2\n"
	  "drop sys/devices/virtual/block/dm-3/slaves\n",
	  "0000:03:00.0 critical is part of /dev/mapper/vg-data" },
	{ "swap by the mapper's name",
	  NVME NOBODY "virt dm-1 253:1\ndm dm-1 cryptswap CRYPT-x\non dm-1 nvme0n1p2\n"
	  "swap /dev/mapper/cryptswap\n",
	  "0000:03:00.0 critical carries swap on /dev/mapper/cryptswap\n" },
	{ "disk open in a process",
	  NVME "process 4711 smartd\nopen 4711 3 /dev/nvme0n1\n",
	  "0000:03:00.0 critical /dev/nvme0n1 is open in process 4711 (smartd)\n" },
	{ "partition open in a process of another mount namespace",
	  NVME "process 4711 mysqld\nopen 4711 9 /var/lib/c/rootfs/dev/nvme0n1p1\n",
	  "0000:03:00.0 critical /dev/nvme0n1p1 is open in process 4711 (mysqld)\n" },
	{ "processes cannot be seen", NVME "link proc/2/fd fd\n",
	  "0000:03:00.0 unknown_carries whether a process has it open cannot be told\n" },
	{ "btrfs on several disks, told by the kernel",
	  NVME NVME_2 NOBODY "mount 0:40 /data btrfs /dev/nvme0n1p1\n"
	  "file sys/fs/btrfs/11-22/devices/nvme0n1p1 x\nfile sys/fs/btrfs/11-22/devices/nvme1n1 x\n",
	  "0000:03:00.0 critical carries /data (btrfs) on /dev/nvme0n1p1\n"
	  "0000:04:00.0 critical carries /data (btrfs) on /dev/nvme1n1\n" },
	{ "btrfs whose devices are not told",
	  NVME NVME_2 NOBODY "mount 0:40 /data btrfs /dev/nvme0n1p1\n",
	  "0000:03:00.0 critical carries /data (btrfs) on /dev/nvme0n1p1\n"
	  "0000:04:00.0 unknown_carries the other devices of the btrfs on /data are not told\n" },
	{ "btrfs mounted in another namespace",
	  NVME NOBODY "file sys/fs/btrfs/11-22/devices/nvme0n1p1 x\n",
	  "0000:03:00.0 critical carries a mounted btrfs on /dev/nvme0n1p1\n" },
	{ "btrfs from a source that is no device",
	  NVME NOBODY "mount 0:40 / btrfs /dev/root\n",
	  "0000:03:00.0 unknown_carries / (btrfs) is mounted from /dev/root, which is no device that\n"
	  "0000:03:00.0 unknown_carries the other devices of the btrfs on / are not told\n" },
	{ "ext4 mounted in another namespace", NVME NOBODY "file sys/fs/ext4/nvme0n1p2/errors_count 0\n",
	  "0000:03:00.0 critical carries a mounted ext4 on /dev/nvme0n1p2\n" },
	{ "bcachefs names its devices",
	  NVME NVME_2 NOBODY "mount 0:41 /b bcachefs /dev/nvme0n1:/dev/nvme1n1p1\n",
	  "0000:03:00.0 critical carries /b (bcachefs) on /dev/nvme0n1\n"
	  "0000:04:00.0 critical carries /b (bcachefs) on /dev/nvme1n1p1\n" },
	{ "xfs with a log of its own",
	  NVME NVME_2 NOBODY "mount 259:1 /x xfs /dev/nvme0n1p1 rw,logdev=/dev/nvme1n1p1,noquota\n",
	  "0000:03:00.0 critical carries /x (xfs) on /dev/nvme0n1p1\n"
	  "0000:04:00.0 critical carries /x (xfs) on /dev/nvme1n1p1\n" },
	{ "ZFS: a disk that nothing explains",
	  NVME NVME_2 NOBODY "mount 259:2 / ext4 /dev/nvme0n1p2\nmount 0:50 /tank zfs tank\n",
	  "0000:03:00.0 critical carries / (ext4)\n"
	  "0000:04:00.0 unknown_carries /dev/nvme1n1 may be in use: ZFS is in use\n" },
	{ "ZFS: a pool without a mount", NVME NOBODY "file proc/spl/kstat/zfs/tank/state ONLINE\n",
	  "0000:03:00.0 unknown_carries ZFS is in use\n" },
	{ "ZFS: the module alone", NVME NOBODY "file proc/spl/kstat/zfs/dbgmsg x\n", "" },
	{ "bcache: the backing disk",
	  NVME NOBODY "virt bcache0 254:0\non bcache0 nvme0n1p1\n"
	  "mount 254:0 /home ext4 /dev/bcache0\n",
	  "0000:03:00.0 critical carries /home (ext4) on /dev/bcache0\n" },
	{ "bcache: the cache",
	  NVME NOBODY "dir sys/devices/pci0000:00/0000:00:03.0/0000:03:00.0/host0/block/nvme0n1/"
	  "nvme0n1p1/bcache\n",
	  "0000:03:00.0 unknown_carries /dev/nvme0n1 is part of a bcache\n" },
	{ "multipath",
	  NOBODY "disk sda 0000:03:00.0 8:0\ndisk sdb 0000:04:00.0 8:16\nvirt dm-0 253:0\n"
	  "dm dm-0 mpatha mpath-3600508\non dm-0 sda\non dm-0 sdb\nvirt dm-1 253:1\n"
	  "dm dm-1 mpatha-part1 part1-mpath-3600508\non dm-1 dm-0\n"
	  "mount 253:1 /san xfs /dev/mapper/mpatha-part1\n",
	  "0000:03:00.0 unknown_carries carries /san (xfs) on /dev/mapper/mpatha-part1, behind multipath\n"
	  "0000:04:00.0 unknown_carries carries /san (xfs) on /dev/mapper/mpatha-part1, behind multipath\n" },
	{ "NVMe behind its subsystem",
	  NOBODY "dir sys/devices/virtual/nvme-subsystem/nvme-subsys0/nvme0n1/nvme0n1p1\n"
	  "link sys/devices/virtual/nvme-subsystem/nvme-subsys0/nvme0 "
	  "../../../pci0000:00/0000:00:03.0/0000:03:00.0/nvme/nvme0\n"
	  "link sys/class/block/nvme0n1 ../../devices/virtual/nvme-subsystem/nvme-subsys0/nvme0n1\n"
	  "link sys/class/block/nvme0n1p1 "
	  "../../devices/virtual/nvme-subsystem/nvme-subsys0/nvme0n1/nvme0n1p1\n"
	  "file sys/devices/virtual/nvme-subsystem/nvme-subsys0/nvme0n1/nvme0n1p1/dev 259:2\n"
	  "file sys/devices/virtual/nvme-subsystem/nvme-subsys0/nvme0n1/nvme0n1p1/partition 1\n"
	  "disk nvme0c0n1 0000:03:00.0 0:0\n"
	  "file sys/devices/pci0000:00/0000:00:03.0/0000:03:00.0/host0/block/nvme0c0n1/hidden 1\n"
	  "mount 259:2 / ext4 /dev/nvme0n1p1\nmount 0:50 /tank zfs tank\n",
	  "0000:03:00.0 critical carries / (ext4) on /dev/nvme0n1p1\n" },
	{ "loop on a disk",
	  NVME NOBODY "virt loop0 7:0\n"
	  "file sys/devices/virtual/block/loop0/loop/backing_file /dev/nvme0n1p2\n",
	  "0000:03:00.0 critical is part of /dev/loop0\n" },
	{ "exported over SCSI and NVMe",
	  NVME NVME_2 NOBODY "file sys/kernel/config/target/core/iblock_0/d0/udev_path /dev/nvme0n1\n"
	  "file sys/kernel/config/nvmet/subsystems/nqn.x/namespaces/1/device_path /dev/nvme1n1p1\n",
	  "0000:03:00.0 critical a disk exported over SCSI on /dev/nvme0n1\n"
	  "0000:04:00.0 critical a disk exported over NVMe on /dev/nvme1n1p1\n" },
	{ "LVM's names of volumes",
	  NVME NOBODY "virt dm-0 253:0\ndm dm-0 my--vg-swap LVM-x\non dm-0 nvme0n1p1\n"
	  "swap /dev/my-vg/swap\n",
	  "0000:03:00.0 critical carries swap on /dev/mapper/my--vg-swap\n" },
	{ "by a link of udev's",
	  NVME NOBODY "link dev/disk/by-uuid/AB ../../nvme0n1p1\nswap /dev/disk/by-uuid/AB\n",
	  "0000:03:00.0 critical carries swap on /dev/nvme0n1p1\n" },
	{ "swap that cannot be found", NVME NOBODY "swap /dev/nowhere\n",
	  "0000:03:00.0 unknown_carries there is swap on /dev/nowhere\n" },
	{ "a reader without a medium",
	  NOBODY "disk sdc 0000:00:14.0 8:32\nmount 0:50 /tank zfs tank\n"
	  "file sys/devices/pci0000:00/0000:00:14.0/host0/block/sdc/size 0\n", "" },
	{ "mounts cannot be read", NVME NOBODY "drop proc/1/mountinfo\n",
	  "0000:03:00.0 unknown_carries what is mounted cannot be told\n" },
	{ "swaps cannot be read", NVME NOBODY "drop proc/swaps\n",
	  "0000:03:00.0 unknown_carries what is swapped to cannot be told\n" },
	{ "no list of disks", "has 0000:00:17.0\nhas 0000:03:00.0\nhas 0000:05:00.0\n"
	  "drop sys/class/block\n",
	  "0000:00:17.0 unknown_carries its disks cannot be listed\n"
	  "0000:03:00.0 unknown_carries its disks cannot be listed\n" },
};

static const struct test_case consoles[] = {
	{ "no display is told", "", "" },
	{ "the firmware's display",
	  "file sys/devices/pci0000:00/0000:00:07.0/0000:07:00.0/boot_vga 1\n"
	  "file sys/devices/pci0000:00/0000:00:01.0/0000:01:00.0/boot_vga 0\n"
	  "file sys/class/tty/console/active tty0 ttyS0\n",
	  "0000:07:00.0 console_card the host's console is on it\n" },
	{ "the firmware's display with the framebuffer is told once",
	  "file sys/devices/pci0000:00/0000:00:07.0/0000:07:00.0/boot_vga 1\n"
	  "link sys/class/graphics/fb0 ../../devices/pci0000:00/0000:00:07.0/0000:07:00.0/graphics/fb0\n",
	  "0000:07:00.0 console_card the host's console is on it\n" },
	{ "the firmware's display, console on serial",
	  "file sys/devices/pci0000:00/0000:00:07.0/0000:07:00.0/boot_vga 1\n"
	  "file sys/class/tty/console/active ttyS0\n",
	  "0000:07:00.0 console_card it is the display of the firmware\n" },
	{ "fbcon on the card's framebuffer",
	  "link sys/class/graphics/fb0 ../../devices/pci0000:00/0000:00:01.0/0000:01:00.0/graphics/fb0\n"
	  "file sys/class/vtconsole/vtcon0/name (S) dummy device\n"
	  "file sys/class/vtconsole/vtcon0/bind 0\n"
	  "file sys/class/vtconsole/vtcon1/name (M) frame buffer device\n"
	  "file sys/class/vtconsole/vtcon1/bind 1\n",
	  "0000:01:00.0 console_card on its framebuffer, /dev/fb0\n" },
	{ "the console was taken off the framebuffer",
	  "link sys/class/graphics/fb0 ../../devices/pci0000:00/0000:00:01.0/0000:01:00.0/graphics/fb0\n"
	  "file sys/class/vtconsole/vtcon1/name (M) frame buffer device\n"
	  "file sys/class/vtconsole/vtcon1/bind 0\n", "" },
	{ "nothing but the dummy console is bound",
	  "link sys/class/graphics/fb0 ../../devices/pci0000:00/0000:00:01.0/0000:01:00.0/graphics/fb0\n"
	  "file sys/class/vtconsole/vtcon0/name (S) dummy device\n"
	  "file sys/class/vtconsole/vtcon0/bind 1\n", "" },
	{ "a firmware framebuffer that belongs to nobody, console on serial",
	  "link sys/class/graphics/fb0 ../../devices/platform/efi-framebuffer.0/graphics/fb0\n"
	  "file sys/class/vtconsole/vtcon1/name (M) frame buffer device\n"
	  "file sys/class/vtconsole/vtcon1/bind 1\nfile sys/class/tty/console/active ttyS0\n", "" },
	{ "a firmware framebuffer below the card (newer kernels)",
	  "link sys/class/graphics/fb0 "
	  "../../devices/pci0000:00/0000:00:01.0/0000:01:00.0/simple-framebuffer.0/graphics/fb0\n",
	  "0000:01:00.0 console_card on its framebuffer\n" },
	{ "a firmware framebuffer that belongs to nobody",
	  "link sys/class/graphics/fb0 ../../devices/platform/efi-framebuffer.0/graphics/fb0\n"
	  "file sys/class/vtconsole/vtcon1/name (M) frame buffer device\n"
	  "file sys/class/vtconsole/vtcon1/bind 1\n",
	  "0000:01:00.0 unknown_carries whose framebuffer /dev/fb0 is cannot be told\n"
	  "0000:07:00.0 unknown_carries whose framebuffer /dev/fb0 is cannot be told\n" },
	{ "the only card",
	  "drop sys/bus/pci/devices/0000:07:00.0\n"
	  "drop sys/devices/pci0000:00/0000:00:07.0/0000:07:00.0\n",
	  "0000:01:00.0 only_card it is the only card of the host\n" },
	{ "the only card, given to vfio",
	  "drop sys/bus/pci/devices/0000:07:00.0\n"
	  "drop sys/devices/pci0000:00/0000:00:07.0/0000:07:00.0\n"
	  "file sys/devices/pci0000:00/0000:00:01.0/0000:01:00.0/boot_vga 1\n"
	  "link sys/devices/pci0000:00/0000:00:01.0/0000:01:00.0/driver "
	  "../../../../bus/pci/drivers/vfio-pci\n", "" },
};

static void run(const struct test_case *cases, size_t n)
{
	struct described host;
	struct list facts;
	struct error err;

	for (size_t i = 0; i < n; i++) {
		described_make(&host, cases[i].host);
		assert_true(critical_find(&host.tree.root, host.inv, host.arena, &facts, &err) ==
			    (int)facts.n);
		described_expect(&facts, cases[i].name, cases[i].expected);
		described_expect_same(&host, cases[i].name, &facts);
		described_remove(&host);
	}
}

static void test_disks(void **state)
{
	(void)state;
	run(disks, ARRAY_SIZE(disks));
}

static void test_consoles(void **state)
{
	(void)state;
	run(consoles, ARRAY_SIZE(consoles));
}

/* Sorted by address, hard ones first, and never without end. */
static void test_order_and_limit(void **state)
{
	struct described host;
	struct list facts;
	struct error err;
	char text[16384];
	size_t at = 0;

	(void)state;
	at += (size_t)snprintf(text, sizeof(text), NVME "process 1 init\nopen 1 3 /dev/null\n"
			       "disk nvme2n1 0000:03:00.0 259:30\nmount 0:50 /tank zfs tank\n");
	for (int i = 0; i < 40; i++)
		at += (size_t)snprintf(text + at, sizeof(text) - at,
				       "virt dm-%d 253:%d\ndm dm-%d vg-v%d LVM-%d\non dm-%d nvme0n1p1\n"
				       "mount 253:%d /srv/%d ext4 /dev/mapper/vg-v%d\n", i, i, i, i,
				       i, i, i, i, i);
	described_make(&host, text);
	assert_int_equal(critical_find(&host.tree.root, host.inv, host.arena, &facts, &err), 16);
	for (size_t i = 0; i < facts.n; i++) {
		const struct critical *fact = (struct critical *)facts.items + i;

		assert_string_equal(fact->code, "critical");
		assert_true(strlen(fact->why) < CRITICAL_WHY);
		if (i == 15)
			assert_string_equal(fact->why, "carries 26 more things");
	}
	described_expect_same(&host, "many", &facts);
	described_remove(&host);
}

static void test_long_names_are_cut(void **state)
{
	struct described host;
	struct list facts;
	struct error err;
	char text[2048], point[700];

	(void)state;
	memset(point, 'x', sizeof(point) - 1);
	point[sizeof(point) - 1] = '\0';
	snprintf(text, sizeof(text), NVME "mount 259:1 /\\033%s ext4 /dev/nvme0n1p1\n", point);
	described_make(&host, text);
	assert_int_equal(critical_find(&host.tree.root, host.inv, host.arena, &facts, &err), 1);
	assert_true(strlen(((struct critical *)facts.items)->why) < CRITICAL_WHY);
	assert_non_null(strstr(((struct critical *)facts.items)->why, "/?xxx"));
	assert_non_null(strstr(((struct critical *)facts.items)->why, "…"));
	described_remove(&host);
}

/* Where nothing can be on the functions asked about, the host's disks and routes are not read. */
static void test_not_read_in_vain(void **state)
{
	static const char *const traps[] = { "proc/1/mountinfo", "proc/net/route", "proc/net/tcp",
					     "proc/swaps" };
	struct pci_address card = { .bus = 1 }, nic = { .bus = 5 };
	struct list addresses = { .items = &card, .n = 1 }, nics = { .items = &nic, .n = 1 };
	struct described host;
	struct list facts;
	struct error err;
	char path[128];

	(void)state;
	described_make(&host, NVME NOBODY "net eth0 0000:05:00.0\nroute eth0 0.0.0.0/0\n");
	for (size_t i = 0; i < ARRAY_SIZE(traps); i++) {
		snprintf(path, sizeof(path), "%s/%s", host.tree.path, traps[i]);
		assert_int_equal(unlink(path), 0);
	}
	assert_int_equal(critical_carried(&host.tree.root, &addresses, host.arena, &facts, &err), 0);
	/* they are gone: who does depend on them is told that it is not known */
	assert_true(critical_carried(&host.tree.root, &nics, host.arena, &facts, &err) > 0);
	assert_string_equal(((struct critical *)facts.items)->code, "unknown_carries");
	described_remove(&host);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_disks),
		cmocka_unit_test(test_consoles),
		cmocka_unit_test(test_order_and_limit),
		cmocka_unit_test(test_long_names_are_cut),
		cmocka_unit_test(test_not_read_in_vain),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
