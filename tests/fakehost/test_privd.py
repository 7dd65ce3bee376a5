# SPDX-License-Identifier: Apache-2.0
"""horcrux-privd on a plain tree and on the fake kernel: what it does, and what it leaves alone."""

import errno
import os
import pathlib
import resource
import signal
import socket
import struct
import time

import pytest

import privd
from fakehost import MACHINES, FakeHost, write_tree
from privd import Gone, Privd, alive, binary, until

GPU, AUDIO, OTHER, PORT = "0000:01:00.0", "0000:01:00.1", "0000:02:00.0", "0000:00:04.0"
DEV = "sys/bus/pci/devices"
CAP = "--deadline-cap=400"
SOON = 3.0


@pytest.fixture
def state(tmp_path):
    return str(tmp_path)


@pytest.fixture
def host():
    with FakeHost("lab-like") as fake:
        yield fake


@pytest.fixture
def helper(host, state):
    with Privd(binary(), host.root, state, CAP) as p:
        yield p


def start(host, state, *options, **kw):
    return Privd(binary(), host.root, state, CAP, *options, **kw)


def records(state):
    """Those that tell of something: a child that waits for more to do has an empty one."""
    folder = pathlib.Path(state) / "run/privd-children"
    return [path.name for path in folder.iterdir() if any(path.read_bytes())]


# ---- a tree of plain files ----

CHANGES = [
    ("override", {"name": "vfio-pci"}), ("override", {}), ("unbind", {}), ("unbind", {"name": "radeon"}),
    ("bind", {"name": "vfio-pci"}), ("probe", {}), ("vfs", {"value": 2}), ("vf_autoprobe", {"value": 1}),
    ("mdev_create", {"name": "nvidia-256", "uuid": b"u" * 16}), ("mdev_remove", {"uuid": b"u" * 16}),
    ("vf_type", {"value": 4}), ("power", {"value": 1}), ("d3cold", {"value": 0}), ("reset", {}),
    ("reset_method", {"value": 0}), ("remove", {}), ("rescan", {}), ("unbind_lock", {"value": 1}),
]


def snapshot(directory):
    files = {}
    for at, _, names in os.walk(directory):
        for name in names:
            path = os.path.join(at, name)
            if os.path.isfile(path) and not os.path.islink(path):
                with open(path, "rb") as f:
                    files[path] = f.read()
    return files


def test_plain_tree_is_never_written(tmp_path):
    tree = tmp_path / "tree"
    write_tree("lab-like", tree)
    before = snapshot(tree)
    with Privd(binary(), tree, tmp_path) as p:
        for op, fields in CHANGES:
            assert p.call(op, GPU, **fields).status == "read_only", op
        assert p.call("rescan_all").status == "read_only"
        assert p.call("hugepages", value=1, size_kib=2048, node=-1).status == "read_only"
        assert p.call("module", name="vfio-pci").status == "not_here"
        assert p.call("read_override", GPU).data == b""
        assert p.call("read_config", GPU, value=64).data == before[config(tree)][:64]
        assert b"System RAM" in p.call("read_iomem").data
    assert snapshot(tree) == before


def test_an_answer_that_is_lost_is_no_empty_one(tmp_path):
    """The operation is done, and privd has no room for the descriptor of what it found."""
    tree = tmp_path / "tree"
    write_tree("lab-like", tree)
    with Privd(binary(), tree, tmp_path) as p:
        assert b"System RAM" in p.call("read_iomem").data
        pid = p.call("ping").value  # and it has closed what it sent
        before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        used = {int(fd) for fd in os.listdir(f"/proc/{pid}/fd")}
        free = min(set(range(len(used) + 1)) - used)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (free, before[1]))
        lost = p.call("read_iomem")
        assert (lost.status, lost.error, lost.data) == ("failed", errno.EIO, b"")
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
        assert b"System RAM" in p.call("read_iomem").data


def config(tree):
    return os.path.realpath(tree / DEV / GPU / "config")


# ---- the fake kernel: what is done ----

