# SPDX-License-Identifier: Apache-2.0
"""Plain directories that stand for a host's /, as the kernel would show it: files and links only."""
import os
import shutil
import struct

PCI_IDS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "pci.ids")

DMAR_INTERRUPTS = " 120:  7  IR-PCI-MSI 0000:01:00.0  0-edge  nvidia\n"


class Tree:
    def __init__(self, root):
        self.root = str(root)
        self.write("proc/sys/kernel/hostname", "testhost\n")
        self.write("proc/cmdline", "BOOT_IMAGE=/vmlinuz root=/dev/sda1 ro\n")
        os.makedirs(self.path("sys/bus/pci/devices"), exist_ok=True)
        os.makedirs(self.path("usr/share/misc"), exist_ok=True)
        shutil.copy(PCI_IDS, self.path("usr/share/misc"))

    def path(self, name):
        return os.path.join(self.root, name)

    def write(self, name, text):
        os.makedirs(os.path.dirname(self.path(name)), exist_ok=True)
        with open(self.path(name), "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(text)

    def link(self, name, to):
        os.makedirs(os.path.dirname(self.path(name)), exist_ok=True)
        os.symlink(os.path.relpath(self.path(to), os.path.dirname(self.path(name))), self.path(name))

    def iommu(self):
        """Intel's, on, with interrupt remapping."""
        self.write("sys/firmware/acpi/tables/DMAR", "DMAR")
        self.write("sys/class/iommu/dmar0/intel-iommu/ecap", "f020de\n")
        self.write("proc/interrupts", DMAR_INTERRUPTS)
        self.write("proc/cpuinfo", "vendor_id\t: GenuineIntel\nflags\t\t: fpu vmx\n")

    def device(self, address, ids, device_class, driver=None, group=None, parent=None, board="0000:0000",
               bars=(), **files):
        """One function; bars are (bytes, flags). Other attributes are named by keyword."""
        above = f"sys/devices/pci{address[:4]}:00" + (f"/{parent}" if parent else "")
        home = f"{above}/{address}"
        vendor, device = ids.split(":")
        attributes = {
            "vendor": f"0x{vendor}", "device": f"0x{device}", "class": f"0x{device_class}",
            "revision": "0xa1", "subsystem_vendor": "0x" + board.split(":")[0],
            "subsystem_device": "0x" + board.split(":")[1], "numa_node": "-1", "local_cpulist": "0-3",
            "power_state": "D0", "power/runtime_status": "active", "reset_method": "flr bus",
            "resource": resources(bars), **files,
        }
        for name, text in attributes.items():
            if text is not None:
                self.write(f"{home}/{name}", text + "\n")
        with open(self.path(f"{home}/config"), "wb") as file:
            file.write(header(vendor, device, device_class))
        self.link(f"sys/bus/pci/devices/{address}", home)
        if driver:
            os.makedirs(self.path(f"sys/bus/pci/drivers/{driver}"), exist_ok=True)
            self.link(f"{home}/driver", f"sys/bus/pci/drivers/{driver}")
            self.link(f"sys/bus/pci/drivers/{driver}/{address}", home)
        if group is not None:
            at = f"sys/kernel/iommu_groups/{group}"
            if not os.path.exists(self.path(f"{at}/type")):
                self.write(f"{at}/type", "DMA-FQ\n")
                self.write(f"{at}/reserved_regions", "0x00000000fee00000 0x00000000feefffff msi\n")
            self.link(f"{at}/devices/{address}", home)
            self.link(f"{home}/iommu_group", at)


def header(vendor, device, device_class):
    """Configuration space of 256 bytes. Nobody here may read it: that would wake a real device."""
    space = bytearray(256)
    struct.pack_into("<HHHHI", space, 0, int(vendor, 16), int(device, 16), 0x0003, 0x0010,
                     int(device_class, 16) << 8 | 0xa1)
    space[0x0e] = 1 if device_class.startswith("0604") else 0
    return bytes(space)


def resources(bars):
    lines, at = [], 0x90000000
    for size, flags in bars:
        if not size:
            lines.append("0x%016x 0x%016x 0x%016x" % (0, 0, 0))
            continue
        lines.append("0x%016x 0x%016x 0x%016x" % (at, at + size - 1, flags))
        at += size
    return "\n".join(lines + ["0x%016x 0x%016x 0x%016x" % (0, 0, 0)] * (13 - len(lines)))


def desktop(root):
    """A card of two functions alone in its group, and the display of the processor."""
    tree = Tree(root)
    tree.iommu()
    tree.device("0000:00:00.0", "8086:3e30", "060000", group=0)
    tree.device("0000:00:01.0", "8086:1901", "060400", "pcieport", group=1)
    tree.device("0000:00:02.0", "8086:3e92", "030000", "i915", group=2, boot_vga="1",
                board="1043:8694", bars=[(16 << 20, 0x140204), (0, 0), (256 << 20, 0x14220c)])
    link = {"current_link_speed": "2.5 GT/s PCIe", "current_link_width": "16",
            "max_link_speed": "8.0 GT/s PCIe", "max_link_width": "16"}
    tree.device("0000:01:00.0", "10de:1b80", "030000", "nvidia", group=1, parent="0000:00:01.0",
                board="1458:3702", boot_vga="0", **link,
                bars=[(16 << 20, 0x40200), (256 << 20, 0x14220c), (0, 0), (32 << 20, 0x14220c)])
    tree.device("0000:01:00.1", "10de:10f0", "040300", "snd_hda_intel", group=1,
                parent="0000:00:01.0", board="1458:3702", bars=[(16 << 10, 0x40200)], **link)
    return tree


def dirty(root):
    """The same card, with the NVMe disk that the host runs from in its group."""
    tree = desktop(root)
    tree.device("0000:02:00.0", "144d:a808", "010802", "nvme", group=1, bars=[(16 << 10, 0x140204)])
    disk = "sys/devices/pci0000:00/0000:02:00.0/nvme/nvme0/nvme0n1"
    tree.write(f"{disk}/dev", "259:0\n")
    tree.write(f"{disk}/nvme0n1p2/dev", "259:2\n")
    tree.write(f"{disk}/nvme0n1p2/partition", "2\n")
    tree.link("sys/class/block/nvme0n1", disk)
    tree.link("sys/class/block/nvme0n1p2", f"{disk}/nvme0n1p2")
    tree.write("proc/1/mountinfo", "26 1 259:2 / / rw,relatime shared:1 - ext4 /dev/nvme0n1p2 rw\n")
    tree.write("proc/swaps", "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n")
    return tree


def many(root, cards):
    """A server: cards of two functions on a port of their own each."""
    tree = Tree(root)
    tree.iommu()
    for i in range(cards):
        bus = i + 1
        port = f"0000:00:{i // 8 + 1:02x}.{i % 8}"
        tree.device(port, "8086:2f08", "060400", "pcieport", group=100 + i)
        tree.device(f"0000:{bus:02x}:00.0", "10de:1b80", "030000", "nvidia", group=i, parent=port,
                    boot_vga="0", bars=[(16 << 20, 0x40200), (256 << 20, 0x14220c)],
                    current_link_speed="8.0 GT/s PCIe", current_link_width="16",
                    max_link_speed="8.0 GT/s PCIe", max_link_width="16")
        tree.device(f"0000:{bus:02x}:00.1", "10de:10f0", "040300", "snd_hda_intel", group=i,
                    parent=port, bars=[(16 << 10, 0x40200)])
    return tree
