/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the kernel's numbers mean to people. One table, by operation and errno; what is not in it
 * keeps the C library's words. Sources: drivers/base/bus.c and dd.c,
 * drivers/pci/{pci-driver,pci-sysfs,iov}.c, drivers/vfio/, drivers/vfio/mdev/, Linux 6.1 and 6.12.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "plan/privd_client.h"

/* The act, for messages: %a the address, %n the name, %v the number. */
static const char *const acts[PRIVD_OPS] = {
	[PRIVD_PING] = "asking horcrux-privd",
	[PRIVD_CHAIN] = "several operations",
	[PRIVD_LIVE] = "asking horcrux-privd what it does",
	[PRIVD_OVERRIDE] = "setting driver_override of %a",
	[PRIVD_UNBIND] = "unbinding %a from its driver",
	[PRIVD_BIND] = "binding %a to %n",
	[PRIVD_PROBE] = "letting the kernel find a driver for %a",
	[PRIVD_VFS] = "making %v virtual functions of %a",
	[PRIVD_VF_AUTOPROBE] = "setting sriov_drivers_autoprobe of %a",
	[PRIVD_MDEV_CREATE] = "making a %n on %a",
	[PRIVD_MDEV_REMOVE] = "removing a mediated device of %a",
	[PRIVD_VF_TYPE] = "setting the vGPU type of %a to %v",
	[PRIVD_POWER] = "setting power/control of %a",
	[PRIVD_D3COLD] = "setting d3cold_allowed of %a",
	[PRIVD_RESET] = "resetting %a",
	[PRIVD_RESET_METHOD] = "choosing the reset method of %a",
	[PRIVD_REMOVE] = "taking %a off the bus",
	[PRIVD_RESCAN] = "looking for devices below %a",
	[PRIVD_UNBIND_LOCK] = "asking the nvidia driver to let nobody else use %a",
	[PRIVD_RESCAN_ALL] = "looking for devices",
	[PRIVD_MODULE] = "loading module %n",
	[PRIVD_HUGEPAGES] = "setting huge pages to %v",
	[PRIVD_READ_OVERRIDE] = "reading driver_override of %a",
	[PRIVD_READ_CONFIG] = "reading the configuration space of %a",
	[PRIVD_READ_ROM] = "reading the option ROM of %a",
	[PRIVD_READ_VFIO] = "asking VFIO about group %v",
	[PRIVD_READ_TYPES] = "reading what %a can be cut into",
	[PRIVD_READ_VF_TYPES] = "reading what the VFs are set to",
	[PRIVD_READ_IOMEM] = "reading /proc/iomem",
	[PRIVD_READ_HOLDERS] = "looking who has the card open",
	[PRIVD_READ_CRITICAL] = "looking what the host lives on",
	[PRIVD_VIABLE] = "seeing that VFIO accepts group %v",
	[PRIVD_READ_LOCK] = "reading the nvidia driver's lock on %a",
};

/* include/linux/errno.h: never meant for user space, but seen */
enum { KERNEL_EPROBE_DEFER = 517 };

struct meaning {
	enum privd_op op; /* PRIVD_NONE: any */
	int error;
	enum error_code code;
	const char *text;
	const char *hint; /* NULL: none */
};

