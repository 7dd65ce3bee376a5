# SPDX-License-Identifier: Apache-2.0
"""The real daemon under test: started on some directory that stands for a host's "/", spoken to
over loopback TCP and its Unix socket, every JSON reply checked against its own openapi.json.
"""
import http.client
import json
import os
import pwd
import re
import select
import shutil
import signal
import socket
import subprocess
import time

import schema

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("HORCRUX_BUILD", os.path.join(ROOT, "build"))
NODE = "testnode"


def program(name):
    path = os.path.join(BUILD, name)
    if not os.access(path, os.X_OK):
        raise FileNotFoundError(f"{path} is not there: build it, and set HORCRUX_BUILD to its folder")
    return path


def lay_programs(folder, helper=True):
    """horcruxd and, beside it, horcrux-privd, as the daemon looks for it. Returns horcruxd's path."""
    os.makedirs(folder, exist_ok=True)
    for name in ["horcruxd"] + (["horcrux-privd"] if helper else []):
        to = os.path.join(folder, name)
        if os.path.exists(to):
            continue
        try:
            os.link(program(name), to)
        except OSError:
            shutil.copy2(program(name), to)
    return os.path.join(folder, "horcruxd")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Reply:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"<{self.status} {self.body[:300]!r}>"


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost")
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(20)
        self.sock.connect(self.path)


class Daemon:
    """with Daemon(tmp_path, root) as d: d.get("/api/gpu/devices")"""

    def __init__(self, folder, host_root, *flags, helper=True, state=None, env=None):
        self.folder = str(folder)
        self.state = state or os.path.join(self.folder, "state")
        self.root = str(host_root)
        self.port = free_port()
        self.program = lay_programs(os.path.join(self.folder, "bin"), helper)
        self.argv = [self.program, "--dev", f"--host-root={self.root}", f"--state-dir={self.state}",
                     f"--listen=127.0.0.1:{self.port}", f"--node={NODE}", *flags]
        if not any(flag.startswith("--libvirt=") for flag in flags):
            self.argv.append("--libvirt=none")
        self.env = dict(os.environ, **(env or {}))
        self.env.pop("HORCRUX_CONFIG", None)
        # an abort, a library's too, says where it came from
        self.env["ASAN_OPTIONS"] = ":".join(filter(None, (self.env.get("ASAN_OPTIONS"), "handle_abort=1")))
        self.env.update(env or {})
        self.log_path = os.path.join(self.folder, "horcruxd.log")
        self.process = None
        self.document = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *exception):
        self.stop()

    def start(self):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, env=self.env)
        end = time.monotonic() + 20
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise AssertionError("the daemon ended: " + self.log())
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                break
            except OSError:
                time.sleep(0.01)
        else:
            raise AssertionError("the daemon does not listen: " + self.log())
        self.document = self.get("/api/openapi.json", check=False).json()
        self.wait_for(self.knows_its_cards, 5)

    def knows_its_cards(self):
        """Records of new cards are made a moment after the start."""
        reply = self.get("/api/gpu/devices", check=False)
        return reply.status != 200 or all(g["card"] for g in reply.json())

    def stop(self):
        """Ends it; returns the seconds that took. Sanitizers' findings fail here."""
        if not self.process:
            return 0.0
        process, self.process = self.process, None
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError("the daemon does not stop: " + self.log()) from None
        took = time.monotonic() - began
        assert process.returncode == 0, f"status {process.returncode}: {self.log()}"
        self.check_log()
        return took

    def check_log(self):
        for word in ("Sanitizer", "runtime error"):
            assert word not in self.log(), self.log()

    def alive(self):
        return self.process.poll() is None

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as f:
            return f.read()[-8000:]

    # ---- talking to it ----

    @property
    def socket_path(self):
        return os.path.join(self.state, "api.sock")

    def connection(self, unix=False):
        if unix:
            return UnixConnection(self.socket_path)
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)

    def call(self, method, path, body=None, headers=None, unix=False, check=True, connection=None):
        """One request; its reply, checked against openapi.json (check=False: not)."""
        c = connection or self.connection(unix)
        all_headers = {"Host": f"localhost:{self.port}"}
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
            all_headers["Content-Type"] = "application/json"
        all_headers.update(headers or {})
        try:
            c.request(method, path, body=body,
                      headers={k: v for k, v in all_headers.items() if v is not None})
            got = c.getresponse()
            reply = Reply(got.status, got.headers, got.read())
        finally:
            if not connection:
                c.close()
        if check:
            self.check(method, path, reply)
        return reply

    def get(self, path, headers=None, **kw):
        return self.call("GET", path, headers=headers, **kw)

    def post(self, path, body=None, headers=None, **kw):
        return self.call("POST", path, body=body, headers=headers, **kw)

    def check(self, method, path, reply):
        """What holds for every reply of ours, whatever was asked."""
        assert re.fullmatch(r"[A-Za-z0-9._-]{1,64}", reply.headers["X-Request-Id"])
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
        if method == "HEAD" or reply.status in (204, 304):
            assert reply.body == b""
            return
        assert int(reply.headers["Content-Length"]) == len(reply.body)
        if reply.status >= 400:
            check_problem(self.document, reply)
            return
        assert reply.headers["Content-Type"] == "application/json"
        schema.check_reply(self.document, method, path, reply.status, reply.json())

    def raw(self, data, wait=5.0, half_close=False):
        """Bytes on a connection of their own; all bytes that came back until it ended."""
        with socket.create_connection(("127.0.0.1", self.port), 5) as s:
            try:
                s.sendall(data)
                if half_close:
                    s.shutdown(socket.SHUT_WR)
            except OSError:
                pass    # refused before all was sent
            return read_all(s, wait)

    def wait_for(self, condition, seconds=5.0):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if condition():
                return True
            time.sleep(0.005)
        return bool(condition())


