/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Uevents: "action@devpath\0KEY=value\0KEY=value\0…" in one datagram (lib/kobject_uevent.c). Only
 * the PCI function that an event happened on, or below, is taken from it: what changed there is
 * read, never believed.
 */
#include "host/uevent.h"

#include <errno.h>
#include <linux/netlink.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

enum {
	KERNEL_GROUP = 1,	  /* 2 is udev's */
	MESSAGE_BYTES = 8192,	  /* the kernel's are at most 2 KiB, and a path */
	RECEIVE_BUFFER = 4 << 20, /* an SR-IOV switch-on sends hundreds at once */
	DRAIN_MAX = 4096,	  /* then others get their turn; the rest keeps it readable */
	ADDRESSES_MAX = 1024,	  /* past that, reading everything is cheaper */
	SOCKET_MODE = 0600,
};

/* Sorted. What happens in the others changes nothing that the inventory knows. */
static const char *const subsystems[] = { "drm", "mdev", "pci", "vfio", "vfio-dev" };

static int open_netlink(struct error *err)
{
	struct sockaddr_nl address = { .nl_family = AF_NETLINK, .nl_groups = KERNEL_GROUP };
	CLEAN_FD int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK,
				 NETLINK_KOBJECT_UEVENT);
	int bytes = RECEIVE_BUFFER;

	if (fd < 0)
		return error_errno(err, ERROR_SYSTEM, errno, "no socket for uevents");
	/* Without the capability, as much as anybody may have. An overrun is noticed either way. */
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)))
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)))
		return error_errno(err, ERROR_SYSTEM, errno, "cannot listen to uevents");
	return TAKE_FD(fd);
}

static int open_socket(const char *path, struct error *err)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	CLEAN_FD int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return error_errno(err, ERROR_SYSTEM, errno, "no socket for uevents");
	if (strlen(path) >= sizeof(address.sun_path))
		return error_set(err, ERROR_USAGE, "the path of the uevent socket is too long");
	memcpy(address.sun_path, path, strlen(path) + 1);
	unlink(path);
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) || chmod(path, SOCKET_MODE))
		return error_errno(err, ERROR_SYSTEM, errno, "cannot listen to uevents at %s",
				   path);
	return TAKE_FD(fd);
}

int uevent_open(const char *socket_path, struct error *err)
{
	return socket_path ? open_socket(socket_path, err) : open_netlink(err);
}

/* The value of KEY= among the strings of a message, or NULL. */
static const char *value_of(const char *message, size_t n, const char *key)
{
	size_t length = strlen(key);

	for (size_t at = 0; at < n; at += strlen(message + at) + 1)
		if (!strncmp(message + at, key, length) && message[at + length] == '=')
			return message + at + length + 1;
	return NULL;
}

static bool known_subsystem(const char *subsystem)
{
	for (size_t i = 0; subsystem && i < ARRAY_SIZE(subsystems); i++)
		if (!strcmp(subsystem, subsystems[i]))
			return true;
	return false;
}

static void touch(struct inventory_changes *changes, struct pci_address address)
{
	if (changes->all)
		return;
	for (LIST_EACH(struct pci_address, known, &changes->addresses))
		if (pci_address_equal(*known, address))
			return;
	if (changes->addresses.n >= ADDRESSES_MAX) {
		changes->all = true;
		return;
	}
	if (!changes->arena)
		changes->arena = arena_new();
	*list_add(changes->arena, &changes->addresses, struct pci_address) = address;
}

/* The innermost PCI function of "/devices/pci0000:00/0000:00:03.0/0000:08:00.4/<uuid>". */
static void touch_path(struct inventory_changes *changes, const char *devpath)
{
	char part[PCI_ADDRESS_TEXT];
	struct pci_address address;
	const char *end = devpath + strlen(devpath), *start;

	for (; end > devpath; end = start - 1) {
		start = memrchr(devpath, '/', (size_t)(end - devpath));
		start = start ? start + 1 : devpath;
		if ((size_t)(end - start) < sizeof(part)) {
			memcpy(part, start, (size_t)(end - start));
			part[end - start] = '\0';
			if (pci_address_parse(part, &address)) {
				touch(changes, address);
				return;
			}
		}
		if (start == devpath)
			return;
	}
}

static void take(struct inventory_changes *changes, const char *message, size_t n)
{
	const char *devpath = value_of(message, n, "DEVPATH"), *old;

	if (!devpath || !known_subsystem(value_of(message, n, "SUBSYSTEM")))
		return;
	touch_path(changes, devpath);
	old = value_of(message, n, "DEVPATH_OLD"); /* moved */
	if (old)
		touch_path(changes, old);
}

/* Only the kernel's own messages count; a process can send to the group too. */
static bool from_kernel(const struct sockaddr_storage *from)
{
	const struct sockaddr_nl *nl = (const void *)from;

	return from->ss_family != AF_NETLINK || (!nl->nl_pid && nl->nl_groups == KERNEL_GROUP);
}

int uevent_drain(int fd, struct inventory_changes *changes, struct error *err)
{
	struct sockaddr_storage from;
	char message[MESSAGE_BYTES + 1];
	socklen_t from_size;
	int messages = 0;
	ssize_t n;

	while (messages < DRAIN_MAX) {
		from = (struct sockaddr_storage){ .ss_family = AF_UNIX };
		from_size = sizeof(from);
		n = recvfrom(fd, message, MESSAGE_BYTES, 0, (struct sockaddr *)&from, &from_size);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == ENOBUFS) {
			changes->all = true;
			continue;
		}
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0)
			return error_errno(err, ERROR_SYSTEM, errno, "uevents cannot be read");
		messages++;
		message[n] = '\0';
		if (from_kernel(&from))
			take(changes, message, (size_t)n);
	}
	return messages;
}
