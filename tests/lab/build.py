# SPDX-License-Identifier: Apache-2.0
"""Horcrux for the lab's hosts: compiled in the tree of their distribution, and put into them."""

import fcntl
import os
import pathlib
import shutil
import subprocess
import time

import images
import lab
import trees
from cache import HERE, LabError, artefact, cache_dir, key_of, locked, need_root, remove, say

TOP = HERE.parent.parent
PROGRAMS = ["horcruxd", "horcrux-privd", "horcrux"]
JOBS = str(min(2, os.cpu_count() or 1))

def sources(*folders):
    """The files of the source tree that git knows or would know, below the named folders."""
    out = subprocess.run(["git", "-C", str(TOP), "ls-files", "-z", "-co", "--exclude-standard", "--",
                          *folders], check=True, capture_output=True, stdin=subprocess.DEVNULL).stdout
    paths = sorted(set(os.fsdecode(name) for name in out.split(b"\0") if name))
    return [path for path in paths if (TOP / path).is_file()]


def sources_key(*folders):
    return key_of(*[part for path in sources(*folders) for part in (path, TOP / path)])


def have_sources():
    """Whether there is something to install: the main program of the daemon."""
    return (TOP / "src/daemon/main.c").exists() and (TOP / "src/cli/main.c").exists()


def compile_programs(part, log, dist):
    """Compiles in a folder that stays, so that the next time only what changed is compiled."""
    name = f"ninja-{dist}-{key_of(str(TOP))}"
    work = cache_dir() / name
    with locked(name):
        work.mkdir(exist_ok=True)
        trees.in_tree(trees.tools(dist), TOP, work,
                "test -f /mnt/build.ninja || meson setup -Dbuildtype=debugoptimized /mnt /srv; "
                f"ninja -C /mnt -j {JOBS} " + " ".join(f"src/{p}" for p in PROGRAMS),
                log, f"compiling for {dist}")
        part.mkdir()
        for program in PROGRAMS:
            shutil.copy(work / "src" / program, part / program)


def binaries(dist):
    """The folder with the three programs, compiled for DIST from the tree as it is now."""
    key = key_of(sources_key("src", "meson.build", "meson_options.txt"), trees.tools(dist).name)
    return artefact(f"bin-{dist}", key, lambda part, log: compile_programs(part, log, dist))


def install(machine):
    """Puts Horcrux into a running host."""
    folder = binaries(machine.kind.dist)
    for program in PROGRAMS:
        where = "/usr/bin" if program == "horcrux" else "/usr/sbin"
        machine.push(folder / program, f"{where}/{program}")


def build(*names):
    """Makes what is missing in the cache."""
    need_root("The lab")
    steps = {
        "tools-trixie": lambda: trees.tools("trixie"),
        "tools-bookworm": lambda: trees.tools("bookworm"),
        "root-trixie": lambda: trees.root("trixie"),
        "root-bookworm": lambda: trees.root("bookworm"),
        "kernel-trixie": lambda: trees.kernel("trixie"),
        "l1-trixie": lambda: images.host_image("trixie"),
        "l1-bookworm": lambda: images.host_image("bookworm"),
        "booted-trixie": lambda: lab.snapshot("trixie"),
        "booted-bookworm": lambda: lab.snapshot("bookworm"),
    }
    for name in names:
        if name not in steps:
            raise LabError(f"nothing is called {name}; there are: {' '.join(steps)}")
    for name, step in steps.items():
        if not names or name in names:
            say(f"{name}: {step()}")


def prune():
    """Removes artefacts that this tree would not use: other keys of the same name."""
    cache = cache_dir()
    keep = {path.name for path in (trees.tools("trixie"), trees.tools("bookworm"),
                                   trees.root("trixie"), trees.root("bookworm"),
                                   trees.kernel("trixie"), images.host_image("trixie"),
                                   images.host_image("bookworm"), lab.snapshot("trixie"),
                                   lab.snapshot("bookworm"))}
    keep |= {"locks", "logs", "ssh"}
    for path in sorted(cache.iterdir()):
        if path.name not in keep and not path.name.startswith("ninja-"):
            say(f"removing {path.name}")
            remove(path)
