# SPDX-License-Identifier: Apache-2.0
"""What the lab's hosts start from: a disk, kernels with a small initramfs, and the key to log in.

host_image(dist) is a folder: disk.img (raw, sparse), vmlinuz and initrd, for trixie also vmlinuz-bpo
and initrd-bpo, the kernel of its backports, whose modules are on the same disk.
"""

import io
import lzma
import os
import pathlib
import re

import trees
from cache import (HERE, LabError, artefact, cache_dir, contained, key_of, locked, need_root, run)

RECIPES = HERE / "recipes"
# In this order; what one of them needs is put before it. crc32c is asked for by ext4 by name only.
BOOT_MODULES = ["virtio_pci", "virtio_blk", "crc32c_generic", "crc32c_cryptoapi", "libcrc32c", "ext4"]


def ssh_key():
    """The private key of this cache; its public half lies beside it."""
    key = cache_dir() / "ssh" / "id_ed25519"
    if not key.exists():
        with locked("ssh"):
            key.parent.mkdir(mode=0o700, exist_ok=True)
            if not key.exists():
                run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", str(key)])
    return key


def cpio(entries):
    """A cpio archive (newc) of (name, mode, content) rows, owned by root."""
    out = io.BytesIO()
    for number, (name, mode, data) in enumerate(entries + [("TRAILER!!!", 0, b"")], 1):
        head = [number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0]
        out.write(b"070701" + b"".join(b"%08x" % v for v in head) + name.encode() + b"\0")
        out.write(b"\0" * (-out.tell() % 4))
        out.write(data)
        out.write(b"\0" * (-out.tell() % 4))
    return out.getvalue()


def module_closure(folder, wanted):
    """Module files below `folder` (/lib/modules/VERSION) for `wanted`, each after what it needs."""
    needs, files = {}, {}
    for line in (folder / "modules.dep").read_text().splitlines():
        path, deps = line.split(":", 1)
        name = re.sub(r"\.ko(\.\w+)?$", "", pathlib.Path(path).name).replace("-", "_")
        files[name] = path
        needs[path] = deps.split()
    order = []

    def add(path):
        for dep in reversed(needs[path]):
            if dep not in order:
                add(dep)
        if path not in order:
            order.append(path)

    for name in wanted:
        if name in files:
            add(files[name])
    return order


def initramfs(modules, busybox, wanted, init):
    """An uncompressed initramfs: busybox, modules in the order they are to be loaded, and its init."""
    rows = [(name, 0o40755, b"") for name in ("bin", "dev", "proc", "sys", "root", "modules")]
    rows.append(("bin/busybox", 0o100755, busybox.read_bytes()))
    rows.append(("init", 0o100755, init.read_bytes()))
    names = []
    for path in module_closure(modules, wanted):
        data = (modules / path).read_bytes()
        if path.endswith(".xz"):
            data, path = lzma.decompress(data), path[:-3]
        names.append(pathlib.Path(path).name)
        rows.append(("modules/" + names[-1], 0o100644, data))
    rows.append(("modules/order", 0o100644, "\n".join(names).encode() + b"\n"))
    return cpio(rows)


def kernel_of(tree):
    """(the kernel, its modules) of a tree that has one."""
    versions = [path.name for path in (tree / "usr/lib/modules").iterdir()]
    if len(versions) != 1:
        raise LabError(f"{tree}: expected one kernel, found {versions}")
    version = versions[0]
    modules = tree / "usr/lib/modules" / version
    kernels = [p for p in (tree / "boot" / f"vmlinuz-{version}", modules / "vmlinuz") if p.exists()]
    if not kernels:
        raise LabError(f"{tree}: no kernel {version}")
    return kernels[0], modules


def put_kernel(tree, busybox, out, suffix):
    """Copies the kernel of `tree` and an initramfs for it into the folder `out`."""
    kernel, modules = kernel_of(tree)
    (out / f"vmlinuz{suffix}").write_bytes(kernel.read_bytes())
    (out / f"initrd{suffix}").write_bytes(
        initramfs(modules, busybox, BOOT_MODULES, RECIPES / "initramfs-init"))


