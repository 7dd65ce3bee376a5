# SPDX-License-Identifier: Apache-2.0
"""Changes through the API on the fake kernel: bind and unbind, dry runs, refusals, tasks; each shape
byte for byte, and nothing written where nothing is to change."""
import os
import re
import threading

import golden
import pytest
from daemon import Daemon, as_user
from fakehost import FakeHost

RADEON, AUDIO, CONSOLE, DIRTY = "0000:01:00.0", "0000:01:00.1", "0000:00:01.0", "0000:04:01.0"


@pytest.fixture
def d(tmp_path):
    with FakeHost("lab-like", uevents=False) as host:
        os.symlink(tmp_path / "state" / "uevent.sock", host.uevent_path)
        with Daemon(tmp_path, host.root) as running:
            running.host = host
            yield running


def path(address, verb, query=""):
    return f"/api/gpu/devices/{address}/{verb}-vfio{query}"


def drivers(d):
    return [d.host.driver(a) for a in (RADEON, AUDIO)]


def check_golden(name, body):
    """Task ids, digests and request ids differ from run to run."""
    body = re.sub(rb"task-[0-9a-f]{16}", b"task-0000000000000000", body)
    golden.check(name, re.sub(rb'"[0-9a-f]{64}"', b'"' + b"0" * 64 + b'"', body))


def test_bind_and_unbind(d):
    bound = d.post(path(RADEON, "bind"))
    assert bound.status == 200 and bound.json()["driver"] == "vfio-pci" and bound.json()["state"] == "ready"
    assert drivers(d) == ["vfio-pci", "vfio-pci"]
    d.host.clear_write_log()
    again = d.post(path(AUDIO, "bind"))        # any function of the card; it is so already
    assert again.status == 200 and again.json()["pci_address"] == AUDIO
    assert d.host.write_log() == []
    free = d.post(path(RADEON, "unbind"), {})
    assert free.status == 200 and free.json()["driver"] == "radeon"
    assert drivers(d) == ["radeon", "snd_hda_intel"]
    check_golden("tasks", d.get("/api/tasks").body)
    (first, *_) = d.get("/api/tasks").json()
    check_golden("task", d.get(f"/api/tasks/{first['id']}").body)
    assert d.get("/api/tasks?state=failed").json() == []
    check_golden("problem-cancel", d.post(f"/api/tasks/{first['id']}/cancel").body)


def test_a_dry_run_changes_nothing(d):
    d.host.clear_write_log()
    plan = d.post(path(RADEON, "bind", "?dry_run=true"))
    assert plan.status == 200
    check_golden("dry-run", plan.body)
    refused = d.post(path(CONSOLE, "bind", "?dry_run=true"))
    assert refused.status == 200 and refused.json()["plan"]["refusals"]
    check_golden("dry-run-refused", refused.body)
    assert d.host.write_log() == [] and drivers(d) == ["radeon", "snd_hda_intel"]


def test_if_plan(d):
    digest = d.post(path(RADEON, "bind", "?dry_run=true")).json()["plan"]["digest"]
    other = d.post(path(RADEON, "bind"), headers={"If-Plan": "0" * 64})
    assert other.status == 409 and other.json()["code"] == "plan_changed"
    check_golden("problem-plan-changed", other.body)
    assert drivers(d) == ["radeon", "snd_hda_intel"]
    assert d.post(path(RADEON, "bind"), headers={"If-Plan": digest}).status == 200


def test_refusals(d):
    d.host.clear_write_log()
    refused = d.post(path(CONSOLE, "bind"))
    assert refused.status == 409
    check_golden("problem-refused", refused.body)
    codes = [r["code"] for r in refused.json()["refusals"]]
    assert "console_card" in codes and len(codes) > 1      # all at once
    part = d.post(path(CONSOLE, "bind"), {"accept": ["console_card"]})
    assert part.status == 409 and "console_card" not in [r["code"] for r in part.json()["refusals"]]
    d.host.event("process 900 Xorg fd=/dev/dri/card1")
    held = d.post(path(RADEON, "bind"), {"accept": ["held"]})
    assert held.status == 409
    (refusal,) = held.json()["refusals"]
    assert refusal["code"] == "held" and refusal["can_accept"] is False and "Xorg" in refusal["reason"]
    assert d.host.write_log() == []


def test_accepted(d):
    taken = d.post(path(CONSOLE, "bind"), {"accept": ["console_card", "no_reset"]})
    assert taken.status == 200 and d.host.driver(CONSOLE) == "vfio-pci"


def test_later(d):
    reply = d.post(path(RADEON, "bind"), headers={"Prefer": "respond-async"})
    assert reply.status == 202
    task = reply.json()
    assert reply.headers["Location"] == f"/api/tasks/{task['id']}"
    assert d.wait_for(lambda: d.get(reply.headers["Location"]).json()["state"] == "succeeded", 10)
    assert drivers(d) == ["vfio-pci", "vfio-pci"]
    for prefer in ("wait=0", "respond-async, wait=10", "wait=5", "nonsense"):
        assert d.post(path(RADEON, "bind"), headers={"Prefer": prefer}).status in (200, 202)


