// SPDX-License-Identifier: GPL-2.0
/* The PCI drivers, under the names of those that they stand in for, and the knobs. See standin.h. */
#include <linux/module.h>

#include "standin.h"

bool standin_create_error;
module_param_named(create_error, standin_create_error, bool, 0644);
MODULE_PARM_DESC(create_error, "creation of an instance fails with EIO");

unsigned int standin_lag_ms;
module_param_named(catalogue_lag_ms, standin_lag_ms, uint, 0644);
MODULE_PARM_DESC(catalogue_lag_ms, "after a change the catalogue is for so long as it was before");

static bool remove_again;

static int remove_again_set(const char *value, const struct kernel_param *param)
{
	bool before = remove_again;
	int ret = param_set_bool(value, param);

	if (!ret && before != remove_again)
		standin_instances_hold(remove_again);
	return ret;
}

static const struct kernel_param_ops remove_again_ops = {
	.set = remove_again_set,
	.get = param_get_bool,
};
module_param_cb(remove_again, &remove_again_ops, &remove_again, 0644);
MODULE_PARM_DESC(remove_again, "removal of an instance is answered with EAGAIN");

/* A VF is one of a card that gives types to VFs, whatever its PF is. */
static int nvidia_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	return pdev->is_virtfn ? standin_vf_add(pdev) : standin_parent_add(pdev, STANDIN_T4);
}

static void nvidia_remove(struct pci_dev *pdev)
{
	if (pdev->is_virtfn)
		standin_vf_remove(pdev);
	else
		standin_parent_remove(pdev);
}

static int gvtg_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	return standin_parent_add(pdev, STANDIN_GVTG);
}

/* No ids: a function comes to them by its driver_override. The names begin those of the types. */
static struct pci_driver nvidia_driver = {
	.name = "nvidia",
	.probe = nvidia_probe,
	.remove = nvidia_remove,
	.driver_managed_dma = true, /* a VF's IOMMU group is VFIO's */
};

static struct pci_driver gvtg_driver = {
	.name = "i915",
	.probe = gvtg_probe,
	.remove = standin_parent_remove,
};

static int __init standin_init(void)
{
	int ret = standin_mdev_init();

	if (ret)
		return ret;
	ret = pci_register_driver(&nvidia_driver);
	if (ret)
		goto mdev;
	ret = pci_register_driver(&gvtg_driver);
	if (!ret)
		return 0;
	pci_unregister_driver(&nvidia_driver);
mdev:
	standin_mdev_exit();
	return ret;
}

static void __exit standin_exit(void)
{
	if (remove_again)
		standin_instances_hold(false);
	pci_unregister_driver(&gvtg_driver);
	pci_unregister_driver(&nvidia_driver);
	standin_mdev_exit();
}

module_init(standin_init);
module_exit(standin_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Stand-in for drivers of cards that can be shared");
