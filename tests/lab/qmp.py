# SPDX-License-Identifier: Apache-2.0
"""A small QMP client: one connection, one command at a time, events kept until asked for."""

import json
import socket
import time

from cache import LabError


class Qmp:
    def __init__(self, path, timeout=10):
        end = time.monotonic() + timeout
        while True:
            self.sock = socket.socket(socket.AF_UNIX)
            try:
                self.sock.connect(str(path))
                break
            except OSError as err:
                self.sock.close()
                if time.monotonic() > end:
                    raise LabError(f"QEMU does not answer on its control socket: {err}") from err
                time.sleep(0.02)
        self.buffer = b""
        self.events = []
        self._read(timeout)
        self("qmp_capabilities")

    def _read(self, timeout):
        """The next message, or None at the deadline."""
        end = time.monotonic() + timeout
        while b"\n" not in self.buffer:
            left = end - time.monotonic()
            if left <= 0:
                return None
            self.sock.settimeout(left)
            try:
                data = self.sock.recv(65536)
            except TimeoutError:
                return None
            if not data:
                raise LabError("QEMU closed its control socket")
            self.buffer += data
        line, self.buffer = self.buffer.split(b"\n", 1)
        return json.loads(line)

    def __call__(self, command, args=None, timeout=60):
        message = {"execute": command}
        if args:
            message["arguments"] = args
        self.sock.sendall(json.dumps(message).encode() + b"\n")
        while True:
            reply = self._read(timeout)
            if reply is None:
                raise LabError(f"QEMU did not answer {command} within {timeout} s")
            if "event" in reply:
                self.events.append(reply)
            elif "error" in reply:
                raise LabError(f"{command} {args or ''}: {reply['error']['desc']}")
            elif "return" in reply:
                return reply["return"]

    def wait_event(self, name, match=lambda data: True, timeout=30):
        """The data of the first event `name` that matches, among those kept and those to come."""
        end = time.monotonic() + timeout
        while True:
            for event in self.events:
                if event["event"] == name and match(event.get("data", {})):
                    self.events.remove(event)
                    return event.get("data", {})
            reply = self._read(max(0, end - time.monotonic()))
            if reply is None:
                raise LabError(f"no event {name} within {timeout} s")
            if "event" in reply:
                self.events.append(reply)

    def close(self):
        self.sock.close()
