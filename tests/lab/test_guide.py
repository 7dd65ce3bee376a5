# SPDX-License-Identifier: Apache-2.0
"""The commands of README and of docs/GUIDE.md, word for word, in their order. The lab's card is at the address
that they name. What a host of the lab has no room for is smaller: memory, processors, disks."""

import pathlib
import re

import pytest

import images

TOP = pathlib.Path(__file__).resolve().parent.parent.parent
CARD = "0000:01:00.0"
PF = "0000:05:00.0"
SMALLER = [("16384", "256"), ("--cpus 8", "--cpus 1"), ('"cpus": 8', '"cpus": 1'), ("--disk 100", "--disk 1"),
           ('"disk_size": 100', '"disk_size": 1')]
TINY = {"id": "vm-100", "name": "tiny", "cpus": 1, "memory": 128, "firmware": "bios", "cdrom": ["guest.iso"],
        "network": [{"kind": "none"}], "gpu_passthrough": {"pci_address": CARD}, "start": True}
WAIT = {"Prefer": "wait=300"}


def commands(page):
    """The indented lines that call Horcrux; one that ends in a backslash or inside quotes goes on."""
    found, open_quotes = [], False
    for line in (TOP / page).read_text("utf-8").splitlines():
        if not line.startswith("    "):
            continue
        if found and (open_quotes or found[-1].endswith("\\")):
            found[-1] += "\n" + line.strip()
        elif re.match(" +(curl|sudo horcrux) ", line):
            found.append(line.strip())
        else:
            continue
        open_quotes = found[-1].count("'") % 2 == 1
    return found


def wait_for_drivers(machine, *names):
    for address, name in zip((CARD, CARD[:-1] + "1"), names):
        machine.wait(f"readlink /sys/bus/pci/devices/{address}/driver | grep {name}$")


def prepare(machine, words):
    """What a user has at that point of the page and a list of commands has not."""
    if PF in words and not machine.find("8086:10c9"):
        # the lab has no graphics card that can be cut: a network card counts as one
        machine.ssh("echo 'extra_classes = 0200' >>/etc/horcrux/horcrux.conf; systemctl restart horcruxd")
        assert machine.plug("igb", "igb", "rp4", wait_for="8086:10c9") == PF
        machine.wait(f"[ -e /sys/bus/pci/devices/{PF}/driver ] && horcrux gpu show {PF}", timeout=30)
    if "vm create" in words or words.startswith("curl -X POST http://localhost:8006/api/vms -H"):
        machine.ssh("horcrux vm kill vm-100; horcrux vm delete vm-100 --delete-disks; horcrux gpu unbind --all",
                    check=False, timeout=120)
    if re.search("vm stop|/stop", words):
        # a guest that listens to its power button
        machine.ssh("horcrux vm kill vm-100; horcrux vm delete vm-100 --delete-disks", check=False, timeout=120)
        made = machine.api("POST", "/api/vms", TINY, headers=WAIT, timeout=310)
        assert made.status == 201, made.body
        machine.wait("grep GUEST-DONE /var/log/libvirt/qemu/vm-100-serial.log", timeout=120)


@pytest.mark.parametrize("page", ["README.md", "docs/GUIDE.md"])
def test_every_command_works_as_printed(machine, page):
    machine.push(images.guests() / "guest.iso", "/var/lib/horcrux/images/guest.iso", mode="644")
    said = commands(page)
    assert len(said) > (5 if page == "README.md" else 15), said
    for words in said:
        prepare(machine, words)
        for large, small in SMALLER:
            words = words.replace(large, small)
        # so that an answer of failure ends in failure, and a slow host is waited for
        words = words.replace("curl ", "curl -sS --fail-with-body -H 'Prefer: wait=300' ", 1)
        done = machine.ssh(words, check=False, timeout=310)
        assert done.rc == 0, f"{words}\n{done.out}{done.err}"
        if "--plan" in words or "dry_run" in words:
            continue
        if PF in words:
            assert len(machine.find("8086:10ca")) == 4, words
        if " bind" in words or "bind-vfio" in words and "unbind" not in words:
            wait_for_drivers(machine, "vfio-pci", "vfio-pci")
        if "unbind" in words:
            wait_for_drivers(machine, "radeon", "snd_hda_intel")
    assert machine.ssh("virsh list --name").out.split() == []
    wait_for_drivers(machine, "radeon", "snd_hda_intel")