def read_all(s, wait):
    got, end = b"", time.monotonic() + wait
    while time.monotonic() < end:
        if not select.select([s], [], [], max(0, end - time.monotonic()))[0]:
            break
        try:
            piece = s.recv(65536)
        except OSError:
            break
        if not piece:
            break
        got += piece
    return got


def read_reply(s, wait):
    """One reply, without waiting for the end of a connection that is kept."""
    reply = http.client.HTTPResponse(s)
    s.settimeout(wait)
    try:
        reply.begin()
        return Reply(reply.status, reply.headers, reply.read())
    finally:
        reply.close()


def check_problem(document, reply):
    assert reply.headers["Content-Type"] == "application/problem+json", reply
    problem = reply.json()
    schema.check(document, {"$ref": "#/components/schemas/Problem"}, problem)
    assert problem["status"] == reply.status
    assert problem["type"] == "urn:horcrux:error:" + problem["code"]
    assert problem["detail"] and problem["title"]
    assert reply.headers["Cache-Control"] == "no-store"
    for word in ("errno", "ENOENT", "EINVAL", "/work/", "/tmp/"):
        assert word not in problem["detail"]
    if reply.status == 401:
        assert reply.headers["WWW-Authenticate"]
    if reply.status == 405:
        assert reply.headers["Allow"]
    return problem


def parse(raw):
    """Bytes of one raw reply as a Reply."""
    head, _, body = raw.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0].startswith(b"HTTP/1."), raw[:200]
    headers = http.client.HTTPMessage()
    for line in lines[1:]:
        name, _, value = line.decode("latin-1").partition(":")
        headers[name] = value.strip()
    return Reply(int(lines[0].split()[1]), headers, body)


# ---- as another user, for root ----

CLIENT = """
import http.client, sys
unix, port, method, path = sys.argv[1:]
import socket
c = http.client.HTTPConnection("localhost", int(port))
if unix:
    c.sock = socket.socket(socket.AF_UNIX)
    c.sock.connect(unix)
c.request(method, path)
r = c.getresponse()
print(r.status)
print(r.read().decode())
"""


def as_user(user, d, method="GET", path="/api/version", unix=False, groups=()):
    """(status, body) as that user sees it; the Unix socket's file must let him connect."""
    account = pwd.getpwnam(user)
    done = subprocess.run(
        ["setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}",
         f"--groups={','.join(map(str, groups))}" if groups else "--clear-groups",
         "/usr/bin/python3", "-c", CLIENT, d.socket_path if unix else "", str(d.port), method, path],
        cwd="/", text=True, capture_output=True, timeout=30, check=True)
    status, _, body = done.stdout.partition("\n")
    return int(status), body
