# SPDX-License-Identifier: Apache-2.0
"""VMs through the API, on the fake kernel and libvirt's test driver: cards are really bound and given
back there, domains live in the driver's memory. What needs a guest, or another hand on libvirt (an ACPI
button that is not heeded, `virsh destroy`, a killed QEMU), is the lab's.
"""
import os
import re
import struct
import threading

import golden
import pytest
import virtnode
from daemon import Daemon, check_problem
from fakehost import FakeHost

RADEON, AUDIO, CONSOLE = "0000:01:00.0", "0000:01:00.1", "0000:00:01.0"
DISPLAY, DIRTY, NIC = "0000:02:00.0", "0000:04:01.0", "0000:04:02.0"
HOME = {RADEON: "radeon", AUDIO: "snd_hda_intel", DISPLAY: "bochs-drm"}


class World:
    """A machine, a libvirt, a daemon; `volumes` lie in the pool already."""

    def __init__(self, folder, machine="lab-like", uri=None, flags=(), **node):
        self.folder, self.flags = folder, flags
        self.host = FakeHost(machine, uevents=False)
        self.uri = uri or virtnode.node(folder, **node)

    def __enter__(self):
        self.host.__enter__()
        try:
            os.symlink(self.folder / "state" / "uevent.sock", self.host.uevent_path)
            self.d = Daemon(self.folder, self.host.root, f"--libvirt={self.uri}", *self.flags).__enter__()
        except BaseException:
            self.host.close()
            raise
        self.d.host, self.d.folder_path = self.host, self.folder
        self.d.get("/api/gpu/devices")
        return self.d

    def __exit__(self, *exception):
        try:
            self.d.__exit__(*exception)
        finally:
            self.host.close()


@pytest.fixture
def d(tmp_path):
    with World(tmp_path, volumes={"tiny.iso": "raw", "old.qcow2": "qcow2", "vm-2.qcow2": "qcow2"}) as daemon:
        yield daemon


@pytest.fixture(scope="module")
def quiet(tmp_path_factory):
    """One for all requests that change nothing."""
    folder = tmp_path_factory.mktemp("vms")
    roms = folder / "roms"
    roms.mkdir()
    (roms / "radeon.rom").write_bytes(rom(0x1002, 0x5159))
    (roms / "other.rom").write_bytes(rom(0x10de, 0x1b80))
    (roms / "text.rom").write_text("this is no option ROM at all\n")
    (roms / "empty.rom").write_bytes(b"")
    (roms / "short.rom").write_bytes(rom(0x1002, 0x5159)[:600])
    (roms / "folder.rom").mkdir()
    os.mkfifo(roms / "pipe.rom")
    with open(roms / "huge.rom", "wb") as huge:
        huge.truncate(17 << 20)
    (folder / "secret.rom").write_bytes(rom(0x1002, 0x5159))
    (roms / "link.rom").symlink_to("../secret.rom")
    with World(folder, volumes={"tiny.iso": "raw", "old.qcow2": "qcow2", "taken.qcow2": "qcow2"},
               flags=[f"--rom-dirs={folder / 'none'}:{roms}"]) as daemon:
        daemon.roms = roms
        assert daemon.post("/api/vms", spec("there")).status == 201
        yield daemon


def rom(vendor, device):
    """An option ROM of one image: 55AA, its length, a PCIR that says whose it is."""
    image = bytearray(1024)
    image[0:3] = b"\x55\xaa\x02"
    struct.pack_into("<H", image, 0x18, 0x1c)
    struct.pack_into("<4sHHHHB3sHHBBH", image, 0x1c, b"PCIR", vendor, device, 0, 0x18, 0, b"\x00\x00\x03",
                     2, 0, 0, 0x80, 0)
    return bytes(image)


def spec(vm="vm-1", card=None, **more):
    body = {"id": vm, "cpus": 1, "memory": 64, **more}
    if card:
        body["gpu_passthrough"] = {"pci_address": card}
    return body


def make(d, *args, **more):
    reply = d.post("/api/vms", spec(*args, **more))
    assert reply.status == 201, reply
    return reply.json()


def device(d, address=RADEON):
    return d.get(f"/api/gpu/devices/{address}").json()


def drivers(d, *addresses):
    return [d.host.driver(a) for a in addresses or (RADEON, AUDIO)]


def steps(reply):
    return [s["kind"] for s in reply.json()["plan"]["steps"]]


def steady(body):
    """What differs from run to run, put to fixed words."""
    body = re.sub(rb'"[0-9a-f]{64}"', b'"' + b"0" * 64 + b'"', body)
    body = re.sub(rb"card-[0-9a-f]{16}", b"card-0000000000000000", body)
    return re.sub(rb"0000-[0-9a-f]{16}", b"0000-0", body)


# ---- a whole life ----