def test_there_and_back(host, helper):
    for a in (AUDIO, GPU):
        assert helper.call("override", a, name="vfio-pci").status == "ok"
        gone = helper.call("unbind", a, name=host.driver(a))
        assert (gone.status, gone.value) == ("ok", 1)
    for a in (GPU, AUDIO):
        bound = helper.call("bind", a, name="vfio-pci")
        assert (bound.status, bound.value, host.driver(a)) == ("ok", 1, "vfio-pci")
    assert helper.call("read_override", GPU).data == b"vfio-pci"
    assert helper.call("read_vfio", value=5).value == 1
    for a, driver in ((AUDIO, "snd_hda_intel"), (GPU, "radeon")):
        assert helper.call("unbind", a).status == "ok"
        assert helper.call("override", a).status == "ok"
        assert helper.call("probe", a).value == 1
        assert host.driver(a) == driver
    assert helper.call("read_override", GPU).data == b""
    assert [w.result for w in host.write_log()] == ["OK"] * 12
    writes = [(w.path.rpartition("/")[2], w.value) for w in host.write_log()]
    assert writes == [
        ("driver_override", "vfio-pci"), ("unbind", AUDIO), ("driver_override", "vfio-pci"),
        ("unbind", GPU), ("bind", GPU), ("bind", AUDIO), ("unbind", AUDIO), ("driver_override", "\\n"),
        ("drivers_probe", AUDIO), ("unbind", GPU), ("driver_override", "\\n"), ("drivers_probe", GPU)]


def test_an_override_may_name_a_driver_that_is_not_loaded(host, helper):
    """It is what stood there before, and has to stand there again."""
    assert helper.call("override", GPU, name="unloaded").status == "ok"
    assert helper.call("read_override", GPU).data == b"unloaded"


def test_power_and_reset(host, helper):
    for op, file, values in (("power", "power/control", ("auto", "on")),
                             ("d3cold", "d3cold_allowed", ("0", "1"))):
        for number in (1, 0):
            assert helper.call(op, OTHER, value=number).status == "ok"
            assert host.read(f"{DEV}/{OTHER}/{file}") == values[number] + "\n"
        assert helper.call(op, OTHER, value=2).status == "range"
    assert helper.call("reset", GPU).status == "ok"
    assert helper.call("reset_method", GPU, value=6).status == "ok"  # bus
    assert host.read(f"{DEV}/{GPU}/reset_method") == "bus\n"
    assert helper.call("reset_method", GPU, value=0).status == "ok"
    assert host.read(f"{DEV}/{GPU}/reset_method") == "pm bus\n"
    assert helper.call("reset_method", GPU, value=0xF).status == "range"
    assert helper.call("reset", "0000:00:01.0").error == errno.ENOENT


def test_off_the_bus_and_on_again(host, helper):
    assert helper.call("remove", OTHER).status == "ok"
    assert not os.path.exists(host.device(OTHER))
    assert helper.call("remove", OTHER).status == "no_device"
    assert helper.call("rescan", "0000:00:05.0").status == "ok"
    assert host.driver(OTHER) == "bochs-drm"
    assert helper.call("rescan_all").status == "ok"


def test_reads(host, helper):
    header = helper.call("read_config", GPU, value=64)
    assert struct.unpack_from("<HH", header.data) == (0x1002, 0x5159) and len(header.data) == 64
    assert helper.call("read_config", GPU, value=65).status == "range"
    rom = helper.call("read_rom", GPU)
    assert rom.data[:2] == b"\x55\xaa"
    assert [w.value for w in host.write_log()] == ["1", "0"], "the ROM stays switched on"
    assert helper.call("read_rom", AUDIO).error == errno.ENOENT
    assert b"PCI Bus" in helper.call("read_iomem").data
    assert helper.call("read_types", GPU).types() == []


def test_group_states(host, helper):
    assert helper.call("read_vfio", value=5).error == errno.ENOENT
    for a in (GPU, AUDIO):
        host.write(f"{DEV}/{a}/driver_override", "vfio-pci")
        host.write(f"{DEV}/{a}/driver/unbind", a)
    host.write("sys/bus/pci/drivers/vfio-pci/bind", GPU)
    host.write(f"{DEV}/{AUDIO}/driver_override", "\n")
    host.write("sys/bus/pci/drivers_probe", AUDIO)
    assert helper.call("read_vfio", value=5).value == 0
    host.write(f"{DEV}/{AUDIO}/driver/unbind", AUDIO)
    assert helper.call("read_vfio", value=5).value == 1
    fd = os.open(host.path("dev/vfio/5"), os.O_RDWR)
    try:
        assert helper.call("read_vfio", value=5).value & 4
    finally:
        os.close(fd)
    assert helper.call("read_vfio", value=5).value == 1


