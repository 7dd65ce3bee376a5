/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A stand-in, at kernel level, for the drivers of cards that can be shared: it binds to functions that QEMU
 * emulates and offers what NVIDIA's and Intel's drivers offer on theirs. What it makes can really be opened by
 * a QEMU, and moved by VFIO's migration. For the lab alone.
 */
#pragma once

#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/vfio.h>

/* What a guest sees: a function with these ids, one BAR of memory, no interrupt. */
struct standin_identity {
	u16 vendor, device;
	u32 class; /* 24 bits */
};

struct standin_file;

struct standin_vgpu {
	struct vfio_device vdev;
	struct mutex lock; /* of all that follows */
	u8 config[PCI_CFG_SPACE_SIZE];
	u8 *bar; /* its first page; what is beyond reads 0 */
	enum vfio_device_mig_state state;
	struct standin_file *file; /* of a migration under way */
	bool absent;		   /* nobody can open it: there is no instance */
	bool open;
	struct list_head beside; /* the others of its parent; that one's lock */
};

/* Of mediated devices, and of functions with an IOMMU group of their own. */
extern const struct vfio_device_ops standin_mdev_ops, standin_vf_ops;

/* After vfio_alloc_device(), before it is registered. */
void standin_vgpu_identify(struct standin_vgpu *vgpu, const struct standin_identity *identity);

/* Which card a PCI driver of ours stands in for. */
enum standin_kind { STANDIN_T4, STANDIN_GVTG };

/* mdev.c: called when a function is bound and unbound. */
int standin_parent_add(struct pci_dev *pdev, enum standin_kind kind);
void standin_parent_remove(struct pci_dev *pdev);
int standin_mdev_init(void);
void standin_mdev_exit(void);
/* While true, removal of the instances that are there is answered with EAGAIN. */
void standin_instances_hold(bool hold);

/* vf.c: the same for VFs, which are given types of the vendor's. */
int standin_vf_add(struct pci_dev *pdev);
void standin_vf_remove(struct pci_dev *pdev);

/* Knobs, module parameters: standin.c. */
extern bool standin_create_error;      /* creation fails with EIO */
extern unsigned int standin_lag_ms;    /* so long what is offered is what was offered before */
