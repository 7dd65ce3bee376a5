# SPDX-License-Identifier: Apache-2.0
"""How the daemon is: each of its parts taken away and given back, and what /api/health says of it."""
import os
import shutil
import signal
import sqlite3
import subprocess

import pytest
from daemon import Daemon
from fakehost import FakeHost

RADEON = "0000:01:00.0"
VM = {"id": "vm-1", "name": "vm-1", "cpus": 1, "memory": 64}


@pytest.fixture
def host():
    with FakeHost("lab-like", uevents=False) as mounted:
        yield mounted


@pytest.fixture
def d(tmp_path, host):
    os.symlink(tmp_path / "state" / "uevent.sock", host.uevent_path)
    with Daemon(tmp_path, host.root) as running:
        running.host = host
        assert running.wait_for(lambda: running.get("/api/health").json()["ready"], 20)
        yield running


def health(d):
    said = d.get("/api/health").json()
    assert said["live"] is True
    bad = {p["name"]: p for p in said["parts"] if p["state"] in ("failed", "starting")}
    assert said["ready"] is not bool(bad)
    return bad


def only(d, name):
    """That part alone is not well; what is told of it. None: all is well, or another is not."""
    bad = health(d)
    return bad[name]["detail"] if list(bad) == [name] and bad[name]["state"] == "failed" else None


def well(d):
    return not health(d)


def test_all_is_well(d):
    said = d.get("/api/health").json()
    assert {p["name"]: p["state"] for p in said["parts"]} == {
        "helper": "ok", "inventory": "ok", "libvirt": "off", "store": "ok"}
    assert [p["name"] for p in said["parts"]] == sorted(p["name"] for p in said["parts"])


def test_the_helper_is_gone_and_comes_back(d):
    """Told when it happens: nobody has to ask it for something first."""
    helper = os.path.join(os.path.dirname(d.program), "horcrux-privd")
    os.rename(helper, helper + ".away")
    with open(f"/proc/{d.process.pid}/task/{d.process.pid}/children", encoding="utf-8") as f:
        (pid,) = [int(p) for p in f.read().split()]
    since = [p for p in d.get("/api/health").json()["parts"] if p["name"] == "helper"][0]["since"]
    os.kill(pid, signal.SIGKILL)
    assert d.wait_for(lambda: only(d, "helper"), 20)
    assert "cannot be reached" in only(d, "helper") and "systemctl status" in only(d, "helper")
    assert health(d)["helper"]["since"] >= since
    os.rename(helper + ".away", helper)
    assert d.wait_for(lambda: well(d), 20)


def test_the_helper_hangs(d):
    """It is connected, and says nothing: that is seen by asking it."""
    with open(f"/proc/{d.process.pid}/task/{d.process.pid}/children", encoding="utf-8") as f:
        (pid,) = [int(p) for p in f.read().split()]
    os.kill(pid, signal.SIGSTOP)
    try:
        assert d.wait_for(lambda: only(d, "helper"), 30)
        assert "does not answer" in only(d, "helper")
    finally:
        os.kill(pid, signal.SIGCONT)
    assert d.wait_for(lambda: well(d), 20)


def test_the_store_is_locked(d):
    """By somebody else: what is written fails, with what to do; reading goes on; then it works again."""
    with sqlite3.connect(os.path.join(d.state, "private", "store.sqlite"), isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        assert d.wait_for(lambda: only(d, "store"), 20)
        assert "locked" in only(d, "store") and "then ask again" in only(d, "store")
        reply = d.post("/api/vms", VM)
        assert (reply.status, reply.json()["code"]) == (503, "store_unavailable"), reply
        assert "end that, then ask again" in reply.json()["hint"]
        assert d.get("/api/vms").json() == []
        other.execute("ROLLBACK")
    assert d.wait_for(lambda: well(d), 20)
    assert d.post("/api/vms", VM).status == 201


def test_a_write_that_waits_for_the_store_is_made(d):
    """What is locked for a moment only is waited for: nobody has to ask again."""
    with sqlite3.connect(os.path.join(d.state, "private", "store.sqlite"), isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        reply = d.post("/api/vms", VM, {"Prefer": "respond-async"})
        assert reply.status == 202, reply
        other.execute("ROLLBACK")
    task = reply.json()["id"]
    assert d.wait_for(lambda: d.get(f"/api/tasks/{task}").json()["state"] == "succeeded", 20)
    assert [vm["id"] for vm in d.get("/api/vms").json()] == ["vm-1"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small file system")
def test_no_room_for_the_store(tmp_path, host):
    state = tmp_path / "state"
    state.mkdir()
    os.symlink(state / "uevent.sock", host.uevent_path)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", state], check=True)
    try:
        with Daemon(tmp_path, host.root) as d:
            assert d.wait_for(lambda: well(d), 20)
            room = shutil.disk_usage(state).free
            (state / "filler").write_bytes(b"x" * (room - 16384))
            assert d.wait_for(lambda: only(d, "store"), 20)
            assert "make room on its file system" in only(d, "store")
            (state / "filler").unlink()
            assert d.wait_for(lambda: well(d), 20)
            assert d.post("/api/vms", VM).status == 201
    finally:
        subprocess.run(["umount", state], check=True)


def test_the_host_cannot_be_read(d):
    """What stands for its root went away under the daemon: said, and the last that was known is kept."""
    before = d.get("/api/gpu/devices").json()
    d.host.process.kill()
    d.host.process.wait()
    reply = d.post("/api/gpu/devices/scan")
    assert reply.status >= 500 and reply.json()["hint"], reply
    assert d.wait_for(lambda: health(d).get("inventory", {}).get("detail"), 20)
    assert [g["pci_address"] for g in d.get("/api/gpu/devices").json()] == [g["pci_address"] for g in before]
