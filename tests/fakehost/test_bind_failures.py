# SPDX-License-Identifier: Apache-2.0
"""Cards taken and given back while the kernel says no, says nothing, lies, or loses the card."""

import os
import signal
import threading
import time

import pytest

from fakehost import Daemon
from machine import (AUDIO, DEV, GIVE, GPU, OTHER, TAKE, Machine, at_write, await_pending, machine_with, timed)

SLEEPY = machine_with("lab-like", at_0000_01_00_0="power=auto", at_0000_01_00_1="power=auto,D3hot")
NVIDIA = "f04-two-functions-clean"


@pytest.fixture
def lab():
    with Machine("lab-like", cap=Daemon.CAP) as machine:
        yield machine


def rolled_back(m, reply, *codes):
    """It failed, and everything is as it was before."""
    problem = reply.json()
    assert problem["code"] in codes and problem["status"] == reply.status, reply
    task = m.daemon.get(f"/api/tasks/{problem['task']}").json()
    nothing_done = problem["detail"].startswith("step 1 of ")
    assert task["state"] == ("failed" if nothing_done else "rolled_back"), task
    assert task["problem"]["code"] == problem["code"]
    return problem


# ---- every write fails, once ----

@pytest.mark.parametrize("machine", [SLEEPY, NVIDIA], ids=["radeon", "nvidia"])
def test_whichever_write_of_taking_fails(machine):
    with Machine(machine) as m:
        assert m.daemon.bind(GPU).status == 200
        writes = len(m.host.write_log())
        assert m.daemon.release(GPU).status == 200
        m.unchanged()
        for n in range(1, writes + 1):
            m.host.knob(f"fail path=* errno=EIO nth={n}")
            m.host.clear_write_log()
            reply = m.daemon.bind(GPU)
            failed = [w for w in m.host.write_log() if w.result == "EIO"]
            assert len(failed) == 1 and failed[0].number == n
            rolled_back(m, reply, "system", "conflict")
            m.unchanged()
            assert m.daemon.taken() == {}
            m.host.knob("clear")
        assert m.daemon.bind(GPU).status == 200


@pytest.mark.parametrize("machine", [SLEEPY, NVIDIA], ids=["radeon", "nvidia"])
def test_whichever_write_of_giving_back_fails(machine):
    with Machine(machine) as m:
        assert m.daemon.bind(GPU).status == 200
        bound, taken = m.host.world(), m.daemon.taken()
        m.host.clear_write_log()
        assert m.daemon.release(GPU).status == 200
        writes = len(m.host.write_log())
        assert m.daemon.bind(GPU).status == 200
        for n in range(1, writes + 1):
            m.host.knob(f"fail path=* errno=EIO nth={n}")
            rolled_back(m, m.daemon.release(GPU), "system", "conflict")
            assert m.host.world() == bound and m.daemon.taken() == taken
            assert m.daemon.unfinished() == set()
            m.host.knob("clear")
        assert m.daemon.release(GPU).status == 200
        m.unchanged()


def test_when_going_back_fails_too_it_is_said_and_can_be_mended(lab):
    """From the nth write on nothing goes any more."""
    for n in range(2, len(TAKE) + 1):
        lab.host.knob(f"fail path=* errno=EIO nth={n} times=0")
        problem = lab.daemon.bind(GPU).json()
        assert "could not be undone" in problem["detail"], problem
        assert lab.daemon.last_task()["state"] == "failed"
        assert lab.daemon.unfinished() == set(), "what failed for good is not tried again"
        lab.host.knob("clear")
        reply = lab.daemon.release(GPU)
        assert reply.status == 200, reply
        lab.unchanged()
        assert lab.daemon.taken() == {}


# ---- OK, and nothing done ----

def test_what_is_said_and_not_done_is_found(lab):
    for write in TAKE:
        lab.host.knob(f"ignore {at_write(write)} times=1")
        rolled_back(lab, lab.daemon.bind(GPU), "proof_failed", "conflict")
        lab.unchanged()
        lab.host.knob("clear")
    assert lab.daemon.bind(GPU).status == 200
    bound = lab.host.world()
    for write in [w for w in GIVE if "power" not in w]:    # that is so already, on this machine
        lab.host.knob(f"ignore {at_write(write.replace('=' + chr(92) + 'n', '=*'))} times=1")
        rolled_back(lab, lab.daemon.release(GPU), "proof_failed", "conflict")
        assert lab.host.world() == bound
        lab.host.knob("clear")


