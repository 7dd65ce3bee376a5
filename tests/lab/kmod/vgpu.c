// SPDX-License-Identifier: GPL-2.0
/*
 * The device that a guest gets: configuration space, a BAR that keeps what is written into its first page, and
 * VFIO's migration, version 2 (include/uapi/linux/vfio.h), by stop and copy. It makes no interrupts and no DMA.
 */
#include <linux/anon_inodes.h>
#include <linux/file.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "standin.h"

enum {
	BAR_BYTES = 1 << 20,
	BAR_KEPT = PAGE_SIZE,
	REGION_SHIFT = 40, /* a region's number stands above this in an offset, as vfio-pci has it */
	STATE_BYTES = PCI_CFG_SPACE_SIZE + BAR_KEPT,
	MAGIC = 0x58524348,
};

static struct standin_vgpu *vgpu_of(struct vfio_device *vdev)
{
	return container_of(vdev, struct standin_vgpu, vdev);
}

/* ---- what it is ---- */

void standin_vgpu_identify(struct standin_vgpu *vgpu, const struct standin_identity *identity)
{
	u8 *config = vgpu->config;

	*(__le16 *)&config[PCI_VENDOR_ID] = cpu_to_le16(identity->vendor);
	*(__le16 *)&config[PCI_DEVICE_ID] = cpu_to_le16(identity->device);
	*(__le32 *)&config[PCI_CLASS_REVISION] = cpu_to_le32(identity->class << 8);
	*(__le16 *)&config[PCI_SUBSYSTEM_VENDOR_ID] = cpu_to_le16(identity->vendor);
	*(__le16 *)&config[PCI_SUBSYSTEM_ID] = cpu_to_le16(identity->device);
}

/* ---- its registers ---- */

/* Which bits of the byte at `at` a guest may change. */
static u8 writable(unsigned int at)
{
	static const u32 bar = ~(BAR_BYTES - 1);

	if (at >= PCI_BASE_ADDRESS_0 && at < PCI_BASE_ADDRESS_1)
		return bar >> (8 * (at - PCI_BASE_ADDRESS_0));
	if (at == PCI_COMMAND)
		return PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
	return at == PCI_INTERRUPT_LINE || at == PCI_CACHE_LINE_SIZE ? 0xff : 0;
}

static void config_access(struct standin_vgpu *vgpu, u64 at, u8 *buf, size_t n, bool write)
{
	size_t i;
	u8 mask;

	for (i = 0; i < n; i++) {
		if (write) {
			mask = writable(at + i);
			vgpu->config[at + i] = (vgpu->config[at + i] & ~mask) | (buf[i] & mask);
		} else {
			buf[i] = vgpu->config[at + i];
		}
	}
}

static void bar_access(struct standin_vgpu *vgpu, u64 at, u8 *buf, size_t n, bool write)
{
	size_t i;

	for (i = 0; i < n; i++) {
		if (at + i >= BAR_KEPT)
			buf[i] = write ? buf[i] : 0;
		else if (write)
			vgpu->bar[at + i] = buf[i];
		else
			buf[i] = vgpu->bar[at + i];
	}
}

static u64 region_bytes(u64 region)
{
	return region == VFIO_PCI_CONFIG_REGION_INDEX ? PCI_CFG_SPACE_SIZE :
	       region == VFIO_PCI_BAR0_REGION_INDEX   ? BAR_BYTES :
							0;
}

static ssize_t access(struct vfio_device *vdev, u8 *buf, size_t n, loff_t pos, bool write)
{
	struct standin_vgpu *vgpu = vgpu_of(vdev);
	u64 region = (u64)pos >> REGION_SHIFT, at = pos & ((1ULL << REGION_SHIFT) - 1);
	u64 bytes = region_bytes(region);

	if (at >= bytes || n > bytes - at)
		return -EINVAL;
	mutex_lock(&vgpu->lock);
	if (region == VFIO_PCI_CONFIG_REGION_INDEX)
		config_access(vgpu, at, buf, n, write);
	else
		bar_access(vgpu, at, buf, n, write);
	mutex_unlock(&vgpu->lock);
	return n;
}

