# SPDX-License-Identifier: Apache-2.0
"""A kernel that turns AMD's interrupt remapping off: groups are there, VFIO refuses all the same."""

KIND = "trixie-amd-bpo"


def test_machine(machine):
    assert machine.ssh("uname -r").out.startswith("7.")
    assert "ivhd0" in machine.ssh("ls /sys/class/iommu").out
    assert "Interrupt remapping enabled" not in machine.ssh("dmesg").out
    found = machine.functions()
    assert found[machine.find("1002:5159")[0]]["group"]


def test_iommu_verdict(machine):
    answer = machine.api("GET", "/api/gpu/iommu-status").body
    assert answer["enabled"] is True
    assert answer["interrupt_remapping"] is False