def test_a_group_that_is_not_viable(lab):
    """Bound as wanted, and yet VFIO will not have it: that is found before anybody is told "done"."""
    lab.host.knob("hide path=/dev/vfio/5")
    begun = time.monotonic()
    rolled_back(lab, lab.daemon.bind(GPU), "conflict", "proof_failed", "system")
    assert time.monotonic() - begun < 8
    lab.unchanged()


def test_a_group_that_may_not_be_opened(lab):
    lab.host.knob("fail path=/dev/vfio/5 op=open errno=EACCES times=0")
    problem = rolled_back(lab, lab.daemon.bind(GPU), "system")
    assert "/dev/vfio/5 may not be opened: it belongs to uid 0, gid 0, mode 0" in problem["detail"]
    assert "udev" in problem["detail"]
    lab.unchanged()


# ---- the card is gone ----

@pytest.mark.parametrize("lost", [GPU, AUDIO])
def test_pulled_out_before_each_write(lost):
    with Machine("lab-like", cap=Daemon.CAP) as m:
        for n in range(1, len(TAKE) + 1):
            m.host.clear_write_log()
            m.host.knob(f"lose {lost} at={n}")
            reply = m.daemon.bind(GPU)
            assert reply.status == 409, (n, reply)
            assert reply.json()["code"] in ("gone", "conflict"), (n, reply)
            [task] = [t for t in m.daemon.settled() if t["id"] == reply.json()["task"]]
            assert task["state"] in ("rolled_back", "failed"), (n, task)
            world = m.host.world()
            assert lost not in world
            assert {a: w for a, w in m.before.items() if a != lost} == world, n
            assert m.daemon.taken() == {} and m.daemon.unfinished() == set()
            m.host.knob("clear")
            m.host.event(f"add {lost}")
            assert m.host.wait_for(lambda: lost in {f["pci_address"] for f in
                                                    m.daemon.device(GPU).get("functions", [])})
            m.unchanged()
        assert m.daemon.bind(GPU).status == 200
        assert m.daemon.release(GPU).status == 200
        m.unchanged()


@pytest.mark.parametrize("way", ["bind", "release"])
def test_pulled_out_after_the_last_proof(lab, way):
    """All was done, and then there is nothing to answer with: said, with what was done."""
    if way == "release":
        assert lab.daemon.bind(GPU).status == 200
        lab.host.clear_write_log()
    lab.host.knob("mute")    # nobody but the task itself reads the card
    steps = getattr(lab.daemon, way)(GPU, query="?dry_run=true").json()["plan"]["steps"]
    writes = TAKE if way == "bind" else GIVE
    lab.host.knob(f"block {at_write(writes[-1])}")
    task = getattr(lab.daemon, way)(GPU, headers={"Prefer": "respond-async"}).json()["id"]
    await_pending(lab.host)
    lab.host.clear_reads()
    shown = f"{GPU}/revision"    # read to show the card, and by no proof
    lab.host.knob(f"block op=read path=*{shown}")
    lab.host.knob(f"clear {at_write(writes[-1]).split()[0]}")
    assert lab.host.wait_for(lambda: any(path.endswith(shown) and reads for path, (_, reads) in
                                         lab.host.reads().items()), 20)
    lab.host.event(f"remove {GPU}")
    lab.host.knob("clear")
    lab.daemon.settled()
    ended = lab.daemon.get(f"/api/tasks/{task}").json()
    assert (ended["state"], ended["problem"]["code"], ended["problem"]["status"]) == (
        "failed", "gone", 409), ended
    assert f"({len(steps)} steps)" in ended["problem"]["detail"] and GPU in ended["problem"]["detail"]
    assert ended["result"] is None and ended["step"] == ended["steps"] == len(steps)
    assert lab.host.writes() == writes
    assert lab.daemon.unfinished() == set()
    again = lab.daemon.bind(GPU)
    assert (again.status, again.json()["code"]) == (404, "not_found"), again


# ---- a write that never comes back ----

def stuck(m, path=None):
    """A bind of GPU that is stuck in the unbind of radeon; its task."""
    m.host.knob(f"block path={path or '*/radeon/unbind'}")
    begun = time.monotonic()
    reply = m.daemon.bind(GPU)
    assert time.monotonic() - begun < 5
    assert (reply.status, reply.json()["code"]) == (504, "stuck"), reply
    assert reply.json()["hint"]
    task = m.daemon.get(f"/api/tasks/{reply.json()['task']}").json()
    assert task["state"] == "stuck", task
    return task["id"]