static ssize_t vgpu_read(struct vfio_device *vdev, char __user *user, size_t count, loff_t *pos)
{
	u8 buf[8];
	size_t n, done = 0;
	ssize_t ret;

	for (; done < count; done += n) {
		n = min(count - done, sizeof(buf));
		ret = access(vdev, buf, n, *pos + done, false);
		if (ret < 0)
			return ret;
		if (copy_to_user(user + done, buf, n))
			return -EFAULT;
	}
	*pos += done;
	return done;
}

static ssize_t vgpu_write(struct vfio_device *vdev, const char __user *user, size_t count, loff_t *pos)
{
	u8 buf[8];
	size_t n, done = 0;
	ssize_t ret;

	for (; done < count; done += n) {
		n = min(count - done, sizeof(buf));
		if (copy_from_user(buf, user + done, n))
			return -EFAULT;
		ret = access(vdev, buf, n, *pos + done, true);
		if (ret < 0)
			return ret;
	}
	*pos += done;
	return done;
}

/* ---- migration ---- */

/* What is read by the source or written by the destination. Lives as long as its file. */
struct standin_file {
	struct file *file;
	struct mutex lock;
	bool disabled;
	size_t filled;
	struct {
		__le32 magic, bytes;
		u8 state[STATE_BYTES];
	} data;
};

static int file_release(struct inode *inode, struct file *file)
{
	kfree(file->private_data);
	return 0;
}

static ssize_t file_read(struct file *file, char __user *user, size_t n, loff_t *pos)
{
	struct standin_file *from = file->private_data;
	ssize_t ret = -ENODEV;

	if (pos)
		return -ESPIPE;
	mutex_lock(&from->lock);
	if (!from->disabled) {
		n = min_t(size_t, n, from->filled - file->f_pos);
		ret = copy_to_user(user, (u8 *)&from->data + file->f_pos, n) ? -EFAULT : n;
		if (ret > 0)
			file->f_pos += ret;
	}
	mutex_unlock(&from->lock);
	return ret;
}

static ssize_t file_write(struct file *file, const char __user *user, size_t n, loff_t *pos)
{
	struct standin_file *into = file->private_data;
	ssize_t ret = -ENODEV;

	if (pos)
		return -ESPIPE;
	mutex_lock(&into->lock);
	if (!into->disabled && n > sizeof(into->data) - into->filled)
		ret = -ENOSPC;
	else if (!into->disabled)
		ret = copy_from_user((u8 *)&into->data + into->filled, user, n) ? -EFAULT : n;
	if (ret > 0)
		into->filled += ret;
	mutex_unlock(&into->lock);
	return ret;
}

static const struct file_operations saving_ops = {
	.owner = THIS_MODULE,
	.read = file_read,
	.release = file_release,
};

static const struct file_operations resuming_ops = {
	.owner = THIS_MODULE,
	.write = file_write,
	.release = file_release,
};

/* A reference for the caller and one that is the device's. */
static struct file *file_new(struct standin_vgpu *vgpu, bool save)
{
	struct standin_file *made = kzalloc(sizeof(*made), GFP_KERNEL_ACCOUNT);
	struct file *file;

	if (!made)
		return ERR_PTR(-ENOMEM);
	mutex_init(&made->lock);
	file = anon_inode_getfile("horcrux_standin", save ? &saving_ops : &resuming_ops, made,
				  save ? O_RDONLY : O_WRONLY);
	if (IS_ERR(file)) {
		kfree(made);
		return file;
	}
	stream_open(file->f_inode, file);
	made->file = file;
	if (save) {
		made->data.magic = cpu_to_le32(MAGIC);
		made->data.bytes = cpu_to_le32(STATE_BYTES);
		memcpy(made->data.state, vgpu->config, PCI_CFG_SPACE_SIZE);
		memcpy(made->data.state + PCI_CFG_SPACE_SIZE, vgpu->bar, BAR_KEPT);
		made->filled = sizeof(made->data);
	}
	vgpu->file = made;
	get_file(file);
	return file;
}

