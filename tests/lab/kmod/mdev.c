// SPDX-License-Identifier: GPL-2.0
/* Parents of mediated devices: their types, what is left of each, and the instances. See standin.h. */
#include <linux/jiffies.h>
#include <linux/mdev.h>
#include <linux/module.h>
#include <linux/slab.h>

#include "standin.h"

/* What an instance of a type takes; of a T4 framebuffer alone. In MiB. */
struct spec {
	const char *sysfs_name, *name, *description;
	unsigned int framebuffer, most;
	unsigned int low, high, fences;
};

#define T4(id, type, mb, heads, resolution, n)                                                         \
	{                                                                                              \
		.sysfs_name = id, .name = "GRID T4-" type, .framebuffer = mb, .most = n,               \
		.description = "num_heads=" #heads ", frl_config=60, framebuffer=" #mb                 \
			       "M, max_resolution=" resolution ", max_instance=" #n "\n",              \
	}
#define GVTG(n, low_mb, high_mb, resolution, w)                                                        \
	{                                                                                              \
		.sysfs_name = "GVTg_V5_" #n, .name = "GVTg_V5_" #n, .low = low_mb, .high = high_mb,    \
		.fences = 4,                                                                           \
		.description = "low_gm_size: " #low_mb "MB\nhigh_gm_size: " #high_mb "MB\nfence: 4\n"  \
			       "resolution: " resolution "\nweight: " #w "\n",                         \
	}

static const struct spec t4_specs[] = {
	T4("222", "1B", 1024, 4, "5120x2880", 16),
	T4("223", "2B", 2048, 4, "5120x2880", 8),
	T4("230", "1Q", 1024, 4, "5120x2880", 16),
	T4("232", "4Q", 4096, 4, "7680x4320", 4),
	T4("319", "4C", 4096, 1, "4096x2160", 4),
};

static const struct spec gvtg_specs[] = {
	GVTG(1, 512, 2048, "1920x1200", 16),
	GVTG(2, 256, 1024, "1920x1200", 8),
	GVTG(4, 128, 512, "1920x1200", 4),
	GVTG(8, 64, 384, "1024x768", 2),
};

/* What a card has for guests: a T4's 16 GB; an aperture of 256 MiB less what the host keeps. */
static const struct card {
	const struct spec *specs;
	unsigned int n;
	unsigned int framebuffer, low, high, fences;
	bool one_size;
	int full; /* what creation beyond it answers */
	struct standin_identity identity;
} cards[] = {
	[STANDIN_T4] = { t4_specs, ARRAY_SIZE(t4_specs), .framebuffer = 16384, .one_size = true,
			 .full = -EINVAL, .identity = { 0x10de, 0x1eb8, 0x030200 } },
	[STANDIN_GVTG] = { gvtg_specs, ARRAY_SIZE(gvtg_specs), .low = 128, .high = 3712, .fences = 28,
			   .full = -ENOSPC, .identity = { 0x8086, 0x3e98, 0x030000 } },
};

enum { TYPES_MAX = 8 };

struct type {
	struct mdev_type type;
	const struct spec *spec;
	unsigned int live;
	unsigned int before; /* what was offered before the last change */
};

struct parent {
	struct mdev_parent parent;
	struct list_head list;
	const struct card *card;
	struct mutex lock;
	struct type types[TYPES_MAX];
	struct mdev_type *list_of_types[TYPES_MAX];
	struct list_head instances; /* struct standin_vgpu */
	unsigned long changed;	    /* jiffies */
};

static LIST_HEAD(parents);
static DEFINE_MUTEX(parents_lock);

static struct parent *parent_of(struct mdev_type *type)
{
	return container_of(type->parent, struct parent, parent);
}

/* ---- what is left ---- */

static unsigned int framebuffer_left(const struct parent *parent, const struct spec *spec)
{
	unsigned int used = 0, i;

	for (i = 0; i < parent->card->n; i++) {
		if (!parent->types[i].live)
			continue;
		if (parent->card->one_size && parent->types[i].spec->framebuffer != spec->framebuffer)
			return 0;
		used += parent->types[i].live * parent->types[i].spec->framebuffer;
	}
	return min((parent->card->framebuffer - used) / spec->framebuffer, spec->most);
}

static unsigned int space_left(const struct parent *parent, const struct spec *spec)
{
	unsigned int low = parent->card->low, high = parent->card->high, fences = parent->card->fences, i;

	for (i = 0; i < parent->card->n; i++) {
		low -= parent->types[i].live * parent->types[i].spec->low;
		high -= parent->types[i].live * parent->types[i].spec->high;
		fences -= parent->types[i].live * parent->types[i].spec->fences;
	}
	return min3(low / spec->low, high / spec->high, fences / spec->fences);
}

static unsigned int left(const struct parent *parent, const struct spec *spec)
{
	return spec->framebuffer ? framebuffer_left(parent, spec) : space_left(parent, spec);
}

static unsigned int get_available(struct mdev_type *mtype)
{
	struct type *type = container_of(mtype, struct type, type);
	struct parent *parent = parent_of(mtype);
	unsigned int n;

	mutex_lock(&parent->lock);
	n = left(parent, type->spec);
	if (parent->changed && time_before(jiffies, parent->changed + msecs_to_jiffies(standin_lag_ms)))
		n = type->before;
	mutex_unlock(&parent->lock);
	return n;
}