# ---- cutting cards into parts ----

UUID = bytes.fromhex("b1d5a1f05c1f4d0ba1a2000000000001")
UUID_TEXT = "b1d5a1f0-5c1f-4d0b-a1a2-000000000001"


def test_gvtg(state):
    igpu = "0000:00:02.0"
    with FakeHost("f14-gvtg") as host, start(host, state) as p:
        types = {t["id"]: t for t in p.call("read_types", igpu).types()}
        assert types["i915-GVTg_V5_4"]["name"] == "GVTg_V5_4"
        assert types["i915-GVTg_V5_4"]["description"].count("\n") == 4
        free = types["i915-GVTg_V5_4"]["available"]
        assert free >= 1
        create = {"name": "i915-GVTg_V5_4", "uuid": UUID}
        assert p.call("mdev_create", igpu, **create).status == "ok"
        assert os.path.exists(host.path(f"sys/bus/mdev/devices/{UUID_TEXT}"))
        assert p.call("mdev_create", igpu, **create).error == errno.EEXIST
        types = {t["id"]: t for t in p.call("read_types", igpu).types()}
        assert types["i915-GVTg_V5_4"]["available"] < free
        counts = {t["id"]: t for t in p.call("read_types", igpu, value=1).types()}
        assert {i: t["available"] for i, t in counts.items()} == {i: t["available"] for i, t in types.items()}
        assert all(t["name"] == t["description"] == "" for t in counts.values())
        assert p.call("read_types", igpu, value=2).status == "range"
        for n in range(2, 40):
            reply = p.call("mdev_create", igpu, name="i915-GVTg_V5_8", uuid=UUID[:-1] + bytes([n]))
            if reply.status != "ok":
                break
        assert reply.error == errno.ENOSPC
        assert p.call("mdev_remove", igpu, uuid=UUID).status == "ok"
        assert not os.path.exists(host.path(f"sys/bus/mdev/devices/{UUID_TEXT}"))
        assert p.call("mdev_remove", igpu, uuid=UUID).error == errno.ENOENT


def test_an_instance_of_another_card_stays(state):
    with FakeHost("f01-a2-server") as host, start(host, state) as p:
        theirs = bytes.fromhex("f715f63c0d0040079c5ab07b0c6c05de")
        assert p.call("mdev_remove", "0000:08:00.5", uuid=theirs).error == errno.ENOENT
        assert p.call("mdev_remove", "0000:04:00.0", uuid=theirs).error == errno.ENOENT
        assert p.call("mdev_remove", "0000:08:00.4", uuid=theirs).status == "ok"
        assert len(host.write_log()) == 1


def test_vendor_vf(state):
    vf, taken = "0000:41:00.5", "0000:41:00.4"
    with FakeHost("f19-l40s-vendor-vf") as host, start(host, state) as p:
        types = p.call("read_types", vf).types()
        assert all(t["vendor_vf"] for t in types)
        name = {t["name"]: t["id"] for t in types}
        number = int(name["NVIDIA L40S-8Q"])
        assert p.call("read_types", taken).types() == []
        assert p.call("read_vf_types", addresses=[taken, vf, "0000:40:01.0"]).vf_types() == {
            taken: (1152, 0), vf: (0, 0), "0000:40:01.0": (0, errno.ENOENT)}
        reply = p.call("vf_type", vf, value=number)
        assert (reply.status, reply.value) == ("ok", number)
        assert host.read(f"{DEV}/{vf}/nvidia/current_vgpu_type") == f"{number}\n"
        assert p.call("vf_type", vf, value=1145).status == "failed"
        assert p.call("vf_type", vf, value=0).status == "ok"


@pytest.mark.parametrize("text", [
    "ID    : vGPU Name\n1145  : NVIDIA L40S-1B\n1152  : NVIDIA L40S-8Q\n",
    "1145:NVIDIA L40S-1B\n1152:NVIDIA L40S-8Q",
    "\n ID\t: vGPU Name \r\n\t1145\t:  NVIDIA L40S-1B  \r\n\n 1152 :NVIDIA L40S-8Q\r\nnothing more\n7\n",
])
def test_a_list_of_types_however_it_is_spaced(tmp_path, text):
    vf = "0000:41:00.5"
    tree = tmp_path / "tree"
    write_tree("f19-l40s-vendor-vf", tree)
    with open(os.path.realpath(tree / DEV / vf / "nvidia/creatable_vgpu_types"), "w", encoding="utf-8") as file:
        file.write(text)
    with Privd(binary(), tree, tmp_path) as p:
        assert [(t["id"], t["name"]) for t in p.call("read_types", vf).types()] == [
            ("1145", "NVIDIA L40S-1B"), ("1152", "NVIDIA L40S-8Q")]


