#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A PCIe function with any ids, served to QEMU's vfio-user-pci over a socket, that fails on command.

Its BARs are plain memory, kept by page as they are written. It has power management, a PCI Express
capability and, with --serial, a serial number; with --rom an option ROM of its own ids. It makes no
interrupts and touches no guest memory. One server holds one function; a connection ends with its VM.

The control socket takes one line and answers one:
  status            what it is doing, and how many resets and accesses it has seen
  hang              from now on nothing is answered (QEMU gives a request up after its own time-out)
  ff                every read gives ff from now on, as of a card that fell off its bus
  ff-after-reset    the same from the next reset on, as of a card that does not survive one
  vanish            the connection is closed and no new one is taken
  ok                as at the start, but for vanish

Protocol: docs/interop/vfio-user.rst of QEMU. Single thread, one poll loop.
"""

import argparse
import array
import json
import os
import select
import socket
import struct
import sys

(VERSION, DMA_MAP, DMA_UNMAP, DEVICE_INFO, REGION_INFO, REGION_FDS, IRQ_INFO, SET_IRQS, REGION_READ,
 REGION_WRITE, DMA_READ, DMA_WRITE, DEVICE_RESET, DIRTY_PAGES) = range(1, 15)
REPLY, NO_REPLY, ERROR = 1, 0x10, 0x20
HEADER = struct.Struct("<HHIII")
ROM_REGION, CONFIG_REGION, REGIONS, IRQS = 6, 7, 9, 5
PM_CAP, EXP_CAP = 0x60, 0x78
EXP_CONTROL = EXP_CAP + 8
START_FLR = 0x8000


def size(text):
    units = {"k": 10, "m": 20, "g": 30}
    shift = units.get(text[-1].lower(), 0)
    value = int(text[:-1] if shift else text, 0) << shift
    if value and (value & (value - 1) or value < 4096):
        raise argparse.ArgumentTypeError(f"{text}: a size is a power of two, 4k or more")
    return value


def option_rom(vendor, device, code, length):
    """A valid image: 55AA, PCIR with these ids, checksum; its code returns at once."""
    rom = bytearray(length)
    rom[0:4] = bytes((0x55, 0xAA, length // 512, 0xCB))
    struct.pack_into("<H", rom, 0x18, 0x1C)
    struct.pack_into("<4sHHHHB3sHHBBH", rom, 0x1C, b"PCIR", vendor, device, 0, 0x18, 0,
                     code.to_bytes(3, "little"), length // 512, 0, 0, 0x80, 0)
    rom[-1] = -sum(rom) & 0xFF
    return bytes(rom)


class Function:
    """The device: config space, BARs, ROM, and how it fails just now."""

    def __init__(self, args):
        self.args = args
        self.mode = "ok"
        self.resets = self.accesses = 0
        self.rom = b""
        if args.rom == "own":
            self.rom = option_rom(args.vendor, args.device, args.code, 64 * 1024)
        elif args.rom:
            with open(args.rom, "rb") as handle:
                self.rom = handle.read()
        # register number -> (size, flags); a 64-bit BAR takes the register after it for its upper half
        self.bars = {}
        register = 0
        for text in args.bar:
            length, _, kind = text.partition(":")
            flags = {"": 0, "64": 4, "64p": 12}[kind]
            self.bars[register] = (size(length), flags)
            register += 2 if flags & 4 else 1
        self.reset()

    def reset(self):
        self.config = bytearray(4096)
        self.pages = {}
        cfg, a = self.config, self.args
        struct.pack_into("<HHHHB3s", cfg, 0, a.vendor, a.device, 0, 0x0010, a.revision,
                         a.code.to_bytes(3, "little"))
        cfg[0x0E] = 0x80 if a.multifunction else 0
        struct.pack_into("<HH", cfg, 0x2C, a.subvendor, a.subdevice)
        for register, (_, flags) in self.bars.items():
            struct.pack_into("<I", cfg, 0x10 + 4 * register, flags)
        cfg[0x34] = PM_CAP
        # no soft reset over D3hot: what resets it is FLR, where offered, or its bus
        struct.pack_into("<BBHI", cfg, PM_CAP, 0x01, EXP_CAP, 0x0003, 0x0008)
        capabilities = 0x8FE1 | (0x10000000 if a.flr else 0)
        struct.pack_into("<BBHIHH", cfg, EXP_CAP, 0x10, 0x00, 0x0002, capabilities, 0x2910, 0)
        struct.pack_into("<IHH", cfg, EXP_CAP + 12, 0x00000104, 0, 0x1104)
        if a.serial:
            struct.pack_into("<IQ", cfg, 0x100, 0x00010003, a.serial)

    def function_reset(self):
        self.resets += 1
        if self.mode == "ff-after-reset":
            self.mode = "ff"
        self.reset()

    def region_size(self, region):
        if region == CONFIG_REGION:
            return len(self.config)
        if region == ROM_REGION:
            return 1 << max(11, (len(self.rom) - 1).bit_length()) if self.rom else 0
        return self.bars[region][0] if region in self.bars else 0

    def read(self, region, offset, count):
        self.accesses += 1
        if self.mode == "ff":
            return b"\xff" * count
        if region == CONFIG_REGION:
            return bytes(self.config[offset:offset + count]).ljust(count, b"\0")
        if region == ROM_REGION:
            return self.rom[offset:offset + count].ljust(count, b"\xff")
        out = b""
        while count:
            page = self.pages.get((region, offset >> 12))
            part = min(count, 4096 - (offset & 4095))
            out += bytes(page[offset & 4095:(offset & 4095) + part]) if page else bytes(part)
            offset, count = offset + part, count - part
        return out

    def write(self, region, offset, data):
        self.accesses += 1
        if self.mode == "ff" or region == ROM_REGION:
            return
        if region == CONFIG_REGION:
            self.write_config(offset, data)
            return
        while data:
            part = min(len(data), 4096 - (offset & 4095))
            page = self.pages.setdefault((region, offset >> 12), bytearray(4096))
            page[offset & 4095:(offset & 4095) + part] = data[:part]
            offset, data = offset + part, data[part:]

    def write_config(self, offset, data):
        """Byte by byte, each through the mask of what can be written there."""
        masks = {0x04: 0xFF, 0x05: 0x07, 0x0C: 0xFF, 0x3C: 0xFF, PM_CAP + 4: 0x03,
                 EXP_CONTROL: 0xFF, EXP_CONTROL + 1: 0x7F, EXP_CAP + 16: 0xFF}
        for register, (length, flags) in self.bars.items():
            mask = (~(length - 1)) & 0xFFFFFFFFFFFFFFFF
            for byte in range(8 if flags & 4 else 4):
                masks[0x10 + 4 * register + byte] = mask >> (8 * byte) & 0xFF
        if self.rom:
            mask = (~(self.region_size(ROM_REGION) - 1)) & 0xFFFFFFFF | 1
            for byte in range(4):
                masks[0x30 + byte] = mask >> (8 * byte) & 0xFF
        for at, value in enumerate(data, offset):
            mask = masks.get(at, 0)
            self.config[at] = (self.config[at] & ~mask) | (value & mask)
        end = offset + len(data)
        if offset <= EXP_CONTROL + 1 < end and data[EXP_CONTROL + 1 - offset] & START_FLR >> 8 \
                and self.args.flr:
            self.function_reset()


class Server:
    """One connection of QEMU and any number of control connections."""

    def __init__(self, args):
        self.function = Function(args)
        self.listener = self.listen(args.socket)
        self.control = self.listen(args.control) if args.control else None
        self.peer = None
        self.buffer = b""

    @staticmethod
    def listen(path):
        if os.path.exists(path):
            os.unlink(path)
        sock = socket.socket(socket.AF_UNIX)
        # bound under another name first: whoever sees the path can connect
        sock.bind(path + ".new")
        sock.listen(8)
        os.rename(path + ".new", path)
        return sock

    def run(self):
        while True:
            watched = [s for s in (self.listener, self.control, self.peer) if s]
            for sock in select.select(watched, [], [])[0]:
                if sock is self.control:
                    self.command()
                elif sock is self.listener:
                    self.accept()
                elif sock is self.peer:
                    self.receive()

    def accept(self):
        peer, _ = self.listener.accept()
        if self.peer:
            peer.close()
            return
        self.peer, self.buffer = peer, b""
        self.function.reset()

    def hang_up(self):
        if self.peer:
            self.peer.close()
        self.peer = None

    def command(self):
        sock, _ = self.control.accept()
        with sock:
            sock.settimeout(2)
            try:
                word = sock.recv(256).decode().strip()
            except OSError:
                return
            function, reply = self.function, "ok"
            if word == "status":
                reply = (f"{function.mode} {'connected' if self.peer else 'alone'} "
                         f"resets={function.resets} accesses={function.accesses}")
            elif word in ("ok", "hang", "ff", "ff-after-reset"):
                function.mode = word
            elif word == "vanish":
                function.mode = word
                self.hang_up()
                if self.listener:
                    self.listener.close()
                    self.listener = None
            else:
                reply = f"unknown command: {word}"
            sock.sendall(reply.encode() + b"\n")

    def receive(self):
        try:
            data, ancillary, _, _ = self.peer.recvmsg(1 << 20, 4096)
        except OSError:
            data, ancillary = b"", []
        for level, kind, payload in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                # the guest's memory: nothing here reads it
                for fd in array.array("i", payload[:len(payload) - len(payload) % 4]):
                    os.close(fd)
        if not data:
            self.hang_up()
            return
        self.buffer += data
        while len(self.buffer) >= HEADER.size:
            ident, command, length, flags, _ = HEADER.unpack_from(self.buffer)
            if len(self.buffer) < length:
                return
            body, self.buffer = self.buffer[HEADER.size:length], self.buffer[length:]
            if self.function.mode == "hang":
                continue
            error, out = self.answer(command, body)
            if not flags & NO_REPLY:
                head = HEADER.pack(ident, command, HEADER.size + len(out),
                                   REPLY | (ERROR if error else 0), error)
                try:
                    self.peer.sendall(head + out)
                except OSError:
                    self.hang_up()
                    return

    def answer(self, command, body):
        """(errno or 0, reply body)"""
        function = self.function
        if command == VERSION:
            minor = struct.unpack_from("<HH", body)[1]
            offer = {"capabilities": {"max_msg_fds": 8, "max_data_xfer_size": 1048576,
                                      "max_dma_maps": 65535, "pgsizes": 4096,
                                      "write_multiple": False}}
            return 0, struct.pack("<HH", 0, min(minor, 1)) + json.dumps(offer).encode() + b"\0"
        if command == DEVICE_INFO:
            return 0, struct.pack("<IIII", 16, 3, REGIONS, IRQS)    # resettable, PCI
        if command == REGION_INFO:
            region = struct.unpack_from("<III", body)[2]
            length = function.region_size(region)
            access = 0 if not length else 1 if region == ROM_REGION else 3
            return 0, struct.pack("<IIIIQQ", 32, access, region, 0, length, 0)
        if command == IRQ_INFO:
            return 0, struct.pack("<IIII", 16, 0, struct.unpack_from("<III", body)[2], 0)
        if command == REGION_READ:
            offset, region, count = struct.unpack_from("<QII", body)
            return 0, body[:16] + function.read(region, offset, count)
        if command == REGION_WRITE:
            offset, region, count = struct.unpack_from("<QII", body)
            function.write(region, offset, body[16:16 + count])
            return 0, body[:16]
        if command == DMA_UNMAP:
            return 0, body
        if command == DEVICE_RESET:
            function.function_reset()
            return 0, b""
        if command in (DMA_MAP, SET_IRQS):
            return 0, b""
        print(f"command {command} is not answered", flush=True)
        return 95, b""


def main():
    def hexadecimal(text):
        return int(text, 16)
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("socket")
    parser.add_argument("--control")
    parser.add_argument("--vendor", type=hexadecimal, default=0x10DE)
    parser.add_argument("--device", type=hexadecimal, default=0x20B0)
    parser.add_argument("--subvendor", type=hexadecimal, default=0x10DE)
    parser.add_argument("--subdevice", type=hexadecimal, default=0x1463)
    parser.add_argument("--class", dest="code", type=hexadecimal, default=0x030200,
                        help="six digits: class, subclass, interface")
    parser.add_argument("--revision", type=hexadecimal, default=0xA1)
    parser.add_argument("--bar", action="append", default=[],
                        help="SIZE, SIZE:64 or SIZE:64p (prefetchable), in order; 16m and 256m:64p")
    parser.add_argument("--rom", help="'own' for an image of these ids, or a file")
    parser.add_argument("--serial", type=hexadecimal, default=0)
    parser.add_argument("--no-flr", dest="flr", action="store_false")
    parser.add_argument("--multifunction", action="store_true")
    args = parser.parse_args()
    args.bar = args.bar or ["16m", "256m:64p"]
    try:
        Server(args).run()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
