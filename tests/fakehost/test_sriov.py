# SPDX-License-Identifier: Apache-2.0
"""VFs made and taken away by whole daemons: every write, what is refused, what the kernel refuses, what is
made again after a boot, and daemons that die at every step."""

import os

import pytest

from machine import DEV, Machine, machine_with

PF = "0000:00:02.0"
VFS = [f"0000:00:02.{n}" for n in range(1, 8)]
POINTS = ("before", "inside", "after")


def make(n):
    return [f"{PF}/sriov_drivers_autoprobe=0", f"{PF}/sriov_numvfs={n}", f"{PF}/sriov_drivers_autoprobe=1"]


def change(n):
    return [f"{PF}/sriov_drivers_autoprobe=0", f"{PF}/sriov_numvfs=0", f"{PF}/sriov_numvfs={n}",
            f"{PF}/sriov_drivers_autoprobe=1"]


@pytest.fixture
def m():
    with Machine("f13-intel-sriov") as machine:
        yield machine


def ask(m, vfs, address=PF, query="", **more):
    return m.daemon.call("PUT", f"/api/gpu/devices/{address}/sriov{query}", {"vfs": vfs, **more})


def there(m):
    return [v for v in VFS if os.path.exists(m.host.device(v))]


def sriov(m):
    return m.daemon.device(PF)["sriov"]


def codes(reply):
    return sorted(r["code"] for r in reply.json()["refusals"])


# ---- there and back ----

def test_there_and_back(m):
    reply = ask(m, 3)
    assert reply.status == 200, reply
    assert reply.json()["sriov"] == {"total": 7, "active": 3, "wanted": 3, "vfs": VFS[:3]}
    assert (reply.json()["pci_address"], reply.json()["state"]) == (PF, "shared")
    assert m.host.writes() == make(3)
    listed = {d["pci_address"]: d for d in m.daemon.get("/api/gpu/devices").json()}
    assert [a for a in VFS if a in listed] == VFS[:3], "the list is older than the answer"
    assert [listed[v]["driver"] for v in VFS[:3]] == [None] * 3, "a driver of the host took one"
    assert listed[VFS[0]]["physfn"] == PF

    m.host.clear_write_log()
    assert ask(m, 3).status == 200
    assert m.host.writes() == [], "what is so already is not done again"
    reply = ask(m, 5)
    assert reply.status == 200 and reply.json()["sriov"]["vfs"] == VFS[:5]
    assert m.host.writes() == change(5)

    m.host.clear_write_log()
    reply = ask(m, 0)
    assert reply.json()["sriov"] == {"total": 7, "active": 0, "wanted": 0, "vfs": []}
    assert m.host.writes() == [f"{PF}/sriov_numvfs=0"]
    assert there(m) == []
    assert not [d for d in m.daemon.get("/api/gpu/devices").json() if d["pci_address"] in VFS]
    m.unchanged()


def test_a_dry_run_changes_nothing(m):
    plan = ask(m, 2, query="?dry_run=true").json()["plan"]
    assert [s["kind"] for s in plan["steps"]] == ["vf-autoprobe", "vfs", "vf-autoprobe", "want-vfs"]
    assert [w for s in plan["steps"] for w in s["writes"]] == [
        {"path": f"/sys/bus/pci/devices/{PF}/{file}", "value": value}
        for file, value in (("sriov_drivers_autoprobe", "0"), ("sriov_numvfs", "2"),
                            ("sriov_drivers_autoprobe", "1"))]
    assert m.host.writes() == [] and sriov(m)["wanted"] is None
    m.unchanged()


def test_a_vf_is_a_card_of_its_own(m):
    """Taken and free it does not stand in the way, and what was noted of it goes with it."""
    ask(m, 2)
    assert m.daemon.bind(VFS[0]).status == 200
    assert list(m.daemon.taken()) == [VFS[0]]
    reply = ask(m, 0)
    assert reply.status == 200, reply
    assert m.daemon.taken() == {} and there(m) == []
    assert ask(m, 2).status == 200
    assert m.daemon.device(VFS[0])["driver"] is None
    ask(m, 0)
    m.unchanged()


