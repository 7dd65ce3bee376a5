# SPDX-License-Identifier: Apache-2.0
"""
The crash loop: both daemons killed at every point of every step, and at any moment at all. After the
next start the card is wholly with the host or wholly taken, the journal has nothing left to do, what
was going on can be asked for, and everything serves.
"""

import contextlib
import http.client
import os
import random
import threading
import time

import pytest

from machine import AUDIO, GPU, Machine, machine_with

# a card on the nvidia driver that sleeps: taking it needs a step of every kind
TEXT = machine_with("f04-two-functions-clean", at_0000_01_00_0="power=auto",
                    at_0000_01_00_1="power=auto")
POINTS = ("before", "inside", "after")
WAS = {a: {"address": a, "driver": d, "override": "", "control": "auto", "d3cold": 1}
       for a, d in ((GPU, "nvidia"), (AUDIO, "snd_hda_intel"))}


class Crashing(Machine):
    """No daemon runs unless a test starts one; `home` and `bound` are the two worlds there may be."""

    def __enter__(self):
        super().__enter__()
        self.home = self.before
        self.bound = {a: ("vfio-pci", "vfio-pci", "on", "0") if a in WAS else w
                      for a, w in self.home.items()}
        return self

    def change(self, what, *statuses):
        """Asks for it of a daemon that may die meanwhile; the reply, or None."""
        with contextlib.suppress(OSError, http.client.HTTPException):
            reply = what(GPU)
            assert not statuses or reply.status in statuses, reply
            return reply
        return None

    def whole(self):
        """What must be so after the next start, whatever happened before; "home" or "bound"."""
        tasks = self.daemon.settled()
        assert [t for t in tasks if t["state"] == "stuck"] == [], tasks
        world = self.host.world()
        assert world in (self.home, self.bound), diff(world, self.home, self.bound)
        assert self.daemon.unfinished() == set()
        where = "home" if world == self.home else "bound"
        assert self.daemon.taken() == ({} if where == "home" else WAS)
        assert self.host.wait_for(lambda: self.daemon.device(GPU)["state"] ==
                                  {"home": "host", "bound": "ready"}[where])
        return where

    def goes(self, where):
        """The world is brought there by the daemon that runs now, which is then killed."""
        change = self.daemon.bind if where == "bound" else self.daemon.release
        assert change(GPU).status == 200
        assert self.whole() == where
        self.daemon.kill()

    def put(self, where):
        """Brings the world there, by a daemon of its own."""
        if (self.host.world() == self.home) != (where == "home"):
            self.daemon.start()
            self.goes(where)


def diff(world, *wanted):
    return [{a: (w, other[a]) for a, w in world.items() if w != other[a]} for other in wanted]


@pytest.fixture
def m():
    with Crashing(TEXT, start=False) as machine:
        yield machine


def crash(m, fault, change, knob=None):
    """horcruxd kills itself there, is started again, and tidies up; its tasks then, and the world."""
    if knob:
        m.host.knob(knob)
    m.daemon.start("horcruxd:" + fault)
    assert m.change(getattr(m.daemon, change)) is None
    m.daemon.await_death()
    m.host.knob("clear")
    m.daemon.start()
    where = m.whole()
    return m.daemon.tasks(), where


# ---- horcruxd, on its way ----

BIND_KINDS = ("remember", "power", "d3cold", "override", "nvidia-lock", "unbind", "bind", "viable")
RELEASE_KINDS = ("unbind", "override", "give-back", "d3cold", "power", "forget")


@pytest.mark.parametrize("kind", BIND_KINDS)
def test_killed_while_taking(m, kind):
    for point in POINTS:
        [task], where = crash(m, f"{kind}:{point}", "bind")
        assert (task["state"], where) == ("rolled_back", "home"), (point, task)
        assert task["title"].startswith("bind ") and task["problem"]["detail"]
        assert m.daemon.get(f"/api/tasks/{task['id']}").status == 200
        m.daemon.kill()
    m.daemon.start()
    m.goes("bound")


@pytest.mark.parametrize("kind", RELEASE_KINDS)
def test_killed_while_giving_back(m, kind):
    m.put("bound")
    for point in POINTS:
        [task], where = crash(m, f"{kind}:{point}", "release")
        assert (task["state"], where) == ("rolled_back", "bound"), (point, task)
        m.daemon.kill()
    m.daemon.start()
    m.goes("home")


# ---- horcruxd, on its way back ----

LAST_OF_BIND = f"fail path=*/vfio-pci/bind value={AUDIO} errno=EIO"
LAST_OF_RELEASE = f"fail path=*/{GPU}/power/control value=auto errno=EIO"


@pytest.mark.parametrize("kind", ["bind", "unbind", "override", "d3cold", "power", "remember"])
def test_killed_while_going_back_from_taking(m, kind):
    for point in POINTS:
        _, where = crash(m, f"{kind}/undo:{point}", "bind", LAST_OF_BIND)
        assert where == "home", point
        m.daemon.kill()


