# SPDX-License-Identifier: Apache-2.0
"""Several requests in one message to horcrux-privd: what is done of them, in which order, and what is not."""

import errno
import os
import signal
import socket
import time

import pytest

import privd
from fakehost import FakeHost
from privd import Gone, Privd, alive, binary, until

GPU, AUDIO, OTHER = "0000:01:00.0", "0000:01:00.1", "0000:02:00.0"
DEV = "sys/bus/pci/devices"
CAP = "--deadline-cap=400"
VFIO = {"name": "vfio-pci"}


@pytest.fixture
def state(tmp_path):
    return str(tmp_path)


@pytest.fixture
def host():
    with FakeHost("lab-like") as fake:
        yield fake


@pytest.fixture
def helper(host, state):
    with Privd(binary(), host.root, state) as p:
        yield p


def start(host, state, *options, **kw):
    return Privd(binary(), host.root, state, *options, **kw)


def written(host):
    """The last word of the path, and the function that it is about."""
    found = []
    for w in host.write_log():
        last = w.path.rpartition("/")[2]
        found.append((last, w.value if last in ("bind", "unbind") else w.path.split("/")[-2]))
    return found


def in_a_write(host):
    until(lambda: any(w.result == "pending" for w in host.write_log()))


def stays_as_it_is(host, seconds=0.3):
    before = host.write_log()
    time.sleep(seconds)
    assert host.write_log() == before, "a write of nobody's"


BIND = (("override", GPU, VFIO), ("override", AUDIO, VFIO), ("unbind", GPU, {"name": "radeon"}),
        ("unbind", AUDIO, {"name": "snd_hda_intel"}), ("bind", GPU, VFIO), ("bind", AUDIO, VFIO))


def test_in_order(host, helper):
    number = helper.post_chain(*BIND)
    reply = helper.wait(number)
    assert reply.statuses() == ["ok"] * 6
    assert [r.id for r in reply.replies] == list(range(number + 1, number + 7))
    assert [(r.op, r.address) for r in reply.replies] == [(op, at) for op, at, _ in BIND]
    assert [r.value for r in reply.replies] == [0, 0, 1, 1, 1, 1]
    assert written(host) == [("driver_override" if op == "override" else op, at) for op, at, _ in BIND]
    assert host.driver(GPU) == host.driver(AUDIO) == "vfio-pci"
    assert "override 0000:01:00.0, override 0000:01:00.1, unbind 0000:01:00.0" in helper.logged()


def test_a_chain_of_one_is_answered_as_a_chain(helper):
    reply = helper.chain(("override", GPU, VFIO))
    assert reply.op == "chain" and reply.statuses() == ["ok"]


@pytest.mark.parametrize("code", ["EBUSY", "EPERM", "ENODEV"])
def test_it_stops_at_the_first_that_fails(host, helper, code):
    host.knob(f"fail errno={code} path=*/radeon/unbind")
    reply = helper.chain(*BIND)
    assert reply.statuses() == ["ok", "ok", "failed"]
    assert reply.replies[-1].error == getattr(errno, code)
    assert written(host) == [("driver_override", GPU), ("driver_override", AUDIO), ("unbind", GPU)]
    assert helper.call("live").children() == []
    assert helper.chain(*BIND[3:4]).statuses() == ["ok"], "it is free again"


def test_what_is_refused_without_a_write_stops_it_too(host, helper):
    reply = helper.chain(("override", GPU, VFIO), ("bind", GPU, {"name": "nouveau"}), ("override", AUDIO, VFIO))
    assert reply.statuses() == ["ok", "no_driver"]
    assert written(host) == [("driver_override", GPU)]


@pytest.mark.parametrize("file, status", [("unbind", ["ok", "ok", "mismatch"]),
                                          ("driver_override", ["mismatch"])])
def test_each_is_proven(host, helper, file, status):
    """The kernel takes the write, and it is not so."""
    host.knob(f"ignore path=*/{file}")
    assert helper.chain(*BIND).statuses() == status


