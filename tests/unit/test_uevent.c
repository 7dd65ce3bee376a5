/* SPDX-License-Identifier: Apache-2.0 */
/* Uevents: which functions they touch, who may send them, and what an overrun means. */
#include "unit.h"

#include <linux/netlink.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "host/uevent.h"

#define MESSAGE(action, devpath, rest)                                                             \
	action "@" devpath "\0ACTION=" action "\0DEVPATH=" devpath "\0" rest

struct fixture {
	char dir[64], path[80];
	int fd, to;
	struct inventory_changes changes;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct error err = { 0 };

	snprintf(f->dir, sizeof(f->dir), "/tmp/horcrux-uevent-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->path, sizeof(f->path), "%s/socket", f->dir);
	f->fd = uevent_open(f->path, &err);
	if (f->fd < 0)
		fail_msg("%s", err.message);
	f->to = socket(AF_UNIX, SOCK_DGRAM, 0);
	memcpy(address.sun_path, f->path, strlen(f->path) + 1);
	assert_int_equal(connect(f->to, (struct sockaddr *)&address, sizeof(address)), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	close(f->fd);
	close(f->to);
	unlink(f->path);
	rmdir(f->dir);
	arena_free(f->changes.arena);
	free(f);
	return 0;
}

static void send_bytes(struct fixture *f, const char *bytes, size_t n)
{
	assert_int_equal(send(f->to, bytes, n, 0), n);
}

/* Sends one message and gives what it touched as text; "" for nothing. */
static const char *touched_by(struct fixture *f, const char *bytes, size_t n)
{
	static char text[256];
	char address[PCI_ADDRESS_TEXT];
	size_t at = 0;

	f->changes.addresses = (struct list){ 0 };
	send_bytes(f, bytes, n);
	assert_int_equal(uevent_drain(f->fd, &f->changes, NULL), 1);
	text[0] = '\0';
	for (LIST_EACH(struct pci_address, a, &f->changes.addresses))
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%s", at ? " " : "",
				       pci_address_format(*a, address));
	return text;
}

#define CARD "/devices/pci0000:00/0000:00:03.0/0000:08:00.4"

static void finds_the_function(void **state)
{
	static const struct {
		const char *bytes;
		size_t n;
		const char *touched;
	} cases[] = {
#define CASE(touched, ...) { MESSAGE(__VA_ARGS__), sizeof(MESSAGE(__VA_ARGS__)) - 1, touched }
		CASE("0000:08:00.4", "bind", CARD, "SUBSYSTEM=pci\0DRIVER=vfio-pci\0"),
		CASE("0000:08:00.4", "unbind", CARD, "SUBSYSTEM=pci\0"),
		CASE("0000:08:00.4", "add", CARD, "SUBSYSTEM=pci\0PCI_SLOT_NAME=0000:08:00.4\0"),
		CASE("0000:08:00.4", "remove", CARD, "SUBSYSTEM=pci\0"),
		CASE("0000:08:00.4", "change", CARD, "SUBSYSTEM=pci\0MDEV_STATE=registered\0"),
		CASE("0000:08:00.4", "add", CARD "/f715f63c-0d00-4007-9c5a-b07b0c6c05de",
		     "SUBSYSTEM=mdev\0"),
		CASE("0000:08:00.4", "add", CARD "/vfio-dev/vfio3", "SUBSYSTEM=vfio-dev\0"),
		CASE("0000:08:00.4", "change", CARD "/drm/card1", "SUBSYSTEM=drm\0HOTPLUG=1\0"),
		CASE("10000:e1:00.0", "add",
		     "/devices/pci0000:00/0000:00:0e.0/pci10000:e0/10000:e0:06.0/10000:e1:00.0",
		     "SUBSYSTEM=pci\0"),
		CASE("0000:08:00.4 0000:07:00.0", "move", CARD,
		     "SUBSYSTEM=pci\0DEVPATH_OLD=/devices/pci0000:00/0000:07:00.0\0"),
		CASE("", "add", "/devices/virtual/vfio/38", "SUBSYSTEM=vfio\0"),
		CASE("", "add", CARD "/net/eth0", "SUBSYSTEM=net\0"),
		CASE("", "add", CARD, "SUBSYSTEM=pci_express\0"),
		CASE("", "add", "/devices/virtual/drm/ttm", "SUBSYSTEM=drm\0"),
		CASE("", "add", "/module/vfio_pci", "SUBSYSTEM=module\0"),
		CASE("", "add", "0000:08:00.0x", "SUBSYSTEM=pci\0"),
		{ "", 0, "" },
		{ "libudev\0\xfe\xed\xca\xfe", 12, "" },
		{ "DEVPATH=" CARD, sizeof("DEVPATH=" CARD) - 1, "" },
		{ "SUBSYSTEM=pci\0DEVPATH=", 22, "" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_string_equal(touched_by(*state, cases[i].bytes, cases[i].n),
				    cases[i].touched);
}

static void takes_all_and_each_once(void **state)
{
	static const char first[] = MESSAGE("unbind", CARD, "SUBSYSTEM=pci\0");
	static const char second[] = MESSAGE("bind", CARD, "SUBSYSTEM=pci\0");
	static const char third[] = MESSAGE("add", "/devices/pci0000:00/0000:00:02.0",
					    "SUBSYSTEM=pci\0");
	struct fixture *f = *state;

	assert_int_equal(uevent_drain(f->fd, &f->changes, NULL), 0);
	assert_int_equal(f->changes.addresses.n, 0);
	send_bytes(f, first, sizeof(first) - 1);
	send_bytes(f, second, sizeof(second) - 1);
	send_bytes(f, third, sizeof(third) - 1);
	assert_int_equal(uevent_drain(f->fd, &f->changes, NULL), 3);
	assert_int_equal(f->changes.addresses.n, 2);
	assert_false(f->changes.all);
}

/* Past the maximum of addresses, everything is read: nothing is lost. */
static void many_become_all(void **state)
{
	struct fixture *f = *state;
	char message[256];
	int n;

	for (int i = 0; i < 1030; i++) {
		n = snprintf(message, sizeof(message),
			     "add@x%cDEVPATH=/devices/pci0000:00/0000:%02x:%02x.%x%cSUBSYSTEM=pci",
			     0, i >> 8, i >> 3 & 31, i & 7, 0);
		send_bytes(f, message, (size_t)n + 1);
		assert_int_equal(uevent_drain(f->fd, &f->changes, NULL), 1);
		assert_int_equal(f->changes.all, i >= 1024);
	}
	assert_true(f->changes.addresses.n <= 1024);
}

/* A second start finds the socket of the first, and takes its place. */
static void replaces_a_stale_socket(void **state)
{
	struct fixture *f = *state;
	struct stat st;
	int fd = uevent_open(f->path, NULL);

	assert_true(fd >= 0);
	assert_int_equal(stat(f->path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
	close(fd);
}

static void says_why_it_cannot_listen(void **state UNUSED)
{
	char path[200];
	struct error err = { 0 };

	assert_int_equal(uevent_open("/nonexistent/dir/socket", &err), -1);
	assert_int_equal(err.code, ERROR_SYSTEM);
	memset(path, 'x', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	assert_int_equal(uevent_open(path, &err), -1);
	assert_int_equal(err.code, ERROR_USAGE);
}

/* What a process sends to the kernel's socket is counted, and believed by nobody. */
static void believes_only_the_kernel(void **state UNUSED)
{
	static const char message[] = MESSAGE("add", CARD, "SUBSYSTEM=pci\0");
	struct sockaddr_nl mine = { 0 }, all = { .nl_family = AF_NETLINK };
	socklen_t size = sizeof(mine);
	struct inventory_changes changes = { 0 };
	struct error err = { 0 };
	CLEAN_FD int fd = uevent_open(NULL, &err);
	CLEAN_FD int to = socket(AF_NETLINK, SOCK_RAW, NETLINK_KOBJECT_UEVENT);
	ssize_t n;

	if (fd < 0)
		fail_msg("%s", err.message);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&mine, &size), 0);
	assert_int_equal(mine.nl_groups, 1);
	all.nl_pid = mine.nl_pid;
	n = sendto(to, message, sizeof(message) - 1, 0, (struct sockaddr *)&all, sizeof(all));
	if (n < 0) {
		assert_int_equal(errno, EPERM); /* not root: the kernel does not even let it */
		return;
	}
	assert_true(uevent_drain(fd, &changes, &err) >= 1);
	for (LIST_EACH(struct pci_address, a, &changes.addresses))
		assert_false(a->bus == 8 && a->function == 4);
	arena_free(changes.arena);
}

enum { OVERRUN_OK, OVERRUN_NOT_TOLD, OVERRUN_NO_NAMESPACE, FLOOD = 4096 };

/* In a network namespace of its own, so that nobody else hears it. */
static int flood(void)
{
	static const char message[] = MESSAGE("add", CARD, "SUBSYSTEM=pci\0");
	struct sockaddr_nl group = { .nl_family = AF_NETLINK, .nl_groups = 1 };
	struct inventory_changes changes = { 0 };
	int fd, to, bytes = 1, ret;

	if (unshare(CLONE_NEWNET) && unshare(CLONE_NEWUSER | CLONE_NEWNET))
		return OVERRUN_NO_NAMESPACE;
	fd = uevent_open(NULL, NULL);
	to = socket(AF_NETLINK, SOCK_RAW, NETLINK_KOBJECT_UEVENT);
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes));
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
	for (int i = 0; i < FLOOD; i++)
		sendto(to, message, sizeof(message) - 1, MSG_DONTWAIT, (struct sockaddr *)&group,
		       sizeof(group));
	ret = uevent_drain(fd, &changes, NULL) >= 0 && changes.all && !changes.addresses.n
		      ? OVERRUN_OK
		      : OVERRUN_NOT_TOLD;
	close(fd);
	close(to);
	arena_free(changes.arena);
	return ret;
}

/* Events were lost: nothing that is known can be trusted any more. */
static void an_overrun_means_all(void **state UNUSED)
{
	pid_t child = fork();
	int status;

	if (!child)
		_exit(flood());
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == OVERRUN_NO_NAMESPACE) {
		printf("skipped: no network namespace can be made here\n");
		skip();
	}
	assert_int_equal(WEXITSTATUS(status), OVERRUN_OK);
}

int main(void)
{
#define SOCKET_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		SOCKET_TEST(finds_the_function),
		SOCKET_TEST(takes_all_and_each_once),
		SOCKET_TEST(many_become_all),
		SOCKET_TEST(replaces_a_stale_socket),
		cmocka_unit_test(says_why_it_cannot_listen),
		cmocka_unit_test(believes_only_the_kernel),
		cmocka_unit_test(an_overrun_means_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
