# SPDX-License-Identifier: Apache-2.0
"""Who may: foreign pages and names are refused, forwarded requests and other users are unknown."""
import os
import pwd
import re
import signal
import socket
import subprocess
import time

import golden
import pytest
from daemon import Daemon, as_user, read_reply

SCAN = "/api/gpu/devices/scan"
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:8006", "127.1.2.3", "[::1]:8006"])
def test_own_names(shared, host):
    assert shared.get("/api/version", {"Host": host}).status == 200


@pytest.mark.parametrize("host", ["example.org", "localhost.example.org", "10.0.0.1:8006", "", "localhost:x",
                                  "127.0.0.1.nip.io", "[::2]", "a@localhost"])
@pytest.mark.parametrize("unix", [False, True])
def test_foreign_hosts(shared, host, unix):
    reply = shared.get("/api/version", {"Host": host}, unix=unix)
    assert reply.status == 403


def test_403_golden(shared):
    golden.check("problem-host", shared.get("/api/version", {"Host": "example.org"}).body)


@pytest.mark.parametrize("headers, status", [
    ({"Origin": "http://localhost:{port}"}, 200), ({"Origin": "http://localhost:1"}, 403),
    ({"Origin": "http://example.org"}, 403), ({"Origin": "null"}, 403), ({"Origin": ""}, 403),
    ({"Origin": "http://127.0.0.1:{port}"}, 403), ({"Origin": "chrome-extension://abc"}, 403),
    ({"Sec-Fetch-Site": "same-origin"}, 200), ({"Sec-Fetch-Site": "none"}, 200),
    ({"Sec-Fetch-Site": "cross-site"}, 403), ({"Sec-Fetch-Site": "same-site"}, 403),
    ({"Sec-Fetch-Site": ""}, 403),
    ({"Forwarded": "for=1.2.3.4"}, 401), ({"X-Forwarded-For": "1.2.3.4"}, 401), ({"Via": "1.1 proxy"}, 401),
    ({"x-forwarded-host": "localhost"}, 401), ({"X-FORWARDED-PROTO": "https"}, 401),
    ({"Authorization": "Bearer hx_0"}, 401), ({"Authorization": "Basic cm9vdDo="}, 401),
    ({"Cookie": "a=b"}, 200),
])
def test_headers(shared, headers, status):
    headers = {k: v.replace("{port}", str(shared.port)) for k, v in headers.items()}
    for method, path in (("GET", "/api/version"), ("POST", SCAN)):
        reply = shared.call(method, path, headers=headers)
        assert reply.status == status
        if status == 401:
            assert "token" in reply.json()["hint"]


def test_refusals_come_before_anything_is_told(shared):
    """Whoever may not, does not learn which addresses there are."""
    for path in ("/api/nothing", "/api/gpu/devices", "/api/gpu/devices/x"):
        assert shared.get(path, {"Via": "x"}).status == 401
        assert shared.get(path, {"Host": "example.org"}).status == 403


# ---- other users ----

@needs_root
def test_another_user_is_nobody(d):
    d.tree.bind("pci0000:00/0000:00:01.0/0000:01:00.0", None)
    for method, path in (("GET", "/api/gpu/devices"), ("POST", SCAN), ("GET", "/api/nothing")):
        status, body = as_user("nobody", d, method, path)
        assert status == 401, body
        assert "nouveau" not in body
    assert d.get("/api/gpu/devices").json()[0]["driver"] == "nouveau"   # it did not scan for him
    golden.check("problem-user", re.sub(r"user \d+", "user 65534", body).strip().encode() + b"\n")


@needs_root
def test_another_user_at_the_unix_socket(d):
    os.chmod(d.socket_path, 0o666)     # as if the file's mode were no guard
    for folder in (d.state, d.folder, os.path.dirname(d.folder), os.path.dirname(os.path.dirname(d.folder))):
        os.chmod(folder, 0o755)
    assert as_user("nobody", d, unix=True)[0] == 401


@needs_root
def test_members_of_the_group_are_let_in(tmp_path, tree):
    group = "daemon"    # of Debian's own accounts, only `daemon` itself is in it
    with Daemon(tmp_path, tree.root, f"--group={group}", helper=False) as d:
        assert as_user("daemon", d)[0] == 200          # by the name services
        assert as_user("nobody", d)[0] == 401
        began = time.monotonic()
        for _ in range(5):
            assert as_user("daemon", d)[0] == 200      # by now it is known
        assert time.monotonic() - began < 10
        os.chmod(d.socket_path, 0o666)
        for folder in (d.state, d.folder, os.path.dirname(d.folder), os.path.dirname(os.path.dirname(d.folder))):
            os.chmod(folder, 0o755)
        assert as_user("nobody", d, unix=True, groups=[pwd.getpwnam("daemon").pw_gid])[0] == 200
        assert as_user("nobody", d, unix=True)[0] == 401
        assert as_user("nobody", d, groups=[pwd.getpwnam("daemon").pw_gid])[0] == 401   # TCP tells no groups