def test_vfs(state):
    pf = "0000:00:02.0"
    with FakeHost("f13-intel-sriov") as host, start(host, state) as p:
        assert p.call("vf_autoprobe", pf, value=0).status == "ok"
        reply = p.call("vfs", pf, value=3)
        assert (reply.status, reply.value) == ("ok", 3)
        assert p.call("vfs", pf, value=4).error == errno.EBUSY
        assert p.call("vfs", pf, value=8).error == errno.ERANGE
        assert host.driver("0000:00:02.1") is None
        assert p.call("vfs", pf, value=0).value == 0


def test_unbind_lock(state):
    card = "0000:41:00.0"
    with FakeHost("f19-l40s-vendor-vf") as host, start(host, state) as p:
        host.event(f"users {card} 2")
        reply = p.call("unbind_lock", card, value=1)
        assert (reply.status, reply.value) == ("mismatch", 0)
        host.event(f"users {card} 0")
        assert p.call("unbind_lock", card, value=1).status == "ok"
        lock = f"proc/driver/nvidia/gpus/{card}/unbindLock"
        assert host.read(lock) == "1\n"
        assert p.call("read_lock", card).value == 1
        assert p.call("unbind_lock", card, value=0).status == "ok"
        assert p.call("read_lock", card).value == 0
        assert host.read(lock) == "0\n"


def test_hugepages(host, helper):
    reply = helper.call("hugepages", value=8, size_kib=2048, node=-1)
    assert (reply.status, reply.value) == ("ok", 8)
    assert host.read("sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages") == "8\n"
    assert helper.call("hugepages", value=4, size_kib=2048, node=0).value == 4
    assert helper.call("hugepages", value=4, size_kib=2048, node=63).error == errno.ENOENT
    assert helper.call("hugepages", value=1 << 31, size_kib=2048, node=-1).value < 1 << 31


# ---- holders, and what the host lives on ----

def test_holders(host, helper):
    host.event("process 900 Xorg fd=/dev/dri/card1")
    host.event("process 901 pipewire fd=/dev/snd/controlC0")
    found = helper.call("read_holders", addresses=[GPU, AUDIO]).holders()
    processes = {(h["pid"], h["name"], h["address"], h["node"]) for h in found if h["kind"] == "process"}
    assert processes == {(900, "Xorg", GPU, "/dev/dri/card1"),
                         (901, "pipewire", AUDIO, "/dev/snd/controlC0")}
    assert helper.call("read_holders", addresses=[OTHER]).holders() == []
    assert helper.call("read_holders", addresses=[GPU, "0000:7f:00.0"]).status == "no_device"


def test_holders_of_a_stuck_card_can_be_read(host, helper):
    blocked(host, helper)
    host.event("process 900 Xorg fd=/dev/dri/card2")
    found = helper.call("read_holders", addresses=[GPU, OTHER]).holders()
    assert [h["pid"] for h in found if h["kind"] == "process"] == [900]


def test_holders_that_cannot_be_read_are_not_none(tmp_path):
    tree = tmp_path / "tree"
    write_tree("lab-like", tree)
    with Privd(binary(), tree, tmp_path) as p:
        assert p.call("read_holders", addresses=[GPU]).status == "ok"
        os.rename(tree / "proc", tree / "no-proc")
        reply = p.call("read_holders", addresses=[GPU])
        assert reply.status == "unreadable" and b"/proc" in reply.data


def test_critical(host, helper):
    found = {(c["address"], c["code"]): c for c in helper.call("read_critical").critical()}
    assert ("0000:00:02.0", "critical") in found and ("0000:00:03.0", "critical") in found
    assert found["0000:00:02.0", "critical"]["why"] and found["0000:00:02.0", "critical"]["evidence"]
    assert ("0000:00:01.0", "console_card") in found
    assert (GPU, "critical") not in found


