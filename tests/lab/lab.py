# SPDX-License-Identifier: Apache-2.0
"""The lab's hosts: virtual machines with an emulated IOMMU and emulated cards, driven over ssh.

    with Machine() as m:
        m.start("trixie-intel")
        print(m.ssh("lspci -nn").out)

A host of kind *-intel is restored in seconds from a snapshot taken once after a cold boot; those of
kind *-amd boot (an emulated AMD IOMMU cannot be saved). Whatever a Machine starts (QEMU, ssh, the
servers of emulated cards) dies with this process, also when it is killed; its folder goes at stop(),
or, after a kill, when the next Machine starts. Use a Machine from the main thread alone: the kernel
ties a child's death signal to the thread that made it.
"""

import atexit
import collections
import contextlib
import fcntl
import http.client
import json
import os
import pathlib
import re
import shlex
import shutil
import socket
import subprocess
import tempfile
import time

import build
import images
import trees
from cache import HERE, LabError, artefact, cache_dir, keep_newest, key_of, remove, say
from qmp import Qmp

Kind = collections.namedtuple("Kind", "dist iommu kernel")
KINDS = {
    "trixie-intel": Kind("trixie", "intel", ""),
    "trixie-amd": Kind("trixie", "amd", ""),
    "bookworm-intel": Kind("bookworm", "intel", ""),
    "bookworm-amd": Kind("bookworm", "amd", ""),
    # The kernel of the backports disables AMD's interrupt remapping on this board.
    "trixie-amd-bpo": Kind("trixie", "amd", "-bpo"),
    "trixie-intel-bpo": Kind("trixie", "intel", "-bpo"),
}
MEMORY = os.environ.get("HORCRUX_LAB_MEMORY", "3G")
CPUS = os.environ.get("HORCRUX_LAB_CPUS", "2")
PREFIX = "hx-lab-"
SPARE_PORTS = ["rp4", "rp5", "rp6", "rp7", "rp8"]

def patience(seconds):
    """A time limit for a machine as busy as this one is: limits are for two cores that do this alone."""
    return seconds * min(8, max(1, os.getloadavg()[0] / (os.cpu_count() or 1)))


Result = collections.namedtuple("Result", "rc out err")
Answer = collections.namedtuple("Answer", "status headers body")


def qemu_program(name):
    """The argv head that runs a program of the tools tree with its own libraries, without chroot."""
    tree = trees.tools("trixie")
    libs = tree / "usr/lib/x86_64-linux-gnu"
    return [str(libs / "ld-linux-x86-64.so.2"), "--library-path", str(libs), str(tree / "usr/bin" / name)]