# ---- refused ----

def test_a_vf_in_use_stays(m):
    ask(m, 2)
    assert m.daemon.bind(VFS[1]).status == 200
    group = m.daemon.device(VFS[1])["iommu_group"]
    m.host.event(f"process 4242 qemu-system-x86 fd=/dev/vfio/{group}")
    m.host.clear_write_log()
    for wanted in (0, 1, 7):
        reply = ask(m, wanted)
        assert reply.status == 409 and "held" in codes(reply), reply
        assert "4242" in str(reply.json()["refusals"])
    assert m.host.writes() == [] and there(m) == VFS[:2] and sriov(m)["wanted"] == 2
    assert ask(m, 2).status == 200, "the number that it has"
    m.host.event("kill 4242")
    assert ask(m, 0).status == 200
    m.unchanged()


@pytest.mark.parametrize("vfs", [-1, 65536, 8, "3", None, 2.5])
def test_bad_numbers(m, vfs):
    reply = ask(m, vfs)
    assert reply.status == 422 and reply.json()["pointer"] == "/vfs", reply
    assert m.host.writes() == []


@pytest.mark.parametrize("address,status,said", [
    ("0000:00:1f.3", 404, "0000:00:1f.3"), ("0000:00:09.0", 404, "0000:00:09.0"), ("0000:00:02", 422, "0000:00:02")])
def test_other_addresses(m, address, status, said):
    reply = ask(m, 2, address=address)
    assert reply.status == status and said in reply.json()["detail"], reply


def test_a_vf_has_none(m):
    ask(m, 1)
    reply = ask(m, 1, address=VFS[0])
    assert reply.status == 409 and PF in reply.json()["hint"], reply
    assert m.daemon.call("PUT", f"/api/gpu/devices/{PF}/sriov", {}).json()["pointer"] == "/vfs"
    assert ask(m, 1, number=2).json()["pointer"] == "/number"
    ask(m, 0)


def test_a_card_without():
    with Machine("lab-like") as m:
        reply = ask(m, 2, address="0000:01:00.0")
        assert reply.status == 409 and "no SR-IOV" in reply.json()["detail"], reply
        assert m.host.writes() == []


@pytest.mark.parametrize("name,address,vfs,hint", [
    ("f10-s7150", "0000:0c:00.0", 4, "vf_num=4 in /etc/gim_config"),
    ("f06-a40-eight", "0000:e8:00.0", 0, "sriov-manage -d 0000:e8:00.0")])
def test_vendors_with_a_way_of_their_own(name, address, vfs, hint):
    with Machine(name) as m:
        reply = ask(m, vfs, address=address)
        assert reply.status == 409 and hint in reply.json()["hint"], reply
        assert m.host.writes() == []


# ---- the kernel refuses ----

@pytest.mark.parametrize("errno,said,hint", [
    ("ENOENT", "no driver is bound that can make virtual functions", "host driver"),
    ("ENOMEM", "there is no address space for them", "Above 4G"),
    ("EBUSY", "it has virtual functions already", "take those away"),
    ("ERANGE", "the card cannot have so many", "")])
def test_what_the_kernel_says(m, errno, said, hint):
    m.host.knob(f"fail path=*sriov_numvfs value=2 errno={errno} times=0")
    reply = ask(m, 2)
    assert reply.status in (409, 422), reply
    assert said in reply.json()["detail"] and hint in reply.json().get("hint", "")
    assert m.host.writes() == make(2), "nothing else, and drivers are let again"
    assert sriov(m)["wanted"] is None
    m.unchanged()


def test_going_back_when_the_new_number_fails(m):
    ask(m, 2)
    m.host.clear_write_log()
    m.host.knob("fail path=*sriov_numvfs value=6 errno=ENOMEM")
    assert ask(m, 6).status == 409
    assert m.host.writes() == [f"{PF}/sriov_drivers_autoprobe=0", f"{PF}/sriov_numvfs=0",
                               f"{PF}/sriov_numvfs=6", f"{PF}/sriov_numvfs=2",
                               f"{PF}/sriov_drivers_autoprobe=1"]
    assert there(m) == VFS[:2] and sriov(m)["wanted"] == 2