def test_stuck_and_what_goes_on_meanwhile(lab):
    task = stuck(lab)
    writes = lab.host.writes()
    assert lab.host.wait_for(lambda: lab.daemon.device(GPU)["state"] == "stuck")
    for change in (lab.daemon.bind, lab.daemon.release):
        for address in (GPU, AUDIO):
            begun = time.monotonic()
            reply = change(address)
            assert (reply.status, reply.json()["code"]) == (409, "refused"), reply
            assert task in reply.refusals()["stuck"]["evidence"]
            assert time.monotonic() - begun < 3
    assert lab.host.writes() == writes, "something was written to a stuck card"
    assert lab.daemon.bind(OTHER).status == 200
    assert lab.daemon.release(OTHER).status == 200
    assert lab.daemon.get("/api/gpu/devices").status == 200

    lab.host.knob("clear")
    assert lab.host.wait_for(
        lambda: lab.daemon.get(f"/api/tasks/{task}").json()["state"] == "rolled_back")
    lab.unchanged()
    assert lab.host.wait_for(lambda: lab.daemon.device(GPU)["state"] == "host")
    assert lab.daemon.bind(GPU).status == 200


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_stuck_over_a_restart(lab, how):
    task = stuck(lab)
    writes = lab.host.writes()
    getattr(lab.daemon, how)()
    lab.daemon.start()
    assert lab.host.wait_for(lambda: [(t["id"], t["state"]) for t in lab.daemon.tasks()] ==
                             [(task, "stuck")]), lab.daemon.tasks()
    assert lab.host.wait_for(lambda: lab.daemon.device(GPU)["state"] == "stuck")
    assert "stuck" in lab.daemon.release(AUDIO).refusals()
    assert lab.host.writes() == writes, "something was written to a stuck card"
    assert lab.daemon.bind(OTHER).status == 200

    lab.host.knob("clear")
    assert lab.host.wait_for(lambda: lab.daemon.tasks()[0]["state"] == "rolled_back")
    assert lab.daemon.release(OTHER).status == 200
    lab.unchanged()


def test_stuck_and_both_daemons_killed(lab):
    task = stuck(lab)
    lab.daemon.kill_helper()
    lab.daemon.kill()
    lab.daemon.start()
    assert lab.host.wait_for(lambda: lab.daemon.tasks()[0]["state"] == "stuck")
    assert "stuck" in lab.daemon.bind(GPU).refusals()
    lab.host.knob("clear")
    assert lab.host.wait_for(lambda: lab.daemon.tasks()[0]["state"] == "rolled_back")
    assert lab.daemon.tasks()[0]["id"] == task
    lab.unchanged()


def test_stuck_while_the_helper_is_killed(lab):
    task = stuck(lab)
    lab.daemon.kill_helper()
    assert lab.daemon.bind(OTHER).status == 200
    assert lab.daemon.get(f"/api/tasks/{task}").json()["state"] == "stuck"
    assert "stuck" in lab.daemon.bind(GPU).refusals()
    lab.host.knob("clear")
    assert lab.host.wait_for(
        lambda: lab.daemon.get(f"/api/tasks/{task}").json()["state"] == "rolled_back")
    assert lab.daemon.release(OTHER).status == 200
    lab.unchanged()


@pytest.mark.parametrize("write", [w for w in TAKE if "radeon/unbind" not in w])
def test_every_other_write_may_hang_too(lab, write):
    lab.host.knob(f"block {at_write(write)}")
    reply = lab.daemon.bind(GPU)
    assert (reply.status, reply.json()["code"]) == (504, "stuck"), reply
    lab.host.knob("clear")
    assert lab.host.wait_for(lambda: lab.daemon.last_task()["state"] == "rolled_back")
    lab.unchanged()


def test_held_by_a_vm_that_does_not_let_go():
    """vfio-pci's remove waits for whoever has the group open; nothing hangs but that write."""
    with Machine("lab-like", cap=Daemon.CAP) as m:
        assert m.daemon.bind(GPU).status == 200
        m.host.event(f"domain guest pid=4000 card={GPU},{AUDIO}")
        reply = m.daemon.release(GPU)
        assert reply.status == 409 and set(reply.refusals()) == {"held"}, reply
        m.host.event("kill 4000")
        assert m.daemon.release(GPU).status == 200
        m.unchanged()


# ---- somebody comes in between ----