def test_an_unbind_where_nobody_is_counted(host, helper):
    assert helper.chain(*BIND).statuses() == ["ok"] * 6
    gone = helper.chain(("unbind", GPU, {"name": "vfio-pci", "value": 1}), ("override", GPU, {}))
    assert gone.statuses() == ["ok", "ok"]
    assert host.driver(GPU) is None


def test_an_unbind_of_what_somebody_has_open(host, helper):
    host.event("process 900 Xorg fd=/dev/dri/card1")
    reply = helper.chain(("override", GPU, VFIO), ("unbind", GPU, {"name": "radeon", "value": 1}),
                         ("override", AUDIO, VFIO))
    assert reply.statuses() == ["ok", "held"]
    assert written(host) == [("driver_override", GPU)]
    assert host.driver(GPU) == "radeon"


def test_reads_do_not_end_it(host, helper):
    """One says no in the middle; each long answer is found behind those before it."""
    host.write(f"{DEV}/{GPU}/driver_override", "vfio-pci")
    reply = helper.chain(("read_iomem", None, {}), ("read_override", GPU, {}), ("read_vfio", None, {"value": 5}),
                         ("read_override", OTHER, {}), ("read_config", GPU, {"value": 64}),
                         ("read_critical", None, {}))
    assert reply.statuses() == ["ok", "ok", "failed", "ok", "ok", "ok"]
    assert reply.replies[2].error == errno.ENOENT
    iomem, override, _, nothing, config, critical = reply.replies
    assert iomem.data == helper.call("read_iomem").data and b"PCI Bus" in iomem.data
    assert (override.data, nothing.data) == (b"vfio-pci", b"")
    assert config.data == helper.call("read_config", GPU, value=64).data and len(config.data) == 64
    assert critical.critical() == helper.call("read_critical").critical() != []
    assert reply.data == b"".join(r.data for r in reply.replies)


def test_a_read_may_stand_between_changes(host, helper):
    reply = helper.chain(("override", GPU, VFIO), ("read_override", GPU, {}), ("read_vfio", None, {"value": 5}),
                         ("override", AUDIO, VFIO))
    assert reply.statuses() == ["ok", "ok", "failed", "ok"]
    assert reply.replies[1].data == b"vfio-pci"


def test_that_vfio_accepts_it_ends_a_chain(host, helper):
    both = {"value": 5, "addresses": [GPU, AUDIO]}
    reply = helper.chain(("viable", None, both), ("override", GPU, VFIO))
    assert reply.statuses() == ["mismatch"] and host.write_log() == []
    assert helper.chain(*BIND, ("viable", None, both)).statuses() == ["ok"] * 7


# ---- what never comes back ----

STUCK = (("override", GPU, VFIO), ("unbind", GPU, {"name": "radeon"}), ("override", AUDIO, VFIO),
         ("power", OTHER, {"value": 1}))


def stuck(host, helper):
    """The second of four is given up; its pid and its id."""
    host.knob(f"block path=*/unbind value={GPU}")
    number = helper.post_chain(*STUCK)
    reply = helper.wait(number)
    assert reply.statuses() == ["ok", "stuck"]
    assert reply.replies[1].id == number + 2 and alive(reply.replies[1].pid)
    assert reply.replies[0].pid == 0
    return reply.replies[1].pid, number + 2