def qemu_argv(kind, folder, boot, disk):
    """The machine: what it is made of does not depend on who starts it, so that a snapshot fits."""
    tree = trees.tools("trixie")
    cmdline = "root=/dev/vda rw console=ttyS0 quiet"
    # The host driver of NVIDIA's cards knows none of ours, and takes ten seconds to load and say so.
    cmdline += " modprobe.blacklist=nouveau"
    if kind.iommu == "intel":
        iommu = "intel-iommu,intremap=on,caching-mode=on,aw-bits=48"
        cmdline += " intel_iommu=on iommu=pt systemd.show_status=0"
    else:
        iommu = "amd-iommu,intremap=on"
        # loaded for the Radeon by its class, drives nothing here, and takes long: a host that boots
        # for every run goes without it, and says how far it came
        cmdline += " modprobe.blacklist=amdgpu systemd.show_status=1"
    argv = qemu_program("qemu-system-x86_64")
    argv += ["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none",
             "-L", str(tree / "usr/share/qemu"), "-L", str(tree / "usr/share/seabios"),
             "-L", str(tree / "usr/lib/ipxe/qemu"),
             "-machine", "q35,kernel-irqchip=split,memory-backend=ram",
             "-accel", "tcg,thread=multi", "-cpu", "max,svm=off", "-smp", CPUS, "-m", MEMORY,
             "-object", f"memory-backend-memfd,id=ram,size={MEMORY},share=on",
             "-serial", f"file:{folder}/serial.log",
             "-qmp", f"unix:{folder}/qmp,server=on,wait=off",
             "-kernel", str(boot / f"vmlinuz{kind.kernel}"),
             "-initrd", str(boot / f"initrd{kind.kernel}"), "-append", cmdline,
             "-drive", f"file={disk},if=none,id=disk,cache=unsafe,discard=unmap",
             "-device", iommu, "-device", "virtio-blk-pci,drive=disk",
             "-netdev", "user,id=net,net=10.77.0.0/24,host=10.77.0.2,dns=10.77.0.3,ipv6=off,"
                        "hostfwd=tcp:127.0.0.1:0-10.77.0.15:22",
             "-device", "virtio-net-pci,netdev=net,romfile=",
             # tells the kernel of a restored copy to make new random numbers
             "-device", "vmgenid,guid=auto",
             # controllers of namespaces that a plugged nvme of several functions shares
             "-device", "nvme-subsys,id=nvme-subsys,nqn=lab"]
    for number in range(1, 4 + len(SPARE_PORTS)):
        port = f"pcie-root-port,id=rp{number},chassis={number},slot={number}"
        if f"rp{number}" in SPARE_PORTS:
            # room for the BARs of a card that comes later
            port += ",mem-reserve=64M,pref64-reserve=1G"
        argv += ["-device", port]
    for device in ("VGA",
                   f"ati-vga,model=rv100,bus=rp1,addr=0.0,multifunction=on,romfile={images.radeon_rom()}",
                   "intel-hda,bus=rp1,addr=0.1",
                   "bochs-display,bus=rp2",
                   "pcie-pci-bridge,id=pb,bus=rp3",
                   "secondary-vga,bus=pb,addr=1",
                   "e1000,bus=pb,addr=2,romfile="):
        argv += ["-device", device]
    return argv


def overlay(disk, base, form):
    argv = qemu_program("qemu-img") + ["create", "-q", "-f", "qcow2", "-F", form]
    subprocess.run(argv + ["-b", os.path.relpath(base, disk.parent), str(disk)], check=True,
                   stdin=subprocess.DEVNULL)


WARM_UP = """set -eu
udevadm settle --timeout=120
systemctl is-system-running --wait >/dev/null || true
virsh -q domcapabilities --virttype qemu --machine q35 >/dev/null
virsh -q list >/dev/null
"""
# QEMU does not save the emulated Radeon at all: it comes back as after power-on. So its driver lets go
# of it before, and takes it up again after, its config space put back as it was.
BEFORE_SAVE = """set -eu
cd /sys/bus/pci/devices/0000:01:00.0
[ "$(cat vendor device)" = "$(printf '0x1002\\n0x5159')" ]
echo 0000:01:00.0 >driver/unbind
cat config >/root/radeon-config
udevadm settle --timeout=60
sync
"""
AFTER_RESTORE = """set -eu
date -s @{now} >/dev/null
cat /root/radeon-config >/sys/bus/pci/devices/0000:01:00.0/config
echo 0000:01:00.0 >/sys/bus/pci/drivers/radeon/bind
"""


def save(machine, part, backing):
    """Saves a running host into the folder `part`: memory, and the disk over `backing` (name, format)."""
    machine.ssh(BEFORE_SAVE, timeout=120)
    machine.close_ssh()
    machine.qmp("stop")
    machine.qmp("migrate-set-capabilities",
                {"capabilities": [{"capability": "mapped-ram", "state": True}]})
    machine.qmp("migrate", {"uri": f"file:{part}/memory"})
    while True:
        status = machine.qmp("query-migrate")
        if status.get("status") == "completed":
            break
        if status.get("status") in ("failed", "cancelled"):
            raise LabError(f"the host could not be saved: {status}")
        time.sleep(0.1)
    machine.qmp("quit")
    machine.process.wait(20)
    disk = part / "disk.qcow2"
    shutil.move(machine.folder / "disk.qcow2", disk)
    # its backing file is named from where the snapshot will lie
    subprocess.run(qemu_program("qemu-img") + ["rebase", "-u", "-F", backing[1], "-b",
                   f"../{backing[0]}", str(disk)], check=True, stdin=subprocess.DEVNULL)


