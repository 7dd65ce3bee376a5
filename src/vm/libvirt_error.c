/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libvirt's errors as ours: a table from its numbers and words to a code and what to do. Its text
 * is kept, in one line and without what tells nobody anything. Pure, but for the thread's last
 * error.
 */
#include <string.h>

#include "vm/libvirt_parts.h"

#define START_IT "start it: systemctl start libvirtd.socket (or virtqemud.socket)"
#define JOIN_IT                                                                                    \
	"put the daemon's user into group libvirt: adduser horcruxd libvirt, then restart it"

/* The first row that fits decides. number -1: any; words NULL: any. */
static const struct {
	int number;
	const char *words;
	enum error_code code;
	const char *hint;
} rows[] = {
	{ VIR_ERR_NO_DOMAIN, NULL, ERROR_NOT_FOUND, "it is not running" },
	{ VIR_ERR_NO_STORAGE_POOL, NULL, ERROR_NOT_FOUND, "starting a VM makes the pool" },
	{ VIR_ERR_NO_STORAGE_VOL, NULL, ERROR_NOT_FOUND,
	  "virsh vol-list horcrux shows what there is" },
	{ VIR_ERR_NO_NETWORK, NULL, ERROR_NOT_FOUND,
	  "install libvirt's default network: apt install libvirt-daemon-config-network" },
	{ VIR_ERR_DOM_EXIST, NULL, ERROR_EXISTS, "virsh list --all shows it" },
	{ VIR_ERR_STORAGE_VOL_EXIST, NULL, ERROR_EXISTS, "nothing that exists is overwritten" },
	{ VIR_ERR_NETWORK_EXIST, NULL, ERROR_EXISTS, "virsh net-list --all shows it" },
	{ VIR_ERR_OPERATION_FAILED, "already exists", ERROR_EXISTS, "virsh list --all shows it" },
	{ VIR_ERR_OPERATION_INVALID, "already exists", ERROR_EXISTS,
	  "nothing that exists is overwritten" },
	{ VIR_ERR_OPERATION_INVALID, "already active", ERROR_EXISTS, "virsh list --all shows it" },
	{ VIR_ERR_OPERATION_FAILED, "already active", ERROR_EXISTS, "virsh list --all shows it" },
	{ VIR_ERR_OPERATION_FAILED, "already defined", ERROR_EXISTS,
	  "virsh pool-list --all and virsh net-list --all show it" },
	{ VIR_ERR_OPERATION_INVALID, "in use by", ERROR_CONFLICT, "stop what uses it first" },
	{ VIR_ERR_OPERATION_TIMEOUT, NULL, ERROR_CONFLICT,
	  "something else is being done to it; try again when that is over" },
	{ VIR_ERR_OPERATION_INVALID, NULL, ERROR_CONFLICT, "its state does not allow it now" },
	{ VIR_ERR_RESOURCE_BUSY, NULL, ERROR_CONFLICT, "try again when it is free" },
	{ VIR_ERR_XML_INVALID_SCHEMA, NULL, ERROR_INTERNAL,
	  "this libvirt does not understand what Horcrux asked; please report it with this text" },
	{ VIR_ERR_XML_ERROR, NULL, ERROR_INTERNAL,
	  "this libvirt does not understand what Horcrux asked; please report it with this text" },
	{ VIR_ERR_XML_DETAIL, NULL, ERROR_INTERNAL,
	  "this libvirt does not understand what Horcrux asked; please report it with this text" },
	{ VIR_ERR_AUTH_UNAVAILABLE, NULL, ERROR_LIBVIRT, JOIN_IT },
	{ VIR_ERR_AUTH_FAILED, NULL, ERROR_LIBVIRT, JOIN_IT },
	{ VIR_ERR_AUTH_CANCELLED, NULL, ERROR_LIBVIRT, JOIN_IT },
	{ VIR_ERR_ACCESS_DENIED, NULL, ERROR_LIBVIRT, JOIN_IT },
	{ VIR_ERR_SYSTEM_ERROR, "-sock': Permission denied", ERROR_LIBVIRT, JOIN_IT },
	{ VIR_ERR_SYSTEM_ERROR, "Failed to connect socket to", ERROR_LIBVIRT, START_IT },
	{ VIR_ERR_NO_CONNECT, NULL, ERROR_LIBVIRT, START_IT },
	{ -1, "set iommu for container", ERROR_LIBVIRT_FAILED,
	  "the IOMMU cannot remap interrupts, most likely: horcrux gpu iommu says more" },
	{ -1, "is not viable", ERROR_CONFLICT,
	  "another device of the card's group is on a host driver: horcrux gpu group shows it" },
	{ -1, "VFIO_MAP_DMA", ERROR_LIBVIRT_FAILED,
	  "the guest's memory cannot be pinned: give it less, or free some on the host" },
	{ -1, "cannot set up guest memory", ERROR_LIBVIRT_FAILED,
	  "there is not enough memory: give the VM less, or free some on the host" },
	{ -1, "Cannot allocate memory", ERROR_LIBVIRT_FAILED,
	  "there is not enough memory: give the VM less, or free some on the host" },
	{ -1, "Unable to find any firmware", ERROR_LIBVIRT_FAILED,
	  "install UEFI for guests: apt install ovmf" },
	{ -1, "Unable to find 'efi' firmware", ERROR_LIBVIRT_FAILED,
	  "install UEFI for guests: apt install ovmf" },
	{ -1, "Device or resource busy", ERROR_CONFLICT, "something else holds it" },
	{ -1, "No space left on device", ERROR_STORE, "make room in the file system" },
	{ -1, "Permission denied", ERROR_LIBVIRT_FAILED,
	  "see the kernel's log for a refusal by AppArmor; a pool's folders must be 0711" },
	{ -1, NULL, ERROR_LIBVIRT_FAILED,
	  "libvirt's log says more: journalctl -u libvirtd -u virtqemud" },
};