def test_a_life(d):
    made = d.post("/api/vms", {"id": "vm-100", "name": "gpu-workstation", "cpus": 8, "memory": 1024,
                               "disk_size": 100, "cdrom": ["tiny.iso"],
                               "gpu_passthrough": {"pci_address": RADEON, "multifunction": True,
                                                   "primary_gpu": True}})
    assert made.status == 201
    golden.check("vm-made", made.body)
    assert [v["id"] for v in d.get("/api/vms").json()] == ["vm-100"]
    shown = d.get("/api/vms/vm-100")
    assert shown.json() == made.json()
    assert d.get("/api/vms/vm-100", {"If-None-Match": shown.headers["ETag"]}).status == 304
    assert device(d)["assigned_to"] == ["vm-100"] and device(d)["claimed_by"] is None
    assert drivers(d) == ["radeon", "snd_hda_intel"]

    started = d.post("/api/vms/vm-100/start")
    assert started.status == 200 and started.json()["state"] == "running"
    assert started.json()["started_at"]
    assert drivers(d) == ["vfio-pci", "vfio-pci"]
    card = device(d)
    assert card["claimed_by"] == "vm-100" and card["state"] == "in_use" and card["in_use"]
    assert [(u["kind"], u["id"]) for u in card["used_by"]] == [("vm", "vm-100")]
    assert d.get("/api/vms?state=running").json() == [d.get("/api/vms/vm-100").json()]
    assert d.get("/api/vms?state=stopped").json() == []
    assert d.get("/api/vms?node=elsewhere").json() == []
    d.host.clear_write_log()
    assert d.post("/api/vms/vm-100/start").status == 200        # it is so already
    assert d.host.write_log() == []

    stopped = d.post("/api/vms/vm-100/stop", {"timeout_s": 5})
    assert stopped.status == 200 and stopped.json()["state"] == "stopped"
    assert drivers(d) == ["radeon", "snd_hda_intel"]
    card = device(d)
    assert card["claimed_by"] is None and card["state"] == "host" and card["used_by"] == []
    assert d.post("/api/vms/vm-100/stop").status == 200

    gone = d.call("DELETE", "/api/vms/vm-100")
    assert gone.status == 204
    assert d.get("/api/vms").json() == [] and d.get("/api/vms/vm-100").status == 404
    assert device(d)["assigned_to"] == []
    again = d.post("/api/vms", spec("vm-100", disk_size=100))       # its disk was kept
    assert again.status == 409 and again.json()["code"] == "exists"
    assert again.json()["pointer"] == "/disk_size"
    assert d.post("/api/vms", spec("vm-100", disks=[{"volume": "vm-100.qcow2"}])).status == 201
    assert d.call("DELETE", "/api/vms/vm-100?delete_disks=true").status == 204
    assert d.post("/api/vms", spec("vm-100", disk_size=1)).status == 201


def test_dry_runs_change_nothing(d):
    plan = d.post("/api/vms?dry_run=true", spec("vm-1", RADEON, disk_size=4, start=True))
    assert plan.status == 200
    golden.check("vm-dry-run", steady(plan.body))
    assert steps(plan)[:2] == ["volume", "record"] and steps(plan)[-1] == "domain"
    assert d.get("/api/vms").json() == [] and drivers(d) == ["radeon", "snd_hda_intel"]
    assert device(d)["claimed_by"] is None
    digest = plan.json()["plan"]["digest"]
    other = d.post("/api/vms", spec("vm-1", RADEON, disk_size=5, start=True), {"If-Plan": digest})
    assert other.status == 409 and other.json()["code"] == "plan_changed"
    made = d.post("/api/vms", spec("vm-1", RADEON, disk_size=4, start=True), {"If-Plan": digest})
    assert made.status == 201 and made.json()["state"] == "running"
    for verb, kinds in (("stop", ["shutdown", "let-go"]), ("kill", ["destroy", "let-go"]),
                        ("restart", ["shutdown", "let-go"])):
        plan = d.post(f"/api/vms/vm-1/{verb}?dry_run=true")
        assert steps(plan)[:2] == kinds, plan
    assert steps(d.post("/api/vms/vm-1/stop?dry_run=true"))[-1] == "unclaim"
    assert "unbind" not in steps(d.post("/api/vms/vm-1/restart?dry_run=true"))
    assert d.get("/api/vms/vm-1").json()["state"] == "running"


def test_the_digest_does_not_hang_on_the_hour(d):
    plans = [d.post("/api/vms?dry_run=true", {"name": "A box", "cpus": 1, "memory": 64}).json()["plan"]
             for _ in range(2)]
    assert plans[0]["digest"] == plans[1]["digest"]


def test_ids_are_made_from_names(d):
    names = [d.post("/api/vms", {"name": "GPU workstation", "cpus": 1, "memory": 64}).json()["id"]
             for _ in range(2)]
    assert names == ["gpu-workstation", "gpu-workstation-2"]


def test_no_disk_has_the_name_of_anothers(d):
    three = d.post("/api/vms", {"name": "vm", "cpus": 1, "memory": 64, "disks": [{"size": 1}] * 3}).json()
    assert [disk["volume"] for disk in three["disks"]] == ["vm.qcow2", "vm.1.qcow2", "vm.2.qcow2"]
    # as disks were called before
    make(d, "old", disks=[{"volume": "vm-2.qcow2"}])
    next_one = d.post("/api/vms", {"name": "vm", "cpus": 1, "memory": 64, "disk_size": 1})
    assert next_one.status == 201 and next_one.json()["id"] == "vm-3"


def test_kill_and_restart(d):
    make(d, "vm-1", RADEON, start=True)
    first = d.get("/api/vms/vm-1").json()["started_at"]
    again = d.post("/api/vms/vm-1/restart", {"timeout_s": 5})
    assert again.status == 200 and again.json()["state"] == "running"
    assert again.json()["started_at"] != first
    assert drivers(d) == ["vfio-pci", "vfio-pci"] and device(d)["claimed_by"] == "vm-1"
    d.host.clear_write_log()
    assert d.post("/api/vms/vm-1/kill").json()["state"] == "stopped"
    assert drivers(d) == ["radeon", "snd_hda_intel"] and device(d)["claimed_by"] is None
    assert d.post("/api/vms/vm-1/restart").json()["state"] == "running"      # one that is stopped starts


