# SPDX-License-Identifier: Apache-2.0
"""
Helper for every test on the fake kernel.

    with FakeHost("lab-like") as host:
        host.write("sys/bus/pci/devices/0000:01:00.0/driver_override", "vfio-pci")
        host.event("process 900 Xorg fd=/dev/dri/card1")
        assert host.write_log()[-1].result == "OK"

The mount is in a directory of its own and goes on every way out: an exception, a
blocked write, the death of this process (the fake kernel ends with its standard
input).  No root is needed where /dev/fuse may be opened.
"""

import contextlib
import http.client
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
MACHINES = HERE / "machines"


class FakeHostError(Exception):
    """The fake kernel could not be started, or said no to a knob or an event."""


class Write(NamedTuple):
    number: int
    path: str
    value: str
    result: str  # "OK", an errno's name, or "pending"


class Uevent(NamedTuple):
    action: str
    devpath: str
    env: dict


_FOLDERS = {"fakehost": "tests/fakehost", "horcruxd": "src/daemon", "horcrux-privd": "src/privd"}


def binary(name="fakehost"):
    """A program: $HORCRUX_FAKEHOST for that one, or in $HORCRUX_BUILD, or where meson builds it."""
    build = HERE.parent.parent / "build"
    places = [os.environ.get("HORCRUX_FAKEHOST")] if name == "fakehost" else []
    if "HORCRUX_BUILD" in os.environ:
        places.append(os.path.join(os.environ["HORCRUX_BUILD"], name))
    places += [build / d / _FOLDERS[name] / name for d in ("meson", "check", ".")]
    for place in places:
        if place and os.access(place, os.X_OK):
            return str(place)
    raise FakeHostError(f"{name} is not built (or set HORCRUX_BUILD to its folder)")


def require_fuse():
    """Raises with the reason where FUSE cannot be used: tests must fail then, not skip."""
    if not shutil.which("fusermount3"):
        raise FakeHostError("fusermount3 is not installed (package fuse3)")
    try:
        os.close(os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC))
    except OSError as e:
        raise FakeHostError(f"/dev/fuse cannot be opened: {e.strerror}") from e


def machine_text(machine):
    """The description: a name of machines/, a path, or the text itself (with newlines)."""
    text = str(machine)
    if "\n" in text:
        return text
    path = Path(text) if "/" in text else MACHINES / f"{text}.machine"
    return path.read_text()


def many_machine(cards=64, driver="radeon"):
    """A machine of so many cards of two functions each, for benchmarks."""
    lines = [
        "machine many", "kernel 6.12.107", "cpu intel count=8", "memory 65536", "iommu dmar",
        f"drivers pcieport vfio-pci {driver} snd_hda_intel",
    ]
    for i in range(cards):
        bus, port = i + 1, f"0000:00:{i // 8 + 1:02x}.{i % 8}"
        lines += [
            f"pci {port} 8086:1901 0604 driver=pcieport group={2 * i}",
            f"pci 0000:{bus:02x}:00.0 1002:5159 0300 sub=1af4:{i:04x} under={port} "
            f"driver={driver} group={2 * i + 1} reset=flr,bus bar0=256M:64:pref bar2=2M:64:pref",
            f"pci 0000:{bus:02x}:00.1 1002:aab0 0403 sub=1af4:{i:04x} under={port} "
            f"driver=snd_hda_intel group={2 * i + 1} reset=bus bar0=16K",
            f"drm 0000:{bus:02x}:00.0 card={i % 64} render={128 + i % 64}",
            f"sound 0000:{bus:02x}:00.1 card={i % 32}",
        ]
    return "\n".join(lines) + "\n"


def write_tree(machine, directory):
    """The machine as a plain directory: no behaviour, for unit tests and benchmarks."""
    subprocess.run([binary(), "--tree", str(directory), "-"], input=machine_text(machine),
                   text=True, check=True)