static ssize_t show_description(struct mdev_type *mtype, char *buf)
{
	return sysfs_emit(buf, "%s", container_of(mtype, struct type, type)->spec->description);
}

/* With the parent's lock. */
static void change(struct parent *parent, struct type *type, int by)
{
	unsigned int i;

	for (i = 0; i < parent->card->n; i++)
		parent->types[i].before = left(parent, parent->types[i].spec);
	type->live += by;
	parent->changed = jiffies;
}

static int take(struct parent *parent, struct type *type)
{
	int ret = 0;

	mutex_lock(&parent->lock);
	if (standin_create_error)
		ret = -EIO;
	else if (!left(parent, type->spec))
		ret = parent->card->full;
	else
		change(parent, type, 1);
	mutex_unlock(&parent->lock);
	return ret;
}

static void give(struct parent *parent, struct type *type)
{
	mutex_lock(&parent->lock);
	change(parent, type, -1);
	mutex_unlock(&parent->lock);
}

/* ---- instances ---- */

static int instance_probe(struct mdev_device *mdev)
{
	struct type *type = container_of(mdev->type, struct type, type);
	struct parent *parent = parent_of(mdev->type);
	struct standin_vgpu *vgpu;
	int ret = take(parent, type);

	if (ret)
		return ret;
	vgpu = vfio_alloc_device(standin_vgpu, vdev, &mdev->dev, &standin_mdev_ops);
	if (IS_ERR(vgpu)) {
		give(parent, type);
		return PTR_ERR(vgpu);
	}
	standin_vgpu_identify(vgpu, &parent->card->identity);
	ret = vfio_register_emulated_iommu_dev(&vgpu->vdev);
	if (ret) {
		vfio_put_device(&vgpu->vdev);
		give(parent, type);
		return ret;
	}
	dev_set_drvdata(&mdev->dev, vgpu);
	mutex_lock(&parent->lock);
	list_add(&vgpu->beside, &parent->instances);
	mutex_unlock(&parent->lock);
	return 0;
}

static void instance_remove(struct mdev_device *mdev)
{
	struct standin_vgpu *vgpu = dev_get_drvdata(&mdev->dev);
	struct parent *parent = parent_of(mdev->type);

	mutex_lock(&parent->lock);
	list_del(&vgpu->beside);
	mutex_unlock(&parent->lock);
	vfio_unregister_group_dev(&vgpu->vdev);
	vfio_put_device(&vgpu->vdev);
	give(parent, container_of(mdev->type, struct type, type));
}

static struct mdev_driver instance_driver = {
	.device_api = VFIO_DEVICE_API_PCI_STRING,
	.probe = instance_probe,
	.remove = instance_remove,
	.get_available = get_available,
	.show_description = show_description,
	.driver = {
		.name = "horcrux_standin_mdev",
		.owner = THIS_MODULE,
		.mod_name = KBUILD_MODNAME,
	},
};

int standin_mdev_init(void)
{
	return mdev_register_driver(&instance_driver);
}

void standin_mdev_exit(void)
{
	mdev_unregister_driver(&instance_driver);
}

/* ---- parents ---- */

int standin_parent_add(struct pci_dev *pdev, enum standin_kind kind)
{
	struct parent *parent = kzalloc(sizeof(*parent), GFP_KERNEL);
	unsigned int i;
	int ret;

	if (!parent)
		return -ENOMEM;
	parent->card = &cards[kind];
	mutex_init(&parent->lock);
	INIT_LIST_HEAD(&parent->instances);
	for (i = 0; i < parent->card->n; i++) {
		parent->types[i].spec = &parent->card->specs[i];
		parent->types[i].type.sysfs_name = parent->card->specs[i].sysfs_name;
		parent->types[i].type.pretty_name = parent->card->specs[i].name;
		parent->list_of_types[i] = &parent->types[i].type;
	}
	ret = mdev_register_parent(&parent->parent, &pdev->dev, &instance_driver, parent->list_of_types,
				   parent->card->n);
	if (ret) {
		kfree(parent);
		return ret;
	}
	pci_set_drvdata(pdev, parent);
	mutex_lock(&parents_lock);
	list_add(&parent->list, &parents);
	mutex_unlock(&parents_lock);
	return 0;
}

void standin_parent_remove(struct pci_dev *pdev)
{
	struct parent *parent = pci_get_drvdata(pdev);

	mutex_lock(&parents_lock);
	list_del(&parent->list);
	mutex_unlock(&parents_lock);
	mdev_unregister_parent(&parent->parent);
	kfree(parent);
}

/* The core answers EAGAIN for one that is not active (any more): drivers/vfio/mdev/mdev_core.c, mdev_device_remove. */
void standin_instances_hold(bool hold)
{
	struct standin_vgpu *vgpu;
	struct parent *parent;

	mutex_lock(&parents_lock);
	list_for_each_entry(parent, &parents, list) {
		mutex_lock(&parent->lock);
		list_for_each_entry(vgpu, &parent->instances, beside)
			to_mdev_device(vgpu->vdev.dev)->active = !hold;
		mutex_unlock(&parent->lock);
	}
	mutex_unlock(&parents_lock);
}