def make_host_image(part, log, root, extra, public):
    need_root("The lab")
    part.mkdir()
    busybox = root / "bin/busybox"
    put_kernel(root, busybox, part, "")
    if extra:
        put_kernel(extra, busybox, part, "-bpo")
    run(contained([str(RECIPES / "l1-image.sh"), str(root), str(part), str(RECIPES / "l1-setup.sh"),
                   public] + ([str(extra)] if extra else [])), log=log, what="making the disk of a lab host",
        env=dict(os.environ, SOURCE_DATE_EPOCH="0", LC_ALL="C"))


def host_image(dist):
    root = trees.root(dist)
    extra = trees.kernel(dist) if dist == "trixie" else None
    public = pathlib.Path(f"{ssh_key()}.pub").read_text().strip()
    key = key_of(make_host_image, put_kernel, kernel_of, initramfs, module_closure, cpio, BOOT_MODULES,
                 RECIPES / "l1-setup.sh", RECIPES / "l1-image.sh", RECIPES / "initramfs-init",
                 root.name, extra.name if extra else "", public)
    return artefact(f"l1-{dist}", key,
                    lambda part, log: make_host_image(part, log, root, extra, public))


def make_guests(part, log):
    part.mkdir()
    trees.in_tree(trees.tools("trixie"), HERE / "guest", part, "sh /srv/build.sh /srv /mnt", log,
            "making the guests")


def guests():
    """A folder of small bootable ISOs: guest, guest-off, guest-reboot and guest-deaf (guest/guest.c)."""
    files = sorted(path for path in (HERE / "guest").iterdir() if path.name != "linux-init")
    key = key_of(make_guests, *[part for path in files for part in (path.name, path)],
                 trees.tools("trixie").name)
    return artefact("guests", key, make_guests)


def make_standin(part, log, headers, version):
    part.mkdir()
    run(contained([str(RECIPES / "kmod.sh"), str(trees.tools("trixie")), str(headers), str(HERE / "kmod"),
                   str(part), version]), log=log, what="building the stand-in")


def standin():
    """The kernel module that stands in for drivers of cards that can be shared (kmod/standin.h), for the
    kernel of the trixie hosts."""
    version = kernel_of(trees.root("trixie"))[1].name
    headers = trees.headers("trixie", version)
    key = key_of(make_standin, RECIPES / "kmod.sh", trees.tools("trixie").name, headers.name,
                 *[part for path in sorted((HERE / "kmod").iterdir()) for part in (path.name, path)])
    folder = artefact("standin-trixie", key, lambda part, log: make_standin(part, log, headers, version))
    return folder / "horcrux_standin.ko"


def make_linux_guest(part, _log):
    part.mkdir()
    root = trees.root("trixie")
    kernel, modules = kernel_of(root)
    (part / "vmlinuz").write_bytes(kernel.read_bytes())
    (part / "initrd").write_bytes(
        initramfs(modules, root / "bin/busybox", ["evdev", "button"], HERE / "guest" / "linux-init"))


def linux_guest():
    """A folder with vmlinuz and initrd: Debian's kernel, and what lists the functions it sees."""
    key = key_of(make_linux_guest, kernel_of, initramfs, module_closure, cpio,
                 HERE / "guest" / "linux-init", trees.root("trixie").name)
    return artefact("linux-guest", key, make_linux_guest)


def make_radeon_rom(part, _log):
    """SeaBIOS' ROM of the emulated Radeon has the tables that the kernel's driver wants, but leaves the
    size of their directory at 0, so the driver finds none; its clocks are then 0, and the first mode
    set divides by them and takes the driver's locks along. With the size there all is well.
    """
    rom = bytearray((trees.tools("trixie") / "usr/share/seabios/vgabios-ati.bin").read_bytes())
    directory = int.from_bytes(rom[0x48:0x4A], "little")
    if rom[directory + 6] == 0:
        rom[directory + 6] = 0x72
    rom[-1] = (rom[-1] - sum(rom)) & 0xFF
    part.write_bytes(rom)


def radeon_rom():
    """The option ROM of the hosts' two-function card."""
    return artefact("radeon-rom", key_of(make_radeon_rom, trees.tools("trixie").name), make_radeon_rom)
