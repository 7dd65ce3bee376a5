# SPDX-License-Identifier: Apache-2.0
"""VMs beside others: files and addresses that two would have, and requests about a VM on which another
is at work. What test_vms.py says of its world holds here too.
"""
import threading

import pytest
from test_vms import MAC, RADEON, d, device, drivers, make, spec  # noqa: F401


def test_what_others_use(d):
    make(d, "vm-1", cdrom=["tiny.iso"], network={"kind": "nat", "mac": MAC.upper()})
    make(d, "vm-2", cdrom=["tiny.iso"], start=True)         # read by two
    taken = d.post("/api/vms", spec("vm-3", disks=[{"volume": "tiny.iso"}]))
    assert taken.status == 409 and taken.json()["pointer"] == "/disks/0/volume"
    assert "vm-1" in taken.json()["detail"] and "vm-2" in taken.json()["detail"]
    taken = d.post("/api/vms", spec("vm-3", network={"kind": "nat", "mac": MAC}))
    assert taken.status == 409 and taken.json()["pointer"] == "/network/mac"
    assert "vm-1" in taken.json()["detail"]
    make(d, "vm-3", disks=[{"volume": "old.qcow2"}], start=True)
    make(d, "vm-4", disks=[{"volume": "old.qcow2"}])        # they take turns
    refused = d.post("/api/vms/vm-4/start")
    assert refused.status == 409
    (claimed,) = refused.json()["refusals"]
    assert (claimed["code"], claimed["subject"]) == ("claimed", "volume old.qcow2")
    assert "vm-3" in claimed["reason"]
    assert d.post("/api/vms/vm-3/kill").status == 200
    assert d.post("/api/vms/vm-4/start").status == 200


def test_where_it_is(d):
    made = d.post("/api/vms", spec("vm-1"))
    assert made.status == 201 and made.headers["Location"] == "/api/vms/vm-1"
    assert d.get(made.headers["Location"]).json()["id"] == "vm-1"
    assert "Location" not in d.post("/api/vms?dry_run=true", spec("vm-2")).headers


@pytest.mark.parametrize("method, body", [("PATCH", {"cpus": 2}), ("DELETE", None)])
def test_if_match_is_not_passed_over(d, method, body):
    make(d, "vm-1")
    tag = d.get("/api/vms/vm-1").headers["ETag"]
    refused = d.call(method, "/api/vms/vm-1", body, {"If-Match": tag})
    assert refused.status == 400 and "If-Match" in refused.json()["detail"] and refused.json()["hint"]
    assert d.get("/api/vms/vm-1").headers["ETag"] == tag


# ---- while it starts ----

def slow_start(d, new=False):
    """A start that stands in its first write; its thread, and where its reply comes. new: of a VM that is
    made by the same request."""
    if new:
        request = ("/api/vms", spec("vm-1", RADEON, start=True))
    else:
        make(d, "vm-1", RADEON)
        request = ("/api/vms/vm-1/start",)
    d.host.knob("block path=*snd_hda_intel/unbind")
    replies = []
    thread = threading.Thread(target=lambda: replies.append(d.post(*request)))
    thread.start()
    assert d.wait_for(lambda: any("unbind" in (t["message"] or "") for t in d.get("/api/tasks").json()), 10)
    assert d.get("/api/vms/vm-1").json()["state"] == "starting"
    assert "snd_hda_intel" in drivers(d)
    return thread, replies


def test_a_kill_ends_a_start(d):
    thread, replies = slow_start(d)
    killed = d.post("/api/vms/vm-1/kill", headers={"Prefer": "respond-async"})
    assert killed.status == 202 and not replies
    d.host.knob("clear")
    thread.join()
    assert replies[0].status == 409 and replies[0].json()["code"] == "cancelled"
    assert d.wait_for(lambda: d.get(killed.headers["Location"]).json()["state"] == "succeeded", 20)
    assert d.get("/api/vms/vm-1").json()["state"] == "stopped"
    assert drivers(d) == ["radeon", "snd_hda_intel"] and device(d)["claimed_by"] is None


def test_a_kill_ends_a_start_that_makes_the_vm(d):
    thread, replies = slow_start(d, new=True)
    killed = d.post("/api/vms/vm-1/kill", headers={"Prefer": "respond-async"})
    assert killed.status == 202 and not replies
    d.host.knob("clear")
    thread.join()
    assert replies[0].status == 409 and replies[0].json()["code"] == "cancelled"
    assert d.wait_for(lambda: d.get(killed.headers["Location"]).json()["state"] == "failed", 20)
    problem = d.get(killed.headers["Location"]).json()["problem"]
    assert (problem["status"], problem["code"]) == (409, "gone") and "vm-1" in problem["detail"]
    assert d.get("/api/vms").json() == []
    assert drivers(d) == ["radeon", "snd_hda_intel"] and device(d)["claimed_by"] is None


def test_a_delete_waits_for_a_start(d):
    thread, replies = slow_start(d)
    deleted = d.call("DELETE", "/api/vms/vm-1", headers={"Prefer": "respond-async"})
    assert deleted.status == 202 and not replies
    d.host.knob("clear")
    thread.join()
    assert replies[0].status == 200
    assert d.wait_for(lambda: d.get(deleted.headers["Location"]).json()["state"] == "failed", 20)
    assert "runs" in d.get(deleted.headers["Location"]).json()["problem"]["detail"]
    assert d.get("/api/vms/vm-1").json()["state"] == "running"