def test_a_driver_that_makes_fewer():
    text = machine_with("f13-intel-sriov").replace("total=7", "total=7 limit=4")
    with Machine(text) as m:
        reply = ask(m, 6)
        assert reply.status >= 400, reply
        assert "has 4 VFs, not 6" in reply.json()["detail"] and "ask for 4" in reply.json()["hint"]
        assert there(m) == [] and sriov(m)["wanted"] is None
        m.unchanged()
        assert ask(m, 4).status == 200


def test_a_write_that_does_not_come_back(m):
    m.host.knob("block path=*sriov_numvfs value=2")
    reply = m.daemon.call("PUT", f"/api/gpu/devices/{PF}/sriov", {"vfs": 2}, {"Prefer": "respond-async"})
    assert reply.status == 202
    assert m.host.wait_for(lambda: any(w.result == "pending" for w in m.host.write_log()))
    assert m.daemon.get("/api/gpu/devices").status == 200, "others are served"
    m.host.knob("clear")
    assert [t["state"] for t in m.daemon.settled()] == ["succeeded"]
    assert there(m) == VFS[:2]


# ---- after a boot ----

def boot(m, fails=""):
    """What a boot leaves of VFs: nothing."""
    m.daemon.stop()
    m.host.write(f"{DEV}/{PF}/sriov_numvfs", "0")
    if fails:
        m.host.knob(fails)
    m.host.clear_write_log()
    m.daemon.start()


def test_made_again_after_a_boot(m):
    ask(m, 3)
    boot(m)
    assert m.host.wait_for(lambda: there(m) == VFS[:3] and not m.daemon.unfinished())
    assert m.host.writes() == make(3)
    assert m.host.wait_for(lambda: sriov(m)["active"] == 3)
    m.daemon.stop()
    m.host.clear_write_log()
    m.daemon.start()
    assert m.daemon.settled() is not None and m.host.writes() == [], "they are there"


def test_tried_again_while_the_driver_comes_up(m):
    ask(m, 2)
    boot(m, "fail path=*sriov_numvfs value=2 errno=ENOENT times=2")
    assert m.host.wait_for(lambda: there(m) == VFS[:2], seconds=20)
    assert m.host.wait_for(lambda: m.daemon.unfinished() == set())


def test_none_are_made_of_what_nobody_asked_for(m):
    ask(m, 2)
    ask(m, 0)
    boot(m)
    assert m.host.wait_for(lambda: sriov(m) == {"total": 7, "active": 0, "wanted": 0, "vfs": []}), sriov(m)
    assert m.host.wait_for(lambda: m.daemon.get("/api/health").json()["ready"])
    m.daemon.settled()
    assert m.host.writes() == []


# ---- daemons that die ----

@pytest.mark.parametrize("step", ["horcruxd:vf-autoprobe", "horcruxd:vfs", "horcruxd:want-vfs",
                                  "privd:vf_autoprobe", "privd:vfs"])
@pytest.mark.parametrize("point", POINTS)
def test_killed(m, step, point):
    ask(m, 2)
    m.daemon.stop()
    m.daemon.start(fault=f"{step}:{point}")
    try:
        ask(m, 4)
    except OSError:
        pass
    m.daemon.kill()
    m.daemon.start()
    assert m.host.wait_for(lambda: m.daemon.get("/api/health").json()["ready"], seconds=20)
    assert m.host.wait_for(lambda: "stuck" not in [t["state"] for t in m.daemon.settled()], seconds=20), \
        m.daemon.tasks()
    assert m.host.wait_for(lambda: m.daemon.unfinished() == set())
    assert m.host.wait_for(lambda: len(there(m)) in (2, 4))
    assert m.host.read(f"{DEV}/{PF}/sriov_drivers_autoprobe").strip() == "1"
    assert m.host.wait_for(lambda: sriov(m)["active"] == sriov(m)["wanted"] == len(there(m))), sriov(m)
    reply = ask(m, 0)
    assert reply.status == 200, reply
    m.unchanged()
