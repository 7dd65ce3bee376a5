# SPDX-License-Identifier: Apache-2.0
"""Which card a VM means, over changes of the machine and of the host: an address may become another
card's, and the host may get another name. On fake kernels, with one state folder.
"""
import contextlib
import os

import virtnode
from daemon import Daemon
from fakehost import FakeHost

HEAD = """machine m
kernel 6.12.107
cpu intel count=2
memory 30720
iommu dmar
drivers pcieport vfio-pci radeon nouveau e1000
pci 0000:00:00.0 8086:29c0 0600 pci group=0
pci 0000:00:1f.0 1234:1111 0300 pci group=30 boot_vga reset=flr bar0=16M
"""
RADEON = "pci {} 1002:5159 0300 sub=1af4:1100 driver=radeon reset=flr bar0=16M"
NVIDIA = "pci {} 10de:1b80 0300 sub=10de:1b80 driver=nouveau reset=flr bar0=16M"
NIC = "pci {} 8086:100e 0200 sub=1af4:1100 driver=e1000 reset=flr bar0=128K"


def machine(*ports):
    """(device of the root port, what sits below it), in the order in which buses are numbered."""
    text = HEAD
    for bus, (port, line) in enumerate(ports, 1):
        above = f"0000:00:{port:02x}.0"
        text += f"pci {above} 1b36:000c 0604 driver=pcieport group={2 * bus}\n"
        text += f"{line.format(f'0000:{bus:02x}:00.0')} under={above} group={2 * bus + 1}\n"
    return text


@contextlib.contextmanager
def daemon_on(folder, text, *flags):
    uri = virtnode.node(folder)
    with FakeHost(text, uevents=False) as host:
        os.symlink(folder / "state" / "uevent.sock", host.uevent_path)
        with Daemon(folder, host.root, f"--libvirt={uri}", *flags) as d:
            d.host = host
            yield d


def make(d, vm, card):
    reply = d.post("/api/vms", {"id": vm, "cpus": 1, "memory": 64, "firmware": "bios",
                                "network": {"kind": "none"}, "gpu_passthrough": {"pci_address": card}})
    assert reply.status == 201, reply


def card_of(d, address):
    return d.get(f"/api/gpu/devices/{address}").json()["card"]


def codes(reply):
    return [r["code"] for r in reply.json()["refusals"]]


def test_buses_are_numbered_anew(tmp_path):
    with daemon_on(tmp_path, machine((2, RADEON), (3, NVIDIA))) as d:
        make(d, "vm-1", "0000:02:00.0")
        meant = card_of(d, "0000:02:00.0")
        assert d.post("/api/vms/vm-1/start?dry_run=true").json()["plan"]["refusals"] == []
    with daemon_on(tmp_path, machine((1, NIC), (2, RADEON), (3, NVIDIA))) as d:
        assert card_of(d, "0000:03:00.0") == meant
        refused = d.post("/api/vms/vm-1/start")
        assert refused.status == 409 and codes(refused) == ["unknown_identity"]
        (told,) = refused.json()["refusals"]
        assert told["can_accept"] is True and told["subject"] == "0000:02:00.0"
        for part in ("1002:5159", meant, "10de:1b80", "0000:03:00.0"):
            assert part in told["evidence"], told
        assert d.host.driver("0000:02:00.0") == "radeon"
        assert d.post("/api/vms/vm-1/start", {"accept": ["unknown_identity"]}).status == 200
        assert d.host.driver("0000:02:00.0") == "vfio-pci"
        assert d.post("/api/vms/vm-1/kill").status == 200
        assert d.post("/api/vms/vm-1/start").status == 200      # it was confirmed, for good
        assert d.post("/api/vms/vm-1/restart").status == 200
        assert d.post("/api/vms/vm-1/kill").status == 200
    with daemon_on(tmp_path, machine((2, RADEON), (3, NVIDIA))) as d:
        assert codes(d.post("/api/vms/vm-1/start")) == ["unknown_identity"]     # for that card only


def test_the_card_went_elsewhere(tmp_path):
    with daemon_on(tmp_path, machine((2, RADEON), (3, NVIDIA))) as d:
        make(d, "vm-1", "0000:02:00.0")
    with daemon_on(tmp_path, machine((3, NVIDIA))) as d:
        gone = d.post("/api/vms/vm-1/start")
        assert gone.status == 409 and "0000:02:00.0" in gone.json()["detail"]
        assert "0000:01:00.0" in gone.json()["hint"]


def crash(d):
    d.process.kill()
    d.process.wait()
    d.process = None


def test_the_host_is_given_another_name(tmp_path):
    with daemon_on(tmp_path, "lab-like") as d:
        make(d, "vm-1", "0000:01:00.0")
        card = card_of(d, "0000:01:00.0")
        assert d.post("/api/vms/vm-1/start").status == 200
        crash(d)        # and the VM with it: its card is to come home
        d.argv = [a.replace("--node=testnode", "--node=renamed") for a in d.argv]
        d.start()
        assert d.get("/api/version").json()["node"] == "renamed"
        assert d.get("/api/gpu/devices/0000:01:00.0").json()["node"] == "renamed"
        assert card_of(d, "0000:01:00.0") == card
        assert d.wait_for(lambda: d.host.driver("0000:01:00.0") == "radeon", 20)
        assert d.wait_for(
            lambda: d.get("/api/gpu/devices/0000:01:00.0").json()["claimed_by"] is None, 20)


def test_the_id_of_the_host_is_lost(tmp_path):
    with daemon_on(tmp_path, "lab-like") as d:
        card = card_of(d, "0000:01:00.0")
        was = (tmp_path / "state/private/node-id").read_text()
        d.stop()
        (tmp_path / "state/private/node-id").write_text("")
        d.start()
        assert card_of(d, "0000:01:00.0") == card
        assert (tmp_path / "state/private/node-id").read_text() not in ("", was)