def of_displays(fact):
    return fact["code"] in ("console_card", "only_card") or "console may be on it" in fact["why"]


@pytest.mark.parametrize("machine", sorted(path.stem for path in MACHINES.glob("*.machine")))
def test_critical_of_some_is_as_of_all(machine, tmp_path):
    """On every machine, of every function: what it carries, asked alone and together with others."""
    tree = tmp_path / "tree"
    write_tree(machine, tree)
    functions = sorted(os.listdir(tree / DEV)) if (tree / DEV).exists() else []
    with Privd(binary(), tree, tmp_path) as p:
        whole = [fact for fact in p.call("read_critical").critical() if not of_displays(fact)]
        together = []
        for i in range(0, len(functions), 64):
            together += p.call("read_critical", addresses=functions[i:i + 64]).critical()
        assert together == whole
        for function in functions:
            alone = p.call("read_critical", addresses=[function]).critical()
            assert alone == [fact for fact in whole if fact["address"] == function], function


# ---- what is refused ----

def test_refused_on_arrival(host, helper):
    assert helper.call("unbind", PORT).status == "bridge"
    assert helper.call("remove", "0000:00:00.0").status == "bridge"
    assert helper.call("unbind", "0000:0a:00.0").status == "no_device"
    assert helper.call("unbind", "10000:01:00.0").status == "no_device"
    assert helper.call("bind", GPU, name="nouveau").status == "no_driver"
    assert helper.call("unbind", GPU, name="nouveau").status == "no_driver"
    assert helper.call("mdev_create", GPU, name="nvidia-256", uuid=b"u" * 16).status == "no_driver"
    assert helper.call("vfs", GPU, value=65536).status == "range"
    assert helper.call("module", name="nvidia").status == "no_driver"
    assert helper.call("module", name="vfio-pci").status == "not_here"
    assert helper.call("hugepages", value=1, size_kib=3, node=-1).status == "range"
    assert host.write_log() == []


@pytest.mark.parametrize("op, fields, number", [
    ("unbind", {"name": "vfio-pci"}, errno.ENODEV),	# it is on another
    ("bind", {"name": "vfio-pci"}, errno.ENODEV),	# no override, not in its table
    ("vfs", {"value": 2}, errno.ENOENT),
    ("mdev_remove", {"uuid": b"u" * 16}, errno.ENOENT),
    ("vf_type", {"value": 4}, errno.ENOENT),
    ("unbind_lock", {"value": 1}, errno.ENOENT),
])
def test_what_the_kernel_says(helper, op, fields, number):
    reply = helper.call(op, GPU, **fields)
    assert (reply.status, reply.error) == ("failed", number)


@pytest.mark.parametrize("code", ["EBUSY", "EPERM", "EINVAL", "EIO", "ENODEV", "EAGAIN", "ENOMEM"])
@pytest.mark.parametrize("op, path, fields", [
    ("override", "*/driver_override", {"name": "vfio-pci"}), ("unbind", "*/unbind", {}),
    ("bind", "*/vfio-pci/bind", {"name": "vfio-pci"}), ("probe", "*/drivers_probe", {}),
    ("reset", "*/reset", {}), ("power", "*/power/control", {"value": 1}),
])
def test_every_errno_comes_through(host, helper, code, op, path, fields):
    host.knob(f"fail errno={code} path={path}")
    reply = helper.call(op, GPU, **fields)
    assert (reply.status, reply.error) == ("failed", getattr(errno, code))


def test_written_and_not_so(host, helper):
    host.knob("ignore path=*/driver_override")
    assert helper.call("override", GPU, name="vfio-pci").status == "mismatch"
    host.knob("clear")
    host.knob("ignore path=*/unbind")
    reply = helper.call("unbind", GPU)
    assert (reply.status, reply.value) == ("ok", 0)


# ---- what never comes back ----

def blocked(host, helper):
    """An unbind of GPU that has been given up; its child's pid."""
    host.knob("block path=*/unbind")
    begun = time.monotonic()
    reply = helper.call("unbind", GPU)
    assert reply.status == "stuck" and 0.3 < time.monotonic() - begun < SOON
    assert alive(reply.pid)
    return reply.pid


