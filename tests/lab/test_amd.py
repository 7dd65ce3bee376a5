# SPDX-License-Identifier: Apache-2.0
"""Stock Debian 13 with AMD's IOMMU: a boot, not a restore, so the daemon comes up with its host here."""

from vms import *  # noqa: F403 its fixtures
from vms import journey

KIND = "trixie-amd"


def card(machine):
    return machine.find("1002:5159") + machine.find("8086:2668")


def test_machine(machine):
    assert "ivhd0" in machine.ssh("ls /sys/class/iommu").out
    assert "AMD-Vi: Interrupt remapping enabled" in machine.ssh("dmesg").out
    found = machine.functions()
    assert [found[a]["driver"] for a in card(machine)] == ["radeon", "snd_hda_intel"]
    assert len({found[a]["group"] for a in card(machine)}) == 1


def test_daemon_came_up_with_the_host(machine):
    assert machine.ssh("systemctl is-active horcruxd horcruxd.socket horcrux-privd.socket").rc == 0
    listed = machine.api("GET", "/api/gpu/devices").body
    assert card(machine)[0] in [row["pci_address"] for row in listed]


def test_iommu_verdict(machine):
    answer = machine.api("GET", "/api/gpu/iommu-status").body
    assert answer["enabled"] is True
    assert answer["kind"] == "amd"
    assert answer["interrupt_remapping"] is True


def test_the_journey(machine):
    journey(machine)
