# SPDX-License-Identifier: Apache-2.0
"""Mediated devices of PCI cards on a real kernel: what Horcrux tells of them, and that a guest gets them.

The drivers are stand-ins (kmod), the kernel's mdev and VFIO, and QEMU, are not.
"""

import re

import pytest
import standin
from standin import becomes, instances, profiles, shared

ONE, TWO, THREE = (f"11111111-2222-4333-8444-00000000000{n}" for n in (1, 2, 3))


@pytest.fixture(scope="module", autouse=True)
def cards(machine):
    """A T4 and an Intel GPU."""
    standin.load(machine)
    found = {"t4": standin.plug(machine, standin.T4, "t4", "rp5"),
             "gvtg": standin.plug(machine, standin.GVTG, "gvtg", "rp6")}
    return found


@pytest.fixture(autouse=True)
def swept(machine, cards):
    yield
    standin.guest_ends(machine)
    machine.ssh(f"for k in create_error catalogue_lag_ms; do [ ! -e {standin.PARAMETERS}/$k ] || "
                f"echo 0 >{standin.PARAMETERS}/$k; done; "
                "for d in /sys/bus/mdev/devices/*; do "
                "[ ! -e $d/remove ] || echo 1 >$d/remove; done", check=False)


def available(machine, address, *names):
    known = profiles(shared(machine, address))
    return [known[name]["available"] if name in known else None for name in names]


def test_a_t4_is_told_as_it_is(machine, cards):
    becomes(machine, lambda: available(machine, cards["t4"], "nvidia-222", "nvidia-223", "nvidia-232"), [16, 8, 4])
    card = shared(machine, cards["t4"])
    assert (card["vendor"], card["vgpu_type"], card["interface"], card["free"]) == ("NVIDIA", "nvidia", "mdev", 16)
    assert card["instances"] == [] and card["mode"] is None and card["unknown"]["mode"]
    p = profiles(card)["nvidia-232"]
    assert (p["vgpu_type"], p["framebuffer_mb"], p["max_instances"], p["heads"], p["max_resolution"], p["class"]) == (
        "GRID T4-4Q", 4096, 4, 4, "7680x4320", "vws")
    table = machine.ssh("horcrux vgpu profiles").out
    assert "GRID T4-4C" in table and "GVTg_V5_8" in table
    assert cards["t4"] in machine.ssh("horcrux vgpu list").out


def test_one_size_shuts_out_the_others(machine, cards):
    t4 = cards["t4"]
    standin.create(machine, t4, "nvidia-232", ONE)
    becomes(machine, lambda: available(machine, t4, "nvidia-222", "nvidia-232", "nvidia-319"), [0, 3, 3])
    card = shared(machine, t4)
    assert card["mode"] == "same_size" and card["free"] == 3
    assert profiles(card)["nvidia-222"]["why"] == "carries a 4 GB type; only 4 GB types fit"
    one = instances(machine)[ONE]
    assert (one["profile"], one["vgpu_type"], one["device"], one["vf"], one["state"]) == (
        "nvidia-232", "GRID T4-4Q", t4, None, "idle")
    assert "Invalid argument" in standin.create(machine, t4, "nvidia-222", TWO, check=False).err
    answer = machine.api("POST", f"/api/gpu/devices/{t4}/bind-vfio")
    assert answer.status == 409 and "mdev_live" in [r["code"] for r in answer.body["refusals"]]
    standin.remove(machine, ONE)
    becomes(machine, lambda: available(machine, t4, "nvidia-222", "nvidia-232"), [16, 4])


def test_gvtg_shares_what_it_has(machine, cards):
    gvtg = cards["gvtg"]
    names = [f"i915-GVTg_V5_{n}" for n in (1, 2, 4, 8)]
    becomes(machine, lambda: available(machine, gvtg, *names), [0, 0, 1, 2])
    card = shared(machine, gvtg)
    assert (card["vendor"], card["vgpu_type"], card["free"]) == ("Intel", "intel", 2)
    assert "aperture" in profiles(card)["i915-GVTg_V5_1"]["why"]
    assert profiles(card)["i915-GVTg_V5_8"]["details"]["low_gm_size"] == "64MB"
    standin.create(machine, gvtg, "i915-GVTg_V5_8", ONE)
    becomes(machine, lambda: available(machine, gvtg, *names), [0, 0, 0, 1])
    standin.create(machine, gvtg, "i915-GVTg_V5_8", TWO)
    assert "No space left" in standin.create(machine, gvtg, "i915-GVTg_V5_8", THREE, check=False).err
    becomes(machine, lambda: available(machine, gvtg, *names), [0, 0, 0, 0])
    assert set(instances(machine)) == {ONE, TWO}


