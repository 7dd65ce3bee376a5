# SPDX-License-Identifier: Apache-2.0
"""Every end of a VM gives its card back, whoever brought it about; and what is no end gives nothing back."""

import pytest

from vms import *  # noqa: F403 its fixtures
from vms import VFIO, act, becomes, comes_home, create, drivers, end, remove, seen, show, state

DAEMONS_UP = "systemctl is-active -q horcruxd && horcrux vm list >/dev/null"


def test_by_the_guest(machine):
    create(machine, "ends", iso="guest-off.iso")
    comes_home(machine)
    becomes(machine, "ends", "stopped")
    assert "GUEST-DONE" in seen(machine, "ends")
    remove(machine, "ends")


def test_a_reboot_gives_nothing_back(machine):
    create(machine, "again", iso="guest-reboot.iso")
    seen(machine, "again", times=2)
    assert drivers(machine) == VFIO and state(machine, "again") == "running"
    end(machine, "again")


@pytest.mark.parametrize("way,command", [("destroyed", "virsh destroy destroyed"),
                                         ("killed", "kill -KILL $(cat /run/libvirt/qemu/killed.pid)")])
def test_by_others(machine, way, command):
    create(machine, way)
    machine.ssh(command)
    comes_home(machine)
    becomes(machine, way, "stopped", "crashed")
    act(machine, way, "start")
    seen(machine, way)
    end(machine, way)


def test_while_the_daemon_was_down(machine):
    create(machine, "unseen")
    machine.ssh("systemctl stop horcruxd")
    machine.ssh("virsh destroy unseen")
    assert drivers(machine) == VFIO
    machine.ssh("systemctl start horcruxd")
    machine.wait(DAEMONS_UP)
    comes_home(machine)
    becomes(machine, "unseen", "stopped", "crashed")
    remove(machine, "unseen")


def test_a_running_vm_survives_the_daemons(machine):
    create(machine, "lives")
    seen(machine, "lives")
    qemu = machine.ssh("cat /run/libvirt/qemu/lives.pid").out
    began = show(machine, "lives")["started_at"]
    for command in ("systemctl kill -s KILL horcruxd horcrux-privd", "systemctl restart horcruxd horcrux-privd"):
        machine.ssh(command)
        machine.wait(DAEMONS_UP)
        becomes(machine, "lives", "running")
        assert drivers(machine) == VFIO and machine.ssh("cat /run/libvirt/qemu/lives.pid").out == qemu
    assert show(machine, "lives")["started_at"] == began
    act(machine, "lives", "stop")
    comes_home(machine)
    remove(machine, "lives")


def test_who_boots_yet_is_asked_again(machine):
    create(machine, "early")
    act(machine, "early", "stop", {"timeout_s": 240})
    comes_home(machine)
    assert "GUEST-DONE" in seen(machine, "early"), "it was off before it could hear anything"
    remove(machine, "early")


def test_who_ignores_the_button_runs_on(machine):
    create(machine, "deaf", iso="guest-deaf.iso")
    seen(machine, "deaf")
    problem = act(machine, "deaf", "stop", {"timeout_s": 3}, status=409)
    assert problem["code"] == "conflict" and "horcrux vm kill deaf" in problem["hint"]
    assert state(machine, "deaf") == "running" and drivers(machine) == VFIO
    end(machine, "deaf")