def test_changing_one(d):
    make(d, "vm-1")
    changed = d.call("PATCH", "/api/vms/vm-1", {"name": "Other", "cpus": 2, "memory": 128, "autostart": True})
    assert changed.status == 200
    now = d.get("/api/vms/vm-1").json()
    assert (now["name"], now["cpus"], now["memory"], now["autostart"]) == ("Other", 2, 128, True)
    d.post("/api/vms/vm-1/start")
    later = d.call("PATCH", "/api/vms/vm-1", {"memory": 256})
    assert later.status == 200 and any("next start" in w for w in later.json()["warnings"])
    same = d.call("PATCH", "/api/vms/vm-1", {"memory": 256})
    told = [w for w in same.json()["warnings"] if "next start" in w]
    assert same.status == 200 and len(told) == 1, "as long as it is so, and once"
    assert told[0] in d.get("/api/vms/vm-1").json()["warnings"]
    d.post("/api/vms/vm-1/restart")
    assert d.wait_for(lambda: told[0] not in d.get("/api/vms/vm-1").json()["warnings"])
    assert "<memory unit=\"MiB\">256</memory>" in d.get("/api/vms/vm-1/domain.xml", check=False).body.decode()


def test_a_restart_with_more_memory_than_there_is(d):
    make(d, "vm-1", RADEON, start=True)
    assert d.call("PATCH", "/api/vms/vm-1", {"memory": 1000000}).status == 200
    refused = d.post("/api/vms/vm-1/restart", {"timeout_s": 5})
    assert refused.status == 409, refused
    assert [r["code"] for r in refused.json()["refusals"]] == ["no_memory"]
    assert d.get("/api/vms/vm-1").json()["state"] == "running"


def test_deleting_what_runs(d):
    make(d, "vm-1", RADEON, start=True)
    refused = d.call("DELETE", "/api/vms/vm-1")
    assert refused.status == 409 and "runs" in refused.json()["detail"]
    assert d.get("/api/vms/vm-1").json()["state"] == "running"


def test_a_disk_of_two_is_not_deleted_with_one(d):
    make(d, "vm-1", disks=[{"volume": "old.qcow2"}])
    make(d, "vm-2", disks=[{"volume": "old.qcow2"}])
    refused = d.call("DELETE", "/api/vms/vm-1?delete_disks=true")
    assert refused.status == 409 and "vm-2" in refused.json()["detail"]
    assert d.call("DELETE", "/api/vms/vm-1").status == 204
    assert d.call("DELETE", "/api/vms/vm-2?delete_disks=true").status == 204


def test_what_libvirt_gets(d):
    make(d, "vm-1", RADEON, cdrom=["tiny.iso"], firmware="bios")
    reply = d.get("/api/vms/vm-1/domain.xml", check=False)
    assert reply.status == 200 and reply.headers["Content-Type"] == "application/xml"
    text = reply.body.decode()
    assert "/pool/tiny.iso" in text and text.count("<hostdev") == 2
    assert d.get("/api/vms/vm-1/domain.xml", {"If-None-Match": reply.headers["ETag"]},
                 check=False).status == 304
    assert d.get("/api/vms/none/domain.xml").status == 404


# ---- cards ----

def test_two_vms_on_one_card(d):
    make(d, "vm-1", RADEON)
    make(d, "vm-2", AUDIO)      # another function of the same card
    assert device(d)["assigned_to"] == ["vm-1", "vm-2"]
    assert d.post("/api/vms/vm-1/start").status == 200
    d.host.clear_write_log()
    refused = d.post("/api/vms/vm-2/start")
    assert refused.status == 409
    codes = [r["code"] for r in refused.json()["refusals"]]
    assert "claimed" in codes and "vm-1" in str(refused.json()["refusals"])
    assert d.host.write_log() == [] and d.get("/api/vms/vm-2").json()["state"] == "stopped"
    assert d.post("/api/vms/vm-1/stop").status == 200
    assert d.post("/api/vms/vm-2/start").status == 200
    assert device(d)["claimed_by"] == "vm-2"


def test_two_vms_start_on_one_card_at_once(d):
    make(d, "vm-1", RADEON)
    make(d, "vm-2", RADEON)
    replies = {}

    def start(vm):
        replies[vm] = d.post(f"/api/vms/{vm}/start")
    threads = [threading.Thread(target=start, args=(vm,)) for vm in ("vm-1", "vm-2")]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert sorted(r.status for r in replies.values()) == [200, 409]
    (runs,) = [vm for vm, r in replies.items() if r.status == 200]
    (loser,) = [r.json() for r in replies.values() if r.status == 409]
    assert [r["code"] for r in loser["refusals"] if runs in r["reason"]]
    assert device(d)["claimed_by"] == runs
    assert [v["id"] for v in d.get("/api/vms?state=running").json()] == [runs]


def test_a_card_that_was_bound_stays_bound(d):
    assert d.post(f"/api/gpu/devices/{RADEON}/bind-vfio").status == 200
    make(d, "vm-1", RADEON, start=True)
    d.host.clear_write_log()
    assert d.post("/api/vms/vm-1/stop").status == 200
    assert drivers(d) == ["vfio-pci", "vfio-pci"] and device(d)["state"] == "ready"
    assert device(d)["claimed_by"] is None and d.host.write_log() == []
    assert d.post(f"/api/gpu/devices/{RADEON}/unbind-vfio").status == 200
    assert drivers(d) == ["radeon", "snd_hda_intel"]


def test_a_card_in_use_is_not_given_back_by_hand(d):
    make(d, "vm-1", RADEON, start=True)
    refused = d.post(f"/api/gpu/devices/{RADEON}/unbind-vfio")
    assert refused.status == 409
    assert [r["code"] for r in refused.json()["refusals"]] == ["claimed"]
    assert drivers(d) == ["vfio-pci", "vfio-pci"]


