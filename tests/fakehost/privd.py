# SPDX-License-Identifier: Apache-2.0
"""A real horcrux-privd to talk to, byte by byte (src/privd/protocol.h), as its daemon would.

Privd(...) starts one over a socketpair; it is ended, by pid, when the with-block is left. What it
leaves behind, children inside a write, is the test's to free.
"""

import array
import ctypes
import os
import pathlib
import select
import signal
import socket
import struct
import subprocess
import time

MAGIC, VERSION = 0x48585031, 4

OPS = {name: n for n, name in enumerate((
    "none ping live late chain override unbind bind probe vfs vf_autoprobe mdev_create mdev_remove vf_type "
    "power d3cold reset reset_method remove rescan unbind_lock rescan_all module hugepages "
    "read_override read_config read_rom read_vfio read_types read_iomem read_holders read_critical "
    "read_vf_types read_lock viable"
).split())}
OP_NAMES = {n: name for name, n in OPS.items()}

STATUSES = ("ok failed stuck busy read_only no_device bridge no_driver range mismatch not_here "
            "too_many died unreadable no_answer held").split()

HEADER = struct.Struct("=IHHQII")
ADDRESS = struct.Struct("=IBBBB")
SCALARS = struct.Struct("=QIi32s16s32sII")
REPLY = struct.Struct("=HHiQQII")
CHILD = struct.Struct("=QQq8sIHBB")
HOLDER = struct.Struct("=q8s16s64s64s32s128s")
CRITICAL = struct.Struct("=8s24s232s232s")
TYPE = struct.Struct("=q64s64s512sB7s")
VF_TYPE = struct.Struct("=8sQi4s")

REQUEST_SIZE = 648
REPLY_SIZE = HEADER.size + ADDRESS.size + REPLY.size


def binary():
    """The program: $HORCRUX_PRIVD, or in $HORCRUX_BUILD, or where meson builds it."""
    build = pathlib.Path(__file__).resolve().parents[2] / "build"
    places = [os.environ.get("HORCRUX_PRIVD")]
    if "HORCRUX_BUILD" in os.environ:
        places.append(os.path.join(os.environ["HORCRUX_BUILD"], "horcrux-privd"))
    places += [build / d / "src/privd/horcrux-privd" for d in ("meson", "check", ".")]
    for place in places:
        if place and os.access(place, os.X_OK):
            return str(place)
    raise FileNotFoundError("horcrux-privd is not built (or set HORCRUX_PRIVD to it)")


def address(text):
    """Eight bytes for "0000:01:00.0"; zeros for None."""
    if text is None:
        return bytes(ADDRESS.size)
    domain, bus, rest = text.split(":")
    device, function = rest.split(".")
    return ADDRESS.pack(int(domain, 16), int(bus, 16), int(device, 16), int(function), 1)


def address_text(raw):
    domain, bus, device, function, is_set = ADDRESS.unpack(raw)
    return f"{domain:04x}:{bus:02x}:{device:02x}.{function}" if is_set else None


def text(raw):
    return raw.split(b"\0", 1)[0].decode()


def request(op, device=None, *, id=1, value=0, name="", uuid=b"", size_kib=0, node=0, classes=(),
            addresses=()):
    """The bytes of one request."""
    number = OPS[op] if isinstance(op, str) else op
    message = HEADER.pack(MAGIC, VERSION, number, id, REQUEST_SIZE, 0) + address(device)
    message += SCALARS.pack(value, size_kib, node, name.encode(), uuid,
                            struct.pack(f"={len(classes)}H", *classes), len(classes), len(addresses))
    message += b"".join(address(a) for a in addresses)
    return message.ljust(REQUEST_SIZE, b"\0")


def chain(requests, *, id=1, n=None):
    """The bytes of a chain of requests; n: how many it says that there are."""
    body = struct.pack("=II", len(requests) if n is None else n, 0) + b"".join(requests)
    return HEADER.pack(MAGIC, VERSION, OPS["chain"], id, HEADER.size + len(body), 0) + body


class Reply:
    """One reply. `data` is the long answer, b"" without one."""

    def __init__(self, message, data):
        (magic, version, self.op, self.id, size, zero) = HEADER.unpack_from(message)
        assert (magic, version, size, zero) == (MAGIC, VERSION, len(message), 0)
        self.address = address_text(message[HEADER.size:HEADER.size + ADDRESS.size])
        (status, ended, self.error, self.value, self.length, self.pid, zero) = REPLY.unpack_from(
            message, HEADER.size + ADDRESS.size)
        assert zero == 0 and self.length == len(data)
        self.op = OP_NAMES[self.op]
        self.status = STATUSES[status]
        self.ended = OP_NAMES[ended] if ended else None
        self.data = data

    def __repr__(self):
        return (f"{self.op} {self.address}: {self.status} error={self.error} value={self.value} "
                f"ended={self.ended} data={self.data[:60]!r}")

    def children(self):
        keys = "id start_time since_ms address pid op stuck write".split()
        found = [dict(zip(keys, row)) for row in CHILD.iter_unpack(self.data)]
        for child in found:
            child["address"] = address_text(child["address"])
            child["op"] = OP_NAMES[child["op"]]
        return found

    def holders(self):
        return [{"pid": pid, "address": address_text(at), "kind": text(kind), "name": text(name),
                 "node": text(node), "since": text(since), "unit": text(unit)}
                for pid, at, kind, name, node, since, unit in HOLDER.iter_unpack(self.data)]

    def critical(self):
        return [{"address": address_text(at), "code": text(code), "why": text(why),
                 "evidence": text(evidence)}
                for at, code, why, evidence in CRITICAL.iter_unpack(self.data)]

    def types(self):
        return [{"available": available, "id": text(i), "name": text(name), "description": text(d),
                 "vendor_vf": vendor_vf}
                for available, i, name, d, vendor_vf, _ in TYPE.iter_unpack(self.data)]

    def vf_types(self):
        return {address_text(at): (number, error) for at, number, error, _ in VF_TYPE.iter_unpack(self.data)}


