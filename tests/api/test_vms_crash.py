# SPDX-License-Identifier: Apache-2.0
"""The daemon killed before, inside and after each step of a VM's life. The test driver's domains, pools
and volumes die with the daemon, so what is looked at is what lasts: records, claims, and the cards.
After the next start the card is with the host, nobody claims it, nothing is left to do, and the VM can
be started.
"""
import http.client
import os
import time

import pytest

from test_vms import AUDIO, RADEON, World, device, drivers, make, spec

POINTS = ("before", "inside", "after")


def dying(d, fault):
    """The daemon again, to be killed at that point."""
    d.stop()
    d.env["HORCRUX_FAULT"] = f"kill:horcruxd:{fault}"
    d.start()


def ask(d, method, path, body=None):
    """Asks the daemon, which dies of it."""
    try:
        d.call(method, path, body, check=False)
    except (OSError, http.client.HTTPException):
        pass
    d.process.wait(20)
    assert d.process.returncode == -9, d.log()


def revived(d):
    """The daemon again, when nothing is under way any more."""
    del d.env["HORCRUX_FAULT"]
    d.start()

    def quiet():
        return all(t["state"] not in ("queued", "running") for t in d.get("/api/tasks").json()) and \
            device(d)["claimed_by"] is None
    assert d.wait_for(quiet, 15), (d.get("/api/tasks").json(), device(d), d.log())
    assert [t for t in d.get("/api/tasks").json() if t["state"] == "stuck"] == []


def at_home(d):
    assert d.wait_for(lambda: drivers(d) == ["radeon", "snd_hda_intel"])
    assert device(d)["claimed_by"] is None and device(d, AUDIO)["claimed_by"] is None


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with World(tmp_path_factory.mktemp("crash")) as d:
        yield d


@pytest.fixture(autouse=True)
def alive(world):
    """One test's failure is not the next one's."""
    if not world.process or not world.alive():
        world.env.pop("HORCRUX_FAULT", None)
        world.start()


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("step", ["claim", "unbind", "bind", "viable", "domain"])
def test_a_start(world, step, point):
    d = world
    if d.get("/api/vms/vm-1").status == 404:
        make(d, "vm-1", RADEON)
    dying(d, f"{step}:{point}")
    ask(d, "POST", "/api/vms/vm-1/start")
    revived(d)
    at_home(d)
    assert d.get("/api/vms/vm-1").json()["state"] == "stopped"
    assert d.post("/api/vms/vm-1/start").status == 200
    assert d.post("/api/vms/vm-1/kill").status == 200
    at_home(d)


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("verb, step", [("stop", "shutdown"), ("kill", "destroy"), ("kill", "let-go"),
                                        ("kill", "give-back"), ("kill", "unclaim")])
def test_an_end(world, verb, step, point):
    d = world
    if d.get("/api/vms/vm-1").status == 404:
        make(d, "vm-1", RADEON)
    dying(d, f"{step}:{point}")
    assert d.post("/api/vms/vm-1/start").status == 200
    ask(d, "POST", f"/api/vms/vm-1/{verb}")
    revived(d)
    at_home(d)
    assert d.get("/api/vms/vm-1").json()["state"] == "stopped"


@pytest.mark.parametrize("point", POINTS)
def test_making_one(world, point):
    d = world
    dying(d, f"record:{point}")
    ask(d, "POST", "/api/vms", spec("vm-9", network=[{"kind": "none"}]))
    revived(d)
    # before: it was not made; after: it may stay only if its task came to its end
    assert d.get("/api/vms/vm-9").status in ((404,) if point != "after" else (200, 404))
    if d.get("/api/vms/vm-9").status == 404:
        make(d, "vm-9", network=[{"kind": "none"}])
    vm = d.get("/api/vms/vm-9").json()
    assert vm["created_at"]
    assert d.call("DELETE", "/api/vms/vm-9").status == 204


@pytest.mark.parametrize("point", POINTS)
def test_deleting_one(world, point):
    d = world
    make(d, "vm-8", network=[{"kind": "none"}], firmware="bios")
    dying(d, f"record-delete:{point}")
    ask(d, "DELETE", "/api/vms/vm-8")
    revived(d)
    if d.get("/api/vms/vm-8").status == 200:
        assert d.call("DELETE", "/api/vms/vm-8").status == 204
    assert d.get("/api/vms/vm-8").status == 404


def test_a_start_whose_qemu_has_not_let_go(world):
    """The domain is not there any more, its QEMU still is: its card is not torn from it."""
    d = world
    if d.get("/api/vms/vm-1").status == 404:
        make(d, "vm-1", RADEON)
    dying(d, "domain:after")
    ask(d, "POST", "/api/vms/vm-1/start")
    group = os.path.basename(os.readlink(d.host.path(f"sys/bus/pci/devices/{RADEON}/iommu_group")))
    d.host.event(f"process 4700 qemu-system-x86 fd=/dev/vfio/{group}")
    del d.env["HORCRUX_FAULT"]
    d.host.clear_write_log()
    d.start()
    assert d.wait_for(lambda: any("going back: start the domain" in (t["message"] or "")
                                  for t in d.get("/api/tasks").json()))
    time.sleep(1.5)
    assert [t["state"] for t in d.get("/api/tasks").json()] == ["running"]
    assert d.host.write_log() == [] and drivers(d) == ["vfio-pci", "vfio-pci"]
    d.host.event("kill 4700")
    assert d.wait_for(lambda: [t["state"] for t in d.get("/api/tasks").json()] == ["rolled_back"], 20)
    assert d.wait_for(lambda: device(d)["claimed_by"] is None)
    at_home(d)