/* The first row that fits counts. */
static const struct meaning meanings[] = {
	{ PRIVD_UNBIND, ENODEV, ERROR_CONFLICT, "it is not on that driver any more",
	  "somebody else changed it meanwhile; look at it and try again" },
	{ PRIVD_BIND, ENODEV, ERROR_CONFLICT, "the driver does not accept this device",
	  "its driver_override names another driver, or the driver does not know this card" },
	{ PRIVD_BIND, EBUSY, ERROR_CONFLICT,
	  "the device is taken: it is on a driver already, or its IOMMU group belongs to a VM, or "
	  "it has VFs",
	  "stop the VM that has a card of this group, or take the VFs away first; "
	  "`horcrux gpu group` shows who is in the group" },
	{ PRIVD_BIND, EINVAL, ERROR_CONFLICT, "the driver refuses this device",
	  "vfio-pci takes no bridges and nothing without an IOMMU group (is the IOMMU on?), and a "
	  "vGPU VF has to stay on nvidia" },
	{ PRIVD_BIND, EAGAIN, ERROR_CONFLICT, "the driver waits for another device first",
	  "try again in a moment" },
	{ PRIVD_BIND, KERNEL_EPROBE_DEFER, ERROR_CONFLICT,
	  "the driver waits for another device first", "try again in a moment" },
	{ PRIVD_BIND, EIO, ERROR_CONFLICT, "the device does not answer its driver",
	  "the card may need a reset or a power cycle; the kernel's log says more" },
	{ PRIVD_VFS, ENOENT, ERROR_CONFLICT, "no driver is bound that can make virtual functions",
	  "bind the card to its host driver, and load that with SR-IOV switched on" },
	{ PRIVD_VFS, EBUSY, ERROR_CONFLICT,
	  "it has virtual functions already, and another number of them", "take those away first" },
	{ PRIVD_VFS, ERANGE, ERROR_INVALID_VALUE, "the card cannot have so many", NULL },
	{ PRIVD_VFS, ENOMEM, ERROR_CONFLICT, "there is no address space for them",
	  "switch on Above 4G Decoding and SR-IOV in the firmware, or boot with pci=realloc" },
	{ PRIVD_MDEV_CREATE, EEXIST, ERROR_EXISTS, "there is a device with that UUID already",
	  NULL },
	{ PRIVD_MDEV_CREATE, ENOSPC, ERROR_CONFLICT, "the card has no room for another one", NULL },
	{ PRIVD_MDEV_CREATE, EUSERS, ERROR_CONFLICT, "the card has no room for another one", NULL },
	{ PRIVD_MDEV_CREATE, EIO, ERROR_CONFLICT, "the vendor's driver refused",
	  "the card may carry types of another size, or lack a licence; see the log of "
	  "nvidia-vgpu-mgr" },
	{ PRIVD_MDEV_CREATE, EINVAL, ERROR_CONFLICT, "the vendor's driver refused",
	  "the card may carry types of another size; see the log of nvidia-vgpu-mgr" },
	{ PRIVD_MDEV_REMOVE, ENOENT, ERROR_GONE, "there is no such device", NULL },
	{ PRIVD_MDEV_REMOVE, EAGAIN, ERROR_CONFLICT, "it is in use", "stop the VM that has it" },
	{ PRIVD_MDEV_REMOVE, EBUSY, ERROR_CONFLICT, "it is in use", "stop the VM that has it" },
	{ PRIVD_VF_TYPE, EPERM, ERROR_CONFLICT, "it is in use", "stop the VM that has it" },
	{ PRIVD_VF_TYPE, ENOENT, ERROR_CONFLICT, "it is no VF that the vGPU driver offers", NULL },
	{ PRIVD_RESET, ENOTTY, ERROR_CONFLICT, "it has no way to be reset", NULL },
	{ PRIVD_RESET, ENOENT, ERROR_CONFLICT, "it has no way to be reset", NULL },
	{ PRIVD_RESET_METHOD, EINVAL, ERROR_CONFLICT, "the card has no such method", NULL },
	{ PRIVD_UNBIND_LOCK, ENOENT, ERROR_CONFLICT, "the nvidia driver has no unbindLock for it",
	  "without it nobody can tell whether unbinding would hang: update the driver" },
	{ PRIVD_MODULE, ENOENT, ERROR_CONFLICT, "this kernel has no such module",
	  "install the package of kernel modules for the running kernel" },
	{ PRIVD_MODULE, ELIBACC, ERROR_HELPER, "libkmod is missing", "apt install libkmod2" },
	{ PRIVD_MODULE, EPERM, ERROR_CONFLICT,
	  "it is on a blacklist, or the kernel loads no modules",
	  "see /etc/modprobe.d and /proc/sys/kernel/modules_disabled" },
	{ PRIVD_HUGEPAGES, ENOENT, ERROR_INVALID_VALUE, "this host has no huge pages of that size",
	  NULL },
	{ PRIVD_READ_VFIO, ENOENT, ERROR_CONFLICT, "the group has no file under /dev/vfio",
	  "none of its devices is on vfio-pci, or udev has not made the file yet" },
	{ PRIVD_READ_ROM, ENOENT, ERROR_CONFLICT, "the card has no option ROM", NULL },
	{ PRIVD_READ_ROM, EIO, ERROR_CONFLICT, "the card does not give its option ROM",
	  "give the VM a ROM file instead" },
	{ PRIVD_READ_ROM, EINVAL, ERROR_CONFLICT, "the card does not give its option ROM",
	  "give the VM a ROM file instead" },
	{ PRIVD_NONE, ENODEV, ERROR_GONE, "the device is not there any more", NULL },
	{ PRIVD_NONE, ENOENT, ERROR_CONFLICT, "this kernel or this device has no such file", NULL },
	{ PRIVD_NONE, EACCES, ERROR_HELPER, "horcrux-privd is not allowed to",
	  "it has to run as root, by its own unit" },
	{ PRIVD_NONE, EPERM, ERROR_HELPER, "horcrux-privd is not allowed to",
	  "it has to run as root, by its own unit; a locked-down kernel (Secure Boot) may refuse "
	  "root too" },
	{ PRIVD_NONE, EROFS, ERROR_READ_ONLY, "the file system is read-only", NULL },
	{ PRIVD_NONE, ENOSPC, ERROR_STORE, "there is no room under /run", "free some space there" },
	{ PRIVD_NONE, ENOMEM, ERROR_SYSTEM, "memory is out", NULL },
	{ PRIVD_NONE, EBUSY, ERROR_CONFLICT, "the device is busy", NULL },
};