def test_stuck(host, helper):
    pid = blocked(host, helper)
    begun = time.monotonic()
    for op, fields in CHANGES + [("read_override", {}), ("read_config", {"value": 64}), ("read_rom", {})]:
        reply = helper.call(op, GPU, **fields)
        assert (reply.status, reply.pid) == ("stuck", pid), op
    assert time.monotonic() - begun < 1, "a stuck address is not answered at once"

    [child] = helper.call("live").children()
    assert (child["pid"], child["op"], child["address"], child["stuck"]) == (pid, "unbind", GPU, 1)
    assert abs(child["since_ms"] / 1000 - time.time()) < 60

    assert helper.call("unbind", AUDIO).status == "stuck", "the knob blocks this one too"
    host.knob("clear")
    late = {helper.wait_late().address: 0, helper.wait_late().address: 0}
    assert set(late) == {GPU, AUDIO}
    until(lambda: records(str(pathlib.Path(helper.log.name).parent)) == [])
    assert helper.call("live").children() == []
    assert helper.call("override", GPU).status == "ok"


def test_late_news(host, helper):
    pid = blocked(host, helper)
    [child] = helper.call("live").children()
    host.knob("clear")
    late = helper.wait_late()
    assert (late.id, late.ended, late.address, late.status) == (child["id"], "unbind", GPU, "ok")
    assert late.pid == pid and not alive(pid)


def test_the_other_card_goes_on(host, helper):
    blocked(host, helper)
    host.knob("clear")
    helper.wait_late()
    host.knob(f"block path=*/unbind value={OTHER}")
    assert helper.call("unbind", OTHER).status == "stuck"
    for a in (AUDIO, GPU):
        helper.call("unbind", a)
        assert helper.call("override", a, name="vfio-pci").status == "ok"
        assert helper.call("bind", a, name="vfio-pci").status == "ok"
    assert helper.call("ping").status == "ok"


def test_busy_while_another_writes(host, state):
    with Privd(binary(), host.root, state) as helper:
        host.knob(f"delay ms=500 path=*/unbind")
        first = helper.post("unbind", GPU)
        until(lambda: any(w.result == "pending" for w in host.write_log()))
        assert helper.call("override", GPU).status == "busy"
        assert helper.wait(first).status == "ok"


def test_modules_may_be_loaded_at_once(host, helper):
    """Two VMs that start first thing after boot: the kernel itself lets one load wait for the other."""
    os.kill(helper.process.pid, signal.SIGSTOP)    # so that all have arrived when the first begins
    try:
        asked = [helper.post("module", name="vfio-pci") for _ in range(8)]
    finally:
        os.kill(helper.process.pid, signal.SIGCONT)
    replies = [helper.receive() for _ in asked]
    assert {r.id for r in replies} == set(asked)
    assert {r.status for r in replies} == {"not_here"}, "there are no modules in a tree, but none is busy"


def test_a_blocked_read_is_stuck_too(host, helper):
    host.knob("block op=read path=*/driver_override")
    assert helper.call("read_override", GPU).status == "stuck"
    assert helper.call("bind", GPU, name="vfio-pci").status == "stuck"
    host.knob("clear")
    assert helper.wait_late().ended == "read_override"


def test_a_killed_child_is_told_as_unknown(host, state):
    with Privd(binary(), host.root, state) as helper:
        host.knob("block path=*/unbind")
        number = helper.post("unbind", GPU)
        until(lambda: helper.call("live").children())
        [child] = helper.call("live").children()
        until(lambda: any(w.result == "pending" for w in host.write_log()))
        os.kill(child["pid"], 9)
        host.knob("clear")	# a write into FUSE ends only then
        assert helper.wait(number).status == "died"


# ---- privd itself dies ----

def test_kill_with_a_child_inside(host, state):
    with start(host, state) as first:
        pid = blocked(host, first)
        [before] = first.call("live").children()
        first.kill()
        with pytest.raises(Gone):
            first.receive()
        assert alive(pid), "the child went with privd"
    with start(host, state) as second:
        [child] = second.call("live").children()
        assert child == before
        assert second.call("bind", GPU, name="vfio-pci").status == "stuck"
        assert second.call("power", OTHER, value=1).status == "ok"
        host.knob("clear")
        late = second.wait_late()
        assert (late.id, late.ended, late.address, late.status) == (before["id"], "unbind", GPU, "ok")
        assert second.call("live").children() == []
        assert host.driver(GPU) is None
    assert records(state) == []


