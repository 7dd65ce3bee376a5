// SPDX-License-Identifier: GPL-2.0
/*
 * VFs that are given types, as NVIDIA's driver has it where there are no mediated devices: nvidia/creatable_vgpu_types
 * and nvidia/current_vgpu_type below each; the VF stays on its driver, and VFIO's group is the VF's own.
 * See standin.h.
 */
#include <linux/module.h>
#include <linux/slab.h>

#include "standin.h"

struct vf_type {
	unsigned int id, framebuffer; /* MiB */
	const char *name;
};

enum { CARD_MB = 49152 };

static const struct vf_type types[] = {
	{ 1145, 1024, "NVIDIA L40S-1B" }, { 1148, 2048, "NVIDIA L40S-2Q" },   { 1150, 4096, "NVIDIA L40S-4Q" },
	{ 1152, 8192, "NVIDIA L40S-8Q" }, { 1156, 49152, "NVIDIA L40S-48Q" },
};

static const struct standin_identity identity = { 0x10de, 0x26b9, 0x030200 };

struct vf {
	struct standin_vgpu vgpu; /* first: VFIO allocates the whole */
	struct list_head list;
	struct pci_dev *pdev;
	const struct vf_type *type; /* NULL: none */
};

static LIST_HEAD(vfs);
static DEFINE_MUTEX(vfs_lock); /* of the list and of all types in it */

static struct vf *vf_of(struct device *dev)
{
	return dev_get_drvdata(dev);
}

/* One size at a time on a card, and no more than it holds. With the lock. */
static bool fits(const struct vf *vf, const struct vf_type *type)
{
	unsigned int used = 0;
	const struct vf *it;

	list_for_each_entry(it, &vfs, list) {
		if (it->pdev->physfn != vf->pdev->physfn || !it->type)
			continue;
		if (it == vf || it->type->framebuffer != type->framebuffer)
			return false;
		used += it->type->framebuffer;
	}
	return used + type->framebuffer <= CARD_MB;
}

static ssize_t creatable_vgpu_types_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	ssize_t n = sysfs_emit(buf, "ID    : vGPU Name\n");
	unsigned int i;

	mutex_lock(&vfs_lock);
	for (i = 0; i < ARRAY_SIZE(types); i++)
		if (fits(vf_of(dev), &types[i]))
			n += sysfs_emit_at(buf, n, "%-5u : %s\n", types[i].id, types[i].name);
	mutex_unlock(&vfs_lock);
	return n;
}
static DEVICE_ATTR_RO(creatable_vgpu_types);

static ssize_t current_vgpu_type_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	ssize_t n;

	mutex_lock(&vfs_lock);
	n = sysfs_emit(buf, "%u\n", vf_of(dev)->type ? vf_of(dev)->type->id : 0);
	mutex_unlock(&vfs_lock);
	return n;
}

/* With the lock of the list. type NULL: none. */
static int set_type(struct vf *vf, const struct vf_type *type)
{
	int ret = 0;

	mutex_lock(&vf->vgpu.lock);
	if (!type && vf->vgpu.open)
		ret = -EPERM;
	else
		vf->vgpu.absent = !type;
	mutex_unlock(&vf->vgpu.lock);
	if (!ret)
		vf->type = type;
	return ret;
}

static ssize_t current_vgpu_type_store(struct device *dev, struct device_attribute *attr, const char *buf,
				       size_t count)
{
	struct vf *vf = vf_of(dev);
	unsigned int id, i;
	int ret = kstrtouint(buf, 0, &id);

	if (ret)
		return ret;
	mutex_lock(&vfs_lock);
	ret = id ? -EINVAL : set_type(vf, NULL);
	for (i = 0; i < ARRAY_SIZE(types); i++)
		if (types[i].id == id && fits(vf, &types[i]))
			ret = standin_create_error ? -EIO : set_type(vf, &types[i]);
	mutex_unlock(&vfs_lock);
	return ret ?: count;
}
static DEVICE_ATTR_RW(current_vgpu_type);

static struct attribute *attrs[] = {
	&dev_attr_creatable_vgpu_types.attr,
	&dev_attr_current_vgpu_type.attr,
	NULL,
};

static const struct attribute_group group = { .name = "nvidia", .attrs = attrs };

static void list_remove(struct vf *vf)
{
	mutex_lock(&vfs_lock);
	list_del(&vf->list);
	mutex_unlock(&vfs_lock);
}

int standin_vf_add(struct pci_dev *pdev)
{
	struct vf *vf = vfio_alloc_device(vf, vgpu.vdev, &pdev->dev, &standin_vf_ops);
	int ret;

	if (IS_ERR(vf))
		return PTR_ERR(vf);
	vf->pdev = pdev;
	vf->vgpu.absent = true;
	standin_vgpu_identify(&vf->vgpu, &identity);
	dev_set_drvdata(&pdev->dev, vf);
	ret = vfio_register_group_dev(&vf->vgpu.vdev);
	if (ret)
		goto put;
	mutex_lock(&vfs_lock);
	list_add_tail(&vf->list, &vfs);
	mutex_unlock(&vfs_lock);
	ret = sysfs_create_group(&pdev->dev.kobj, &group);
	if (!ret)
		return 0;
	list_remove(vf);
	vfio_unregister_group_dev(&vf->vgpu.vdev);
put:
	vfio_put_device(&vf->vgpu.vdev);
	return ret;
}

void standin_vf_remove(struct pci_dev *pdev)
{
	struct vf *vf = dev_get_drvdata(&pdev->dev);

	sysfs_remove_group(&pdev->dev.kobj, &group);
	vfio_unregister_group_dev(&vf->vgpu.vdev);
	list_remove(vf);
	vfio_put_device(&vf->vgpu.vdev);
}