def test_a_card_in_use_is_not_taken_by_hand(d):
    """A foreign hand gave it back under its VM: nobody else gets it for that."""
    make(d, "vm-1", RADEON, start=True)
    for address, driver in ((AUDIO, "snd_hda_intel"), (RADEON, "radeon")):
        d.host.event(f"unbind {address}")
        d.host.write(f"sys/bus/pci/devices/{address}/driver_override", "\n")
        d.host.event(f"bind {address} {driver}")
    d.host.clear_write_log()
    assert d.wait_for(lambda: device(d)["driver"] == "radeon", 20)
    refused = d.post(f"/api/gpu/devices/{RADEON}/bind-vfio")
    assert refused.status == 409
    (claimed,) = [r for r in refused.json()["refusals"] if r["code"] == "claimed"]
    assert "vm-1" in claimed["reason"] and claimed["can_accept"] is False and "vm-1" in claimed["fix"]
    assert d.host.write_log() == []


def test_one_function_alone(d):
    reply = d.post("/api/vms", spec("vm-1", start=True, gpu_passthrough=[
        {"pci_address": DISPLAY, "multifunction": False}]))
    assert reply.status == 201
    assert drivers(d, DISPLAY) == ["vfio-pci"]
    assert d.post("/api/vms/vm-1/kill").status == 200
    assert drivers(d, DISPLAY) == ["bochs-drm"]


def test_two_cards(d):
    reply = d.post("/api/vms", spec("vm-1", start=True, gpu_passthrough=[
        {"pci_address": RADEON}, {"pci_address": DISPLAY}]))
    assert reply.status == 201
    assert drivers(d, RADEON, AUDIO, DISPLAY) == ["vfio-pci"] * 3
    text = d.get("/api/vms/vm-1/domain.xml", check=False).body.decode()
    assert text.count("<hostdev") == 3
    assert d.post("/api/vms/vm-1/stop").status == 200
    assert drivers(d, RADEON, AUDIO, DISPLAY) == list(HOME.values())
    assert device(d)["claimed_by"] is None and device(d, DISPLAY)["claimed_by"] is None


def test_a_dirty_group_is_refused_and_nothing_touched(d):
    make(d, "vm-1", DIRTY)
    d.host.clear_write_log()
    refused = d.post("/api/vms/vm-1/start", {"accept": ["group_blocked", "no_reset"]})
    assert refused.status == 409
    blocked = [r for r in refused.json()["refusals"] if r["code"] == "group_blocked"]
    assert blocked and blocked[0]["subject"] == NIC and blocked[0]["can_accept"] is False
    assert d.host.write_log() == [] and device(d, DIRTY)["claimed_by"] is None


def test_the_console_card_by_name(d):
    make(d, "vm-1", CONSOLE)
    refused = d.post("/api/vms/vm-1/start")
    assert refused.status == 409
    codes = {r["code"] for r in refused.json()["refusals"]}
    assert "console_card" in codes
    taken = d.post("/api/vms/vm-1/start", {"accept": sorted(codes)})
    assert taken.status == 200 and d.host.driver(CONSOLE) == "vfio-pci"
    assert d.post("/api/vms/vm-1/restart").status == 200        # it was accepted, and is its now
    wrong = d.post("/api/vms/vm-1/start", {"accept": ["nonsense"]})
    assert wrong.status == 422 and wrong.json()["pointer"] == "/accept/0"


def test_accepted_in_one_go(d):
    codes = [r["code"] for r in d.post("/api/vms?dry_run=true", spec("vm-1", CONSOLE, start=True))
             .json()["plan"]["refusals"]]
    made = d.post("/api/vms", spec("vm-1", CONSOLE, start=True, accept=sorted(set(codes))))
    assert made.status == 201 and "accept" not in made.json()


def test_a_card_that_is_gone(d):
    make(d, "vm-1", RADEON)
    d.host.event(f"remove {RADEON}")
    d.host.event(f"remove {AUDIO}")
    assert d.wait_for(lambda: d.get(f"/api/gpu/devices/{RADEON}").status == 404)
    gone = d.post("/api/vms/vm-1/start")
    assert gone.status == 409 and RADEON in gone.json()["detail"]
    assert d.get("/api/vms/vm-1").json()["state"] == "stopped"
    assert d.wait_for(lambda: any(RADEON in w for w in d.get("/api/vms/vm-1").json()["warnings"]))
    d.host.event(f"add {RADEON}")
    d.host.event(f"add {AUDIO}")
    assert d.wait_for(lambda: not any(RADEON in w for w in d.get("/api/vms/vm-1").json()["warnings"]))
    assert d.wait_for(lambda: d.get(f"/api/gpu/devices/{RADEON}").status == 200)
    assert d.post("/api/vms/vm-1/start").status == 200


def test_a_card_that_goes_while_its_vm_runs(d):
    make(d, "vm-1", DISPLAY, start=True)
    d.host.event(f"remove {DISPLAY}")
    assert d.wait_for(lambda: d.get(f"/api/gpu/devices/{DISPLAY}").status == 404)
    assert d.post("/api/vms/vm-1/kill").status == 200
    d.host.event(f"add {DISPLAY}")
    assert d.wait_for(lambda: d.get(f"/api/gpu/devices/{DISPLAY}").status == 200)
    assert d.wait_for(lambda: device(d, DISPLAY)["claimed_by"] is None)


def test_a_start_that_fails_leaves_nothing(d):
    make(d, "vm-1", RADEON)
    d.host.knob("fail path=*vfio-pci/bind nth=2 errno=EIO")
    failed = d.post("/api/vms/vm-1/start")
    assert failed.status == 409, failed
    check_problem(d.document, failed)
    assert drivers(d) == ["radeon", "snd_hda_intel"] and device(d)["claimed_by"] is None
    d.host.knob("clear")
    assert d.post("/api/vms/vm-1/start").status == 200


