#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Unpacks a umockdev record to a plain directory that stands for a host's /.

um2tree.py [--complete] FILE DIR

A record has what the devices showed and nothing else: no /proc, no drivers, no
groups, so the links `driver` and `iommu_group` dangle (their last part still
tells).  --complete makes what they point to, with the links back.
"""

import os
import re
import sys
from pathlib import Path

# Everything else that a record names is a class.
BUSES = {"acpi", "clockevents", "clocksource", "container", "cpu", "edac", "event_source", "hid",
         "i2c", "machinecheck", "mdev", "mdio_bus", "memory", "node", "nvmem", "pci", "pci_express",
         "platform", "pnp", "scsi", "serio", "usb", "virtio", "wmi", "workqueue"}


ESCAPE = re.compile(rb"\\([0-7]{1,3}|.)", re.S)
LETTERS = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}


def unescape(value):
    """Undoes g_strescape(): letters, octal, and any other character for itself."""
    def one(match):
        what = match.group(1)
        if what[:1].isdigit():
            return bytes([int(what, 8) & 0xff])
        return LETTERS.get(what, what)
    return ESCAPE.sub(one, value.encode(errors="surrogateescape"))


def put(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def link(path, target):
    path.parent.mkdir(parents=True, exist_ok=True)
    if not os.path.lexists(path):
        path.symlink_to(target)


class Unpacker:
    def __init__(self, directory):
        self.root = Path(directory)
        self.sys = self.root / "sys"
        self.device = None
        self.uevent = []
        self.count = 0

    def finish(self):
        """The properties of a device are the lines of its `uevent`, but for udev's own."""
        if self.device:
            keep = (e for e in self.uevent if not e.startswith(("SUBSYSTEM=", "ID_", "TAGS=")))
            put(self.device / "uevent", "".join(e + "\n" for e in keep).encode())
        self.uevent = []

    def subsystem(self, name):
        home = self.sys / ("bus" if name in BUSES else "class") / name
        place = home / "devices" if name in BUSES else home
        link(place / self.device.name, os.path.relpath(self.device, place))
        link(self.device / "subsystem", os.path.relpath(home, self.device))

    def node(self, value):
        name, _, contents = value.partition("=")
        put(self.root / "dev" / name, bytes.fromhex(contents))

    def line(self, kind, value):
        if kind == "P":
            self.finish()
            self.device = self.sys / value.lstrip("/")
            self.device.mkdir(parents=True, exist_ok=True)
            self.count += 1
        elif kind == "E":
            self.uevent.append(value)
            if value.startswith("SUBSYSTEM="):
                self.subsystem(value[len("SUBSYSTEM="):])
        elif kind == "N":
            self.node(value)
        elif kind == "S":
            link(self.root / "dev" / value, os.path.relpath(self.root / "dev" / self.device.name,
                                                            (self.root / "dev" / value).parent))
        elif kind in "AHL":
            name, _, text = value.partition("=")
            if kind == "L":
                link(self.device / name, text)
            else:
                put(self.device / name, unescape(text) if kind == "A" else bytes.fromhex(text))

    def file(self, path):
        with open(path, errors="surrogateescape") as record:
            for line in record:
                line = line.rstrip("\n")
                if line[1:3] == ": ":
                    self.line(line[0], line[3:])
        self.finish()

    def complete(self):
        """What the links `driver`, `iommu_group` and `iommu` point to, with links back."""
        for device in sorted(self.sys.glob("bus/*/devices/*")):
            real = device.resolve()
            for name, back in (("driver", "."), ("iommu_group", "devices")):
                if not (real / name).is_symlink():
                    continue
                target = Path(os.path.normpath(real / os.readlink(real / name)))
                (target / back).mkdir(parents=True, exist_ok=True)
                link(target / back / device.name, os.path.relpath(real, target / back))


def main(argv):
    complete = "--complete" in argv
    argv = [a for a in argv if a != "--complete"]
    if len(argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    unpacker = Unpacker(argv[1])
    unpacker.file(argv[0])
    if complete:
        unpacker.complete()
    print(f"{unpacker.count} devices")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
