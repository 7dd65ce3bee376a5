# SPDX-License-Identifier: Apache-2.0
"""A machine with whole daemons on it, and words for what tests of them have in common."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fakehost import MACHINES, Daemon, FakeHost

DEV = "sys/bus/pci/devices"
DRV = "sys/bus/pci/drivers"

# of lab-like: the two-function card, and one of one function
GPU, AUDIO, OTHER = "0000:01:00.0", "0000:01:00.1", "0000:02:00.0"

TAKE = [
    f"{GPU}/d3cold_allowed=0", f"{AUDIO}/d3cold_allowed=0",
    f"{AUDIO}/driver_override=vfio-pci", f"snd_hda_intel/unbind={AUDIO}",
    f"{GPU}/driver_override=vfio-pci", f"radeon/unbind={GPU}",
    f"vfio-pci/bind={GPU}", f"vfio-pci/bind={AUDIO}",
    f"{GPU}/power-control=on", f"{AUDIO}/power-control=on",    # vfio-pci lets it sleep
]
GIVE = [
    f"vfio-pci/unbind={AUDIO}", f"vfio-pci/unbind={GPU}",
    f"{AUDIO}/driver_override=\\n", f"{GPU}/driver_override=\\n",
    f"radeon/bind={GPU}", f"snd_hda_intel/bind={AUDIO}",
    f"{AUDIO}/d3cold_allowed=1", f"{AUDIO}/power-control=on",
    f"{GPU}/d3cold_allowed=1", f"{GPU}/power-control=on",
]


class Machine:
    """A fake kernel, the daemons on it, and how the world was before."""

    def __init__(self, name, *knobs, start=True, flags=(), **options):
        self.host = FakeHost(name, knobs, uevents=False)
        self.flags, self.options = flags, options
        self.start = start

    def __enter__(self):
        self.host.__enter__()
        try:
            self.before = self.host.world()
            self.daemon = Daemon(self.host, *self.flags, **self.options)
            if self.start:
                self.daemon.__enter__()    # leaves nothing behind when it fails
        except BaseException:
            self.host.close()
            raise
        return self

    def __exit__(self, *exception):
        try:
            self.daemon.__exit__(*exception)
        finally:
            self.host.close()

    def unchanged(self):
        """The world is as it was before, and nothing is still to be done."""
        now = self.host.world()
        assert {a: w for a, w in now.items() if w != self.before.get(a)} == {}
        assert set(now) == set(self.before)
        assert self.daemon.unfinished() == set()


def machine_with(name, **changes):
    """
    The text of machines/NAME with words added to lines of functions, which keywords name as in
    at_0000_01_00_0="override=x"; a pair (old, new) puts new words for old ones. more="…": lines.
    """
    lines = Path(MACHINES, name + ".machine").read_text().splitlines()
    more = changes.pop("more", "")
    for key, words in changes.items():
        domain, bus, slot, function = key.split("_")[1:]
        at = f"pci {domain}:{bus}:{slot}.{function} "
        n, = [i for i, line in enumerate(lines) if line.startswith(at)]
        old, new = words if isinstance(words, tuple) else (None, words)
        assert old is None or old in lines[n]
        lines[n] = lines[n].replace(old, new) if old else f"{lines[n]} {new}"
    return "\n".join(lines) + "\n" + more + "\n"


def together(*calls):
    """All at the same moment; their results, in order."""
    gate = threading.Barrier(len(calls))

    def run(call):
        gate.wait()
        return call()
    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


def await_pending(host):
    """Somebody is inside a write."""
    assert host.wait_for(lambda: any(w.result == "pending" for w in host.write_log()))


def at_write(write):
    """Words of a knob for one of these."""
    path, value = write.split("=")
    return f"path=*{path.replace('power-control', 'power/control')} value={value}"


def timed(condition, most=5):
    """Seconds until it is so."""
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < most, "it did not come to pass"
    return time.monotonic() - begun