def test_stuck_in_the_middle(host, state):
    with start(host, state, CAP) as helper:
        pid, number = stuck(host, helper)
        [child] = helper.call("live").children()
        assert (child["id"], child["op"], child["address"], child["stuck"]) == (number, "unbind", GPU, 1)
        assert helper.call("power", GPU, value=1).status == "stuck"
        refused = helper.chain(("power", OTHER, {"value": 0}), ("d3cold", GPU, {"value": 1}))
        assert refused.statuses() == ["stuck"], "none of it is begun"
        [why] = refused.replies
        assert (why.op, why.address, why.pid, why.id) == ("d3cold", GPU, pid, refused.id + 2)
        assert helper.call("power", OTHER, value=0).status == "ok", "what was not begun is in nobody's way"
        assert helper.call("override", AUDIO).status == "ok"
        host.knob("clear")
        late = helper.wait_late()
        assert (late.id, late.ended, late.address, late.status) == (number, "unbind", GPU, "ok")
        assert late.pid == pid
        until(lambda: not alive(pid))
        stays_as_it_is(host)
        assert ("driver_override", AUDIO) in written(host)
        assert host.read(f"{DEV}/{AUDIO}/driver_override") == "(null)\n", "what was not begun was done"
        assert helper.call("live").children() == []
        with pytest.raises(TimeoutError):
            helper.receive(0.2)


def test_each_has_its_own_deadline(host, state):
    """All of them together take longer than any may."""
    with start(host, state, "--deadline-cap=3000") as helper:
        host.knob("delay ms=900 path=*/driver_override")
        begun = time.monotonic()
        reply = helper.chain(*(("override", at, VFIO) for at in (GPU, AUDIO, OTHER, GPU)))
        assert reply.statuses() == ["ok"] * 4
        assert time.monotonic() - begun > 3.0


def test_it_waits_no_longer_for_one_because_of_another(host, helper):
    """Binding may take half a minute, setting an override five seconds."""
    assert helper.chain(*BIND[:4]).statuses() == ["ok"] * 4
    host.knob(f"block path=*/{AUDIO}/driver_override")
    begun = time.monotonic()
    reply = helper.chain(("bind", GPU, VFIO), ("override", AUDIO, {}), ("bind", AUDIO, VFIO))
    assert reply.statuses() == ["ok", "stuck"]
    assert 4.5 < time.monotonic() - begun < 20
    host.knob("clear")
    assert helper.wait_late().ended == "override"


def test_the_last_may_be_stuck(host, state):
    with start(host, state, CAP) as helper:
        host.knob(f"block path=*/unbind value={GPU}")
        assert helper.chain(*STUCK[:2]).statuses() == ["ok", "stuck"]
        host.knob("clear")
        assert helper.wait_late().ended == "unbind"


def test_a_blocked_read_ends_it_too(host, state):
    with start(host, state, CAP) as helper:
        host.knob("block op=read path=*/driver_override")
        reply = helper.chain(("read_vfio", None, {"value": 5}), ("read_override", GPU, {}), ("read_iomem", None, {}))
        assert reply.statuses() == ["failed", "stuck"] or reply.statuses() == ["ok", "stuck"]
        host.knob("clear")
        assert helper.wait_late().ended == "read_override"


# ---- who asked is gone ----

class Listening(Privd):
    """One with a listening socket, as a socket unit gives it."""

    def __init__(self, host, state):
        self.path = os.path.join(state, "privd.sock")
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        listener.bind(self.path)
        listener.listen(8)
        super().__init__(binary(), host.root, state, socket_fd=listener)
        listener.close()

    def connect(self):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        sock.connect(self.path)
        return privd.Connection(sock)

    def stop(self):
        self.process.terminate()
        super().stop()


def test_nothing_more_is_begun_for_who_is_gone(host, state):
    with Listening(host, state) as p:
        host.knob(f"block path=*/unbind value={GPU}")
        old = p.connect()
        number = old.post_chain(*STUCK)
        in_a_write(host)
        old.sock.close()
        new = p.connect()
        assert [(c["id"], c["op"], c["stuck"]) for c in new.call("live").children()] == [(number + 2, "unbind", 0)]
        host.knob("clear")
        late = new.wait_late()
        assert (late.id, late.ended, late.address, late.status) == (number + 2, "unbind", GPU, "ok")
        stays_as_it_is(host)
        assert written(host) == [("driver_override", GPU), ("unbind", GPU)]
        assert new.chain(*STUCK[2:]).statuses() == ["ok", "ok"], "and its child does what comes next"


