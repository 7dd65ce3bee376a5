# SPDX-License-Identifier: Apache-2.0
"""Debian root trees for the lab, made by mmdebstrap from the machine's own apt source.

tools-DIST holds compilers (and, for trixie, the outermost QEMU), root-DIST is the stock system that
the lab's hosts run. The key of a tree is its recipe; what the archive holds on the day is not part.
"""

import os
import subprocess

from cache import HERE, LabError, artefact, contained, key_of, need_root, run

RECIPES = HERE / "recipes"
# Documentation and translations are half of the files of a small tree and no test reads them.
EXCLUDES = ["/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*",
            "/usr/share/lintian/*", "/usr/share/gtk-doc/*", "/usr/share/help/*",
            "/usr/share/i18n/locales/*",
            # the lab makes its own small initramfs
            "/etc/kernel/postinst.d/initramfs-tools"]


def mirror():
    """The Debian archive that this machine itself uses; HORCRUX_MIRROR overrides."""
    if os.environ.get("HORCRUX_MIRROR"):
        return os.environ["HORCRUX_MIRROR"]
    form = "$(REPO_URI)|$(ORIGIN)|$(LABEL)|$(COMPONENT)|$(CREATED_BY)"
    out = subprocess.run(["apt-get", "indextargets", "--format", form], stdin=subprocess.DEVNULL,
                         stdout=subprocess.PIPE, check=False, text=True).stdout
    for line in out.splitlines():
        uri, *rest = line.split("|")
        if rest == ["Debian", "Debian", "main", "Packages"]:
            return uri
    raise LabError("apt knows no Debian archive here: run 'apt-get update' once, "
                   "or set HORCRUX_MIRROR to the address of one")


def packages(*names):
    found = []
    for name in names:
        for line in (RECIPES / f"{name}.list").read_text().splitlines():
            line = line.split("#")[0].strip()
            if line:
                found.append(line)
    return sorted(set(found))


def bootstrap(part, log, suites, include, pref):
    """One tree at `part`. suites: the distribution first, then further ones of the same archive."""
    need_root("The lab")
    keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
    sources = [f"deb [signed-by={keyring}] {mirror()} {suite} main" for suite in suites]
    argv = ["mmdebstrap", "--mode=root", "--variant=minbase", "--format=directory",
            "--include=" + ",".join(include),
            "--aptopt=APT::Install-Recommends \"false\"",
            "--aptopt=Acquire::Languages \"none\"",
            "--aptopt=Acquire::Check-Valid-Until \"false\"",
            "--dpkgopt=force-unsafe-io"]
    argv += [f"--dpkgopt=path-exclude={path}" for path in EXCLUDES]
    if pref:
        argv.append(f"--setup-hook=install -D -m 644 '{pref}' \"$1/etc/apt/preferences.d/lab\"")
    # The package under test is to be installed whole, so the excludes do not stay.
    argv.append("--customize-hook=rm -f \"$1/etc/dpkg/dpkg.cfg.d/99mmdebstrap\"")
    run(contained(argv + [suites[0], str(part)] + sources), log=log, what="mmdebstrap " + suites[0])


def fetched(make, *args):
    """Makes what comes from the archive; an error names the archive, for that may be its cause."""
    try:
        make(*args)
    except LabError as err:
        raise LabError(f"{err}\nThe Debian archive was {mirror()}; HORCRUX_MIRROR names another.") from err


def tools(dist):
    pref = RECIPES / f"tools-{dist}.pref"
    has_pref = pref.exists()
    suites = [dist] + ([f"{dist}-backports"] if has_pref else [])
    include = packages(f"tools-{dist}")
    key = key_of(bootstrap, EXCLUDES, suites, include, pref if has_pref else "")
    return artefact(f"tools-{dist}", key, lambda part, log: fetched(
        bootstrap, part, log, suites, include, pref if has_pref else None))


def root(dist):
    include = packages("root", f"root-{dist}")
    key = key_of(bootstrap, EXCLUDES, [dist], include)
    return artefact(f"root-{dist}", key,
                    lambda part, log: fetched(bootstrap, part, log, [dist], include, None))


