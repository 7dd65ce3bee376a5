# SPDX-License-Identifier: Apache-2.0
"""Virtual functions on a real kernel: made, given to a VM, kept while it has one, made again after a boot
before the VM that starts with the host. QEMU's igb is cut; it counts as a card by configuration."""

import time

import lab
from vms import *  # noqa: F403 its fixtures
from vms import DEVICES, act, becomes, comes_home, create, device, drivers, remove, seen, state

CONF = "/etc/horcrux/horcrux.conf"
IGB = ("-device", "igb,id=igb,bus=rp4")
VF_IDS = "8086:10ca"


def cut(machine, vfs, pf, status=200):
    answer = machine.api("PUT", f"{DEVICES}/{pf}/sriov", {"vfs": vfs}, {"Prefer": "wait=100"}, timeout=120)
    assert answer.status == status, answer.body
    return answer.body


def autoprobe(machine, pf):
    return machine.ssh(f"cat /sys/bus/pci/devices/{pf}/sriov_drivers_autoprobe").out.strip()


def pf_of(machine):
    return machine.find("8086:10c9")[0]


def has_vfs(machine, n, timeout=60):
    start = time.monotonic()
    while len(machine.find(VF_IDS)) != n:
        assert time.monotonic() - start < lab.patience(timeout), machine.functions()
        time.sleep(0.3)


def free_is(machine, pf, free, timeout=20):
    """The shared card says that so many of its VFs are free."""
    start = time.monotonic()
    while True:
        [card] = [c for c in machine.api("GET", "/api/vgpu/devices").body if c["pci_id"] == pf]
        if card["free"] == free:
            return card
        assert time.monotonic() - start < lab.patience(timeout), card
        time.sleep(0.3)


def test_network_cards_count_as_cards_here(machine):
    machine.ssh(f"sed -i '/extra_classes/d' {CONF}; echo 'extra_classes = 0200' >>{CONF}; "
                "systemctl restart horcruxd && horcrux gpu list >/dev/null")
    # their driver of the host is there already, as a graphics card's is: it would take them
    machine.ssh("echo igbvf >/etc/modules-load.d/igbvf.conf && modprobe igbvf")
    pf = machine.plug("igb", "igb", "rp4", wait_for="8086:10c9")
    machine.wait(f"[ -e /sys/bus/pci/devices/{pf}/driver ] && horcrux gpu show {pf} >/dev/null 2>&1", timeout=30,
                 what="the card is listed")
    assert device(machine, pf)["sriov"] == {"total": 7, "active": 0, "wanted": None, "vfs": []}


def test_made_and_taken_away(machine):
    pf = pf_of(machine)
    body = cut(machine, 2, pf)
    vfs = body["sriov"]["vfs"]
    assert machine.find(VF_IDS) == vfs and len(vfs) == 2 and body["sriov"]["wanted"] == 2
    assert drivers(machine, vfs) == (None, None) and autoprobe(machine, pf) == "1"
    assert [device(machine, v)["physfn"] for v in vfs] == [pf, pf], "the list is older than the answer"
    body = cut(machine, 4, pf)
    assert machine.find(VF_IDS) == body["sriov"]["vfs"] and len(body["sriov"]["vfs"]) == 4
    problem = cut(machine, 8, pf, status=422)
    assert problem["pointer"] == "/vfs" and problem["hint"] == "0 to 7"
    said = machine.ssh(f"horcrux gpu sriov {pf} 0").out
    assert f"{pf} has 0 of 7 VFs" in said and machine.find(VF_IDS) == []
    assert machine.ssh(f"ls /sys/bus/pci/devices/{pf}/driver/module/drivers").out.strip() == "pci:igb"


def test_a_card_without_is_told_so(machine):
    problem = cut(machine, 1, "0000:02:00.0", status=409)
    assert "no SR-IOV" in problem["detail"]


def test_in_a_vm_it_stays(machine):
    pf = pf_of(machine)
    vf = cut(machine, 3, pf)["sriov"]["vfs"][1]
    create(machine, "virtual", vf)
    assert f"01:00.0 {VF_IDS} 020000" in seen(machine, "virtual")
    card = free_is(machine, pf, 2)
    assert (card["interface"], card["available_profiles"], card["instances"]) == ("sriov", [], [])
    assert pf in machine.ssh("horcrux vgpu list").out
    before = machine.functions()
    for wanted in (0, 1, 7):
        problem = cut(machine, wanted, pf, status=409)
        assert "claimed" in [r["code"] for r in problem["refusals"]], problem
    assert machine.functions() == before and state(machine, "virtual") == "running"
    # its PF is not to be had either
    answer = machine.api("POST", f"{DEVICES}/{pf}/bind-vfio")
    assert answer.status == 409 and "pf_has_vfs" in [r["code"] for r in answer.body["refusals"]]
    act(machine, "virtual", "kill")
    comes_home(machine, (vf,), (None,))
    remove(machine, "virtual")
    free_is(machine, pf, 3)
    cut(machine, 0, pf)
    has_vfs(machine, 0)


def test_there_again_before_the_vm_that_starts_with_the_host(machine):
    pf = pf_of(machine)
    vf = cut(machine, 3, pf)["sriov"]["vfs"][2]
    create(machine, "early", vf, start=False, autostart=True)
    machine.reboot(*IGB)
    assert pf_of(machine) == pf
    has_vfs(machine, 3)
    machine.wait("horcrux vm show early >/dev/null 2>&1", timeout=60, what="the daemon answers")
    becomes(machine, "early", "running", timeout=120)
    assert f"01:00.0 {VF_IDS} 020000" in seen(machine, "early")
    now = device(machine, pf)["sriov"]
    assert (now["active"], now["wanted"]) == (3, 3)
    tasks = machine.api("GET", "/api/tasks").body
    made, started = ([t for t in tasks if word in t["title"]][0] for word in ("3 VFs", "early"))
    assert made["ended_at"] <= started["started_at"]
    act(machine, "early", "kill")
    comes_home(machine, (vf,), (None,))
    remove(machine, "early")
    cut(machine, 0, pf)
