# SPDX-License-Identifier: Apache-2.0
"""
What the card endpoints do with what is wrong: requests, and what the daemon needs itself (its helper,
its journal, its store). The right status and words, nothing changed, still serving.
"""

import contextlib
import fcntl
import json
import os
import resource
import signal
import socket
import subprocess
import time

import pytest

from machine import GPU, TAKE, Machine, await_pending, together

BIND, UNBIND = (f"/api/gpu/devices/{GPU}/{verb}" for verb in ("bind-vfio", "unbind-vfio"))


@pytest.fixture(scope="module")
def m():
    with Machine("lab-like") as machine:
        yield machine


def wrong(m, method, path, status, code, body=None, pointer=None, **kw):
    reply = m.daemon.call(method, path, body, **kw)
    assert reply.status == status, reply
    assert reply.headers["Content-Type"] == "application/problem+json"
    problem = reply.json()
    assert (problem["status"], problem["code"]) == (status, code), reply
    assert problem["detail"] and problem["title"]
    assert problem.get("pointer") == pointer, reply
    assert m.host.writes() == [] and m.daemon.tasks() == []
    m.unchanged()
    assert m.daemon.get("/api/gpu/devices").status == 200
    return problem


# ---- addresses ----

@pytest.mark.parametrize("verb", ["bind-vfio", "unbind-vfio"])
@pytest.mark.parametrize("address, status, code", [
    ("0000:01:00", 422, "invalid_value"), ("01:00.0", 422, "invalid_value"),
    ("0000:01:00.8", 422, "invalid_value"), ("0000:01:20.0", 422, "invalid_value"),
    ("0000:01:00.0x", 422, "invalid_value"), ("0000:01:00.0 ", 422, "invalid_value"),
    ("zz", 422, "invalid_value"), ("..", 422, "invalid_value"), ("%2e%2e", 422, "invalid_value"),
    ("000000000:01:00.0", 422, "invalid_value"), ("-1", 422, "invalid_value"),
    ("%FF%FE", 422, "invalid_value"), ("a" * 300, 422, "invalid_value"),
    ("..%2f..", 404, "not_found"), ("0000:01:00.0%00", 404, "not_found"),
    ("0000:0a:00.0", 404, "not_found"), ("ffffffff:ff:1f.7", 404, "not_found"),
    ("0000:00:04.0", 404, "not_found"), ("0000:00:02.0", 404, "not_found"), ("", 404, "not_found"),
])
def test_addresses(m, address, status, code, verb):
    path = f"/api/gpu/devices/{address.replace(' ', '%20')}/{verb}"
    reply = m.daemon.post(path)
    assert reply.status in (status, 422 if status == 404 else status), reply
    assert reply.status >= 400
    wrong(m, "POST", path, reply.status, "not_found" if reply.status == 404 else "invalid_value")
    assert reply.status == status, reply


def test_an_address_in_capitals_is_one_too(m):
    reply = m.daemon.post("/api/gpu/devices/0000:0A:00.0/bind-vfio")
    assert reply.status in (404, 422), reply


# ---- bodies ----

@pytest.mark.parametrize("body, status, code, pointer", [
    ({"scope": 3}, 422, "wrong_type", "/scope"),
    ({"scope": "slot"}, 422, "invalid_value", "/scope"),
    ({"scope": ["card"]}, 422, "wrong_type", "/scope"),
    ({"accept": "no_reset"}, 422, "wrong_type", "/accept"),
    ({"accept": {"no_reset": True}}, 422, "wrong_type", "/accept"),
    ({"accept": ["no_reset", 3]}, 422, "wrong_type", "/accept/1"),
    ({"accept": ["no_reset"] * 100}, 422, "invalid_value", "/accept"),
    ({"accept": ["no_reset", "everything"]}, 422, "invalid_value", "/accept/1"),
    ({"accept": ["unknown_"]}, 422, "invalid_value", "/accept/0"),
    ({"accept": [""]}, 422, "invalid_value", "/accept/0"),
    ({"force": True}, 422, "unknown_field", "/force"),
    ({"scope": "card", "a/b~c": 1}, 422, "unknown_field", "/a~1b~0c"),
    ({"x" + "é" * 100: 1}, 422, "unknown_field", "/x" + "é" * 29),
    (b'{"scope": "card", "scope": "card"}', 400, "bad_json", None),
    (b'{"scope": "card"', 400, "bad_json", None),
    (b'{"scope": "card"} x', 400, "bad_json", None),
    (b"not json", 400, "bad_json", None),
    (b'{"scope": "\xff\xfe"}', 400, "bad_json", None),
    (b'{"scope": "card\\u0000"}', 400, "bad_json", None),
    (b"[" * 5000 + b"]" * 5000, 400, "bad_json", None),
    (b'{"accept": [' + b'"no_reset",' * 9 + b"NaN]}", 400, "bad_json", None),
    (b"[]", 422, "wrong_type", None),
    (b"3", 400, "bad_json", None),
    (b"null", 400, "bad_json", None),
])
def test_bodies(m, body, status, code, pointer):
    reply = m.daemon.post(BIND, body)
    if code == "wrong_type" and pointer is None:
        pointer = reply.json().get("pointer")    # the whole body: "" or none
        assert pointer in (None, "")
    if code == "bad_json" and reply.status == 422:
        status, code, pointer = 422, reply.json()["code"], reply.json().get("pointer")
    wrong(m, "POST", BIND, status, code, body, pointer)