HANG_UP = """
import socket, sys
port, path = int(sys.argv[1]), sys.argv[2]
for i in range(300):
    s = socket.create_connection(("127.0.0.1", port))
    s.sendall(f"POST {path} HTTP/1.1\\r\\nHost: localhost\\r\\nContent-Length: 0\\r\\n\\r\\n".encode())
    if i % 3 == 0:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\\1\\0\\0\\0\\0\\0\\0\\0")
    if i % 3 == 1:
        s.shutdown(socket.SHUT_WR)
    s.close()
"""


@needs_root
def test_a_user_who_hangs_up_at_once_changes_nothing(d):
    d.tree.bind("pci0000:00/0000:00:01.0/0000:01:00.0", None)
    account = pwd.getpwnam("nobody")
    subprocess.run(["setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups",
                    "/usr/bin/python3", "-c", HANG_UP, str(d.port), SCAN], cwd="/", timeout=60, check=True)
    time.sleep(0.5)
    assert d.get("/api/gpu/devices").json()[0]["driver"] == "nouveau"
    assert d.log().count(f"POST {SCAN} refused") > 0


def server_side(d, port):
    """State of the server's end of the connection from this port, as /proc/net/tcp has it; "": none."""
    with open("/proc/net/tcp", encoding="ascii") as lines:
        for local, remote, state in (line.split()[1:4] for line in list(lines)[1:]):
            if local.endswith(f":{d.port:04X}") and remote.endswith(f":{port:04X}"):
                return state
    return ""


def stopped(pid):
    """Do all its threads stand still? A signal is not there at once."""
    states = []
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/stat", encoding="ascii", errors="replace") as file:
            states.append(file.read().rpartition(")")[2].split()[0])
    return set(states) == {"T"}


def test_half_closed_is_401(shared):
    close_wait = "08"
    with socket.create_connection(("127.0.0.1", shared.port)) as c:
        shared.process.send_signal(signal.SIGSTOP)      # the end is there before the request is read
        try:
            assert shared.wait_for(lambda: stopped(shared.process.pid), 20)
            c.sendall(b"POST " + SCAN.encode() + b" HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
            c.shutdown(socket.SHUT_WR)
            port = c.getsockname()[1]
            assert shared.wait_for(lambda: server_side(shared, port) == close_wait, 20)
        finally:
            shared.process.send_signal(signal.SIGCONT)
        assert read_reply(c, 20).status == 401
    c = socket.create_connection(("127.0.0.1", shared.port))
    c.shutdown(socket.SHUT_WR)
    time.sleep(0.2)
    c.close()
    assert shared.alive()


def test_trust_loopback_no(tmp_path, tree):
    with Daemon(tmp_path, tree.root, helper=False) as first:
        document = first.document
    second = Daemon(tmp_path / "two", tree.root, "--trust-loopback=no", helper=False)
    second.get = lambda path, *a, **kw: Daemon.get(second, path, *a, **{**kw, "unix": kw.get("unix", True)})
    with second:
        assert second.document == document
        reply = second.get("/api/version", unix=False)
        assert reply.status == 401 and "Unix socket" in reply.json()["hint"]
        assert second.get("/api/version").status == 200


def test_ipv6(tmp_path, tree):
    with socket.socket(socket.AF_INET6) as s:
        s.bind(("::1", 0))
        port = s.getsockname()[1]
    d = Daemon(tmp_path, tree.root, helper=False)
    d.argv = [a if not a.startswith("--listen") else f"--listen=[::1]:{port}" for a in d.argv]
    process = subprocess.Popen(d.argv, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        for _ in range(500):
            try:
                with socket.create_connection(("::1", port), 2) as s:
                    s.sendall(b"GET /api/version HTTP/1.0\r\nHost: [::1]\r\n\r\n")
                    assert b" 200 " in s.recv(4096)
                    break
            except ConnectionRefusedError:
                time.sleep(0.02)
        else:
            raise AssertionError("it does not listen")
    finally:
        process.terminate()
        process.communicate(timeout=15)
