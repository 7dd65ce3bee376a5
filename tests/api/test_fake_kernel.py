# SPDX-License-Identifier: Apache-2.0
"""The daemon with its helper on the fake kernel: who holds a card, what the host lives on, uevents."""
import os
import signal
import time

import golden
import pytest
from daemon import Daemon
from fakehost import FakeHost

RADEON, AUDIO, CONSOLE = "0000:01:00.0", "0000:01:00.1", "0000:00:01.0"


@pytest.fixture
def host():
    with FakeHost("lab-like", uevents=False) as mounted:
        yield mounted


@pytest.fixture
def d(tmp_path, host):
    os.symlink(tmp_path / "state" / "uevent.sock", host.uevent_path)
    with Daemon(tmp_path, host.root) as running:
        running.host = host
        yield running


def device(d, address):
    return d.get(f"/api/gpu/devices/{address}").json()


def test_cards_of_the_machine(d):
    devices = d.get("/api/gpu/devices").json()
    assert [g["pci_address"] for g in devices] == [CONSOLE, RADEON, "0000:02:00.0", "0000:04:01.0"]
    assert d.get("/api/gpu/iommu-status").json()["enabled"] is True
    for name, path in (("fake-devices", "/api/gpu/devices"), ("fake-iommu-status", "/api/gpu/iommu-status"),
                       ("fake-group", "/api/gpu/devices/0000:04:01.0/iommu-group")):
        golden.check(name, d.get(path).body)


def test_a_holder_comes_and_goes(d):
    assert device(d, RADEON)["used_by"] == [] and device(d, RADEON)["in_use"] is False
    d.host.event("process 900 Xorg fd=/dev/dri/card1")
    assert d.wait_for(lambda: device(d, RADEON)["in_use"], 8)
    (holder,) = device(d, RADEON)["used_by"]
    assert holder["kind"] == "process" and holder["id"] == "900" and holder["name"] == "Xorg"
    d.host.event("kill 900")
    assert d.wait_for(lambda: not device(d, RADEON)["in_use"], 8)


def test_what_the_host_lives_on(d):
    assert d.get("/api/health").json()["ready"] is True
    reasons = [c["why"] for c in device(d, CONSOLE)["critical"]]
    assert reasons and device(d, CONSOLE)["console"] is True
    assert device(d, RADEON)["critical"] == []


def test_the_doctor_asks_the_helper(d):
    report = d.get("/api/doctor").json()
    checks = {(c["subject"], c["id"]): c for c in report["checks"]}
    assert checks[CONSOLE, "console"]["status"] == "warn"
    assert checks[RADEON, "boot_framebuffer"]["evidence"] == "/proc/iomem"
    d.host.event("process 900 Xorg fd=/dev/dri/card1")
    assert d.wait_for(lambda: ["warn"] == [c["status"] for c in d.get(f"/api/doctor?device={RADEON}").json()["checks"]
                                           if c["id"] == "holders"], 8)


def test_uevents_of_the_kernel_are_followed(d):
    assert device(d, RADEON)["driver"] == "radeon"
    d.host.write(f"sys/bus/pci/devices/{RADEON}/driver_override", "vfio-pci")
    d.host.write("sys/bus/pci/drivers/radeon/unbind", RADEON)
    assert d.wait_for(lambda: device(d, RADEON)["driver"] is None, 30)
    d.host.write("sys/bus/pci/drivers_probe", RADEON)
    assert d.wait_for(lambda: device(d, RADEON)["driver"] == "vfio-pci", 30)


def test_looking_changes_and_wakes_nothing(d):
    d.host.clear_reads()
    d.post("/api/gpu/devices/scan")
    device(d, RADEON)
    assert d.host.write_log() == []
    assert d.host.wakes() == []


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="utf-8") as f:
        return [int(p) for p in f.read().split()]


def test_the_helper_is_started_again(d):
    assert d.wait_for(lambda: device(d, RADEON)["used_by"] == [], 20)
    (helper,) = children(d.process.pid)
    d.host.event("process 902 Xorg fd=/dev/dri/card1")
    os.kill(helper, signal.SIGKILL)
    assert d.wait_for(lambda: children(d.process.pid) not in ([], [helper]), 5)
    time.sleep(0.2)     # until it is connected; from then on nobody sees what was heard before
    assert device(d, RADEON)["in_use"] is True
    assert d.wait_for(lambda: d.get("/api/health").json()["ready"], 20)


def test_a_helper_that_hangs_holds_up_nobody(d):
    assert d.wait_for(lambda: device(d, RADEON)["used_by"] == [], 20)   # heard, however busy the machine is
    (helper,) = children(d.process.pid)
    os.kill(helper, signal.SIGSTOP)
    try:
        time.sleep(6.5)
        began = time.monotonic()
        assert device(d, RADEON)["pci_address"] == RADEON
        assert time.monotonic() - began < 2
        assert d.wait_for(lambda: "used_by" in device(d, RADEON)["unknown"], 15)
        assert d.stop() < 2
    finally:
        os.kill(helper, signal.SIGCONT)
