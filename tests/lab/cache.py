# SPDX-License-Identifier: Apache-2.0
"""The lab's cache: artefacts under names that hold the hash of what made them.

It lies outside the clone, so that a fresh clone on a warm machine builds nothing. An artefact is a
file or a folder NAME-KEY; it is made beside its place under a name of its own and renamed into it,
so one that is there is whole. One lock file for each NAME lets only one process make it; what a
killed process left half made is removed by the next one that holds that lock.
"""

import contextlib
import fcntl
import hashlib
import inspect
import os
import pathlib
import shutil
import subprocess
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
_start = time.monotonic()
_print_lock = threading.Lock()


class LabError(Exception):
    """Something the person who runs the lab can read and act on."""


def say(text):
    """One line of progress, with the seconds since this program started."""
    with _print_lock:
        print(f"[{time.monotonic() - _start:6.1f}s] {text}", file=sys.stderr, flush=True)


def cache_dir():
    base = os.environ.get("HORCRUX_CACHE")
    if not base:
        home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
        base = os.path.join(home, "horcrux")
    path = pathlib.Path(base).absolute() / "lab"
    path.mkdir(parents=True, exist_ok=True)
    return path


def key_of(*parts):
    """A short hash over texts, bytes, functions (their source) and files (their content)."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, pathlib.Path):
            data = part.read_bytes()
        elif callable(part):
            data = inspect.getsource(part).encode()
        elif isinstance(part, bytes):
            data = part
        else:
            data = str(part).encode()
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()[:16]


IN_MEMORY = 'mount -t tmpfs -o mode=1777 tmp "$TMPDIR"; exec "$@"'


def contained(argv):
    """The program with a mount and process namespace of its own, which end when this process does:
    whatever way that is, nothing stays mounted and nothing runs on. mmdebstrap, which leaves temporary
    files when it is killed, has them in memory there; what it chroots into does not see TMPDIR."""
    if argv[0] == "mmdebstrap":
        folder = cache_dir() / "tmp"
        folder.mkdir(exist_ok=True)
        argv = ["env", f"TMPDIR={folder}", "sh", "-euc", IN_MEMORY, "sh"] + argv
    return ["setpriv", "--pdeathsig", "KILL", "--", "unshare", "--mount", "--pid", "--fork",
            "--kill-child", "--mount-proc", "--propagation", "private", "--"] + argv


def run(argv, log=None, what=None, **kw):
    """Runs a program; what it says goes to the file `log`, whose end is in the error."""
    kw.setdefault("stdin", subprocess.DEVNULL)
    if log is None:
        done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **kw)
        text = done.stdout.decode(errors="replace")
    else:
        with open(log, "ab") as out:
            done = subprocess.run(argv, stdout=out, stderr=subprocess.STDOUT, **kw)
        with open(log, "rb") as back:
            back.seek(max(0, os.path.getsize(log) - 4000))
            text = back.read().decode(errors="replace")
    if done.returncode:
        tail = "\n".join(text.splitlines()[-25:])
        where = f" (all of it: {log})" if log else ""
        name = what or str(argv[0])
        raise LabError(f"{name} failed with {done.returncode}{where}:\n{tail}")
    return text


def remove(path):
    path = pathlib.Path(path)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()


# What the artefacts of a name are, for who waits for them.
WHAT = {
    "root": "the Debian that the lab's hosts run", "kernel": "a newer kernel for them",
    "l1": "the disk of a lab host", "tools": "a Debian with compilers and QEMU",
    "booted": "a lab host that has booted", "ready": "a lab host with the package installed",
    "quick": "a lab host with the package installed", "deb": "the package", "guests": "the guests' CDs",
    "linux": "a guest with Debian's kernel", "compiled": "what changed", "radeon": "a card's ROM",
    "headers": "headers of their kernel", "standin": "a driver that shares a card",
}


@contextlib.contextmanager
def locked(name):
    """Holds the lock NAME of the cache; says so when it has to wait for it."""
    folder = cache_dir() / "locks"
    folder.mkdir(exist_ok=True)
    with open(folder / name, "w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"{name}: somebody else is making it; waiting")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def artefact(name, key, make):
    """The path of NAME-KEY, made by make(temporary path, log file) where it is not there yet."""
    cache = cache_dir()
    path = cache / f"{name}-{key}"
    if path.exists():
        return path
    with locked(name):
        if path.exists():
            return path
        for left in cache.glob(f"{name}-*.part"):
            remove(left)
        logs = cache / "logs"
        logs.mkdir(exist_ok=True)
        log = logs / f"{name}.log"
        remove(log)
        part = cache / f"{name}-{key}.part"
        began = time.monotonic()
        what = WHAT.get(name.split("-")[0])
        say(f"{name}: making {what or 'it'} (log: {log})")
        try:
            make(part, log)
            os.rename(part, path)
        except BaseException:
            if part.exists():
                say(f"{name}: removing what there is of it")
                remove(part)
            raise
        say(f"{name}: made in {time.monotonic() - began:.1f} s")
    return path


def keep_newest(prefix, count, used):
    """Removes the oldest artefacts PREFIX* beyond `count`; the one in use stays, whatever its age."""
    with locked(f"{prefix}newest"):     # another run may be at it too
        os.utime(used)
        found = [path for path in cache_dir().glob(prefix + "*") if path.suffix != ".part"]
        for path in sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)[count:]:
            if path != used:
                remove(path)


def need_root(what):
    if os.geteuid() != 0:
        raise LabError(f"{what} needs root: it makes Debian root trees with mmdebstrap and chroot. "
                       "Run it again as root, for instance with sudo.")