def test_killed_while_giving_the_lock_back(m):
    for point in POINTS:
        _, where = crash(m, f"nvidia-lock/undo:{point}", "bind",
                         "fail path=*/nvidia/unbind errno=EIO")
        assert where == "home", point
        assert m.host.read(f"proc/driver/nvidia/gpus/{GPU}/unbindLock") == "0\n"
        m.daemon.kill()


@pytest.mark.parametrize("kind", ["d3cold", "give-back", "override", "unbind"])
def test_killed_while_going_back_from_giving_back(m, kind):
    m.put("bound")
    for point in POINTS:
        _, where = crash(m, f"{kind}/undo:{point}", "release", LAST_OF_RELEASE)
        assert where == "bound", point
        m.daemon.kill()


# ---- and killed again while it tidies up ----

@pytest.mark.parametrize("change, first, kind", [
    ("bind", "viable:after", "bind"), ("bind", "viable:after", "unbind"),
    ("bind", "viable:after", "override"), ("bind", "viable:after", "d3cold"),
    ("bind", "viable:after", "power"), ("bind", "viable:after", "remember"),
    ("bind", "nvidia-lock:after", "nvidia-lock"),
    ("release", "forget:after", "forget"), ("release", "forget:after", "power"),
    ("release", "forget:after", "give-back"), ("release", "forget:after", "unbind"),
])
def test_killed_again_while_recovering(m, change, first, kind):
    m.put("home" if change == "bind" else "bound")
    for point in POINTS:
        m.daemon.start("horcruxd:" + first)
        assert m.change(getattr(m.daemon, change)) is None
        m.daemon.await_death()
        for _ in range(2):    # twice the same: it comes there again
            m.daemon.start(f"horcruxd:{kind}/undo:{point}", wait=False)
            m.daemon.await_death()
            if point != "before":
                break
        m.daemon.start()
        assert m.whole() == ("home" if change == "bind" else "bound"), point
        [task] = m.daemon.tasks()
        assert task["state"] == "rolled_back"
        m.daemon.kill()


# ---- the helper ----

BIND_OPS = ("power", "d3cold", "override", "unbind_lock", "unbind", "bind",
            "read_override", "read_lock", "viable", "read_holders", "read_critical")


def arm(m):
    """The fault strikes once in a run directory; now once more."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(os.path.join(m.daemon.state, "run/privd-fault"))


def strike(m, op, point, change):
    m.daemon.start(f"privd:{op}:{point}")
    m.host.wait_for(lambda: m.daemon.get("/api/health").json()["ready"])
    arm(m)
    begun = time.monotonic()
    reply = m.change(getattr(m.daemon, change), 200, 503, 504)
    assert time.monotonic() - begun < 10
    assert os.path.exists(os.path.join(m.daemon.state, "run/privd-fault")), "it did not strike"
    if reply.status == 503:
        assert reply.json()["code"] == "helper_unavailable" and reply.json()["hint"], reply
    if reply.status == 504:
        assert point == "inside" and reply.json()["code"] == "stuck", reply
        task = f"/api/tasks/{reply.json()['task']}"
        assert m.host.wait_for(lambda: m.daemon.get(task).json()["state"] == "rolled_back")
    return reply.status == 200, m.whole()


@pytest.mark.parametrize("op", BIND_OPS)
def test_helper_killed_while_taking(m, op):
    for point in POINTS:
        done, where = strike(m, op, point, "bind")
        assert where == ("bound" if done else "home"), point
        assert done or not op.startswith("read_"), f"a read can be asked again, {point}"
        if point == "after" and not done:
            assert m.daemon.bind(GPU).status == 200
        m.goes("home")


@pytest.mark.parametrize("op", ["unbind", "override", "bind", "d3cold", "power"])
def test_helper_killed_while_giving_back(m, op):
    m.put("bound")
    for point in POINTS:
        done, where = strike(m, op, point, "release")
        assert (done, where) == (False, "bound"), point
        m.daemon.kill()
    m.daemon.start()
    m.goes("home")


# ---- any moment ----

ROUNDS = 8


@pytest.mark.parametrize("part", range(3))
def test_killed_at_any_moment(m, part):
    seed = os.environ.get("HORCRUX_SEED") or f"{time.time_ns()}"
    print(f"HORCRUX_SEED={seed}")
    chance = random.Random(f"{seed} {part}")
    m.daemon.start()
    for n in range(ROUNDS):
        change = m.daemon.bind if m.host.world() == m.home else m.daemon.release
        thread = threading.Thread(target=m.change, args=(change,))
        thread.start()
        time.sleep(chance.uniform(0, 0.6))
        who = chance.choice(["daemon", "helper", "both", "daemon twice"])
        if who in ("helper", "both"):
            with contextlib.suppress(ProcessLookupError):
                m.daemon.kill_helper()
        if who != "helper":
            m.daemon.kill()
        thread.join()
        if who == "daemon twice":
            m.daemon.start(wait=False)
            time.sleep(chance.uniform(0, 0.4))
            m.daemon.kill()
        if who != "helper":
            m.daemon.start()
        print(n, who, m.whole())