def test_a_holder_that_came_after_the_plan(lab):
    lab.host.knob(f"delay ms=300 path=*/{AUDIO}/d3cold_allowed value=0")
    reply = lab.daemon.bind(GPU, headers={"Prefer": "respond-async"})
    await_pending(lab.host)
    lab.host.event("process 950 Xorg fd=/dev/dri/card1")
    lab.daemon.settled()
    task = lab.daemon.get(f"/api/tasks/{reply.json()['id']}").json()
    assert (task["state"], task["problem"]["code"]) == ("rolled_back", "conflict")
    assert "Xorg (pid 950)" in task["problem"]["detail"]
    assert f"radeon/unbind={GPU}" not in lab.host.writes()
    lab.unchanged()


def test_a_stranger_takes_the_card_in_between(lab):
    """What he bound is not torn from him; ours comes home."""
    lab.host.knob("delay ms=300 path=*/radeon/unbind")
    lab.daemon.bind(GPU, headers={"Prefer": "respond-async"})
    await_pending(lab.host)
    lab.host.event(f"bind {AUDIO} vfio-pci")
    [task] = lab.daemon.settled()
    assert task["state"] == "succeeded", "it is as wanted, whoever did it"
    assert lab.daemon.release(GPU).status == 200
    lab.unchanged()


def test_a_stranger_unbinds_the_card_in_between(lab):
    """On no driver it is as it is to be there; nobody is told of an error."""
    lab.host.knob(f"delay ms=300 path=*/{AUDIO}/driver_override")
    lab.daemon.bind(GPU, headers={"Prefer": "respond-async"})
    await_pending(lab.host)
    lab.host.event(f"unbind {AUDIO}")
    lab.host.event(f"unbind {GPU}")
    [task] = lab.daemon.settled()
    assert task["state"] == "succeeded", task
    lab.host.knob("clear")
    lab.host.knob("delay ms=300 path=*/vfio-pci/unbind")
    lab.daemon.release(GPU, headers={"Prefer": "respond-async"})
    await_pending(lab.host)
    lab.host.event(f"unbind {GPU}")
    assert {t["state"] for t in lab.daemon.settled()} == {"succeeded"}, lab.daemon.last_task()
    lab.unchanged()


# ---- who writes is killed ----

@pytest.mark.parametrize("write", TAKE)
def test_the_writer_is_killed_in_each_write(lab, write):
    """privd lives on; what was done before that and what of that happened is found, and undone."""
    lab.host.knob(f"block {at_write(write)}")
    lab.daemon.bind(GPU, headers={"Prefer": "respond-async"})
    await_pending(lab.host)
    helper = lab.daemon.helper()
    with open(f"/proc/{helper}/task/{helper}/children", encoding="ascii") as file:
        children = [int(pid) for pid in file.read().split()]
    assert children, "nobody is inside that write"
    for pid in children:
        os.kill(pid, signal.SIGKILL)
    lab.host.knob("clear")     # a write into FUSE ends only then
    [task] = lab.daemon.settled()
    assert task["state"] == "rolled_back", task
    assert task["problem"]["code"] == "helper_unavailable", task
    lab.unchanged()
    assert lab.daemon.helper() == helper, "privd did not live on"
    assert lab.daemon.bind(GPU).status == 200


# ---- nvidia ----

def test_nvidia_users_without_a_process():
    """Only the driver itself knows them: its lock says no, and nothing is unbound."""
    with Machine(NVIDIA, cap=Daemon.CAP) as m:
        m.host.event(f"users {GPU} 1")
        reply = m.daemon.bind(GPU)
        problem = rolled_back(m, reply, "conflict")
        assert reply.status == 409 and "something still uses the card" in problem["hint"]
        assert not [w for w in m.host.writes() if w.startswith("nvidia/unbind=")]
        m.unchanged()


def test_nvidia_with_a_process():
    with Machine(NVIDIA, cap=Daemon.CAP) as m:
        m.host.event("process 960 python3 fd=/dev/nvidia0,/dev/nvidiactl")
        refusal = m.daemon.bind(GPU).refusals()["held"]
        assert (refusal["subject"], refusal["evidence"]) == ("pid 960", "/dev/nvidia0")
        assert m.host.writes() == []
        m.host.event("kill 960")
        m.host.event("process 961 nvidia-smi fd=/dev/nvidiactl")
        assert m.daemon.bind(GPU).status == 200, "that one holds the module, not the card"


