# SPDX-License-Identifier: Apache-2.0
"""Cards that can be shared, on a real kernel: functions that QEMU serves, with kmod's drivers on them."""

import time

import images
import lab

MODULE = "/root/horcrux_standin.ko"
PARAMETERS = "/sys/module/horcrux_standin/parameters"
MONITOR = 4444
T4, GVTG = ("10de", "1eb8", "nvidia"), ("8086", "3e98", "i915")


def load(machine, **knobs):
    """The module, with knobs (kmod/standin.c)."""
    machine.push(images.standin(), MODULE, mode="644")
    machine.push(images.guests() / "guest.iso", "/root/guest.iso", mode="644")
    words = " ".join(f"{name}={value}" for name, value in knobs.items())
    machine.ssh(f"modprobe -a vfio mdev vfio_pci && insmod {MODULE} {words}")


def knob(machine, name, value):
    machine.ssh(f"echo {value} >{PARAMETERS}/{name}")


def plug(machine, card, name, bus):
    """A card of that kind, on the driver that stands in for its vendor's; its address."""
    vendor, device, driver = card
    address = machine.plug_card(name, bus, vendor, device)
    take(machine, address, driver)
    return address


def take(machine, address, driver):
    at = f"/sys/bus/pci/devices/{address}"
    machine.ssh(f"echo {driver} >{at}/driver_override; "
                f"[ ! -e {at}/driver ] || echo {address} >{at}/driver/unbind; "
                f"echo {address} >/sys/bus/pci/drivers/{driver}/bind && echo >{at}/driver_override")


def create(machine, address, kind, uuid, check=True):
    """An instance, by the kernel's own file; what it said."""
    return machine.ssh(f"echo {uuid} >/sys/bus/pci/devices/{address}/mdev_supported_types/{kind}/create", check=check)


def remove(machine, uuid, check=True):
    return machine.ssh(f"echo 1 >/sys/bus/mdev/devices/{uuid}/remove", check=check)


def guest_starts(machine, device, more=""):
    """A guest with that device, by QEMU alone; its monitor is on MONITOR."""
    machine.ssh("rm -f /root/serial; qemu-system-x86_64 -machine q35,accel=tcg -m 128 -nodefaults -display none "
                f"-serial file:/root/serial -cdrom /root/guest.iso -monitor tcp:127.0.0.1:{MONITOR},server,nowait "
                f"-device vfio-pci,{device} {more} >/root/qemu.log 2>&1 </dev/null & echo $! >/root/pid")


def guest(machine, device):
    """The same; what it said of what it has."""
    guest_starts(machine, device)
    return machine.wait("grep -q GUEST-DONE /root/serial && cat /root/serial", timeout=90,
                        what="the guest listed what it has")


def monitor(machine, command):
    """What QEMU says to a command for people."""
    return machine.ssh(f"exec 3<>/dev/tcp/127.0.0.1/{MONITOR}; echo '{command}' >&3; timeout 1 cat <&3 || true").out


def guest_ends(machine):
    machine.ssh("[ ! -s /root/pid ] || kill $(cat /root/pid); rm -f /root/pid", check=False)


def shared(machine, address):
    [card] = [c for c in machine.api("GET", "/api/vgpu/devices").body if c["pci_id"] == address]
    return card


def profiles(card):
    return {p["name"]: p for p in card["available_profiles"] or []}


def instances(machine):
    return {i["uuid"]: i for i in machine.api("GET", "/api/vgpu/instances").body}


def becomes(machine, what, wanted, timeout=20):
    start = time.monotonic()
    while True:
        now = what()
        if now == wanted:
            return
        assert time.monotonic() - start < lab.patience(timeout), (now, wanted)
        time.sleep(0.3)
