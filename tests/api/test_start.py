# SPDX-License-Identifier: Apache-2.0
"""Starting and stopping: what the daemon refuses to start with, and how quickly it ends."""
import os
import pathlib
import pwd
import re
import signal
import socket
import subprocess
import threading
import time

import pytest
from daemon import Daemon, as_user, lay_programs


def start(tmp_path, *argv, env=None):
    """Runs horcruxd to its end, which must come by itself."""
    path = lay_programs(str(tmp_path / "bin"), helper=False)
    clean = {k: v for k, v in os.environ.items() if k != "HORCRUX_CONFIG"}
    return subprocess.run([path, *argv], env={**clean, **(env or {})}, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=20, check=False)


def dev(tmp_path, *flags):
    return ["--dev", f"--host-root={tmp_path}", f"--state-dir={tmp_path / 'state'}",
            *(flags or ["--listen=127.0.0.1:0"])]


@pytest.mark.parametrize("address", ["0.0.0.0:8006", "192.168.0.1:8006", "[::]:8006", "example.org:80", "8006", ""])
def test_other_addresses_need_what_is_not_there(tmp_path, address):
    done = start(tmp_path, *dev(tmp_path, f"--listen={address}"))
    assert done.returncode == 1
    assert "listen" in done.stderr
    if address and address[0] in "019[":
        assert "TLS" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root is refused for being root")
def test_not_as_root(tmp_path):
    done = start(tmp_path, f"--host-root={tmp_path}")
    assert done.returncode == 1 and "root" in done.stderr


def test_dev_needs_a_state_directory(tmp_path):
    done = start(tmp_path, "--dev", f"--host-root={tmp_path}")
    assert done.returncode == 1 and "--state-dir" in done.stderr


def test_host_root_must_be_there(tmp_path):
    done = start(tmp_path, "--dev", f"--host-root={tmp_path}/no", f"--state-dir={tmp_path}/s")
    assert done.returncode == 1 and f"{tmp_path}/no" in done.stderr


def test_another_root_has_no_libvirt_of_this_machine(tmp_path):
    done = start(tmp_path, *dev(tmp_path, "--libvirt=qemu:///system"))
    assert done.returncode == 1 and "libvirt" in done.stderr


@pytest.mark.parametrize("text, line, says", [
    ("colour = red\n", 1, "colour"), ("\ngroup = a\ngroup = b\n", 3, "group"),
    ("# " + "x" * 189 + "\n", 1, "190"), ("[daemon]\nlisten = none\n", 2, "section"),
    ("trust_loopback = perhaps\n", 1, "trust_loopback"),
])
def test_a_wrong_configuration_is_named_with_its_line(tmp_path, text, line, says):
    path = tmp_path / "horcrux.conf"
    path.write_text(text)
    done = start(tmp_path, *dev(tmp_path), env={"HORCRUX_CONFIG": str(path)})
    assert done.returncode == 1
    assert f"{path}, line {line}: " in done.stderr and says in done.stderr


def test_a_missing_configuration_that_was_named(tmp_path):
    done = start(tmp_path, *dev(tmp_path), env={"HORCRUX_CONFIG": str(tmp_path / "no.conf")})
    assert done.returncode == 1 and "no.conf" in done.stderr


def test_the_configuration_counts(tmp_path, tree):
    path = tmp_path / "horcrux.conf"
    path.write_text("node = from-file\nextra_classes = 0403\n")
    with Daemon(tmp_path, tree.root, helper=False, env={"HORCRUX_CONFIG": str(path)}) as d:
        devices = d.get("/api/gpu/devices").json()
        assert [g["pci_address"] for g in devices] == ["0000:00:1f.3", "0000:01:00.0", "0000:01:00.1"]
        assert d.get("/api/version").json()["node"] == "testnode"   # the flag goes before


def test_help_and_version(tmp_path):
    done = start(tmp_path, "--help")
    assert done.returncode == 0 and "--trust-loopback=VALUE" in done.stdout
    done = start(tmp_path, "--version")
    assert done.returncode == 0 and done.stdout.startswith("horcruxd ")


def test_a_port_that_is_taken(tmp_path):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        done = start(tmp_path, *dev(tmp_path, f"--listen=127.0.0.1:{s.getsockname()[1]}"))
    assert done.returncode == 1 and "cannot listen" in done.stderr


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("helper", [False, True])
def test_it_stops_within_two_seconds(tmp_path, tree, how, helper):
    d = Daemon(tmp_path, tree.root, helper=helper)
    d.start()
    idle = [socket.create_connection(("127.0.0.1", d.port)) for _ in range(20)]
    for s in idle[:10]:
        s.sendall(b"POST /api/gpu/devices/scan HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n")
    process, d.process = d.process, None
    began = time.monotonic()
    process.send_signal(how)
    process.wait(15)
    assert time.monotonic() - began < 2, d.log()
    assert process.returncode == 0, d.log()
    d.check_log()
    assert not os.path.exists(d.socket_path)
    for s in idle:
        s.close()