def test_fields_of_the_other_verb(m):
    wrong(m, "POST", UNBIND, 422, "unknown_field", {"scope": "card"}, "/scope")


def test_a_body_of_a_mebibyte(m):
    body = json.dumps({"accept": ["no_reset"], "scope": "x" * (1 << 20)}).encode()
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        wrong(m, "POST", BIND, 413, "too_large", body)
    assert m.daemon.get("/api/gpu/devices").status == 200
    assert m.host.writes() == []


def test_the_rest_of_the_request(m):
    wrong(m, "POST", BIND, 415, "media_type", b"{}", headers={"Content-Type": "text/plain"})
    wrong(m, "POST", BIND + "?dry_run=perhaps", 422, "wrong_type")
    wrong(m, "POST", BIND + "?dryrun=true", 422, "unknown_field")
    wrong(m, "POST", BIND, 409, "plan_changed", headers={"If-Plan": "x" * 3000})
    wrong(m, "GET", BIND, 405, "method_not_allowed")
    wrong(m, "DELETE", BIND, 405, "method_not_allowed")
    wrong(m, "POST", "/api/tasks/nothing/cancel", 404, "not_found")
    wrong(m, "GET", "/api/tasks/%00", 404, "not_found")
    wrong(m, "GET", "/api/tasks?state=done", 422, "invalid_value")


def test_what_prefers_nonsense_is_served(m):
    reply = m.daemon.bind(GPU, query="?dry_run=true", headers={"Prefer": "wait=x, , ;;return=minimal"})
    assert reply.status == 200


# ---- clients that go ----

def raw(m, data):
    s = socket.socket(socket.AF_UNIX)
    s.connect(m.daemon.socket_path)
    with contextlib.suppress(OSError):
        s.sendall(data)
    return s


def test_vanished_clients(m):
    head = f"POST {BIND}?dry_run=true HTTP/1.1\r\nHost: localhost\r\n"
    for data in ("", "PO", head, head + "Content-Length: 100\r\n\r\n{", head + "Content-Length: 0\r\n\r\n"):
        for _ in range(5):
            raw(m, data.encode()).close()
    slow = [raw(m, head.encode()) for _ in range(20)]
    assert m.daemon.bind(GPU, query="?dry_run=true").status == 200
    for s in slow:
        s.close()
    assert m.host.writes() == []
    m.unchanged()


def test_a_client_that_vanishes_leaves_a_whole_task():
    """It asked, and went: what it may ask for is done whole all the same, and can be looked up."""
    with Machine("lab-like") as m:
        s = raw(m, f"POST {BIND} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n".encode())
        m.host.wait_for(lambda: m.host.writes())
        s.close()
        [task] = m.daemon.settled()
        assert task["state"] == "succeeded" and m.host.writes() == TAKE


# ---- the helper ----

def test_helper_killed_and_there_again():
    with Machine("lab-like") as m:
        m.daemon.kill_helper()
        reply = m.daemon.bind(GPU)
        assert reply.status == 200, reply
        m.daemon.kill_helper()
        assert m.daemon.release(GPU).status == 200
        m.unchanged()