FETCH_KERNEL = """set -eu
export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"
names=$(apt-cache --recurse --no-recommends --no-suggests --no-conflicts --no-breaks \\
	--no-replaces --no-enhances depends linux-image-amd64 | grep -E '^linux-' | sort -u)
cd "$1"
for name in $names; do
	! apt-cache show "$name" | grep -q '^Version' || apt-get -q download "$name"
done
"""


FETCH_HEADERS = """set -eu
export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"
cd "$1"
apt-get -q download {names}
"""


def fetch_packages(part, log, suite, hook, what):
    """The packages that the hook downloads, unpacked, and nothing else of that distribution."""
    need_root("The lab")
    keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
    part.mkdir()
    run(contained(["mmdebstrap", "--mode=root", "--variant=custom", "--format=directory", "--skip=cleanup",
         "--aptopt=Acquire::Languages \"none\"", "--aptopt=Acquire::Check-Valid-Until \"false\"",
         "--customize-hook=" + hook, suite, str(part / "tree"),
         f"deb [signed-by={keyring}] {mirror()} {suite} main"]),
        log=log, what=f"fetching {what} of {suite}")
    found = sorted((part / "tree").glob("linux-*.deb"))
    for package in found:
        run(["dpkg-deb", "-x", str(package), str(part / "x")], log=log)
    if not found:
        raise LabError(f"{suite} offered no {what}")
    run(["rm", "-rf", str(part / "tree"), str(part / "x/usr/share")], log=log)
    for child in (part / "x").iterdir():
        child.rename(part / child.name)
    (part / "x").rmdir()
    (part / "lib").symlink_to("usr/lib")


def fetch_kernel(part, log, dist):
    """The newest kernel of DIST-backports."""
    fetch_packages(part, log, f"{dist}-backports", FETCH_KERNEL, "a kernel")
    version = next((part / "usr/lib/modules").iterdir()).name
    run(["depmod", "-b", str(part), version], log=log)


def kernel(dist):
    key = key_of(fetch_packages, fetch_kernel, FETCH_KERNEL, dist)
    return artefact(f"kernel-{dist}-bpo", key, lambda part, log: fetched(fetch_kernel, part, log, dist))


def fetch_headers(part, log, dist, version):
    """What modules for the kernel `version` (6.12.48+deb13-amd64) of DIST are built with."""
    base, _, flavour = version.rpartition("-")
    names = f"linux-headers-{base}-{flavour} linux-headers-{base}-common linux-kbuild-{base}"
    try:
        fetch_packages(part, log, dist, FETCH_HEADERS.format(names=names), "headers")
    except LabError as err:
        raise LabError(f"{err}\nIf the archive has a newer kernel by now, remove root-{dist}-* from the "
                       "lab's cache: the hosts get the newer one then.") from err


def headers(dist, version):
    key = key_of(fetch_packages, fetch_headers, FETCH_HEADERS, dist, version)
    return artefact(f"headers-{dist}", key,
                    lambda part, log: fetched(fetch_headers, part, log, dist, version))


# Words: TREE SOURCE WORK COMMAND. The tree stays as it is, and the source cannot be written.
IN_TREE = """set -eu
mount --bind "$1" "$1"
mount --bind "$2" "$1/srv"
mount -o remount,bind,ro "$1/srv"
mount --bind "$3" "$1/mnt"
mount -t tmpfs tmp "$1/tmp"
mount -t proc proc "$1/proc"
mount -t devtmpfs dev "$1/dev" 2>/dev/null || mount --rbind /dev "$1/dev"
mount -o remount,bind,ro "$1"
exec chroot "$1" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp LC_ALL=C.UTF-8 sh -euc "$4"
"""


def in_tree(tree, source, work, command, log, what):
    """Runs a shell command in a tools tree: the source is /srv, read only, and /mnt is `work`."""
    need_root("The lab")
    run(contained(["sh", "-c", IN_TREE, "build", str(tree), str(source), str(work), command]), log=log,
        what=what)
