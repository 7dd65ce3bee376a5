# SPDX-License-Identifier: Apache-2.0
"""Virtual machines that own a card, on real libvirt and QEMU: seen inside the guest, and given back at every end."""

import time

import pytest

import images

TWO = ["0000:01:00.0", "0000:01:00.1"]
ONE = "0000:02:00.0"
HOME = ["radeon", "snd_hda_intel"]


@pytest.fixture(scope="module", autouse=True)
def isos(machine):
    machine.ssh("install -d -m 711 -o horcruxd -g horcruxd /var/lib/horcrux/images")
    for iso in ("guest.iso", "guest-off.iso", "guest-reboot.iso", "guest-deaf.iso"):
        machine.push(images.guests() / iso, f"/var/lib/horcrux/images/{iso}", mode="644")


def drivers(machine, addresses):
    found = machine.functions()
    return [found[a]["driver"] for a in addresses]


def create(machine, name, card=TWO[0], iso="guest.iso", status=201, **more):
    spec = {"id": name, "name": name, "cpus": 1, "memory": 128, "firmware": "bios", "network": {"kind": "none"},
            "cdrom": [iso], "start": True}
    if card:
        spec["gpu_passthrough"] = {"pci_address": card} | more.pop("gpu", {})
    answer = machine.api("POST", "/api/vms", spec | more, {"Prefer": "wait=200"}, timeout=240)
    assert answer.status == status, answer.body
    return answer.body


def seen(machine, name, what="GUEST-DONE", timeout=90):
    log = f"/var/log/libvirt/qemu/{name}-serial.log"
    return machine.wait(f"grep -q {what} {log} && cat {log}", timeout=timeout, what=f"{what} in {name}")


def act(machine, name, verb, body=None, status=200, timeout=240):
    answer = machine.api("POST", f"/api/vms/{name}/{verb}", body, {"Prefer": "wait=200"}, timeout=timeout)
    assert answer.status == status, answer.body
    return answer.body


def state(machine, name):
    return machine.api("GET", f"/api/vms/{name}").body["state"]


def comes_home(machine, addresses=tuple(TWO), home=tuple(HOME), timeout=60):
    start = time.monotonic()
    while drivers(machine, addresses) != list(home):
        assert time.monotonic() - start < timeout, drivers(machine, addresses)
        time.sleep(0.5)


def remove(machine, name):
    answer = machine.api("DELETE", f"/api/vms/{name}?delete_disks=true", None, {"Prefer": "wait=100"}, timeout=120)
    assert answer.status == 204, answer.body
    assert machine.api("GET", f"/api/vms/{name}").status == 404


def test_the_journey(machine):
    """Find, judge, bind, create and start, see it inside, stop by the ACPI button, home again."""
    assert machine.api("GET", "/api/gpu/iommu-status").body["enabled"] is True
    assert machine.api("POST", f"/api/gpu/devices/{TWO[0]}/bind-vfio").status == 200
    vm = create(machine, "journey", disk_size=1, gpu={"multifunction": True})
    assert vm["state"] == "running"
    said = seen(machine, "journey")
    assert "01:00.0 1002:5159 030000" in said and "01:00.1 8086:2668 040300" in said
    device = machine.api("GET", f"/api/gpu/devices/{TWO[0]}").body
    assert device["state"] == "in_use" and device["in_use"] is True and device["claimed_by"] == "journey"
    assert "journey" in machine.ssh("virsh list --name").out
    again = machine.api("POST", f"/api/gpu/devices/{TWO[0]}/unbind-vfio")
    assert again.status == 409 and {r["code"] for r in again.body["refusals"]} & {"held", "claimed"}
    act(machine, "journey", "stop")
    assert state(machine, "journey") == "stopped"
    assert machine.api("POST", f"/api/gpu/devices/{TWO[0]}/unbind-vfio", None, {"Prefer": "wait=60"}).status == 200
    assert drivers(machine, TWO) == HOME
    remove(machine, "journey")
    assert machine.ssh("ls /var/lib/horcrux/images/journey* 2>/dev/null", check=False).out == ""


def test_a_card_taken_at_start_goes_home_at_stop(machine):
    create(machine, "taken")
    seen(machine, "taken")
    assert drivers(machine, TWO) == ["vfio-pci", "vfio-pci"]
    act(machine, "taken", "stop")
    comes_home(machine)
    assert machine.api("GET", f"/api/gpu/devices/{TWO[0]}").body["claimed_by"] is None
    remove(machine, "taken")


def test_bochs_display(machine):
    create(machine, "bochs", ONE)
    assert "01:00.0 1234:1111 038000" in seen(machine, "bochs")
    act(machine, "bochs", "kill")
    comes_home(machine, (ONE,), ("bochs-drm",))
    remove(machine, "bochs")


def test_card_of_nvidias_ids(machine):
    address = machine.plug_card("nvidia", bus="rp5")
    create(machine, "nvidia", address)
    assert "01:00.0 10de:20b0 030200" in seen(machine, "nvidia")
    act(machine, "nvidia", "kill")
    comes_home(machine, (address,), (None,))
    machine.unplug("nvidia")
    gone = machine.api("POST", "/api/vms/nvidia/start", None, {"Prefer": "wait=60"})
    assert gone.status in (404, 409) and address in str(gone.body), "a VM whose card is gone says so"
    assert state(machine, "nvidia") == "stopped"
    remove(machine, "nvidia")


def test_with_a_rom(machine):
    machine.ssh("install -d /var/lib/horcrux/roms && rom=$(find / -xdev -name vgabios-ati.bin 2>/dev/null | head -n 1) && "
                "cp $rom /var/lib/horcrux/roms/ati.bin && chmod 644 /var/lib/horcrux/roms/ati.bin && "
                "head -c 512 $rom | tr '\\002' '\\003' >/var/lib/horcrux/roms/bad.bin")
    create(machine, "rom", gpu={"rom_file": "ati.bin"})
    assert "rom=1002:5159" in seen(machine, "rom")
    act(machine, "rom", "kill")
    comes_home(machine)
    remove(machine, "rom")
    for name in ("bad.bin", "none.bin", "/etc/passwd"):
        assert create(machine, "badrom", gpu={"rom_file": name}, status=422)["pointer"].startswith("/gpu_passthrough")
    assert machine.api("GET", "/api/vms/badrom").status == 404
    assert drivers(machine, TWO) == HOME