def test_two_binds_at_once_are_one(d):
    replies = []
    threads = [threading.Thread(target=lambda: replies.append(d.post(path(RADEON, "bind")))) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert [r.status for r in replies] == [200] * 4
    unbinds = [w for w in d.host.write_log() if w.path.endswith("/unbind")]
    assert len(unbinds) == 2        # one for each function


@pytest.mark.parametrize("body, code, pointer", [
    ({"scope": "world"}, "invalid_value", "/scope"), ({"scope": 1}, "wrong_type", "/scope"),
    ({"accept": "held"}, "wrong_type", "/accept"), ({"accept": [1]}, "wrong_type", "/accept/0"),
    ({"accept": ["x"] * 33}, "invalid_value", "/accept"), ({"force": True}, "unknown_field", "/force"),
])
def test_wrong_requests(d, body, code, pointer):
    d.host.clear_write_log()
    problem = d.post(path(RADEON, "bind"), body).json()
    assert problem["code"] == code and problem["pointer"] == pointer
    assert d.post(path(RADEON, "bind", "?dry_run=maybe")).json()["code"] in ("wrong_type", "invalid_value")
    assert d.post(path(RADEON, "bind", "?wait=1")).json()["code"] == "unknown_field"
    assert d.host.write_log() == []


@pytest.mark.parametrize("address, statuses", [
    ("0000:09:00.0", (404,)), ("0000:00:03.0", (404,)), ("nonsense", (400, 404, 422)), ("0000:00:04.0", (404,)),
])
def test_what_is_no_card(d, address, statuses):
    for verb in ("bind", "unbind"):
        assert d.post(path(address, verb)).status in statuses


def test_a_cancel_can_be_planned(d):
    d.host.knob("block path=*snd_hda_intel/unbind")
    task = d.post(path(RADEON, "bind"), headers={"Prefer": "respond-async"}).headers["Location"]
    assert d.wait_for(lambda: "unbind" in (d.get(task).json()["message"] or ""), 20)
    dry = d.post(f"{task}/cancel?dry_run=true")
    assert dry.status == 200
    check_golden("dry-run-cancel", dry.body)
    assert d.get(task).json()["state"] == "running"
    other = d.post(f"{task}/cancel", headers={"If-Plan": "0" * 64})
    assert other.status == 409 and other.json()["code"] == "plan_changed"
    assert d.post(f"{task}/cancel", headers={"If-Plan": dry.json()["plan"]["digest"]}).status == 200
    d.host.knob("clear")
    assert d.wait_for(lambda: d.get(task).json()["state"] == "cancelled", 20)
    assert drivers(d) == ["radeon", "snd_hda_intel"]
    over = d.post(f"{task}/cancel?dry_run=true")
    assert over.status == 409 and "it is over" in over.json()["detail"]


def test_no_such_task(d):
    check_golden("problem-no-task", d.get("/api/tasks/task-1").body)
    assert d.post("/api/tasks/task-1/cancel").status == 404
    assert d.post("/api/tasks/task-1/cancel?dry_run=true").status == 404


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_others_change_nothing(d):
    d.host.clear_write_log()
    for headers in ({"Via": "x"}, {"Host": "example.org"}, {"Origin": "http://example.org"}):
        assert d.post(path(RADEON, "bind"), headers=headers).status in (401, 403)
    assert as_user("nobody", d, "POST", path(RADEON, "bind"))[0] == 401
    assert d.host.write_log() == []


def test_on_a_tree_that_is_no_kernel_everything_is_read_only(tmp_path, tree):
    with Daemon(tmp_path, tree.root) as d:
        plan = d.post("/api/gpu/devices/0000:01:00.0/bind-vfio?dry_run=true")
        assert plan.status == 200
        accept = [r["code"] for r in plan.json()["plan"]["refusals"] if r["can_accept"]]
        reply = d.post("/api/gpu/devices/0000:01:00.0/bind-vfio", {"accept": accept})
        assert reply.status == 503 and reply.json()["code"] == "read_only", reply
        check_golden("problem-read-only", reply.body)


def test_without_its_helper_nothing_is_changed(tmp_path):
    with FakeHost("lab-like", uevents=False) as host:
        os.symlink(tmp_path / "state" / "uevent.sock", host.uevent_path)
        with Daemon(tmp_path, host.root, helper=False) as d:
            reply = d.post(path(RADEON, "bind"))
            assert reply.status == 503 and "horcrux-privd" in reply.json()["hint"]
            assert host.write_log() == []
            assert d.get("/api/gpu/devices").status == 200
