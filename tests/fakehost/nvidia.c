/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The nvidia driver's own files; see nvidia.h.  nv-procfs.c: unbindLock takes
 * "1" and then reads 1 only if nothing had the GPU open.
 */
#include "nvidia.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "process.h"

#define VERSION "580.95.05"

unsigned nvidia_users(const struct function *f)
{
	char path[32];

	if (f->minor < 0)
		return 0;
	snprintf(path, sizeof(path), "/dev/nvidia%d", f->minor);
	return process_holds(path) + f->kernel_users;
}

struct function *nvidia_by_path(const char *path)
{
	char node[32];

	for (struct function *f = host.functions; f; f = f->next) {
		if (f->minor < 0 || !f->driver || !(f->driver->flags & DRIVER_NVIDIA))
			continue;
		snprintf(node, sizeof(node), "/dev/nvidia%d", f->minor);
		if (!strcmp(node, path))
			return f;
	}
	return NULL;
}

static int lock_show(void *owner, const struct attr *attr, struct text *out)
{
	const struct function *f = owner;

	(void)attr;
	text_addf(out, "%d\n", f->unbind_lock);
	return 0;
}

static int lock_store(void *owner, const struct attr *attr, const char *buf, size_t len)
{
	struct function *f = owner;
	char *s = text_written(buf, len);

	(void)attr;
	f->unbind_lock = *s == '1' && !nvidia_users(f);
	free(s);
	return 0;
}

static int information_show(void *owner, const struct attr *attr, struct text *out)
{
	const struct function *f = owner;

	(void)attr;
	text_addf(out,
		  "Model: \t\t NVIDIA GPU %04x\nIRQ:   \t\t 16\nGPU UUID: \t "
		  "GPU-%08x-0000-0000-0000-%04x%02x%02x%04x\nVideo BIOS: \t 90.04.46.00.e4\n"
		  "Bus Type: \t PCIe\nBus Location: \t %s\nDevice Minor: \t %d\n"
		  "GPU Firmware: \t " VERSION "\nGPU Excluded:\t No\n",
		  f->device, f->device << 16 | f->vendor, f->domain, f->bus, f->slot, f->fn,
		  f->name, f->minor);
	return 0;
}

static const struct attr gpu_attrs[] = {
	{ .name = "information", .mode = 0444, .show = information_show },
	{ .name = "unbindLock", .mode = 0644, .show = lock_show, .store = lock_store },
};

/* The lowest minor that no other has. */
static int free_minor(void)
{
	for (int minor = 0;; minor++) {
		bool taken = false;

		for (struct function *f = host.functions; f; f = f->next)
			taken |= f->minor == minor;
		if (!taken)
			return minor;
	}
}

static void make_common(void)
{
	struct node *proc = node_dir(NULL, "proc/driver/nvidia"), *dev = node_dir(NULL, "dev");

	if (node_child(proc, "version"))
		return;
	node_text(proc, "version", 0444,
		  "NVRM version: NVIDIA UNIX x86_64 Kernel Module  " VERSION "  Release Build\n");
	node_text(proc, "params", 0444, "DeviceFileUID: 0\nDeviceFileMode: 438\n");
	node_text(dev, "nvidiactl", 0666, "%s", "");
	node_text(dev, "nvidia-modeset", 0666, "%s", "");
	node_text(dev, "nvidia-uvm", 0666, "%s", "");
}

void nvidia_bound(struct function *f)
{
	struct node *gpu;
	char name[24];

	make_common();
	f->unbind_lock = false;
	if (f->physfn)
		return;
	f->minor = free_minor();
	snprintf(name, sizeof(name), "nvidia%d", f->minor);
	bunch_add(&f->bound, node_text(node_dir(NULL, "dev"), name, 0666, "%s", ""));
	gpu = node_dir(node_dir(NULL, "proc/driver/nvidia/gpus"), f->name);
	node_files(gpu, gpu_attrs, sizeof(gpu_attrs) / sizeof(*gpu_attrs), f);
	bunch_add(&f->bound, gpu);
}

void nvidia_unbound(struct function *f)
{
	f->minor = -1;
	f->unbind_lock = false;
}