class ChainReply:
    """The replies to those that were begun, in order. `data`: their long answers, as they came."""

    def __init__(self, message, data):
        (magic, version, op, self.id, size, zero, n, zero2) = struct.unpack_from("=IHHQIIII", message)
        assert (magic, version, OP_NAMES[op], size) == (MAGIC, VERSION, "chain", len(message))
        assert zero == zero2 == 0 and len(message) == HEADER.size + 8 + n * REPLY_SIZE
        self.op, self.data, self.replies, at = "chain", data, [], 0
        for i in range(n):
            part = message[HEADER.size + 8 + i * REPLY_SIZE:][:REPLY_SIZE]
            length = REPLY.unpack_from(part, HEADER.size + ADDRESS.size)[4]
            self.replies.append(Reply(part, data[at:at + length]))
            at += length
        assert at == len(data)

    def statuses(self):
        return [reply.status for reply in self.replies]


class Gone(Exception):
    """The connection is over."""


class Connection:
    def __init__(self, sock):
        self.sock = sock
        self.id = 100
        self.late = []

    def send(self, message):
        self.sock.send(message)

    def receive(self, timeout=10.0):
        """The next reply of any kind."""
        if not select.select([self.sock], [], [], timeout)[0]:
            raise TimeoutError(f"nothing from privd in {timeout} s")
        fds = array.array("i")
        try:
            message, control, flags, _ = self.sock.recvmsg(4096, socket.CMSG_SPACE(fds.itemsize))
        except ConnectionResetError as error:
            raise Gone from error
        if not message:
            raise Gone
        assert not flags & socket.MSG_TRUNC
        is_chain = HEADER.unpack_from(message)[2] == OPS["chain"]
        assert is_chain or len(message) == REPLY_SIZE
        data = b""
        for level, kind, raw in control:
            assert (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS)
            fds.frombytes(raw)
        for fd in fds:
            size = os.fstat(fd).st_size
            data = os.pread(fd, size, 0)
            assert seals(fd) == 0x17, "the answer is not sealed"   # with FUTURE_WRITE
            os.close(fd)
        return ChainReply(message, data) if is_chain else Reply(message, data)

    def post(self, op, device=None, **fields):
        """Ask; the id of the request."""
        self.id += 1
        self.send(request(op, device, id=self.id, **fields))
        return self.id

    def post_chain(self, *asked):
        """Ask for several, each (op, device, fields); the id of the chain, the ids of these follow it."""
        self.id += 1
        number = self.id
        self.id += len(asked)
        self.send(chain([request(op, device, id=number + 1 + i, **fields)
                         for i, (op, device, fields) in enumerate(asked)], id=number))
        return number

    def chain(self, *asked, timeout=20.0):
        return self.wait(self.post_chain(*asked), timeout)

    def wait(self, number, timeout=10.0):
        """The reply to that request; late news on the way is kept in `late`."""
        while True:
            reply = self.receive(timeout)
            if reply.op == "late":
                self.late.append(reply)
            elif reply.id == number:
                return reply

    def call(self, op, device=None, timeout=10.0, **fields):
        return self.wait(self.post(op, device, **fields), timeout)

    def wait_late(self, timeout=10.0):
        if self.late:
            return self.late.pop(0)
        reply = self.receive(timeout)
        assert reply.op == "late", reply
        return reply


def seals(fd):
    return ctypes.CDLL(None, use_errno=True).fcntl(fd, 1034)  # F_GET_SEALS


class Privd(Connection):
    """socket_fd: another socket for it than one end of a pair; None: none at all."""

    def __init__(self, binary, root, state, *options, env=None, socket_fd=...):
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        super().__init__(ours)
        given = theirs if socket_fd is ... else socket_fd
        argv = [binary, f"--host-root={root}", f"--state-dir={state}", *options]
        if given:
            argv.append(f"--socket-fd={given.fileno()}")
        self.log = open(os.path.join(state, "privd.log"), "ab+")
        environment = {k: v for k, v in os.environ.items() if k != "HORCRUX_FAULT"}
        environment.update(env or {})
        self.process = subprocess.Popen(argv, pass_fds=[given.fileno()] if given else (),
                                        stdin=subprocess.DEVNULL, stderr=self.log, env=environment)
        theirs.close()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.stop()

    def logged(self):
        self.log.seek(0)
        return self.log.read().decode()

    def kill(self):
        """kill -9, and wait until it is gone."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def stop(self):
        self.sock.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.kill()
        self.log.close()


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as f:
            return f.read().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def until(condition, seconds=10.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.01)