def test_it_stops_under_load(tmp_path, tree):
    d = Daemon(tmp_path, tree.root)
    d.start()
    over = threading.Event()

    def load(path, method):
        while not over.is_set():
            try:
                d.call(method, path, check=False)
            except OSError:
                return
            except Exception as e:      # the connection ends in the middle of a reply, at worst
                assert type(e).__name__ in ("RemoteDisconnected", "IncompleteRead", "BadStatusLine"), e
                return

    threads = [threading.Thread(target=load, args=a) for a in
               [("/api/gpu/devices", "GET"), ("/api/gpu/devices/scan", "POST")] * 4]
    for t in threads:
        t.start()
    time.sleep(0.5)
    try:
        assert d.stop() < 2
    finally:
        over.set()
        for t in threads:
            t.join()


def test_it_starts_again_in_the_same_state_directory(tmp_path, tree):
    d = Daemon(tmp_path, tree.root, helper=False)
    with d:
        pass
    with d:
        assert d.get("/api/version", unix=True).status == 200
    d.start()
    d.process.kill()
    d.process.wait()
    with d:     # after a crash, too
        assert d.get("/api/version", unix=True).status == 200


def test_two_in_one_state_directory(tmp_path, tree):
    with Daemon(tmp_path, tree.root, helper=False) as d:
        done = start(tmp_path, *[a for a in d.argv[1:] if "listen" not in a], "--listen=127.0.0.1:0")
        assert done.returncode == 1 and "another horcruxd" in done.stderr
        assert d.get("/api/version", unix=True).status == 200     # it did not take the socket away


def settled(daemon):
    """Nobody has looked at a card for so long that nothing is read for anybody any more."""
    with open(f"/proc/{daemon.process.pid}/maps", encoding="utf-8") as f:
        assert not re.search("libasan|libtsan", f.read()), "a sanitizer's own memory and threads say nothing"
    time.sleep(36)


def switches(pid):
    """How often each thread went to sleep, so far."""
    found = {}
    for status in pathlib.Path(f"/proc/{pid}/task").glob("*/status"):
        rows = dict(line.split(":\t") for line in status.read_text("utf-8").splitlines() if ":\t" in line)
        found[f"{rows['Name']} {status.parent.name}"] = int(rows["voluntary_ctxt_switches"])
    return found


@pytest.mark.plain
def test_idle_is_small_and_asleep(tmp_path, tree):
    """At most 8 MiB private and 32 MiB resident; nothing wakes but the timer of the inventory, which is due
    once in these ten seconds at most. Private is what it wrote: clean pages are those of files, and are told
    as private only while no other process happens to have the same libraries."""
    with Daemon(tmp_path, tree.root) as d:
        for _ in range(50):
            d.get("/api/gpu/devices")
        settled(d)
        before = switches(d.process.pid)
        time.sleep(10)
        after = switches(d.process.pid)
        woken = {name: n - before.get(name, 0) for name, n in after.items() if n != before.get(name)}
        assert sum(woken.values()) <= 5, woken
        with open(f"/proc/{d.process.pid}/smaps_rollup", encoding="utf-8") as f:
            rows = dict(line.split(":") for line in f.read().splitlines()[1:])
        kib = {k: int(v.split()[0]) for k, v in rows.items()}
        assert kib["Private_Dirty"] <= 8 * 1024, kib
        assert kib["Rss"] <= 32 * 1024, kib


ACTIVATE = """
import os, socket, sys
s = socket.socket(socket.AF_UNIX)
s.bind(sys.argv[1])
s.listen()
os.dup2(s.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[2], sys.argv[2:])
"""


def test_socket_activation_and_notification(tmp_path, tree):
    """The API's socket from systemd, and READY=1 to it."""
    d = Daemon(tmp_path, tree.root, helper=False)
    d.argv = ["/usr/bin/python3", "-c", ACTIVATE, str(tmp_path / "given.sock"), *d.argv]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(str(tmp_path / "notify"))
        notify.settimeout(10)
        d.env["NOTIFY_SOCKET"] = str(tmp_path / "notify")
        with d:
            assert b"READY=1" in notify.recv(4096)
            assert not os.path.exists(d.socket_path)
            given = Daemon.socket_path
            try:
                Daemon.socket_path = property(lambda self: str(tmp_path / "given.sock"))
                assert d.get("/api/version", unix=True).status == 200
            finally:
                Daemon.socket_path = given
        assert b"STOPPING=1" in notify.recv(4096)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_as_its_own_user_without_dev(tmp_path, tree):
    """As installed: not root, no --dev; whoever runs it is nobody special, root is let in."""
    account = pwd.getpwnam("nobody")
    d = Daemon(tmp_path, tree.root, "--group=daemon", helper=False)
    os.mkdir(d.state)
    os.chown(d.state, account.pw_uid, account.pw_gid)
    for folder in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        os.chmod(folder, 0o755)
    d.argv = ["setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups",
              *[a for a in d.argv if a != "--dev"]]
    with d:
        assert d.get("/api/gpu/devices").json()[0]["pci_address"] == "0000:01:00.0"
        assert not os.path.exists(d.socket_path)    # that one is systemd's to make
        assert as_user("nobody", d)[0] == 401
        assert as_user("daemon", d)[0] == 200
