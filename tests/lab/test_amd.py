# SPDX-License-Identifier: Apache-2.0
"""Stock Debian 13 with AMD's IOMMU: a boot, not a restore, so the daemon comes up with its host here."""

from vms import *  # noqa: F403 its fixtures
from vms import HOME, VFIO, comes_home, create, device, drivers, journey, remove, seen, show, state

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


def test_started_with_the_host(machine):
    """Once per boot, as soon as its card can be given away; and only who is to be."""
    create(machine, "early", start=False, autostart=True)
    create(machine, "idle", None, start=False)
    machine.reboot()
    machine.wait("horcrux vm list >/dev/null", timeout=120)
    machine.wait("horcrux vm show early -o json | grep -q '\"state\":\"running\"'", timeout=120)
    assert "01:00.0 1002:5159" in seen(machine, "early")
    assert drivers(machine) == VFIO and device(machine)["claimed_by"] == "early"
    assert state(machine, "idle") == "stopped"
    assert show(machine, "early")["started_at"] > show(machine, "early")["created_at"]
    # ended by its owner, it stays so, also when the daemon comes up again
    machine.api("POST", "/api/vms/early/kill", None, {"Prefer": "wait=60"})
    comes_home(machine)
    machine.ssh("systemctl restart horcruxd")
    machine.wait("horcrux vm list >/dev/null && curl -fs localhost:8006/api/health >/dev/null")
    assert machine.api("GET", "/api/gpu/devices").status == 200
    assert [t for t in machine.api("GET", "/api/tasks").body if "early" in t["title"]] == []
    assert state(machine, "early") == "stopped" and drivers(machine) == HOME
    remove(machine, "early", "idle")
