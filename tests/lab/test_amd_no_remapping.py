# SPDX-License-Identifier: Apache-2.0
"""A kernel that turns AMD's interrupt remapping off: groups are there, VFIO refuses all the same."""

from vms import *  # noqa: F403 its fixtures
from vms import HOME, POOL, TWO, act, create, device, drivers, remove, state

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


def test_vm_start_is_refused_with_the_reason(machine):
    """Not tried and failed: refused before anything is touched."""
    files = machine.ssh(f"ls {POOL}").out
    problem = create(machine, "never", status=409, disk_size=1)
    assert [r["code"] for r in problem["refusals"]] == ["no_interrupt_remapping"], problem["refusals"]
    refused, = problem["refusals"]
    assert refused["can_accept"] is False
    assert "interrupt" in refused["reason"] and refused["evidence"] and refused["fix"]
    problem = create(machine, "never", status=409, disk_size=1, accept=["no_interrupt_remapping"])
    assert [r["code"] for r in problem["refusals"]] == ["no_interrupt_remapping"]
    said = machine.ssh(f"horcrux vm create --id never --cpus 1 --memory 128 --cdrom guest.iso --gpu {TWO[0]} --start",
                       check=False)
    assert said.rc == 3 and "no_interrupt_remapping" in said.out + said.err and refused["fix"] in said.out + said.err
    assert machine.api("GET", "/api/vms").body == [] and machine.ssh(f"ls {POOL}").out == files
    # made, and not started
    create(machine, "later", start=False)
    assert [r["code"] for r in act(machine, "later", "start", status=409)["refusals"]] == ["no_interrupt_remapping"]
    assert machine.ssh("horcrux vm start later", check=False).rc == 3
    assert state(machine, "later") == "stopped" and drivers(machine) == HOME and device(machine)["claimed_by"] is None
    assert machine.ssh("virsh list --name --all").out.strip() == ""
    remove(machine, "later")