@pytest.mark.parametrize("card, kind, ids", [("t4", "nvidia-222", "10de:1eb8 030200"),
                                              ("gvtg", "i915-GVTg_V5_8", "8086:3e98 030000")])
def test_a_guest_gets_it(machine, cards, card, kind, ids):
    standin.create(machine, cards[card], kind, ONE)
    becomes(machine, lambda: ONE in instances(machine) and instances(machine)[ONE]["state"], "idle")
    said = standin.guest(machine, f"sysfsdev=/sys/bus/mdev/devices/{ONE}")
    assert ids in said, said
    becomes(machine, lambda: instances(machine)[ONE]["state"], "in_use")
    users = machine.api("GET", f"/api/gpu/devices/{cards[card]}").body["used_by"]
    assert any(u["name"].startswith("qemu-system") for u in users), users
    standin.guest_ends(machine)
    becomes(machine, lambda: instances(machine)[ONE]["state"], "idle")


def test_it_moves(machine, cards):
    """Its state goes into a file with its guest's, and from there into another instance."""
    standin.create(machine, cards["t4"], "nvidia-222", ONE)
    standin.create(machine, cards["t4"], "nvidia-222", TWO)
    device = "sysfsdev=/sys/bus/mdev/devices/{},enable-migration=on,x-device-dirty-page-tracking=off"
    assert "10de:1eb8 030200" in standin.guest(machine, device.format(ONE))
    # where its firmware put the device's memory is in the device's own registers
    told = standin.monitor(machine, "info pci")
    bar = re.search(r"10de:1eb8.*?BAR0: 32 bit (?:prefetchable )?memory at (0x[0-9a-f]+)", told, re.S)
    assert bar, told
    standin.monitor(machine, "stop\nmigrate_set_parameter downtime-limit 60000\nmigrate \"exec:cat >/root/state\"")
    becomes(machine, lambda: "Migration status: completed" in standin.monitor(machine, "info migrate")
            or "Status: completed" in standin.monitor(machine, "info migrate"), True, timeout=60)
    standin.guest_ends(machine)
    standin.guest_starts(machine, device.format(TWO), '-incoming "exec:cat /root/state"')
    becomes(machine, lambda: "VM status: paused" in standin.monitor(machine, "info status"), True, timeout=60)
    assert bar[1] in standin.monitor(machine, "info pci")
    becomes(machine, lambda: [instances(machine)[u]["state"] for u in (ONE, TWO)], ["idle", "in_use"])


def test_a_driver_that_fails_or_lags(machine, cards):
    t4 = cards["t4"]
    becomes(machine, lambda: available(machine, t4, "nvidia-222"), [16])
    standin.knob(machine, "create_error", 1)
    assert "Input/output error" in standin.create(machine, t4, "nvidia-222", ONE, check=False).err
    assert instances(machine) == {}
    standin.knob(machine, "create_error", 0)
    standin.knob(machine, "catalogue_lag_ms", 1000)
    standin.create(machine, t4, "nvidia-232", ONE)
    # what it says too late is heard, too
    becomes(machine, lambda: available(machine, t4, "nvidia-222", "nvidia-232"), [0, 3])


def test_a_removal_that_is_to_be_tried_again(machine, cards):
    """Last: the kernel takes the file that removes the instance away with the first try."""
    t4 = cards["t4"]
    standin.create(machine, t4, "nvidia-222", ONE)
    standin.knob(machine, "remove_again", 1)
    assert "Resource temporarily unavailable" in standin.remove(machine, ONE, check=False).err
    standin.knob(machine, "remove_again", 0)
    becomes(machine, lambda: ONE in instances(machine), True)
    machine.ssh(f"echo {t4} >/sys/bus/pci/drivers/nvidia/unbind")
    becomes(machine, lambda: [c["pci_id"] for c in machine.api("GET", "/api/vgpu/devices").body], [cards["gvtg"]])
    assert instances(machine) == {}
    machine.ssh(f"echo {cards['gvtg']} >/sys/bus/pci/drivers/i915/unbind && rmmod horcrux_standin")
    assert "horcrux_standin" not in machine.ssh("dmesg | grep -i -A3 'BUG:\\|WARNING:'", check=False).out