def test_a_card_that_does_not_come_back_stays_claimed(d):
    make(d, "vm-1", RADEON, start=True)
    d.host.knob(f"probe {RADEON} driver=radeon errno=EIO times=0")
    failed = d.post("/api/vms/vm-1/stop")
    assert failed.status == 409 and "no way back" in failed.json()["detail"]
    assert d.get("/api/vms/vm-1").json()["state"] == "stopped"
    assert device(d)["claimed_by"] == "vm-1"
    assert d.wait_for(lambda: any("came back" in w for w in d.get("/api/vms/vm-1").json()["warnings"]))
    assert d.wait_for(lambda: "radeon" in device(d)["health"].get("held_back_why", ""))
    assert device(d)["state"] == "releasing"
    d.host.knob("clear")
    assert d.wait_for(lambda: device(d)["claimed_by"] is None, 20)       # it is tried again by itself
    assert d.wait_for(lambda: drivers(d) == ["radeon", "snd_hda_intel"])
    assert "held_back_why" not in device(d)["health"]
    assert d.wait_for(lambda: not d.get("/api/vms/vm-1").json()["warnings"][1:])


def test_memory_that_is_not_there(d):
    make(d, "vm-1", RADEON, memory=1 << 20)
    refused = d.post("/api/vms/vm-1/start")
    assert refused.status == 409
    (no_memory,) = refused.json()["refusals"]
    assert no_memory["code"] == "no_memory" and "1048576 MiB" in no_memory["evidence"]
    assert drivers(d) == ["radeon", "snd_hda_intel"]
    make(d, "vm-2", memory=1 << 20)
    refused = d.post("/api/vms/vm-2/start")     # nor without a card: nobody gets more than there is
    assert refused.status == 409
    (no_memory,) = refused.json()["refusals"]
    assert no_memory["code"] == "no_memory" and "1048576 MiB" in no_memory["evidence"]


# ---- others' domains; ends that nobody asked for ----

def test_a_domain_of_somebody_else(tmp_path):
    with World(tmp_path, domains=[("stranger", [RADEON, AUDIO]), ("vm-2", [])]) as d:
        card = device(d)
        assert d.wait_for(lambda: device(d)["in_use"])
        card = device(d)
        assert [(u["kind"], u["name"]) for u in card["used_by"]] == [("vm", "stranger")]
        assert card["claimed_by"] is None
        d.host.clear_write_log()
        refused = d.post(f"/api/gpu/devices/{RADEON}/bind-vfio")
        assert refused.status == 409
        assert any(r["code"] == "held" and "stranger" in r["subject"] for r in refused.json()["refusals"])
        make(d, "vm-1", RADEON)
        refused = d.post("/api/vms/vm-1/start")
        assert refused.status == 409 and "stranger" in str(refused.json()["refusals"])
        assert d.host.write_log() == []
        assert [v["id"] for v in d.get("/api/vms").json()] == ["vm-1"]
        taken = d.post("/api/vms", spec("vm-2", start=True))
        assert taken.status == 409 and taken.json()["code"] == "exists" and taken.json()["pointer"] == "/id"


def test_ended_while_no_daemon_ran(d):
    make(d, "vm-1", RADEON, start=True)
    d.process.kill()        # the test driver's domains die with the daemon
    d.process.wait()
    assert drivers(d) == ["vfio-pci", "vfio-pci"]
    d.start()
    assert d.wait_for(lambda: device(d)["claimed_by"] is None, 10)
    assert d.wait_for(lambda: drivers(d) == ["radeon", "snd_hda_intel"])
    assert d.get("/api/vms/vm-1").json()["state"] == "stopped"
    assert d.post("/api/vms/vm-1/start").status == 200


def noted(d, *vms):
    """Are the starts of these with the host over, and written down?"""
    with open(os.path.join(d.state, "run", "autostarted"), encoding="ascii") as notes:
        lines = notes.read().splitlines()
    return all(f"done {vm}" in lines for vm in vms)


def test_autostart_once_per_boot(d):
    make(d, "vm-1", RADEON, autostart=True)
    make(d, "vm-2")
    assert d.get("/api/vms/vm-1").json()["state"] == "stopped"      # made now, started at the next boot
    d.stop()
    os.unlink(os.path.join(d.state, "run", "autostarted"))      # as after a boot
    d.start()
    assert d.wait_for(lambda: d.get("/api/vms/vm-1").json()["state"] == "running", 10)
    assert drivers(d) == ["vfio-pci", "vfio-pci"]
    assert d.get("/api/vms/vm-2").json()["state"] == "stopped"
    assert d.wait_for(lambda: noted(d, "vm-1"), 10)
    d.stop()
    d.start()       # the same boot
    assert d.wait_for(lambda: device(d)["claimed_by"] is None, 10)
    assert d.get("/api/vms/vm-1").json()["state"] == "stopped"


def reboot(d):
    d.stop()
    os.unlink(os.path.join(d.state, "run", "autostarted"))
    d.start()


def test_autostart_with_what_was_accepted(d):
    make(d, "vm-1", CONSOLE, autostart=True)
    codes = sorted({r["code"] for r in d.post("/api/vms/vm-1/start").json()["refusals"]})
    assert "console_card" in codes
    reboot(d)       # nothing was accepted yet
    assert d.wait_for(lambda: "VM vm-1 was not started with the host" in d.log(), 10)
    assert d.post("/api/vms/vm-1/start", {"accept": codes}).status == 200
    assert "accepted" not in d.get("/api/vms/vm-1").json()
    assert d.post("/api/vms/vm-1/restart").status == 200
    assert d.post("/api/vms/vm-1/kill").status == 200
    assert d.post("/api/vms/vm-1/start").status == 409      # by hand it is to be said again
    reboot(d)
    assert d.wait_for(lambda: d.get("/api/vms/vm-1").json()["state"] == "running", 10)
    assert "as at its last start this is passed over" in d.log() and "console_card" in d.log()


