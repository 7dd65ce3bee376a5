# SPDX-License-Identifier: Apache-2.0
"""VFs that are given types, on a real kernel: QEMU's igb is cut, and a stand-in (kmod) drives its VFs as NVIDIA's driver does."""

import standin
from standin import becomes, instances, profiles, shared

CONF = "/etc/horcrux/horcrux.conf"
VF_IDS = "8086:10ca"
MIB_8192, MIB_1024 = 1152, 1145


def pf_of(machine):
    return machine.find("8086:10c9")[0]


def set_type(machine, vf, number, check=True):
    return machine.ssh(f"echo {number} >/sys/bus/pci/devices/{vf}/nvidia/current_vgpu_type", check=check)


def fitting(machine, pf):
    return sorted(name for name, p in profiles(shared(machine, pf)).items() if p["fits"])


ALL = ["nvidia-1145", "nvidia-1148", "nvidia-1150", "nvidia-1152", "nvidia-1156"]


def test_plain_vfs_become_ones_with_types(machine):
    standin.load(machine)
    machine.ssh(f"sed -i '/extra_classes/d' {CONF}; echo 'extra_classes = 0200' >>{CONF}; "
                "systemctl restart horcruxd && horcrux gpu list >/dev/null")
    pf = machine.plug("igb", "igb", "rp4", wait_for="8086:10c9")
    machine.wait(f"[ -e /sys/bus/pci/devices/{pf}/driver ] && horcrux gpu show {pf} >/dev/null 2>&1", timeout=30,
                 what="the card is listed")
    machine.ssh(f"horcrux gpu sriov {pf} 3")
    assert shared(machine, pf)["interface"] == "sriov"
    for vf in machine.find(VF_IDS):
        standin.take(machine, vf, "nvidia")
    becomes(machine, lambda: shared(machine, pf)["interface"], "vendor_vf")
    becomes(machine, lambda: fitting(machine, pf), ALL)
    card = shared(machine, pf)
    assert card["free"] == 3 and card["instances"] == []
    assert profiles(card)["nvidia-1152"]["framebuffer_mb"] == 8192
    assert profiles(card)["nvidia-1152"]["vgpu_type"] == "NVIDIA L40S-8Q"


def vf_states(machine):
    return {i["vf"]: (i["profile"], i["state"]) for i in machine.api("GET", "/api/vgpu/instances").body}


def test_a_type_that_is_set_shuts_out_others(machine):
    pf, vfs = pf_of(machine), machine.find(VF_IDS)
    set_type(machine, vfs[0], MIB_8192)
    becomes(machine, lambda: fitting(machine, pf), ["nvidia-1152"])
    card = shared(machine, pf)
    assert card["mode"] == "same_size" and card["free"] == 2
    assert profiles(card)["nvidia-1145"]["why"] == "carries an 8 GB type; only 8 GB types fit"
    becomes(machine, lambda: vf_states(machine), {vfs[0]: ("nvidia-1152", "idle")})
    assert "Invalid argument" in set_type(machine, vfs[1], MIB_1024, check=False).err


def test_a_guest_gets_it_and_it_stays_while_it_does(machine):
    vf = machine.find(VF_IDS)[0]
    try:
        assert "10de:26b9 030200" in standin.guest(machine, f"host={vf}")
        becomes(machine, lambda: vf_states(machine), {vf: ("nvidia-1152", "in_use")})
        assert "Operation not permitted" in set_type(machine, vf, 0, check=False).err
    finally:
        standin.guest_ends(machine)
    becomes(machine, lambda: vf_states(machine), {vf: ("nvidia-1152", "idle")})


def test_the_host_is_as_before(machine):
    pf, vfs = pf_of(machine), machine.find(VF_IDS)
    set_type(machine, vfs[0], 0)
    becomes(machine, lambda: fitting(machine, pf), ALL)
    assert instances(machine) == {}
    for vf in vfs:
        machine.ssh(f"echo {vf} >/sys/bus/pci/drivers/nvidia/unbind")
    becomes(machine, lambda: shared(machine, pf)["interface"], "sriov")
    machine.ssh(f"horcrux gpu sriov {pf} 0")
    assert machine.find(VF_IDS) == []
    machine.ssh("rmmod horcrux_standin")
    assert "horcrux_standin" not in machine.ssh("dmesg | grep -i -A3 'BUG:\\|WARNING:'", check=False).out