class FakeHost:
    """One mounted machine.  `knobs` are lines turned before anybody looks."""

    def __init__(self, machine, knobs=(), uevents=True, uevent_path=None):
        """uevents=False: somebody else listens, at `uevent_path` (default: in our directory)."""
        require_fuse()
        self.uevent_path = str(uevent_path) if uevent_path else None
        self.text = machine_text(machine)
        self.knobs = list(knobs)
        self.wants_uevents = uevents
        self.directory = None
        self.process = None
        self.socket = None

    # ---- life ----

    def __enter__(self):
        self.directory = tempfile.mkdtemp(prefix="fakehost-")
        self.root = os.path.join(self.directory, "root")
        os.mkdir(self.root)
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *exception):
        self.close()

    def _start(self):
        self.uevent_path = self.uevent_path or os.path.join(self.directory, "uevents")
        if self.wants_uevents:
            self.listen()
        machine = os.path.join(self.directory, "machine")
        names = (HERE.parent / "pci.ids").read_text().replace("\n", "\\n")
        Path(machine).write_text(f'{self.text}\nfile /usr/share/misc/pci.ids "{names}"\n')
        argv = [binary(), "--watch-stdin", f"--uevents={self.uevent_path}"]
        argv += [f"--knob={k}" for k in self.knobs]
        if os.geteuid() == 0:
            argv.append("--allow-other")
        self.errors = tempfile.TemporaryFile()
        self.process = subprocess.Popen(argv + [machine, self.root], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=self.errors)
        ready, _, _ = select.select([self.process.stdout], [], [], 20)
        if not ready or self.process.stdout.readline() != b"ready\n":
            raise FakeHostError(f"the fake kernel did not start: {self._complaint()}")

    def _complaint(self):
        self.errors.seek(0)
        return self.errors.read().decode(errors="replace").strip() or "no reason given"

    def close(self):
        """Unmounts, at once and also under blocked writers (they get ENOTCONN)."""
        if self.process:
            self._unmount()
            self.process = None
        if self.socket:
            self.socket.close()
            self.socket = None
        if self.directory:
            with contextlib.suppress(OSError):
                os.rmdir(self.root)  # never into a mount that would not go
                shutil.rmtree(self.directory)
            self.directory = None

    def _unmount(self):
        p = self.process
        p.send_signal(signal.SIGTERM)
        try:
            p.wait(5)
        except subprocess.TimeoutExpired:
            p.kill()
            p.wait()
        if os.path.ismount(self.root) or not self._reachable():
            subprocess.run(["fusermount3", "-u", "-z", "-q", self.root], check=False)
        for f in (p.stdin, p.stdout, self.errors):
            f.close()

    def _reachable(self):
        try:
            os.stat(self.root)
        except OSError:
            return False
        return True

    def alive(self):
        return self.process is not None and self.process.poll() is None

    # ---- files ----

    def path(self, name=""):
        """A path within the mount, for a path of the machine."""
        return os.path.join(self.root, str(name).lstrip("/"))

    def device(self, address, name=""):
        return self.path(f"sys/bus/pci/devices/{address}/{name}")

    def read(self, name):
        with open(self.path(name), "rb") as f:
            return f.read().decode(errors="surrogateescape")

    def write(self, name, value):
        """One write(), as `echo -n` does it; raises OSError with the kernel's errno."""
        fd = os.open(self.path(name), os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, value.encode())
        finally:
            os.close(fd)

    def driver(self, address):
        try:
            return os.path.basename(os.readlink(self.device(address, "driver")))
        except FileNotFoundError:
            return None

    def world(self):
        """What taking a card changes: {address: (driver, driver_override, power/control, D3cold)}."""
        def word(address, name):
            try:
                return self.read(f"sys/bus/pci/devices/{address}/{name}").strip()
            except FileNotFoundError:
                return None
        return {a: (self.driver(a), word(a, "driver_override"), word(a, "power/control"),
                    word(a, "d3cold_allowed")) for a in os.listdir(self.path("sys/bus/pci/devices"))}

    def start_write(self, name, value):
        """The same in a process of its own, for writes that may never come back."""
        return subprocess.Popen(["/usr/bin/python3", "-c", _WRITER, self.path(name), value],
                                stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)

    # ---- control ----

    def _control(self, name, text):
        try:
            self.write(f".fake/{name}", text)
        except OSError as e:
            reason = self.read(".fake/error").strip()
            raise FakeHostError(f"{text!r}: {reason or e.strerror}") from e

    def knob(self, line):
        self._control("knobs", line + "\n")

    def event(self, line):
        self._control("event", line + "\n")

    def write_log(self):
        rows = (line.split("\t") for line in self.read(".fake/writes").splitlines())
        return [Write(int(n), path, value, result) for n, path, value, result in rows]

    def writes(self):
        """The log in short: ["0000:01:00.0/d3cold_allowed=0", "vfio-pci/bind=0000:01:00.0"]."""
        return ["/".join(w.path.replace("/power/", "/power-").split("/")[-2:]) + "=" + w.value
                for w in self.write_log()]

    def clear_write_log(self):
        self.write(".fake/writes", "\n")

    def reads(self):
        """{path: (opens, reads)} since the last clear_reads()."""
        counts = {}
        for line in self.read(".fake/reads").splitlines():
            row = line.split("\t")
            if len(row) == 3:
                counts[row[2]] = (int(row[0]), int(row[1]))
        return counts

    def wakes(self):
        """Addresses of sleeping functions that a read woke, since the last clear_reads()."""
        rows = (line.split("\t") for line in self.read(".fake/reads").splitlines())
        return [row[1] for row in rows if row[0] == "wake"]

    def clear_reads(self):
        self.write(".fake/reads", "\n")

    # ---- uevents ----

    def listen(self):
        """Receives uevents here; a daemon under test binds `uevent_path` itself instead."""
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.socket.bind(self.uevent_path)

    def uevents(self, wait=0.0):
        """All that have come by now, or within `wait` seconds of silence."""
        events = []
        while select.select([self.socket], [], [], wait)[0]:
            events.append(parse_uevent(self.socket.recv(65536)))
        return events

    def uevent_counts(self):
        """{"seqnum": n, "sent": n, "dropped": n, "queued": n}; dropped: nobody took them."""
        return {k: int(n) for k, n in (row.split() for row in
                                       self.read(".fake/uevents").splitlines())}

    def wait_for(self, condition, seconds=5.0):
        """Polls; for what happens in other processes.  False when time is up."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if condition():
                return True
            time.sleep(0.01)
        return bool(condition())


_WRITER = """
import errno, os, sys
fd = os.open(sys.argv[1], os.O_WRONLY)
try:
    os.write(fd, sys.argv[2].encode())
    print("OK")