@pytest.mark.parametrize("helper", ["none", "ends", "broken"])
def test_no_helper(helper):
    with Machine("lab-like", helper=helper != "none") as m:
        m.daemon.stop()
        path = os.path.join(m.host.directory, "bin/horcrux-privd")
        if helper == "ends":
            with open(path, "w", encoding="utf-8") as f:
                f.write("#!/bin/sh\nexit 1\n")
        elif helper == "broken":
            with open(path, "w", encoding="utf-8") as f:
                f.write("no program\n")
        m.daemon.start()
        for reply in together(lambda: m.daemon.bind(GPU), lambda: m.daemon.release(GPU),
                              lambda: m.daemon.bind(GPU, query="?dry_run=true")):
            assert (reply.status, reply.json()["code"]) == (503, "helper_unavailable"), reply
            assert "horcrux-privd" in reply.json()["detail"] and reply.json()["hint"]
        health = m.daemon.get("/api/health").json()
        assert not health["ready"] and health["live"]
        assert {p["name"]: p["state"] for p in health["parts"]}["helper"] == "failed"
        assert m.daemon.device(GPU)["unknown"]["used_by"]
        m.unchanged()


def test_a_helper_that_hangs():
    """Neither there nor gone: told in time, nothing changed; and when it goes on, so does all."""
    with Machine("lab-like") as m:
        assert m.host.wait_for(lambda: m.daemon.device(GPU)["used_by"] == [], 20)
        os.kill(m.daemon.helper(), signal.SIGSTOP)
        try:
            for reply in together(lambda: m.daemon.bind(GPU, timeout=60),
                                  lambda: m.daemon.bind(GPU, query="?dry_run=true", timeout=60)):
                assert (reply.status, reply.json()["code"]) == (503, "helper_unavailable"), reply
                assert "did not answer" in reply.json()["detail"] and reply.json()["hint"]
            assert m.host.writes() == [] and m.daemon.tasks() == []
            assert m.daemon.get("/api/gpu/devices").status == 200
        finally:
            os.kill(m.daemon.helper(), signal.SIGCONT)
        m.unchanged()
        assert m.host.wait_for(lambda: m.daemon.get("/api/health").json()["ready"], 20)
        assert m.daemon.bind(GPU).status == 200
        assert m.daemon.release(GPU).status == 200
        m.unchanged()


def test_a_helper_that_hangs_in_the_middle():
    """Its child writes on; what came of it nobody can tell before it goes on, and then it is found out."""
    with Machine("lab-like") as m:
        m.host.knob("delay ms=300 path=*/radeon/unbind")
        task = m.daemon.bind(GPU, headers={"Prefer": "respond-async"}).json()["id"]
        await_pending(m.host)
        os.kill(m.daemon.helper(), signal.SIGSTOP)
        try:
            assert m.host.wait_for(
                lambda: m.daemon.get(f"/api/tasks/{task}").json()["state"] == "stuck", 60)
            assert "stuck" in m.daemon.device(GPU)["state"]
            assert m.host.driver(GPU) is None
        finally:
            os.kill(m.daemon.helper(), signal.SIGCONT)
        assert m.host.wait_for(lambda: m.daemon.get(f"/api/tasks/{task}").json()["state"] in
                               ("succeeded", "rolled_back"), 60)
        assert m.daemon.release(GPU).status == 200
        m.unchanged()


def test_helper_that_came_back_late():
    """It is not there, and then it is: nothing has to be started anew."""
    with Machine("lab-like") as m:
        path = os.path.join(m.host.directory, "bin/horcrux-privd")
        os.rename(path, path + ".away")
        m.daemon.kill_helper()
        assert m.daemon.bind(GPU).status == 503
        os.rename(path + ".away", path)
        assert m.host.wait_for(lambda: m.daemon.get("/api/health").json()["ready"])
        assert m.daemon.bind(GPU).status == 200


# ---- room for the journal, and the store ----

def limit(m, size):
    """No file of the daemon may grow beyond that; None: any may."""
    resource.prlimit(m.daemon.process.pid, resource.RLIMIT_FSIZE,
                     (resource.RLIM_INFINITY if size is None else size, resource.RLIM_INFINITY))


def journal_size(m):
    return os.path.getsize(os.path.join(m.daemon.state, "run/journal"))


def test_no_room_for_the_journal():
    """Wherever it fills up: what is not written down is not done, and what was begun is undone."""
    with Machine("lab-like") as m:
        before = journal_size(m)
        limit(m, before + 10)
        reply = m.daemon.bind(GPU)
        assert (reply.status, reply.json()["code"]) == (503, "store_unavailable"), reply
        assert "journal" in reply.json()["detail"] and reply.json()["hint"]
        assert m.host.writes() == []
        m.unchanged()
        statuses = set()
        for room in range(2500, 9000, 800):
            limit(m, before + room)
            reply = m.daemon.bind(GPU)
            statuses.add(reply.status)
            limit(m, None)
            assert reply.status in (200, 503), reply
            if reply.status == 503:
                assert reply.json()["code"] == "store_unavailable", reply
                assert m.host.world() == m.before, room
                m.daemon.stop()
                m.daemon.start()
                m.daemon.settled()
                m.unchanged()
                assert m.daemon.taken() == {}
            else:
                assert m.daemon.release(GPU).status == 200
                m.unchanged()
        assert statuses == {200, 503}


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as f:
        return f.read().split()