def test_autostart_goes_on_after_a_crash(d):
    make(d, "vm-1", RADEON, autostart=True)
    make(d, "vm-2", DISPLAY, autostart=True)
    d.env["HORCRUX_FAULT"] = "kill:horcruxd:claim:inside"
    d.stop()
    os.unlink(os.path.join(d.state, "run", "autostarted"))
    try:
        d.start()
    except (OSError, AssertionError):
        pass        # it may be over before it was asked anything
    d.process.wait(20)
    del d.env["HORCRUX_FAULT"]
    d.start()
    assert d.wait_for(lambda: [v["state"] for v in d.get("/api/vms").json()] == ["running"] * 2, 30), d.log()
    assert d.wait_for(lambda: noted(d, "vm-1", "vm-2"), 20)
    d.stop()
    d.start()       # both are noted: not a third time
    assert d.wait_for(lambda: device(d)["claimed_by"] is None, 10)
    assert [v["state"] for v in d.get("/api/vms").json()] == ["stopped"] * 2


def test_pool_and_network_are_made(tmp_path):
    with World(tmp_path, pool=False) as d:
        plan = d.post("/api/vms?dry_run=true", spec("vm-1", disk_size=1))
        assert steps(plan) == ["pool", "volume", "record"]
        make(d, "vm-1", disk_size=1)
        assert steps(d.post("/api/vms?dry_run=true", spec("vm-2", disk_size=1))) == ["volume", "record"]
    with World(tmp_path, network=False) as d:
        make(d, "vm-3")
        none = d.post("/api/vms/vm-3/start")
        assert none.status == 409 and "network" in none.json()["detail"] and none.json()["hint"]
        make(d, "vm-4", network=[{"kind": "none"}], start=True)


def test_files_of_a_pool_that_is_not_made_yet(tmp_path):
    (tmp_path / "state" / "images").mkdir(parents=True)
    (tmp_path / "state" / "images" / "new.iso").write_bytes(b"\0" * 4096)
    (tmp_path / "state" / "images" / "disk.img").write_bytes(b"QFI\xfb" + b"\0" * 4096)
    with World(tmp_path, pool=False) as d:
        body = spec("vm-1", cdrom=["new.iso"], disks=[{"volume": "disk.img"}], firmware="bios", start=True)
        assert steps(d.post("/api/vms?dry_run=true", body)) == ["pool", "record", "domain"]
        assert d.post("/api/vms", spec("vm-1", cdrom=["none.iso"])).status == 422
        assert d.post("/api/vms", {**body, "start": False}).status == 201
        text = d.get("/api/vms/vm-1/domain.xml", check=False).body.decode()
        assert f'{tmp_path}/state/images/new.iso' in text


def test_a_file_that_cannot_be_looked_at_is_not_one_that_is_not_there(tmp_path):
    """Nothing is made in its place, whatever it is."""
    images = tmp_path / "state" / "images"
    images.mkdir(parents=True)
    (images / "vm-1.qcow2").symlink_to("vm-1.qcow2")    # ELOOP; root may look anywhere else
    with World(tmp_path, pool=False) as d:
        reply = d.post("/api/vms", spec("vm-1", disk_size=1))
        problem = reply.json()
        assert (reply.status, problem["code"]) == (409, "conflict"), problem
        assert "a file vm-1.qcow2 for the pool horcrux cannot be told" in problem["detail"] and problem["hint"]
        assert d.get("/api/vms").json() == []
        make(d, "vm-2", disk_size=1)


# ---- without libvirt ----

def test_without_libvirt(tmp_path):
    with World(tmp_path, uri="none") as d:
        assert d.get("/api/vms").json() == []
        libvirt = [p for p in d.get("/api/health").json()["parts"] if p["name"] == "libvirt"]
        assert libvirt[0]["state"] == "off"
        for body in (spec("vm-1", disk_size=1), spec("vm-1", RADEON, start=True)):
            reply = d.post("/api/vms", body)
            assert reply.status == 503 and reply.json()["code"] == "libvirt_unavailable"
            assert reply.json()["hint"]
        assert d.get("/api/vms").json() == []
        make(d, "vm-1", RADEON)     # what is only written down needs none
        vm = d.get("/api/vms/vm-1").json()
        assert vm["state"] == "unknown" and vm["unknown"]["state"]
        for verb in ("start", "stop", "kill", "restart"):
            reply = d.post(f"/api/vms/vm-1/{verb}")
            assert reply.status == 503 and reply.json()["hint"], reply
        assert d.get("/api/vms/vm-1/domain.xml").status == 503
        assert d.call("PATCH", "/api/vms/vm-1", {"cpus": 2}).json()["cpus"] == 2
        assert d.call("DELETE", "/api/vms/vm-1").status == 204      # what could be made can be removed
        assert d.get("/api/vms").json() == []
        assert drivers(d) == ["radeon", "snd_hda_intel"]


def test_a_libvirt_that_does_not_answer(tmp_path):
    with World(tmp_path, uri="test:///there/is/no/such/node.xml") as d:
        make(d, "vm-1", RADEON)
        reply = d.post("/api/vms/vm-1/start")
        assert reply.status == 503 and reply.json()["code"] == "libvirt_unavailable" and reply.json()["hint"]
        assert d.wait_for(lambda: d.get("/api/vms/vm-1").json()["state"] == "unknown")
        parts = {p["name"]: p for p in d.get("/api/health").json()["parts"]}
        assert parts["libvirt"]["state"] == "failed" and parts["libvirt"]["detail"]
        assert drivers(d) == ["radeon", "snd_hda_intel"]