/* A time stamp as QEMU puts it before a line: 2026-01-31T12:00:00.123456Z. Its length, or 0. */
static size_t time_stamp(const char *text)
{
	size_t n = strspn(text, "0123456789-:.T");

	return n > 19 && text[10] == 'T' && text[n] == 'Z' && text[n + 1] == ' ' ? n + 2 : 0;
}

/* One line of printable text; runs of blanks are one, time stamps are left out. */
static void clean(const char *text, char *out, size_t size)
{
	static const char *const noise[] = { "internal error: ", "operation failed: ",
					     "Requested operation is not valid: " };
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(noise); i++)
		if (!strncmp(text, noise[i], strlen(noise[i])))
			text += strlen(noise[i]);
	while (*text && n + 1 < size) {
		text += time_stamp(text);
		if ((unsigned char)*text > ' ' && *text != 0x7f)
			out[n++] = *text;
		else if (*text && n && out[n - 1] != ' ')
			out[n++] = ' ';
		text += !!*text;
	}
	while (n && (out[n - 1] == ' ' || out[n - 1] == '.'))
		n--;
	out[n] = '\0';
}

int virt_error(struct error *err, const char *doing, int number, const char *words)
{
	char text[400];
	size_t i = 0;

	clean(words, text, sizeof(text));
	while ((rows[i].number >= 0 && rows[i].number != number) ||
	       (rows[i].words && !strstr(text, rows[i].words)))
		i++;
	error_set(err, rows[i].code, "%s failed: %s", doing, text);
	return error_hint(err, "%s", rows[i].hint);
}

int virt_failed(struct error *err, const char *doing)
{
	virErrorPtr last = virGetLastError();

	return virt_error(err, doing, last ? last->code : VIR_ERR_INTERNAL_ERROR,
			  last && last->message ? last->message : "libvirt does not say why");
}

bool virt_error_is(int number)
{
	virErrorPtr last = virGetLastError();

	return last && last->code == number;
}