static void file_drop(struct standin_vgpu *vgpu)
{
	struct standin_file *file = vgpu->file;

	if (!file)
		return;
	mutex_lock(&file->lock);
	file->disabled = true;
	mutex_unlock(&file->lock);
	vgpu->file = NULL;
	fput(file->file);
}

static int load(struct standin_vgpu *vgpu)
{
	const struct standin_file *from = vgpu->file;

	if (from->filled != sizeof(from->data) || le32_to_cpu(from->data.magic) != MAGIC ||
	    le32_to_cpu(from->data.bytes) != STATE_BYTES ||
	    memcmp(from->data.state, vgpu->config, PCI_COMMAND)) /* another device's */
		return -EINVAL;
	memcpy(vgpu->config, from->data.state, PCI_CFG_SPACE_SIZE);
	memcpy(vgpu->bar, from->data.state + PCI_CFG_SPACE_SIZE, BAR_KEPT);
	return 0;
}

/* One arc; vfio_mig_get_next_state() takes others apart into these. */
static struct file *step(struct standin_vgpu *vgpu, enum vfio_device_mig_state to)
{
	enum vfio_device_mig_state from = vgpu->state;
	int ret = 0;

	if (from == VFIO_DEVICE_STATE_STOP && to == VFIO_DEVICE_STATE_STOP_COPY)
		return file_new(vgpu, true);
	if (from == VFIO_DEVICE_STATE_STOP && to == VFIO_DEVICE_STATE_RESUMING)
		return file_new(vgpu, false);
	if (from == VFIO_DEVICE_STATE_RESUMING && to == VFIO_DEVICE_STATE_STOP)
		ret = load(vgpu);
	if (!ret)
		file_drop(vgpu);
	return ERR_PTR(ret);
}

static struct file *set_state(struct vfio_device *vdev, enum vfio_device_mig_state wanted)
{
	struct standin_vgpu *vgpu = vgpu_of(vdev);
	enum vfio_device_mig_state next;
	struct file *file = NULL;
	int ret;

	mutex_lock(&vgpu->lock);
	while (vgpu->state != wanted && !file) {
		ret = vfio_mig_get_next_state(vdev, vgpu->state, wanted, &next);
		file = ret ? ERR_PTR(ret) : step(vgpu, next);
		if (!IS_ERR(file))
			vgpu->state = next;
	}
	mutex_unlock(&vgpu->lock);
	return file;
}

static int get_state(struct vfio_device *vdev, enum vfio_device_mig_state *state)
{
	struct standin_vgpu *vgpu = vgpu_of(vdev);

	mutex_lock(&vgpu->lock);
	*state = vgpu->state;
	mutex_unlock(&vgpu->lock);
	return 0;
}

static int get_data_size(struct vfio_device *vdev, unsigned long *bytes)
{
	*bytes = sizeof_field(struct standin_file, data);
	return 0;
}

static const struct vfio_migration_ops migration_ops = {
	.migration_set_state = set_state,
	.migration_get_state = get_state,
	.migration_get_data_size = get_data_size,
};

/* What a reset leaves, and whoever opens it finds: a device that runs, whatever was begun before. */
static void begin(struct standin_vgpu *vgpu)
{
	mutex_lock(&vgpu->lock);
	file_drop(vgpu);
	vgpu->state = VFIO_DEVICE_STATE_RUNNING;
	vgpu->config[PCI_COMMAND] = 0;
	memset(&vgpu->config[PCI_BASE_ADDRESS_0], 0, 4);
	memset(vgpu->bar, 0, BAR_KEPT);
	mutex_unlock(&vgpu->lock);
}

/* ---- what VFIO asks ---- */

static int init(struct vfio_device *vdev)
{
	struct standin_vgpu *vgpu = vgpu_of(vdev);

	mutex_init(&vgpu->lock);
	vgpu->bar = kzalloc(BAR_KEPT, GFP_KERNEL);
	vgpu->state = VFIO_DEVICE_STATE_RUNNING;
	vdev->migration_flags = VFIO_MIGRATION_STOP_COPY;
	vdev->mig_ops = &migration_ops;
	return vgpu->bar ? 0 : -ENOMEM;
}

