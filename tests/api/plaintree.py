# SPDX-License-Identifier: Apache-2.0
"""A plain directory that stands for a host's "/": only what sysfs and procfs show of a few cards.

Nothing in it behaves; for a kernel that does, see tests/fakehost.
"""
import os
import pathlib
import shutil

PCI_IDS = pathlib.Path(__file__).resolve().parent.parent / "pci.ids"


class PlainTree:
    def __init__(self, root):
        self.root = pathlib.Path(root)
        (self.root / "sys/bus/pci/devices").mkdir(parents=True, exist_ok=True)
        (self.root / "usr/share/misc").mkdir(parents=True, exist_ok=True)
        shutil.copy(PCI_IDS, self.root / "usr/share/misc")

    def file(self, path, text):
        at = self.root / path
        at.parent.mkdir(parents=True, exist_ok=True)
        at.write_text(text + "\n")

    def link(self, path, target):
        at = self.root / path
        at.parent.mkdir(parents=True, exist_ok=True)
        if at.is_symlink():
            at.unlink()
        at.symlink_to(target)

    def function(self, path, vendor, device, cls, driver=None, group=None, **files):
        """path: below sys/devices, "pci0000:00/0000:00:01.0/0000:01:00.0"."""
        address = path.rsplit("/", 1)[1]
        at = "sys/devices/" + path
        up = "../" * (path.count("/") + 2)
        values = {
            "vendor": f"0x{vendor:04x}", "device": f"0x{device:04x}", "class": f"0x{cls:06x}",
            "revision": "0xa1", "subsystem_vendor": "0x1043", "subsystem_device": "0x85aa",
            "numa_node": "0", "local_cpulist": "0-7", "power_state": "D0",
            "power/runtime_status": "active", "reset_method": "flr bus",
            "resource": "\n".join(
                ["0x00000000e0000000 0x00000000e0ffffff 0x0000000000040200",
                 "0x00000000c0000000 0x00000000cfffffff 0x000000000014220c"]
                + ["0x0000000000000000 0x0000000000000000 0x0000000000000000"] * 11),
            "current_link_speed": "8.0 GT/s PCIe", "current_link_width": "16",
            "max_link_speed": "8.0 GT/s PCIe", "max_link_width": "16",
            "driver_override": "(null)", "power/control": "auto", "d3cold_allowed": "1",
        }
        if cls >> 8 == 0x0300:
            values["boot_vga"] = "0"
        if cls >> 8 == 0x0604:
            (self.root / at / "pci_bus").mkdir(parents=True, exist_ok=True)
        values.update({k.replace("__", "/"): v for k, v in files.items()})
        for name, text in values.items():
            if text is not None:
                self.file(f"{at}/{name}", text)
        self.link(f"sys/bus/pci/devices/{address}", f"../../../devices/{path}")
        self.bind(path, driver)
        if group is not None:
            self.link(f"{at}/iommu_group", f"{up}kernel/iommu_groups/{group}")
            self.link(f"sys/kernel/iommu_groups/{group}/devices/{address}",
                      f"../../../../devices/{path}")
            self.file(f"sys/kernel/iommu_groups/{group}/type", "DMA")
            self.file(f"sys/kernel/iommu_groups/{group}/reserved_regions",
                      "0x00000000fee00000 0x00000000feefffff msi")

    def bind(self, path, driver):
        link = self.root / "sys/devices" / path / "driver"
        if link.is_symlink():
            link.unlink()
        if driver:
            up = "../" * (path.count("/") + 2)
            self.link(f"sys/devices/{path}/driver", f"{up}bus/pci/drivers/{driver}")
            (self.root / "sys/bus/pci/drivers" / driver).mkdir(parents=True, exist_ok=True)

    def host(self):
        """An Intel host with its IOMMU on."""
        self.link("sys/class/iommu/dmar0", "../../devices/virtual/iommu/dmar0")
        (self.root / "sys/devices/virtual/iommu/dmar0").mkdir(parents=True, exist_ok=True)
        self.file("proc/cmdline", "BOOT_IMAGE=/vmlinuz root=/dev/sda1 intel_iommu=on iommu=pt")
        self.file("proc/cpuinfo", "processor\t: 0\nvendor_id\t: GenuineIntel")
        self.file("sys/firmware/acpi/tables/DMAR", "DMAR")
        self.file("proc/iomem", "c0000000-cfffffff : 0000:01:00.0")

    def cards(self, n, first_bus=1):
        """n cards of two functions (GPU and audio), each behind a root port, each in its group."""
        for i in range(n):
            bus = f"{first_bus + i:02x}"
            port = f"pci0000:00/0000:00:{1 + i // 8:02x}.{i % 8}"
            self.function(port, 0x8086, 0x1901, 0x060400, "pcieport", 20 + i)
            self.function(f"{port}/0000:{bus}:00.0", 0x10DE, 0x1B80, 0x030000,
                          "nouveau" if i % 2 else "vfio-pci", 1 + i)
            self.function(f"{port}/0000:{bus}:00.1", 0x10DE, 0x10F0, 0x040300,
                          "snd_hda_intel" if i % 2 else "vfio-pci", 1 + i)


def guide_host(root):
    """The host of the guide: one GTX 1080 with its audio, and things that are no card."""
    tree = PlainTree(root)
    tree.host()
    tree.cards(1)
    tree.bind("pci0000:00/0000:00:01.0/0000:01:00.0", "nouveau")
    tree.bind("pci0000:00/0000:00:01.0/0000:01:00.1", "snd_hda_intel")
    tree.function("pci0000:00/0000:00:1f.3", 0x8086, 0xA170, 0x040300, "snd_hda_intel", 9)
    return tree


if __name__ == "__main__":
    import sys

    tree = PlainTree(sys.argv[1])
    tree.host()
    tree.cards(int(sys.argv[2]))
