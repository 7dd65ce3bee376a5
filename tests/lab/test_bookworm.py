# SPDX-License-Identifier: Apache-2.0
"""Stock Debian 12: the oldest kernel, QEMU and libvirt that are promised to work."""

from vms import *  # noqa: F403 its fixtures
from vms import journey

KIND = "bookworm-intel"


def test_machine(machine):
    assert machine.ssh("uname -r").out.startswith("6.1.")
    assert "9.0" in machine.ssh("virsh --version").out
    assert "7.2" in machine.ssh("qemu-system-x86_64 --version").out
    found = machine.functions()
    assert found["0000:01:00.0"]["driver"] == "radeon"
    assert found["0000:01:00.1"]["driver"] == "snd_hda_intel"
    assert found["0000:01:00.0"]["group"] == found["0000:01:00.1"]["group"]
    assert "libvirtd" in machine.ssh("aa-status").out.split("profiles are in enforce mode.")[1]


def test_cards_and_iommu(machine):
    listed = [row["pci_address"] for row in machine.api("GET", "/api/gpu/devices").body]
    assert "0000:01:00.0" in listed and "0000:02:00.0" in listed
    answer = machine.api("GET", "/api/gpu/iommu-status").body
    assert answer["enabled"] is True
    assert answer["kind"] == "intel"


def test_the_journey(machine):
    journey(machine)