def test_a_word_to_stop_that_comes_too_late_is_for_no_other_chain(host, state):
    """It was in its last one when its asker went: so that is done, and the next chain is done whole."""
    with Listening(host, state) as p:
        host.knob(f"block path=*/unbind value={GPU}")
        old = p.connect()
        old.post_chain(*STUCK[:2])
        in_a_write(host)
        [first] = old.call("live").children()
        old.sock.close()
        new = p.connect()
        new.call("ping")
        host.knob("clear")
        assert new.wait_late().ended == "unbind"
        host.knob(f"block path=*/unbind value={AUDIO}")
        number = new.post_chain(("power", OTHER, {"value": 1}), ("unbind", AUDIO, {"name": "snd_hda_intel"}),
                                ("power", OTHER, {"value": 0}))
        in_a_write(host)
        [second] = new.call("live").children()
        assert second["pid"] == first["pid"], "it was not the same child"
        host.knob("clear")
        assert new.wait(number).statuses() == ["ok"] * 3


def test_a_killed_child_in_the_middle(host, helper):
    host.knob(f"block path=*/unbind value={GPU}")
    number = helper.post_chain(*STUCK)
    in_a_write(host)
    [child] = helper.call("live").children()
    os.kill(child["pid"], signal.SIGKILL)
    host.knob("clear")	# a write into FUSE ends only then
    assert helper.wait(number).statuses() == ["ok", "died"]
    stays_as_it_is(host)
    assert written(host) == [("driver_override", GPU), ("unbind", GPU)]


# ---- privd itself dies ----

def test_privd_killed_in_the_middle(host, state):
    with start(host, state) as first:
        host.knob(f"block path=*/unbind value={GPU}")
        number = first.post_chain(*STUCK)
        in_a_write(host)
        first.kill()
        with pytest.raises(Gone):
            first.receive()
    with start(host, state) as second:
        [child] = second.call("live").children()
        assert (child["id"], child["op"], child["address"]) == (number + 2, "unbind", GPU)
        assert second.call("power", GPU, value=1).status == "stuck"
        assert second.call("override", AUDIO, name="").status == "ok"
        host.knob("clear")
        late = second.wait_late()
        assert (late.id, late.ended, late.address, late.status) == (number + 2, "unbind", GPU, "ok")
        until(lambda: not alive(child["pid"]))
        stays_as_it_is(host)
        assert host.read(f"{DEV}/{AUDIO}/driver_override") == "(null)\n"
        assert ("control", "power") not in written(host)


def test_killed_at_any_moment(host, state):
    """What the next privd does not call alive never writes again, and what it does is what it says."""
    for n in range(40):
        with start(host, state) as first:
            first.call("ping")
            first.post_chain(*(("power", at, {"value": n % 2}) for at in (GPU, AUDIO, OTHER)),
                             *(("d3cold", at, {"value": n % 2}) for at in (GPU, AUDIO, OTHER)))
            time.sleep(n * 0.0004)
            first.kill()
        with start(host, state) as second:
            live = second.call("live").children()
            if live:
                late = second.wait_late()
                assert (late.id, late.ended) == (live[0]["id"], live[0]["op"]), n
            writes = host.write_log()
            assert not [w for w in writes if w.result == "pending"]
            time.sleep(0.03)
            assert host.write_log() == writes, f"a write of nobody's, {n}"


@pytest.mark.parametrize("when", ["before", "inside", "after"])
def test_faults(host, state, when):
    """In the middle of a chain; all of it is told from what it is in."""
    fault = {"HORCRUX_FAULT": f"kill:privd:unbind:{when}"}
    with start(host, state, env=fault) as first:
        number = first.post_chain(*STUCK)
        with pytest.raises(Gone):
            first.receive()
        assert first.process.wait(10) == -9
    with start(host, state, env=fault) as second:
        live = second.call("live").children()
        assert [(c["op"], c["id"]) for c in live] == ([("unbind", number + 2)] if when == "inside" else [])
        if live:
            assert host.driver(GPU) == "radeon", "it did not die before the write"
            late = second.wait_late()
            assert (late.id, late.status) == (number + 2, "ok")
        stays_as_it_is(host)
        assert written(host) == {"before": [],
                                 "inside": [("driver_override", GPU), ("unbind", GPU)],
                                 "after": [("driver_override", GPU), ("unbind", GPU), ("driver_override", AUDIO),
                                           ("control", "power")]}[when]


