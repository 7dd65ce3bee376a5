# SPDX-License-Identifier: Apache-2.0
"""Horcrux for the lab's hosts: its Debian package, built in the tree of their distribution."""

import os
import shutil
import subprocess

import trees
from cache import HERE, LabError, artefact, cache_dir, keep_newest, key_of, locked, remove, run

TOP = HERE.parent.parent
JOBS = str(min(2, os.cpu_count() or 1))


def sources(*folders):
    """The files of the source tree, below the named folders: what git knows or would know of, or, in a
    tree without git, all but what is built."""
    done = subprocess.run(["git", "-C", str(TOP), "ls-files", "-z", "-co", "--exclude-standard", "--",
                           *folders], capture_output=True, stdin=subprocess.DEVNULL, check=False)
    if done.returncode == 0:
        found = {os.fsdecode(name) for name in done.stdout.split(b"\0") if name}
    else:
        found = {str(path.relative_to(TOP)) for path in TOP.rglob("*")
                 if path.relative_to(TOP).parts[0] not in ("build", ".git")}
        found = {path for path in found if not folders or any(
            path == folder or path.startswith(folder + "/") for folder in folders)}
    return sorted(path for path in found if (TOP / path).is_file())


def package_sources():
    """What the package is made from: everything but the tests, of which only the build files."""
    return [path for path in sources() if not path.startswith("tests/") or path.endswith("meson.build")
            or path == "meson_options.txt"]


def make_package(part, log, dist):
    """Builds the Debian package as `make deb` does, in the tree of its distribution."""
    staged, out = part / "source", part / "out"
    for path in package_sources():
        (staged / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(TOP / path, staged / path)
    out.mkdir()
    trees.in_tree(trees.tools(dist), staged, out, f"DEB_BUILD_OPTIONS=parallel={JOBS} sh /srv/scripts/deb /mnt",
                  log, f"building the package for {dist}")
    found = list(out.glob("horcrux_*.deb"))
    if len(found) != 1:
        raise LabError(f"expected one package, got {[path.name for path in found]}")
    found[0].rename(part / f"horcrux_{dist}.deb")
    remove(staged)
    remove(out)


def package_key(dist):
    return key_of(make_package, trees.tools(dist).name,
                  *[part for path in package_sources() for part in (path, TOP / path)])


def package(dist):
    """The .deb of the tree as it is now, for DIST."""
    folder = artefact(f"deb-{dist}", package_key(dist), lambda part, log: make_package(part, log, dist))
    keep_newest(f"deb-{dist}-", 3, folder)
    return folder / f"horcrux_{dist}.deb"


def compile_tree(part, log, dist):
    """Compiles in a folder that stays, so that the next time only what changed is compiled, and
    installs into `part` as the package would. Not the flags of a package: for a quick look only."""
    name = f"ninja-{dist}-{key_of(str(TOP))}"
    work = cache_dir() / name
    with locked(name):
        work.mkdir(exist_ok=True)
        remove(work / "dest")
        trees.in_tree(trees.tools(dist), TOP, work,
                      "test -f /mnt/build.ninja || meson setup --prefix=/usr -Dtests=false /mnt /srv; "
                      f"ninja -C /mnt -j {JOBS}; DESTDIR=/mnt/dest meson install -C /mnt --no-rebuild",
                      log, f"compiling for {dist}")
        part.mkdir()
        run(["tar", "-C", str(work / "dest"), "--owner=0", "--group=0", "-cf", str(part / "files.tar"), "."])


def compiled(dist):
    """A tar of what the package would install of the tree as it is now."""
    paths = sources("src", "meson.build", "meson_options.txt")
    key = key_of(compile_tree, trees.tools(dist).name, *[p for path in paths for p in (path, TOP / path)])
    folder = artefact(f"compiled-{dist}", key, lambda part, log: compile_tree(part, log, dist))
    keep_newest(f"compiled-{dist}-", 3, folder)
    return folder / "files.tar"


def packaging_key():
    return key_of(*[p for path in sources("packaging", "scripts/deb") for p in (path, TOP / path)])