def fill(f):
    with contextlib.suppress(OSError):
        while f.write(b"x" * 4096):
            pass


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small file system")
def test_a_full_file_system():
    with Machine("lab-like", start=False) as m:
        os.makedirs(m.daemon.state, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", m.daemon.state], check=True)
        try:
            m.daemon.start()
            assert m.host.wait_for(lambda: m.daemon.device(GPU)["used_by"] == [])
            with open(os.path.join(m.daemon.state, "filler"), "wb", buffering=0) as f:
                fill(f)
                # a child of the helper that waits for more to do has its record already: it goes, and
                # what becomes free with it is filled too
                [helper] = children(m.daemon.process.pid)
                for child in children(helper):
                    os.kill(int(child), signal.SIGKILL)
                assert m.host.wait_for(lambda: not children(helper))
                fill(f)
            reply = m.daemon.bind(GPU)
            assert (reply.status, reply.json()["code"]) == (503, "store_unavailable"), reply
            assert "room" in reply.json()["hint"] or "space" in reply.json()["hint"]
            m.unchanged()
            os.unlink(f.name)
            assert m.daemon.bind(GPU).status == 200
            assert m.daemon.release(GPU).status == 200
            m.unchanged()
        finally:
            m.daemon.stop()
            subprocess.run(["umount", m.daemon.state], check=True)


def test_a_store_that_cannot_be_read():
    """Who has a card is in the store: without it none is taken."""
    with Machine("lab-like") as m:
        assert m.host.wait_for(lambda: m.daemon.device(GPU)["card"])
        with open(os.path.join(m.daemon.state, "private/store.sqlite-shm"), "rb+") as shm:
            fcntl.lockf(shm, fcntl.LOCK_EX, 8, 120)    # all of WAL's locks: nobody reads or writes
            begun = time.monotonic()
            reply = m.daemon.bind(GPU)
            assert (reply.status, reply.json()["code"]) == (503, "store_unavailable"), reply
            assert reply.json()["hint"] and time.monotonic() - begun < 10
            assert m.daemon.get("/api/gpu/devices").status == 200
        m.unchanged()
        assert m.daemon.bind(GPU).status == 200


def test_a_store_that_cannot_be_written():
    """Somebody else writes for ever: cards are shown all the same, and nothing is lost."""
    with Machine("lab-like", start=False) as m:
        folder = os.path.join(m.daemon.state, "private")
        m.daemon.start()
        m.daemon.stop()
        writer = subprocess.Popen(["/usr/bin/python3", "-c", WRITER, os.path.join(folder, "store.sqlite")],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            assert writer.stdout.readline() == b"locked\n"
            m.daemon.start()
            assert m.daemon.get("/api/gpu/devices").status == 200
            assert m.daemon.device(GPU)["driver"] == "radeon"
        finally:
            writer.stdin.close()
            writer.wait(10)
        assert m.host.wait_for(lambda: m.daemon.device(GPU)["card"], 10)
        assert m.daemon.bind(GPU).status == 200
        assert m.daemon.release(GPU).status == 200
        m.unchanged()


WRITER = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
for (name,) in db.execute("select name from sqlite_master where type = 'table'").fetchall():
    if "sqlite" not in name:
        try:
            db.execute(f"delete from {name} where key like 'cards/%'")
        except sqlite3.OperationalError:
            pass
db.execute("begin immediate")
print("locked", flush=True)
sys.stdin.read()
db.execute("rollback")
"""


def test_stopped_while_it_works():
    """SIGTERM in the midst: the next start finds out what was left."""
    with Machine("lab-like") as m:
        m.host.knob("delay ms=300 path=*/radeon/unbind")
        m.daemon.bind(GPU, headers={"Prefer": "respond-async"})
        m.host.wait_for(lambda: any(w.result == "pending" for w in m.host.write_log()))
        m.daemon.process.send_signal(signal.SIGTERM)
        m.daemon.stop()
        m.daemon.start()
        [task] = m.daemon.settled()
        assert task["state"] == "rolled_back"
        m.unchanged()