static void expand(const struct privd_request *r, char *buf, size_t size)
{
	const char *act = r->header.op < PRIVD_OPS ? acts[r->header.op] : NULL;
	char address[PCI_ADDRESS_TEXT], number[24];
	size_t n = 0;

	pci_address_format(privd_address_in(r->address), address);
	snprintf(number, sizeof(number), "%llu", (unsigned long long)r->value);
	for (act = act ?: "it"; *act && n + 1 < size; act++) {
		const char *piece = *act != '%'	    ? NULL
				    : act[1] == 'a' ? address
				    : act[1] == 'n' ? r->name
						    : number;

		if (!piece) {
			buf[n++] = *act;
			continue;
		}
		n += (size_t)snprintf(buf + n, size - n, "%s", piece);
		if (n >= size)
			n = size - 1;
		act++;
	}
	buf[n] = '\0';
}

static int failed(const struct privd_request *request, int error, const char *act,
		  struct error *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(meanings); i++) {
		const struct meaning *m = &meanings[i];

		if ((m->op && m->op != request->header.op) || m->error != error)
			continue;
		error_set(err, m->code, "%s: %s", act, m->text);
		return m->hint ? error_hint(err, "%s", m->hint) : -1;
	}
	return error_errno(err, ERROR_SYSTEM, error, "%s", act);
}

static int stuck(const struct privd_reply *reply, const char *act, struct error *err)
{
	error_set(err, ERROR_STUCK, "%s does not come back (process %u waits in the kernel)", act,
		  (unsigned)reply->pid);
	return error_hint(
		err, "something still uses the device: end what holds it (a VM, a display server, "
		     "a CUDA program, nvidia-persistenced) and it goes on by itself; else only a "
		     "reboot helps");
}

static int no_driver(const struct privd_request *request, const char *act, struct error *err)
{
	if (request->header.op == PRIVD_MODULE)
		return error_set(err, ERROR_INVALID_VALUE, "%s: that is no module Horcrux loads",
				 act);
	if (request->header.op == PRIVD_MDEV_CREATE)
		return error_set(err, ERROR_CONFLICT, "%s: the card offers no such type now", act);
	error_set(err, ERROR_CONFLICT, "%s: the kernel has no PCI driver \"%s\" now", act,
		  request->name);
	return error_hint(err, "load its module: modprobe %s", request->name);
}

static int unbind_lock(const struct privd_request *request, const char *act, struct error *err)
{
	if (!request->value)
		return error_set(err, ERROR_PROOF_FAILED, "%s: the lock is still there", act);
	error_set(err, ERROR_CONFLICT, "%s: somebody uses it", act);
	return error_hint(err, "end what uses it: Xorg, CUDA programs, nvidia-persistenced, DCGM");
}

int privd_error(const struct privd_request *request, const struct privd_reply *reply,
		const char *why, struct error *err)
{
	char act[128];

	expand(request, act, sizeof(act));
	switch ((enum privd_status)reply->status) {
	case PRIVD_FAILED:
		return failed(request, reply->error, act, err);
	case PRIVD_STUCK:
		return stuck(reply, act, err);
	case PRIVD_BUSY:
		return error_set(err, ERROR_CONFLICT, "%s: another change of it is under way", act);
	case PRIVD_READ_ONLY:
		error_set(err, ERROR_READ_ONLY, "%s: this host root is a directory of plain files",
			  act);
		return error_hint(err, "only a real or a fake kernel's /sys can be written to");
	case PRIVD_NO_DEVICE:
		return error_set(err, ERROR_GONE, "%s: there is no such device", act);
	case PRIVD_BRIDGE:
		return error_set(err, ERROR_INVALID_VALUE,
				 "%s: it is a bridge, which is never touched", act);
	case PRIVD_NO_DRIVER:
		return no_driver(request, act, err);
	case PRIVD_RANGE:
		return error_set(err, ERROR_INVALID_VALUE, "%s: the number is out of range", act);
	case PRIVD_MISMATCH:
		if (request->header.op == PRIVD_UNBIND_LOCK)
			return unbind_lock(request, act, err);
		return error_set(err, ERROR_PROOF_FAILED,
				 "%s: it was written and reads back otherwise", act);
	case PRIVD_NOT_HERE:
		return error_set(err, ERROR_READ_ONLY, "%s: that is done on a real host only", act);
	case PRIVD_TOO_MANY:
		error_set(err, ERROR_TOO_MANY, "%s: too many operations wait in the kernel", act);
		return error_hint(err, "only a reboot clears those");
	case PRIVD_DIED:
		error_set(err, ERROR_HELPER,
			  "%s: the process that did it was killed, so it is not known "
			  "whether it was done",
			  act);
		return error_hint(err, "see the kernel's log: a driver may have crashed");
	case PRIVD_UNREADABLE:
		return error_set(err, ERROR_SYSTEM, "%s: %s", act,
				 why && *why ? why : "not all could be read");
	case PRIVD_NO_ANSWER:
		error_set(err, ERROR_NO_ANSWER, "%s: its configuration space reads ff, so it does not answer",
			  act);
		return error_hint(err, "it is in quarantine now: power-cycle the host, then release it "
				       "(POST /api/gpu/devices/…/release-quarantine)");
	case PRIVD_HELD:
		return error_set(err, ERROR_CONFLICT, "%s: somebody has it open", act);
	default:
		return error_set(err, ERROR_HELPER, "%s: horcrux-privd gave no sense", act);
	}
}
