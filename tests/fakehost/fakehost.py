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


def binary():
    """The program: $HORCRUX_FAKEHOST, or in $HORCRUX_BUILD, or where meson builds it."""
    build = HERE.parent.parent / "build"
    places = [os.environ.get("HORCRUX_FAKEHOST")]
    if "HORCRUX_BUILD" in os.environ:
        places.append(os.path.join(os.environ["HORCRUX_BUILD"], "fakehost"))
    places += [build / d / "tests/fakehost/fakehost" for d in ("meson", "check", ".")]
    for place in places:
        if place and os.access(place, os.X_OK):
            return str(place)
    raise FakeHostError("fakehost is not built (or set HORCRUX_FAKEHOST to it)")


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
        Path(machine).write_text(self.text)
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


# ---- Daemon: horcruxd on a FakeHost goes here ----
#
# class Daemon(host, state): starts `horcruxd --dev --host-root=host.root --state-dir=state
# --listen=127.0.0.1:PORT --libvirt=none`, and ends it, by pid, on every way out.  The daemon binds
# its own uevent socket: give FakeHost(machine, uevents=False, uevent_path=SOCKET) then.