# ---- who waits for whom ----

def test_live_tells_the_one_that_it_is_in(host, helper):
    host.knob(f"block path=*/unbind value={AUDIO}")
    number = helper.post_chain(*BIND)
    in_a_write(host)
    [child] = helper.call("live").children()
    assert (child["id"], child["op"], child["address"], child["stuck"], child["write"]) == (
        number + 4, "unbind", AUDIO, 0, 1)
    assert abs(child["since_ms"] / 1000 - time.time()) < 60
    host.knob("clear")
    assert helper.wait(number).statuses() == ["ok"] * 6


def test_busy_for_all_that_it_is_about(host, helper):
    """Also for what it has not begun yet, and it itself waits for all of its own."""
    host.knob(f"block path=*/unbind value={GPU}")
    number = helper.post_chain(*STUCK)
    in_a_write(host)
    for at in (GPU, AUDIO, OTHER):
        assert helper.call("power", at, value=1).status == "busy", at
        assert helper.call("read_override", at).status == "ok", at
    assert helper.chain(("hugepages", None, {"value": 1, "size_kib": 2048, "node": -1}),
                        ("d3cold", OTHER, {"value": 1})).statuses() == ["busy"]
    assert helper.call("power", "0000:00:02.0", value=1).status == "ok"
    assert written(host)[:2] == [("driver_override", GPU), ("unbind", GPU)]
    host.knob("clear")
    assert helper.wait(number).statuses() == ["ok"] * 4
    for at in (GPU, AUDIO, OTHER):
        assert helper.call("power", at, value=1).status == "ok", at


def test_a_chain_waits_for_one_alone(host, helper):
    host.knob(f"block path=*/unbind value={AUDIO}")
    number = helper.post("unbind", AUDIO)
    in_a_write(host)
    assert helper.chain(*STUCK).statuses() == ["busy"]
    assert len(host.write_log()) == 1
    host.knob("clear")
    assert helper.wait(number).status == "ok"
    assert helper.chain(*STUCK).statuses() == ["ok"] * 4


MALFORMED = {
    "of none": lambda two: privd.chain([]),
    "too long": lambda two: privd.chain([privd.request("read_override", GPU, id=i + 1) for i in range(33)]),
    "says more": lambda two: privd.chain(two, n=3),
    "says less": lambda two: privd.chain(two, n=1),
    "cut": lambda two: privd.chain(two)[:-1],
    "equal ids": lambda two: privd.chain([two[0], two[0]]),
    "ping": lambda two: privd.chain([two[0], privd.request("ping", id=9)]),
    "a module": lambda two: privd.chain([two[0], privd.request("module", id=9, name="vfio-pci")]),
    "a chain": lambda two: privd.chain([two[0], privd.request("chain", id=9)]),
    "a bad request": lambda two: privd.chain([two[0], two[1].replace(b"vfio-pci", b"vfio/pci")]),
}


@pytest.mark.parametrize("what", MALFORMED)
def test_malformed(host, helper, what):
    two = [privd.request("override", at, id=5 + i, name="vfio-pci") for i, at in enumerate((GPU, AUDIO))]
    helper.send(MALFORMED[what](two))
    with pytest.raises(Gone):
        helper.receive()
    assert "connection of pid" in helper.logged()
    assert host.write_log() == []


def test_a_whole_one_has_room(host, helper):
    asked = [("read_override", GPU, {})] * 32
    assert helper.chain(*asked).statuses() == ["ok"] * 32