def test_nvidia_lock_is_given_back():
    with Machine(NVIDIA, cap=Daemon.CAP) as m:
        m.host.knob("fail path=*/nvidia/unbind errno=EIO")
        rolled_back(m, m.daemon.bind(GPU), "system")
        assert [w for w in m.host.writes() if "unbindLock" in w] == [f"{GPU}/unbindLock=1",
                                                                   f"{GPU}/unbindLock=0"]
        assert m.host.read(f"proc/driver/nvidia/gpus/{GPU}/unbindLock") == "0\n"
        m.unchanged()


def test_nvidia_without_the_lock_is_never_unbound():
    with Machine(NVIDIA, cap=Daemon.CAP) as m:
        m.host.knob("hide path=*/unbindLock")
        rolled_back(m, m.daemon.bind(GPU), "conflict", "system")
        assert not [w for w in m.host.writes() if w.startswith("nvidia/unbind=")]
        m.unchanged()


# ---- the way back meets somebody ----

def meet(host, condition, *events):
    """As soon as it is so, the events: in a thread, which it returns."""
    def run():
        assert host.wait_for(condition, 30)
        for event in events:
            host.event(event)
    thread = threading.Thread(target=run)
    thread.start()
    return thread


def not_undone(m, reply, *words):
    """It ended there: said so, nothing is written any more, and the notes of what was are kept."""
    problem = reply.json()
    assert "could not be undone" in problem["detail"], problem
    assert all(word in problem["detail"] for word in words), problem
    assert m.daemon.last_task()["state"] == "failed"
    assert set(m.daemon.taken()) == {GPU, AUDIO}
    assert m.daemon.unfinished() == set()


def test_going_back_from_nvidia_takes_its_lock():
    """Given back already, and nobody uses it yet: it may be taken once more, but with the lock."""
    with Machine(NVIDIA, cap=Daemon.CAP) as m:
        assert m.daemon.bind(GPU).status == 200
        bound = m.host.world()
        m.host.clear_write_log()
        m.host.knob(f"probe {AUDIO} driver=snd_hda_intel errno=EIO times=1")
        rolled_back(m, m.daemon.release(GPU), "conflict")
        writes = m.host.writes()
        lock = writes.index(f"{GPU}/unbindLock=1")
        assert writes[lock + 1] == f"nvidia/unbind={GPU}"
        assert m.host.world() == bound
        assert m.daemon.release(GPU).status == 200
        m.unchanged()


@pytest.mark.parametrize("event", ["open 700 /dev/nvidia0", f"users {GPU} 1"])
def test_going_back_never_unbinds_nvidia_under_a_user(event):
    """The GPU is home and in use before its other function fails: the rest is done when asked again."""
    with Machine(NVIDIA, cap=Daemon.CAP) as m:
        m.host.event("process 700 nvidia-persistenced")
        assert m.daemon.bind(GPU).status == 200
        m.host.clear_write_log()
        m.host.knob(f"probe {AUDIO} driver=snd_hda_intel errno=EIO times=1")
        m.host.knob("delay ms=800 path=*snd_hda_intel/bind")
        thread = meet(m.host, lambda: m.host.driver(GPU) == "nvidia", event)
        reply = m.daemon.release(GPU)
        thread.join()
        assert f"nvidia/unbind={GPU}" not in m.host.writes()
        not_undone(m, reply)
        m.host.knob("clear")
        m.host.event("close 700 /dev/nvidia0" if event.startswith("open") else f"users {GPU} 0")
        assert m.host.read(f"proc/driver/nvidia/gpus/{GPU}/unbindLock") == "0\n"
        assert m.daemon.release(GPU).status == 200
        assert m.daemon.taken() == {}
        m.unchanged()


def test_going_back_never_unbinds_vfio_under_a_holder(lab):
    lab.host.event("process 900 qemu-system-x86")
    lab.host.knob(f"delay ms=800 path=*/{GPU}/power/control value=on")
    lab.host.knob(f"fail path=*/{AUDIO}/power/control errno=EIO value=on")
    thread = meet(lab.host, lambda: lab.host.driver(AUDIO) == "vfio-pci", "open 900 /dev/vfio/5")
    reply = lab.daemon.bind(GPU)
    thread.join()
    assert not [w for w in lab.host.writes() if w.startswith("vfio-pci/unbind=")]
    not_undone(lab, reply, "qemu-system-x86 (pid 900)")
    lab.host.event("close 900 /dev/vfio/5")
    assert lab.daemon.release(GPU).status == 200
    assert lab.daemon.taken() == {}
    lab.unchanged()