def test_kill_before_the_deadline(host, state):
    """The child that privd was still waiting for is as good as stuck: nobody waits for it now."""
    with Privd(binary(), host.root, state) as first:
        host.knob("block path=*/unbind")
        first.post("unbind", GPU)
        until(lambda: any(w.result == "pending" for w in host.write_log()))
        first.kill()
    with start(host, state) as second:
        assert second.call("power", GPU, value=1).status == "stuck"
        host.knob("clear")
        assert second.wait_late().status == "ok"


def test_killed_at_any_moment(host, state):
    """What the next privd does not call alive never writes again."""
    for n in range(40):
        with start(host, state) as first:
            first.call("ping")
            first.post("power", GPU, value=n % 2)
            time.sleep(n * 0.0001)
            first.kill()
        with start(host, state) as second:
            live = second.call("live").children()
            if live:
                second.wait_late()
            writes = host.write_log()
            assert not [w for w in writes if w.result == "pending"]
            time.sleep(0.03)
            assert host.write_log() == writes, f"a write of nobody's, {n}"
            assert second.call("power", GPU, value=1).status == "ok"
            assert host.read(f"{DEV}/{GPU}/power/control").strip() == "on"
    assert records(state) == []


@pytest.mark.parametrize("when", ["before", "inside", "after"])
def test_faults(host, state, when):
    fault = {"HORCRUX_FAULT": f"kill:privd:unbind:{when}"}
    with start(host, state, env=fault) as first:
        assert first.call("override", GPU, name="vfio-pci").status == "ok"
        first.post("unbind", GPU)
        with pytest.raises(Gone):
            first.receive()
        assert first.process.wait(10) == -9
        assert "fault armed" in first.logged()
    with start(host, state, env=fault) as second:	# and strikes once only
        live = second.call("live").children()
        assert [c["op"] for c in live] == (["unbind"] if when == "inside" else [])
        if live:
            assert host.driver(GPU) == "radeon", "it did not die before the write"
            assert second.wait_late().status == "ok"
        assert host.driver(GPU) == ("radeon" if when == "before" else None)
        if when == "before":
            assert second.call("unbind", GPU).status == "ok"


def test_a_bad_fault_stops_the_start(host, state):
    with start(host, state, env={"HORCRUX_FAULT": "kill:privd:nonsense:before"}) as p:
        assert p.process.wait(10) == 1


def test_records_of_the_dead_and_of_strangers_go(host, state):
    directory = os.path.join(state, "run/privd-children")
    os.makedirs(directory)
    for name, content in (("empty", b""), ("junk", b"x" * 4096), ("short", b"x")):
        pathlib.Path(directory, name).write_bytes(content)
    with start(host, state) as p:
        assert p.call("live").children() == []
    assert records(state) == []


def test_two_at_once_on_one_directory(host, state):
    with start(host, state) as first:
        first.call("ping")
        with start(host, state) as second:
            assert second.process.wait(20) == 1
            assert "another horcrux-privd" in second.logged()
        assert first.call("ping").status == "ok"


# ---- who may talk, and how ----

MALFORMED = {
    "short": lambda m: m[:-1],
    "long": lambda m: m + b"\0",
    "tiny": lambda m: b"x",
    "magic": lambda m: b"\0" * 4 + m[4:],
    "version": lambda m: m[:4] + b"\xff\xff" + m[6:],
    "operation": lambda m: m[:6] + b"\xff\x00" + m[8:],
    "late": lambda m: m[:6] + struct.pack("=H", privd.OPS["late"]) + m[8:],
    "no id": lambda m: m[:8] + b"\0" * 8 + m[16:],
    "size": lambda m: m[:16] + b"\1\0\0\0" + m[20:],
    "no address": lambda m: m[:24] + b"\0" * 8 + m[32:],
    "device 32": lambda m: m[:29] + b"\x20" + m[30:],
    "slash": lambda m: m.replace(b"vfio-pci", b"vfio/pci"),
    "dots": lambda m: m.replace(b"vfio-pci", b"../../.."),
    "no end": lambda m: m.replace(b"vfio-pci" + bytes(24), b"v" * 32),
    "after the end": lambda m: m.replace(b"vfio-pci" + bytes(2), b"vfio-pci\0v"),
    "tail": lambda m: m[:-1] + b"\1",
}