# ---- bad input ----

CARD = {"pci_address": RADEON}
MAC = "52:54:00:12:34:56"
BAD = [
    # what is wrong, the body, status, code, pointer
    ("no cpus", {"id": "x", "memory": 64}, 422, "missing_field", "/cpus"),
    ("cpus of 0", spec("x", cpus=0), 422, "invalid_value", "/cpus"),
    ("memory of 0", spec("x", memory=0), 422, "invalid_value", "/memory"),
    ("memory as text", spec("x", memory="64"), 422, "wrong_type", "/memory"),
    ("negative memory", spec("x", memory=-64), 422, "invalid_value", "/memory"),
    ("cpus with a fraction", spec("x", cpus=1.5), 422, "wrong_type", "/cpus"),
    ("unknown field", spec("x", gpus=1), 422, "unknown_field", "/gpus"),
    ("field of later", spec("x", secure_boot=True), 422, "unknown_field", "/secure_boot"),
    ("an id that climbs", spec("../x"), 422, "invalid_value", "/id"),
    ("an id with capitals", spec("VM"), 422, "invalid_value", "/id"),
    ("an empty id", spec(""), 422, "invalid_value", "/id"),
    ("an id that exists", spec("there"), 409, "exists", "/id"),
    ("malformed address", spec("x", "1:0.0"), 422, "invalid_value", "/gpu_passthrough/pci_address"),
    ("unknown device", spec("x", "0000:77:00.0"), 422, "invalid_value", "/gpu_passthrough/pci_address"),
    ("no card at all", spec("x", "0000:00:03.0"), 422, "invalid_value", "/gpu_passthrough/pci_address"),
    ("a card twice", spec("x", gpu_passthrough=[CARD, CARD]), 422, "invalid_value",
     "/gpu_passthrough/1/pci_address"),
    ("two cards that are one", spec("x", gpu_passthrough=[CARD, {"pci_address": AUDIO}]), 422,
     "invalid_value", "/gpu_passthrough/1/pci_address"),
    ("no address", spec("x", gpu_passthrough={}), 422, "missing_field", "/gpu_passthrough/pci_address"),
    ("unknown field of a card", spec("x", gpu_passthrough={**CARD, "rom": "x"}), 422, "unknown_field",
     "/gpu_passthrough/rom"),
    ("a ROM that is not there", spec("x", gpu_passthrough={**CARD, "rom_file": "none.rom"}), 422,
     "invalid_value", "/gpu_passthrough/rom_file"),
    ("a ROM outside", spec("x", gpu_passthrough={**CARD, "rom_file": "/etc/passwd"}), 422,
     "invalid_value", "/gpu_passthrough/rom_file"),
    ("a ROM that climbs", spec("x", gpu_passthrough={**CARD, "rom_file": "../secret.rom"}), 422,
     "invalid_value", "/gpu_passthrough/rom_file"),
    ("a ROM by a link out", spec("x", gpu_passthrough={**CARD, "rom_file": "link.rom"}), 422,
     "invalid_value", "/gpu_passthrough/rom_file"),
    ("a ROM of another card", spec("x", gpu_passthrough={**CARD, "rom_file": "other.rom"}), 422,
     "invalid_value", "/gpu_passthrough/rom_file"),
    ("a ROM that is none", spec("x", gpu_passthrough={**CARD, "rom_file": "text.rom"}), 422,
     "invalid_value", "/gpu_passthrough/rom_file"),
    ("an empty ROM", spec("x", gpu_passthrough={**CARD, "rom_file": "empty.rom"}), 422,
     "invalid_value", "/gpu_passthrough/rom_file"),
    ("an ISO that is not there", spec("x", cdrom=["tiny.iso", "none.iso"]), 422, "invalid_value",
     "/cdrom/1"),
    ("an ISO by path", spec("x", cdrom=["/etc/passwd"]), 422, "invalid_value", "/cdrom/0"),
    ("a ROM that is a folder", spec("x", gpu_passthrough={**CARD, "rom_file": "folder.rom"}), 422,
     "invalid_value", "/gpu_passthrough/rom_file"),
    ("a ROM that is a pipe", spec("x", gpu_passthrough={**CARD, "rom_file": "pipe.rom"}), 422,
     "invalid_value", "/gpu_passthrough/rom_file"),
    ("a ROM that is huge", spec("x", gpu_passthrough={**CARD, "rom_file": "huge.rom"}), 422,
     "invalid_value", "/gpu_passthrough/rom_file"),
    ("a ROM that is cut off", spec("x", gpu_passthrough=[{**CARD, "rom_file": "short.rom"}]), 422,
     "invalid_value", "/gpu_passthrough/0/rom_file"),
    ("a ROM in a folder below", spec("x", gpu_passthrough={**CARD, "rom_file": "a/b.rom"}), 422,
     "invalid_value", "/gpu_passthrough/rom_file"),
    ("a file both written and read", spec("x", disks=[{"volume": "tiny.iso"}], cdrom=["tiny.iso"]), 422,
     "invalid_value", "/cdrom/0"),
    ("no network and one", spec("x", network=[{"kind": "none"}, {"kind": "nat"}]), 422, "invalid_value",
     "/network/0"),
    ("an address of two", spec("x", network=[{"kind": "nat", "mac": MAC}, {"kind": "nat", "mac": MAC}]), 422,
     "invalid_value", "/network/1/mac"),
    ("a bad address of one", spec("x", network={"kind": "nat", "mac": "5"}), 422, "invalid_value",
     "/network/mac"),
    ("a name of nothing", spec("x", name=" \u3000"), 422, "invalid_value", "/name"),
    ("a name with a control", spec("x", name="a\u0085b"), 422, "invalid_value", "/name"),
    ("a name that turns round", spec("x", name="a\u202eb"), 422, "invalid_value", "/name"),
    ("a command line of two", spec("x", boot={"kernel": "k", "cmdline": "a\nb"}), 422, "invalid_value",
     "/boot/cmdline"),
    ("a kernel that is not there", spec("x", boot={"kernel": "vmlinuz"}), 422, "invalid_value",
     "/boot/kernel"),
    ("a volume that is not there", spec("x", disks=[{"volume": "none.qcow2"}]), 422, "invalid_value",
     "/disks/0/volume"),
    ("a disk that exists", spec("taken", disk_size=1), 409, "exists", "/disk_size"),
    ("both kinds of disks", spec("x", disk_size=1, disks=[{"size": 1}]), 422, "invalid_value",
     "/disk_size"),
    ("a disk of nothing", spec("x", disks=[{}]), 422, "invalid_value", "/disks/0"),
    ("unknown firmware", spec("x", firmware="coreboot"), 422, "invalid_value", "/firmware"),
    ("a code that is none", spec("x", start=True, accept=["all"]), 422, "invalid_value", "/accept/0"),
]