static void release(struct vfio_device *vdev)
{
	struct standin_vgpu *vgpu = vgpu_of(vdev);

	kfree(vgpu->bar);
	mutex_destroy(&vgpu->lock);
}

static int open_device(struct vfio_device *vdev)
{
	struct standin_vgpu *vgpu = vgpu_of(vdev);
	bool absent;

	mutex_lock(&vgpu->lock);
	absent = vgpu->absent;
	vgpu->open = !absent;
	mutex_unlock(&vgpu->lock);
	if (absent)
		return -ENODEV;
	begin(vgpu);
	return 0;
}

static void close_device(struct vfio_device *vdev)
{
	struct standin_vgpu *vgpu = vgpu_of(vdev);

	mutex_lock(&vgpu->lock);
	file_drop(vgpu);
	vgpu->open = false;
	mutex_unlock(&vgpu->lock);
}

/* The head of what an ioctl takes; n: its least size. */
static int take(void *info, void __user *user, size_t n)
{
	if (copy_from_user(info, user, n))
		return -EFAULT;
	return *(u32 *)info < n ? -EINVAL : 0; /* argsz is first in all of them */
}

static int device_info(void __user *user)
{
	struct vfio_device_info info = {};
	size_t n = offsetofend(struct vfio_device_info, num_irqs);
	int ret = take(&info, user, n);

	if (ret)
		return ret;
	info.flags = VFIO_DEVICE_FLAGS_PCI | VFIO_DEVICE_FLAGS_RESET;
	info.num_regions = VFIO_PCI_NUM_REGIONS;
	info.num_irqs = VFIO_PCI_NUM_IRQS;
	return copy_to_user(user, &info, n) ? -EFAULT : 0;
}

static int region_info(void __user *user)
{
	struct vfio_region_info info = {};
	size_t n = offsetofend(struct vfio_region_info, offset);
	int ret = take(&info, user, n);

	if (ret)
		return ret;
	if (info.index >= VFIO_PCI_NUM_REGIONS)
		return -EINVAL;
	info.size = region_bytes(info.index);
	info.offset = (u64)info.index << REGION_SHIFT;
	info.flags = info.size ? VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE : 0;
	return copy_to_user(user, &info, n) ? -EFAULT : 0;
}

static int irq_info(void __user *user)
{
	struct vfio_irq_info info = {};
	size_t n = offsetofend(struct vfio_irq_info, count);
	int ret = take(&info, user, n);

	if (ret)
		return ret;
	if (info.index >= VFIO_PCI_NUM_IRQS)
		return -EINVAL;
	info.flags = VFIO_IRQ_INFO_EVENTFD;
	info.count = 0;
	return copy_to_user(user, &info, n) ? -EFAULT : 0;
}

static long vgpu_ioctl(struct vfio_device *vdev, unsigned int cmd, unsigned long arg)
{
	void __user *user = (void __user *)arg;

	switch (cmd) {
	case VFIO_DEVICE_GET_INFO:
		return device_info(user);
	case VFIO_DEVICE_GET_REGION_INFO:
		return region_info(user);
	case VFIO_DEVICE_GET_IRQ_INFO:
		return irq_info(user);
	case VFIO_DEVICE_RESET:
		begin(vgpu_of(vdev));
		return 0;
	default:
		return -ENOTTY;
	}
}

#define VGPU_OPS(kind)                                                                                 \
	.init = init, .release = release, .open_device = open_device, .close_device = close_device,    \
	.read = vgpu_read, .write = vgpu_write, .ioctl = vgpu_ioctl,                                   \
	.bind_iommufd = vfio_iommufd_##kind##_bind, .unbind_iommufd = vfio_iommufd_##kind##_unbind,    \
	.attach_ioas = vfio_iommufd_##kind##_attach_ioas, .detach_ioas = vfio_iommufd_##kind##_detach_ioas

const struct vfio_device_ops standin_mdev_ops = { .name = "horcrux-standin-mdev", VGPU_OPS(emulated) };
const struct vfio_device_ops standin_vf_ops = { .name = "horcrux-standin-vf", VGPU_OPS(physical) };