@pytest.mark.parametrize("what", MALFORMED)
def test_malformed(host, helper, what):
    good = privd.request("override", GPU, id=7, name="vfio-pci")
    helper.send(MALFORMED[what](good))
    with pytest.raises(Gone):
        helper.receive()
    assert "connection of pid" in helper.logged()
    assert host.write_log() == []


def listening(path):
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    sock.bind(path)
    sock.listen(8)
    return sock


class Listening(Privd):
    """One with a listening socket, as a socket unit gives it."""

    def __init__(self, host, state, *options):
        self.path = os.path.join(state, "privd.sock")
        listener = listening(self.path)
        super().__init__(binary(), host.root, state, CAP, *options, socket_fd=listener)
        listener.close()

    def connect(self):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        sock.connect(self.path)
        return privd.Connection(sock)

    def stop(self):
        self.process.terminate()
        super().stop()


def test_many_connections(host, state):
    with Listening(host, state) as p:
        one, two = p.connect(), p.connect()
        assert one.call("power", GPU, value=1).status == "ok"
        one.send(b"nonsense")
        with pytest.raises(Gone):
            one.receive()
        assert two.call("power", GPU, value=0).status == "ok"
        more = [p.connect() for _ in range(7)]
        assert all(c.call("ping").status == "ok" for c in more)
        with pytest.raises(Gone):
            p.connect().receive()


def test_who_comes_back_is_told(host, state):
    """The daemon was restarted while its call was under way."""
    with Listening(host, state) as p:
        host.knob("delay ms=300 path=*/unbind")
        old = p.connect()
        number = old.post("unbind", GPU)
        until(lambda: any(w.result == "pending" for w in host.write_log()))
        old.sock.close()
        new = p.connect()
        assert [c["id"] for c in new.call("live").children()] == [number]
        late = new.wait_late()
        assert (late.id, late.status) == (number, "ok")


def test_another_user_is_refused(host, state):
    with Listening(host, state, f"--peer-uid={os.getuid() + 1}") as p:
        with pytest.raises(Gone):
            p.connect().call("ping")
        assert f"only uid {os.getuid() + 1} may" in p.logged()


def test_the_owner_of_the_socket_may(host, state):
    with Listening(host, state) as p:
        assert p.connect().call("ping").value == p.process.pid


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a socket away")
def test_the_socket_of_another_user(host, state):
    path = os.path.join(state, "privd.sock")
    listener = listening(path)
    os.chown(path, 12345, 12345)
    with Privd(binary(), host.root, state, socket_fd=listener) as p:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        sock.connect(path)
        with pytest.raises(Gone):
            privd.Connection(sock).call("ping")
        p.process.terminate()
    listener.close()


def test_an_inherited_socket_of_another_user(host, state):
    with start(host, state, f"--peer-uid={os.getuid() + 1}") as p:
        assert p.process.wait(10) == 1


def test_no_socket_no_start(host, state):
    with Privd(binary(), host.root, state, socket_fd=None) as p:
        assert p.process.wait(10) == 1
        assert "no socket" in p.logged()


def test_terminate(host, state):
    with Listening(host, state) as p:
        c = p.connect()
        c.call("ping")
        p.process.terminate()
        assert p.process.wait(5) == 0


def test_idle_loads_little(helper):
    helper.call("ping")
    with open(f"/proc/{helper.process.pid}/maps", encoding="utf-8") as f:
        maps = f.read()
    # what made it large once: libcrypto, behind libkmod
    assert "libkmod" not in maps and "libcrypto" not in maps


@pytest.mark.plain
def test_idle_is_small(helper):
    helper.call("ping")
    with open(f"/proc/{helper.process.pid}/maps", encoding="utf-8") as f:
        assert "asan" not in f.read(), "a sanitizer's own memory says nothing about ours"
    with open(f"/proc/{helper.process.pid}/smaps_rollup", encoding="ascii") as f:
        rows = dict(line.split(":") for line in f.read().splitlines()[1:])
    private = sum(int(rows[k].split()[0]) for k in ("Private_Clean", "Private_Dirty"))
    assert private <= 2048, f"{private} KiB private"


def test_idle_does_nothing(helper):
    helper.call("ping")

    def switches():
        with open(f"/proc/{helper.process.pid}/status", encoding="ascii") as f:
            return [int(line.split()[1]) for line in f if "ctxt_switches" in line]
    time.sleep(0.2)	# back into poll(2)
    before = switches()
    time.sleep(0.5)
    assert switches() == before