@contextlib.contextmanager
def to_be_saved(part):
    """A Machine for a snapshot; what it told is kept where the making failed."""
    part.mkdir()
    with Machine() as machine:
        try:
            yield machine
        except Exception:       # not where somebody stops it: they would have to wait
            kept = machine.collect(part.parent / "logs" / part.name)
            say(f"what the host told is in {kept}")
            raise


def drop_stale(name, key, below):
    """Removes a snapshot that is older than the disk it lies on: somebody made that one again, under
    the same name but with other blocks."""
    path = cache_dir() / f"{name}-{key}"
    with contextlib.suppress(FileNotFoundError):
        if (path / "disk.qcow2").stat().st_mtime < below.stat().st_mtime:
            say(f"{path.name} is older than what it lies on")
            remove(path)


def make_booted(part, image, kind):
    """Boots once, and fills the caches that a host in use has filled."""
    with to_be_saved(part) as machine:
        machine.boot(kind, image, image / "disk.img", "raw")
        machine.ssh(WARM_UP, timeout=300)
        save(machine, part, (f"{image.name}/disk.img", "raw"))


def booted(dist, kernel=""):
    """The snapshot of a stock host without Horcrux."""
    kind = Kind(dist, "intel", kernel)
    image = images.host_image(dist)
    key = key_of(qemu_argv, save, make_booted, WARM_UP, BEFORE_SAVE, image.name,
                 images.radeon_rom().name, trees.tools("trixie").name, MEMORY, CPUS, SPARE_PORTS, kernel)
    drop_stale(f"booted-{dist}{kernel}", key, image / "disk.img")
    return artefact(f"booted-{dist}{kernel}", key, lambda part, log: make_booted(part, image, kind))


def make_ready(part, kind, image, base, package):
    with to_be_saved(part) as machine:
        machine.restore(kind, image, base)
        machine.push(package, "/root/horcrux.deb", mode="644")
        machine.ssh(INSTALL, timeout=300)
        machine.wait(ANSWERS, timeout=60, what="the installed horcruxd answers")
        save(machine, part, (f"{base.name}/disk.qcow2", "qcow2"))


INSTALL = "DEBIAN_FRONTEND=noninteractive dpkg -i /root/horcrux.deb"
ANSWERS = "curl -fsS --unix-socket /run/horcrux/api.sock http://localhost/api/version"


def ready(dist, kernel="", quick=False):
    """The snapshot of a host in which the package of the tree as it is now was installed.

    quick: one with any package of the same packaging will do, where the right one is not there: the
    caller then puts what is compiled from the tree over it. (path, whether that is needed)
    """
    base = booted(dist, kernel)
    image = images.host_image(dist)
    kind = Kind(dist, "intel", kernel)
    recipe = (make_ready, save, BEFORE_SAVE, INSTALL, base.name)
    name = f"ready-{dist}{kernel}"

    def make(part, _log):
        make_ready(part, kind, image, base, build.package(dist))

    key = key_of(*recipe, build.package_key(dist))
    drop_stale(name, key, base / "disk.qcow2")
    if quick and not (cache_dir() / f"{name}-{key}").exists():
        name, key = f"quick-{dist}{kernel}", key_of(*recipe, build.packaging_key())
        drop_stale(name, key, base / "disk.qcow2")
        return artefact(name, key, make), True
    path = artefact(name, key, make)
    keep_newest(f"{name}-", 3, path)
    return path, False