except OSError as e:
    print(errno.errorcode[e.errno])
"""


def parse_uevent(data):
    """A datagram in the kernel's netlink format."""
    head, *rest = data.rstrip(b"\0").decode().split("\0")
    action, devpath = head.split("@", 1)
    return Uevent(action, devpath, dict(line.split("=", 1) for line in rest))


# ---- horcruxd on it ----

class Reply:
    """What came back over HTTP."""

    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def json(self):
        return json.loads(self.body)

    def refusals(self):
        """{code: refusal}, of a 409 or of a dry run; the first where a code is there twice."""
        said = self.json()
        rows = said["plan"]["refusals"] if "plan" in said else said.get("refusals", [])
        return {row["code"]: row for row in reversed(rows)}

    def __repr__(self):
        return f"<{self.status} {self.body.decode(errors='replace')}>"


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Daemon:
    """
    horcruxd and the horcrux-privd that it starts, on a FakeHost(…, uevents=False). What they keep lies
    beside the mount and outlives stop() and kill(), so start() is a restart.

    cap: milliseconds that privd gives any operation (its own --deadline-cap); helper=False: there is none.
    conftest.py shows what those that are `alive`, and those that `ended` in a test that fails, have said.
    """

    CAP = 1500
    alive, ended = [], []

    def __init__(self, host, *flags, cap=0, helper=True):
        self.host = host
        self.flags = flags
        self.state = os.path.join(host.directory, "state")
        self.log_path = os.path.join(host.directory, "log")
        self.socket_path = os.path.join(self.state, "api.sock")
        self.process = None
        self.alive.append(self)
        self._lay_programs(os.path.join(host.directory, "bin"), cap, helper)
        os.symlink(os.path.join(self.state, "uevent.sock"), host.uevent_path)

    def _lay_programs(self, folder, cap, helper):
        """The daemon starts the helper that lies beside it; here that is one told to be quick."""
        os.mkdir(folder)
        self.program = os.path.join(folder, "horcruxd")
        try:
            os.link(binary("horcruxd"), self.program)
        except OSError:
            shutil.copy2(binary("horcruxd"), self.program)
        if not helper:
            return
        with open(os.path.join(folder, "horcrux-privd"), "w", encoding="utf-8") as f:
            option = f"--deadline-cap={cap} " if cap else ""
            f.write(f'#!/bin/sh\nexec {binary("horcrux-privd")} {option}"$@"\n')
        os.chmod(f.name, 0o755)

    # ---- life ----

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *unused):
        try:
            self.stop()
        finally:
            self.alive.remove(self)
            self.ended.append(self.story())

    def start(self, fault=None, wait=True, **env):
        """fault: the words after "kill:" of HORCRUX_FAULT. wait=False: not until it answers."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith("HORCRUX_")}
        if fault:
            environment["HORCRUX_FAULT"] = "kill:" + fault
        environment.update(env)
        argv = [self.program, "--dev", f"--host-root={self.host.root}", f"--state-dir={self.state}",
                "--listen=none", "--libvirt=none", *self.flags]
        with open(self.log_path, "ab") as log:
            log.write(f"---- {fault or 'start'}\n".encode())
            log.flush()
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            env=environment)
        if wait:
            self._await_socket()

    def _await_socket(self):
        end = time.monotonic() + 20
        while not self._answers():
            assert self.process.poll() is None, f"the daemon ended with {self.process.returncode}"
            assert time.monotonic() < end, "the daemon does not listen"
            time.sleep(0.005)

    def _answers(self):
        with socket.socket(socket.AF_UNIX) as s:
            return s.connect_ex(self.socket_path) == 0

    def stop(self, seconds=10):
        """Ends it in the ordinary way. What a sanitizer found fails here."""
        process, self.process = self.process, None
        if process and process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise AssertionError("the daemon does not stop") from None
            assert process.returncode == 0, f"the daemon ended with {process.returncode}"
        for word in ("Sanitizer", "runtime error"):
            assert word not in self.log(), "a sanitizer found something"

    def kill(self):
        """kill -9; the helper sees that and ends."""
        process, self.process = self.process, None
        process.kill()
        process.wait()

    def await_death(self, seconds=10):
        """Of a daemon with a fault."""
        process, self.process = self.process, None
        try:
            status = process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError("the daemon did not kill itself") from None
        assert status == -signal.SIGKILL, f"the daemon ended with {status}"

    def helper(self):
        """The pid of its horcrux-privd; 0: none was started yet."""
        with contextlib.suppress(FileNotFoundError, IndexError):
            return int(Path(self.state, "run/privd.pid").read_text().split()[0])
        return 0

    def kill_helper(self):
        assert self.host.wait_for(self.helper, 20), "there is no helper"    # pid 0 would be ourselves
        os.kill(self.helper(), signal.SIGKILL)

    def log(self):
        with contextlib.suppress(FileNotFoundError):
            return Path(self.log_path).read_text(errors="replace")
        return ""

    def story(self):
        """The log, and what was written to the host; for looking at."""
        try:
            writes = [f"{w.path} {w.value} {w.result}" for w in self.host.write_log()]
        except OSError:
            writes = []
        return self.log()[-12000:], "\n".join(writes)

    def memory(self):
        """KiB: (private, resident) of the daemon."""
        with open(f"/proc/{self.process.pid}/smaps_rollup", encoding="ascii") as f:
            rows = dict(line.split(":") for line in f.read().splitlines()[1:])
        kib = {k: int(v.split()[0]) for k, v in rows.items()}
        return kib["Private_Clean"] + kib["Private_Dirty"], kib["Rss"]

    # ---- asking it ----

    def call(self, method, path, body=None, headers=None, timeout=30):
        """body: bytes as they are, anything else as JSON."""
        connection = _UnixConnection(self.socket_path, timeout)
        sent = dict(headers or {})
        if body is not None:
            sent.setdefault("Content-Type", "application/json")
            if not isinstance(body, bytes):
                body = json.dumps(body)
        try:
            connection.request(method, path, body=body, headers=sent)
            got = connection.getresponse()
            return Reply(got.status, got.headers, got.read())
        finally:
            connection.close()

    def get(self, path, **kw):
        return self.call("GET", path, **kw)

    def post(self, path, body=None, **kw):
        return self.call("POST", path, body, **kw)

    def device(self, address):
        return self.get(f"/api/gpu/devices/{address}").json()

    def bind(self, address, body=None, query="", **kw):
        return self.post(f"/api/gpu/devices/{address}/bind-vfio{query}", body, **kw)

    def release(self, address, body=None, query="", **kw):
        return self.post(f"/api/gpu/devices/{address}/unbind-vfio{query}", body, **kw)

    def tasks(self):
        return self.get("/api/tasks").json()

    def last_task(self):
        return self.tasks()[-1]

    def settled(self, seconds=20):
        """All tasks, once none of them is queued or running."""
        found = []

        def over():
            found[:] = self.tasks()
            return not [t for t in found if t["state"] in ("queued", "running")]
        assert self.host.wait_for(over, seconds), found
        return found

    # ---- what it keeps ----

    def _records(self, folder):
        lines = Path(self.state, folder, "journal").read_text().splitlines()
        return [json.loads(line[17:]) for line in lines]

    def unfinished(self):
        """Ids of tasks that the journal holds for begun and not over."""
        rows = self._records("run") + self._records("private")
        begun = {r["task"] for r in rows if r["r"] == "task"}
        return begun - {r["task"] for r in rows if r["r"] == "end"}

    def taken(self):
        """The table taken: {address: what it was}."""
        rows = {r["key"]: r["value"] for r in self._records("run") if r["r"] == "taken"}
        return {k: v for k, v in rows.items() if v is not None}