@pytest.fixture
def nothing_changed(quiet):
    before = (quiet.get("/api/vms").json(), [quiet.host.driver(a) for a in HOME])
    quiet.host.clear_write_log()
    yield
    assert (quiet.get("/api/vms").json(), [quiet.host.driver(a) for a in HOME]) == before
    assert quiet.host.write_log() == []


@pytest.mark.usefixtures("nothing_changed")
@pytest.mark.parametrize("body, status, code, pointer", [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_bad_input(quiet, body, status, code, pointer):
    reply = quiet.post("/api/vms", body)
    problem = check_problem(quiet.document, reply)
    assert (reply.status, problem["code"], problem.get("pointer")) == (status, code, pointer), problem
    if "rom_file" in pointer:
        assert problem["hint"] and "pool" not in problem["hint"]
    for field in ("name", "cmdline"):
        if pointer.endswith(field):
            assert field in problem["detail"]


@pytest.mark.usefixtures("nothing_changed")
@pytest.mark.parametrize("data, status", [
    (b'{"id": "x", "id": "y", "cpus": 1, "memory": 64}', 400), (b"\xff\xfe{}", 400), (b"no JSON", 400),
    (b"[]", 422), (b'{"cpus": 1', 400), (b"{" + b" " * (1 << 20) + b"}", 413),
    (b'{"name": "\xc3\x28", "cpus": 1, "memory": 64}', 400)], ids=str)
def test_bodies_that_are_none(quiet, data, status):
    reply = quiet.post("/api/vms", data, {"Content-Type": "application/json"})
    assert reply.status == status
    check_problem(quiet.document, reply)


@pytest.mark.usefixtures("nothing_changed")
@pytest.mark.parametrize("method, path, body, status", [
    ("GET", "/api/vms/none", None, 404), ("DELETE", "/api/vms/none", None, 404),
    ("PATCH", "/api/vms/none", {"cpus": 2}, 404), ("POST", "/api/vms/none/start", None, 404),
    ("POST", "/api/vms/none/stop", None, 404), ("POST", "/api/vms/none/kill", None, 404),
    ("POST", "/api/vms/none/restart", None, 404), ("GET", "/api/vms/..%2fx", None, 404),
    ("POST", "/api/vms/there/stop", {"timeout_s": 0}, 422), ("POST", "/api/vms/there/stop", {"x": 1}, 422),
    ("POST", "/api/vms/there/kill", {"x": 1}, 422), ("PATCH", "/api/vms/there", {"id": "other"}, 422),
    ("PATCH", "/api/vms/there", {"cpus": 0}, 422), ("PATCH", "/api/vms/there", {"disk_size": 2}, 422),
    ("GET", "/api/vms?state=broken", None, 422), ("GET", "/api/vms?x=1", None, 422),
    ("DELETE", "/api/vms/there?delete_disks=maybe", None, 422), ("PUT", "/api/vms/there", {}, 405),
    ("POST", "/api/vms/there/pause", None, 404)])
def test_bad_requests(quiet, method, path, body, status):
    reply = quiet.call(method, path, body)
    assert reply.status == status, reply
    check_problem(quiet.document, reply)


def test_roms_that_are_right(quiet):
    for name in ("radeon.rom", str(quiet.roms / "radeon.rom")):
        body = spec("with-rom", gpu_passthrough={**CARD, "rom_file": name})
        assert quiet.post("/api/vms", body).status == 201
        text = quiet.get("/api/vms/with-rom/domain.xml", check=False).body.decode()
        assert f'<rom file="{quiet.roms}/radeon.rom"/>' in text
        assert quiet.call("DELETE", "/api/vms/with-rom").status == 204


def test_a_rom_that_was_changed_since(quiet):
    body = spec("with-rom", gpu_passthrough={**CARD, "rom_file": "radeon.rom"})
    assert quiet.post("/api/vms", body).status == 201
    good = (quiet.roms / "radeon.rom").read_bytes()
    try:
        (quiet.roms / "radeon.rom").write_bytes(rom(0x10de, 0x1b80))
        refused = quiet.post("/api/vms/with-rom/start")
        assert refused.status == 422 and "radeon.rom" in refused.json()["detail"]
    finally:
        (quiet.roms / "radeon.rom").write_bytes(good)
    assert quiet.call("DELETE", "/api/vms/with-rom").status == 204
