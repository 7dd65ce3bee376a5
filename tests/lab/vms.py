# SPDX-License-Identifier: Apache-2.0
"""What the tests of VMs share: VMs made through the API alone, and what can be seen of them.

A module that uses it takes its fixtures too: `from vms import *` brings isos (the guests' ISOs in the
pool, once a module) and swept (what a failed test left is ended, so that the next begins clean).
"""

import time
import xml.etree.ElementTree

import pytest

import images
import lab

# On every kind of host the bus of a card is the same: only bus 0 differs.
TWO = ("0000:01:00.0", "0000:01:00.1")
HOME = ("radeon", "snd_hda_intel")
ONE = "0000:02:00.0"
ONE_HOME = ("bochs-drm",)
DIRTY = "0000:04:01.0"
DEVICES = "/api/gpu/devices"
POOL = "/var/lib/horcrux/images"
VFIO = ("vfio-pci", "vfio-pci")

__all__ = ["isos", "swept"]


def put(machine, *paths):
    """Files into the pool's folder, as an administrator would copy them there."""
    machine.ssh(f"install -d -m 711 -o horcruxd -g horcruxd {POOL}")
    for path in paths:
        machine.push(path, f"{POOL}/{path.name}", mode="644")


@pytest.fixture(scope="module", autouse=True)
def isos(machine):
    put(machine, *sorted(images.guests().glob("*.iso")))


@pytest.fixture(autouse=True)
def swept(request, machine):
    failed = request.session.testsfailed
    yield
    left = [vm["id"] for vm in machine.api("GET", "/api/vms").body]
    for name in left:
        machine.api("POST", f"/api/vms/{name}/kill", None, {"Prefer": "wait=60"})
        machine.api("DELETE", f"/api/vms/{name}?delete_disks=true", None, {"Prefer": "wait=60"})
    for name in machine.ssh("virsh list --name").out.split():
        machine.ssh(f"virsh destroy {name}", check=False)
    assert request.session.testsfailed > failed or not left, f"{left} were left behind"


def drivers(machine, addresses=TWO):
    found = machine.functions()
    return tuple(found[a]["driver"] for a in addresses)


def spec_of(name, card=TWO[0], iso="guest.iso", gpu=None, **more):
    """The smallest VM: `card` is one address, several, or None."""
    spec = {"id": name, "cpus": 1, "memory": 128, "firmware": "bios", "network": {"kind": "none"}, "start": True}
    if iso:
        spec["cdrom"] = [iso]
    cards = [{"pci_address": a} | (gpu or {}) for a in ([card] if isinstance(card, str) else card or [])]
    if cards:
        spec["gpu_passthrough"] = cards if len(cards) > 1 else cards[0]
    return spec | more


def create(machine, name, card=TWO[0], iso="guest.iso", gpu=None, status=201, **more):
    """Made, and started unless start=False. Its resource, or the problem where `status` says so."""
    answer = machine.api("POST", "/api/vms", spec_of(name, card, iso, gpu, **more), {"Prefer": "wait=290"}, timeout=300)
    assert answer.status == status, answer.body
    return answer.body


def act(machine, name, verb, body=None, status=200):
    answer = machine.api("POST", f"/api/vms/{name}/{verb}", body, {"Prefer": "wait=290"}, timeout=300)
    assert answer.status == status, answer.body
    return answer.body


def show(machine, name):
    return machine.api("GET", f"/api/vms/{name}").body


def state(machine, name):
    return show(machine, name)["state"]


def device(machine, address=TWO[0]):
    return machine.api("GET", f"{DEVICES}/{address}").body


def seen(machine, name, what="GUEST-DONE", times=1, timeout=90):
    """What the guest said over its serial line, once it said `what`."""
    log = f"/var/log/libvirt/qemu/{name}-serial.log"
    return machine.wait(f"[ $(grep -c {what} {log}) -ge {times} ] && cat {log}", timeout=timeout,
                        what=f"{what} in {name}")


def becomes(machine, name, *states, timeout=60):
    start = time.monotonic()
    while state(machine, name) not in states:
        assert time.monotonic() - start < lab.patience(timeout), state(machine, name)
        time.sleep(0.3)


def comes_home(machine, addresses=TWO, home=HOME, timeout=60):
    """The card is on its drivers again, and free for the next VM."""
    start = time.monotonic()
    while drivers(machine, addresses) != tuple(home) or device(machine, addresses[0])["claimed_by"]:
        assert time.monotonic() - start < lab.patience(timeout), (drivers(machine, addresses),
                                                                  device(machine, addresses[0]))
        time.sleep(0.3)


def remove(machine, *names):
    for name in names:
        answer = machine.api("DELETE", f"/api/vms/{name}?delete_disks=true", None, {"Prefer": "wait=100"}, timeout=120)
        assert answer.status == 204, answer.body
        assert machine.api("GET", f"/api/vms/{name}").status == 404


def end(machine, name, addresses=TWO, home=HOME):
    """Killed, its card at home, and gone."""
    act(machine, name, "kill")
    comes_home(machine, addresses, home)
    remove(machine, name)


def running_xml(machine, name):
    """What libvirt says that runs."""
    return xml.etree.ElementTree.fromstring(machine.ssh(f"virsh dumpxml {name}").out)


def journey(machine):
    """Find, judge, bind, create and start, see it inside, stop by the ACPI button, home again."""
    two = machine.find("1002:5159") + machine.find("8086:2668")
    assert machine.api("GET", "/api/gpu/iommu-status").body["enabled"] is True
    assert two[0] in [row["pci_address"] for row in machine.api("GET", DEVICES).body]
    assert device(machine, two[0])["viable"]["ok"] is True
    assert machine.api("POST", f"{DEVICES}/{two[0]}/bind-vfio").status == 200
    assert drivers(machine, two) == VFIO
    vm = create(machine, "journey", two[0], disk_size=1, gpu={"multifunction": True})
    assert vm["state"] == "running"
    said = seen(machine, "journey")
    assert "01:00.0 1002:5159 030000" in said and "01:00.1 8086:2668 040300" in said
    now = device(machine, two[0])
    assert now["state"] == "in_use" and now["in_use"] is True and now["claimed_by"] == "journey"
    assert "journey" in machine.ssh("virsh list --name").out
    again = machine.api("POST", f"{DEVICES}/{two[0]}/unbind-vfio")
    assert again.status == 409 and {r["code"] for r in again.body["refusals"]} & {"held", "claimed"}
    act(machine, "journey", "stop")
    assert state(machine, "journey") == "stopped"
    assert drivers(machine, two) == VFIO, "bound before, so bound still"
    assert machine.api("POST", f"{DEVICES}/{two[0]}/unbind-vfio", None, {"Prefer": "wait=60"}).status == 200
    assert drivers(machine, two) == HOME
    remove(machine, "journey")
    assert machine.ssh(f"ls {POOL}/journey* 2>/dev/null", check=False).out == ""