# A host that boots has the disk of the Intel host, whose ports have other addresses: with its records
# every card would count as one that was moved, which is refused until somebody says that it is right.
FORGET = """set -eu
systemctl stop horcruxd.service
rm -f /var/lib/horcrux/private/*
systemctl start horcruxd.service
"""
UPDATE = """set -eu
systemctl stop horcruxd.service horcrux-privd.service
tar -C / --no-overwrite-dir -xf -
systemctl start horcruxd.service
"""


def sweep():
    """Removes the folders that killed processes left: those whose lock nobody holds."""
    for folder in pathlib.Path(tempfile.gettempdir()).glob(PREFIX + "*"):
        with contextlib.suppress(OSError), open(folder / "lock", "r+") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)


class Machine:
    """One lab host. Not started until start(); stop() is safe at any time and any number of times."""

    live = []

    def __init__(self):
        sweep()
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix=PREFIX))
        self.lock = open(self.folder / "lock", "w")
        fcntl.flock(self.lock, fcntl.LOCK_EX)
        self.process = self.master = self.port = self._qmp = None
        self.servers = {}
        self.ports = {}
        self.kind = None
        Machine.live.append(self)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.stop()

    # -- life -------------------------------------------------------------------------------

    def start(self, kind="trixie-intel", horcrux=True):
        """A host of the named kind, with a working ssh, with Horcrux installed or without."""
        want = KINDS[kind]
        image = images.host_image(want.dist)
        # one that boots does so from the disk of the Intel host, whose caches are full
        kernel = want.kernel if want.iommu == "intel" else ""
        if horcrux:
            saved, stale = ready(want.dist, kernel, bool(os.environ.get("HORCRUX_LAB_QUICK")))
        else:
            saved, stale = booted(want.dist, kernel), False
        files = build.compiled(want.dist).read_bytes() if stale else None
        began = time.monotonic()
        if want.iommu == "intel":
            self.restore(want, image, saved)
        else:
            self.boot(want, image, saved / "disk.qcow2", "qcow2")
        if files:
            self.ssh(UPDATE, timeout=60, stdin=files)
        if horcrux and want.iommu != "intel":
            self.ssh(FORGET, timeout=60)
        if horcrux:
            self.wait(ANSWERS, timeout=120, what="horcruxd answers")
        say(f"{kind}: up in {time.monotonic() - began:.1f} s")
        return self

    def boot(self, kind, image, base, form):
        """From power-on. Emulated, AMD's machine has hung in its kernel; so it gets a second try."""
        for last in (False, True):
            self._overlay(base, form)
            self._launch(kind, image, [])
            try:
                return self._connect(240)
            except LabError as hung:
                if last:
                    raise
                say(f"a second try: {hung}")
                self._end()

    def reboot(self, *more):
        """The host boots anew, from its own disk. Cards that were plugged are not there any more; more: words
        for QEMU, with those that are."""
        self.ssh("systemctl --no-block reboot")
        self.process.wait(patience(120))        # it does not reset, it ends
        self._end()
        self._launch(self.kind, images.host_image(self.kind.dist), list(more))
        self._connect(240)

    def restore(self, kind, image, saved):
        self._overlay(saved / "disk.qcow2", "qcow2")
        self._launch(kind, image, ["-incoming", "defer"])
        self.qmp("migrate-set-capabilities",
                 {"capabilities": [{"capability": "mapped-ram", "state": True}]})
        self.qmp("migrate-incoming", {"uri": f"file:{saved}/memory"})
        while self.qmp("query-status")["status"] == "inmigrate":
            time.sleep(0.02)
        self.qmp("cont")
        self._connect(60)
        self.ssh(AFTER_RESTORE.format(now=f"{time.time():.3f}"))

    def _overlay(self, base, form):
        overlay(self.folder / "disk.qcow2", base, form)

    def _launch(self, kind, image, more):
        self.kind = kind
        argv = qemu_argv(kind, self.folder, image, self.folder / "disk.qcow2") + more
        self.process = self.child(argv, "qemu.log")
        self._qmp = Qmp(self.folder / "qmp")
        for line in self.qmp("human-monitor-command", {"command-line": "info usernet"}).splitlines():
            if "HOST_FORWARD" in line:
                self.port = int(line.split()[3])
        if not self.port:
            raise LabError("QEMU forwards no port to the host's ssh")

    def child(self, argv, log):
        """Starts a program that dies with this process, its output in the file `log`."""
        with open(self.folder / log, "ab") as out:
            return subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "--"] + argv, stdout=out,
                                    stderr=out, stdin=subprocess.DEVNULL, start_new_session=True)

    def _end(self):
        self.close_ssh()
        if self._qmp:
            self._qmp.close()
            self._qmp = None
        for child in [self.process] + list(self.servers.values()):
            if child and child.poll() is None:
                child.kill()
                child.wait(20)
        self.process = None
        self.servers = {}
        (self.folder / "qmp").unlink(missing_ok=True)

    def stop(self):
        self._end()
        if self.folder.exists():
            shutil.rmtree(self.folder, ignore_errors=True)
        self.lock.close()
        # last: one that was interrupted in here is stopped again when this process ends
        if self in Machine.live:
            Machine.live.remove(self)

    # -- ssh --------------------------------------------------------------------------------

    def ssh_argv(self, *options):
        return ["ssh", "-F", "none", "-S", str(self.folder / "ssh"), "-o", "BatchMode=yes",
                "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
                "-o", "LogLevel=ERROR", "-o", "IdentitiesOnly=yes", "-o", "KexAlgorithms=curve25519-sha256", "-o", "ConnectTimeout=30",
                "-i", str(images.ssh_key()), "-p", str(self.port), *options, "root@127.0.0.1"]

    def _alive(self):
        if self.process.poll() is not None:
            tail = (self.folder / "qemu.log").read_text(errors="replace")[-2000:]
            raise LabError(f"QEMU ended with {self.process.returncode}:\n{tail}")

    def _connect(self, timeout):
        """Waits for the banner, then opens the one connection that every ssh() shares."""
        end = time.monotonic() + patience(timeout)
        while True:
            self._alive()
            with contextlib.suppress(OSError):
                with socket.create_connection(("127.0.0.1", self.port), 2) as sock:
                    sock.settimeout(10)
                    if sock.recv(64).startswith(b"SSH-"):
                        break
            if time.monotonic() > end:
                raise LabError(f"the host did not come up within {timeout} s:\n{self._how_it_hangs()}")
            time.sleep(0.1)
        self.master = self.child(self.ssh_argv("-M", "-N", "-o", "ServerAliveInterval=15"), "ssh.log")
        while not (self.folder / "ssh").exists():
            if self.master.poll() is not None or time.monotonic() > end:
                log = (self.folder / "ssh.log").read_text(errors="replace")
                raise LabError(f"ssh into the host failed:\n{log}")
            time.sleep(0.02)

    def _how_it_hangs(self):
        """The end of what it said, and where its processors are: twice, to tell who moves."""
        text = (self.folder / "serial.log").read_text(errors="replace")[-2000:]
        for _ in range(2):
            with contextlib.suppress(LabError, OSError):
                said = self.qmp("human-monitor-command", {"command-line": "info registers -a"}, 10)
                text += "\n" + " ".join(re.findall(r"CPU#\d+|RIP=\w+|RFL=\w+|HLT=\d", said))
            time.sleep(1)
        return text

    def close_ssh(self):
        self.ports = {}
        if self.master:
            self.master.kill()
            self.master.wait(10)
            self.master = None
            with contextlib.suppress(FileNotFoundError):
                (self.folder / "ssh").unlink()

    def ssh(self, command, check=True, timeout=60, stdin=None):
        """Runs a shell command as root in the host; Result(rc, out, err), LabError if it failed."""
        data = stdin.encode() if isinstance(stdin, str) else stdin
        timeout = patience(timeout)
        try:
            done = subprocess.run(self.ssh_argv() + [command], timeout=timeout, capture_output=True,
                                  **({"input": data} if data is not None
                                     else {"stdin": subprocess.DEVNULL}))
        except subprocess.TimeoutExpired as late:
            self._alive()
            raise LabError(f"no end within {timeout:.0f} s in the host: {command}\n"
                           f"{(late.stdout or b'').decode(errors='replace')}"
                           f"{(late.stderr or b'').decode(errors='replace')}") from late
        result = Result(done.returncode, done.stdout.decode(errors="replace"),
                        done.stderr.decode(errors="replace"))
        if check and result.rc:
            self._alive()
            raise LabError(f"failed with {result.rc} in the host: {command}\n{result.out}{result.err}")
        return result

    def push(self, path, dest, mode="755"):
        """Copies a file, or bytes, to the host."""
        data = path if isinstance(path, bytes) else pathlib.Path(path).read_bytes()
        dest = shlex.quote(str(dest))
        self.ssh(f"mkdir -p $(dirname {dest}) && cat >{dest}.new && chmod {mode} {dest}.new && "
                 f"mv {dest}.new {dest}", stdin=data)

    def pull(self, path, dest=None):
        """The bytes of a file of the host, also written to `dest` where that is named."""
        done = subprocess.run(self.ssh_argv() + ["cat " + shlex.quote(str(path))], timeout=patience(120),
                              stdin=subprocess.DEVNULL, capture_output=True)
        if done.returncode:
            raise LabError(f"cannot read {path} in the host: {done.stderr.decode(errors='replace')}")
        if dest:
            pathlib.Path(dest).write_bytes(done.stdout)
        return done.stdout

    def forward(self, target):
        """A local port that leads to a port of the host's loopback, through ssh (root there)."""
        for _ in range(5):
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                port = probe.getsockname()[1]
            done = subprocess.run(
                self.ssh_argv("-O", "forward", "-L", f"127.0.0.1:{port}:127.0.0.1:{target}"),
                stdin=subprocess.DEVNULL, capture_output=True)
            if done.returncode == 0:
                return port
        raise LabError(f"ssh forwards no port: {done.stderr.decode(errors='replace')}")

    def api(self, method, path, body=None, headers=None, timeout=120):
        """One call of Horcrux's API on the host's port 8006, as root there. Answer(status, headers, body);
        the body is parsed where it is JSON. `body` is sent as JSON unless it is bytes."""
        if "8006" not in self.ports:
            self.ports["8006"] = self.forward(8006)
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"Host": "localhost:8006", **({"Content-Type": "application/json"} if data else {}),
                **(headers or {})}
        link = http.client.HTTPConnection("127.0.0.1", self.ports["8006"], timeout=patience(timeout))
        try:
            link.request(method, path, data, sent)
            reply = link.getresponse()
            raw, kind = reply.read(), reply.headers.get_content_type()
        except (OSError, http.client.HTTPException) as err:
            raise LabError(f"{method} {path} got no answer: {err!r}") from err
        finally:
            link.close()
        return Answer(reply.status, reply.headers, json.loads(raw) if raw and kind.endswith("json") else raw)

    def wait(self, command, timeout=60, what=None):
        """Polls a shell command until it succeeds; its output."""
        end = time.monotonic() + patience(timeout)
        while True:
            result = self.ssh(command, check=False, timeout=timeout)
            if result.rc == 0:
                return result.out
            if time.monotonic() > end:
                raise LabError(f"not within {timeout} s: {what or command}\n{result.out}{result.err}")
            time.sleep(0.2)

    # -- cards ------------------------------------------------------------------------------

    def qmp(self, command, args=None, timeout=60):
        return self._qmp(command, args, patience(timeout))

    def functions(self):
        """The host's PCI functions: address -> {id, class, driver, group}, read from sysfs."""
        out = self.ssh("""cd /sys/bus/pci/devices && for a in *; do
            read v <$a/vendor; read d <$a/device; read c <$a/class
            driver=$(readlink $a/driver) group=$(readlink $a/iommu_group)
            echo "$a ${v#0x}:${d#0x} ${c#0x} ${driver##*/} ${group##*/}" | sed 's/  / - /'
            done""").out
        found = {}
        for line in out.splitlines():
            address, ids, code, driver, *group = line.split()
            found[address] = {"id": ids, "class": code, "driver": None if driver == "-" else driver,
                              "group": group[0] if group else None}
        return found

    def find(self, ids):
        """The addresses of the functions with these ids (vendor:device), sorted."""
        return sorted(a for a, f in self.functions().items() if f["id"] == ids)

    def plug(self, driver, name, bus, wait_for=None, **props):
        """Hot-plugs a device of QEMU; with wait_for=ids returns its address in the host."""
        before = self.find(wait_for) if wait_for else []
        self.qmp("device_add", {"driver": driver, "id": name, "bus": bus, **props})
        if not wait_for:
            return None
        end = time.monotonic() + patience(30)
        while True:
            new = [a for a in self.find(wait_for) if a not in before]
            if new:
                return new[0]
            if time.monotonic() > end:
                raise LabError(f"{driver} was plugged, but no {wait_for} came up in the host")
            time.sleep(0.2)

    def plug_card(self, name="card", bus="rp5", vendor="10de", device="20b0", options=()):
        """Plugs a card with any ids, served over vfio-user by vfu.py; its address in the host."""
        path = self.folder / f"{name}.vfu"
        argv = ["/usr/bin/python3", str(HERE / "vfu.py"), str(path), "--control",
                str(self.folder / f"{name}.ctl"), "--vendor", vendor, "--device", device, *options]
        self.servers[name] = self.child(argv, f"{name}.log")
        end = time.monotonic() + patience(10)
        while not path.exists():
            if self.servers[name].poll() is not None or time.monotonic() > end:
                log = (self.folder / f"{name}.log").read_text(errors="replace")
                raise LabError(f"the server of {name} did not start:\n{log}")
            time.sleep(0.02)
        return self.plug("vfio-user-pci", name, bus, wait_for=f"{vendor}:{device}",
                         socket={"type": "unix", "path": str(path)})

    def card_fault(self, name, command):
        """Tells the server of a plugged card to misbehave (or to behave): see vfu.py."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(10)
            sock.connect(str(self.folder / f"{name}.ctl"))
            sock.sendall(command.encode() + b"\n")
            return sock.recv(65536).decode().strip()

    def unplug(self, name, timeout=30):
        """Asks the host to let a plugged device go, and waits until it is gone."""
        self.qmp("device_del", {"id": name})
        self._qmp.wait_event("DEVICE_DELETED", lambda data: data.get("device") == name,
                             patience(timeout))

    # -- afterwards ---------------------------------------------------------------------------

    LOGS = {
        "journal": "journalctl -b --no-pager -o short-precise",
        "journal-horcrux": "journalctl -b --no-pager -o short-precise -u 'horcrux*'",
        "journal-libvirt": "journalctl -b --no-pager -o short-precise -u 'libvirt*' -u 'virt*'",
        "dmesg": "dmesg",
        "state": "lspci -nnk; virsh list --all; ps auxf; ls -lR /run/horcrux /var/lib/horcrux",
        "qemu": "tail -n 200 /var/log/libvirt/qemu/*.log",
    }

    def collect(self, folder):
        """Keeps what tells why something failed: the host's console, journal and state."""
        folder = pathlib.Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        for path in self.folder.glob("*.log"):
            shutil.copy(path, folder)
        if not self.master or self.master.poll() is not None:
            return folder
        for name, command in self.LOGS.items():
            with contextlib.suppress(LabError):
                result = self.ssh(command, check=False, timeout=60)
                (folder / f"{name}.txt").write_text(result.out + result.err)
        return folder


def stop_all():
    for machine in list(Machine.live):
        with contextlib.suppress(Exception):
            machine.stop()


atexit.register(stop_all)
